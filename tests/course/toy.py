"""A tiny assignment for tests of carving, proving and grading: two parts, a variant, mistakes.

`install(monkeypatch, folder)` makes it the assignment "hw1" of a repository of its own in `folder`.
"""

from pathlib import Path

from minifl.course import assignments, regions, sheets
from minifl.course.assignments import Assignment, Choice, Mistake, Patch
from minifl.course.judge import Limits

SOURCE = '''"""Toy functions."""
import numpy as np


def double(x):
    """Twice x.

    Derivation: the sum of x with itself is x plus x, which is what we return here.
    """
    twice_the_number_that_came_in = x + x
    return twice_the_number_that_came_in * 1.0 + 0.0 * x.sum()


def secret_of_the_squares(x, exponent=2, offset=0.0):
    return x ** exponent + offset * np.cos(x) + offset * np.sin(x)


def square(x):
    """x times x. Returns y, cache."""
    if (x != x).any():
        raise ValueError("not a number")
    return secret_of_the_squares(x), (x, x.shape)


def cube(x):
    """Given."""
    return x * x * x
'''

SHEET = """# hw1: Toys

Expected time: 1 hours. Afterwards you can:

- double and square

## doubling

### `minifl.toy.double`, 2 points

What is twice a number?

## squaring

### `minifl.toy.square`, 3 points

And what is its square?

## Questions

### why twice, 2 points

Why is the sum of a number with itself
twice the number?
"""

KEY = """# hw1: what a full answer contains

## why twice

It is what two times means: the number is added up as often as the factor says, so two summands make it twice as large.
"""

TESTS = '''"""Public tests."""
import numpy as np

from minifl.course.running import expect, graded


@graded("doubling", 2, "the task of double")
def doubles(student, given):
    """It doubles."""
    x = given.rng("x").standard_normal(given.size("N", 2, 5))
    factor = {"published": 2, "thrice": 3}[given.variant["scale"]]
    y = student("minifl.toy").double(x)
    expect(np.allclose(y, factor * x), f"{y[0]:.3g} for {x[0]:.3g}")


@graded("squaring", 2, "the task of square")
def squares(student, given):
    """It squares."""
    x = given.rng("x").standard_normal(given.size("N", 2, 5))
    y, cache = student("minifl.toy").square(x)
    expect(np.allclose(y, x * x), "is not the square")
    expect(isinstance(cache, tuple), "no cache")


@graded("squaring", 1, "the task of square")
def refuses(student, given):
    """It refuses nan."""
    try:
        student("minifl.toy").square(np.array([np.nan]))
    except ValueError:
        return
    expect(False, "took nan")


@graded("given", 0, "nothing")
def cubes(student, given):
    """What is given works."""
    expect(np.allclose(student("minifl.toy").cube(np.ones(3)), 1), "is broken")
'''

SHORT = Limits(seconds=3, total=60, megabytes=1024)
ASSIGNMENT = Assignment(
    name="hw1", files=("minifl/toy.py",), given=("minifl/__init__.py",), withheld=("minifl.toy.secret_of_the_squares",),
    choices={"scale": {"published": Choice("Twice is two times."), "thrice": Choice(
        "Twice is three times.", (Patch("minifl/toy.py", "= x + x\n", "= x + x + x\n"),))}},
    mistakes=(Mistake("doubling", "half of it", "minifl/toy.py", "= x + x\n", "= x\n"),
              Mistake("squaring", "the cube", "minifl/toy.py", "exponent=2", "exponent=3")))
STUBS = regions.cut(SOURCE, "minifl.toy", sheets.parse(SHEET, "sheet.md").tasks, ASSIGNMENT.withheld)


def install(monkeypatch, folder, *, source=SOURCE, sheet=SHEET, key=KEY, tests=TESTS, assignment=ASSIGNMENT):
    """A repository in `folder` whose only assignment is the toy; returns the assignment."""
    root, package = Path(folder), Path(assignments.__file__).parent
    for name in ("__init__.py", "running.py"):
        write(root / "minifl/course" / name, (package / name).read_text(encoding="utf-8"))
    write(root / "minifl/__init__.py", "")
    write(root / "minifl/toy.py", source)
    write(root / "minifl/course/hw1/sheet.md", sheet)
    write(root / "minifl/course/hw1/answers_key.md", key)
    write(root / "minifl/course/hw1/tests.py", tests)
    monkeypatch.setattr(assignments, "ROOT", root)
    monkeypatch.setattr(assignments, "NAMES", ("hw1",))
    monkeypatch.setattr(assignments, "load", lambda name, private=None: assignment)
    return assignment


def write(path, text):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text, encoding="utf-8")
