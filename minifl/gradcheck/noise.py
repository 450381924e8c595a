"""How much of a computed number is rounding: measured where it is computed, for tolerances that are not from thin air.

Noise of a function along a line (Hamming's difference table; Moré and Wild 2011, "Estimating computational noise"): the
k-th differences of values at equally spaced points very near each other lose everything smooth, and keep the rounding,
whose k-th difference is sqrt((2k)!/(k!)²) times as large as itself.
"""

from math import factorial

import numpy as np

SOME, MORE = 12, 100     # points: noise to a third; to a tenth, before anybody is accused
NEAR = 0.6               # they lie eps^0.6 apart, relative: as far as leaves nothing smooth in differences of order 4
FAR, ORDER = 1 / 50, 8   # and eps^(1/8)/50, for order 8, before anybody is accused: where a function saturates, as 1 - 1e-12
FEW = 24                 # does, its values round the same way at all points nearby
LARGEST = 8              # the largest error of many is some times their root mean square


def most(eps):
    """Relative rounding beyond which nothing is left to compare, in a format with that eps."""
    return 1e-5 if eps == np.finfo(float).eps else 0.1


def resolution(at, step):
    """The least derivative of sum(v*f) that differences of this step see, absolute: values inside f that are of order 1,
    or as large as the inputs, round to eps, and where f has become flat no noise shows that."""
    largest = max(1.0, *(float(np.abs(at.wide[name]).max(initial=0)) for name in at.wanted))
    return float(LARGEST * (np.finfo(float).eps if at.exact else at.eps) * np.abs(at.v).sum() * largest / step)


def noise(values, order=4):
    """Root mean square of the rounding in each entry; values: at equally spaced points, arrays of one shape."""
    differences = np.diff(np.array(values, dtype=float), n=order, axis=0)
    size = np.sqrt((differences * differences).mean(axis=0))
    return size * factorial(order) / np.sqrt(factorial(2 * order))


def near(at, points, spacing):
    """So many Points on a line through this one: each wanted input grows by the spacing, relative, from one to the next,
    so zeros and ties stay what they are. The cotangent grows, too: a gradient that is rounding alone, of a sum over dy
    that cancels, would else be the same rounding at every point."""
    for t in range(points):
        grown = 1 + t * spacing
        inputs = dict(at.inputs) | {name: (at.inputs[name] * grown).astype(at.inputs[name].dtype) for name in at.wanted}
        wide = dict(at.wide) | {name: inputs[name].astype(at.wide[name].dtype) for name in at.wanted}
        yield at._replace(inputs=inputs, wide=wide, v=(at.v * grown).astype(at.v.dtype))


def noise_of(value, at, eps, careful):
    """Noise of each number of an array, value(Point), in a format with that eps; careful: before anybody is accused."""
    found = noise([value(point) for point in near(at, MORE if careful else SOME, eps ** NEAR)])
    if careful:
        found = np.maximum(found, noise([value(point) for point in near(at, FEW, eps ** (1 / ORDER) * FAR)], ORDER))
    return found


def gradient_noise(at, careful=False):
    """name -> the largest noise of an entry of that block's analytic gradient, at a Point. At least eps |v y|/|x|, y being
    known to eps: where a function saturates, as tanh at 1 - 1e-9, that is much, and differences do not show it."""
    def all_blocks(point):
        gradient = point.gradient(point.v, point.forward(*point.inputs.values())[1])
        return np.concatenate([np.ravel(gradient[name]) for name in at.wanted])

    y = np.asarray(at.forward(*at.inputs.values())[0], dtype=float)
    least = at.eps * float(np.abs(at.v * y).max(initial=0))
    ends = np.cumsum([at.inputs[name].size for name in at.wanted])
    parts = dict(zip(at.wanted, np.split(noise_of(all_blocks, at, at.eps, careful), ends[:-1])))
    sizes = {name: float(np.abs(at.inputs[name]).max(initial=0)) for name in at.wanted}
    return {name: max(float(part.max(initial=0)), least / sizes[name] if sizes[name] else 0.0)
            for name, part in parts.items()}


def sum_noise(at, careful=False):
    """Noise of sum(v*f) as the instruments compute it, in float64 where forward does; at least that of its largest term."""
    def terms(point):
        return at.v * np.asarray(at.forward(*point.inputs.values())[0], dtype=float)

    wide = at._replace(inputs=at.wide, v=at.v.astype(float)) if at.exact else at
    eps = float(np.finfo(float).eps) if at.exact else at.eps
    found = noise_of(lambda point: terms(point).sum(), wide, eps, careful)
    return max(float(found), eps * float(np.abs(terms(wide)).max(initial=0)))
