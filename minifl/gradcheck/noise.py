"""How much of a computed number is rounding: measured where it is computed, for tolerances that are not from thin air.

Noise of a function along a line (Hamming's difference table; Moré and Wild 2011, "Estimating computational noise"): the
k-th differences of values at equally spaced points very near each other lose everything smooth, and keep the rounding,
whose k-th difference is sqrt((2k)!/(k!)²) times as large as itself.
"""

from math import factorial

import numpy as np

POINTS = 7            # values of a function, at spacings of SPACING
SPACING = 64          # units in the last place: far enough for the inputs to move, near enough to be smooth
ORDER = 4             # of the differences
LARGEST = 8           # the largest error of many is some times their root mean square; and the same input may round
                      # the same way in each of them


def noise(values):
    """Root mean square of the rounding in each entry; values: POINTS arrays of one shape."""
    differences = np.diff(np.array(values, dtype=float), n=ORDER, axis=0)
    size = np.sqrt((differences * differences).mean(axis=0))
    return size * factorial(ORDER) / np.sqrt(factorial(2 * ORDER))


def near(inputs, wanted, eps):
    """POINTS dicts of inputs on a line through `inputs`: each of the wanted ones grows by SPACING units in the last place
    of the format with that eps from one to the next; zeros and ties stay what they are."""
    for t in range(POINTS):
        yield dict(inputs) | {name: (inputs[name] * (1 + t * SPACING * eps)).astype(inputs[name].dtype)
                              for name in wanted}


def gradient_noise(at):
    """(noise of sum(v*f), name -> the largest noise of an entry of that block's analytic gradient) at a Point."""
    sums, blocks = [], {name: [] for name in at.wanted}
    for moved in near(at.inputs, at.wanted, at.eps):
        y, cache = at.forward(*moved.values())
        sums.append(float((at.v * np.asarray(y, dtype=float)).sum()))
        for name, block in at.gradient(at.v, cache).items():
            blocks[name].append(block)
    return float(noise(sums)), {name: float(noise(values).max(initial=0)) for name, values in blocks.items()}
