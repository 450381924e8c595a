"""A student's folder: stubs, tasks, public tests, grade.py, texts, and of the package only what is on the allowlist."""

import hashlib
import io
import json
import os
import shutil
import tempfile
import zipfile
from pathlib import Path

import minifl
from minifl.atomic import BEGINNING
from minifl.course import answers, assignments, earlier, readme
from minifl.course.identity import canonical
from minifl.errors import InputError

SETTINGS = "minifl/course/settings.json"
ALWAYS = ("minifl/course/__init__.py", "minifl/course/running.py")
JUDGES = frozenset({"running.py", "comparing.py", "tests.py", "expected.py", "drivers.py"})    # in minifl/course
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
          reference: bool = False, policy: str = readme.POLICY, keep_back: bool = False) -> None:
    """Write the student's folder of an Assignment.

    out      a folder that does not exist or is empty; it appears whole or not at all
    student  id, which fixes the shapes and seeds of the public tests, and the variant if none is given
    reference  with the solutions instead of the stubs
    policy   what README says about working together
    keep_back  without what other assignments ask for, see earlier.py
    Raises InputError if `out` holds anything, or cannot be written.
    """
    out, student = Path(out), canonical(student)
    building = None
    try:
        if out.exists() and (not out.is_dir() or any(out.iterdir())):
            raise InputError(f"--out {out}: exists and is not an empty folder; name a new one.")
        out.parent.mkdir(parents=True, exist_ok=True)
        building = Path(tempfile.mkdtemp(prefix=f".{out.name[:BEGINNING]}.", dir=out.parent))
        write_tree(assignment, building, student=student, variant=variant, reference=reference, policy=policy,
                   keep_back=keep_back)
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
               reference: bool = False, policy: str = readme.POLICY, judged: bool = False,
               keep_back: bool = False) -> None:
    """The files of a student's folder in `folder`; reference: with the solutions instead of the stubs; judged: without
    what judges, and what says whose it is."""
    variant = assignments.variant_of(assignment, student) if variant is None else variant
    here = f"minifl/course/{assignment.name}"
    for file in (*ALWAYS, *assignment.given, *assignment.files, f"{here}/tests.py"):
        if judged and file.startswith("minifl/course/") and Path(file).name in JUDGES:
            continue
        whole = reference or file not in assignment.files
        made = earlier.kept_back if keep_back and file in assignment.given else (
            assignments.source if whole else assignments.students)
        _write(folder / file, made(assignment, variant, file))
    for package in {parent for path in folder.rglob("*.py") for parent in path.relative_to(folder).parents}:
        if package.parts and not (folder / package / "__init__.py").exists():
            _write(folder / package / "__init__.py", "")
    if judged:
        return
    _write(folder / "grade.py", GRADE)
    _write(folder / "README.md", readme.readme(assignment, variant, policy))
    _write(folder / "READER.md", readme.READER)
    if assignments.sheet(assignment).questions:
        _write(folder / answers.FILE, answers.form(assignment, variant))
    handed_out = hashlib.sha256(b"".join(path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()))
    settings = {"assignment": assignment.name, "student": student, "variant": variant, "version": minifl.__version__,
                **({"keep_back": "yes"} if keep_back else {}),
                "handed_out": handed_out.hexdigest()[:16]}     # for `course update`
    _write(folder / SETTINGS, json.dumps(settings, indent=2) + "\n")


def archive(folder: str | Path) -> bytes:
    """A zip of a student's folder: the folder in it, the same bytes for the same files."""
    folder, data = Path(folder), io.BytesIO()
    with zipfile.ZipFile(data, "w", zipfile.ZIP_DEFLATED) as zipped:
        for path in sorted(path for path in folder.rglob("*") if path.is_file()):
            info = zipfile.ZipInfo(f"{folder.name}/{path.relative_to(folder).as_posix()}", (1980, 1, 1, 0, 0, 0))
            info.external_attr = 0o100644 << 16
            info.compress_type = zipfile.ZIP_DEFLATED
            zipped.writestr(info, path.read_bytes())
    return data.getvalue()


def _write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
