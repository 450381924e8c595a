"""Pooling over windows of each example's map, NHWC."""

from minifl.backend import get_xp


def max_pool2d(x, *, size=2, stride=None):
    """Largest value of each size x size window, channel by channel.

    x        (K, N, H, W, C)
    stride   distance of the windows, default size; rows and columns that fill no whole window are left out
    returns  y (K, N, OH, OW, C) with OH = (H - size)//stride + 1; cache

    A window's winner is its largest pixel; in a tie the first in row-major order wins, as in PyTorch. Numbers are
    compared by their real part. Raises ValueError if size exceeds H or W.

    Derivation: the largest of each row of the window first, then of these: with ties decided for the first at both
    stages it is the same pixel as in one stage. The cache holds the winner of each window as its column and its row in
    it.
    """
    stride = stride or size
    _check_window(x.shape, size)
    rows, columns_cache = _max_along(x, 3, size, stride)
    y, rows_cache = _max_along(rows, 2, size, stride)
    return y, (columns_cache, rows_cache)


def max_pool2d_backward(dy, cache):
    """Map dL/dy (K, N, OH, OW, C) to dL/dx (K, N, H, W, C).

    Derivation: y = x[winner], so each window hands its gradient to its winner alone. Where windows overlap
    (stride < size) a pixel may win several, and its shares add up.
    """
    columns_cache, rows_cache = cache
    return _max_along_transposed(_max_along_transposed(dy, rows_cache), columns_cache)


def avg_pool2d(x, *, size=2, stride=None):
    """Mean of each size x size window, channel by channel; arguments, shapes and ValueError as max_pool2d."""
    stride = stride or size
    y = sum(x[window] for window in _window_slices(x.shape, size, stride)) / size**2
    return y, (x.shape, size, stride)


def avg_pool2d_backward(dy, cache):
    """Map dL/dy (K, N, OH, OW, C) to dL/dx (K, N, H, W, C).

    Derivation: y is linear with coefficient 1/size² for each pixel of the window.
    """
    shape, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for window in _window_slices(shape, size, stride):
        dx[window] += dy / size**2
    return dx


def global_avg_pool(x):
    """Mean over the whole map, channel by channel: (K, N, H, W, C) -> (K, N, C). Returns y, cache."""
    return x.mean(axis=(2, 3)), x.shape


def global_avg_pool_backward(dy, cache):
    """Map dL/dy (K, N, C) to dL/dx (K, N, H, W, C).

    Derivation: each of the H*W pixels has coefficient 1/(H*W).
    """
    xp = get_xp(dy)
    _, _, h, w, _ = cache
    return xp.broadcast_to((dy / (h * w))[:, :, None, None, :], cache)


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


def _check_window(shape, size):
    h, w = shape[2:4]
    if size > min(h, w):
        raise ValueError(f"a pooling window of {size}x{size} does not fit into a map of {h}x{w}")


def _window_slices(shape, size, stride):
    """For each position in the window, row-major, the slice of x that holds that pixel of every window."""
    _check_window(shape, size)
    _, _, h, w, _ = shape
    oh, ow = (h - size) // stride + 1, (w - size) // stride + 1
    for i in range(size):
        for j in range(size):
            yield (slice(None), slice(None), slice(i, i + stride * (oh - 1) + 1, stride),
                   slice(j, j + stride * (ow - 1) + 1, stride))
