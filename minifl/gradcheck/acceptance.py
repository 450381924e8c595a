"""Which inputs of a function the complex step may move: tried, for each input alone, as the step moves them.

A function may take complex numbers and not be analytic in them (NumPy's variance is that of |x - mean|), drop imaginary
parts on the way (`t = np.empty_like(x); t[...] = x*g`, if g is moved and x is not), or take them in one input alone. So
the derivative along a random direction of that input has to be what extrapolated differences show.
"""

from collections.abc import Callable
from typing import Any

import numpy as np

from minifl.gradcheck import instruments, noise
from minifl.gradcheck.pairs import Point, along, call

AGREE = 1e-4     # relative: differences and complex step along a direction; what is not analytic is off by far more
NEARBY = 1e-2    # relative, and to NOT_0: how far from a point with ties or kinks a smooth one is looked for
NOT_0, FEW = 0.1, 64
REFUTED = 10     # so many times the differences' own error estimate lie between them and a value that is not believed


def refusals(at: Point, rng: np.random.Generator, rounding: Any) -> dict:
    """name -> why the complex step is no derivative for that wanted input of a Point, "" where it is one."""
    if not at.exact:
        return dict.fromkeys(at.wanted, "it needs float64, and forward rounds to less")
    if at.y.dtype != np.float64:
        at = at._replace(y=call(at.forward, at.wide)[0])
    return {name: _refusal(at, name, rng, rounding) for name in at.wanted}


def _refusal(at, name, rng, rounding):
    shape = at.wide[name].shape
    why = _tried(at, {name: rng.standard_normal(shape)}, rng, rounding)
    if not why:
        return ""
    # on a tie or a kink the two may differ, or no difference exist: what the code does is seen beside it, in few numbers
    few = rng.standard_normal(shape) * (rng.random(shape) < FEW / max(1, np.prod(shape)))
    try:
        return _tried(nearby(at, rng), {name: few}, rng, rounding) if few.any() else why
    except Exception:    # such as a matrix that has no decomposition there
        return why


def _tried(at, direction, rng, rounding):
    on_line, here = along(at.forward, at.wide, direction), {"t": np.zeros(())}
    try:
        with instruments.nothing_discarded():
            y, _ = call(on_line, {"t": np.array(1j * instruments.STEP)})
    except Exception as error:   # whatever a function does that is not written for complex numbers
        return f"with complex numbers it raises {type(error).__name__}: {error}"
    if y.dtype.kind != "c":
        return "y stays real where the input is complex"
    if y.shape != at.y.shape or not np.allclose(y.real, at.y, rtol=1e-9, atol=1e-12):
        return "y is another one with complex numbers"
    v = rng.standard_normal(y.shape)
    exact, terms = float((v * y.imag).sum()) / instruments.STEP, float(np.abs(v * y.imag).sum()) / instruments.STEP
    for careful in (False, True):
        difference, error = (found["t"] for found in instruments.extrapolated_difference(
            on_line, here, v, ["t"], noise=noise.LARGEST * rounding.sum(careful)))
        slack = AGREE * max(terms, abs(difference)) + error + noise.resolution(at, instruments.WIDE_STEP)
        if abs(exact - difference) <= slack:
            return ""
    return "it is not analytic: the complex step and differences do not agree"


def nearby(at: Point, rng: np.random.Generator) -> Point:
    """The Point with its wanted inputs moved a little, each number by another amount, so that none tie."""
    wide = at.wide | {name: x + NEARBY * np.maximum(np.abs(x), NOT_0) * rng.standard_normal(x.shape)
             for name, x in at.wide.items() if name in at.wanted}
    y, _ = call(at.forward, wide)
    return at._replace(inputs=wide, wide=wide, y=y)


def refuted(f: Callable, inputs: dict[str, np.ndarray], v: np.ndarray, name: str, index: tuple, a: np.ndarray,
            n: np.ndarray, sum_noise: Any) -> bool:
    """Whether differences at one coordinate say that the complex step's n is no derivative, and are nearer to a."""
    unit = np.zeros(inputs[name].shape)
    unit[index] = 1
    found, error = (both["t"] for both in instruments.extrapolated_difference(
        along(f, inputs, {name: unit}), {"t": np.zeros(())}, v, ["t"], noise=sum_noise))
    far = abs(n - found)
    return bool(far > REFUTED * error and far > 1e-6 * abs(found) and abs(a - found) < far / 2)   # nan refutes nothing
