"""Batch norm: each channel standardized over a client's batch (Ioffe and Szegedy 2015, Algorithms 1 and 2).

While training, mean and variance are those of the batch, for each client its own: nothing is summed over axis 0.
They are also what running statistics are gathered from, by whoever trains (minifl/fl/local.py):

    running <- running + MOMENTUM (seen - running),   seen = (mean, variance with 1/(m-1)) of the batch

and evaluation mode, `batch_norm_fixed`, puts them in the place of the batch's own. eps stands inside the root, as
in all batch-norm code: sqrt(var + eps). Gain and bias are `norm.affine`.
"""

from minifl.backend import Array, get_xp
from minifl.layers.norm import EPS

MOMENTUM = 0.1   # PyTorch's default: the weight of the newest batch


def batch_norm(x: Array, *, eps: float = EPS) -> tuple:
    """Mean 0 and variance 1 for each channel over the m = N*(places) numbers that a client's batch has of it.

    x        (K, N, ..., C)
    returns  y of x's shape, cache

        xc = x - mean_m(x)    sigma = sqrt(mean_m(xc*xc) + eps)    y = xc/sigma

    A batch of one vector (m = 1) becomes 0.
    """
    xp = get_xp(x)
    over = tuple(range(1, x.ndim - 1))
    mean = x.mean(axis=over, keepdims=True)
    xc = x - mean
    variance = (xc * xc).mean(axis=over, keepdims=True)
    sigma = xp.sqrt(variance + eps)
    y = xc / sigma
    return y, (y, sigma, mean, variance)


def batch_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx.

    Derivation, one client and channel, its m numbers as a vector: this is `layer_norm_backward` along the batch,
        d sigma/dxc_j = xc_j/(m sigma) = y_j/m
        dy_i/dxc_j = (delta_ij - y_i y_j/m)/sigma          dxc_j/dx_k = delta_jk - 1/m
    so J = (I - 11'/m - yy'/m)/sigma as sum(y) = 0, which is symmetric:
        dx = (dy - mean_m(dy) - y mean_m(dy*y))/sigma                             (*)
    Exact for eps > 0. Each example moves all others: the gradient of one is not that of a batch of one.
    """
    y, sigma, _, _ = cache
    over = tuple(range(1, dy.ndim - 1))
    return (dy - dy.mean(axis=over, keepdims=True) - y * (dy * y).mean(axis=over, keepdims=True)) / sigma


def batch_statistics(cache: tuple) -> tuple:
    """What a batch contributes to running statistics: mean and variance (K, C), the latter with 1/(m-1) as PyTorch's.

    For m = 1 there is no such variance; it is 0 then, as with 1/m.
    """
    y, _, mean, variance = cache
    m = y[0, ..., 0].size
    k, c = y.shape[0], y.shape[-1]
    return mean.reshape(k, c), variance.reshape(k, c) * (m / max(1, m - 1))


def batch_norm_fixed(x: Array, mean: Array, variance: Array, *, eps: float = EPS) -> tuple:
    """Evaluation mode: y = (x - mean)/sqrt(variance + eps) with statistics that were gathered before.

    x               (K, N, ..., C)
    mean, variance  (K, C)
    returns         y of x's shape, cache
    """
    per_channel = (len(x), *(1,) * (x.ndim - 2), x.shape[-1])
    sigma = get_xp(x).sqrt(variance + eps).reshape(per_channel)
    return (x - mean.reshape(per_channel)) / sigma, sigma


def batch_norm_fixed_backward(dy: Array, cache: Array) -> Array:
    """Map dL/dy to dL/dx = dy/sigma: the statistics are constants here, and y is linear in x."""
    return dy / cache
