"""Gradescope's side: results.json as its autograder reads it, and the zip that is uploaded there.

Format: https://gradescope-autograders.readthedocs.io/en/latest/specs/ . A student sees public tests whole; of hidden ones,
after publication, only where to look.
"""

import io
import os
import shlex
import zipfile
from pathlib import Path

from minifl import loading, reading
from minifl.atomic import replacing
from minifl.course import container
from minifl.course.assignments import ROOT, Assignment
from minifl.course.identity import canonical
from minifl.course.judge import Graded
from minifl.course.results import graded_of

SETUP = """#!/usr/bin/env bash
# Runs once, when the autograder is built.
set -euo pipefail
apt-get update && apt-get install -y python3 python3-venv
python3 -m venv /autograder/venv
/autograder/venv/bin/pip install -r /autograder/source/requirements.txt
chmod -R go-rwx /autograder/source    # solutions, hidden tests, variants: submissions run as another user
"""
REQUIREMENTS = "numpy>=1.26\nscipy>=1.11\nclick>=8.1\n"    # the newest of the image's Python
RUN = """#!/usr/bin/env bash
# Runs for each submission. AUTOGRADER and PYTHON are for trying it elsewhere.
set -uo pipefail
AUTOGRADER="${{AUTOGRADER:-/autograder}}"
PYTHON="${{PYTHON:-$AUTOGRADER/venv/bin/python}}"
mkdir -p "$AUTOGRADER/results"
chmod -R go-rwx "$AUTOGRADER/submission" "$AUTOGRADER/submission_metadata.json"
cd "$AUTOGRADER/source"
"$PYTHON" -B cli.py course sandbox || true    # for the instructor, who alone sees the output: what submissions may do here
exec "$PYTHON" -B cli.py course grade "$AUTOGRADER/submission" --assignment {name} \\
    --gradescope "$AUTOGRADER/submission_metadata.json" {options}--json "$AUTOGRADER/results/results.json"
"""


def results(graded: Graded) -> dict:
    """The dict of results.json for a Graded submission."""
    tests = [_test(outcome, "visible", outcome.message) for outcome in graded.public]
    tests += [_test(outcome, "after_published", "" if outcome.passed else "with other shapes and seeds", " (hidden)")
              for outcome in graded.hidden]
    variant = ", ".join(f"{axis} {value}" for axis, value in graded.variant.items())
    output = [f"{graded.assignment}, graded for {graded.student or 'nobody in particular'}: {variant}", *graded.notes]
    return {"score": round(graded.earned, 4), "output": "\n".join(output), "stdout_visibility": "hidden", "tests": tests,
            "execution_time": round(sum(o.seconds for o in graded.public), 2)}


def results_of(record: dict) -> dict:
    """The dict of results.json for a record of grading.py: for what could not be graded, why."""
    graded = graded_of(record)
    return {"score": 0, "output": f"not graded: {record['why']}", "tests": []} if graded is None else results(graded)


def _test(outcome, visibility, message, suffix=""):
    output = outcome.what if outcome.passed else f"{outcome.what}\n{message}\nLook at: {outcome.look}"
    return {"name": f"{outcome.part}: {outcome.name}{suffix}", "score": round(outcome.earned, 4),
            "max_score": round(outcome.points, 4), "status": "passed" if outcome.passed else "failed",
            "output": output, "visibility": visibility}


def student_of(metadata: str | Path) -> str:
    """The id in Gradescope's submission_metadata.json: the first submitter's e-mail address, "" without one."""
    try:
        return canonical(str(reading.json_file(metadata)["users"][0]["email"]))
    except (OSError, ValueError, KeyError, IndexError, TypeError):
        return ""


def bundle(assignment: Assignment, out: str | Path, hidden: str | Path | None = None, weak: bool = False) -> int:
    """Write the autograder zip of an Assignment: setup script, requirements, entry points, this package, hidden tests, and
    the private file of its variants; and what makes a container image of it. weak: grade though the sandbox has holes."""
    archive = io.BytesIO()
    options = ("--hidden hidden " if hidden else "") + (
        f"--private private/{shlex.quote(Path(assignment.private).name)} " if assignment.private else "")
    with zipfile.ZipFile(archive, "w", zipfile.ZIP_DEFLATED) as zipped:
        _add(zipped, "setup.sh", SETUP, 0o755)
        _add(zipped, "requirements.txt", REQUIREMENTS, 0o644)
        _add(zipped, "run_autograder", RUN.format(
            name=assignment.name, options=options + ("--weak-sandbox " if weak else "")), 0o755)
        for name, (text, mode) in container.files(assignment.name, options, weak).items():
            _add(zipped, name, text, mode)
        _add(zipped, "cli.py", "from minifl.cli import main\n\nmain()\n", 0o644)
        for path in sorted(path for path in (ROOT / "minifl").rglob("*") if path.suffix in (".py", ".md")):
            _add(zipped, str(path.relative_to(ROOT)), path.read_text(encoding="utf-8"), 0o644)
        for name in (f"{assignment.name}.json", f"{assignment.name}.py") if hidden else ():
            if (Path(hidden) / name).exists():
                _add(zipped, f"hidden/{name}", (Path(hidden) / name).read_text(encoding="utf-8"), 0o600)
        for path in (assignment.private, *loading.helpers(assignment.private)) if assignment.private else ():
            _add(zipped, f"private/{Path(path).name}", Path(path).read_text(encoding="utf-8"), 0o600)
    with replacing(out) as file:
        file.write(archive.getvalue())
    return os.path.getsize(out)


def _add(zipped, name, text, mode):
    info = zipfile.ZipInfo(name, (1980, 1, 1, 0, 0, 0))    # the same zip for the same content
    info.external_attr = (0o100000 | mode) << 16
    info.compress_type = zipfile.ZIP_DEFLATED
    zipped.writestr(info, text)
