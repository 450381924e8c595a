"""Variants, the student's folder, and its grade.py."""

import json
import re
import subprocess
import sys

import pytest
import toy

import minifl
from minifl.course import assignments, carve, earlier, running
from minifl.course.assignments import Choice, Patch
from minifl.errors import InputError


def grade_py(folder, *arguments):
    return subprocess.run([sys.executable, "-B", "grade.py", *arguments], cwd=folder, capture_output=True, text=True)


# ---- assignments and variants

def test_real_assignments_load_and_have_points():
    for name in assignments.NAMES:
        assignment = assignments.load(name)
        assert assignment.name == name and sum(assignments.parts(assignment).values()) > 0
        assert all((assignments.ROOT / file).is_file() for file in (*assignment.files, *assignment.given))
        assert all(values and not next(iter(values.values())).patches for values in assignment.choices.values())
        assert len(assignments.variants(assignment)) >= 4
    with pytest.raises(InputError, match="'hw9' is unknown; valid are hw1"):
        assignments.load("hw9")


def test_a_variant_is_a_function_of_the_student(assignment):
    of = [assignments.variant_of(assignment, student)["scale"] for student in map(str, range(40))]
    assert set(of) == {"published", "thrice"} and of == [assignments.variant_of(assignment, s)["scale"] for s in map(str, range(40))]
    assert assignments.variant_of(assignment, "") == {"scale": "published"} == assignments.variants(assignment)[0]
    assert assignments.parse_variant(assignment, "scale=thrice") == {"scale": "thrice"}
    assert assignments.parse_variant(assignment, "") == {"scale": "published"}
    for text in ("scale=four", "size=2", "scale"):
        with pytest.raises(InputError, match=r"valid are scale=published\|thrice"):
            assignments.parse_variant(assignment, text)


@pytest.mark.parametrize("old", ["no such text", "x"])
def test_a_replacement_that_does_not_fit_once_is_an_error(assignment, old):
    choices = {"scale": {"published": Choice(""), "bad": Choice("", (Patch("minifl/toy.py", old, "z"),))}}
    with pytest.raises(ValueError, match="it has to occur once"):
        assignments.source(assignment._replace(choices=choices), {"scale": "bad"}, "minifl/toy.py")


# ---- the folder

def test_the_folder(assignment, tmp_path):
    out = tmp_path / "a" / "hw1"
    carve.carve(assignment, out, student="ada")
    files = sorted(str(path.relative_to(out)) for path in out.rglob("*") if path.is_file())
    assert files == ["READER.md", "README.md", "answers.md", "grade.py", "minifl/__init__.py", "minifl/course/__init__.py",
                     "minifl/course/hw1/__init__.py", "minifl/course/hw1/tests.py", "minifl/course/running.py",
                     "minifl/course/settings.json", "minifl/toy.py"]
    settings = json.loads((out / carve.SETTINGS).read_text())
    assert settings.pop("version") == minifl.__version__ and re.fullmatch("[0-9a-f]{16}", settings.pop("handed_out"))
    assert settings == {
        "assignment": "hw1", "student": "ada", "variant": assignments.variant_of(assignment, "ada")}
    readme = (out / "README.md").read_text()
    assert "# hw1: Toys" in readme and "| doubling | 2 | `doubles` |" in readme and "- `minifl/toy.py`" in readme
    assert "- `answers.md`" in readme and "| questions in `answers.md` | 2 | none: marked by hand |" in readme
    assert list(out.parent.iterdir()) == [out]


def test_a_folder_that_holds_something_is_left_alone(assignment, tmp_path):
    (tmp_path / "mine.txt").write_text("work")
    with pytest.raises(InputError, match="not an empty folder"):
        carve.carve(assignment, tmp_path)
    with pytest.raises(InputError, match="not an empty folder"):
        carve.carve(assignment, tmp_path / "mine.txt")
    assert (tmp_path / "mine.txt").read_text() == "work"
    (tmp_path / "empty").mkdir()
    carve.carve(assignment, tmp_path / "empty")
    assert (tmp_path / "empty/grade.py").exists()


def test_a_failure_leaves_nothing_behind(assignment, tmp_path):
    with pytest.raises(InputError, match="hw1: minifl/none.py is not in the package"):
        carve.carve(assignment._replace(given=("minifl/none.py",)), tmp_path / "out" / "hw1")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_function_that_was_renamed_is_named_and_nothing_is_left_behind(monkeypatch, tmp_path):
    renamed = toy.install(monkeypatch, tmp_path / "repository", source=toy.SOURCE.replace("def square", "def squared"))
    with pytest.raises(InputError, match=r"minifl\.toy\.square: .*moved or renamed"):
        carve.carve(renamed, tmp_path / "out" / "hw1")
    assert list((tmp_path / "out").iterdir()) == []


def test_a_variant_changes_the_task_too(monkeypatch, tmp_path):
    patch = Patch("minifl/course/hw1/sheet.md", "twice a number", "three times a number")
    choices = {"scale": {"published": Choice(""), "thrice": Choice("", (patch,))}}
    assignment = toy.install(monkeypatch, tmp_path, assignment=toy.ASSIGNMENT._replace(choices=choices))
    for scale, task in (("published", "What is twice a number?"), ("thrice", "What is three times a number?")):
        assert f"    {task}\n" in assignments.students(assignment, {"scale": scale}, "minifl/toy.py")


def test_grade_py_from_stubs_to_full_marks(assignment, tmp_path):
    carve.carve(assignment, tmp_path / "hw1", variant={"scale": "thrice"})
    result = grade_py(tmp_path / "hw1")
    assert result.returncode == 1 and result.stderr == ""
    assert "Total" in result.stdout and "0.0 of 5 points" in result.stdout and result.stdout.count("not written yet") == 3
    assert "todo It doubles. [doubles]" in result.stdout and "(given)" in result.stdout
    assert "Look at" not in result.stdout and "FAIL" not in result.stdout     # nothing is wrong yet
    carve.carve(assignment, tmp_path / "solved", variant={"scale": "thrice"}, reference=True)
    (tmp_path / "hw1/minifl/toy.py").write_text((tmp_path / "solved/minifl/toy.py").read_text())
    result = grade_py(tmp_path / "hw1")
    assert result.returncode == 0 and "5.0 of 5 points" in result.stdout and "FAIL" not in result.stdout
    part = grade_py(tmp_path / "hw1", "squaring")
    assert part.returncode == 0 and "3.0 of 3 points" in part.stdout and "doubling" not in part.stdout
    assert "2.0 of 2 points" in grade_py(tmp_path / "hw1", "squares").stdout
    unknown = grade_py(tmp_path / "hw1", "cubing")
    assert unknown.returncode == 2 and "there are doubling, squaring, given" in unknown.stderr


def test_what_is_wrong_says_where_to_look(assignment, tmp_path):
    """Also in a folder whose path has the words of ours in it; and one test's failure does not hide the others."""
    folder = tmp_path / "course" / "minifl" / "hw1"
    carve.carve(assignment, folder, reference=True)
    toy_file = folder / "minifl/toy.py"
    toy_file.write_text(toy_file.read_text().replace("= x + x\n", "= x.nothing()\n"))
    out = grade_py(folder).stdout
    line = toy_file.read_text().splitlines().index("    twice_the_number_that_came_in = x.nothing()") + 1
    assert f"'nothing' (line {line} of minifl/toy.py)" in " ".join(out.split())
    assert "FAIL It doubles. [doubles]" in out and "Look at: the task of double" in out and "ok   It squares." in out
    toy_file.write_text("def double(x:\n")
    out = grade_py(folder).stdout
    assert out.count("SyntaxError: '(' was never closed (toy.py, line 1)") == 4 and "0.0 of 5 points" in out


def test_the_folder_needs_nothing_of_the_repository(assignment, tmp_path):
    """In an isolated Python, moved elsewhere, with all modules from the folder."""
    carve.carve(assignment, tmp_path / "hw1", reference=True)
    (tmp_path / "hw1").rename(tmp_path / "elsewhere")
    code = ("import sys; sys.path.insert(0, sys.argv[1]); import minifl.toy, minifl.course.hw1.tests; "
            "print(*(m.__file__ for n, m in sys.modules.items() if n.split('.')[0] == 'minifl'), sep='\\n')")
    result = subprocess.run([sys.executable, "-I", "-B", "-c", code, str(tmp_path / "elsewhere")], cwd="/",
                            capture_output=True, text=True, check=True)
    files = result.stdout.split()
    assert len(files) == 6 and all(file.startswith(str(tmp_path / "elsewhere")) for file in files)
    result = subprocess.run([sys.executable, "-I", "-B", str(tmp_path / "elsewhere/grade.py")], cwd="/",
                            capture_output=True, text=True)
    assert result.returncode == 0 and "5.0 of 5 points" in result.stdout


def test_in_a_notebook(assignment, tmp_path):
    """grade() of grade.py sees the files as they are at that moment."""
    carve.carve(assignment, tmp_path / "hw1", reference=True)
    code = ("from grade import grade; from pathlib import Path; grade('doubling'); p = Path('minifl/toy.py'); "
            "p.write_text(p.read_text().replace('x + x', 'x')); grade('doubling')")
    result = subprocess.run([sys.executable, "-B", "-c", code], cwd=tmp_path / "hw1", capture_output=True, text=True, check=True)
    assert "2.0 of 2 points" in result.stdout and "0.0 of 2 points" in result.stdout


# ---- running a test

def test_given_is_the_students_own():
    ada, emmy, hidden = (running.Given(student, {}, seed) for student, seed in (("ada", 0), ("emmy", 0), ("ada", 5)))
    draws = [tuple(g.rng("x").random(3)) for g in (ada, emmy, hidden)]
    assert len(set(draws)) == 3 and tuple(ada.rng("x").random(3)) == draws[0] != tuple(ada.rng("y").random(3))
    sizes = [running.Given(str(i), {}).size("N", 3, 5) for i in range(40)]
    assert set(sizes) == {3, 4, 5}


@pytest.mark.parametrize("error, message", [
    (None, ""), (running.Wrong("too small"), "too small"), (running.Wrong(), "wrong"),
    (NotImplementedError("hw1, a"), "not written yet (hw1, a)"), (SystemExit(3), "SystemExit: 3"),
    (ValueError("x"), "ValueError: x"), (RecursionError("deep"), "RecursionError: deep")])
def test_outcomes(error, message):
    @running.graded("a", 2, "line 3")
    def a_test(student, given):
        """It
        works."""
        if error:
            raise error

    outcome = running.run(a_test, running.local, running.Given("", {}))
    assert outcome.message.startswith(message) and outcome.passed == (message == "")
    assert (outcome.name, outcome.what, outcome.part, outcome.earned) == ("a_test", "It works.", "a", 0 if message else 2)
    text = running.table([outcome])
    unwritten = isinstance(error, NotImplementedError)
    assert ("Look at: line 3" in text) == (bool(message) and not unwritten) and ("todo" in text) == unwritten
    assert f"{outcome.earned:.1f} of 2 points" in text


def test_the_table_fits_a_terminal():
    outcome = running.Outcome("a_test", "what " * 40, "a part with a name that is longer than others", 2, 0,
                              "first " * 40 + "\n    indented", "look " * 40, 0.1)
    other = outcome._replace(part="b", message="", earned=2)
    lines = running.table([outcome, other]).splitlines()
    assert max(map(len, lines)) <= running.WIDTH and "           indented" in lines
    assert len({line.index("of 2 points") for line in lines if "of 2 points" in line}) == 1


def test_solutions_of_earlier_assignments_are_kept_back(tmp_path):
    """Who needs them at home is told so; a folder without them is graded with the reference, as any."""
    hw3 = assignments.load("hw3")
    assert set(earlier.handed_out(hw3)) == {"hw1", "hw2"} and not earlier.warning(assignments.load("hw1"))
    carve.carve(hw3, tmp_path / "kept", student="ada", keep_back=True)
    text = (tmp_path / "kept/minifl/layers/norm.py").read_text()
    assert "feature_norm is kept back: put your own of hw2 here" in text and "Derivation" not in text
    assert "linear is kept back: put your own of hw1 here" in (tmp_path / "kept/minifl/layers/linear.py").read_text()
    for file in hw3.files:
        (tmp_path / "kept" / file).write_text(assignments.source(hw3, assignments.variant_of(hw3, "ada"), file))
    done = subprocess.run([sys.executable, "-B", "grade.py"], cwd=tmp_path / "kept", capture_output=True, text=True)
    assert "18.0 of 24 points" in done.stdout and "is kept back" in done.stdout


def test_the_fast_form_of_a_layer_is_a_solution_too():
    hw4 = assignments.load("hw4")
    found = earlier.handed_out(hw4)["hw3"]
    assert {task.function for task in found["minifl/fast/conv.py"]} == {"minifl.fast.conv.conv2d", "minifl.fast.conv.conv2d_backward"}
    text = earlier.kept_back(hw4, assignments.variant_of(hw4, ""), "minifl/fast/conv.py")
    assert text.count("is kept back: put your own of hw3 here") == 2
