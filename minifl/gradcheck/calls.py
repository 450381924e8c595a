"""What a right pair has whatever it computes: it may be called twice, and given numbers wherever they lie in memory."""

from typing import Any

import numpy as np

from minifl.gradcheck import noise
from minifl.gradcheck.findings import Property
from minifl.gradcheck.pairs import Point, call, copies

BITS = "same bits twice, inputs untouched"
CACHE = "backward twice on one cache"
LINEAR = "twice dy, twice the gradient"
LAYOUT = "in any memory layout"
DIFFERS = "two calls give different bits: randomness, or state that a call leaves behind?"
DESTROYED = "the second call {}: backward destroys its cache"
AS_IT_LIES = "it {} {}: is memory read as it lies, by a pointer, a view, ravel('K') or reshape(order='A')?"
LAYOUTS = {   # what an array is -> the same numbers, elsewhere in memory
    "in Fortran's order": lambda array: np.array(array, order="F"),
    "with gaps": lambda array: np.repeat(array[..., None], 2, axis=-1)[..., 0],
    "backwards": lambda array: np.flip(np.flip(array).copy()),
}


def same_bits(point: Point) -> Property:
    """Two calls give the same bits, and leave inputs and cotangent as they were."""
    given = [copies(point.inputs) for _ in range(2)]
    dy, hints = point.v.copy(), []
    (once, cache), (again, _) = (call(point.forward, inputs) for inputs in given)
    gradient = point.gradient(dy, cache)
    if not _bits(once, again) or not all(_bits(point.analytic[name], gradient[name]) for name in gradient):
        hints.append(DIFFERS)
    changed = [name for name in point.inputs if not _bits(given[0][name], point.inputs[name])]
    changed += [] if _bits(dy, point.v) else ["dy"]
    if changed:
        hints.append(f"a call changes {', '.join(changed)} in place")
    return Property(BITS, np.inf if hints else 0.0, 0.0, "; ".join(hints))


def linear(point: Point) -> Property:
    """backward(2 dy) = 2 backward(dy)."""
    _, cache = call(point.forward, point.inputs)
    twice = point.gradient(2 * point.v, cache)
    error = max(relative(twice[name], 2 * point.analytic[name]) for name in point.wanted)
    return Property(LINEAR, error, max(noise.LARGEST * point.eps, 1e-14),
                    "backward is not linear in dy: is the incoming gradient used, once?")


def cache_kept(point: Point) -> Property:
    """A second call of backward on one cache gives the same bits: whoever sums gradients, or takes a row of the Jacobian
    after another, calls it more than once."""
    _, cache = call(point.forward, copies(point.inputs))
    first = point.gradient(point.v.copy(), cache)
    first = {name: None if g is None else g.copy() for name, g in first.items()}     # it may be a buffer in the cache
    try:
        second = point.gradient(point.v.copy(), cache)
        said = "" if all(_bits(first[name], second[name]) for name in first) else "gives other numbers"
    except Exception as error:
        said = f"raises {type(error).__name__}: {error}"
    return Property(CACHE, np.inf if said else 0.0, 0.0, DESTROYED.format(said) if said else "")


def any_layout(point: Point, tolerance: float) -> Property:
    """y and the gradients are the same wherever the numbers of the inputs and of dy lie in memory: in Fortran's order, with
    gaps between them, backwards; and for a dy that is one row for all, as what is behind a sum hands it back. A forward
    pass that raises for such inputs refuses them, and is not wrong."""
    right = {"y": point.y} | point.analytic
    row = point.v[:1].copy() if point.v.ndim else point.v
    wide = np.lib.stride_tricks.as_strided(row, point.v.shape, (0, *row.strides[1:])) if point.v.ndim else row
    found = [(_off(point, point.inputs, wide, _results(point, point.inputs, wide.copy())), "for a dy of one row for all")]
    for what, layout in LAYOUTS.items():
        inputs, dy = {name: layout(array) for name, array in point.inputs.items()}, layout(point.v)
        if all(array.flags.c_contiguous for array in (*inputs.values(), dy)):
            continue
        found.append((_off(point, inputs, dy, right), what))
        if not found[-1][0] <= tolerance:
            of_inputs = _off(point, inputs, point.v, right)
            found[-1:] = [(_off(point, point.inputs, dy, right), f"for a dy {what}"),
                          (0.0 if of_inputs == np.inf else of_inputs, f"for inputs {what}")]
    error, what = max(found)
    said = "raises" if error == np.inf else "gives other numbers"
    return Property(LAYOUT, error, tolerance, AS_IT_LIES.format(said, what))


def _results(point, inputs, dy):
    y, cache = call(point.forward, inputs)
    return {"y": y} | point.gradient(dy, cache)


def _off(point, inputs, dy, right):
    """How far a call is off, relative to the right results and to those of the point; inf if it raises."""
    try:
        found = _results(point, inputs, dy)
        return max(relative(found[name], array, float(np.abs(point.analytic.get(name, array)).max(initial=0)))
                   for name, array in right.items())
    except Exception:   # whatever code does that takes for granted where numbers lie
        return np.inf


def _bits(a, b):
    """Whether two arrays hold the same bits; those of nan, and the padding between numbers of long double, do not count."""
    if a is None or b is None:
        return a is b
    return (a.shape == b.shape and a.dtype == b.dtype and np.array_equal(a, b, equal_nan=a.dtype.kind in "fc")
            and (a.dtype.kind != "f" or np.array_equal(np.signbit(a), np.signbit(b))))


def relative(a: np.ndarray, b: Any, size: float = 0.0) -> float:
    """Largest difference of two arrays relative to their largest number, or to a larger one; inf for nan."""
    size = max(size, float(np.abs(a).max(initial=0)), float(np.abs(b).max(initial=0)))
    off = float(np.abs(a - b).max(initial=0))
    return (off / size if size else 0.0) if off < np.inf else np.inf
