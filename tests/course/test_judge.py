"""The grader: right, wrong, broken and hostile submissions each get a score and a message, and none breaks it."""

import os

import pytest
import toy
from toy import SHORT, SOURCE as REFERENCE

import minifl
from minifl.course import judge
from minifl.course.judge import Limits
from minifl.errors import InputError


def messages(graded):
    return {outcome.name: outcome.message for outcome in (*graded.public, *graded.hidden)}


def test_the_reference_has_full_marks(grade):
    graded = grade(REFERENCE)
    assert (graded.earned, graded.points) == (5, 5) and graded.notes == []
    assert set(messages(graded).values()) == {""}


def test_the_stubs_have_none_and_say_so(grade):
    graded = grade(toy.STUBS)
    assert (graded.earned, graded.points) == (0, 5)
    assert messages(graded)["doubles"].startswith("not written yet") and messages(graded)["cubes"] == ""


def test_a_wrong_part_loses_its_points(grade):
    graded = grade(REFERENCE.replace("= x + x\n", "= x\n"))
    assert graded.earned == 3 and "for" in messages(graded)["doubles"]


def test_an_exception_comes_with_its_type_and_line(grade):
    graded = grade(REFERENCE.replace("    twice_the", "    x.no_such_thing\n    twice_the"))
    line = REFERENCE.splitlines().index("    twice_the_number_that_came_in = x + x") + 1
    assert "double raised AttributeError" in messages(graded)["doubles"]
    assert f"(line {line} of minifl/toy.py)" in messages(graded)["doubles"] and graded.earned == 3


# ---- variants, students, hidden tests

def test_the_variant_follows_from_the_student_and_a_copy_is_no_answer(grade, assignment):
    thrice = next(name for name in map(str, range(50)) if judge.assignments.variant_of(assignment, name)["scale"] == "thrice")
    assert grade(REFERENCE, student=thrice).earned == 3
    assert grade(REFERENCE.replace("= x + x\n", "= x + x + x\n"), student=thrice).earned == 5
    assert grade(REFERENCE, student=thrice, variant={"scale": "published"}).earned == 5


def test_hidden_tests_have_half_of_the_points(grade, tmp_path):
    hidden = tmp_path / "hidden"
    toy.write(hidden / "hw1.json", '{"seeds": [3, 4]}')
    graded = grade(REFERENCE, hidden=hidden)
    assert (graded.earned, graded.points) == (5, 5) and len(graded.hidden) == 3
    public_only = REFERENCE.replace("    twice_the", "    if abs(x[0] - PUBLIC) > 1e-9: return x\n    twice_the", 1)
    given = judge.running.Given("", {"scale": "published"})
    number = given.rng("x").standard_normal(given.size("N", 2, 5))[0]
    graded = grade(public_only.replace("PUBLIC", repr(float(number))), hidden=hidden)
    assert graded.earned == 4 and [o.passed for o in graded.hidden] == [False, True, True]
    toy.write(hidden / "hw1.py", toy.TESTS.replace('"doubling", 2', '"more", 7').replace("def doubles", "def more"))
    assert grade(REFERENCE, hidden=hidden).points == 5 + 7 + 3


def test_a_hidden_folder_that_is_none_is_an_error(grade, tmp_path):
    with pytest.raises(InputError, match="holds neither hw1.json nor hw1.py"):
        grade(REFERENCE, hidden=tmp_path)
    for seeds in ('"x"', "3", "[]", "[0]", "[-1]", "[1.5]", "[true]"):
        toy.write(tmp_path / "hw1.json", f'{{"seeds": {seeds}}}')
        with pytest.raises(InputError, match='it should be {"seeds"'):
            grade(REFERENCE, hidden=tmp_path)
    toy.write(tmp_path / "hw1.json", '{"seeds": [1]}')
    toy.write(tmp_path / "hw1.py", "1 / 0")
    with pytest.raises(InputError, match="hw1.py: ZeroDivisionError"):
        grade(REFERENCE, hidden=tmp_path)


# ---- broken submissions

def test_files_that_are_none(grade, assignment, tmp_path):
    for text, note in (("def double(x:\n", "raised SyntaxError"), ("x = 1\0", "cannot be imported"),
                       ("#" * (2**20 + 1), "larger than 1 MB"), ("(" * 3000 + ")" * 3000, "cannot be imported")):
        graded = grade(text)
        assert graded.earned == 0 and note in graded.notes[0]
    file = tmp_path / "submission/minifl/toy.py"
    file.write_bytes(b"x = '\xff'")
    assert "not UTF-8" in judge.grade(assignment, file.parents[1], limits=SHORT).notes[0]
    file.unlink()
    assert "missing" in judge.grade(assignment, file.parents[1], limits=SHORT).notes[0]
    file.symlink_to("/etc/passwd")
    assert "no plain file" in judge.grade(assignment, file.parents[1], limits=SHORT).notes[0]
    with pytest.raises(InputError, match="is not a folder"):
        judge.grade(assignment, tmp_path / "nowhere")


def test_other_files_of_a_submission_are_not_taken(grade, tmp_path):
    folder = tmp_path / "submission"
    toy.write(folder / "minifl/__init__.py", "raise SystemExit")
    toy.write(folder / "minifl/course/hw1/tests.py", "")
    toy.write(folder / "numpy.py", "raise SystemExit")
    toy.write(folder / "sitecustomize.py", "raise SystemExit")
    assert grade(REFERENCE).earned == 5


# ---- hostile submissions: what they do at import or in double, and what is said of it

IN_CALL = {
    "an infinite loop": ("while True: pass", "infinite loop"),
    "sleeping": ("import time; time.sleep(100)", "infinite loop"),
    "no more memory": ("y = [0]\n    while True: y = y + y", "MemoryError"),
    "one large array": ("return np.ones(2**28)", "MemoryError"),
    "sys.exit": ("import sys; sys.exit(0)", "SystemExit"),
    "os._exit": ("import os; os._exit(0)", "ended its process"),
    "an interrupt": ("raise KeyboardInterrupt", "KeyboardInterrupt"),
    "recursion": ("return double(x)", "RecursionError"),
    "a crash": ("import faulthandler; faulthandler._sigsegv()", "ended its process"),
    "writing outside": ("open(OUTSIDE, 'w')", "not allowed"),
    "writing by os.open": ("import os; os.open(OUTSIDE, os.O_CREAT | os.O_WRONLY)", "not allowed"),
    "making a folder": ("import os; os.mkdir(OUTSIDE)", "not allowed"),
    "saving an array": ("np.save(OUTSIDE, x)", "not allowed"),
    "reading the hidden tests": ("return open(HIDDEN).read()", "not allowed"),
    "looking for them": ("import os; return os.listdir(os.path.dirname(HIDDEN))", "not allowed"),
    "reading the reference": ("return open(REPOSITORY).read()", "not allowed"),
    "a shell": ("import os; os.system('touch ' + OUTSIDE)", "not allowed"),
    "a process": ("import subprocess; subprocess.run(['touch', OUTSIDE])", "not allowed"),
    "a fork": ("import os\n    while True: os.fork()", "not allowed"),
    "a socket": ("import socket; socket.create_connection(('127.0.0.1', 9))", "not allowed"),
    "killing the grader": ("import os; os.kill(os.getppid(), 9)", "not allowed"),
    "C code": ("import ctypes; ctypes.CDLL(None).system(b'true')", "not allowed"),
    "deleting the tree": ("import shutil; shutil.rmtree(shutil.os.path.dirname(__file__))", "not allowed"),
    "closing everything": ("import os\n    for fd in range(3, 50):\n        try: os.close(fd)\n        except OSError: pass", "ended"),
    "a forged answer": ("import os\n    for fd in range(3, 20):\n        try: os.write(fd, b'{\"id\": 1, \"result\": 4}\\n')\n"
                        "        except OSError: pass\n    return 4", "cannot be read"),
    "noise": ("import os\n    for fd in range(3, 20):\n        try: os.write(fd, b'\\0' * 100 + b'\\n')\n"
              "        except OSError: pass", "cannot be read"),
    "a huge answer": ("return 'x' * 2**27", "cannot be"),
    "an endless print": ("for i in range(10**5): print('x' * 1000)\n    return 'nothing'", ""),
    "a strange answer": ("class A: pass\n    return A()", ""),
    "an array that lies": ("class A(np.ndarray): pass\n    return x.view(A)", ""),
    "an unprintable error": ("class E(Exception):\n        def __str__(self): 1 / 0\n    raise E", "E"),
    "raising limits": ("import resource; resource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "not allowed"),
    "patching the checker": ("import numpy, builtins\n    numpy.allclose = lambda *a, **k: True\n    builtins.abs = lambda x: 0\n"
                             "    return x", "for"),
    "the checker's module": ("import minifl.course.running", "No module named"),
    "the tests' module": ("import minifl.course.hw1.tests", "No module named"),
    "another module": ("import sys\n    sys.modules['minifl.toy'] = sys\n    return x", "does not come from the submission"),
}


@pytest.mark.parametrize("name", IN_CALL)
def test_hostile_calls_cost_their_own_points_alone(grade, tmp_path, name):
    code, said = IN_CALL[name]
    outside, hidden = tmp_path / "outside", tmp_path / "hidden" / "hw1.json"
    toy.write(hidden, '{"seeds": [3]}')
    places = f"OUTSIDE, HIDDEN, REPOSITORY = {str(outside)!r}, {str(hidden)!r}, {minifl.__file__!r}\n"
    text = places + REFERENCE.replace("    twice_the", f"    {code}\n    twice_the", 1)
    time = 10 if "memory" in name or "huge" in name else 1.5       # to fill half a gigabyte, on a busy machine
    graded = grade(text, hidden=hidden.parent, limits=Limits(seconds=time, total=60, megabytes=512))
    earned = {o.name: o.earned for o in graded.public}
    assert earned["doubles"] == 0 and said in messages(graded)["doubles"]
    assert not outside.exists() and hidden.read_text() == '{"seeds": [3]}'
    if name != "another module":    # which takes the place of the student's own
        assert earned["squares"] == 1 and earned["refuses"] == 0.5


@pytest.mark.parametrize("code, said", [
    ("while True: pass", "infinite loop"), ("import sys; sys.exit()", "SystemExit"), ("import os; os._exit(3)", "exit code 3"),
    ("raise RuntimeError('no')", "RuntimeError: no"), ("open('/tmp/x', 'a')", "not allowed"),
    ("import sys; sys.modules[__name__] = None", ""),
    ("import threading\nthreading.Thread(target=lambda: [None for _ in iter(int, 1)]).start()", ""),
])
def test_hostile_at_import(grade, code, said):
    graded = grade(REFERENCE + "\n" + code + "\n", limits=Limits(seconds=1, total=8, megabytes=1024))
    assert len(graded.public) == 4 and said in messages(graded)["doubles"]
    assert said == "" or graded.earned == 0


def test_a_submission_meets_no_secret(grade, tmp_path):
    """What it can see of the grader: neither its path, nor its environment, nor the instructor's package."""
    os.environ["MINIFL_SECRET"] = "s3cret"
    try:
        text = REFERENCE.replace("    twice_the", "    import sys, os, gc\n    import minifl\n"
                                 "    raise RuntimeError(repr((sys.argv[1:], dict(os.environ), minifl.__path__)))\n    twice_the", 1)
        said = messages(grade(text))["doubles"]
    finally:
        del os.environ["MINIFL_SECRET"]
    assert "s3cret" not in said and "minifl-grade-" in said
    assert "No module named 'minifl.layers'" in messages(grade("import minifl.layers.norm\n" + REFERENCE))["doubles"]


def test_the_time_of_a_whole_submission_is_limited(grade):
    text = REFERENCE.replace("    twice_the", "    while True: pass\n    twice_the", 1)
    graded = grade(text, limits=Limits(seconds=3, total=1, megabytes=1024))
    assert graded.earned == 0 and "used up" in messages(graded)["squares"]
