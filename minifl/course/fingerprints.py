"""What of a submission is compared with others: every run of LENGTH tokens of its code, without names, numbers and comments.

Nothing is compiled: a regular expression finds the tokens, also of what Python would not take. Names of attributes stay, as
they are NumPy's (x.mean, xp.sqrt), and keywords; other names are N, numbers 0, strings S; docstrings are left out.

`python -m minifl.course.fingerprints` reads a submission in a process with limits: {"paths", "files"} comes in as JSON,
file -> [text, tokens] goes out.
"""

import json
import keyword
import re
import resource
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

from minifl import processes
from minifl.course import uploads
from minifl.course.submission import read
from minifl.errors import InputError

LENGTH = 10                         # tokens in a row: about a formula
LARGEST, MOST = 200_000, 10_000     # bytes and tokens of a file
SECONDS, MEGABYTES = 60, 2048
TOKEN = re.compile(r"""(?P<text>[rbfuRBFU]{0,2}(?:\"\"\"(?:\\.|[^\\])*?\"\"\"|'''(?:\\.|[^\\])*?'''))|(?P<comment>\#[^\n]*)
    |(?P<string>[rbfuRBFU]{0,2}(?:"(?:\\.|[^"\\\n])*"|'(?:\\.|[^'\\\n])*'))|(?P<number>\d[\w.]*(?:(?<=[eE])[+-]\w+)?)
    |(?P<name>[^\W\d]\w*)|(?P<sign>\*\*|//|[^\w\s])""", re.VERBOSE | re.DOTALL)


class Run(NamedTuple):
    """Where a run of tokens stands."""
    file: str
    first: int     # lines from 1
    last: int


def tokens(text: str) -> list[tuple[str, int]]:
    """(token, line) of Python code."""
    found, line, at, before = [], 1, 0, ""
    for match in TOKEN.finditer(text):
        line, at, kind, word = line + text.count("\n", at, match.start()), match.start(), match.lastgroup, match[0]
        if kind in ("text", "comment"):
            continue
        if kind == "name":
            word = word if before == "." or keyword.iskeyword(word) else "N"
        word = {"number": "0", "string": "S"}.get(kind, word)
        found.append((word, line))
        before = word
    return found


def runs(files: dict[str, tuple]) -> dict[int, list[Run]]:
    """The hash of a run of tokens -> where it stands in the files, file -> (text, tokens)."""
    found = {}
    for file, (_, of) in files.items():
        for i in range(len(of) - LENGTH + 1):
            words = tuple(word for word, _ in of[i:i + LENGTH])
            found.setdefault(hash(words), []).append(Run(file, of[i][1], of[i + LENGTH - 1][1]))
    return found


def own(texts: dict[str, str]) -> dict[str, tuple]:
    """file -> (text, tokens) of texts of ours."""
    return {file: (text, tokens(text)) for file, text in texts.items()}


def read_from(paths: Sequence[Path], files: Sequence[str]) -> dict[str, tuple] | str:
    """file -> (text, tokens) of a submission's files, printable and bounded; why it is none. In a process with limits."""
    job = {"paths": [str(path.absolute()) for path in paths], "files": list(files)}
    try:
        done = subprocess.run(processes.command("minifl.course.fingerprints"), input=json.dumps(job).encode(),
                              capture_output=True, timeout=SECONDS)
        found = json.loads(done.stdout)
        return found if type(found) is str else {file: (text, of) for file, (text, of) in found.items()}
    except subprocess.TimeoutExpired:
        return f"takes more than {SECONDS} s to read"
    except ValueError:
        return f"cannot be read in {MEGABYTES} MB of memory"


def main() -> None:
    """Read a submission, within limits."""
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    job = json.loads(sys.stdin.read())
    with TemporaryDirectory(prefix="minifl-compare-") as folder:
        try:
            found = uploads.gathered(tuple(map(Path, job["paths"])), Path(folder))
            answer = {}
            for file in job["files"]:
                try:
                    data = read(found, file, LARGEST) or b""
                except InputError:
                    continue
                text = data.decode("utf-8", "replace").replace("\r\n", "\n")
                text = "".join(c if c.isprintable() or c == "\n" else " " for c in text)
                answer[file] = text, tokens(text)[:MOST]
        except uploads.Broken as error:
            answer = str(error)
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
