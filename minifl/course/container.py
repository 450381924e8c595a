"""The bundle as a container image, the boundary that we recommend: its recipe, its start, a page on how to run it.

The same files serve Gradescope (gradescope.py), Docker and podman: `setup.sh` makes the environment in each. In the image,
the sandbox is tried before anything is graded.
"""

IMAGE = "minifl-{name}"
FLAGS = """--rm --network none --read-only --tmpfs /tmp:size=1g \\
    --cap-drop ALL --cap-add SETUID --cap-add SETGID --cap-add KILL --cap-add DAC_OVERRIDE \\
    --security-opt no-new-privileges --memory 4g --pids-limit 256"""
DOCKERFILE = """# The image that grades {name}:  docker build -t {image} .   or  podman build -t {image} .
# It holds solutions and hidden tests: keep it, and do not push it to a public registry.
ARG BASE=docker.io/library/debian:bookworm-slim
FROM ${{BASE}}
COPY . /autograder/source
RUN bash /autograder/source/setup.sh
ENTRYPOINT ["bash", "/autograder/source/grade"]
"""
GRADE = """#!/usr/bin/env bash
# Tries the sandbox, and grades if all of it holds:  grade SUBMISSION ... , options as of `course grade`.
# AUTOGRADER and PYTHON are for trying it elsewhere.
set -euo pipefail
AUTOGRADER="${{AUTOGRADER:-/autograder}}"
PYTHON="${{PYTHON:-$AUTOGRADER/venv/bin/python}}"
cd "$AUTOGRADER/source"
"$PYTHON" -B cli.py course sandbox >&2{or_not}
[ $# = 0 ] || exec "$PYTHON" -B cli.py course grade --assignment {name} {options}"$@"
"""
README = """# The autograder of {name}

Made by `course bundle`. It holds solutions, hidden tests and variants: keep it from students. The same files work in three
places; in each, what a submission might try is tried first (`course sandbox`), and {missing}.

## Docker or podman, on your machine

Here `docker`; `podman` takes the same words. In the unpacked bundle:

```bash
docker build -t {image} .
docker run {flags} {image}
```

The second command prints the layers of the sandbox, and what came of each attempt. To grade a class (`submissions`: what
your platform hands out; `results`: a folder, new or of the last time):

```bash
mkdir -p results && chmod go-rwx submissions
docker run {flags} \\
    -v "$PWD/submissions:/class/submissions:ro" -v "$PWD/results:/class/results" {image} \\
    /class/submissions --out /class/results
```

With a roster, add `-v "$PWD/roster.csv:/class/roster.csv:ro"` and `--roster /class/roster.csv`. Further options are those
of `course grade`. With Docker, the results belong to root afterwards. Where SELinux is on (Fedora), write `:ro,z` and `:z`.

| part of the command | what it keeps out |
|---|---|
| `--network none` | sending anything anywhere |
| `--read-only`, `--tmpfs /tmp` | leaving anything behind in the image |
| `-v ...:ro` | changing submissions; nothing else of your machine is there, but for `results` |
| `--cap-drop ALL`, `--cap-add ...` | the powers of root, but for becoming another user for each submission and ending it |
| `--security-opt no-new-privileges` | programs that give their caller more rights |
| `--memory 4g`, `--pids-limit 256` | taking the whole machine: more memory if you grade more than two at a time (`--jobs`) |

## Gradescope

Upload the zip as it is: Gradescope runs `setup.sh` once and `run_autograder` for each submission. What `course sandbox`
found is in the output that only you see. Use a base image with Ubuntu 22.04 or newer.

## What this does not keep out

A fault of the kernel, which all containers of a machine share. Against it a virtual machine helps.
"""


def files(name: str, options: str, weak: bool) -> dict[str, tuple[str, int]]:
    """file of the bundle -> (text, mode). options: of `course grade`, for hidden tests and such, with a blank at the end."""
    image = IMAGE.format(name=name)
    options += "--weak-sandbox " if weak else ""
    missing = ("this one grades even where a layer is missing (`--weak-sandbox`)" if weak else
               "nothing is graded if a layer is missing")
    return {"Dockerfile": (DOCKERFILE.format(name=name, image=image), 0o644),
            "grade": (GRADE.format(name=name, options=options, or_not=" || true" if weak else ""), 0o755),
            "README.md": (README.format(name=name, image=image, flags=FLAGS, missing=missing), 0o644)}
