"""Wrong backward passes of batch norm and of reparametrized weights."""

from typing import Any

from minifl.backend import Array, get_xp
from minifl.layers import batchnorm, weights


# --- batch norm --------------------------------------------------------------------------------------------

def _over(dy):
    """The axes of a client's batch."""
    return tuple(range(1, dy.ndim - 1))


def _bn_with_axes(dy, cache, axes):
    """Batch norm's backward with means over these axes."""
    y, sigma, _, _ = cache
    return (dy - dy.mean(axis=axes, keepdims=True) - y * (dy * y).mean(axis=axes, keepdims=True)) / sigma


def bn_no_centring(dy: Array, cache: Any) -> Array:
    y, sigma, _, _ = cache
    return (dy - y * (dy * y).mean(axis=_over(dy), keepdims=True)) / sigma


def bn_no_radial(dy: Array, cache: Any) -> Array:
    y, sigma, _, _ = cache
    return (dy - dy.mean(axis=_over(dy), keepdims=True)) / sigma


def bn_over_clients(dy: Array, cache: Any) -> Array:
    return _bn_with_axes(dy, cache, (0, *_over(dy)))


def bn_of_each_example(dy: Array, cache: Any) -> Array:
    return _bn_with_axes(dy, cache, tuple(range(2, dy.ndim)))


def bn_of_each_place(dy: Array, cache: Any) -> Array:
    """Means over the examples only, as for vectors."""
    return _bn_with_axes(dy, cache, 1)


def bn_unbiased(dy: Array, cache: Any) -> Array:
    """1/sigma from the variance with 1/(m-1), the rest with 1/m."""
    m = cache[0][0, ..., 0].size
    return batchnorm.batch_norm_backward(dy, cache) * ((m - 1) / m) ** 0.5


def bn_treated_as_fixed(dy: Array, cache: Any) -> Array:
    return dy / cache[1]


def bn_variance_for_sigma(dy: Array, cache: Any) -> Array:
    y, sigma, *rest = cache
    return batchnorm.batch_norm_backward(dy, (y, sigma * sigma, *rest))


def bn_eps_ignored(dy: Array, cache: Any) -> Array:
    """The radial term with y renormalized to variance exactly 1, as if eps were 0."""
    y, sigma, *rest = cache
    exact = y / get_xp(y).sqrt((y * y).mean(axis=_over(y), keepdims=True))
    return batchnorm.batch_norm_backward(dy, (exact, sigma, *rest))


def bn_fixed_variance_for_sigma(dy: Array, cache: Any) -> Array:
    return dy / (cache * cache)


def bn_fixed_multiplied(dy: Array, cache: Any) -> Array:
    return dy * cache


def bn_fixed_centred(dy: Array, cache: Any) -> Array:
    """As if the mean were the batch's."""
    return (dy - dy.mean(axis=_over(dy), keepdims=True)) / cache


# --- reparametrized weights --------------------------------------------------------------------------------

def ws_no_centring(dout: Array, cache: Any) -> Array:
    h, sigma = cache
    over, n = _over(dout), dout[0, ..., 0].size
    return (dout - h * (dout * h).mean(axis=over, keepdims=True)) / (sigma * n ** 0.5)


def ws_no_radial(dout: Array, cache: Any) -> Array:
    h, sigma = cache
    over, n = _over(dout), dout[0, ..., 0].size
    return (dout - dout.mean(axis=over, keepdims=True)) / (sigma * n ** 0.5)


def ws_over_outputs(dout: Array, cache: Any) -> Array:
    """Means over the outputs, not over the weights of each."""
    h, sigma = cache
    n = dout[0, ..., 0].size
    radial = h * (dout * h).mean(axis=-1, keepdims=True)
    return (dout - dout.mean(axis=-1, keepdims=True) - radial) / (sigma * n ** 0.5)


def ws_over_kernel(dout: Array, cache: Any) -> Array:
    """Means over the last two axes before the outputs are swapped in: a kernel's input channels each on their own."""
    h, sigma = cache
    over, n = tuple(range(1, dout.ndim - 2)) or -1, dout[0, ..., 0].size
    radial = h * (dout * h).mean(axis=over, keepdims=True)
    return (dout - dout.mean(axis=over, keepdims=True) - radial) / (sigma * n ** 0.5)


def ws_no_root_n(dout: Array, cache: Any) -> Array:
    return weights.standardize_backward(dout, cache) * dout[0, ..., 0].size ** 0.5


def straight_through(dout: Array, cache: Any) -> Array:
    return dout


def unit_no_radial(dout: Array, cache: Any) -> Array:
    y, r, above = cache
    return weights.unit_columns_backward(dout, (y, r, above & False))


def unit_radial_below_clamp(dout: Array, cache: Any) -> Array:
    y, r, above = cache
    return weights.unit_columns_backward(dout, (y, r, above | True))


def unit_along_classes(dout: Array, cache: Any) -> Array:
    """The radial term along the rows, over the classes."""
    y, r, above = cache
    rows = get_xp(dout).swapaxes(dout, 1, 2) / dout.shape[1] ** 0.5
    return get_xp(dout).swapaxes(r * (rows - y * (rows * y).mean(axis=1, keepdims=True)), 1, 2)


def unit_no_root_d(dout: Array, cache: Any) -> Array:
    return weights.unit_columns_backward(dout, cache) * dout.shape[1] ** 0.5
