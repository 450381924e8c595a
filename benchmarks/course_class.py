"""A class for the grader: honest submissions of a variant each, as Canvas hands them out, and ten bad ones.

    python benchmarks/course_class.py FOLDER                builds it: FOLDER/class, FOLDER/class.csv
    python benchmarks/course_class.py FOLDER --grade        and grades it by the one command, a second time, too

Of the honest ones a third has full marks, a third a mistake, and a third has written half.
"""

import argparse
import io
import os
import random
import stat
import subprocess
import sys
import time
import zipfile
from pathlib import Path

from minifl.course import assignments, carve

ROOT = Path(__file__).resolve().parent.parent
NESTED = "".join(f"{' ' * i}try:\n{' ' * (i + 1)}pass\n{' ' * i}finally:\n" for i in range(20)) + " " * 20 + "pass\n"
FORKS = "import os, time\nwhile True:\n    try:\n        os.fork()\n    except BaseException:\n        time.sleep(0.01)\n"
SLEEPS = "\nimport time\n\nfor _name in [_name for _name, _f in vars().items() if callable(_f)]:\n" \
         "    vars()[_name] = lambda *_, **__: time.sleep(1e6)\n"      # the worst: each function, for each of its calls
PRINTS = "import sys\nwhile True:\n    print('x' * 1000000)\n"


def submission(assignment, student, kind=0):
    """file -> text of an honest submission: right, with a mistake, or half written."""
    variant = assignments.variant_of(assignment, student)
    files = {file: assignments.source(assignment, variant, file) for file in assignment.files}
    if kind == 1:
        fitting = [one for one in assignment.mistakes if files[one.file].count(one.old) == 1]
        mistake = random.Random(student).choice(fitting)
        files[mistake.file] = files[mistake.file].replace(mistake.old, mistake.new)
    if kind == 2:
        files[assignment.files[-1]] = assignments.students(assignment, variant, assignment.files[-1])
    return files


def archive(files):
    """The bytes of a zip; a file may be an archive, or a link: ("link", where to)."""
    data = io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for name, content in files.items():
            info = zipfile.ZipInfo(name)
            if isinstance(content, tuple):
                info.external_attr, content = (stat.S_IFLNK | 0o777) << 16, content[1]
            zipped.writestr(info, archive(content) if isinstance(content, dict) else content)
    return data.getvalue()


def bad(assignment, student):
    """name -> content of an upload: a zip's files, bytes, or None for an empty folder."""
    honest = submission(assignment, student)
    deep, first = honest, assignment.files[0]
    for _ in range(30):
        deep = {"again.zip": deep}
    return {"sleeps": {**honest, first: honest[first] + SLEEPS}, "forks": {**honest, first: FORKS},
            "prints": {**honest, first: PRINTS}, "no archive": b"this is no archive", "empty": None,
            "syntax": {**honest, first: "def f(:\n"}, "nested": {**honest, first: NESTED},
            "names": {f"my_{Path(file).name}": text for file, text in honest.items()},
            "link": {**honest, first: ("link", "/etc/passwd")}, "deep": deep}


def build(name, folder, students=60, kinds=None):
    """Write class/ and class.csv into a folder: the kinds of bad ones, by default all, the rest honest."""
    assignment, folder = assignments.load(name), Path(folder)
    (folder / "class").mkdir(parents=True)
    lines = ["id,name"]
    kinds = list(bad(assignment, "")) if kinds is None else kinds
    for number in range(students):
        student = f"student{number}@example.org"
        lines.append(f"{student},Student Number{number:02}")
        upload = folder / "class" / f"number{number:02}student_{1000 + number}_{5000 + number}_{name}.zip"
        honest = number >= len(kinds)
        content = submission(assignment, student, number % 3) if honest else bad(assignment, student)[kinds[number]]
        if content is None:
            upload.with_suffix("").mkdir()
        else:
            settings = {carve.SETTINGS: f'{{"assignment": "{name}", "student": "{student}"}}'}
            upload.write_bytes(content if isinstance(content, bytes) else archive({**settings, **content}))
    (folder / "class.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("--assignment", default="hw2")
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--grade", action="store_true")
    given, more = parser.parse_known_args()
    build(given.assignment, given.folder, given.students)
    for turn in ("first", "second") if given.grade else ():
        begin = time.perf_counter()
        files = [given.folder / "class", "--roster", given.folder / "class.csv", "--out", given.folder / "results"]
        subprocess.run([sys.executable, ROOT / "cli.py", "course", "grade", "--assignment", given.assignment, *files, *more],
                       check=True)
        print(f"{turn} call: {time.perf_counter() - begin:.1f} s on {os.cpu_count()} cores")


if __name__ == "__main__":
    main()
