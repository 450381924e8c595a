"""How much of a computed number is rounding: measured where it is computed, for tolerances that are not from thin air.

Noise of a function along a line (Hamming's difference table; Moré and Wild 2011, "Estimating computational noise"): the
k-th differences of values at equally spaced points very near each other lose everything smooth, and keep the rounding,
whose k-th difference is sqrt((2k)!/(k!)²) times as large as itself.
"""

from math import factorial

import numpy as np

POINTS = 12           # values of a function
SPACING = 0.6         # they lie eps^0.6 apart, relative: as far as leaves nothing smooth in the differences, since where
                      # a function saturates its values round the same way at all points nearby
ORDER = 4             # of the differences
LARGEST = 8           # the largest error of many is some times their root mean square; and the same input may round
                      # the same way in each of them


def most(eps):
    """Relative rounding beyond which nothing is left to compare, in a format with that eps."""
    return 1e-5 if eps == np.finfo(float).eps else 0.1


def noise(values):
    """Root mean square of the rounding in each entry; values: POINTS arrays of one shape."""
    differences = np.diff(np.array(values, dtype=float), n=ORDER, axis=0)
    size = np.sqrt((differences * differences).mean(axis=0))
    return size * factorial(ORDER) / np.sqrt(factorial(2 * ORDER))


def near(at, eps):
    """POINTS Points on a line through this one: each wanted input grows by eps^SPACING from one to the next, so zeros and
    ties stay what they are. The cotangent grows, too: a gradient that is
    rounding alone, of a sum over dy that cancels, would else be the same rounding at every point."""
    for t in range(POINTS):
        grown = 1 + t * eps ** SPACING
        inputs = dict(at.inputs) | {name: (at.inputs[name] * grown).astype(at.inputs[name].dtype) for name in at.wanted}
        wide = dict(at.wide) | {name: inputs[name].astype(at.wide[name].dtype) for name in at.wanted}
        yield at._replace(inputs=inputs, wide=wide, v=(at.v * grown).astype(at.v.dtype))


def gradient_noise(at):
    """name -> the largest noise of an entry of that block's analytic gradient, at a Point. At least eps |v y|/|x|, y being
    known to eps: where a function saturates, as tanh at 1 - 1e-9, that is much, and differences do not show it."""
    blocks = {name: [] for name in at.wanted}
    for point in near(at, at.eps):
        _, cache = at.forward(*point.inputs.values())
        for name, block in at.gradient(point.v, cache).items():
            blocks[name].append(block)
    y = np.asarray(at.forward(*at.inputs.values())[0], dtype=float)
    terms, sizes = np.abs(at.v * y).max(initial=0), {name: np.abs(at.inputs[name]).max(initial=0) for name in blocks}
    return {name: max(float(noise(values).max(initial=0)), float(at.eps * terms / sizes[name]) if sizes[name] else 0.0)
            for name, values in blocks.items()}


def sum_noise(at):
    """Noise of sum(v*f) as the instruments compute it, in float64 where forward does; at least that of its largest term."""
    wide = at._replace(inputs=at.wide, v=at.v.astype(float)) if at.exact else at
    eps = float(np.finfo(float).eps) if at.exact else at.eps
    terms = [at.v * np.asarray(at.forward(*point.inputs.values())[0], dtype=float) for point in near(wide, eps)]
    return max(float(noise([term.sum() for term in terms])), eps * float(np.abs(terms[0]).max(initial=0)))
