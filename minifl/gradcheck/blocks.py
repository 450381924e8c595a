"""The gradient of each input beside the derivative of forward, number by number."""

from typing import Any, NamedTuple

import numpy as np

from minifl.gradcheck import acceptance, directions, instruments, kinks, noise
from minifl.gradcheck.budget import Spent
from minifl.gradcheck.findings import Block
from minifl.gradcheck.hints import hint
from minifl.gradcheck.pairs import Point, call, restricted

MOST = 2000            # numbers of a block that are compared one by one
CHUNK = 64             # of them at a time
VANISHES = 1e-10       # relative to the largest gradient: a block this small is 0 but for rounding

VANISHED = "the true gradient vanishes, so nothing was compared: choose other inputs, or name it in fixed=(...)"
ROUNDED = "rounding alone is {:.0e} of the gradient here, so nothing was compared: choose other inputs"
ALL_KINKS = "every coordinate sits on a kink, so nothing was compared: choose other inputs"
EMPTY = "it has no numbers, so nothing was compared: choose other shapes, or name it in fixed=(...)"
NOT_REACHED = "the budget was spent before any of it was compared"
AT_KINKS = ("wrong at ties or kinks only: what backward says there lies not between the derivatives of the two sides, or "
            "ties get more or less than their share together")


class Numeric(NamedTuple):
    """What an instrument says of one input's gradient."""
    instrument: str
    step: float
    values: np.ndarray      # of all numbers or of the chosen ones, flat; nan on a kink
    errors: np.ndarray      # estimates
    chosen: np.ndarray = None      # flat indices; None for all
    line: tuple = ()        # along directions: largest mismatch, what backward and the instrument say there; () if none
    spent: bool = False     # whether the time was over before all was compared


def compared(at: Point, chosen: Any, tolerance: Any, coordinates: int, rng: np.random.Generator, rounding: Any,
             careful: bool) -> Any:
    """(the Blocks of all wanted inputs, name -> which entries sit on a kink) at a Point.

    chosen       name -> instrument
    tolerance    of the relative error, or None: the instrument's, or measured rounding where that is more
    coordinates  blocks of more numbers are compared along directions first
    rounding     the Point's Rounding; careful: measured well, before anybody is accused
    """
    noises, noisy = rounding.gradient(careful), noise.LARGEST * rounding.sum(careful)
    known = _in_float64(at) if any(at.inputs[name].size > coordinates for name in at.wanted) else None

    def numeric(name, instrument):
        try:
            return _numeric(at, name, instrument, tolerance, coordinates, known, rng, noises[name], noisy)
        except Exception:   # accepted along a line, and there are branches that take no complex numbers all the same
            if instrument == "central":
                raise
            return numeric(name, "central")

    found = {name: numeric(name, chosen[name]) for name in at.wanted}
    largest = max(np.nanmax(np.abs(n.values), initial=0) for n in found.values())

    def block(name):
        return _block(at, name, found[name], tolerance, noises[name], largest, careful, noisy)

    blocks = {}
    for name in at.wanted:
        blocks[name] = block(name)
        if blocks[name][2]:
            found[name] = numeric(name, "central")
            blocks[name] = block(name)
    return [block for block, _, _ in blocks.values()], {name: kinked for name, (_, kinked, _) in blocks.items()}


def _in_float64(at):
    """name -> what backward says in float64, if it can say that of all inputs, else None."""
    if not (at.whole and at.exact):
        return None
    gradient = at.analytic
    if at.eps > np.finfo(float).eps:
        try:
            gradient = at.gradient(at.v.astype(float), call(at.forward, at.wide)[1])
        except Exception:   # written for float32 alone
            return None
    fits = all(g is not None and g.dtype.itemsize >= 8 and g.shape == at.inputs[name].shape and np.all(np.isfinite(g))
               for name, g in gradient.items())
    return {name: g.astype(float) for name, g in gradient.items()} if fits else None


def _numeric(at, name, instrument, tolerance, coordinates, known, rng, rounding, sum_noise):
    """The Numeric of one input; known: its gradient in float64 for directions, None if there is no such thing."""
    every, size = np.arange(at.inputs[name].size), at.inputs[name].size
    if size <= coordinates or known is None:
        return _by_number(at, name, instrument, every if size <= MOST else np.sort(rng.choice(size, MOST, replace=False)),
                          sum_noise)
    largest = {other: float(np.abs(g).max(initial=0)) for other, g in known.items()}
    scale = max(largest[name], VANISHES * max(largest.values()))
    float64 = float(np.finfo(float).eps)
    in_float64 = rounding * float64 / at.eps
    sharp, wide = (_tolerance(eps, instrument, noise, 0.0, scale) if tolerance is None else tolerance
                   for eps, noise in ((float64, in_float64), (at.eps, rounding)))
    found = directions.look(at, name, instrument, known[name], scale * sharp, (in_float64, sum_noise), rng,
                            halve=size > MOST)
    rounded = np.flatnonzero(np.abs(at.analytic[name] - known[name]) > scale * wide)    # in float32, to something else
    chosen = np.union1d(found.located, rounded)[:MOST]
    unknown = np.setdiff1d(found.unknown, chosen)
    chosen = np.union1d(chosen, rng.permutation(unknown)[:MOST - len(chosen)]).astype(int)
    by_number = _by_number(at, name, instrument, chosen, sum_noise)
    done = chosen if by_number.chosen is None else by_number.chosen
    agreeing = np.setdiff1d(every, np.concatenate([found.located, found.unknown, rounded, chosen]))
    compared = np.union1d(agreeing, done).astype(int)
    values, errors = known[name].copy(), np.zeros(at.inputs[name].shape)
    values.reshape(-1)[done], errors.reshape(-1)[done] = by_number.values.ravel(), by_number.errors.ravel()
    line = (found.error / scale if scale else found.error, *found.values) if found.values else ()
    if len(compared) == size:
        return by_number._replace(values=values, errors=errors, chosen=None, line=line)
    return by_number._replace(values=values.ravel()[compared], errors=errors.ravel()[compared], chosen=compared, line=line)


def _by_number(at, name, instrument, indices, sum_noise):
    """The Numeric of these entries, flat indices, as far as the time allows."""
    v, found, step = at.v.astype(float), [], instruments.STEP if instrument == "complex step" else at.step
    try:
        for start in range(0, len(indices), CHUNK):
            part = indices[start:start + CHUNK]
            f, entries = restricted(at.forward, at.wide, {name: part})
            if instrument == "complex step":
                n = instruments.complex_step(f, entries, v, [name])[name]
                found.append((n, np.zeros_like(n)))
            else:
                n, errors = instruments.extrapolated_difference(f, entries, v, [name], step=step, noise=sum_noise)
                found.append((n[name], errors[name]))
    except Spent:
        pass
    n, errors = (np.concatenate([np.zeros(0), *arrays]) for arrays in (zip(*found) if found else ((), ())))
    shape = at.inputs[name].shape
    if n.size == at.inputs[name].size:
        return Numeric(instrument, step, n.reshape(shape), errors.reshape(shape))
    return Numeric(instrument, step, n, errors, indices[:n.size], spent=n.size < len(indices))


def _block(at, name, numeric, tolerance, rounding, largest, careful, sum_noise):
    """(Block, which entries sit on a kink, whether differences refute the complex step that it is of)."""
    a, n, chosen, shape = at.analytic[name], numeric.values, numeric.chosen, at.inputs[name].shape
    f, entries = restricted(at.forward, at.wide, {} if chosen is None else {name: chosen})
    if chosen is not None and a is not None and a.shape == shape:
        a = a.ravel()[chosen]
    size = np.nanmax(np.abs(n), initial=0)
    measured = _tolerance(at.eps, numeric.instrument, rounding, np.nanmax(numeric.errors, initial=0), size)
    allowed = measured if tolerance is None else tolerance
    error, index, said, on_kink = _compare(at, name, a, n, f, entries, allowed, sum_noise, numeric.instrument)
    refuted = (numeric.instrument == "complex step" and allowed < error < np.inf and not on_kink[index] and
               acceptance.refuted(f, entries, at.v.astype(float), name, index, a[index], n[index], sum_noise))
    nothing = _nothing(at, n, size, largest, measured if tolerance is None else 0, numeric)
    if careful and error > allowed and _invisible(at, a, size, numeric):
        nothing = VANISHED
    kinked = np.zeros(shape, dtype=bool)
    fits = a is not None and a.shape == n.shape and n.size > 0
    if fits:
        kinked.reshape(-1)[slice(None) if chosen is None else chosen] = on_kink.ravel()
    where = index if chosen is None or not n.size else tuple(map(int, np.unravel_index(chosen[index[0]], shape)))
    values = float(a[index]) if fits else np.nan, float(n[index]) if n.size else np.nan
    if numeric.line and error <= numeric.line[0]:
        error, where, values = numeric.line[0], (), numeric.line[1:]
    return Block(name, shape, np.inf if nothing else error, allowed, where, *values, numeric.instrument, numeric.step,
                 nothing or said, bool(nothing), at.inputs[name].size - n.size if numeric.spent else 0), kinked, refuted


def _tolerance(eps, instrument, rounding, errors, size):
    """What the relative error of a block may be: the instrument's tolerance, or measured rounding where that is more."""
    if eps > np.finfo(float).eps:
        least = noise.LARGEST * eps
    elif instrument == "complex step":
        least = instruments.COMPLEX_TOLERANCE
    else:
        least = instruments.EXTRAPOLATED_TOLERANCE
    return float(max(least, (noise.LARGEST * rounding + errors) / size)) if size else least


def _nothing(at, n, size, largest, measured, numeric):
    """Why nothing could be compared, "" if something was."""
    if not n.size:
        return NOT_REACHED if numeric.spent else EMPTY
    if np.isnan(n).all():
        return ALL_KINKS
    if size <= VANISHES * largest:
        return VANISHED
    return ROUNDED.format(measured) if measured > noise.most(at.eps) else ""


def _invisible(at, a, size, numeric):
    """Whether a gradient is so small that differences in float64 do not see it."""
    seen = noise.resolution(at, numeric.step) if numeric.instrument == "central" and at.exact else 0.0
    return max(size, np.abs(a).max(initial=0)) <= seen


def _compare(at, name, a, n, f, entries, allowed, sum_noise, instrument):
    """(error, index of the worst entry, what is likely wrong, which entries sit on a kink) of one block."""
    def said(a, n):
        return hint(name, a, n, {**at.inputs, name: entries[name]}, at.v.shape, allowed, at)

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
    v, eps = at.v.astype(float), np.finfo(float).eps if at.exact else at.eps
    on_kink, valid = kinks.judge(f, entries, v, name, a, off, suspects, scale * max(allowed, 1e-5), eps, sum_noise)
    if instrument == "complex step" and not (off[~on_kink] > allowed).any():
        shared = kinks.shared_wrongly(f, entries, v, name, a, scale * allowed, eps, sum_noise)
        on_kink, valid = on_kink | shared, valid & ~shared
    off = np.where(on_kink, np.where(valid, 0.0, np.inf), off)
    index = tuple(map(int, np.unravel_index(off.argmax(), off.shape)))
    error = float(off[index])
    if not error > allowed:
        return error, index, "", on_kink
    return error, index, AT_KINKS if (off[~on_kink] <= allowed).all() else said(a, n), on_kink
