"""Ways past the grader's guards that pure Python offers: none earns points, reads what is secret, or leaves the process."""

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pytest
import toy
from toy import SHORT, SOURCE as REFERENCE

import minifl
from minifl.course import gradescope, judge, limits
from minifl.course.remote import Remote
from minifl.course.running import Wrong, expect, instead, with_arguments
from minifl.errors import InputError

NONE = toy.STUBS.replace('"""Toy functions."""\n', "")
LANDLOCK = pytest.mark.skipif(limits.version() < 1, reason="this kernel has no Landlock: audit hooks alone do not stop it")


# Each reads the file SECRET, here the reference, into `got` by a way around the guard.
READING = {
    "replacing what a guard may call": """
real = os.path.realpath
os.path.realpath = os.path.abspath = os.fsdecode = os.fspath = lambda *a, **k: __file__
got = io.open(SECRET).read()""",
    "changing the globals of the main module": """
import __main__ as main
for name, value in vars(main).items():
    if isinstance(value, (tuple, list, set)): setattr(main, name, type(value)("/"))
got = open(SECRET).read()""",
    "changing what the frames around it hold": """
frame = sys._getframe()
while frame:
    for space in (frame.f_globals, frame.f_locals):
        for name, value in list(space.items()):
            if isinstance(value, tuple): space[name] = ("/",)
            if isinstance(value, dict) and "tree" in value: value["tree"] = "/"
    frame = frame.f_back
got = open(SECRET).read()""",
    "the guard itself, from the garbage collector": """
import gc, types
for thing in gc.get_objects():
    if isinstance(thing, types.FunctionType) and thing.__name__ == "hook": thing.__code__ = (lambda event, arguments: None).__code__
got = open(SECRET).read()""",
    "a path that lies": """
class Path(str):
    def startswith(self, *_): return True
    def __add__(self, other): return self
    def __str__(self): return __file__
got = os.read(os.open(Path(SECRET), os.O_RDONLY), 10**6).decode()""",
    "a path through the tree": """
got = open(os.path.dirname(__file__) + "/../../../../../../../../.." + SECRET).read()""",
    "a path from the tree": """
got = open("../../../../../../../.." + SECRET, "rb").read().decode()""",
    "importing it": """
sys.path[:0] = [os.path.dirname(os.path.dirname(os.path.dirname(SECRET)))]
for name in [name for name in sys.modules if name.startswith("minifl")]: del sys.modules[name]
import importlib; importlib.invalidate_caches()
import minifl.layers.norm as norm
got = repr(norm)""",
    "NumPy": """
got = np.fromfile(SECRET, dtype=np.uint8).tobytes().decode()""",
    "another hook": """
sys.addaudithook(lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
got = open(SECRET).read()""",
}
PROGRAM = """
import _posixsubprocess
r, w = os.pipe(); r2, w2 = os.pipe()
_posixsubprocess.fork_exec([b"/bin/cat", SECRET.encode()], [b"/bin/cat"], True, (w, w2), None, None, -1, -1, -1, w, -1, -1, r2, w2,
                           False, False, *([-1] if sys.version_info >= (3, 11) else []), None, None, None, -1, None,
                           *([False] if sys.version_info >= (3, 11) else []))
os.close(w); os.close(w2)
got = os.read(r, 10**6).decode()
assert got, "nothing read"
"""


@pytest.mark.parametrize("code", [*READING.values(), PROGRAM], ids=[*READING, "a program"])
def test_no_way_to_the_reference(grade, code):
    """The reference of the package that grades; a submission that got at it would have what it needs."""
    secret = str(Path(minifl.__file__).parent / "layers/norm.py")
    text = f"import io, os, sys\nimport numpy as np\nSECRET = {secret!r}\n{code}\nassert got\n{REFERENCE}"
    graded = grade(text)
    assert graded.earned == 0, "it was read"
    assert all(outcome.message for outcome in graded.public)


def test_a_link_to_the_reference_is_not_taken(grade, assignment, tmp_path):
    grade(NONE)
    toy.write(tmp_path / "solved/toy.py", REFERENCE)
    (tmp_path / "submission/minifl").rename(tmp_path / "away")
    (tmp_path / "submission/minifl").symlink_to(tmp_path / "solved")
    graded = judge.grade(assignment, tmp_path / "submission", student="", limits=SHORT)
    assert graded.earned == 0 and "behind, a link" in graded.notes[0]
    (tmp_path / "submission/minifl").unlink()
    (tmp_path / "away").rename(tmp_path / "submission/minifl")
    (tmp_path / "named").symlink_to(tmp_path / "submission")     # the instructor may name a link
    assert judge.grade(assignment, tmp_path / "named", student="", limits=SHORT).notes == []


def test_a_pipe_is_not_waited_for(grade, assignment, tmp_path):
    grade(NONE)
    (tmp_path / "submission/minifl/toy.py").unlink()
    os.mkfifo(tmp_path / "submission/minifl/toy.py")
    assert "no plain file" in judge.grade(assignment, tmp_path / "submission", student="", limits=SHORT).notes[0]


@pytest.mark.parametrize("place", ["minifl/toy.py", "toy.py", "hw1/minifl/toy.py"])
def test_where_uploads_leave_their_files(assignment, tmp_path, place):
    toy.write(tmp_path / "upload" / place, REFERENCE)
    assert judge.grade(assignment, tmp_path / "upload", student="", limits=SHORT).earned == 5


@LANDLOCK
def test_the_kernel_refuses_without_any_hook(tmp_path):
    """limits.py alone: what is named can be read, but for what is secret; nothing is written, run or connected to."""
    toy.write(tmp_path / "open/file", "read me")
    toy.write(tmp_path / "open/secret/file", "not me")
    toy.write(tmp_path / "closed/file", "not me")
    code = f"""
import json, os, socket, sys
sys.path.insert(0, {str(Path(limits.__file__).parent)!r})
import limits
found = limits.restrict([*sys.path[1:], {str(tmp_path / 'open')!r}], [], [{str(tmp_path / 'open/secret')!r}], 4096, 60, 0, False)
base, said = {str(tmp_path)!r}, {{}}
for name, attempt in dict(
        read=lambda: open(base + "/open/file").read(), secret=lambda: open(base + "/open/secret/file").read(),
        closed=lambda: open(base + "/closed/file").read(), names=lambda: os.listdir(base + "/closed"),
        write=lambda: os.open(base + "/open/file", os.O_WRONLY), make=lambda: os.mkdir(base + "/open/new"),
        remove=lambda: os.remove(base + "/open/file"), run=lambda: os.execv("/bin/true", ["true"])).items():
    try:
        said[name] = attempt()
    except OSError as error:
        said[name] = type(error).__name__
print(json.dumps(said))
"""
    done = subprocess.run([sys.executable, "-S", "-B", "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout)
    assert said.pop("read") == "read me" and set(said.values()) == {"PermissionError"}, said


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_root_becomes_nobody():
    code = f"""
import sys
sys.path.insert(0, {str(Path(limits.__file__).parent)!r})
import limits, os
limits.become(1_000_000_123, False)
print(os.getresuid(), os.getresgid(), os.getgroups())
try:
    os.setuid(0)
except PermissionError:
    print("for good")
"""
    said = subprocess.run([sys.executable, "-B", "-c", code], capture_output=True, text=True).stdout
    assert said in (f"({number}, {number}, {number}) ({number}, {number}, {number}) []\nfor good\n".replace("'", "")
                    for number in (1_000_000_123, limits.NOBODY))


# ---- what is said, and what is not

def test_what_was_tried_is_said_though_it_was_caught(grade):
    graded = grade(REFERENCE + "\ntry: open('/tmp/elsewhere', 'w')\nexcept OSError: pass\n")
    assert graded.earned == 5 and graded.notes == []
    assert graded.evidence == ["your code tried to open /tmp/elsewhere for writing: not allowed while it is graded"]


def test_what_was_tried_cannot_be_taken_back(grade):
    """Neither by the frames of the guard that an exception leaves, nor by closing what the worker tells it by."""
    graded = grade("""
import os, sys
try:
    open("/etc/shadow")
except OSError as error:
    trace = error.__traceback__
    while trace:
        for value in list(trace.tb_frame.f_locals.values()):
            if isinstance(value, list): value.clear()
        trace = trace.tb_next
frame = sys._getframe()
while frame:
    for value in list(frame.f_locals.values()):
        if isinstance(value, list) and value is not sys.path and value is not sys.meta_path: value.clear()
    frame = frame.f_back
""" + REFERENCE)
    assert graded.evidence == ["your code tried to read /etc/shadow: not allowed while it is graded"]


def test_nothing_that_a_submission_chose_returns_from_a_hidden_test(grade, tmp_path):
    """Its prints, exceptions and the names of files that it asks for may be the hidden array."""
    toy.write(tmp_path / "hidden/hw1.json", '{"seeds": [3]}')
    leaking = REFERENCE.replace("    twice_the", """    said = "x" + repr(x.tolist())
    print(said)
    try: open("/" + said)
    except OSError: pass
    raise ValueError(said)
    twice_the""", 1)
    graded = grade(leaking, hidden=tmp_path / "hidden", student="ada")
    x = judge.running.Given("ada", graded.variant, 3)
    number = repr(x.rng("x").standard_normal(x.size("N", 2, 5)).tolist()[0])[:10]
    assert any(number in line for line in graded.evidence)
    assert number not in json.dumps(gradescope.results(graded)) and "/x[" in json.dumps(gradescope.results(graded))


def test_a_message_of_a_submission_is_one_line(grade):
    graded = grade(REFERENCE.replace("    twice_the", "    raise ValueError('a\\nFAIL  passed\\nMark: 5 of 5')\n    twice_the", 1))
    assert graded.public[0].message.splitlines() == [
        "double raised ValueError: a?FAIL  passed?Mark: 5 of 5 (line 10 of minifl/toy.py)"]


def test_compiling_is_limited(grade):
    """5 kB of nested try/finally: each copies what is in it."""
    nested = "".join(" " * i + "try:\n" + " " * (i + 1) + "x = 0\n" + " " * i + "finally:\n" for i in range(60)) + " " * 60 + "x = 1\n"
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    graded = grade(nested + REFERENCE, limits=judge.Limits(seconds=1, total=30, megabytes=512))
    assert graded.earned == 0 and "cannot be imported" in graded.notes[0]
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 200_000     # kB, of the judge


def test_prints_are_shown_where_a_test_fails(grade):
    graded = grade(REFERENCE.replace("    twice_the", "    print('shape', x.shape)\n    return -x\n    twice_the", 1))
    assert "\nprinted: shape (" in graded.public[0].message


def test_messages_can_be_printed_anywhere(grade):
    graded = grade(REFERENCE.replace("    twice_the", "    raise ValueError('\\ud800\\x1b[2J' + 'x' * 10**6)\n    twice_the", 1))
    message = graded.public[0].message
    message.encode()
    assert "\x1b" not in message and 0 < len(message) <= judge.LONGEST


@pytest.mark.parametrize("code", ["class A: pass\n    return A()", "return [object()]", "return {x.shape: x}", "return x.view(np.matrix)",
                                  "return np.longdouble(1)", "return np.array([None])"])
def test_objects_are_of_no_use_to_a_test(grade, code):
    graded = grade(REFERENCE.replace("    twice_the", f"    {code}\n    twice_the", 1))
    assert graded.earned == 3 and "where numbers, arrays" in graded.public[0].message


def test_a_result_that_broadcasts_beyond_memory_costs_its_test_alone(monkeypatch, grade):
    """16 MB against x of two numbers or more make 256 MB of float64 or more, in the judge's process."""
    monkeypatch.setattr(judge, "ROOM", 200 << 20)
    graded = grade(REFERENCE.replace("    twice_the", "    return np.zeros((4000, 1, 4000, 1), np.int8)\n    twice_the", 1))
    assert graded.earned == 3 and "MemoryError" in graded.public[0].message


def test_a_result_that_keeps_a_test_busy_costs_its_test_alone(monkeypatch, assignment, grade):
    """Here the test itself counts for ever."""
    monkeypatch.setattr(judge, "GRACE", -0.5)
    source = toy.TESTS.replace("    expect(np.allclose(y, factor", "    while y[0] < 0: pass\n    expect(np.allclose(y, factor")
    toy.write(judge.assignments.ROOT / "minifl/course/hw1/tests.py", source)
    graded = grade(REFERENCE.replace("    twice_the", "    return -np.ones(2)\n    twice_the", 1), limits=SHORT._replace(seconds=0.2))
    assert graded.earned == 3 and "could not make anything" in graded.public[0].message


# ---- one worker, many tests, and functions that cross to it

@pytest.fixture
def remote(tmp_path):
    """text of the module minifl.m -> Remote."""
    made = []

    def start(text, **options):
        toy.write(tmp_path / "tree/minifl/__init__.py", "")
        toy.write(tmp_path / "tree/minifl/m.py", text)
        made.append(Remote(tmp_path / "tree", SHORT._replace(**options)))
        made[-1].begin_test()
        return made[-1]
    yield start
    for student in made:
        student.stop()


def test_a_cache_of_an_ended_process_is_refused(remote):
    student = remote("import os\ndef f():\n    return 1, object()\ndef g(cache):\n    return 2\ndef end():\n    os._exit(0)\n")
    functions = student("minifl.m")
    _, cache = functions.f()
    assert functions.g(cache) == 2
    with pytest.raises(Wrong, match="exit code 0"):
        functions.end()
    with pytest.raises(Wrong, match="went with its process"):
        functions.g(cache)
    _, cache = functions.f()
    assert functions.g(cache) == 2


def test_functions_of_a_test_are_called_in_the_test(remote):
    """They stay here: the student's code can call them and hand them on, not look into them."""
    student = remote("""
import numpy as np
def twice(f, x): return f(x) + f(x, shift=1.0)
def fill(f, table): f(table, [2]); return table
def look(f): return [name for name in dir(f) if not name.startswith("__")], repr(f.__closure__ is None)
def back(f): return f
def kind(f):
    try: f()
    except Exception as error: return type(error).__name__, str(error)
""")
    module, seen = student("minifl.m"), []

    def f(x, shift=0.0):
        seen.append(x)
        return 3 * x + shift

    def fills(table, more):
        table["x"][...] = 7
        table["new"] = np.ones(2)

    assert module.twice(f, np.ones(2)).tolist() == [7, 7] and len(seen) == 2
    table = module.fill(fills, {"x": np.zeros(3)})
    assert table["x"].tolist() == [7, 7, 7] and table["new"].tolist() == [1, 1]
    assert module.look(f)[0] == [] and module.back(f) is f
    assert module.kind(lambda: 1 / 0) == ("ZeroDivisionError", "division by zero")
    assert module.kind(object()) == ("TypeError", "an object of type object was called")
    with pytest.raises(Wrong, match="is not the number"):
        module.twice(lambda x: expect(False, "is not the number"), 1.0)
    assert module.twice(f, 1.0) == 7.0        # by a process that is asked anew


def test_a_function_of_a_test_may_call_the_students(remote):
    module = remote("def f(g, n):\n    return 1 if n == 0 else n * g(n - 1)\n")("minifl.m")
    assert module.f(lambda n: module.f(lambda m: 1, 0) if n == 0 else n * 10, 3) == 60
    assert module.f(lambda n: module.f(lambda m: 100, 1) + n, 2) == 2 * 101


def test_what_a_call_changes_is_looked_at_and_not_taken_over(remote):
    module = remote("def f(x, table):\n    x *= 0\n    table['new'] = x\n    return x\n")("minifl.m")
    x, table = np.ones(3), {}
    assert not module.f(x, table).any() and x.all() and table == {}
    found, arguments, options = with_arguments(module.f, x, table=table)
    assert not found.any() and x.all() and table == {}
    assert not arguments[0].any() and not options["table"]["new"].any()


def test_methods_and_attributes_of_an_object(remote):
    module = remote("""
class Sum:
    unit = 2.0
    def __init__(self, start): self.value = start
    def add(self, x): self.value = self.value + self.step(x); return self
    def step(self, x): return x * self.unit
""")("minifl.m")
    one = module.Sum(1.0)
    assert one.add(2.0).value == 5.0 and module.Sum.unit == 2.0
    with instead(module.Sum, step=lambda self, x: 10 * x):
        assert module.Sum(0.0).add(2.0).value == 20.0
    assert module.Sum(0.0).add(2.0).value == 4.0
    with pytest.raises(Wrong, match="nothing raised AttributeError"):
        one.nothing
    assert not hasattr(one, "__array_interface__")


def test_a_function_that_hangs_is_not_called_for_ever(remote):
    student = remote("def f():\n    while True: pass\ndef g():\n    return 1\n", seconds=0.5)
    for said in ("longer than 0.5 s: an infinite", "longer than 0.5 s: an infinite", "not called any more"):
        student.begin_test()
        with pytest.raises(Wrong, match=said):
            student("minifl.m").f()
    assert student("minifl.m").g() == 1


def test_a_module_that_hangs_is_imported_once(remote):
    student = remote("while True: pass", seconds=0.5)
    for _ in range(20):
        student.begin_test()
        with pytest.raises(Wrong, match="minifl.m took longer"):
            student("minifl.m").f()
    assert student.generation == 1


def test_a_worker_that_does_not_start_is_no_fault_of_the_submission(grade, monkeypatch):
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(InputError, match="--memory 1024: the grader's process does not start"):
        grade(REFERENCE)


def test_grading_in_a_thread(grade):
    """Where no alarm can be set."""
    found = []
    thread = threading.Thread(target=lambda: found.append(grade(REFERENCE)))
    thread.start()
    thread.join()
    assert found[0].earned == 5
