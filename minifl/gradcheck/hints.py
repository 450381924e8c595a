"""What is likely wrong with a gradient, from its numbers beside the right ones: the mistakes that people make.

Each look takes the analytic block a and the numeric block n, and says what it recognizes, or nothing; `same` is how
well two arrays agree that are meant to be equal, relative to the largest number. A look says only what it has computed
again: a times the factor, the term, the part of dy gives n.
"""

import inspect
from collections.abc import Callable
from itertools import combinations

import numpy as np

from minifl.gradcheck import places, terms
from minifl.gradcheck.pairs import Point

OURS = "minifl.layers"     # whose axis 0 is the client
CLOSE = 1e-2               # to 1: such a factor is no constant that somebody forgot
CLEAR = 20                 # an error has to be so much larger than `same`, else everything seems to explain it
SHARE = 0.02               # of the error: what a factor may leave of it


def hint(name: str, a: np.ndarray, n: np.ndarray, inputs: dict[str, np.ndarray], output_shape: tuple, allowed: float,
         at: Point | None = None) -> str:
    """A sentence on what is likely wrong with the gradient a of input `name`, n being right to `allowed` (relative).

    inputs  name -> array, of `name` the entries that a and n are of; at: the Point, for looks that call the pair again
    """
    same = max(1e-9, 20 * allowed)
    client = at is not None and ours(at.forward)
    if a is None:
        return "backward returned None for it"
    if a.shape != n.shape:
        return _shapes(a, n, same, client)
    if not np.all(np.isfinite(a)):
        return f"{np.size(a) - np.isfinite(a).sum()} of {a.size} entries are not finite"
    if not np.any(n):
        return "the true gradient is 0 everywhere here"
    if np.abs(a).max(initial=0) <= same * np.abs(n).max(initial=0):
        return "all zeros, or as good as: not computed, or cut off from the output"
    x, sizes = inputs[name], _sizes(inputs, output_shape)
    factor = _factor(a, n, sizes)
    if factor or np.abs(a - n).max() < CLEAR * same * np.abs(n).max():
        return factor or _small(a, n)
    others = {other: array for other, array in inputs.items() if other != name}
    return (_rearranged(a, n, same) or _summed(a, n, same, client) or places.lost(at, name, a, n) or
            places.where(a, n, x, same, client) or terms.missing(a, n, x, same) or
            terms.varying_factor(a, n, x, others, same) or places.entries(a, n, same))


def ours(function: Callable) -> bool:
    """Whether a forward pass is one of this package, however it is wrapped."""
    while hasattr(function, "func") or hasattr(function, "__wrapped__"):     # partial, adapters
        function = function.func if hasattr(function, "func") else inspect.unwrap(function)
    return (getattr(function, "__module__", None) or "").startswith(OURS)


def factor_name(factor: float, sizes: dict) -> str:
    """What a factor may be, in words; sizes: N -> where it comes from. "" if nothing fits."""
    forms = (("N", lambda m: m), ("1/N", lambda m: 1 / m), ("sqrt(N)", lambda m: m ** 0.5),
             ("1/sqrt(N)", lambda m: m ** -0.5), ("N²", lambda m: m * m), ("1/N²", lambda m: 1 / m ** 2),
             ("(N - 1)/N", lambda m: (m - 1) / m), ("sqrt((N - 1)/N)", lambda m: ((m - 1) / m) ** 0.5))
    for form, value in forms:
        for size, where in sizes.items():
            if size > 1 and abs(factor / value(size) - 1) < 1e-6:
                return f"{form}, N = {size} ({' or '.join(where[:3])})"
    return ""


def _same(a, b, same):
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= same * np.abs(b).max(initial=0)


def _sizes(inputs, output_shape):
    """size -> where it comes from: axes, and products of axes."""
    found = {}
    for name, shape in [*((name, np.shape(array)) for name, array in inputs.items()), ("the output", output_shape)]:
        for axis, size in enumerate(shape):
            found.setdefault(size, []).append(f"axis {axis} of {name}")
        for first in range(len(shape)):
            for last in range(first + 1, len(shape)):
                found.setdefault(int(np.prod(shape[first:last + 1])), []).append(f"axes {first} to {last} of {name}")
    return found


def _shapes(a, n, same, client):
    said = f"its shape is {a.shape}, it should be {n.shape}"
    for i, j in combinations(range(n.ndim), 2):
        if _same(np.swapaxes(a, i, j) if a.ndim == n.ndim else a, n, same):
            return f"transposed, axes {i} and {j} are exchanged: {said}"
    if a.size == n.size and _same(a.ravel(), n.ravel(), same):
        return f"right numbers in the wrong shape: {said}"
    for count in range(1, a.ndim - n.ndim + 1):
        for axes in combinations(range(a.ndim), count):
            if _same(a.sum(axis=axes), n, same):
                return f"not summed over axis {', '.join(map(str, axes))}, over which it was broadcast: {said}"
    for axis in range(n.ndim):
        if _same(a.ravel(), n.sum(axis=axis).ravel(), same):
            return f"summed over {places.axis_name(axis, client)}: {said}"
    return said


def _factor(a, n, sizes):
    """a = s n, to a small share of what a and n differ by."""
    s = float((a * n).sum()) / float((n * n).sum())
    if s == 0 or not np.abs(a - s * n).max() <= SHARE * min(abs(s - 1), abs(s), 1e-4) * np.abs(n).max():
        return ""
    if abs(s - 1) < CLOSE:
        return (f"off by the same factor everywhere, 1 {'+' if s > 1 else '-'} {abs(s - 1):.2g}: a rounded constant, or an "
                "eps?")
    if abs(s + 1) < 1e-6:
        return "the sign is wrong"
    name = factor_name(abs(s), sizes)
    said = f"off by the factor {s:.6g}" + (f" = {'-' if s < 0 else ''}{name}" if name else "")
    if not name and np.count_nonzero(n) == 1:
        return f"{said}, but it is a single number: larger shapes say more"
    if min(abs(abs(s) - 2), abs(abs(s) - 0.5)) < 1e-6:
        return f"{said}{', or' if name else ':'} a constant 2 forgotten or counted twice?"
    if name.startswith(("N,", "N²")):
        return f"{said}: a missing 1/N?"
    if name.startswith("1/N"):
        return f"{said}: divided by N once too often, a mean for a sum?"
    return f"{said}: a constant, or the divisor of a mean or variance?" if name else f"{said}: a constant forgotten?"


def _small(a, n):
    """Too small an error to tell one reason from another by it."""
    error = np.abs(a - n).max() / np.abs(n).max()
    return (f"nearly right, off by {error:.0e} of the largest entry: a lower precision inside, an eps at another place, or "
            "an approximation?")


def _rearranged(a, n, same):
    """The right numbers at other places."""
    for i, j in combinations(range(n.ndim), 2):
        if n.shape[i] == n.shape[j] > 1 and _same(np.swapaxes(a, i, j), n, same):
            return f"transposed: axes {i} and {j} are exchanged"
    for axis in range(n.ndim):
        if n.shape[axis] > 1 and _same(np.flip(a, axis), n, same):
            return f"reversed along axis {axis}"
    if a.size > 1 and _same(np.sort(a, axis=None), np.sort(n, axis=None), same):
        return "the right numbers at the wrong places: a reshape, a transpose or an order?"
    return ""


def _summed(a, n, same, client):
    """The same for all along an axis: their sum or mean."""
    for axis in range(n.ndim):
        if n.shape[axis] > 1:
            total = n.sum(axis=axis, keepdims=True) + 0 * n
            for what, value in (("summed", total), ("averaged", total / n.shape[axis])):
                if _same(a, value, same):
                    return f"{what} over {places.axis_name(axis, client)}"
    return ""
