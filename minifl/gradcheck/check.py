"""One backward pass against its forward pass, anybody's: `check` and its report.

Numbers are compared where they are exact: in float64 by the complex step for each input in which the function accepts
complex numbers, else by extrapolated differences. A function of float32 has the tolerance that its own rounding gives, which is measured.
"""

from functools import cache

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck import acceptance, blocks, noise, properties
from minifl.gradcheck.findings import Block, Report
from minifl.gradcheck.pairs import point

INSTRUMENTS = ("auto", "complex step", "central")
MOST = 2000            # coordinates of a block
APART = 0x636865636B   # in the seed: inputs drawn from default_rng(seed) must not be the cotangent, too

NOT_FINITE = "forward gives {} at {} of y here, so nothing was compared: choose other inputs"


def check(forward, backward, inputs, *, fixed=(), instrument="auto", seed=0, tolerance=None, coordinates=MOST):
    """Compare backward with the derivative of forward at `inputs`, for a random cotangent. Returns a Report.

    forward      (*inputs) -> y, cache: y one array
    backward     (dy, cache) -> the gradient of sum(dy*y) for each input that is not fixed, in their order: an array, or
                 a tuple of them (None for fixed inputs may be among them). Others become such a pair by adapters.py
    inputs       name -> array in the order of forward's arguments, or the arrays alone. Those of float32 are checked as
                 such: backward in float32, against the derivative in float64 if forward can do that
    fixed        names of inputs without a gradient; whole numbers and bools never have one
    instrument   "complex step", "central" (extrapolated differences), "auto": for each input the first, if forward
                 accepts complex numbers for it and their derivative is what differences show
    seed         of the cotangent and the directions
    tolerance    of a block's error max|a - n| / max(max|a|, max|n|) instead of the instrument's, 1e-12 and 1e-8, or what
                 measured rounding asks for where that is more
    coordinates  of a larger block so many are drawn; the property u'(Jv) = (J'u)'v sees all of it

    Besides the blocks: the same bits twice and untouched inputs, linearity in dy, u'(Jv) = (J'u)'v, and the symmetry of
    the second derivative, v'(dg)w = w'(dg)v of g = J'u. A block whose true gradient vanishes fails: it compared nothing.
    Raises InputError for inputs or results that are no arrays of numbers, for inputs that are not finite, and for an input
    that does not accept the complex step if that was asked for; what forward and backward raise comes through.
    """
    if instrument not in INSTRUMENTS:
        raise InputError(f"instrument {instrument!r} is unknown; valid are {', '.join(INSTRUMENTS)}.")
    rng = np.random.default_rng([*np.atleast_1d(seed), APART])
    at = point(forward, backward, inputs, fixed, rng)
    bits = properties.same_bits(at)
    if not bits.passed:     # whatever is measured next would be measured of another function, or change the inputs
        return Report((), (bits,), {name: array.shape for name, array in at.inputs.items()})
    if not np.all(np.isfinite(at.y)):
        return _not_finite(at)
    sum_noise = cache(lambda careful: noise.sum_noise(at, careful))
    refusals = acceptance.refusals(at, rng, sum_noise)
    chosen = {name: "central" if instrument == "central" or why else "complex step" for name, why in refusals.items()}
    if instrument == "complex step" and any(refusals.values()):
        name, why = next((name, why) for name, why in refusals.items() if why)
        raise InputError(f"the complex step is no derivative for input {name}: {why}; use instrument='central'.")
    smooth = None if any(refusals.values()) else acceptance.nearby(at, rng)

    def report(careful):
        return _report(at, chosen, smooth, tolerance, coordinates, bits, seed, sum_noise, careful)

    first = report(careful=False)
    accused = not first.passed and not first.inconclusive and at.whole and tolerance is None
    return report(careful=True) if accused else first


def _report(at, chosen, smooth, tolerance, coordinates, bits, seed, sum_noise, careful):
    """The Report at a Point by the chosen instruments, name -> which; careful: rounding measured well, before anybody is
    accused; smooth: a Point for the symmetry's complex step, or None."""
    rng, shapes = np.random.default_rng([*np.atleast_1d(seed), APART, 1]), {n: a.shape for n, a in at.inputs.items()}
    few = {name: np.sort(rng.choice(at.inputs[name].size, coordinates, replace=False)) for name in at.wanted
           if at.inputs[name].size > coordinates}
    found, kinked = blocks.compared(at, chosen, tolerance, few, careful, sum_noise)
    used = {block.name: block.instrument for block in found}      # differences, too, where they refuted the complex step
    careful = careful and all(block.passed or block.inconclusive for block in found)    # else somebody is accused already
    others = [bits]
    if at.whole:
        one, other = ({name: np.where(kinked[name], 0, rng.standard_normal(shapes[name])) for name in at.wanted}
                      for _ in range(2))
        others.append(properties.linear(at))
        if at.exact:
            others.append(properties.adjoint(at, used, one, 4 * max(b.tolerance for b in found), sum_noise, careful))
        if at.eps == np.finfo(float).eps:
            others.append(properties.symmetric(at, one, other, smooth if used == chosen else None, careful))
    return Report(tuple(found), tuple(p for p in others if p is not None), shapes)


def _not_finite(at):
    """The Report at a Point where forward is not finite."""
    index = tuple(map(int, np.argwhere(~np.isfinite(at.y))[0]))
    shapes = {name: array.shape for name, array in at.inputs.items()}
    return Report(tuple(Block(name, shapes[name], np.inf, 0.0, (), np.nan, np.nan, "none", 0.0,
                              NOT_FINITE.format(at.y[index], list(index)), True) for name in at.wanted), (), shapes)
