"""What a right pair has besides right blocks: the adjoint, here and elsewhere, and a symmetric second derivative."""

from typing import Any

import numpy as np

from minifl.gradcheck import instruments, kinks, noise
from minifl.gradcheck.acceptance import nearby
from minifl.gradcheck.calls import relative
from minifl.gradcheck.findings import Property
from minifl.gradcheck.pairs import Point, along, call

ADJOINT = "u'(Jv) = (J'u)'v"
ELSEWHERE = "the same at other inputs"
STALE = "right at the inputs of the first call, wrong at others: does the cache keep those?"
NEARER = 0.6      # of an input's numbers, at least: far enough for what is stale to be seen
SYMMETRIC = "second derivative symmetric"
NOTHING = 1e-12   # relative: a gradient that changes so little, as where all is saturated, has a derivative of rounding
SYMMETRY_TOLERANCE = {"complex step": 1e-10, "central": 1e-5}


def adjoint(point: Point, chosen: Any, direction: Any, tolerance: Any, rounding: Any,
            careful: bool = False) -> Property | None:
    """u'(Jv) = (J'u)'v: the derivative of forward along v against what backward says of it. None on a kink, and where
    both are rounding alone.

    chosen     name -> instrument: each input that takes the complex step is moved alone, as it was accepted, the others
               together
    rounding   the Point's Rounding
    """
    parts = [[name] for name in point.wanted if chosen[name] == "complex step"]
    parts += [others] if (others := [name for name in point.wanted if chosen[name] != "complex step"]) else []
    parts = [(chosen[part[0]], {name: direction[name] for name in part}) for part in parts]
    noisy = noise.LARGEST * rounding.sum(careful)

    def both(at):
        """u'(Jv) and the error of the instruments, the terms of (J'u)'v."""
        gradient = at.gradient(at.v, call(at.forward, at.inputs)[1])
        terms = np.concatenate([(gradient[name].astype(float) * direction[name]).ravel() for name in at.wanted])
        found = [derivative(at, instrument, part, noisy, at.step) for instrument, part in parts]
        return sum(left for left, _ in found), sum(error for _, error in found), terms

    def difference(at):
        left, _, terms = both(at)
        return left - terms.sum()

    left, inexact, terms = both(point)
    size = max(float(np.abs(terms).sum()), abs(left))
    if not size or np.isnan(left) or inexact / size > noise.most(point.eps):
        return None
    tolerance = max(tolerance, inexact / size)
    error = abs(left - terms.sum()) / size
    if error > tolerance and any(kinks.crossed(along(point.forward, point.wide, part), point, error * size,
                                               rounding.sum(careful)) for _, part in parts):
        return None
    return _measured(ADJOINT, point, difference, error, size, tolerance, careful,
                     "in a random direction the gradient is not that of forward")


def elsewhere(point: Point, chosen: Any, direction: Any, tolerance: Any, rounding: Any, right_here: Any,
              careful: bool = False) -> Property | None:
    """The adjoint at other inputs: a cache that keeps those of an earlier call is right at these alone. The others lie
    nearer to 0, each number by another amount, where people's functions are as well defined. None where they are not.

    right_here   whether the gradient at the Point is, for the hint
    """
    rng = np.random.default_rng(point.v.size)
    moved = {name: point.inputs[name] * rng.uniform(NEARER, 1, point.inputs[name].shape) for name in point.wanted}
    moved = {name: array.astype(point.inputs[name].dtype) for name, array in moved.items()}
    wide = {name: array.astype(point.wide[name].dtype) for name, array in moved.items()}
    there = point._replace(inputs=point.inputs | moved, wide=point.wide | wide)
    try:
        y, cache = call(there.forward, there.inputs)
        gradient = there.gradient(there.v, cache)
        if not all(np.all(np.isfinite(array)) for array in (y, *gradient.values())):
            return None
        found = adjoint(there, chosen, direction, tolerance, rounding, careful)
    except Exception:   # such as a matrix that has no decomposition there
        return None
    return found and found._replace(name=ELSEWHERE, hint=STALE if right_here else "")


def derivative(at: Point, instrument: str, direction: Any, sum_noise: Any, step: float) -> tuple[float, float]:
    """(derivative of sum(v*f) at a Point along a direction, name -> array, its error); step of differences."""
    arguments = along(at.forward, at.wide, direction), {"t": np.zeros(())}, at.v.astype(float), ["t"]
    if instrument == "complex step":
        return float(instruments.complex_step(*arguments)["t"]), 0.0
    found, errors = instruments.extrapolated_difference(*arguments, step=step, noise=sum_noise)
    left, least = float(found["t"]), noise.resolution(at, step)
    return left, least if abs(left) <= least else float(errors["t"])


def symmetric(point: Point, one: Any, other: Any, analytic: Any, rng: np.random.Generator,
              careful: bool = False) -> Property | None:
    """v'(dg)w = w'(dg)v for g(x) = J(x)'u and two directions v, w: g is the gradient of something only if its own
    derivative is symmetric, whatever forward says. None where no instrument works, and where both are rounding alone.

    analytic   whether forward is, in each input. Then it is the complex step through forward and backward, if that is
               what differences show, here or near, where there is no kink: backward need not be analytic where forward
               is. Else it is by differences, as where backward does not take complex numbers
    """
    def both(at, derive):
        return derive(_contracted(at, one, other)), derive(_contracted(at, other, one))

    def confirmed(at):
        exact, shown = (derive(_contracted(at, one, other)) for derive in (_complex_derivative, _difference))
        return exact is not None and shown is not None and relative(exact, shown) <= SYMMETRY_TOLERANCE["central"]

    for instrument, derive in (("complex step", _complex_derivative), ("central", _difference)):
        def difference(at):
            left, right = both(at, derive)
            return np.nan if left is None or right is None else left.sum() - right.sum()

        try:
            if instrument == "complex step" and not (analytic and (confirmed(point) or confirmed(nearby(point, rng)))):
                continue
            left, right = both(point, derive)
            if left is None or right is None:
                continue
            size = max(np.abs(left).sum(), np.abs(right).sum())
            if 0 < size < NOTHING * _size(point, one, other):
                return None
            error = abs(left.sum() - right.sum()) / size if size else 0.0
            if error > SYMMETRY_TOLERANCE[instrument] and _bends(point, one, other, error * size):
                return None
            return _measured(SYMMETRIC, point, difference, float(error), size, SYMMETRY_TOLERANCE[instrument], careful,
                             "the gradient is not that of any function: its own derivative is not symmetric")
        except Exception:   # a backward pass that is not written for complex numbers
            continue
    return None


def _bends(point, one, other, mismatch):
    """Whether the gradient has a kink there that explains this mismatch, as that of |x|x has at 0."""
    gaps, step = [], np.finfo(float).eps ** 0.4
    for g in (_contracted(point, one, other), _contracted(point, other, one)):
        left, right = kinks.sides(lambda t: (g(t), None), {"t": np.zeros(())}, 1.0, "t", np.ones(()), step)
        gaps.append(float(np.abs(left - right).sum()))
    return max(gaps) > mismatch / 2


def _size(point, one, other):
    """How large the terms of v'(dg)w were if the gradient changed as much as the inputs do."""
    return min(sum(float(np.abs(point.analytic[name] * direction[name]).sum()) / max(1.0, float(np.abs(x).max(initial=0)))
                   for name, x in point.wide.items() if name in point.wanted) for direction in (one, other))


def _contracted(at, direction, by):
    """t -> the terms of by'g(x + t direction), g what backward gives at a Point for its cotangent."""
    def g(t):
        blocks = at.gradient(at.v.astype(float), along(at.forward, at.wide, direction)(t)[1])
        return np.concatenate([(blocks[name] * by[name]).ravel() for name in at.wanted])
    return g


def _measured(name, point, difference, error, size, tolerance, careful, hint):
    """The Property of two numbers that are the same but for rounding. Where they differ by more than the tolerance,
    rounding is measured, and allowed; None if it is so much that nothing is left to compare.

    difference  Point -> how much they differ; error: how much they do here, relative to size
    """
    if error > tolerance:
        rounding = noise.LARGEST * float(noise.noise_of(difference, point, point.eps, careful)) / size
        if not rounding <= max(noise.most(point.eps), 10 * tolerance):
            return None
        tolerance = max(tolerance, rounding)
    return Property(name, error, tolerance, hint)


def _complex_derivative(g):
    """dg/dt at 0 by complex step; None if g drops the imaginary part."""
    with instruments.nothing_discarded():
        value = g(np.array(1j * instruments.STEP))
    return value.imag / instruments.STEP if value.dtype.kind == "c" and np.all(np.isfinite(value)) else None


def _difference(g):
    """dg/dt at 0 by extrapolated differences; None where no two of them agree."""
    step = instruments.WIDE_STEP
    for _ in range(instruments.SHRINKS):
        one, half, quarter = ((g(np.array(h)) - g(np.array(-h))) / (2 * h) for h in (step, step / 2, step / 4))
        first, second = (4 * half - one) / 3, (4 * quarter - half) / 3
        if np.abs(first - second).max(initial=0) <= SYMMETRY_TOLERANCE["central"] / 10 * np.abs(second).max(initial=0):
            return second
        step /= instruments.SHRINK
    return None
