"""How a test compares an array with what it should be, and what it tells a student who is off."""

import numpy as np

from minifl.course.running import expect

LARGEST = 1e100     # where sums and squares of numbers are still finite; what is infinite would be as far from anything


def compare(what, found, expected, tolerance, axes=(), along=None):
    """Fail unless `found` is `expected` up to `tolerance` times the largest entry; say how and where it is not.

    axes    what the axes are called
    along   in words -> an array of the same shape: says if the error of each vector (last axis) is a multiple of it
    """
    expect(isinstance(found, (np.ndarray, np.generic)), f"{what} should be an array, it is a {type(found).__name__}")
    expect(np.shape(found) == np.shape(expected),
           f"{what} has the shape {np.shape(found)}, it should have {np.shape(expected)}")
    expect(found.dtype.kind in "fc", f"{what} has the dtype {found.dtype}, it should hold floats")
    expect(np.isfinite(found).all(), f"{what} holds nan or infinity")
    with np.errstate(over="ignore"):
        error = np.abs(found - expected)
        largest = float(max(np.abs(found).max(), np.abs(expected).max()))
    expect(largest < LARGEST, f"{what} holds {largest:.0e}: too large to be compared")
    if error.max() <= tolerance * largest:
        return
    message = f"{what} is off by {error.max() / largest:.1e} of its largest entry"
    wrong = error > tolerance * largest
    factor = float(np.vdot(expected, found).real / max(np.vdot(expected, expected).real, 1e-300))
    if not found.any():
        message += "; yours is 0 everywhere"
    elif not expected.any():
        message += "; it should be 0 everywhere"
    elif np.abs(found - factor * expected).max() <= 1e-6 * largest:
        message += f"; yours is {factor:.6g} times what it should be"
    else:
        message += f"; {wrong.mean():.0%} of the entries are wrong"
        for number, axis in enumerate(axes):
            where = np.unique(np.nonzero(wrong)[number])
            if len(where) < found.shape[number]:
                message += f", only where the {axis} is {', '.join(map(str, where))} of 0 to {found.shape[number] - 1}"
        for words, direction in (along or {}).items():
            if _is_along(found - expected, direction, 1e-6 * largest):
                message += f"; the error of each vector is a multiple of {words}"
    expect(False, message)


def _is_along(error, direction, allowed):
    """Whether each vector of `error` is a multiple of that of `direction`, up to `allowed`."""
    size = np.maximum((direction * direction).sum(axis=-1, keepdims=True), 1e-300)
    rest = error - direction * ((error * direction).sum(axis=-1, keepdims=True) / size)
    return np.abs(rest).max() <= allowed
