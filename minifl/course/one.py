"""One submission, graded in a process of its own: started by batch.py.

The first line of standard input is the job, see `batch.job`; a line of standard output is the answer:
    {"status": "graded", "hash", "graded": Graded as a dict, "answers": {question: text}, "claims": what it says of itself}
    {"status": "same"}         the hash is the one that the job knows
    {"status": "bad", "why"}   there is nothing that can be graded
    {"status": "refused", "why"}   the instructor's options or files are at fault: no other submission can be graded either
The process ends when its input is closed, that is, with the process that started it.
"""

import hashlib
import json
import os
import resource
import signal
import threading
import time
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType

import minifl
from minifl.course import answers, assignments, judge, process, uploads
from minifl.course.carve import SETTINGS
from minifl.course.identity import canonical
from minifl.course.submission import LARGEST, claimed, read
from minifl.errors import InputError

UNPACKING = 2 << 30    # bytes of address space while archives are unpacked
MOST_PROSE, LONGEST_ANSWER = 200_000, 20_000     # bytes of answers.md, characters of an answer
MORE = 60              # seconds of processor time beyond those of the submission: for NumPy's start and the judge


def main() -> None:
    """Grade, and write the answer."""
    with open(0, "rb", buffering=0, closefd=False) as first:
        job = json.loads(first.readline())
    process.adopt()
    with suppress(OSError):        # where memory runs out, it goes before the process that has the results
        Path("/proc/self/oom_score_adj").write_text("500", encoding="utf-8")
    signal.signal(signal.SIGTERM, _stopped)
    threading.Thread(target=_until_input_ends, daemon=True).start()
    resource.setrlimit(resource.RLIMIT_CPU, (int(job["limits"]["total"]) + MORE,) * 2)
    try:
        with TemporaryDirectory(prefix="minifl-one-") as folder:
            answer = graded(job, Path(folder))
    except uploads.Broken as error:
        answer = {"status": "bad", "why": str(error)}
    except InputError as error:
        answer = {"status": "refused", "why": str(error)}
    print(json.dumps(answer))


def graded(job: dict, folder: Path) -> dict:
    """The answer to a job; archives are unpacked into a folder."""
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (UNPACKING, hard))
    found = uploads.gathered(tuple(map(Path, job["paths"])), folder)
    assignment = assignments.load(job["assignment"], job["private"])
    texts = {file: _text(found, file) for file in (*assignment.files, SETTINGS, answers.FILE)}
    resource.setrlimit(resource.RLIMIT_AS, (hard, hard))
    known = hashlib.sha256(json.dumps([job["basis"], job["student"], texts]).encode()).hexdigest()
    if known == job["known"]:
        return {"status": "same"}
    variant = None if job["variant"] is None else assignments.parse_variant(assignment, job["variant"])
    result = judge.grade(assignment, found, student=job["student"], variant=variant, hidden=job["hidden"],
                         limits=judge.Limits(**job["limits"]))
    outcomes = {kind: [outcome._asdict() for outcome in getattr(result, kind)] for kind in ("public", "hidden")}
    return {"status": "graded", "hash": known, "graded": result._asdict() | outcomes,
            "answers": prose(assignment, result.variant, found), "claims": claims(claimed(found), result)}


def prose(assignment: assignments.Assignment, variant: dict, folder: Path) -> dict[str, str]:
    """question -> answer, as it can be shown anywhere; what is too long is cut."""
    try:
        data = read(folder, answers.FILE, MOST_PROSE) or b""
    except InputError as error:
        data = f"({answers.FILE} {error})".encode()
    questions = assignments.sheet(assignment, variant).questions
    text = data.decode("utf-8", "replace").replace("\r\n", "\n").replace("\t", "    ")
    text = "".join(c if c.isprintable() or c in "\ufeff\n" else "?" for c in text)
    return {name: answer[:LONGEST_ANSWER] for name, answer in answers.read(text, questions).items()}


def claims(said: dict, result: judge.Graded) -> list[str]:
    """Where a submission says something else of itself than it was graded as; for the instructor."""
    found, student = [], said.get("student", result.student)
    with suppress(InputError):
        student = canonical(student)
    if student != result.student:
        found.append(f"its {SETTINGS} says that the student is {student!r}, it was graded as {result.student!r}")
    for key, value in (("assignment", result.assignment), ("variant", result.variant),
                       ("version", minifl.__version__)):
        if key in said and said[key] != value:
            found.append(f"its {SETTINGS} says that the {key} is {said[key]}, it was graded as {value}")
    return found


def _text(folder, file):
    """A file as text of which a hash is made, or why it is not taken."""
    try:
        return (read(folder, file, LARGEST) or b"").hex()
    except InputError as error:
        return str(error)


def _until_input_ends():
    while os.read(0, 1):
        pass
    while True:      # one signal may come just before the main thread waits, and be seen only after that
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(0.5)


def _stopped(number: int, frame: FrameType | None) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_IGN)      # what follows is not to be disturbed
    raise KeyboardInterrupt     # which no test takes for its own; by way of `finally`: what the judge has started ends, too


if __name__ == "__main__":
    main()
