"""An instructor's private file: variants that nobody can solve who has read the repository, which holds the published ones'.

    SALT = "any text; a new one each year"

    def hw2(draw):
        factor = draw("gain", [2, 3, 5])
        return {"scale": Choice(f"scale: the squares of y sum to {factor}d.", (Patch(NORM, "old text", "new text"), ...))}

The salt alone has published variants drawn so that a student cannot compute which. A function hwN draws the variant of one
student, and returns what it changes: axis -> Choice. draw(name, values) picks one by sha256 of salt, assignment, student and
name. Patches may also touch the sheet, expected.py, tests.py and drivers.py of the assignment, and come after the published
ones: published axes are as published unless they are drawn by name, draw("axes", ["published", "places"]); a Choice of a
published axis' name takes the place of what the README says of it. examples/private_variants/ has whole files.
"""

from collections.abc import Callable
from functools import lru_cache
from pathlib import Path
from typing import Any

from minifl import loading
from minifl.errors import InputError


def read(path: str | Path, names: tuple) -> tuple[str, dict[str, Callable]]:
    """(salt, name -> its function hwN) of a private file, for the assignments that it covers. Raises InputError, naming it,
    if it cannot be run or is none."""
    module = loading.load(path)
    salt = getattr(module, "SALT", None)
    if not isinstance(salt, str) or not salt:
        raise InputError(f'--private {path}: has no SALT; write SALT = "any text of your own, new each year".')
    own = {name: thing for name, thing in vars(module).items() if name.startswith("hw") and name[2:].isdigit()}
    for name, thing in own.items():
        if name not in names or not callable(thing):
            raise InputError(f"--private {path}: {name} should be a function, for one of {', '.join(names)}.")
    return salt, own


def call(function: Callable, draw: Callable, choice: Any, patch: Any) -> dict[str, Any]:
    """axis -> Choice, with Patches, of a function hwN. Raises InputError, naming file and line, if it raises or returns
    something else."""
    file = function.__code__.co_filename
    try:
        found = function(draw)
    except InputError:
        raise
    except Exception as error:
        raise InputError(f"--private {file}: {function.__name__} raises {loading.told(file, error)}.") from error
    for each in found.values() if isinstance(found, dict) else [found]:
        if not isinstance(each, choice) or not all(isinstance(one, patch) for one in each.patches):
            raise InputError(f"--private {file}: {function.__name__} should return axis -> Choice(text, (Patch, ...)), "
                             f"and has {each!r}.")
    return found


@lru_cache(100)
def recalled(function: Callable, variant: tuple, choice: Any, patch: Any) -> dict[str, Any]:
    """What `call` returns for the items of a variant. Raises InputError if this function did not draw it."""
    drawn = dict(variant)

    def draw(name, values):
        for value in values:
            if str(value) == drawn.get(name):
                return value
        raise InputError(f"{function.__name__}: the variant {drawn} is not of this private file, which draws {name!r} from "
                         f"{', '.join(map(str, values))}.")

    return call(function, draw, choice, patch)
