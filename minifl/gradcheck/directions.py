"""A large gradient beside the derivative of forward along a few random directions, and where they do not agree.

Along a direction d the derivative is n'd, and a'd is what backward says of it: one number for the whole block. The entries
of d are between 1 and 2 in size, of random sign. So an error e of one entry changes the number by e at least, and errors
of many entries cancel with probability 0: by a factor of 1000 about once in 1000 directions, and there are three. What
hides an error is rounding alone, which grows with the square root of the number of entries: with the complex step in
float64 that is 1e-13 for 50 000, less than the tolerance of a single entry. So nothing is lost to comparing number by
number, as long as the rounding (that of the numbers, of differences, of a badly conditioned backward) stays below ten
times that tolerance. Where it does not, as where a difference crosses kinks, the direction is halved, and halved again,
and what is left, a few numbers that sit on kinks, is compared number by number. Where derivatives do not agree nobody is
accused: all numbers of the block are compared then, or of a very large one those to which halving leads.

A backward pass in float32 that can be run in float64, too, is compared in float64, and then its float32 gradient, number
by number, with its float64 gradient: no rounding of float32 hides anything in a sum.
"""

from typing import Any, NamedTuple

import numpy as np

from minifl.gradcheck import noise
from minifl.gradcheck.budget import Spent
from minifl.gradcheck.pairs import Point
from minifl.gradcheck.properties import derivative

DIRECTIONS = 3     # through each part
BLUNT = 10         # tolerances of a single entry, as rounding along a direction: more would hide errors
LEAF = 8           # numbers that are not halved any more
PARTS = 400        # of a block, looked at
LOCATED = 64       # numbers of a very large block to which halving leads, and that is enough


class Found(NamedTuple):
    """What directions say of a block."""
    located: np.ndarray    # flat indices to which halving led: to be compared number by number
    unknown: np.ndarray    # of what was not looked at any more; all others agree
    error: float           # largest mismatch where they agree, absolute
    values: tuple          # what backward and the instrument say along that direction


def look(at: Point, name: str, instrument: str, gradient: Any, allowed: float, noises: Any, rng: np.random.Generator,
         halve: bool) -> Found:
    """Found for the gradient of one input at a Point.

    allowed    absolute error of one entry
    noises     of an entry of the gradient, and of sum(v*f) as differences take it
    halve      whether to look for the place where directions do not agree; if not, one that does not ends it
    """
    parts, left, seen, agrees = [np.arange(gradient.size)], [], 0, True
    error, values = -1.0, ()
    step = at.step * max(1.0, float(np.sqrt((at.wide[name] ** 2).mean())))
    while parts and seen < PARTS and (agrees or sum(map(len, left)) < LOCATED):
        part, seen = parts.pop(), seen + 1
        for number in range(DIRECTIONS):
            try:
                analytic, numeric, inexact = _along(at, name, instrument, gradient, part, noises, rng, step)
            except Spent:
                return Found(_joined(left), _joined([*parts, part] if number == 0 else parts), error, values)
            off = abs(analytic - numeric)
            if inexact <= BLUNT * allowed and off <= allowed:      # nan is not
                if off > error:
                    error, values = off, (analytic, numeric)
                continue
            agrees = agrees and not (inexact <= BLUNT * allowed and off > allowed + inexact)
            if not agrees and not halve:
                return Found(np.arange(gradient.size), np.arange(0), error, values)
            if part.size <= LEAF:
                left.append(part)
            else:
                parts += [part[part.size // 2:], part[:part.size // 2]]
            break
    return Found(_joined(left), _joined(parts), error, values)


def _along(at, name, instrument, gradient, part, noises, rng, step):
    """What backward says of a random direction through a part of a block, what the instrument says, how inexact it is."""
    d = np.zeros(gradient.size)
    d[part] = rng.uniform(1, 2, part.size) * rng.choice((-1.0, 1.0), part.size)
    of_entry, of_sum = noises
    numeric, inexact = derivative(at, instrument, {name: d.reshape(gradient.shape)}, of_sum, step)
    return float(gradient.ravel() @ d), numeric, inexact + noise.LARGEST * of_entry * float(np.sqrt(d @ d))


def _joined(parts):
    return np.sort(np.concatenate(parts)) if parts else np.arange(0)
