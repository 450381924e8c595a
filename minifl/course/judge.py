"""Grading a submission: its files over a clean tree, in a process of their own, under tests that stay in this one.

The tests of minifl/course/hwN/tests.py run here; the `student` that they are given sends every call to the worker and gets
plain data back. So a submission meets neither tests nor checkers nor hidden seeds, and whatever it does - not end, exit,
exhaust memory, replace modules - costs it the test in which it does so.
"""

import importlib.util
import json
import os
import selectors
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

import minifl
from minifl.course import assignments, carve, running, wire
from minifl.errors import InputError

LARGEST = 2**20        # bytes of a submitted file
PER_TEST = 6           # a test may take as many times as long as a call
PUBLIC_SHARE = 0.5     # of a test's points where there are hidden tests
STARTING = 30          # seconds


# What a test may expect a function to raise is also of that type here.
EXPECTED = {base.__name__: type(base.__name__, (running.Wrong, base), {})
            for base in (ValueError, TypeError, IndexError, KeyError, ZeroDivisionError)}


class Limits(NamedTuple):
    """What a submission may use."""
    seconds: float = 10.0     # for a call
    total: float = 600.0      # seconds for all tests
    megabytes: int = 2048


class Graded(NamedTuple):
    """What came of a submission."""
    assignment: str
    student: str
    variant: dict
    public: list       # Outcomes
    hidden: list       # Outcomes; what is shown of them is only where to look
    notes: list        # what the grader has to say besides

    @property
    def earned(self):
        return sum(outcome.earned for outcome in (*self.public, *self.hidden))

    @property
    def points(self):
        return sum(outcome.points for outcome in (*self.public, *self.hidden))


class Remote:
    """The `student` of tests: functions that run in the worker's process, which is started when it is needed."""

    def __init__(self, tree, limits):
        self.tree, self.limits, self.process, self.count = tree, limits, None, 0
        self.test_ends = self.all_ends = time.monotonic() + limits.total
        self.runner = Path(tempfile.mkdtemp(prefix="minifl-worker-"))
        for name in ("worker.py", "wire.py"):
            shutil.copyfile(Path(__file__).parent / name, self.runner / name)

    def __call__(self, module):
        return _Functions(self, module)

    def begin_test(self):
        self.test_ends = min(self.all_ends, time.monotonic() + PER_TEST * self.limits.seconds)

    def call(self, module, name, arguments, options):
        """The result of one call; Wrong, or what the student's function raised as NotImplementedError."""
        self.count += 1
        request = wire.dumps({"id": self.count, "module": module, "name": name, "arguments": arguments,
                              "options": options}, _no_objects)
        self._start()
        begin = time.monotonic()
        ends = min(begin + self.limits.seconds, self.test_ends)
        try:
            self.process.stdin.write(request.encode() + b"\n")
            self.process.stdin.flush()
            reply = wire.loads(self._line(ends))
            if not isinstance(reply, dict) or reply.get("id") != self.count:
                raise wire.Malformed("an answer to another question")
        except TimeoutError:
            self.stop()
            raise running.Wrong(f"{name} took longer than {max(ends - begin, 0):.1f} s: an infinite loop?") from None
        except (OSError, EOFError):
            code = self.stop()
            raise running.Wrong(f"{name} ended its process (exit code {code}): os._exit, or more memory or time than "
                                "allowed?") from None
        except wire.Malformed as error:
            self.stop()
            raise running.Wrong(f"{name} gave back what cannot be read: {error}") from None
        if "error" not in reply:
            return reply.get("result")
        refused = "; your code tried to ".join(map(str, reply.get("refused") or ()))
        if reply["error"] == "NotImplementedError":
            raise NotImplementedError(str(reply.get("message")))
        said = f"{name} raised {reply['error']}: {reply.get('message')}"
        said += f" ({reply['where']})" if reply.get("where") else ""
        said += f"\nNot allowed: your code tried to {refused}" if refused else ""
        raise EXPECTED.get(reply["error"], running.Wrong)(said)

    def stop(self):
        """End the process and what it started; its exit code."""
        process, self.process = self.process, None
        if process is None:
            return None
        try:
            os.killpg(process.pid, 9)
        except (ProcessLookupError, PermissionError):
            process.kill()
        process.stdin.close()
        process.stdout.close()
        return process.wait()

    def close(self):
        self.stop()
        shutil.rmtree(self.runner, ignore_errors=True)

    def _start(self):
        if self.process is not None and self.process.poll() is None:
            return
        self.stop()
        if time.monotonic() >= self.all_ends:
            raise running.Wrong("not run: the time for the whole submission is used up")
        forbidden = str(Path(minifl.__file__).resolve().parent)
        command = [sys.executable, "-I", "-B", str(self.runner / "worker.py"), str(self.tree), forbidden,
                   str(int(self.limits.total) + 1), str(self.limits.megabytes)]
        environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1",
                       "MKL_NUM_THREADS": "1"}
        self.process = subprocess.Popen(command, cwd=self.tree, env=environment, stdin=subprocess.PIPE,
                                        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True)
        self.buffer = b""
        self._line(time.monotonic() + STARTING)     # it is ready when it says so: none of the submission has run yet

    def _line(self, ends):
        """The next line that the worker writes, at the latest at the time `ends`."""
        with selectors.DefaultSelector() as selector:
            selector.register(self.process.stdout, selectors.EVENT_READ)
            while b"\n" not in self.buffer:
                left = ends - time.monotonic()
                if left <= 0 or not selector.select(left):
                    raise TimeoutError
                data = os.read(self.process.stdout.fileno(), 2**20)
                if not data:
                    raise EOFError
                self.buffer += data
                if len(self.buffer) > wire.MOST_BYTES + 1:
                    raise wire.Malformed(f"more than {wire.MOST_BYTES >> 20} MB")
        line, _, self.buffer = self.buffer.partition(b"\n")
        return line.decode(errors="replace")


class _Functions:
    """The functions of one module."""

    def __init__(self, remote, module):
        self._remote, self._module = remote, module

    def __getattr__(self, name):
        return lambda *arguments, **options: self._remote.call(self._module, name, arguments, options)


def _no_objects(value):
    raise TypeError(f"a test passed {type(value).__name__} to a student's function; only plain data can be passed")


def grade(assignment, submission, *, student=None, variant=None, hidden=None, limits=Limits()):
    """Grade the folder of a submission. Returns Graded, whatever the submission does.

    student  the id, which the variant and the public seeds follow from; None: as the submission's settings.json says
    variant  axis -> value instead of the id's
    hidden   a folder with hwN.json {"seeds": [...]} and perhaps hwN.py with further graded functions
    Raises InputError for a submission or hidden folder that is none.
    """
    submission, notes = Path(submission), []
    if not submission.is_dir():
        raise InputError(f"submission {submission}: is not a folder; give the student's folder, as carved.")
    seeds, further = hidden_of(assignment, hidden)
    if student is None:
        student = claimed_student(submission)
    variant = assignments.variant_of(assignment, student) if variant is None else variant
    tests = running.tests_in(assignments.tests(assignment.name))
    with tempfile.TemporaryDirectory(prefix="minifl-grade-") as tree:
        carve.write_tree(assignment, Path(tree), student=student, variant=variant)
        for file in assignment.files:
            notes += _take(submission / file, Path(tree) / file, file)
        remote = Remote(Path(tree).resolve(), limits)
        try:
            share = PUBLIC_SHARE if seeds or further else 1.0
            public = [_run(test, remote, [running.Given(student, variant)], share) for test in tests]
            secret = []
            if seeds or further:
                givens = [running.Given(student, variant, seed) for seed in seeds or (0,)]
                secret = [_run(test, remote, givens, 1 - share) for test in tests if test.points and seeds]
                secret += [_run(test, remote, givens, 1.0) for test in further]
        finally:
            remote.close()
    return Graded(assignment.name, student, variant, public, secret, notes)


def _run(test, remote, givens, share):
    """One Outcome of a test for several givens: its share of the points in proportion to those that passed."""
    outcomes = []
    for given in givens:
        remote.begin_test()
        outcomes.append(running.run(test, remote, given))
    failed = next((outcome for outcome in outcomes if not outcome.passed), outcomes[0])
    passed = sum(outcome.passed for outcome in outcomes) / len(outcomes)
    return failed._replace(points=test.points * share, earned=test.points * share * passed,
                           seconds=sum(outcome.seconds for outcome in outcomes))


def claimed_student(submission):
    """The id in a submission's settings.json, "" if there is none that can be read."""
    try:
        path = submission / carve.SETTINGS
        if path.is_symlink() or path.stat().st_size > 10_000:
            return ""
        return str(json.loads(path.read_text())["student"])[:200]
    except (OSError, ValueError, KeyError, TypeError, RecursionError):
        return ""


def hidden_of(assignment, folder):
    """(seeds, further graded functions) of a hidden folder; nothing without one. InputError if it holds none."""
    if folder is None:
        return (), []
    seeds_file, tests_file = Path(folder) / f"{assignment.name}.json", Path(folder) / f"{assignment.name}.py"
    if not seeds_file.exists() and not tests_file.exists():
        raise InputError(f"--hidden {folder}: holds neither {seeds_file.name} nor {tests_file.name}; `course hide` makes "
                         "one.")
    seeds, further = (), []
    if seeds_file.exists():
        try:
            seeds = tuple(map(int, json.loads(seeds_file.read_text())["seeds"]))
        except (ValueError, KeyError, TypeError) as error:
            raise InputError(f'{seeds_file}: {error}; it should be {{"seeds": [11, 12]}}.') from None
    if tests_file.exists():
        spec = importlib.util.spec_from_file_location(f"hidden_{assignment.name}", tests_file)
        module = importlib.util.module_from_spec(spec)
        spec.loader.exec_module(module)
        further = running.tests_in(module)
    return seeds, further


def _take(source, target, file):
    """Copy one submitted file over the clean one if it is a file to be taken; what is to be said of it."""
    try:
        if source.is_symlink() or not source.is_file() or source.resolve().parent != source.parent.resolve():
            return [f"{file} is missing (or is no plain file): nothing in it is written"]
        if source.stat().st_size > LARGEST:
            return [f"{file} is larger than 1 MB and was not taken"]
        text = source.read_bytes().decode()
        compile(text, file, "exec")
    except UnicodeDecodeError:
        return [f"{file} is not UTF-8 text and was not taken"]
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        target.write_bytes(source.read_bytes())
        return [f"{file} cannot be compiled: {type(error).__name__}: {error}"]
    except OSError as error:
        return [f"{file} cannot be read: {error.strerror}"]
    target.write_text(text)
    return []
