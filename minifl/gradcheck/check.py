"""One backward pass against its forward pass, anybody's: `check` and its report.

Numbers are compared where they are exact: in float64 by the complex step if the function accepts complex numbers, else by
extrapolated differences. A function of float32 has the tolerance that its own rounding gives, which is measured.
"""

import warnings

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck import instruments, kinks, noise, properties
from minifl.gradcheck.findings import Block, Report
from minifl.gradcheck.hints import hint
from minifl.gradcheck.pairs import along, call, point, restricted

INSTRUMENTS = ("auto", "complex step", "central")
MOST = 2000            # coordinates of a block
VANISHES = 1e-10       # relative to the largest gradient: a block this small is 0 but for rounding
APART = 0x636865636B   # in the seed: inputs drawn from default_rng(seed) must not be the cotangent, too

VANISHED = "the true gradient vanishes, so nothing was compared: choose other inputs, or name it in fixed=(...)"
ROUNDED = "rounding alone is {:.0e} of the gradient here, so nothing was compared: choose other inputs"
ALL_KINKS = "every coordinate sits on a kink, so nothing was compared: choose other inputs"
AT_KINKS = ("wrong at ties or kinks only: what backward says there lies not between the derivatives of the two sides, or ties "
            "get more or less than their share together")


def check(forward, backward, inputs, *, fixed=(), instrument="auto", seed=0, tolerance=None, coordinates=MOST):
    """Compare backward with the derivative of forward at `inputs`, for a random cotangent. Returns a Report.

    forward      (*inputs) -> y, cache: y one array
    backward     (dy, cache) -> the gradient of sum(dy*y) for each input that is not fixed, in their order: an array, or
                 a tuple of them (None for fixed inputs may be among them). Others become such a pair by adapters.py
    inputs       name -> array in the order of forward's arguments, or the arrays alone. Those of float32 are checked as
                 such: backward in float32, against the derivative in float64 if forward can do that
    fixed        names of inputs without a gradient; whole numbers and bools never have one
    instrument   "complex step", "central" (extrapolated differences), "auto": the first where forward accepts complex
                 numbers and differentiates rightly in them
    seed         of the cotangent and the directions
    tolerance    of a block's error max|a - n| / max(max|a|, max|n|) instead of the instrument's, 1e-12 and 1e-8, or what
                 measured rounding asks for where that is more
    coordinates  of a larger block so many are drawn; the property u'(Jv) = (J'u)'v sees all of it

    Besides the blocks: the same bits twice and untouched inputs, linearity in dy, u'(Jv) = (J'u)'v, and the symmetry of
    the second derivative, v'(dg)w = w'(dg)v of g = J'u. A block whose true gradient vanishes fails: it compared nothing.
    Raises InputError for inputs or results that are no arrays of numbers; what forward and backward raise comes through.
    """
    if instrument not in INSTRUMENTS:
        raise InputError(f"instrument {instrument!r} is unknown; valid are {', '.join(INSTRUMENTS)}.")
    rng = np.random.default_rng([*np.atleast_1d(seed), APART])
    at = point(forward, backward, inputs, fixed, rng)
    bits = properties.same_bits(at)
    if not bits.passed:     # whatever is measured next would be measured of another function, or change the inputs
        return Report((), (bits,), {name: array.shape for name, array in at.inputs.items()})
    if instrument == "auto":
        instrument = "complex step" if at.exact and accepts_complex(at, rng) else "central"
    report = _report(at, instrument, tolerance, coordinates, bits, seed, careful=False)
    if report.passed or report.inconclusive or not at.whole or tolerance is not None:
        return report
    return _report(at, instrument, tolerance, coordinates, bits, seed, careful=True)


def _report(at, instrument, tolerance, coordinates, bits, seed, careful):
    """The Report at a Point by one instrument; careful: rounding measured well, before anybody is accused."""
    rng, shapes = np.random.default_rng([*np.atleast_1d(seed), APART, 1]), {n: a.shape for n, a in at.inputs.items()}
    chosen = {name: np.sort(rng.choice(at.inputs[name].size, coordinates, replace=False)) for name in at.wanted
              if at.inputs[name].size > coordinates}
    blocks, kinked = _blocks(at, instrument, tolerance, chosen, careful)
    found = [bits]
    careful = careful and all(block.passed or block.inconclusive for block in blocks)    # else somebody is accused already
    if at.whole:
        one, other = ({name: np.where(kinked[name], 0, rng.standard_normal(shapes[name])) for name in at.wanted}
                      for _ in range(2))
        found.append(properties.linear(at))
        if at.exact:
            found.append(properties.adjoint(at, instrument, one, 4 * max(b.tolerance for b in blocks), careful))
        if at.eps == np.finfo(float).eps:
            found.append(properties.symmetric(at, one, other, careful))
    return Report(tuple(blocks), tuple(p for p in found if p is not None), shapes)


def accepts_complex(at, rng):
    """Whether the forward pass takes complex numbers and is analytic in them: it raises nothing, drops no imaginary part,
    and in a random direction its complex step is the derivative that differences show."""
    on_line = along(at.forward, at.wide, {name: rng.standard_normal(at.wide[name].shape) for name in at.wanted})
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")          # a dropped imaginary part is a warning
            y, _ = call(on_line, {"t": np.array(1j * instruments.STEP)})
    except Exception:   # whatever a function does that is not written for complex numbers
        return False
    real, _ = call(at.forward, at.wide)
    if y.dtype.kind != "c" or y.shape != real.shape or not np.allclose(y.real, real, rtol=1e-9, atol=1e-12):
        return False
    v, zero = rng.standard_normal(y.shape), {"t": np.zeros(())}
    exact = float((v * y.imag).sum()) / instruments.STEP
    for careful in (False, True):
        difference, error = (found["t"] for found in instruments.extrapolated_difference(
            on_line, zero, v, ["t"], noise=noise.LARGEST * noise.sum_noise(at, careful)))
        size = max(float(np.abs(v * y.imag).sum()) / instruments.STEP, abs(difference))
        slack = 1e-4 * size + error + noise.resolution(at, instruments.WIDE_STEP)
        if np.isnan(difference) or abs(exact - difference) <= slack:
            return True
    return False


def _blocks(at, instrument, tolerance, chosen, careful):
    """The Blocks of all wanted inputs, and name -> which entries sit on a kink."""
    f, entries = restricted(at.forward, at.wide, chosen)
    rounding = noise.gradient_noise(at, careful) if at.whole else dict.fromkeys(at.wanted, 0.0)
    sum_noise = noise.LARGEST * noise.sum_noise(at, careful)
    numeric, errors, step = _numeric(at, instrument, f, entries, sum_noise)
    largest = max(np.nanmax(np.abs(n), initial=0) for n in numeric.values())
    blocks, kinked = [], {}
    for name in at.wanted:
        a, n, shape = at.analytic[name], numeric[name], at.inputs[name].shape
        if name in chosen and a is not None and a.shape == shape:
            a = a.ravel()[chosen[name]]
        size = np.nanmax(np.abs(n), initial=0)
        allowed = tolerance
        if allowed is None:
            allowed = _tolerance(at, instrument, rounding[name], errors[name], size)
        error, index, said, on_kink = _compare(at, name, a, n, f, entries, allowed, sum_noise)
        nothing = _nothing(at, n, size, largest, allowed)
        if careful and error > allowed and _invisible(at, a, size, instrument, step):
            nothing = VANISHED
        kinked[name] = np.zeros(shape, dtype=bool)
        if a is not None and a.shape == n.shape:
            kinked[name].reshape(-1)[chosen.get(name, slice(None))] = on_kink.ravel()
            value = float(a[index])
        else:
            value = np.nan
        where = index
        if name in chosen:
            where = tuple(map(int, np.unravel_index(chosen[name][index[0]], shape)))
        blocks.append(Block(name, shape, np.inf if nothing else error, allowed, where, value,
                            float(n[index]) if n.size else np.nan, instrument, step, nothing or said, bool(nothing)))
    return blocks, kinked


def _numeric(at, instrument, f, entries, sum_noise):
    """name -> numeric gradient, name -> estimate of its error, step of the instrument."""
    v = at.v.astype(float)
    if instrument == "complex step":
        if not at.exact:
            raise InputError("the complex step needs a function that computes in float64, and this one rounds to less; "
                             "use instrument='central'.")
        found = instruments.complex_step(f, entries, v, at.wanted)
        return found, {name: np.zeros_like(n) for name, n in found.items()}, instruments.STEP
    step = instruments.WIDE_STEP if at.exact else at.eps ** 0.2       # where truncation h⁴ and rounding eps/h are alike
    return *instruments.extrapolated_difference(f, entries, v, at.wanted, step=step, noise=sum_noise), step


def _tolerance(at, instrument, rounding, errors, size):
    """What the relative error of a block may be: the instrument's tolerance, or measured rounding where that is more."""
    if at.eps > np.finfo(float).eps:
        least = noise.LARGEST * at.eps
    elif instrument == "complex step":
        least = instruments.COMPLEX_TOLERANCE
    else:
        least = instruments.EXTRAPOLATED_TOLERANCE
    measured = noise.LARGEST * rounding + np.nanmax(errors, initial=0)
    return float(max(least, measured / size)) if size else least


def _nothing(at, n, size, largest, allowed):
    """Why nothing could be compared, "" if something was."""
    if np.isnan(n).all():
        return ALL_KINKS if n.size else VANISHED
    if size <= VANISHES * largest:
        return VANISHED
    return ROUNDED.format(allowed) if allowed > noise.most(at.eps) else ""


def _invisible(at, a, size, instrument, step):
    """Whether a gradient is so small that differences in float64 do not see it."""
    seen = noise.resolution(at, step) if instrument == "central" and at.exact else 0.0
    return max(size, np.abs(a).max(initial=0)) <= seen


def _compare(at, name, a, n, f, entries, allowed, sum_noise):
    """(error, index of the worst entry, what is likely wrong, which entries sit on a kink) of one block."""
    def said(a, n):
        return hint(name, a, n, {**at.inputs, name: entries[name]}, at.v.shape, allowed)

    if a is None or a.shape != n.shape:
        return np.inf, (0,) * n.ndim, said(a, n), None
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
    index = tuple(map(int, np.unravel_index(off.argmax(), off.shape))) if off.size else ()
    error = float(off[index])
    if not error > allowed:
        return error, index, "", on_kink
    return error, index, AT_KINKS if (off[~on_kink] <= allowed).all() else said(a, n), on_kink
