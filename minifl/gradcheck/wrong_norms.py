"""Wrong backward passes of the norms of one example."""

from typing import Any

from minifl.backend import Array, get_xp
from minifl.layers import norm

_affine_backward = norm.affine_backward   # the right one, for a mutant that stands in its place and calls it

def _flat(dy):
    return dy.reshape(*dy.shape[:2], -1)


def shift_identity(dy: Array, cache: Any) -> Array:
    return dy


def shift_sum(dy: Array, cache: Any) -> Array:
    return (_flat(dy) - _flat(dy).sum(axis=2, keepdims=True)).reshape(dy.shape)


def shift_mean_over_batch(dy: Array, cache: Any) -> Array:
    return dy - dy.mean(axis=1, keepdims=True)


def fn_no_radial(dy: Array, cache: Any) -> Array:
    y, r, above = cache
    return (r * _flat(dy)).reshape(dy.shape)


def fn_no_root_d(dy: Array, cache: Any) -> Array:
    return norm.feature_norm_backward(dy, cache) / _flat(dy).shape[2] ** 0.5


def fn_radial_summed(dy: Array, cache: Any) -> Array:
    y, r, above = cache
    v = _flat(dy)
    return (r * (v - y * (v * y).sum(axis=2, keepdims=True) * above)).reshape(dy.shape)


def fn_radial_below_clamp(dy: Array, cache: Any) -> Array:
    y, r, above = cache
    return norm.feature_norm_backward(dy, (y, r, above | True))


def fn_radial_over_batch(dy: Array, cache: Any) -> Array:
    y, r, above = cache
    v = _flat(dy)
    return (r * (v - y * (v * y).mean(axis=(1, 2), keepdims=True) * above)).reshape(dy.shape)


def mv_no_centring(dy: Array, cache: Any) -> Array:
    return norm.feature_norm_backward(dy, cache)


def mv_no_radial(dy: Array, cache: Any) -> Array:
    return norm.shift_backward(fn_no_radial(dy, cache), None)


def mv_no_sigma(dy: Array, cache: Any) -> Array:
    y, r, above = cache
    return norm.mv_norm_backward(dy, (y, r * 0 + 1, above))


def mv_unbiased(dy: Array, cache: Any) -> Array:
    d = _flat(dy).shape[2]
    return norm.mv_norm_backward(dy, cache) * ((d - 1) / d) ** 0.5


def gn_one_group(dy: Array, cache: Any) -> Array:
    (y, r, above), groups = cache
    v, joined = _flat(dy), norm._join_groups(y, dy.shape, groups)
    y = _flat(joined)
    scale = _flat(norm._join_groups(r + 0 * cache[0][0], dy.shape, groups))
    return (scale * (v - v.mean(axis=2, keepdims=True) - y * (v * y).mean(axis=2, keepdims=True))).reshape(dy.shape)


def gn_interleaved(dy: Array, cache: Any) -> Array:
    inner, groups = cache
    order = [c for g in range(groups) for c in range(g, dy.shape[-1], groups)]
    return norm.group_norm_backward(dy[..., order], cache)


def ln_gain_forgotten(dy: Array, cache: Any) -> tuple:
    h, sigma, (x, gain) = cache
    return norm.layer_norm_backward(dy, (h, sigma, (x, gain * 0 + 1)))


def ln_no_centring(dy: Array, cache: Any) -> tuple:
    h, sigma, affine_cache = cache
    dh, dgain, dbias = norm.affine_backward(dy, affine_cache)
    g = _flat(dh)
    return ((g - h * (g * h).mean(axis=2, keepdims=True)) / sigma).reshape(dy.shape), dgain, dbias


def ln_no_radial(dy: Array, cache: Any) -> tuple:
    h, sigma, affine_cache = cache
    dh, dgain, dbias = norm.affine_backward(dy, affine_cache)
    g = _flat(dh)
    return ((g - g.mean(axis=2, keepdims=True)) / sigma).reshape(dy.shape), dgain, dbias


def ln_variance_for_sigma(dy: Array, cache: Any) -> tuple:
    h, sigma, affine_cache = cache
    return norm.layer_norm_backward(dy, (h, sigma * sigma, affine_cache))


def ln_eps_ignored(dy: Array, cache: Any) -> tuple:
    """The radial term with h renormalized to variance exactly 1, as if eps were 0."""
    h, sigma, affine_cache = cache
    exact = h / get_xp(h).sqrt((h * h).mean(axis=2, keepdims=True))
    dx, _, _ = norm.layer_norm_backward(dy, (exact, sigma, affine_cache))
    return dx, *norm.layer_norm_backward(dy, cache)[1:]


def ln_gain_averaged(dy: Array, cache: Any) -> tuple:
    dx, dgain, dbias = norm.layer_norm_backward(dy, cache)
    return dx, dgain / dy.shape[1], dbias


def affine_gain_uses_output(dy: Array, cache: Any) -> tuple:
    x, gain = cache
    dx, dgain, dbias = norm.affine_backward(dy, cache)
    return dx, dgain * gain, dbias


def affine_gain_not_applied(dy: Array, cache: Any) -> tuple:
    return dy, *_affine_backward(dy, cache)[1:]


def affine_last_place_only(dy: Array, cache: Any) -> tuple:
    """The sum over places forgotten: only over the examples, at the first place of a map."""
    x, gain = cache
    first = (slice(None), slice(None), *(0,) * (dy.ndim - 3))
    dx, _, _ = norm.affine_backward(dy, cache)
    return dx, (dy * x)[first].sum(axis=1), dy[first].sum(axis=1)


def rms_no_radial(dy: Array, cache: Any) -> Array:
    h, sigma = cache
    return (_flat(dy) / sigma).reshape(dy.shape)


def rms_radial_summed(dy: Array, cache: Any) -> Array:
    h, sigma = cache
    g = _flat(dy)
    return ((g - h * (g * h).sum(axis=2, keepdims=True)) / sigma).reshape(dy.shape)


def rms_centred(dy: Array, cache: Any) -> Array:
    """Layer norm's backward."""
    return norm.rms_norm_backward(dy - _flat(dy).mean(axis=2).reshape(dy.shape[:2] + (1,) * (dy.ndim - 2)), cache)


def rms_variance_for_sigma(dy: Array, cache: Any) -> Array:
    h, sigma = cache
    return norm.rms_norm_backward(dy, (h, sigma * sigma))


def rms_eps_ignored(dy: Array, cache: Any) -> Array:
    """The radial term with h renormalized to length sqrt(d), as if eps were 0."""
    h, sigma = cache
    return norm.rms_norm_backward(dy, (h / get_xp(h).sqrt((h * h).mean(axis=2, keepdims=True)), sigma))


def in_no_radial(dy: Array, cache: Any) -> Array:
    inner, groups = cache
    return norm._join_groups(mv_no_radial(norm._split_groups(dy, groups), inner), dy.shape, groups)


def in_no_centring(dy: Array, cache: Any) -> Array:
    inner, groups = cache
    return norm._join_groups(mv_no_centring(norm._split_groups(dy, groups), inner), dy.shape, groups)
