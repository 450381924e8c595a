"""Where a function has a kink, its derivative is not one number: which answers of a backward pass are right there.

At a kink the two sides have derivatives of their own. Any number between them is a subgradient along that coordinate
(ReLU at 0: anything from 0 to 1), for each output on its own: a pixel may win one pool's window and lose another.
Where several coordinates tie, as the winners of a max-pool, moving all of them together is smooth: in that direction
their entries together have to be right. And what gradients are at points very near by, where nothing ties, is right: the
permutation that a sort took.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minifl.gradcheck import noise
from minifl.gradcheck.instruments import complex_step
from minifl.gradcheck.pairs import Point, along

ENOUGH = 32
GROUPS = 64       # of equal numbers
DIFFERENT = 1e-3  # relative: derivatives of the two sides that are not the same, in float64
NEAR = 1e-5       # how far apart numbers are moved that tie


def judge(f: Callable, inputs: dict[str, np.ndarray], v: np.ndarray, name: str, a: np.ndarray, off: Any,
          suspects: Any, allowed: float, eps: float, sum_noise: Any) -> tuple[np.ndarray, np.ndarray]:
    """(which of the suspects sit on a kink, which of these have a right entry in a), arrays of a's shape.

    off      how far each entry is off: the worst come first, and where none of ENOUGH sits on a kink, a is wrong and the
             others are not looked at
    allowed  absolute, how far outside the two sides' derivatives an entry may lie
    eps      of the precision that f computes in: the step eps^(2/5), relative to numbers above 1, is far below the
             distance to the next kink, if that is not 0, and leaves rounding eps^(3/5)
    sum_noise  of sum(v*f), absolute: derivatives differ if they do so by more than what it makes of them
    """
    different = max(DIFFERENT, 10 * eps ** 0.6)

    def unresolved(of_each, direction, step):
        """Whether a smaller step sees other sides: what is there, as a clamp at 1e-8, no difference can tell."""
        pairs = zip(of_each, sides(f, inputs, v, name, direction, step / 8))
        return any(abs(far.sum() - near.sum()) > 10 * different * abs(far.sum()) + 64 * sum_noise / step
                   for far, near in pairs)

    def look(index):
        """Whether an entry sits on a kink, whether a is right there."""
        direction = np.zeros(a.shape)
        direction[index] = 1
        step = eps ** 0.4 * max(1.0, abs(float(inputs[name][index])))
        of_each = sides(f, inputs, v, name, direction, step)
        least, most = np.minimum(*of_each).sum() - allowed, np.maximum(*of_each).sum() + allowed
        rounding = 8 * sum_noise / step     # (3 + 4 + 1)/2 on either side
        bent = _differ(*of_each, different, allowed, rounding)
        return bent, bent and (least <= a[index] <= most or unresolved(of_each, direction, step))

    on_kink, valid = np.zeros(a.shape, dtype=bool), np.zeros(a.shape, dtype=bool)
    places = np.argwhere(suspects)[np.argsort(-off[suspects], kind="stable")]
    for number, index in enumerate(map(tuple, places)):
        if number == ENOUGH and not on_kink.any():
            break
        on_kink[index], valid[index] = look(index)
    if on_kink.sum() > 1 and _off_together(f, inputs, v, name, a, on_kink, different, eps, sum_noise):
        valid[on_kink] = False
    if not valid[on_kink].all() and eps == np.finfo(float).eps and _limit(f, inputs, v, name, a, on_kink, different):
        valid[on_kink] = True
    return on_kink, valid


def _limit(f, inputs, v, name, a, places, different):
    """Whether a is, at these places, what gradients very near by are, where one tie after the other is broken in the order
    of places: a sort, a median, the k largest hand each of the equal numbers another output's gradient."""
    x = inputs[name]
    spread = NEAR * max(1.0, float(np.abs(x).max()))
    step, slack = spread / x.size / 4, different * float(np.abs(a).max())
    for order in (np.arange(x.size), -np.arange(x.size)):
        moved = dict(inputs) | {name: x + spread / x.size * order.reshape(x.shape)}
        for index in map(tuple, np.argwhere(places)):
            direction = np.zeros(a.shape)
            direction[index] = 1
            if any(abs(side.sum() - a[index]) > slack for side in sides(f, moved, v, name, direction, step)):
                break
        else:
            return True
    return False


def shared_wrongly(f: Callable, inputs: dict[str, np.ndarray], v: np.ndarray, name: str, a: np.ndarray,
                   allowed: float, eps: float, sum_noise: Any) -> np.ndarray:
    """Which entries of a belong to equal numbers of the input that do not get their share together. Where two winners of a
    maximum tie, the complex step says of each that it wins, and so may a backward pass: too much for both together.

    allowed  absolute, how far off an entry may be
    """
    different, wrong = max(DIFFERENT, 10 * eps ** 0.6), np.zeros(a.shape, dtype=bool)
    values, counts = np.unique(inputs[name], return_counts=True)
    for value in values[np.argsort(-counts, kind="stable")][:min(GROUPS, int((counts > 1).sum()))]:
        equal = inputs[name] == value
        on_line = along(f, inputs, {name: equal.astype(float)})
        together = float(complex_step(on_line, {"t": np.zeros(())}, v, ["t"])["t"])
        if abs(float(a[equal].sum()) - together) <= 2 * allowed * equal.sum():
            continue
        left, right, slack = _together(f, inputs, v, name, a, equal, different, eps, sum_noise)
        if max(abs(left - together), abs(right - together)) <= slack:      # and so it is smooth there
            wrong |= equal
    return wrong


def _off_together(f, inputs, v, name, a, entries, different, eps, sum_noise):
    """Whether a is wrong for some entries together: along the direction that moves them all, if f is smooth there."""
    left, right, slack = _together(f, inputs, v, name, a, entries, different, eps, sum_noise)
    return bool(abs(left - right) <= slack < abs(float(a[entries].sum()) - right))


def _together(f, inputs, v, name, a, entries, different, eps, sum_noise):
    """The derivatives of sum(v*f) on the two sides along the direction that moves these entries; how inexact they are."""
    step = eps ** 0.4 * max(1.0, float(np.abs(inputs[name][entries]).max()))
    left, right = (side.sum() for side in sides(f, inputs, v, name, entries.astype(float), step))
    return left, right, different * max(abs(left), abs(right), float(np.abs(a[entries]).max())) + 8 * sum_noise / step


def crossed(on_line: Callable, point: Point, mismatch: Any, sum_noise: Any) -> bool:
    """Whether v*f at a Point has a kink along a line, on_line(t), that explains this mismatch between two derivatives;
    sum_noise: of sum(v*f)."""
    eps = np.finfo(float).eps if point.exact else point.eps
    step = eps ** 0.4
    left, right = sides(on_line, {"t": np.zeros(())}, point.v.astype(float), "t", np.ones(()), step)
    rounding = 8 * noise.LARGEST * sum_noise / step
    gap = np.abs(left - right)
    return bool(gap.max(initial=0) > rounding and gap.sum() > mismatch / 2)


def _differ(left, right, different, least, rounding):
    """Whether the derivatives of some output on the two sides are not the same."""
    size = max(np.abs(left).max(initial=0), np.abs(right).max(initial=0), least)
    return bool(np.abs(left - right).max(initial=0) > different * size + rounding)


def sides(f: Callable, inputs: dict[str, np.ndarray], v: np.ndarray, name: str, direction: Any, step: float) -> tuple:
    """The derivatives of v*f, each output's, on the left and on the right along a direction of one input, from three
    points: (-3 f(0) + 4 f(h) - f(2h))/2h, whose error is O(h²)."""
    def value(t):
        moved = dict(inputs)
        moved[name] = inputs[name] + (t * direction).astype(inputs[name].dtype)
        return v * np.asarray(f(*moved.values())[0])

    here = value(0.0)
    return tuple((-3 * here + 4 * value(h) - value(2 * h)) / (2 * h) for h in (-step, step))
