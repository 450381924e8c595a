"""One backward pass against its forward pass, anybody's: `check` and its report.

Numbers are compared where they are exact: in float64 by the complex step for each input in which the function accepts
complex numbers, else by extrapolated differences. A function of float32 has the tolerance that its own rounding gives,
which is measured.
"""

from collections.abc import Callable, Iterable
from typing import NamedTuple

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck import acceptance, blocks, calls, noise, precision as precisions, properties
from minifl.gradcheck.budget import Clock, Spent
from minifl.gradcheck.findings import Block, Report
from minifl.gradcheck.pairs import point

INSTRUMENTS = ("auto", "complex step", "central")
PRECISIONS = (None, "float32")
FEW = 32               # numbers of a block that are compared one by one whatever directions say
APART = 0x636865636B   # in the seed: inputs drawn from default_rng(seed) must not be the cotangent, too

NOT_FINITE = "forward gives {} at {} of y here, so nothing was compared: choose other inputs"
HASTY = "backward is off by {:.0e}, and the budget was spent before it was clear that this is not rounding"


def check(forward: Callable, backward: Callable, inputs: dict, *, fixed: Iterable[str] = (), instrument: str = "auto",
          seed: int = 0, tolerance: float | None = None, coordinates: int = FEW, precision: str | None = None,
          budget: float | None = None) -> Report:
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
    coordinates  a block of more numbers is compared along random directions (directions.py says why that hides nothing),
                 and where these do not agree number by number, up to 2000 of them

    precision    "float32": what comes back in float64 may have been computed in float32. Else that is refused
    budget       seconds; what they do not suffice for is not compared, and the report says what that is. A block of which
                 nothing was compared is no pass

    Besides the blocks: the same bits twice and untouched inputs, backward twice on one cache, linearity in dy, the same in
    any memory layout, u'(Jv) = (J'u)'v here and at other inputs, and the symmetry of the second derivative, v'(dg)w =
    w'(dg)v of g = J'u. A block whose true gradient vanishes fails: it compared nothing.
    Raises InputError for inputs or results that are no arrays of numbers, for inputs that are not finite, and for an input
    that does not accept the complex step if that was asked for; what forward and backward raise comes through.
    """
    if instrument not in INSTRUMENTS:
        raise InputError(f"instrument {instrument!r} is unknown; valid are {', '.join(INSTRUMENTS)}.")
    if precision not in PRECISIONS:
        raise InputError(f"precision {precision!r} is unknown; valid are {', '.join(map(str, PRECISIONS))}.")
    if budget is not None and not budget > 0:
        raise InputError(f"budget {budget!r}: it should be a number of seconds above 0, or None for no end.")
    clock, rng = Clock(budget), np.random.default_rng([*np.atleast_1d(seed), APART])
    at = point(forward, backward, inputs, fixed, rng)
    bits = calls.same_bits(at)
    if not bits.passed:     # whatever is measured next would be measured of another function, or change the inputs
        return Report((), (bits,), _shapes(at))
    if not np.all(np.isfinite(at.y)):
        index = tuple(map(int, np.argwhere(~np.isfinite(at.y))[0]))
        return _nothing_compared(at, NOT_FINITE.format(at.y[index], list(index)))
    at = at._replace(forward=clock.limited(at.forward), gradient=clock.limited(at.gradient))
    try:
        if precision:
            at = precisions.lowered(at, noise.Rounding(at))
        plan = _plan(at, instrument, tolerance, coordinates, precision, seed, bits, rng)
        first = _report(plan, careful=False)
        accused = not first.passed and not first.inconclusive and at.whole and tolerance is None
    except Spent:
        return _nothing_compared(at, blocks.NOT_REACHED)._replace(budget=f"the budget of {budget:g} s was spent before")
    try:
        report = _report(plan, careful=True) if accused else first
        doubtful = accused and clock.over
    except Spent:
        report, doubtful = first, True
    if doubtful:
        report = _only_what_no_rounding_explains(first, at.eps)
    return report._replace(budget=_left_out(report, budget))


class _Plan(NamedTuple):
    """How a Point is checked."""
    at: object
    chosen: dict          # name -> instrument
    analytic: bool        # in each input
    tolerance: float
    coordinates: int
    precision: str
    seed: object
    bits: object          # the Property that is known already
    rounding: object


def _plan(at, instrument, tolerance, coordinates, precision, seed, bits, rng):
    rounding = noise.Rounding(at)
    refusals = acceptance.refusals(at, rng, rounding)
    if instrument == "complex step" and any(refusals.values()):
        name, why = next((name, why) for name, why in refusals.items() if why)
        raise InputError(f"the complex step is no derivative for input {name}: {why}; use instrument='central'.")
    chosen = {name: "central" if instrument == "central" or why else "complex step" for name, why in refusals.items()}
    return _Plan(at, chosen, not any(refusals.values()), tolerance, coordinates, precision, seed, bits, rounding)


def _report(plan, careful):
    """The Report of a plan; careful: rounding measured well, before anybody is accused."""
    at, rounding = plan.at, plan.rounding
    rng, shapes = np.random.default_rng([*np.atleast_1d(plan.seed), APART, 1]), _shapes(at)
    found, kinked = blocks.compared(at, plan.chosen, plan.tolerance, plan.coordinates, rng, rounding, careful)
    if not at.whole:
        return Report(tuple(found), (plan.bits,), shapes)
    one, other = ({name: np.where(kinked[name], 0, rng.standard_normal(shapes[name])) for name in at.wanted}
                  for _ in range(2))
    used = {block.name: block.instrument for block in found}      # differences, too, where they refuted the complex step
    analytic = plan.analytic and used == plan.chosen
    allowed, careful_here = 4 * max(block.tolerance for block in found), careful
    compared = [block.name for block in found if not block.inconclusive]
    right = all(block.passed for block in found)
    careful = careful and all(block.passed or block.inconclusive for block in found)    # else somebody is accused already
    looks = {
        calls.CACHE: lambda: calls.cache_kept(at),
        calls.LINEAR: lambda: calls.linear(at),
        calls.LAYOUT: lambda: calls.any_layout(at, allowed),
        properties.ADJOINT: lambda: properties.adjoint(at, used, one, allowed, rounding, careful) if at.exact else None,
        properties.ELSEWHERE: lambda: properties.elsewhere(at, used, one, allowed, rounding, right, careful),
        properties.SYMMETRIC: lambda: properties.symmetric(at, one, other, analytic, rng, careful)
            if at.eps == np.finfo(float).eps else None,
        precisions.FLOAT64: lambda: precisions.kept(at, compared, rounding, careful_here)
            if plan.tolerance is plan.precision is None else None,
    }
    others, left_out = [plan.bits], []
    for name, look in looks.items():
        try:
            others.append(look())
        except Spent:
            left_out.append(name)
    return Report(tuple(found), tuple(p for p in others if p is not None), shapes, "; ".join(left_out))


def _left_out(report, seconds):
    """What a budget did not suffice for, in a sentence; "" if it did."""
    parts = [f"{block.left_out} of {int(np.prod(block.shape))} numbers of {block.name}" for block in report.blocks
             if block.left_out] + ([report.budget] if report.budget else [])
    return f"the budget of {seconds:g} s was spent; not compared: {'; '.join(parts)}" if parts else ""


def _only_what_no_rounding_explains(report, eps):
    """The Report without accusations that rounding, measured well, could explain: there was no time to measure it."""
    doubtful = [p.name for p in report.properties if not p.passed and p.error <= noise.most(eps)]
    blocks_left = tuple(block._replace(error=np.inf, inconclusive=True, hint=HASTY.format(block.error))
                        if not block.passed and block.error <= noise.most(eps) else block for block in report.blocks)
    return report._replace(blocks=blocks_left, properties=tuple(p for p in report.properties if p.name not in doubtful),
                           budget="; ".join(filter(None, [report.budget, *doubtful])))


def _nothing_compared(at, why):
    return Report(tuple(Block(name, at.inputs[name].shape, np.inf, 0.0, (), np.nan, np.nan, "none", 0.0, why, True)
                        for name in at.wanted), (), _shapes(at))


def _shapes(at):
    return {name: array.shape for name, array in at.inputs.items()}
