"""Cheats: submissions that have to earn nothing, and of which the instructor has to see what they tried.

Of each assignment `course check` hands in, over stubs, all of QUIET in one submission, and some of LOUD, each alone, so that
every one is tried on some assignment; over solutions, whose shapes are right, the answers of CONSTANT.
"""

import re
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minifl.course import assignments, carve, judge
from minifl.course.assignments import Assignment
from minifl.course.remote import PACKAGE, Limits

LIMITS = Limits(seconds=1, total=6, megabytes=1024)
SLOW = Limits(seconds=0.4, total=1.5, megabytes=1024)


SHARED = 6     # assignments among which LOUD is dealt out


class Cheat(NamedTuple):
    """A way to cheat. QUIET: `code` runs while the file is imported and has to raise; LOUD: it runs in each function, or
    instead of it if it defines `answer`."""
    name: str
    code: str
    seen: str      # what has to stand in evidence, notes or messages; a regular expression
    limits: Limits = LIMITS


# What a file begins with. put(answer): each function of the student's is this one; DID: what was possible, SAID: why not
TOOLS = '''
import builtins, importlib, io, os, sys, time
import numpy as np
NAMES, HW, PACKAGE, SECRET, DID, SAID = {names!r}, {hw!r}, {package!r}, {secret!r}, [], []


def put(answer):
    for name in NAMES:
        *path, last = name.split(".")
        of = sys.modules[__name__]
        for part in path:
            of = getattr(of, part)
        setattr(of, last, answer)


def first(arguments):
    return next((value for value in arguments if isinstance(value, np.ndarray)), 1.0)


def serving(name):
    """What the loop of the process calls so."""
    frame = sys._getframe()
    while name not in frame.f_locals:
        frame = frame.f_back
    return frame.f_locals[name]


def trying(name, code):
    try:
        exec(code, globals())
        DID.append(name)
    except BaseException as error:
        SAID.append(f"{{type(error).__name__}}: {{str(error)[:60]}}")


def telling(*arguments, **options):
    raise RuntimeError(f"did: {{DID}}, was told: {{sorted(set(SAID))}}"[:900])


'''

QUIET = (
    Cheat("the oracles", "importlib.import_module(f'minifl.course.{HW}.expected')", "No module named 'minifl.course"),
    Cheat("the tests", "importlib.import_module(f'minifl.course.{HW}.tests')", "No module named 'minifl.course"),
    Cheat("the drivers, to patch them", "importlib.import_module(f'minifl.course.{HW}.drivers').verdict = print",
          "No module named 'minifl.course"),
    Cheat("who they are", "open(os.path.join(os.getcwd(), 'minifl/course/settings.json')).read()", "No such file"),
    Cheat("the installed minifl", """
sys.path.insert(0, os.path.dirname(PACKAGE))
before = {name: sys.modules.pop(name) for name in list(sys.modules) if name.partition(".")[0] == "minifl"}
importlib.invalidate_caches()
try:
    importlib.import_module('minifl.gradcheck.mutants')
finally:
    sys.modules.update(before)
    sys.path.pop(0)
""", "tried to (list the folder|read) .*"),
    Cheat("a file by its loader", "__loader__.get_data(PACKAGE + '/course/layers.py')", "read .*/course/layers.py"),
    Cheat("a module by its place", """
spec = importlib.util.spec_from_file_location('x', PACKAGE + f'/course/{HW}/expected.py')
spec.loader.exec_module(importlib.util.module_from_spec(spec))""", "read .*/expected.py"),
    Cheat("lines for a traceback", "import linecache\nassert linecache.getlines(PACKAGE + '/course/judge.py')",
          "AssertionError|read .*/judge.py"),
    Cheat("NumPy's reader", "np.fromfile(PACKAGE + '/course/process.py', np.uint8)", "read .*/process.py"),
    Cheat("the hidden tests", "open(SECRET)", "read .*hidden-of-a-cheat"),
    Cheat("a path that lies", "class Lies(str):\n    __str__ = __fspath__ = lambda self: __file__\n"
          "os.open(Lies(SECRET + '2'), os.O_RDONLY)", "read .*hidden-of-a-cheat2"),
    Cheat("other submissions", "os.listdir('/tmp')", "list the folder /tmp"),
    Cheat("the grader's environment", "open(f'/proc/{os.getppid()}/environ').read()", "read /proc/"),
    Cheat("the grader's memory", "open(f'/proc/{os.getppid()}/mem', 'r+b')", "open /proc/.* for writing"),
    Cheat("files that are left behind", "open('/tmp/minifl-cheat', 'w')", "open /tmp/minifl-cheat for writing"),
    Cheat("the network", "import socket\nsocket.create_connection(('127.0.0.1', 9))", "open a network connection|socket"),
    Cheat("a program", "os.system('id')", "run a program"),
    Cheat("a process of its own session", "os.fork() or os.setsid()", "start a process"),
    Cheat("a thread", "import threading\nthreading.Thread(target=print).start()", "start new thread|RuntimeError"),
    Cheat("C", "import ctypes\nctypes.CDLL(None)", "use ctypes"),
    Cheat("the end of the grader", "os.kill(os.getppid(), 9)", "send a signal"),
    Cheat("higher limits", "import resource\nresource.setrlimit(resource.RLIMIT_AS, (-1, -1))", "use resource.setrlimit"),
    Cheat("all objects that there are", "import gc\ngc.get_objects()", "use gc.get_objects"),
    Cheat("a hook of its own", "sys.addaudithook(print)\nraise RuntimeError", "use sys.addaudithook"),
    Cheat("the guard, by the frames of an exception", """
import types
try:
    open('/etc/guarded')
except OSError as error:
    trace = error.__traceback__.tb_next
while trace:
    for name, value in list(trace.tb_frame.f_locals.items()):
        if isinstance(value, types.FunctionType):
            value.__code__ = (lambda *arguments, **options: True).__code__
        elif isinstance(value, list):
            value[:] = range(100)
        elif isinstance(value, (tuple, frozenset)):
            trace.tb_frame.f_locals[name] = type(value)()
    trace = trace.tb_next
open('/etc/unguarded')""", "read /etc/unguarded"),
    Cheat("what the grader is told by", """
for number in range(3, 40):
    for close in (os.close, lambda number: os.dup2(1, number)):
        try:
            if os.readlink(f'/proc/self/fd/{number}').startswith('pipe'):
                close(number)
        except OSError:
            pass
    if number != serving('channel'):
        for close in (os.close, lambda number: os.dup2(1, number)):
            try:
                close(number)
            except OSError:
                pass
open('/etc/untold')""", "read /etc/untold|closed what the grader|ended its process"),
)

LOUD = (
    Cheat("patched arithmetic", "np.allclose = np.array_equal = lambda *a, **k: True\nnp.abs = lambda x: 0.0\n"
          "builtins.abs = lambda x: 0\nbuiltins.isinstance = lambda *a: True\nreturn 1.0", "."),
    Cheat("objects that lie", "class Lie(np.ndarray):\n    __eq__ = __le__ = lambda *a: True\n    __array_wrap__ = None\n"
          "return first(arguments).view(Lie) if type(first(arguments)) is np.ndarray else Lie((1,))", "."),
    Cheat("objects that ask back", "class Asks:\n    shape = property(lambda self: self)\n    dtype = np.dtype(float)\n"
          "    def __getattr__(self, name): return self\n    def __call__(self, *a): return self\nreturn Asks()", "."),
    Cheat("forged answers", "for number in range(3, 20):\n    try: os.write(number, b'0 {\"dict\": {\"result\": 1.0}}\\n')\n"
          "    except OSError: pass\nreturn 1.0", "cannot be read"),
    Cheat("questions by forged numbers", """
text = b'ask {"dict": {"of": {"kept": {"yours": 1}}, "arguments": {"list": []}, "options": {"dict": {}}}}\\n'
os.write(serving('channel'), text)
return serving('lines').readline()""", "went with its process|cannot be read"),
    Cheat("answers that no reader expects", """
import base64
header = b"{'descr': '<f8', 'fortran_order': False, 'shape': (1,)\\n  x\\n y\\n"
data = base64.b64encode(b"\\x93NUMPY\\x01\\0" + len(header).to_bytes(2, "little") + header).decode()
word = serving('number')
os.write(serving('channel'), f'{word} {{"dict": {{"result": {{"array": "{data}"}}}}}}\\n'.encode())
time.sleep(60)""", "cannot be read|took longer|ended"),
    Cheat("a protocol that does not answer", """
def clear(): raise NotImplementedError("never")
serving('objects').clear = clear
return 1.0""", "."),
    Cheat("huge answers", "return 'x' * 2**27", "cannot be sent|MemoryError|took longer"),
    Cheat("deep answers", "deep = []\nfor _ in range(10**5): deep = [deep]\nreturn deep", "RecursionError|cannot be"),
    Cheat("what it was given", "return arguments if len(arguments) != 1 else arguments[0]", "."),
    Cheat("an exit", "os._exit(0)", "exit code 0"),
    Cheat("a signal that has no name", "import signal\nsignal.raise_signal(40)", "ended its process"),
    Cheat("a crash", "import faulthandler\nfaulthandler._sigsegv()", "ended its process"),
    Cheat("all memory", "kept = []\nwhile True: kept.append(np.ones(2**24))", "MemoryError|infinite loop|ended"),
    Cheat("sleep", "time.sleep(60)", "took longer|used up", SLOW),
    Cheat("a flood", "for _ in range(20000): print('x' * 500)\nraise ValueError('y' * 10**7)", "ValueError: y|used up"),
    Cheat("a bomb for the compiler", "exec(''.join(' ' * i + 'try:\\n' + ' ' * (i + 1) + 'x = 0\\n' + ' ' * i + "
          "'finally:\\n' for i in range(60)) + ' ' * 60 + 'x = 1')", "MemoryError|took longer|used up|Syntax|ended", SLOW),
    Cheat("a flood of evidence", "for n in range(10**4):\n    try: open(f'/no/{n}')\n    except OSError: pass\nreturn 1.0",
          "evidence ends here|used up|took longer", SLOW),
)

# A solution whose numbers are all replaced, of a result v; it raises and asks as the solution does
CONSTANT = {"zeros": "0 * np.nan_to_num(v)", "ones": "np.ones_like(v)", "infinity": "np.full(v.shape, np.inf)",
            "numbers that overflow": "np.full(v.shape, 1.7e308 * (1 + 1j))"}
REPLACING = '''


def _replace(names):
    import sys
    import numpy as np

    def other(value):
        if isinstance(value, (np.ndarray, np.generic, float)) and not isinstance(value, str):
            v = np.asarray(value)
            new = {formula}
            return new if v.ndim else new.ravel()[0]
        if type(value) in (tuple, list):
            return type(value)(map(other, value))
        return {{name: other(one) for name, one in value.items()}} if type(value) is dict else value

    def instead(function):
        return lambda *arguments, **options: other(function(*arguments, **options))

    for name in names:
        *path, last = name.split(".")
        of = sys.modules[__name__]
        for part in path:
            of = getattr(of, part)
        setattr(of, last, instead(getattr(of, last)))


_replace({names!r})
'''
HONEST = {"block_layers"}      # what these earn all the same: they do ask for the right convolutions


def tried(assignment: Assignment, student: str = "", variant: dict | None = None) -> Iterator[tuple[str, str]]:
    """(name, what is wrong or "") of the cheats that run code, of which each assignment tries all QUIET and some LOUD."""
    turn = assignments.NAMES.index(assignment.name) if assignment.name in assignments.NAMES else 0
    code = "".join(f"trying({cheat.name!r}, {cheat.code!r})\n" for cheat in QUIET) + "put(telling)\n"
    said, earned = _handed_in(assignment, code, LIMITS, student, variant)
    possible = set(re.findall(r"'([^']*)'", "".join(re.findall(r"did: \[(.*?)\], was told", said))))
    for cheat in QUIET:
        yield cheat.name, (f"earns {earned:g}" if earned else "was possible" if cheat.name in possible else
                           "" if re.search(cheat.seen, said) else f"nobody sees it: {said[-1500:]}")
    for cheat in LOUD[turn::SHARED]:
        body = "".join(f"    {line}\n" for line in cheat.code.strip("\n").splitlines())
        said, earned = _handed_in(assignment, f"def act(*arguments, **options):\n{body}\n\nput(act)\n", cheat.limits,
                                  student, variant)
        yield cheat.name, (f"earns {earned:g}" if earned else "" if re.search(cheat.seen, said) else
                           f"nobody sees it: {said[-1500:]}")


def _handed_in(assignment, code, limits, student, variant):
    """(all that the instructor sees, points) of stubs with code after them in each file, graded."""
    variant = variant or assignments.variant_of(assignment, student)
    with tempfile.TemporaryDirectory(prefix="minifl-cheat-") as folder:
        carve.write_tree(assignment, Path(folder), student=student, variant=variant)
        for file in assignment.files:
            path = Path(folder, file)
            tools = TOOLS.format(names=_names(assignment, variant, file), hw=assignment.name, package=str(PACKAGE),
                                 secret=str(Path(folder, "hidden-of-a-cheat")))
            path.write_text(path.read_text(encoding="utf-8") + tools + code, encoding="utf-8")
        graded = judge.grade(assignment, folder, student=student, variant=variant, limits=limits._replace(weak=True))
    said = [*graded.evidence, *graded.notes, *(o.message for o in graded.public if o.points)]
    return "\n".join(said), graded.earned


def constant(assignment: Assignment, variant: dict, reference: dict[str, str]) -> Iterator[tuple[str, dict[str, str]]]:
    """(name, submission) of solutions all of whose numbers are replaced."""
    for name, formula in CONSTANT.items():
        yield name, {file: text + REPLACING.format(formula=formula, names=_names(assignment, variant, file))
                     for file, text in reference.items()}


def _names(assignment, variant, file):
    module = assignments.module(file)
    return [task.function.removeprefix(f"{module}.") for task in assignments.tasks(assignment, variant, file)]
