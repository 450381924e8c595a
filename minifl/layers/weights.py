"""Reparametrized weights: what a layer multiplies with is a function of what is trained."""

from minifl.backend import Array, get_xp
from minifl.layers.norm import EPS, feature_norm, feature_norm_backward


def standardize(weight: Array, *, eps: float = EPS) -> tuple:
    """Weight standardization (Qiao et al. 2019): each output's weights get mean 0 and variance 1/n.

    weight   (K, ..., F)   n numbers for each of F outputs: a convolution's (K, kh, kw, C, F), a linear layer's (K, D, F)
    returns  what the layer multiplies with, of weight's shape, cache

        c = weight - mean_n(weight)    sigma = sqrt(mean_n(c*c) + eps)    out = c/(sigma sqrt(n))

    The source divides by sigma alone, which makes a layer's output sqrt(n) times larger and relies on a norm behind it
    to take that back. The constant 1/sqrt(n), n the fan-in, keeps an output's size near its input's without a norm, too;
    behind a norm that is scale-invariant it makes no difference.
    """
    xp = get_xp(weight)
    over = tuple(range(1, weight.ndim - 1))
    n = weight[0, ..., 0].size
    c = weight - weight.mean(axis=over, keepdims=True)
    sigma = xp.sqrt((c * c).mean(axis=over, keepdims=True) + eps)
    return c / (sigma * n ** 0.5), (c / sigma, sigma)


def standardize_backward(dout: Array, cache: tuple) -> Array:
    """Map dL/dout to dL/dweight.

    Derivation, one output, h = c/sigma: batch norm's along the n weights, J = (I - 11'/n - hh'/n)/sigma, over sqrt(n):
        dweight = (dout - mean_n(dout) - h mean_n(dout*h))/(sigma sqrt(n))        (*)
    Identity: it sums to 0 over each output's weights, so their mean never moves.
    """
    h, sigma = cache
    over = tuple(range(1, dout.ndim - 1))
    n = dout[0, ..., 0].size
    radial = h * (dout * h).mean(axis=over, keepdims=True)
    return (dout - dout.mean(axis=over, keepdims=True) - radial) / (sigma * n ** 0.5)


def unit_columns(weight: Array, *, eps: float = EPS) -> tuple:
    """Each class's weight vector at length 1: out_c = w_c/max(eps, ||w_c||), so that a logit is ||g|| cos(g, w_c).

    weight   (K, D, C)   column c belongs to class c
    returns  out of weight's shape, cache

    Behind feature norm, ||g|| = sqrt(D), this is the cosine classifier with the constant scale sqrt(D).
    """
    rows, cache = feature_norm(get_xp(weight).swapaxes(weight, 1, 2), eps=eps)
    return get_xp(weight).swapaxes(rows, 1, 2) / weight.shape[1] ** 0.5, cache


def unit_columns_backward(dout: Array, cache: tuple) -> Array:
    """Map dL/dout to dL/dweight: out = n(w_c)/sqrt(D) for the rows w_c of the transpose, so feature norm's backward

        dw_c = (dout_c - ŵ_c <ŵ_c, dout_c>)/||w_c||,    ŵ_c = w_c/||w_c||           (*)
    Identity: <w_c, dw_c> = 0, the length of a weight vector only grows under plain SGD.
    """
    xp = get_xp(dout)
    rows = xp.swapaxes(dout, 1, 2) / dout.shape[1] ** 0.5
    return xp.swapaxes(feature_norm_backward(rows, cache), 1, 2)
