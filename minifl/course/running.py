"""How tests of an assignment are written and run: at a student's, and in the grader, which brings another `student`.

A test is a function of (student, given) that stands in minifl/course/hwN/tests.py:

    @graded("feature norm", 2, "equation (*) of feature_norm_backward: which term keeps the length of x fixed?")
    def feature_norm_gradient(student, given):
        '''dL/dx of feature norm is the derivative of your forward pass.'''
        norm = student("minifl.layers.norm")
        ...norm.feature_norm(x)...
        expect(error <= 1e-12, f"dx is off by {error:.0e}")

student(module) gives the functions of a module that the student wrote. In the grader they run in another process, which
gets plain numbers, strings, arrays, lists, tuples and dicts of these and returns such; anything else that comes back (a
cache, an object) can only be given to the next call. So a test passes no functions; what needs one is a function of
the given module minifl.course.hwN.drivers. `given` has what differs between students and between public and hidden
tests: seeds, shapes, variant. A test ends with an exception (`expect`) or passes; it never prints.
"""

import sys
import time
import traceback
import zlib
from importlib import import_module
from typing import NamedTuple

import numpy as np


class Wrong(AssertionError):
    """What a test says of a wrong answer, in words for the student."""


def expect(condition, message):
    """Raise Wrong with the message unless the condition holds."""
    if not condition:
        raise Wrong(message)


class Given(NamedTuple):
    """What a test is given besides the student's functions."""
    student: str     # id; fixes seeds and shapes
    variant: dict    # axis -> value
    seed: int = 0    # 0 in public tests, others in hidden ones

    def rng(self, *address):
        """A generator for a purpose: whole numbers and words that say which."""
        words = [zlib.crc32(str(word).encode()) for word in (self.student, *address)]
        return np.random.default_rng([self.seed, *words])

    def size(self, name, low, high):
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
    def passed(self):
        return not self.message


def graded(part, points, look):
    """Mark a test: its part, its points, and the formula or line to look at when it fails. 0 points: of what is given."""
    def mark(function):
        function.part, function.points, function.look = part, points, look
        return function
    return mark


def tests_in(module):
    """The graded functions of a module, in the order of their definition."""
    return [value for value in vars(module).values() if hasattr(value, "look") and value.__module__ == module.__name__]


def local(module):
    """`student` of a plain run: the module itself."""
    return import_module(module)


def run(test, student, given):
    """The Outcome of one test."""
    begin = time.perf_counter()
    try:
        test(student, given)
        message = ""
    except NotImplementedError as error:
        message = f"not written yet ({error})"
    except Wrong as error:
        message = str(error) or "wrong"
    except (Exception, SystemExit) as error:
        message = f"{type(error).__name__}: {error}{_where(error)}"
    what = " ".join((test.__doc__ or "").split())
    return Outcome(test.__name__, what, test.part, test.points, 0 if message else test.points, message, test.look,
                   time.perf_counter() - begin)


def table(outcomes):
    """Outcomes as text: the points of each part, and for each test that failed what is wrong and where to look."""
    lines = []
    for part in dict.fromkeys(outcome.part for outcome in outcomes):
        mine = [outcome for outcome in outcomes if outcome.part == part]
        earned, points = sum(o.earned for o in mine), sum(o.points for o in mine)
        if points:
            bar = "#" * round(20 * earned / points)
            lines.append(f"{part:<28} [{bar:<20}] {earned:5.1f} of {points:g} points")
        else:
            lines.append(f"{part:<28} (given)")
        for outcome in mine:
            lines.append(f"  {'ok  ' if outcome.passed else 'FAIL'} {outcome.what} [{outcome.name}]")
            if not outcome.passed:
                lines += [f"       {line}" for line in outcome.message.splitlines()]
                lines.append(f"       Look at: {outcome.look}")
    earned, points = sum(o.earned for o in outcomes), sum(o.points for o in outcomes)
    lines.append(f"{'Total':<28} {'':<22} {earned:5.1f} of {points:g} points, {sum(o.seconds for o in outcomes):.1f} s")
    return "\n".join(lines)


def _where(error):
    """Where in the student's files an exception came from."""
    frames = [f for f in traceback.extract_tb(error.__traceback__) if "course" not in f.filename]
    return f" (line {frames[-1].lineno} of {frames[-1].filename.rpartition('minifl')[2].lstrip('/')})" if frames else ""


def main(assignment, given, part=None):
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
