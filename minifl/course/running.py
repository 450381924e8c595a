"""How tests of an assignment are written and run: at a student's, and in the grader, which brings another `student`.

A test is a function of (student, given) that stands in minifl/course/hwN/tests.py:

    @graded("feature norm", 2, "equation (*) of feature_norm_backward: which term keeps the length of x fixed?")
    def feature_norm_gradient(student, given):
        '''dL/dx of feature norm is the derivative of your forward pass.'''
        norm = student("minifl.layers.norm")
        ...norm.feature_norm(x)...
        expect(error <= 1e-12, f"dx is off by {error:.0e}")

student(module) gives a module that the student wrote, or that they were given. In the grader it is in another process,
which gets copies of plain numbers, strings, arrays, lists, tuples and dicts of these, and returns such; anything else
that comes back (a cache, an object) can be given to another call, and its attributes can be called. A function, or
any other object, that a test passes stays with the test: the student's code can call it, and cannot look into it.
`given` has what differs between students and between public and hidden tests: seeds, shapes, variant. A test ends with
an exception (`expect`) or passes; it never prints.
"""

import sys
import textwrap
import time
import traceback
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np


Student = Callable[[str], Any]     # module -> what has its functions

NOT_WRITTEN = "not written yet"   # how the message of a test begins that met a stub
WIDTH = 100                       # columns of the table


class Wrong(AssertionError):
    """What a test says of a wrong answer, in words for the student."""


def expect(condition: object, message: str) -> None:
    """Raise Wrong with the message unless the condition holds."""
    if not condition:
        raise Wrong(message)


class Given(NamedTuple):
    """What a test is given besides the student's functions."""
    student: str     # id; fixes seeds and shapes
    variant: dict    # axis -> value
    seed: int = 0    # 0 in public tests, others in hidden ones

    def rng(self, *address: object) -> np.random.Generator:
        """A generator for a purpose: whole numbers and words that say which."""
        words = [zlib.crc32(str(word).encode()) for word in (self.student, *address)]
        return np.random.default_rng([self.seed, *words])

    def size(self, name: str, low: int, high: int) -> int:
        """A whole number from low to high, the same for the same name: the student's own shapes."""
        return int(self.rng("size", name).integers(low, high + 1))


class Outcome(NamedTuple):
    """What came of one test."""
    name: str
    what: str        # the test's docstring
    part: str
    points: float    # to be had
    earned: float
    message: str     # "" if it passed
    look: str        # where to look
    seconds: float

    @property
    def passed(self) -> bool:
        return not self.message


def graded(part: str, points: float, look: str) -> Callable:
    """Mark a test: its part, its points, and the formula or line to look at when it fails. 0 points: of what is given."""
    def mark(function):
        function.part, function.points, function.look = part, points, look
        return function
    return mark


def tests_in(module: ModuleType) -> list[Any]:
    """The graded functions of a module, in the order of their definition."""
    return [value for value in vars(module).values() if hasattr(value, "look") and value.__module__ == module.__name__]


def local(module: str) -> ModuleType:
    """`student` of a plain run: the module itself."""
    return import_module(module)


def with_arguments(function: Any, *arguments: Any, **options: Any) -> tuple[Any, list, dict]:
    """Call a student's function. Returns its result, and its arguments and options as it leaves them: yours stay as
    they are."""
    elsewhere = getattr(function, "__with_arguments__", None)     # of the grader: they are copied on the way
    if elsewhere is not None:
        return elsewhere(*arguments, **options)
    mine, named = _copied(list(arguments)), _copied(options)
    return function(*mine, **named), mine, named


@contextmanager
def instead(of: Any, **functions: Callable) -> Iterator[None]:
    """For a while functions of a student's module or class are these."""
    before = {name: getattr(of, name) for name in functions}
    try:
        for name, function in functions.items():
            setattr(of, name, function)
        yield
    finally:
        for name, function in before.items():
            setattr(of, name, function)


def _copied(value):
    """Arrays, lists, tuples and dicts of them; anything else is the same."""
    if isinstance(value, np.ndarray):
        return value.copy()
    if type(value) in (list, tuple):
        return type(value)(map(_copied, value))
    return {name: _copied(item) for name, item in value.items()} if type(value) is dict else value


def run(test: Any, student: Student, given: Given) -> Outcome:
    """The Outcome of one test."""
    begin = time.perf_counter()
    try:
        test(student, given)
        message = ""
    except NotImplementedError as error:
        message = f"{NOT_WRITTEN} ({error})"
    except Wrong as error:
        message = str(error) or "wrong"
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}{_where(error)}"
    what = " ".join((test.__doc__ or "").split())
    return Outcome(test.__name__, what, test.part, test.points, 0 if message else test.points, message, test.look,
                   time.perf_counter() - begin)


def table(outcomes: list[Outcome]) -> str:
    """Outcomes as text: the points of each part; for each test that failed what is wrong and where to look, for one
    that met a stub which function is to be written."""
    parts = list(dict.fromkeys(outcome.part for outcome in outcomes))
    lines, width = [], max(map(len, (*parts, "Total"))) + 2
    for part in parts:
        mine = [outcome for outcome in outcomes if outcome.part == part]
        earned, points = sum(o.earned for o in mine), sum(o.points for o in mine)
        if points:
            bar = "#" * round(20 * earned / points)
            lines.append(f"{part:<{width}}[{bar:<20}] {earned:5.1f} of {points:g} points")
        else:
            lines.append(f"{part:<{width}}(given)")
        for outcome in mine:
            unwritten = outcome.message.startswith(NOT_WRITTEN)
            said = "ok" if outcome.passed else "todo" if unwritten else "FAIL"
            lines += _wrapped(f"{outcome.what} [{outcome.name}]", f"  {said:<4} ")
            for line in outcome.message.splitlines():
                lines += _wrapped(line)
            if not (outcome.passed or unwritten):
                lines += _wrapped(f"Look at: {outcome.look}")
    earned, points = sum(o.earned for o in outcomes), sum(o.points for o in outcomes)
    seconds = sum(outcome.seconds for outcome in outcomes)
    lines.append(f"{'Total':<{width}}{'':<22} {earned:5.1f} of {points:g} points, {seconds:.1f} s")
    return "\n".join(lines)


def _wrapped(text, head=" " * 7):
    """A paragraph as lines, the first after `head`, the others below it."""
    return textwrap.wrap(text, WIDTH, initial_indent=head, subsequent_indent=" " * 7, break_long_words=False,
                         break_on_hyphens=False) or [head]


def _where(error):
    """Where in the package's files, but for the tests, an exception came from; "" if it did not."""
    package = Path(__file__).resolve().parent.parent
    frames = [(Path(frame.filename).resolve(), frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
    frames = [(file.relative_to(package.parent).as_posix(), line) for file, line in frames
              if package in file.parents and package / "course" not in file.parents]
    return f" (line {frames[-1][1]} of {frames[-1][0]})" if frames else ""


def main(assignment: str, given: Given, part: str | None = None) -> int:
    """Run the public tests of a student's folder, all or those of one part; print the table. Returns the exit code."""
    tests = tests_in(import_module(f"minifl.course.{assignment}.tests"))
    chosen = [test for test in tests if part in (None, test.part, test.__name__)]
    if not chosen:
        print(f"no part or test is called {part!r}; there are {', '.join(dict.fromkeys(t.part for t in tests))}",
              file=sys.stderr)
        return 2
    outcomes = [run(test, local, given) for test in chosen]
    print(table(outcomes))
    return 0 if all(outcome.passed for outcome in outcomes) else 1
