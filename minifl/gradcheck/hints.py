"""What is likely wrong with a gradient, from its numbers beside the right ones: the mistakes that people make.

Each look takes the analytic block a and the numeric block n, and says what it recognizes, or nothing; `same` is how
well two arrays agree that are meant to be equal, relative to the largest number.
"""

from itertools import combinations

import numpy as np

FEW = 2            # places along an axis that are worth naming
NEARLY_ALL = 0.8   # of the entries: where so many are wrong the others are right by chance


def hint(name, a, n, inputs, output_shape, allowed):
    """A sentence on what is likely wrong with the gradient a of input `name`, n being right to `allowed` (relative)."""
    same = max(1e-9, 20 * allowed)
    if a is None:
        return "backward returned None for it"
    if a.shape != n.shape:
        return _shapes(a, n, same)
    if not np.all(np.isfinite(a)):
        return f"{np.size(a) - np.isfinite(a).sum()} of {a.size} entries are not finite"
    if not np.any(n):
        return "the true gradient is 0 everywhere here"
    if np.abs(a).max(initial=0) <= same * np.abs(n).max(initial=0):
        return "all zeros, or as good as: not computed, or cut off from the output"
    x, sizes = inputs[name], _sizes(inputs, output_shape)
    return (_factor(a, n, sizes, same) or _rearranged(a, n, same) or _summed(a, n, same) or
            _missing_term(a, n, x, same) or _varying_factor(a, n, same) or _where(a, n, x, same))


def factor_name(factor, sizes):
    """What a factor may be, in words; sizes: N -> where it comes from. "" if nothing fits."""
    forms = (("N", lambda m: m), ("1/N", lambda m: 1 / m), ("sqrt(N)", lambda m: m ** 0.5),
             ("1/sqrt(N)", lambda m: m ** -0.5), ("N²", lambda m: m * m), ("1/N²", lambda m: 1 / m ** 2),
             ("(N - 1)/N", lambda m: (m - 1) / m), ("sqrt((N - 1)/N)", lambda m: ((m - 1) / m) ** 0.5))
    for form, value in forms:
        for size, where in sizes.items():
            if size > 1 and abs(factor / value(size) - 1) < 1e-6:
                return f"{form}, N = {size} ({' or '.join(where[:3])})"
    return ""


def _same(a, b, same, of=None):
    return a.shape == b.shape and np.abs(a - b).max(initial=0) <= same * np.abs(b if of is None else of).max(initial=0)


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


def _shapes(a, n, same):
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
            return f"summed over {_axis(axis)}: {said}"
    return said


def _factor(a, n, sizes, same):
    """a = s n."""
    s = float((a * n).sum()) / float((n * n).sum())
    if s == 0 or not _same(a, s * n, same, n if abs(s) < 1 else a):
        return ""
    if abs(s + 1) < same:
        return "the sign is wrong"
    name = factor_name(abs(s), sizes)
    said = f"off by the factor {s:.6g}" + (f" = {'-' if s < 0 else ''}{name}" if name else "")
    if not name and np.count_nonzero(n) == 1:
        return f"{said}, but it is a single number: larger shapes say more"
    if abs(abs(s) - 2) < same or abs(abs(s) - 0.5) < same:
        return f"{said}{', or' if name else ':'} a constant 2 forgotten or counted twice?"
    if name.startswith(("N,", "N²")):
        return f"{said}: a missing 1/N?"
    if name.startswith("1/N"):
        return f"{said}: divided by N once too often, a mean for a sum?"
    return f"{said}: a constant, or the divisor of a mean or variance?" if name else f"{said}: a constant forgotten?"


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


def _summed(a, n, same):
    """The same for all along an axis: their sum or mean."""
    for axis in range(n.ndim):
        if n.shape[axis] > 1:
            total = n.sum(axis=axis, keepdims=True) + 0 * n
            for what, value in (("summed", total), ("averaged", total / n.shape[axis])):
                if _same(a, value, same):
                    return f"{what} over {_axis(axis)}"
    return ""


def _missing_term(a, n, x, same):
    """n - a is, in each slice, a multiple of 1, of x, or a combination: terms of a mean, of a length."""
    for axes in _slices(a.ndim):
        missing, of = _rows(n - a, axes), _rows(x, axes)
        if missing.shape[1] < 4:
            continue
        ones, centred = np.ones_like(of), of - of.mean(axis=1, keepdims=True)
        slack = same * np.abs(n).max()
        for directions, what in (
                ((ones,), "a term that is constant over {}: that of a mean?"),
                ((of,), "a term along the input (over {}): that of a length, the radial term?"),
                ((centred,), "a term along input - mean (over {}): that of a standard deviation, the radial term?"),
                ((ones, of) if missing.shape[1] > 4 else None, "terms of a mean and of a length (over {})")):
            if directions and _explained(missing, directions, slack):
                return f"missing or wrong is {what.format(_axes(axes))}"
    return ""


def _varying_factor(a, n, same):
    """a = s n with a factor of its own for each slice."""
    slices = sorted(_slices(a.ndim), key=len, reverse=True)
    for axes, what in ((tuple(range(a.ndim - 1)), "a gain?"),
                       *((axes, "a standard deviation, a length or a count?") for axes in slices)):
        length = np.prod([a.shape[axis] for axis in axes])
        if axes and 3 <= length < a.size and _explained(_rows(a, axes), (_rows(n, axes),), same * np.abs(a).max()):
            return f"off by a factor that is the same over {_axes(axes)} and differs between the rest: {what}"
    return ""


def _where(a, n, x, same):
    """Which part of the entries is wrong, if it is a part that can be named."""
    wrong = np.abs(a - n) > same * np.abs(n).max()
    if wrong.mean() > NEARLY_ALL or not wrong.any():
        return "wrong nearly everywhere, and not by a factor: is a term missing, or a factor that varies?"
    for sign, where in (("negative", x < 0), ("positive", x > 0)):
        if not wrong[~where].any() and wrong.sum() > 2:     # fewer are on one side by chance
            return f"wrong only where the input is {sign}: a mask or a slope?"
    for axis in range(a.ndim):
        at = np.flatnonzero(wrong.any(axis=tuple(i for i in range(a.ndim) if i != axis)))
        if len(at) < a.shape[axis] and len(at) <= FEW:
            edge = ": an edge?" if a.shape[axis] > 3 and set(at) <= {0, a.shape[axis] - 1} else ""
            return f"wrong only at {', '.join(map(str, at))} of 0..{a.shape[axis] - 1} along {_axis(axis)}{edge}"
    return f"{wrong.sum()} of {a.size} entries are wrong, the others right: a mask, a border, or shared entries?"


def _slices(ndim):
    """Sets of axes over which layers take means and lengths: features, the whole example, the batch and places, the
    batch, all but the clients."""
    sets = ((ndim - 1,), tuple(range(2, ndim)), tuple(range(1, ndim - 1)), (1,), tuple(range(1, ndim)))
    return [axes for axes in dict.fromkeys(sets) if axes and 0 < axes[0] <= axes[-1] < ndim]


def _rows(array, axes):
    """The array as a matrix with a row for each slice over `axes`."""
    last = tuple(range(array.ndim - len(axes), array.ndim))
    moved = np.moveaxis(array, axes, last)
    return moved.reshape(-1, int(np.prod([array.shape[axis] for axis in axes])))


def _explained(rows, directions, slack):
    """Whether each row is a combination of the directions' rows, to the slack (absolute)."""
    left, basis = rows.astype(float), []
    for direction in directions:
        for b in basis:
            direction = direction - b * (direction * b).sum(axis=1, keepdims=True)
        length = np.sqrt((direction * direction).sum(axis=1, keepdims=True))
        basis.append(direction / np.where(length == 0, 1, length))
        left = left - basis[-1] * (left * basis[-1]).sum(axis=1, keepdims=True)
    return np.abs(left).max() <= slack


def _axis(axis):
    return f"axis {axis}{' (the clients)' if axis == 0 else ''}"


def _axes(axes):
    return f"axes {axes[0]} to {axes[-1]}" if len(axes) > 1 else f"axis {axes[0]}"
