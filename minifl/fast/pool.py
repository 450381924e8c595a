"""max_pool2d of minifl/layers/pool.py, one axis after the other.

The largest of each row of a window first, then of these: fewer comparisons than with all size² pixels. With ties decided
for the first at both stages it is the same pixel as in one stage, row by row. The cache holds the winner of each window
as its column and its row in it.
"""

from minifl.backend import Array, get_xp
from minifl.layers.pool import check_window


def max_pool2d(x: Array, *, size: int = 2, stride: int | None = None) -> tuple:
    """Arguments, y and ValueError as minifl.layers.pool.max_pool2d; another cache."""
    stride = stride or size
    check_window(x.shape, size)
    rows, columns_cache = _max_along(x, 3, size, stride)
    y, rows_cache = _max_along(rows, 2, size, stride)
    return y, (columns_cache, rows_cache)


def max_pool2d_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx, as minifl.layers.pool.max_pool2d_backward: to the winner's row, and there to its column."""
    columns_cache, rows_cache = cache
    return _max_along_transposed(_max_along_transposed(dy, rows_cache), columns_cache)


def _max_along(x, axis, size, stride):
    """Largest of each `size` neighbours along one axis, `stride` apart, the first one in a tie.

    Returns y and cache, in which the winner of each is its position 0 .. size-1.
    """
    xp = get_xp(x)
    parts = [x[cut] for cut in _slices(x.shape, axis, size, stride)]
    y, winner = parts[0], xp.zeros((1,) * x.ndim, dtype=xp.int8 if size < 128 else xp.int64)
    for position, part in enumerate(parts[1:], start=1):
        wins = part.real > y.real
        winner = wins.view(xp.int8) if size == 2 else xp.maximum(winner, wins * winner.dtype.type(position))
        y = xp.where(wins, part, y) if y.dtype.kind == "c" else xp.maximum(y, part)     # fast, but for complex ties
    return y, (x.shape, winner, axis, size, stride)


def _max_along_transposed(dy, cache):
    """Hand each gradient to the winner's place, 0 to the others."""
    xp = get_xp(dy)
    shape, winner, axis, size, stride = cache
    whole = size == stride and shape[axis] % size == 0     # each place belongs to one window: all are written to
    dx = (xp.empty if whole else xp.zeros)(shape, dtype=dy.dtype)
    for position, cut in enumerate(_slices(shape, axis, size, stride)):
        if stride < size:
            dx[cut] += dy * (winner == position)
        else:
            xp.multiply(dy, winner == position, out=dx[cut])
    return dx


def _slices(shape, axis, size, stride):
    """For each position in a window along one axis, the slice that holds that place of every window."""
    count = (shape[axis] - size) // stride + 1
    for i in range(size):
        yield (slice(None),) * axis + (slice(i, i + stride * (count - 1) + 1, stride),)
