"""A student's folder: stubs, tasks, public tests, grade.py, README, and of the package only what is on the allowlist."""

import json
import os
import shutil
import tempfile
from pathlib import Path

from minifl.atomic import BEGINNING
from minifl.course import answers, assignments, running
from minifl.course.identity import canonical
from minifl.errors import InputError

SETTINGS = "minifl/course/settings.json"
ALWAYS = ("minifl/course/__init__.py", "minifl/course/running.py")
GRADE = '''"""Points for what you have written so far:  python grade.py  or  python grade.py "PART OR TEST"

In a notebook in this folder:  from grade import grade; grade()  or  grade("PART OR TEST")
"""
import json
import subprocess
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent


def grade(part=None):
    """Run the public tests on the files as they are now, and print the table."""
    command = [sys.executable, "-B", "-X", "utf8", str(HERE / "grade.py"), *([part] if part else [])]
    print(subprocess.run(command, encoding="utf-8", stdout=subprocess.PIPE, stderr=subprocess.STDOUT).stdout)


if __name__ == "__main__":
    sys.path.insert(0, str(HERE))
    from minifl.course.running import Given, main
    settings = json.loads((HERE / "minifl/course/settings.json").read_text(encoding="utf-8"))
    given = Given(settings["student"], settings["variant"])
    sys.exit(main(settings["assignment"], given, " ".join(sys.argv[1:]) or None))
'''


def carve(assignment: assignments.Assignment, out: str | Path, *, student: str = "", variant: dict | None = None,
          reference: bool = False) -> None:
    """Write the student's folder of an Assignment.

    out      a folder that does not exist or is empty; it appears whole or not at all
    student  id, which fixes the shapes and seeds of the public tests, and the variant if none is given
    reference  with the solutions instead of the stubs
    Raises InputError if `out` holds anything, or cannot be written.
    """
    out, student = Path(out), canonical(student)
    building = None
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out {out}: exists and is not an empty folder; name a new one.")
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name[:BEGINNING]}.", dir=out.parent))
        write_tree(assignment, building, student=student, variant=variant, reference=reference)
        if out.exists():
            out.rmdir()
        os.chmod(building, 0o755)
        os.replace(building, out)
    except OSError as error:
        raise InputError(f"--out {out}: cannot be written ({error.strerror or error}); name a new folder where you may "
                         "write.") from error
    finally:
        if building is not None:
            shutil.rmtree(building, ignore_errors=True)


def write_tree(assignment: assignments.Assignment, folder: Path, *, student: str = "", variant: dict | None = None,
               reference: bool = False) -> None:
    """The files of a student's folder in `folder`; reference: with the solutions instead of the stubs."""
    variant = assignments.variant_of(assignment, student) if variant is None else variant
    here = f"minifl/course/{assignment.name}"
    for file in (*ALWAYS, *assignment.given, *assignment.files, f"{here}/tests.py"):
        whole = reference or file not in assignment.files
        _write(folder / file, (assignments.source if whole else assignments.students)(assignment, variant, file))
    for package in {parent for path in folder.rglob("*.py") for parent in path.relative_to(folder).parents}:
        if package.parts and not (folder / package / "__init__.py").exists():
            _write(folder / package / "__init__.py", "")
    settings = {"assignment": assignment.name, "student": student, "variant": variant}
    _write(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")
    _write(folder / "grade.py", GRADE)
    _write(folder / "README.md", readme(assignment, variant))
    if assignments.sheet(assignment).questions:
        _write(folder / answers.FILE, answers.form(assignment, variant))


def readme(assignment: assignments.Assignment, variant: dict) -> str:
    """What a student reads first."""
    tests = running.tests_in(assignments.tests(assignment, variant))
    parts = assignments.parts(assignment)
    choices = [choices[-1].what for choices in assignments.chosen(assignment, variant).values()]
    questions = assignments.sheet(assignment, variant).questions
    lines = [assignments.sheet(assignment, variant).head.rstrip(), "", "## Your files", "",
             "Write what raises NotImplementedError; the docstrings say what each function takes and returns, and hold "
             "the tasks. Hand in these files, whole, under the same names:", "",
             *(f"- `{file}`" for file in assignment.files),
             *([f"- `{answers.FILE}`, with your answers to its questions in prose"] if questions else []), "",
             "Helpers of your own go into the same files. You need Python 3.10 or newer"
             f"{', NumPy and SciPy' if _needs_scipy(assignment) else ' and NumPy'}.", ""]
    if any(choices):
        lines += ["## Your variant", "", "Published solutions may differ from what you are asked for. For you:", "",
                  *(f"- {choice}" for choice in choices if choice), ""]
    lines += ["## Points", "", "| part | points | public tests |", "|---|---|---|"]
    for part, points in parts.items():
        lines.append(f"| {part} | {points} | {', '.join(f'`{t.__name__}`' for t in tests if t.part == part)} |")
    if questions:
        by_hand = sum(question.points for question in questions)
        lines.append(f"| questions in `{answers.FILE}` | {by_hand} | none: marked by hand |")
    lines += ["", "## How far are you?", "", "```bash", "python grade.py", f'python grade.py "{next(iter(parts))}"', "```",
              "", "In a notebook in this folder: `from grade import grade; grade()`. Grading also has hidden tests of the "
              "same kind, with other shapes and seeds.", ""]
    return "\n".join(lines)


def _needs_scipy(assignment):
    files = (*assignment.given, *assignment.files, f"minifl/course/{assignment.name}/tests.py")
    return any("scipy" in (assignments.ROOT / file).read_text(encoding="utf-8") for file in files)


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
