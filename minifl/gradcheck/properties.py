"""What a right pair has besides right blocks: the same bits twice, linearity in dy, the adjoint, a symmetric second
derivative."""

import warnings

import numpy as np

from minifl.gradcheck import instruments, kinks, noise
from minifl.gradcheck.findings import Property
from minifl.gradcheck.pairs import along, call

BITS = "same bits twice, inputs untouched"
LINEAR = "twice dy, twice the gradient"
ADJOINT = "u'(Jv) = (J'u)'v"
SYMMETRIC = "second derivative symmetric"
SYMMETRY_TOLERANCE = {"complex step": 1e-10, "central": 1e-5}
DIFFERS = "two calls give different bits: randomness, or state that a call leaves behind?"


def same_bits(point):
    """Two calls give the same bits, and leave inputs and cotangent as they were."""
    given = [{name: array.copy() for name, array in point.inputs.items()} for _ in range(2)]
    dy, hints = point.v.copy(), []
    (once, cache), (again, _) = (call(point.forward, inputs) for inputs in given)
    gradient = point.gradient(dy, cache)
    if not _bits(once, again) or not all(_bits(point.analytic[name], gradient[name]) for name in gradient):
        hints.append(DIFFERS)
    changed = [name for name in point.inputs if not _bits(given[0][name], point.inputs[name])]
    changed += [] if _bits(dy, point.v) else ["dy"]
    if changed:
        hints.append(f"a call changes {', '.join(changed)} in place")
    return Property(BITS, np.inf if hints else 0.0, 0.0, "; ".join(hints))


def linear(point):
    """backward(2 dy) = 2 backward(dy)."""
    _, cache = call(point.forward, point.inputs)
    twice = point.gradient(2 * point.v, cache)
    error = max(_relative(twice[name], 2 * point.analytic[name]) for name in point.wanted)
    return Property(LINEAR, error, max(noise.LARGEST * point.eps, 1e-14),
                    "backward is not linear in dy: is the incoming gradient used, once?")


def adjoint(point, instrument, direction, tolerance, careful=False):
    """u'(Jv) = (J'u)'v: the derivative of forward along v against what backward says of it. None on a kink, and where
    both are rounding alone."""
    def both(at):
        """u'(Jv) and the error of the instrument, the terms of (J'u)'v."""
        arguments = along(at.forward, at.wide, direction), {"t": np.zeros(())}, at.v.astype(float), ["t"]
        gradient = at.gradient(at.v, call(at.forward, at.inputs)[1])
        terms = np.concatenate([(gradient[name].astype(float) * direction[name]).ravel() for name in at.wanted])
        if instrument == "complex step":
            return float(instruments.complex_step(*arguments)["t"]), 0.0, terms
        found, errors = instruments.extrapolated_difference(*arguments, noise=sum_noise)
        left = float(found["t"])
        least = noise.resolution(at, instruments.WIDE_STEP)
        return left, least if abs(left) <= least else float(errors["t"]), terms

    def difference(at):
        left, _, terms = both(at)
        return left - terms.sum()

    sum_noise = noise.LARGEST * noise.sum_noise(point, careful)
    left, inexact, terms = both(point)
    size = max(float(np.abs(terms).sum()), abs(left))
    if not size or np.isnan(left) or inexact / size > noise.most(point.eps):
        return None
    tolerance = max(tolerance, inexact / size)
    error = abs(left - terms.sum()) / size
    if error > tolerance and kinks.crossed(along(point.forward, point.wide, direction), point, error * size, careful):
        return None
    return _measured(ADJOINT, point, difference, error, size, tolerance, careful,
                     "in a random direction the gradient is not that of forward")


def symmetric(point, one, other, careful=False):
    """v'(dg)w = w'(dg)v for g(x) = J(x)'u and two directions v, w: g is the gradient of something only if its own
    derivative is symmetric, whatever forward says. By complex step through forward and backward if they accept complex
    numbers, else by differences. None where neither works, as on a kink, and where both are rounding alone."""
    def contracted(at, direction, by):
        def g(t):
            blocks = at.gradient(at.v.astype(float), along(at.forward, at.wide, direction)(t)[1])
            return np.concatenate([(blocks[name] * by[name]).ravel() for name in at.wanted])
        return g

    for instrument, derive in (("complex step", _complex_derivative), ("central", _difference)):
        def both(at):
            return derive(contracted(at, one, other)), derive(contracted(at, other, one))

        def difference(at):
            left, right = both(at)
            return np.nan if left is None or right is None else left.sum() - right.sum()

        try:
            left, right = both(point)
            if left is None or right is None:
                continue
            size = max(np.abs(left).sum(), np.abs(right).sum())
            error = abs(left.sum() - right.sum()) / size if size else 0.0
            return _measured(SYMMETRIC, point, difference, float(error), size, SYMMETRY_TOLERANCE[instrument], careful,
                             "the gradient is not that of any function: its own derivative is not symmetric")
        except Exception:   # a backward pass that is not written for complex numbers
            continue
    return None


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
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        value = g(np.array(1j * instruments.STEP))
    return value.imag / instruments.STEP if value.dtype.kind == "c" and np.all(np.isfinite(value)) else None


def _difference(g):
    """dg/dt at 0 by extrapolated differences; None where two of them do not agree."""
    one, half, quarter = ((g(np.array(h)) - g(np.array(-h))) / (2 * h)
                          for h in (instruments.WIDE_STEP / part for part in (1, 2, 4)))
    first, second = (4 * half - one) / 3, (4 * quarter - half) / 3
    settled = np.abs(first - second).max(initial=0) <= SYMMETRY_TOLERANCE["central"] / 10 * np.abs(second).max(initial=0)
    return second if settled else None


def _bits(a, b):
    if a is None or b is None:
        return a is b
    return a.shape == b.shape and a.dtype == b.dtype and a.tobytes() == b.tobytes()


def _relative(a, b):
    size = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(np.abs(a - b).max() / size) if size else 0.0
