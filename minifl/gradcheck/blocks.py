"""The gradient of each input beside the derivative of forward, number by number."""

from typing import NamedTuple

import numpy as np

from minifl.gradcheck import acceptance, instruments, kinks, noise
from minifl.gradcheck.findings import Block
from minifl.gradcheck.hints import hint
from minifl.gradcheck.pairs import restricted

VANISHES = 1e-10       # relative to the largest gradient: a block this small is 0 but for rounding

VANISHED = "the true gradient vanishes, so nothing was compared: choose other inputs, or name it in fixed=(...)"
ROUNDED = "rounding alone is {:.0e} of the gradient here, so nothing was compared: choose other inputs"
ALL_KINKS = "every coordinate sits on a kink, so nothing was compared: choose other inputs"
EMPTY = "it has no numbers, so nothing was compared: choose other shapes, or name it in fixed=(...)"
AT_KINKS = ("wrong at ties or kinks only: what backward says there lies not between the derivatives of the two sides, or ties "
            "get more or less than their share together")


class Numeric(NamedTuple):
    """What an instrument says of one input's gradient."""
    instrument: str
    values: np.ndarray      # nan on a kink
    errors: np.ndarray      # estimates
    step: float


def compared(at, chosen, tolerance, few, careful, sum_noise):
    """(the Blocks of all wanted inputs, name -> which entries sit on a kink) at a Point.

    chosen     name -> instrument
    tolerance  of the relative error, or None: the instrument's, or measured rounding where that is more
    few        name -> flat indices of the entries to compare, of inputs of which not all are compared
    careful    rounding measured well, before anybody is accused
    sum_noise  careful -> noise of sum(v*f)
    """
    f, entries = restricted(at.forward, at.wide, few)
    rounding = noise.gradient_noise(at, careful) if at.whole else dict.fromkeys(at.wanted, 0.0)
    noisy = noise.LARGEST * sum_noise(careful)
    numeric = {name: _numeric(at, name, chosen[name], f, entries, noisy) for name in at.wanted}
    largest = max(np.nanmax(np.abs(n.values), initial=0) for n in numeric.values())

    def block(name, n):
        return _block(at, name, n, tolerance, few.get(name), f, entries, rounding[name], largest, careful, noisy)

    found = {}
    for name in at.wanted:
        found[name] = block(name, numeric[name])
        if found[name][2]:
            found[name] = block(name, _numeric(at, name, "central", f, entries, noisy))
    return [block for block, _, _ in found.values()], {name: kinked for name, (_, kinked, _) in found.items()}


def _numeric(at, name, instrument, f, entries, sum_noise):
    v = at.v.astype(float)
    if not at.wide[name].size:
        return Numeric(instrument, np.zeros(at.wide[name].shape), np.zeros(at.wide[name].shape), 0.0)
    if instrument == "complex step":
        try:
            n = instruments.complex_step(f, entries, v, [name])[name]
            return Numeric(instrument, n, np.zeros_like(n), instruments.STEP)
        except Exception:   # accepted along a line, and there are branches that take no complex numbers all the same
            pass
    step = instruments.WIDE_STEP if at.exact else at.eps ** 0.2       # where truncation h⁴ and rounding eps/h are alike
    found, errors = instruments.extrapolated_difference(f, entries, v, [name], step=step, noise=sum_noise)
    return Numeric("central", found[name], errors[name], step)


def _block(at, name, numeric, tolerance, chosen, f, entries, rounding, largest, careful, sum_noise):
    """(Block, which entries sit on a kink, whether differences refute the complex step that it is of)."""
    a, n, shape = at.analytic[name], numeric.values, at.inputs[name].shape
    if chosen is not None and a is not None and a.shape == shape:
        a = a.ravel()[chosen]
    size = np.nanmax(np.abs(n), initial=0)
    measured = _tolerance(at, numeric, rounding, size)
    allowed = measured if tolerance is None else tolerance
    error, index, said, on_kink = _compare(at, name, a, n, f, entries, allowed, sum_noise)
    refuted = (numeric.instrument == "complex step" and allowed < error < np.inf and not on_kink[index] and
               acceptance.refuted(f, entries, at.v.astype(float), name, index, a[index], n[index], sum_noise))
    nothing = EMPTY if not n.size else _nothing(at, n, size, largest, measured if tolerance is None else 0)
    if careful and error > allowed and _invisible(at, a, size, numeric):
        nothing = VANISHED
    kinked = np.zeros(shape, dtype=bool)
    fits = a is not None and a.shape == n.shape and n.size > 0
    if fits:
        kinked.reshape(-1)[slice(None) if chosen is None else chosen] = on_kink.ravel()
    where = index if chosen is None else tuple(map(int, np.unravel_index(chosen[index[0]], shape)))
    return Block(name, shape, np.inf if nothing else error, allowed, where, float(a[index]) if fits else np.nan,
                 float(n[index]) if n.size else np.nan, numeric.instrument, numeric.step, nothing or said,
                 bool(nothing)), kinked, refuted


def _tolerance(at, numeric, rounding, size):
    """What the relative error of a block may be: the instrument's tolerance, or measured rounding where that is more."""
    if at.eps > np.finfo(float).eps:
        least = noise.LARGEST * at.eps
    elif numeric.instrument == "complex step":
        least = instruments.COMPLEX_TOLERANCE
    else:
        least = instruments.EXTRAPOLATED_TOLERANCE
    measured = noise.LARGEST * rounding + np.nanmax(numeric.errors, initial=0)
    return float(max(least, measured / size)) if size else least


def _nothing(at, n, size, largest, measured):
    """Why nothing could be compared, "" if something was."""
    if np.isnan(n).all():
        return ALL_KINKS
    if size <= VANISHES * largest:
        return VANISHED
    return ROUNDED.format(measured) if measured > noise.most(at.eps) else ""


def _invisible(at, a, size, numeric):
    """Whether a gradient is so small that differences in float64 do not see it."""
    seen = noise.resolution(at, numeric.step) if numeric.instrument == "central" and at.exact else 0.0
    return max(size, np.abs(a).max(initial=0)) <= seen


def _compare(at, name, a, n, f, entries, allowed, sum_noise):
    """(error, index of the worst entry, what is likely wrong, which entries sit on a kink) of one block."""
    def said(a, n):
        return hint(name, a, n, {**at.inputs, name: entries[name]}, at.v.shape, allowed)

    if a is None or a.shape != n.shape:
        return np.inf, (0,) * n.ndim, said(a, n), np.zeros(n.shape, dtype=bool)
    if not n.size:
        return 0.0, (), "", np.zeros(n.shape, dtype=bool)
    if not np.all(np.isfinite(a)):
        return np.inf, tuple(map(int, np.argwhere(~np.isfinite(a))[0])), said(a, n), np.zeros(n.shape, dtype=bool)
    unknown = np.isnan(n)
    n = np.where(unknown, a, n)
    scale = max(np.abs(a).max(initial=0), np.abs(n).max(initial=0)) or 1.0
    off = np.abs(a - n) / scale
    suspects = unknown | (off > allowed)
    on_kink, valid = kinks.judge(f, entries, at.v.astype(float), name, a, suspects, scale * max(allowed, 1e-5),
                                 np.finfo(float).eps if at.exact else at.eps, sum_noise)
    off = np.where(on_kink, np.where(valid, 0.0, np.inf), off)
    index = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    error = float(off[index])
    if not error > allowed:
        return error, index, "", on_kink
    return error, index, AT_KINKS if (off[~on_kink] <= allowed).all() else said(a, n), on_kink
