"""Pooling over windows of each example's map, NHWC."""

from minifl.backend import Array, get_xp


def max_pool2d(x: Array, *, size: int = 2, stride: int | None = None) -> tuple:
    """Largest value of each size x size window, channel by channel.

    x        (K, N, H, W, C)
    stride   distance of the windows, default size; rows and columns that fill no whole window are left out
    returns  y (K, N, OH, OW, C) with OH = (H - size)//stride + 1; cache

    A window's winner is its largest pixel; in a tie the first in row-major order wins, as in PyTorch. Numbers are
    compared by their real part. Raises ValueError if size exceeds H or W.

    Derivation: go through the size² places in a window, row by row, with all windows at once: a place wins where its
    pixel is larger than the largest one so far. The cache holds the winner of each window as the number of its place.
    """
    stride = stride or size
    check_window(x.shape, size)
    xp = get_xp(x)
    first, *others = _windows(x.shape, size, stride)
    y, winner = x[first], xp.zeros(x[first].shape, dtype=int)
    for position, window in enumerate(others, start=1):
        wins = x[window].real > y.real
        y, winner = xp.where(wins, x[window], y), xp.where(wins, position, winner)
    return y, (x.shape, winner, size, stride)


def max_pool2d_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, OH, OW, C) to dL/dx (K, N, H, W, C).

    Derivation: y = x[winner], so each window hands its gradient to its winner alone. Where windows overlap
    (stride < size) a pixel may win several, and its shares add up.
    """
    shape, winner, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for position, window in enumerate(_windows(shape, size, stride)):
        dx[window] += dy * (winner == position)
    return dx


def avg_pool2d(x: Array, *, size: int = 2, stride: int | None = None) -> tuple:
    """Mean of each size x size window, channel by channel; arguments, shapes and ValueError as max_pool2d."""
    stride = stride or size
    check_window(x.shape, size)
    y = sum(x[window] for window in _windows(x.shape, size, stride)) / size**2
    return y, (x.shape, size, stride)


def avg_pool2d_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, OH, OW, C) to dL/dx (K, N, H, W, C).

    Derivation: y is linear with coefficient 1/size² for each pixel of the window.
    """
    shape, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for window in _windows(shape, size, stride):
        dx[window] += dy / size**2
    return dx


def global_avg_pool(x: Array) -> tuple:
    """Mean over the whole map, channel by channel: (K, N, H, W, C) -> (K, N, C). Returns y, cache."""
    return x.mean(axis=(2, 3)), x.shape


def global_avg_pool_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, C) to dL/dx (K, N, H, W, C).

    Derivation: each of the H*W pixels has coefficient 1/(H*W).
    """
    xp = get_xp(dy)
    _, _, h, w, _ = cache
    return xp.broadcast_to((dy / (h * w))[:, :, None, None, :], cache)


def check_window(shape: tuple, size: int) -> None:
    """ValueError if a window of size x size does not fit into maps (K, N, H, W, C) of that shape."""
    h, w = shape[2:4]
    if size > min(h, w):
        raise ValueError(f"a pooling window of {size}x{size} does not fit into a map of {h}x{w}")


def _windows(shape, size, stride):
    """For each place in the window, row by row, the slice of x that holds that pixel of every window."""
    for i in range(size):
        for j in range(size):
            yield (slice(None), slice(None),
                   slice(i, shape[2] - size + i + 1, stride), slice(j, shape[3] - size + j + 1, stride))
