"""What a right pair has besides right blocks: the same bits twice, linearity in dy, the adjoint, a symmetric second
derivative."""

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


def adjoint(point, chosen, direction, tolerance, sum_noise, careful=False):
    """u'(Jv) = (J'u)'v: the derivative of forward along v against what backward says of it. None on a kink, and where
    both are rounding alone.

    chosen     name -> instrument: each input that takes the complex step is moved alone, as it was accepted, the others
               together
    sum_noise  careful -> noise of sum(v*f)
    """
    parts = [[name] for name in point.wanted if chosen[name] == "complex step"]
    parts += [others] if (others := [name for name in point.wanted if chosen[name] != "complex step"]) else []
    parts = [(chosen[part[0]], {name: direction[name] for name in part}) for part in parts]
    noisy = noise.LARGEST * sum_noise(careful)

    def both(at):
        """u'(Jv) and the error of the instruments, the terms of (J'u)'v."""
        gradient = at.gradient(at.v, call(at.forward, at.inputs)[1])
        terms = np.concatenate([(gradient[name].astype(float) * direction[name]).ravel() for name in at.wanted])
        found = [_derivative(at, instrument, part, noisy) for instrument, part in parts]
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
                                               sum_noise(careful)) for _, part in parts):
        return None
    return _measured(ADJOINT, point, difference, error, size, tolerance, careful,
                     "in a random direction the gradient is not that of forward")


def _derivative(at, instrument, direction, sum_noise):
    """(derivative of sum(v*f) at a Point along a direction, its error)."""
    arguments = along(at.forward, at.wide, direction), {"t": np.zeros(())}, at.v.astype(float), ["t"]
    if instrument == "complex step":
        return float(instruments.complex_step(*arguments)["t"]), 0.0
    found, errors = instruments.extrapolated_difference(*arguments, noise=sum_noise)
    left, least = float(found["t"]), noise.resolution(at, instruments.WIDE_STEP)
    return left, least if abs(left) <= least else float(errors["t"])


def symmetric(point, one, other, smooth, careful=False):
    """v'(dg)w = w'(dg)v for g(x) = J(x)'u and two directions v, w: g is the gradient of something only if its own
    derivative is symmetric, whatever forward says. None where no instrument works, and where both are rounding alone.

    smooth   a Point near this one without kinks, if forward is analytic in each input. Then it is the complex step
             through forward and backward, if it is there what differences show: backward need not be analytic where
             forward is. Else None: then it is by differences, as where backward does not take complex numbers
    """
    def both(at, derive):
        return derive(_contracted(at, one, other)), derive(_contracted(at, other, one))

    def analytic():
        exact, shown = (both(smooth, derive) for derive in (_complex_derivative, _difference))
        return all(a is not None and b is not None and _relative(a, b) <= SYMMETRY_TOLERANCE["central"]
                   for a, b in zip(exact, shown))

    for instrument, derive in (("complex step", _complex_derivative), ("central", _difference)):
        def difference(at):
            left, right = both(at, derive)
            return np.nan if left is None or right is None else left.sum() - right.sum()

        try:
            if instrument == "complex step" and (smooth is None or not analytic()):
                continue
            left, right = both(point, derive)
            if left is None or right is None:
                continue
            size = max(np.abs(left).sum(), np.abs(right).sum())
            error = abs(left.sum() - right.sum()) / size if size else 0.0
            return _measured(SYMMETRIC, point, difference, float(error), size, SYMMETRY_TOLERANCE[instrument], careful,
                             "the gradient is not that of any function: its own derivative is not symmetric")
        except Exception:   # a backward pass that is not written for complex numbers
            continue
    return None


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


def _bits(a, b):
    """Whether two arrays hold the same bits; those of nan, and the padding between numbers of long double, do not count."""
    if a is None or b is None:
        return a is b
    return (a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
            and (a.dtype.kind != "f" or np.array_equal(np.signbit(a), np.signbit(b))))


def _relative(a, b):
    size = max(np.abs(a).max(initial=0), np.abs(b).max(initial=0))
    return float(np.abs(a - b).max() / size) if size else 0.0
