"""Which inputs of a function the complex step may move: tried, for each input alone, as the step moves them.

A function may take complex numbers and not be analytic in them (NumPy's variance is that of |x - mean|), drop imaginary
parts on the way (`t = np.empty_like(x); t[...] = x*g`, if g is moved and x is not), or take them in one input alone. So
the derivative along a random direction of that input has to be what extrapolated differences show.
"""

import numpy as np

from minifl.gradcheck import instruments, noise
from minifl.gradcheck.pairs import along, call

AGREE = 1e-4     # relative: differences and complex step along a direction; what is not analytic is off by far more
NEARBY = 1e-2    # how far from a point with ties or kinks a smooth one is looked for
REFUTED = 10     # so many times the differences' own error estimate lie between them and a value that is not believed


def refusals(at, rng, sum_noise):
    """name -> why the complex step is no derivative for that wanted input of a Point, "" where it is one.

    sum_noise  careful -> noise of sum(v*f), absolute
    """
    if not at.exact:
        return dict.fromkeys(at.wanted, "it needs float64, and forward rounds to less")
    return {name: _refusal(at, name, rng, sum_noise) for name in at.wanted}


def _refusal(at, name, rng, sum_noise):
    why = _tried(at, name, rng, sum_noise)
    # on a tie or a kink the two may differ, or no difference exist: what the code does is seen beside it
    return why and _tried(nearby(at, rng), name, rng, sum_noise)


def _tried(at, name, rng, sum_noise):
    on_line, here = along(at.forward, at.wide, {name: rng.standard_normal(at.wide[name].shape)}), {"t": np.zeros(())}
    try:
        with instruments.nothing_discarded():
            y, _ = call(on_line, {"t": np.array(1j * instruments.STEP)})
        real, _ = call(at.forward, at.wide)
    except Exception as error:   # whatever a function does that is not written for complex numbers
        return f"with complex numbers it raises {type(error).__name__}: {error}"
    if y.dtype.kind != "c":
        return "y stays real where the input is complex"
    if y.shape != real.shape or not np.allclose(y.real, real, rtol=1e-9, atol=1e-12):
        return "y is another one with complex numbers"
    v = np.random.default_rng(y.size).standard_normal(y.shape)
    exact, terms = float((v * y.imag).sum()) / instruments.STEP, float(np.abs(v * y.imag).sum()) / instruments.STEP
    for careful in (False, True):
        difference, error = (found["t"] for found in instruments.extrapolated_difference(
            on_line, here, v, ["t"], noise=noise.LARGEST * sum_noise(careful)))
        slack = AGREE * max(terms, abs(difference)) + error + noise.resolution(at, instruments.WIDE_STEP)
        if abs(exact - difference) <= slack:
            return ""
    return "it is not analytic: the complex step and differences do not agree"


def nearby(at, rng):
    """The Point with its wanted inputs moved a little, each number by another amount, so that none tie."""
    moved = {name: at.wide[name] + NEARBY * np.maximum(np.abs(at.wide[name]), 1e-3) * rng.standard_normal(at.wide[name].shape)
             for name in at.wanted}
    return at._replace(inputs=at.inputs | moved, wide=at.wide | moved)


def refuted(f, inputs, v, name, index, a, n, sum_noise):
    """Whether differences at one coordinate say that the complex step's n is no derivative, and are nearer to a."""
    unit = np.zeros(inputs[name].shape)
    unit[index] = 1
    found, error = (both["t"] for both in instruments.extrapolated_difference(
        along(f, inputs, {name: unit}), {"t": np.zeros(())}, v, ["t"], noise=sum_noise))
    far = abs(n - found)
    return bool(far > REFUTED * error and far > 1e-6 * abs(found) and abs(a - found) < far / 2)   # nan refutes nothing
