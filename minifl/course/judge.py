"""Grading a submission: its files over a clean tree, in a process of their own, under tests that stay in this one.

The tests of minifl/course/hwN/tests.py run here; the `student` that they are given sends every call to the worker and gets
plain data back. So a submission meets neither tests nor oracles nor hidden seeds, nor what its id and variant are, and
whatever it does - not end, exit, exhaust memory, replace modules - costs it the test in which it does so. Its files are
copied here and never read as Python: they are compiled where they run.

What comes of it goes to two readers. A student may see outcomes of public tests and notes. Outcomes of hidden tests and
evidence are the instructor's: a submission chooses its messages, prints and the names of the files that it asks for, and any
of these can carry what a hidden test has shown it.
"""

import contextlib
import importlib.util
import os
import resource
import signal
import tempfile
import threading
from pathlib import Path
from typing import NamedTuple

from minifl import reading
from minifl.course import assignments, carve, running
from minifl.course.remote import Limits, Remote
from minifl.course.submission import advice, taken
from minifl.errors import InputError

PUBLIC_SHARE = 0.5     # of a test's points where there are hidden tests
GRACE = 5              # seconds that a test may take longer here than its student's calls
ROOM = 4 << 30         # bytes that a test may take here for its own numbers
LONGEST = 3000         # characters of a message


class Graded(NamedTuple):
    """What came of a submission."""
    assignment: str
    student: str
    variant: dict
    public: list       # Outcomes
    hidden: list       # Outcomes; what a student is shown of them is only where to look
    notes: list        # what the grader has to say besides
    evidence: list     # what the submission tried, and what the sandbox lacks, for the instructor

    @property
    def earned(self) -> float:
        return sum(outcome.earned for outcome in (*self.public, *self.hidden))

    @property
    def points(self) -> float:
        return sum(outcome.points for outcome in (*self.public, *self.hidden))


def grade(assignment: assignments.Assignment, submission: str | Path, *, student: str = "",
          variant: dict | None = None, hidden: str | Path | None = None, limits: Limits = Limits()) -> Graded:
    """Grade the folder of a submission. Returns Graded, whatever the submission does.

    student  the id, which the variant and the public seeds follow from; "": as published
    variant  axis -> value instead of the id's
    hidden   a folder with hwN.json {"seeds": [...]} and perhaps hwN.py with further graded functions
    Raises InputError for a submission or hidden folder that is none.
    """
    submission = Path(submission)
    if not os.path.isdir(submission):
        raise InputError(f"submission {submission}: is not a folder; give the student's folder, as carved.")
    seeds, further = hidden_of(assignment, hidden)
    if variant is None:
        variant = assignments.variant_of(assignment, student)
    tests = running.tests_in(assignments.tests(assignment, variant))
    with tempfile.TemporaryDirectory(prefix="minifl-grade-") as tree:
        carve.write_tree(assignment, Path(tree), student=student, variant=variant, judged=True)
        notes = taken(assignment, submission, Path(tree))
        for path in (Path(tree), *Path(tree).rglob("*")):     # for a worker that is another user
            path.chmod(0o755 if path.is_dir() else 0o644)
        remote = Remote(tree, limits, [submission, *filter(None, (hidden, assignment.private))])
        try:
            remote.start()
            notes += _imported(assignment, remote)
            share = PUBLIC_SHARE if seeds or further else 1.0
            public = [_run(test, remote, [running.Given(student, variant)], share) for test in tests]
            secret = []
            if seeds or further:
                givens = [running.Given(student, variant, seed) for seed in seeds or (0,)]
                secret = [_run(test, remote, givens, 1 - share) for test in tests if test.points and seeds]
                secret += [_run(test, remote, givens, 1.0) for test in further]
        finally:
            remote.stop()
    notes, evidence = ([_clean(line) for line in lines] for lines in (notes, [*remote.missing, *remote.evidence]))
    return Graded(assignment.name, student, variant, public, secret, notes, evidence)


def _imported(assignment, remote):
    """Have the submission's files imported; notes on those that cannot be."""
    notes = []
    for file in assignment.files:
        remote.begin_test()
        with _bounded(remote.left() + GRACE):
            try:
                remote.load(assignments.module(file))
            except NotImplementedError:
                pass     # at the top of a file; the tests will say so
            except running.Wrong as error:
                notes.append(f"{file} cannot be imported: {error}{advice(str(error))}")
    return notes


def _run(test, remote, givens, share):
    """One Outcome of a test for several givens: its share of the points in proportion to those that passed."""
    outcomes = []
    for given in givens:
        remote.begin_test()
        with _bounded(remote.left() + GRACE):
            outcome = running.run(test, remote, given)
        told = dict.fromkeys((outcome.message, *remote.told)) if outcome.message else ()
        outcomes.append(outcome._replace(message="\n".join(map(_clean, told))[:LONGEST]))
    failed = next((outcome for outcome in outcomes if not outcome.passed), outcomes[0])
    passed = sum(outcome.passed for outcome in outcomes) / len(outcomes)
    return failed._replace(points=test.points * share, earned=test.points * share * passed,
                           seconds=sum(outcome.seconds for outcome in outcomes))


def hidden_of(assignment: assignments.Assignment, folder: str | Path | None) -> tuple[tuple, list]:
    """(seeds, further graded functions) of a hidden folder; nothing without one. InputError if it holds none."""
    if folder is None:
        return (), []
    seeds_file, tests_file = Path(folder) / f"{assignment.name}.json", Path(folder) / f"{assignment.name}.py"
    if not os.path.exists(seeds_file) and not os.path.exists(tests_file):
        raise InputError(f"--hidden {folder}: holds neither {seeds_file.name} nor {tests_file.name}; `course hide` makes "
                         "one.")
    seeds, further = (), []
    if seeds_file.exists():
        try:
            seeds = tuple(reading.json_file(seeds_file)["seeds"])
            if not seeds or not all(type(seed) is int and seed > 0 for seed in seeds):
                raise ValueError(f"{seeds} are no whole numbers from 1 on")     # 0 is the public tests'
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f'{seeds_file}: {error}; it should be {{"seeds": [11, 12]}}.') from None
    if tests_file.exists():
        spec = importlib.util.spec_from_file_location(f"hidden_{assignment.name}", tests_file)
        module = importlib.util.module_from_spec(spec)
        try:
            reading.check_regular(tests_file)
            spec.loader.exec_module(module)
        except Exception as error:
            raise InputError(f"{tests_file}: {type(error).__name__}: {error}; it should hold graded functions.") from error
        further = running.tests_in(module)
    return seeds, further


@contextlib.contextmanager
def _bounded(seconds):
    """Bound what a test itself takes, as odd and huge results may come back: memory, and in the main thread time."""
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with contextlib.suppress(OSError, ValueError):
        bound = int(Path("/proc/self/statm").read_text(encoding="utf-8").split()[0]) * resource.getpagesize() + ROOM
        if soft == resource.RLIM_INFINITY or bound < soft:
            resource.setrlimit(resource.RLIMIT_AS, (bound, hard))
    alarm = threading.current_thread() is threading.main_thread()

    def stop(*_):
        raise running.Wrong("the test could not make anything of the result in its time")

    if alarm:
        before = signal.signal(signal.SIGALRM, stop)
        signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        if alarm:
            signal.setitimer(signal.ITIMER_REAL, 0)
            signal.signal(signal.SIGALRM, before)
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))


def _clean(text):
    """A submission's text as one line that can be printed anywhere: no control characters, no lone surrogates, not
    endless."""
    text = "".join(c if c.isprintable() else "?" for c in text[:LONGEST])
    return text.encode("utf-8", "replace").decode()
