"""Wrong backward passes of minifl/fast: mistakes that only these forms allow, with the caches that they have."""

from typing import Any

from minifl.backend import Array, get_xp
from minifl.fast import conv, pool
from minifl.layers import pool as textbook


def conv_tile_shared_rows_once(dy: Array, cache: Any) -> tuple:
    """Rows of x under two tiles of minimal filtering get the gradient of the upper one alone."""
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    tile, kh, padding = cache[6], cache[1].shape[1], cache[5]
    if tile and dy.shape[2] > tile:
        upper = dy.copy()
        upper[:, :, tile:] = 0
        shared = slice(max(0, tile - padding), tile + kh - 1 - padding)
        dx[:, :, shared] = conv.conv2d_backward(upper, cache)[0][:, :, shared]
    return dx, dweight, dbias


def conv_point_left_out(dy: Array, cache: Any) -> tuple:
    """dW without the product at the last point of minimal filtering."""
    columns, weight, *rest = cache
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    if rest[-1]:
        some = columns.copy()
        some[:, -1] = 0
        dweight = conv.conv2d_backward(dy, (some, weight, *rest))[1]
    return dx, dweight, dbias


def conv_edge_left_out(dy: Array, cache: Any) -> tuple:
    """dx of the columns at the left edge, which fewer kernel columns met than the others."""
    dx, dweight, dbias = conv.conv2d_backward(dy, cache)
    edge, padding = cache[1].shape[2] - 1, cache[5]
    dx[:, :, :, :max(0, edge - padding)] = 0
    return dx, dweight, dbias


def max_pool_overwritten(dy: Array, cache: Any) -> Array:
    for shape, winner, axis, size, stride in reversed(cache):
        dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
        for position, cut in enumerate(pool._slices(shape, axis, size, stride)):
            dx[cut] = dy * (winner == position)
        dy = dx
    return dy


def max_pool_row_and_column_exchanged(dy: Array, cache: Any) -> Array:
    """The winner's row in its window is taken for its column and the other way round."""
    (shape, column, _, size, stride), (rows_shape, row, axis, _, _) = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    windows = list(textbook._windows(shape, size, stride))
    for i, cut in enumerate(pool._slices(rows_shape, axis, size, stride)):
        for j in range(size):
            dx[windows[j * size + i]] += dy * ((row == i) & (column[cut] == j))
    return dx
