"""Linear layer and flattening."""

from minifl.backend import Array, get_xp


def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple:
    """Map each example's D features to F: y = x W + b.

    x       (K, N, D)
    weight  (K, D, F)   PyTorch's `Linear.weight` transposed
    bias    (K, F) or None
    returns y (K, N, F), cache
    """
    y = x @ weight
    if bias is not None:
        y = y + bias[:, None, :]
    return y, (x, weight, bias is not None)


def linear_backward(dy: Array, cache: tuple) -> tuple:
    """Map dL/dy (K, N, F) to (dL/dx, dL/dweight, dL/dbias); the last is None for a layer without bias.

    Derivation, one client, examples n: y_nf = sum_d x_nd W_df + b_f, so
        dL/dx_nd = sum_f dy_nf W_df        dx = dy W'
        dL/dW_df = sum_n x_nd dy_nf        dW = x' dy
        dL/db_f  = sum_n dy_nf
    The sums over n belong to one client; the client axis is only carried along.
    """
    xp = get_xp(dy)
    x, weight, has_bias = cache
    dx = dy @ xp.swapaxes(weight, 1, 2)
    dweight = xp.swapaxes(x, 1, 2) @ dy
    dbias = dy.sum(axis=1) if has_bias else None
    return dx, dweight, dbias


def flatten(x: Array) -> tuple:
    """Join all axes after the example's: (K, N, H, W, C) -> (K, N, H*W*C), channel fastest. Returns y, cache."""
    return x.reshape(*x.shape[:2], -1), x.shape


def flatten_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx: the same numbers in x's shape."""
    return dy.reshape(cache)
