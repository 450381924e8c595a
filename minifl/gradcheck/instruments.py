"""How a backward pass is compared with the derivative of its forward pass.

Everywhere f(*inputs) returns (y, cache) and backward(dy, cache) returns the gradients of sum(v*y) for the random
cotangent dy = v. A fixed cotangent of ones would miss errors that cancel in the sum (under ones the radial term
of feature norm is seen, that of layer norm without a gain is not: the true gradient is 0 there).

Error of a block: max|a - n| / max(max|a|, max|n|, FLOOR), a analytic, n numeric. A block whose true gradient
vanishes would pass with any backward that returns zeros, so it counts as failed: choose better inputs.
"""

import warnings
from contextlib import contextmanager

import numpy as np

STEP = 1e-30              # complex step: no subtraction, so it can be this small and the error is rounding alone
COMPLEX_TOLERANCE = 1e-12
CENTRAL_STEP = 1e-5       # truncation h² f''' ~ 1e-10, rounding 1e-16/h ~ 1e-11
WIDE_STEP = 1e-3          # for extrapolation: truncation h⁴ f⁽⁵⁾ ~ 1e-12, rounding 1e-16/h ~ 1e-13
EXTRAPOLATED_TOLERANCE = 1e-8
SETTLED = 1e-7            # relative: how well two extrapolated values agree where f is smooth between them
SHRINK, SHRINKS = 16, 4   # the step where they do not, down to WIDE_STEP/16³ = 2e-7
FLOOR = 1e-6              # a gradient that stays below it everywhere has vanished


def complex_step(f, inputs, v, wanted):
    """Gradient of sum(v*f(x)) by Im f(x + ih e)/h, one coordinate at a time.

    inputs   name -> float64 array, in the order of f's arguments; wanted: the names to differentiate
    returns  name -> gradient, for the wanted names
    Exact to rounding where f is analytic. What a layer decides by comparing (which number is positive, which is the
    largest) it decides by real parts, which do not move, so on each side of a kink f is differentiated exactly too.
    """
    def derivative(name, index):
        moved = dict(inputs)
        moved[name] = inputs[name].astype(complex)
        moved[name][index] += 1j * STEP
        return float((v * f(*moved.values())[0]).sum().imag) / STEP

    return each_coordinate(derivative, inputs, wanted)


def central_difference(f, inputs, v, wanted):
    """The same by (f(x + h e) - f(x - h e))/2h."""
    def derivative(name, index):
        return sides(f, inputs, v, name, index, CENTRAL_STEP)[0]

    return each_coordinate(derivative, inputs, wanted)


def extrapolated_difference(f, inputs, v, wanted, *, step=WIDE_STEP, noise=None):
    """The same by central differences D(h), whose error is c h² + O(h⁴): (4 D(h/2) - D(h))/3 is free of c (Richardson).

    noise    of sum(v*f), absolute; None: 32 units in the last place of the sum's terms
    returns  name -> gradient, name -> estimate of its error

    Branch guard: x + h and x - h have to lie on the same branch of f. Where a mask or a winner in the caches of the two
    differs, or where the values of h and h/2 do not agree (f need not show its branches), the step is made smaller. A
    coordinate at which no step will do sits on a kink: it becomes nan. (On the kink of an f that shows nothing it is the
    mean of the two sides' derivatives.) The error is at least what the square of the relative difference between h/2 and
    h/4 makes of it, as the next term of a series would be: two values agree by chance now and then.
    """
    if noise is None:
        y = f(*inputs.values())[0]
        noise = 32 * np.finfo(y.dtype).eps * float(np.abs(v * y).sum())

    def derivative(name, index):
        h = step * max(1.0, abs(float(inputs[name][index])))
        for _ in range(SHRINKS):
            (one, clear), (half, _), (quarter, _) = (sides(f, inputs, v, name, index, h / part) for part in (1, 2, 4))
            first, second = (4 * half - one) / 3, (4 * quarter - half) / 3
            largest = max(abs(one), abs(half), abs(quarter))
            error = max(abs(first - second), (half - quarter) ** 2 / largest if largest else 0.0)
            rounding = 4 * noise / h        # second is (4 quarter - half)/3, and quarter has noise/(h/4)
            if clear and error <= SETTLED * largest + rounding:
                return second, error + rounding
            h /= SHRINK
        return np.nan, np.nan

    both = each_coordinate(derivative, inputs, wanted)
    return {name: pairs[..., 0] for name, pairs in both.items()}, {name: pairs[..., 1] for name, pairs in both.items()}


def sides(f, inputs, v, name, index, h):
    """(central difference of sum(v*f) with step h, whether both sides are on the same branch)."""
    found = []
    for step in (h, -h):
        moved = dict(inputs)
        moved[name] = inputs[name].copy()
        moved[name][index] += step
        found.append((moved[name][index], *f(*moved.values())))
    (high, plus, plus_cache), (low, minus, minus_cache) = found
    return float((v * (plus - minus)).sum()) / float(high - low), same_branches(plus_cache, minus_cache)


def same_branches(a, b):
    """Whether two caches agree in every boolean and integer array: masks, winners, clamps."""
    if isinstance(a, (tuple, list)):
        return all(map(same_branches, a, b))
    if isinstance(a, np.ndarray) and a.dtype.kind in "biu":
        return np.array_equal(a, b)
    return True


def jacobian(f, backward, x):
    """J (numbers of y, numbers of x) of f at x, a row for each unit cotangent given to backward.

    f(x) returns (y, cache), backward(dy, cache) returns dx, or a tuple of gradients that begins with it.
    """
    y, cache = f(x)
    rows = []
    for i in range(y.size):
        unit = np.zeros(y.size)
        unit[i] = 1
        dx = backward(unit.reshape(y.shape), cache)
        rows.append((dx[0] if isinstance(dx, tuple) else dx).ravel())
    return np.array(rows)


def block_error(analytic, numeric):
    """The error of one block; inf if analytic is None, shapes differ, a number of analytic is not finite, or the true
    gradient vanishes: no entry of numeric reaches FLOOR."""
    if analytic is None or np.shape(analytic) != np.shape(numeric) or not np.all(np.isfinite(analytic)):
        return np.inf
    size = np.abs(numeric).max()
    if size < FLOOR:
        return np.inf
    return float(np.abs(analytic - numeric).max() / max(np.abs(analytic).max(), size))


def each_coordinate(derivative, inputs, wanted):
    """name -> derivative(name, index), a number or several, at every index. An imaginary part that f discards on its way
    raises: the derivative would lack what hangs on it."""
    gradients = {}
    with nothing_discarded():
        for name in wanted:
            found = np.array([derivative(name, index) for index in np.ndindex(inputs[name].shape)])
            gradients[name] = found.reshape((*inputs[name].shape, *found.shape[1:]))
    return gradients


@contextmanager
def nothing_discarded():
    """Within, an imaginary part that a cast discards raises; libraries only warn, and go on with the real part."""
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message=".*[Dd]iscards? the imaginary part")
        yield
