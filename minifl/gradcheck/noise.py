"""How much of a computed number is rounding: measured where it is computed, for tolerances that are not from thin air.

Noise of a function along a line (Hamming's difference table; Moré and Wild 2011, "Estimating computational noise"): the
k-th differences of values at equally spaced points very near each other lose everything smooth, and keep the rounding,
whose k-th difference is sqrt((2k)!/(k!)²) times as large as itself.
"""

from collections.abc import Iterator
from functools import cache, partial
from math import factorial
from typing import Any

import numpy as np

from minifl.gradcheck.pairs import Point

SOME, MORE = 12, 100     # points: noise to a third; to a tenth, before anybody is accused
NEAR = 0.6               # they lie eps^0.6 apart, relative: as far as leaves nothing smooth in differences of order 4
FAR, ORDER = 1 / 50, 8   # and eps^(1/8)/50, for order 8, before anybody is accused: where a function saturates, as 1 - 1e-12
FEW = 24                 # does, its values round the same way at all points nearby
LARGEST = 8              # the largest error of many is some times their root mean square


def most(eps: float) -> float:
    """Relative rounding beyond which nothing is left to compare, in a format with that eps."""
    return 1e-5 if eps == np.finfo(float).eps else 0.1


def resolution(at: Point, step: float) -> float:
    """The least derivative of sum(v*f) that differences of this step see, absolute: values inside f that are of order 1,
    or as large as the inputs, round to eps, and where f has become flat no noise shows that."""
    largest = max(1.0, *(float(np.abs(at.wide[name]).max(initial=0)) for name in at.wanted))
    return float(LARGEST * (np.finfo(float).eps if at.exact else at.eps) * np.abs(at.v).sum() * largest / step)


def noise(values: Any, order: int = 4) -> np.ndarray:
    """Root mean square of the rounding in each entry; values: at equally spaced points, arrays of one shape."""
    differences = np.diff(np.array(values, dtype=float), n=order, axis=0)
    size = np.sqrt((differences * differences).mean(axis=0))
    return size * factorial(order) / np.sqrt(factorial(2 * order))


def near(at: Point, points: Any, spacing: float) -> Iterator[Point]:
    """So many Points on a line through this one: each wanted input grows by the spacing, relative, from one to the next,
    so zeros and ties stay what they are. The cotangent grows, too: a gradient that is rounding alone, of a sum over dy
    that cancels, would else be the same rounding at every point."""
    for t in range(points):
        grown = 1 + t * spacing
        inputs = dict(at.inputs) | {name: (at.inputs[name] * grown).astype(at.inputs[name].dtype) for name in at.wanted}
        wide = dict(at.wide) | {name: inputs[name].astype(at.wide[name].dtype) for name in at.wanted}
        yield at._replace(inputs=inputs, wide=wide, v=(at.v * grown).astype(at.v.dtype))


def noise_of(value: Any, at: Point, eps: float, careful: bool) -> np.ndarray:
    """Noise of each number of an array, value(Point), in a format with that eps; careful: before anybody is accused."""
    found = noise([value(point) for point in near(at, MORE if careful else SOME, eps ** NEAR)])
    if careful:
        found = np.maximum(found, noise([value(point) for point in near(at, FEW, eps ** (1 / ORDER) * FAR)], ORDER))
    return found


class Rounding:
    """What is measured of a Point's rounding, each once; careful: before anybody is accused."""

    def __init__(self, at):
        """at: a Point; what its backward says counts where it is whole."""
        self._at, self._found = at, cache(self._measured)

    def gradient(self, careful: bool) -> dict:
        """name -> the largest noise of an entry of that block's analytic gradient. At least eps |v y|/|x|, y being known to
        eps: where a function saturates, as tanh at 1 - 1e-9, that is much, and differences do not show it."""
        at, (_, of_blocks) = self._at, self._found(careful)
        least = at.eps * float(np.abs(at.v * np.asarray(at.y, dtype=float)).max(initial=0))
        sizes = {name: float(np.abs(at.inputs[name]).max(initial=0)) for name in at.wanted}
        return {name: max(found, least / sizes[name] if sizes[name] else 0.0) if at.whole else 0.0
                for name, found in of_blocks.items()}

    def sum(self, careful: bool) -> tuple:
        """Noise of sum(v*f) as the instruments compute it, in float64 where forward does; at least that of its largest
        term."""
        at, (found, _) = self._at, self._found(careful)
        eps = float(np.finfo(float).eps) if at.exact else at.eps
        return max(found, eps * float(np.abs(at.v * np.asarray(at.y, dtype=float)).max(initial=0)))

    def _measured(self, careful):
        """Noise of the sum, and name -> the largest of a block: of the same calls where the inputs are float64."""
        at = self._at
        eps = float(np.finfo(float).eps) if at.exact else at.eps
        wide = at._replace(inputs=at.wide, v=at.v.astype(float)) if at.exact else at
        together = at.whole and eps == at.eps and all(at.wide[name].dtype == at.inputs[name].dtype for name in at.wanted)
        found = noise_of(partial(_results, with_gradient=together), wide, eps, careful)
        of_sum, of_entries = float(found[0]), found[1:]
        if at.whole and not together:
            of_entries = noise_of(partial(_results, with_gradient=True), at, at.eps, careful)[1:]
        ends = np.cumsum([at.inputs[name].size for name in at.wanted])
        parts = np.split(of_entries, ends[:-1]) if at.whole else [np.zeros(0)] * len(at.wanted)
        return of_sum, {name: float(part.max(initial=0)) for name, part in zip(at.wanted, parts)}


def _results(point, with_gradient):
    """sum(v*y) at a Point, and all entries of its gradient."""
    y, cached = point.forward(*point.inputs.values())
    total = [float((point.v * np.asarray(y, dtype=float)).sum())]
    if not with_gradient:
        return np.array(total)
    gradient = point.gradient(point.v, cached)
    return np.concatenate([total, *(np.ravel(gradient[name]) for name in point.wanted)])
