"""Whether what comes back in float64 was computed in float64.

Rounding is measured anyway, for tolerances. Relative to a gradient it may be large for three reasons: the gradient is
small beside the numbers that it is made of, as where a function saturates; inputs and dy are numbers on which it depends
so strongly; or the numbers inside are no float64. Who computes with float32 inside loses eight digits to the third.
"""

from typing import Any

import numpy as np

from minifl.gradcheck.findings import Property
from minifl.gradcheck.pairs import Point, call

FLOAT64 = "float64 computed in float64"
MOVED = 1e-6        # relative: how far inputs and dy move to see how much results depend on them
COARSE = 1e-9       # relative rounding, beyond what that explains, that float32 always has (3e-8) and float64 never
LARGE = 1e3         # units in the last place of the largest numbers given, of which smaller ones are made
ASKED = "if that is meant, check it with precision='float32'"


def kept(point: Point, compared: Any, rounding: Any, careful: bool) -> Property | None:
    """The Property that y and the gradients of these inputs, if they come back in float64, were computed in it; None where
    nothing says they were not."""
    less = [name for name, g in point.analytic.items() if g.dtype.itemsize < 8 <= point.inputs[name].dtype.itemsize]
    if point.y.dtype == np.float64 and less:
        return Property(FLOAT64, np.inf, COARSE, f"the gradient of {', '.join(less)} comes back in "
                                                 f"{point.analytic[less[0]].dtype}, y in float64; {ASKED}")
    if point.eps > np.finfo(float).eps:
        return None
    noises = {name: noise for name, noise in rounding.gradient(careful).items() if name in compared}
    coarse = _coarse(point, noises | {"y": rounding.sum(careful)})
    if not coarse:
        return None
    what = "forward's y" if "y" in coarse else f"the gradient of {', '.join(coarse)}"
    return Property(FLOAT64, max(coarse.values()), COARSE,
                    f"{what} comes back in float64 with no more digits than float32: is something inside float32? {ASKED}")


def lowered(point: Point, rounding: Any) -> Point:
    """The Point held to float32's digits: asked for no more, even if it has float64's dtype."""
    coarse = point.exact and point.whole and "y" in _coarse(point, {"y": rounding.sum(True)})
    point = point._replace(eps=max(point.eps, float(np.finfo(np.float32).eps)))
    return point._replace(exact=False, wide=point.inputs) if coarse else point


def _coarse(point, noises):
    """name -> relative rounding that float64 does not have, of those of "y" and the gradients whose noise (absolute) is
    given."""
    here = point.analytic | {"y": point.v * point.y}
    sizes = {name: float(np.abs(array).max(initial=0)) for name, array in here.items()}
    given = {name: float(np.abs(point.inputs[name]).max(initial=0)) for name in point.wanted}
    y, unit = float(np.abs(point.y).max(initial=0)), np.finfo(float).eps * float(np.abs(point.v).max(initial=0))
    largest = max(1.0, y, *given.values())
    coarse = {name: noise / sizes[name] for name, noise in noises.items()     # gradients are of the order of v y/x, too
              if noise > max(LARGE * unit * max(largest, y / (given.get(name) or 1.0)), COARSE * sizes[name])}
    if not coarse:
        return {}
    rng = np.random.default_rng(point.v.size)
    by = {name: 1 + MOVED * rng.uniform(-1, 1, point.inputs[name].shape) for name in point.wanted}
    v = point.v * (1 + MOVED * rng.uniform(-1, 1, point.v.shape))
    y, cache = call(point.forward, {name: array * by.get(name, 1) for name, array in point.inputs.items()})
    there = point.gradient(v, cache) | {"y": v * y}
    for name in coarse:
        depends = float(np.abs(there[name] - here[name]).max(initial=0)) / sizes[name] / MOVED
        coarse[name] /= max(1.0, depends)
    return {name: float(relative) for name, relative in coarse.items() if relative > COARSE}
