"""Hints about places: which entries are wrong, at which places dy is lost, and what does not flow between places.

That dy is lost is found by calling backward with a part of dy at a time, and said only if what is missing of the gradient
is what the lost part of dy should have given: a derivative of forward along a random direction.
"""

from typing import Any

import numpy as np

from minifl.gradcheck.pairs import Point, along, call, copies

FEW = 2            # places along an axis that are worth naming
NEARLY_ALL = 0.8   # of the entries: where so many are wrong the others are right by chance
MOST = 16          # places along an axis that are tried
STEP = 1e-5        # of the derivative that confirms it
CONFIRMS = 1e-4    # relative


def axis_name(axis: int, client: bool = False) -> str:
    return f"axis {axis}{' (the clients)' if client and axis == 0 else ''}"


def where(a: np.ndarray, n: np.ndarray, x: Any, same: Any, client: bool = False) -> str:
    """Which part of the entries is wrong, if it is one side of 0 or some places along an axis."""
    wrong = np.abs(a - n) > same * np.abs(n).max()
    if not wrong.any() or wrong.all():
        return ""
    alive = (a != 0) | (n != 0)
    for sign, side in (("negative", x < 0), ("positive", x > 0)):
        if np.array_equal(wrong, side & alive) and wrong.sum() > 2:     # fewer are on one side by chance
            return f"wrong only where the input is {sign}: a mask or a slope?"
    for axis in range(a.ndim):
        size, rest = a.shape[axis], tuple(i for i in range(a.ndim) if i != axis)
        hit = wrong.any(axis=rest)
        at, right = np.flatnonzero(hit), np.flatnonzero(~hit)
        if not len(right) or wrong.sum() < NEARLY_ALL * (alive & np.expand_dims(hit, rest)).sum():
            continue                # wrong at some of these places by chance
        if len(at) <= FEW or len(at) <= size // 2 and np.all(np.diff(at) == 1):
            edge = ": an edge?" if size > 3 and set(at) <= {0, size - 1} else ""
            return f"wrong only at {_listed(at)} of 0..{size - 1} along {axis_name(axis, client)}{edge}"
        if len(right) == 1:
            return f"right only at {right[0]} of 0..{size - 1} along {axis_name(axis, client)}"
    return ""


def entries(a: np.ndarray, n: np.ndarray, same: Any) -> str:
    """How many entries are wrong."""
    wrong = np.abs(a - n) > same * np.abs(n).max()
    if wrong.mean() > NEARLY_ALL or not wrong.any():
        return "wrong nearly everywhere, and not by a factor: is a term missing, or a factor that varies?"
    return f"{wrong.sum()} of {a.size} entries are wrong, the others right: a mask, a border, or shared entries?"


def lost(at: Point, name: str, a: np.ndarray, n: np.ndarray) -> str:
    """At which places dy is not used, or between which places nothing flows. "" without a Point, for a part of a block, in
    single precision, and where the numbers do not confirm it."""
    if at is None or a.shape != at.inputs[name].shape or not at.exact or np.isnan(n).any():
        return ""
    try:
        parts = {axis: _parts(at, name, axis) for axis, size in enumerate(at.v.shape) if 1 < size <= MOST}
        return _unused(at, name, a, n, parts) or _local(at, name, parts)
    except Exception:     # a backward pass that does not take every dy
        return ""


def _parts(at, name, axis):
    """What backward says to dy at each place along an axis of the output, dy being 0 at the others."""
    found = []
    for i in range(at.v.shape[axis]):
        cache = call(at.forward, copies(at.inputs))[1]
        found.append(at.gradient(_only(at.v, axis, [i]), cache)[name])
    return found


def _unused(at, name, a, n, parts):
    """Places whose dy gives nothing."""
    said, used = [], at.v
    for axis, found in parts.items():
        size = len(found)
        alive = [i for i in range(size) if np.any(found[i])]
        dead = [i for i in range(size) if i not in alive]
        if alive and dead:
            used = _only(used, axis, alive)
            few = len(alive) <= FEW and len(alive) < len(dead) or len(alive) == len(dead) == 1
            said.append(f"{'used only' if few else 'not used'} at {_listed(alive if few else dead)} of 0..{size - 1} along "
                        f"axis {axis}{'' if few else _end(dead, size)}")
    direction = np.random.default_rng(0).standard_normal(a.shape)
    if not said or not _confirmed(at, name, at.v - used, direction, n - a):
        return ""
    return f"dy, of the output, is {' and '.join(said)}: left out of a loop, or overwritten where it should be added?"


def _local(at, name, parts):
    """Places of the input whose gradient by dy at the same place is right, while that by dy at other places is not."""
    shape = at.inputs[name].shape
    for axis, found in parts.items():
        for own, size in enumerate(shape):
            if size != len(found) or size < 3:
                continue
            rng = np.random.default_rng(0)
            right = [_confirmed(at, name, _only(at.v, axis, [i]), _only(rng.standard_normal(shape), own, [i]), found[i])
                     for i in range(size)]
            if all(right):
                alone = not any(np.any(np.delete(part, i, axis=own)) for i, part in enumerate(found))
                time = ", as it flows back in time?" if _causal(at, name, axis, own) else ""
                return (f"along axis {own} the part of each place's own dy is right, that of dy at "
                        f"{'later' if time else 'other'} places is {'missing' if alone else 'wrong'}{time}")
    return ""


def _causal(at, name, axis, own):
    """Whether the last place of an input along one axis moves the last place of the output alone, and the first all."""
    moved = []
    for i in (0, -1):
        direction = _only(np.ones(at.inputs[name].shape), own, [i])
        change = call(along(at.forward, at.wide, {name: direction}), {"t": np.array(STEP)})[0] - call(at.forward, at.wide)[0]
        moved.append(np.flatnonzero(np.any(change, axis=tuple(j for j in range(change.ndim) if j != axis))))
    return len(moved[0]) == at.v.shape[axis] and list(moved[1]) == [at.v.shape[axis] - 1]


def _confirmed(at, name, v, direction, gradient):
    """Whether sum(v*forward) has this gradient along a direction."""
    on_line = along(at.forward, at.wide, {name: direction})
    plus, minus = (np.asarray(call(on_line, {"t": np.array(t)})[0], dtype=float) for t in (STEP, -STEP))
    slope, terms = float((v * (plus - minus)).sum()) / (2 * STEP), gradient * direction
    size = max(float(np.abs(terms).sum()), abs(slope))
    return bool(size and abs(slope - terms.sum()) <= CONFIRMS * size)


def _only(array, axis, places):
    """The array with 0 at all other places along an axis."""
    kept = np.zeros_like(array)
    chosen = (slice(None),) * axis + (list(places),)
    kept[chosen] = array[chosen]
    return kept


def _end(places, size):
    """The end that these places are, in words."""
    return {(0,): ", the first", (size - 1,): ", the last"}.get(tuple(places), "")


def _listed(places):
    if len(places) > FEW and np.all(np.diff(places) == 1):
        return f"{places[0]} to {places[-1]}"
    return ", ".join(map(str, places))
