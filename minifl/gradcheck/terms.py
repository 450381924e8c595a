"""Hints about norms and gains: a term of a mean or a length that is missing, a factor that differs between slices."""

from itertools import combinations
from typing import Any

import numpy as np

LEAST = 4      # numbers of a slice: fewer are explained by chance
FITS = 1e-3    # relative: how well a factor is a deviation, a length (an eps may be in it) or another input


def missing(a: np.ndarray, n: np.ndarray, x: Any, same: Any) -> str:
    """n - a is, in each slice, a multiple of 1, of x, or a combination: terms of a mean, of a length."""
    for axes in slices(a.shape):
        lost, of = _rows(n - a, axes), _rows(x, axes)
        ones, centred = np.ones_like(of), of - of.mean(axis=1, keepdims=True)
        slack = same * np.abs(n).max()
        for directions, what in (
                ((ones,), "a term that is constant over {}: that of a mean?"),
                ((of,), "a term along the input (over {}): that of a length, the radial term?"),
                ((centred,), "a term along input - mean (over {}): that of a standard deviation, the radial term?"),
                ((ones, of) if lost.shape[1] > LEAST else None, "terms of a mean and of a length (over {})")):
            if directions and _explained(lost, directions, slack):
                return f"missing or wrong {'are' if what.startswith('terms') else 'is'} {what.format(axes_name(axes))}"
    return ""


def varying_factor(a: np.ndarray, n: np.ndarray, x: Any, others: Any, same: Any) -> str:
    """a = s n with a factor of its own for each slice: what the factor is, if it is found among the inputs. A slice that is
    right, or 0, speaks against it: then a part is wrong.

    others  name -> array, the other inputs
    """
    for axes in slices(a.shape, least=3):
        left, right = _rows(a, axes), _rows(n, axes)
        if left.shape[0] == 1 or not _explained(left, (right,), same * np.abs(a).max()):
            continue
        s = (left * right).sum(axis=1) / np.where(np.any(right, axis=1), (right * right).sum(axis=1), 1)
        if np.any(np.abs(s - 1) < 1e-6) or np.any(np.abs(s) < 1e-6):
            return ""
        return (f"off by a factor that is the same over {axes_name(axes)} and differs between the rest"
                f"{_known(s, x, axes, others)}")
    return ""


def slices(shape: tuple, least: int = LEAST) -> list:
    """Sets of axes over which a layer may take means and lengths, those with most numbers first."""
    wide = [axis for axis, size in enumerate(shape) if size > 1]
    sets = [axes for count in range(1, len(wide) + 1) for axes in combinations(wide, count)]
    sets = [axes for axes in sets if _length(shape, axes) >= least]
    return sorted(sets, key=lambda axes: -_length(shape, axes))


def axes_name(axes: Any) -> str:
    if len(axes) == 1:
        return f"axis {axes[0]}"
    if axes[-1] - axes[0] == len(axes) - 1:
        return f"axes {axes[0]} to {axes[-1]}"
    return f"axes {', '.join(map(str, axes[:-1]))} and {axes[-1]}"


def _known(s, x, axes, others):
    """": it is ..." if the factors of the slices are numbers that are known, else ""."""
    rows = _rows(x, axes)
    known = {"the input's standard deviation": rows.std(axis=1), "the input's length": np.sqrt((rows * rows).sum(axis=1)),
             "the input's root mean square": np.sqrt((rows * rows).mean(axis=1))}
    known |= {name: np.ravel(array) for name, array in others.items() if np.size(array) == s.size}
    for name, value in known.items():
        if np.all(value):
            for form, power in (("{}", 1), ("1/({})", -1), ("({})²", 2), ("1/({})²", -2)):
                if np.allclose(s, value.astype(float) ** power, rtol=FITS, atol=0):
                    return f": it is {form.format(name) if ' ' in name or power != -1 else f'1/{name}'}"
    return ""


def _length(shape, axes):
    return int(np.prod([shape[axis] for axis in axes]))


def _rows(array, axes):
    """The array as a matrix with a row for each slice over `axes`."""
    last = tuple(range(array.ndim - len(axes), array.ndim))
    moved = np.moveaxis(array, axes, last)
    return moved.reshape(-1, _length(array.shape, axes))


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
