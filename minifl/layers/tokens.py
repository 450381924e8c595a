"""What a vision transformer does with a sequence of tokens besides attention (Dosovitskiy et al. 2021, eq. 1 and 4)."""

from minifl.backend import Array, get_xp


def add_position(x: Array, position: Array) -> tuple:
    """y = x + position: the same learned vectors, one for each place in the sequence, are added to every example.

    x         (K, N, T, D)
    position  (K, T, D)
    returns   y (K, N, T, D), cache
    """
    return x + position[:, None], None


def add_position_backward(dy: Array, cache: None) -> tuple:
    """Map dL/dy to (dL/dx, dL/dposition).

    y_nti = x_nti + position_ti, so dx = dy and dposition_ti = sum_n dy_nti, over the examples of one client.
    """
    return dy, dy.sum(axis=1)


def prepend_token(x: Array, token: Array) -> tuple:
    """Put the same learned token before the tokens of every example.

    x        (K, N, T, D)
    token    (K, D)
    returns  y (K, N, T+1, D), y[:, :, 0] = token; cache
    """
    k, n, _, d = x.shape
    xp = get_xp(x)
    first = xp.broadcast_to(token[:, None, None, :], (k, n, 1, d))
    return xp.concatenate([first, x], axis=2), None


def prepend_token_backward(dy: Array, cache: None) -> tuple:
    """Map dL/dy (K, N, T+1, D) to (dL/dx, dL/dtoken).

    y_n0 = token for every example n, so dtoken = sum_n dy_n0; the other tokens are x's, and so are their gradients.
    """
    return dy[:, :, 1:], dy[:, :, 0].sum(axis=1)


def first_token(x: Array) -> tuple:
    """y = x[:, :, 0]: the first token stands for the whole sequence. x (K, N, T, D) -> y (K, N, D), cache."""
    return x[:, :, 0], x.shape


def first_token_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, D) to dL/dx: dy at the first token; y does not depend on the others."""
    dx = get_xp(dy).zeros(cache, dtype=dy.dtype)
    dx[:, :, 0] = dy
    return dx
