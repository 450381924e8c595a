"""Wrong backward passes of the norms, of batch norm and of reparametrized weights."""

from minifl.backend import get_xp
from minifl.layers import batchnorm, norm, weights

_affine_backward = norm.affine_backward   # the right one, for a mutant that stands in its place and calls it


# --- norms of one example ----------------------------------------------------------------------------------

def _flat(dy):
    return dy.reshape(*dy.shape[:2], -1)


def shift_identity(dy, cache):
    return dy


def shift_sum(dy, cache):
    return (_flat(dy) - _flat(dy).sum(axis=2, keepdims=True)).reshape(dy.shape)


def shift_mean_over_batch(dy, cache):
    return dy - dy.mean(axis=1, keepdims=True)


def fn_no_radial(dy, cache):
    y, r, above = cache
    return (r * _flat(dy)).reshape(dy.shape)


def fn_no_root_d(dy, cache):
    return norm.feature_norm_backward(dy, cache) / _flat(dy).shape[2] ** 0.5


def fn_radial_summed(dy, cache):
    y, r, above = cache
    v = _flat(dy)
    return (r * (v - y * (v * y).sum(axis=2, keepdims=True) * above)).reshape(dy.shape)


def fn_radial_below_clamp(dy, cache):
    y, r, above = cache
    return norm.feature_norm_backward(dy, (y, r, above | True))


def fn_radial_over_batch(dy, cache):
    y, r, above = cache
    v = _flat(dy)
    return (r * (v - y * (v * y).mean(axis=(1, 2), keepdims=True) * above)).reshape(dy.shape)


def mv_no_centring(dy, cache):
    return norm.feature_norm_backward(dy, cache)


def mv_no_radial(dy, cache):
    return norm.shift_backward(fn_no_radial(dy, cache), None)


def mv_no_sigma(dy, cache):
    y, r, above = cache
    return norm.mv_norm_backward(dy, (y, r * 0 + 1, above))


def mv_unbiased(dy, cache):
    d = _flat(dy).shape[2]
    return norm.mv_norm_backward(dy, cache) * ((d - 1) / d) ** 0.5


def gn_one_group(dy, cache):
    (y, r, above), groups = cache
    v, joined = _flat(dy), norm._join_groups(y, dy.shape, groups)
    y = _flat(joined)
    scale = _flat(norm._join_groups(r + 0 * cache[0][0], dy.shape, groups))
    return (scale * (v - v.mean(axis=2, keepdims=True) - y * (v * y).mean(axis=2, keepdims=True))).reshape(dy.shape)


def gn_interleaved(dy, cache):
    inner, groups = cache
    order = [c for g in range(groups) for c in range(g, dy.shape[-1], groups)]
    return norm.group_norm_backward(dy[..., order], cache)


def ln_gain_forgotten(dy, cache):
    h, sigma, (x, gain) = cache
    return norm.layer_norm_backward(dy, (h, sigma, (x, gain * 0 + 1)))


def ln_no_centring(dy, cache):
    h, sigma, affine_cache = cache
    dh, dgain, dbias = norm.affine_backward(dy, affine_cache)
    g = _flat(dh)
    return ((g - h * (g * h).mean(axis=2, keepdims=True)) / sigma).reshape(dy.shape), dgain, dbias


def ln_no_radial(dy, cache):
    h, sigma, affine_cache = cache
    dh, dgain, dbias = norm.affine_backward(dy, affine_cache)
    g = _flat(dh)
    return ((g - g.mean(axis=2, keepdims=True)) / sigma).reshape(dy.shape), dgain, dbias


def ln_variance_for_sigma(dy, cache):
    h, sigma, affine_cache = cache
    return norm.layer_norm_backward(dy, (h, sigma * sigma, affine_cache))


def ln_eps_ignored(dy, cache):
    """The radial term with h renormalized to variance exactly 1, as if eps were 0."""
    h, sigma, affine_cache = cache
    exact = h / get_xp(h).sqrt((h * h).mean(axis=2, keepdims=True))
    dx, _, _ = norm.layer_norm_backward(dy, (exact, sigma, affine_cache))
    return dx, *norm.layer_norm_backward(dy, cache)[1:]


def ln_gain_averaged(dy, cache):
    dx, dgain, dbias = norm.layer_norm_backward(dy, cache)
    return dx, dgain / dy.shape[1], dbias


def affine_gain_uses_output(dy, cache):
    x, gain = cache
    dx, dgain, dbias = norm.affine_backward(dy, cache)
    return dx, dgain * gain, dbias


def affine_gain_not_applied(dy, cache):
    return dy, *_affine_backward(dy, cache)[1:]


def affine_last_place_only(dy, cache):
    """The sum over places forgotten: only over the examples, at the first place of a map."""
    x, gain = cache
    first = (slice(None), slice(None), *(0,) * (dy.ndim - 3))
    dx, _, _ = norm.affine_backward(dy, cache)
    return dx, (dy * x)[first].sum(axis=1), dy[first].sum(axis=1)


def rms_no_radial(dy, cache):
    h, sigma = cache
    return (_flat(dy) / sigma).reshape(dy.shape)


def rms_radial_summed(dy, cache):
    h, sigma = cache
    g = _flat(dy)
    return ((g - h * (g * h).sum(axis=2, keepdims=True)) / sigma).reshape(dy.shape)


def rms_centred(dy, cache):
    """Layer norm's backward."""
    return norm.rms_norm_backward(dy - _flat(dy).mean(axis=2).reshape(dy.shape[:2] + (1,) * (dy.ndim - 2)), cache)


def rms_variance_for_sigma(dy, cache):
    h, sigma = cache
    return norm.rms_norm_backward(dy, (h, sigma * sigma))


def rms_eps_ignored(dy, cache):
    """The radial term with h renormalized to length sqrt(d), as if eps were 0."""
    h, sigma = cache
    return norm.rms_norm_backward(dy, (h / get_xp(h).sqrt((h * h).mean(axis=2, keepdims=True)), sigma))


def in_over_all_channels(dy, cache):
    return gn_one_group(dy, cache)


def in_no_radial(dy, cache):
    inner, groups = cache
    return norm._join_groups(mv_no_radial(norm._split_groups(dy, groups), inner), dy.shape, groups)


def in_no_centring(dy, cache):
    inner, groups = cache
    return norm._join_groups(mv_no_centring(norm._split_groups(dy, groups), inner), dy.shape, groups)


# --- batch norm --------------------------------------------------------------------------------------------

def _over(dy):
    """The axes of a client's batch."""
    return tuple(range(1, dy.ndim - 1))


def _bn_with_axes(dy, cache, axes):
    """Batch norm's backward with means over these axes."""
    y, sigma, _, _ = cache
    return (dy - dy.mean(axis=axes, keepdims=True) - y * (dy * y).mean(axis=axes, keepdims=True)) / sigma


def bn_no_centring(dy, cache):
    y, sigma, _, _ = cache
    return (dy - y * (dy * y).mean(axis=_over(dy), keepdims=True)) / sigma


def bn_no_radial(dy, cache):
    y, sigma, _, _ = cache
    return (dy - dy.mean(axis=_over(dy), keepdims=True)) / sigma


def bn_over_clients(dy, cache):
    return _bn_with_axes(dy, cache, (0, *_over(dy)))


def bn_of_each_example(dy, cache):
    return _bn_with_axes(dy, cache, tuple(range(2, dy.ndim)))


def bn_of_each_place(dy, cache):
    """Means over the examples only, as for vectors."""
    return _bn_with_axes(dy, cache, 1)


def bn_unbiased(dy, cache):
    """1/sigma from the variance with 1/(m-1), the rest with 1/m."""
    m = cache[0][0, ..., 0].size
    return batchnorm.batch_norm_backward(dy, cache) * ((m - 1) / m) ** 0.5


def bn_treated_as_fixed(dy, cache):
    return dy / cache[1]


def bn_variance_for_sigma(dy, cache):
    y, sigma, *rest = cache
    return batchnorm.batch_norm_backward(dy, (y, sigma * sigma, *rest))


def bn_eps_ignored(dy, cache):
    """The radial term with y renormalized to variance exactly 1, as if eps were 0."""
    y, sigma, *rest = cache
    exact = y / get_xp(y).sqrt((y * y).mean(axis=_over(y), keepdims=True))
    return batchnorm.batch_norm_backward(dy, (exact, sigma, *rest))


def bn_fixed_variance_for_sigma(dy, cache):
    return dy / (cache * cache)


def bn_fixed_multiplied(dy, cache):
    return dy * cache


def bn_fixed_centred(dy, cache):
    """As if the mean were the batch's."""
    return (dy - dy.mean(axis=_over(dy), keepdims=True)) / cache


# --- reparametrized weights --------------------------------------------------------------------------------

def ws_no_centring(dout, cache):
    h, sigma = cache
    over, n = _over(dout), dout[0, ..., 0].size
    return (dout - h * (dout * h).mean(axis=over, keepdims=True)) / (sigma * n ** 0.5)


def ws_no_radial(dout, cache):
    h, sigma = cache
    over, n = _over(dout), dout[0, ..., 0].size
    return (dout - dout.mean(axis=over, keepdims=True)) / (sigma * n ** 0.5)


def ws_over_outputs(dout, cache):
    """Means over the outputs, not over the weights of each."""
    h, sigma = cache
    n = dout[0, ..., 0].size
    radial = h * (dout * h).mean(axis=-1, keepdims=True)
    return (dout - dout.mean(axis=-1, keepdims=True) - radial) / (sigma * n ** 0.5)


def ws_over_kernel(dout, cache):
    """Means over the last two axes before the outputs are swapped in: a kernel's input channels each on their own."""
    h, sigma = cache
    over, n = tuple(range(1, dout.ndim - 2)) or -1, dout[0, ..., 0].size
    radial = h * (dout * h).mean(axis=over, keepdims=True)
    return (dout - dout.mean(axis=over, keepdims=True) - radial) / (sigma * n ** 0.5)


def ws_no_root_n(dout, cache):
    return weights.standardize_backward(dout, cache) * dout[0, ..., 0].size ** 0.5


def ws_straight_through(dout, cache):
    return dout


def unit_no_radial(dout, cache):
    y, r, above = cache
    return weights.unit_columns_backward(dout, (y, r, above & False))


def unit_radial_below_clamp(dout, cache):
    y, r, above = cache
    return weights.unit_columns_backward(dout, (y, r, above | True))


def unit_along_classes(dout, cache):
    """The radial term along the rows, over the classes."""
    y, r, above = cache
    rows = get_xp(dout).swapaxes(dout, 1, 2) / dout.shape[1] ** 0.5
    return get_xp(dout).swapaxes(r * (rows - y * (rows * y).mean(axis=1, keepdims=True)), 1, 2)


def unit_no_root_d(dout, cache):
    return weights.unit_columns_backward(dout, cache) * dout.shape[1] ** 0.5


def unit_straight_through(dout, cache):
    return dout
