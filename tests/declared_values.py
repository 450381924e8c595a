"""Values of a declared choice (minifl/declared.py), for tests that go through all of them."""

import math

from minifl.errors import InputError

# (valid, invalid) values of a number, beside what is no number
POSITIVE = (1, 1e-300, 0.5), (0, 0.0, -0.1)
NOT_NEGATIVE = (0, 0.0, 1e-300, 1, 1e300), (-1e-300, -1)
BELOW_ONE = (0, 0.0, 0.5, 1 - 1e-16), (-0.1, 1, 1.0, 2)
SHARES = (1, 1.0, 0.5, 1e-300), (0, 0.0, -0.1, 1.0001, 2)
PROBABILITIES = (0, 0.0, 0.5, 1, 1.0), (-0.1, 1.0001, 2)
NO_NUMBER = (math.nan, math.inf, -math.inf, 10**400, True, False, "0.1", [0.1])

CANDIDATES = {int: (1, 2, 4, 8), float: (0.125, 0.25, 0.5, 0.75, 1.0, 2.0, 1e-3), bool: (True, False)}


def valid(choice):
    """Values that are valid, at least two of them."""
    found = []
    for value in choice.names or CANDIDATES[choice.kind]:
        try:
            choice.check(value)
        except InputError:
            continue
        found.append(value)
    assert len(found) >= 2, f"tests/declared_values.py has no two values that are valid for {choice.option}"
    return found


def another(choice):
    """A valid value that is not the default."""
    return next(value for value in valid(choice) if value != choice.default)
