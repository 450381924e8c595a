"""Linear layer and flattening."""

from minifl.backend import get_xp


def linear(x, weight, bias=None):
    """Map each example's D features to F: y = x W + b.

    x       (K, N, D)
    weight  (K, D, F)   PyTorch's `Linear.weight` transposed
    bias    (K, F) or None
    returns y (K, N, F), cache
    """
    # course: hw1, linear layer, 2 points
    # task: All clients and examples at once, without a loop; each client has a weight and a bias of its own. y has the
    # task: type of x, also if that is float32 or complex; nothing is written to. What will linear_backward need? That
    # task: is your cache.
    y = x @ weight
    if bias is not None:
        y = y + bias[:, None, :]
    return y, (x, weight, bias is not None)
    # course: end


def linear_backward(dy, cache):
    """Map dL/dy (K, N, F) to (dL/dx, dL/dweight, dL/dbias); the last is None for a layer without bias.

    Derivation, one client, examples n: y_nf = sum_d x_nd W_df + b_f, so
        dL/dx_nd = sum_f dy_nf W_df        dx = dy W'
        dL/dW_df = sum_n x_nd dy_nf        dW = x' dy
        dL/db_f  = sum_n dy_nf
    The sums over n belong to one client; the client axis is only carried along.
    """
    # course: hw1, linear layer, 4 points
    # task: Write y at client k, example n, output f as a sum. Which entries of y does one entry of x reach, which one
    # task: weight, which one bias? The chain rule sums dL/dy over these, each times a derivative that you can read off.
    # task: Recognize the sums as products of matrices. Check the shapes: over which axis is summed, over which never?
    xp = get_xp(dy)
    x, weight, has_bias = cache
    dx = dy @ xp.swapaxes(weight, 1, 2)
    dweight = xp.swapaxes(x, 1, 2) @ dy
    dbias = dy.sum(axis=1) if has_bias else None
    return dx, dweight, dbias
    # course: end


def flatten(x):
    """Join all axes after the example's: (K, N, H, W, C) -> (K, N, H*W*C), channel fastest. Returns y, cache."""
    return x.reshape(*x.shape[:2], -1), x.shape


def flatten_backward(dy, cache):
    """Map dL/dy to dL/dx: the same numbers in x's shape."""
    return dy.reshape(cache)
