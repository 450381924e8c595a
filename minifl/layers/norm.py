"""Normalizations of one example: shift s, feature norm n, MV, RMS, group, instance and layer norm; and the affine map.

All of them see one example's numbers as one vector x of d entries (a map (H, W, C) is read as d = H*W*C;
group norm splits it first), so no statistic mixes examples or clients. Paper: arXiv 2308.09565, section 3.

Where eps sits, and why it matters (it decides which of the paper's propositions hold exactly):
    feature_norm, mv_norm,      sqrt(d) x / max(eps, ||x||)    the paper's definition of n, and
    group_norm, instance_norm                                  n_MV(x) = n(x - mean(x)): a clamp, inactive unless
                                                               ||x|| < eps
    layer_norm, rms_norm        (x - mean) / sqrt(q + eps)     what layer-norm and RMS-norm code does: eps in the root
                                                               (q is defined there)

Limits of the number format: a length is the root of summed squares, and where these overflow (||x|| beyond
1.8e19 in float32, 1.3e154 in float64) y becomes 0. The mean of equal numbers is exactly that number (`_mean`), and
MV, group and instance norm make exactly 0 of them. What remains: where numbers differ by a few roundings only, their
mean is off by a part of one, and so is x - mean(x), which these norms stretch like any other vector longer than eps:
in float32 3072 numbers 10 and 10.000001 come out to within 5 %. Layer and batch norm have eps in the root, and make
nearly 0 of either.
"""

from minifl.backend import Array, get_xp, on_cpu

EPS = 1e-5        # the paper's, for all norms
ROUNDINGS = 64    # the mean of equal numbers is as near to them, by far


def shift(x: Array) -> tuple:
    """s(x) = x - mean(x) over each example. x (K, N, ...). Returns y, cache."""
    v = _vectors(x)
    return (v - _mean(v)).reshape(x.shape), None


def shift_backward(dy: Array, cache: None) -> Array:
    """Map dL/dy to dL/dx.

    Derivation: s is the projection P = I - 11'/d, which is symmetric, so dx = P dy = s(dy).
    """
    return shift(dy)[0]


def feature_norm(x: Array, *, eps: float = EPS) -> tuple:
    """n(x) = sqrt(d) x / max(eps, ||x||), the FN layer: but for eps an example's vector on the
    sphere of radius sqrt(d).

    x        (K, N, ...)   d numbers an example: all of a map's
    returns  y of x's shape, cache
    """
    v = _vectors(x)
    y, cache = _to_sphere(v, eps)
    return y.reshape(x.shape), cache


def feature_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx.

    Derivation, a vector x of d entries, l = ||x||, r = c/l with c = sqrt(d), y = r x, and dl/dx_j = x_j/l:
        dy_i/dx_j = r delta_ij - c x_i x_j/l³ = r (delta_ij - y_i y_j/c²)
    J = r (I - yy'/c²) is symmetric, hence with m = y'dy/c² = mean(dy*y)
        dx = r (dy - m y)                                                         (*)
    It has the eigenvalue 0 once (along x: the length is lost) and r otherwise. Below the clamp, ||x|| < eps,
    y = (c/eps) x is linear: r = c/eps, and the radial term m y is not there.
    """
    v = _vectors(dy)
    return _to_sphere_backward(v, cache).reshape(dy.shape)


def mv_norm(x: Array, *, eps: float = EPS) -> tuple:
    """n_MV(x) = n(x - mean(x)): mean 0 and, but for eps, variance 1 (biased, 1/d); layer norm as the paper defines
    it, without gain and bias.

    x        (K, N, ...)   d numbers an example; for a map all of H, W, C
    returns  y of x's shape, cache
    """
    centred, _ = shift(x)
    return feature_norm(centred, eps=eps)


def mv_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx.

    Derivation: n_MV = n ∘ s, so J = r (I - yy'/c²) P with P = I - 11'/d and feature norm's r, c and m at x - mean(x).
    As y sums to 0, P commutes with the bracket: J = r (I - 11'/d - yy'/c²), symmetric, null space {1, y}:
        dx = r (dy - mean(dy) - m y)                                              (*)
    where 1/r is, but for eps, the standard deviation sigma. Computed as P applied to feature norm's backward, which
    also covers the clamp.
    """
    return shift_backward(feature_norm_backward(dy, cache), None)


def rms_norm(x: Array, *, eps: float = EPS) -> tuple:
    """x / sqrt(mean(x*x) + eps) over each example (Zhang and Sennrich 2019, eq. 4), without gain.

    x        (K, N, ...)   an example has d numbers
    returns  y of x's shape, cache

    It is the paper's n but for where eps sits: sqrt(mean(x*x)) = ||x||/sqrt(d), so with q = mean(x*x)
        rms_norm(x) = sqrt(q/(q + eps)) n(x)
    which is n for eps = 0, and not quite scale-invariant for eps > 0.
    """
    v = _vectors(x)
    sigma = get_xp(x).sqrt((v * v).mean(axis=2, keepdims=True) + eps)
    h = v / sigma
    return h.reshape(x.shape), (h, sigma)


def rms_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx.

    Derivation, one example, y = x/sigma and d sigma/dx_j = x_j/(d sigma) = y_j/d:
        dy_i/dx_j = (delta_ij - y_i y_j/d)/sigma,   symmetric, hence
        dx = (dy - y mean(dy*y))/sigma                                            (*)
    Layer norm's without the centring. Exact for eps > 0. Identity: Jy = (eps/sigma²) y/sigma.
    """
    h, sigma = cache
    g = dy.reshape(h.shape)
    return ((g - h * (g * h).mean(axis=2, keepdims=True)) / sigma).reshape(dy.shape)


def group_norm(x: Array, *, groups: int, eps: float = EPS) -> tuple:
    """mv_norm within each of `groups` equal groups of channels, neighbours together.

    x        (K, N, ..., C)   for a map a group is all of H, W and C/groups channels
    returns  y of x's shape, cache
    Raises ValueError if groups does not divide C.
    """
    v = _split_groups(x, groups)
    y, cache = mv_norm(v, eps=eps)
    return _join_groups(y, x.shape, groups), (cache, groups)


def group_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx: the groups share nothing, so J is block-diagonal, each block an mv_norm's."""
    inner, groups = cache
    return _join_groups(mv_norm_backward(_split_groups(dy, groups), inner), dy.shape, groups)


def instance_norm(x: Array, *, eps: float = EPS) -> tuple:
    """mv_norm of each channel's map on its own (Ulyanov et al. 2016): group norm with groups of one channel.

    x        (K, N, H, W, C)
    returns  y of x's shape, cache
    Raises ValueError for vectors: a channel of one number minus its mean is 0.
    """
    if x.ndim < 4:
        raise ValueError(f"instance norm needs maps, an array of shape {x.shape} holds vectors")
    return group_norm(x, groups=x.shape[-1], eps=eps)


def instance_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx: group norm's, J is block-diagonal with a block for each channel."""
    return group_norm_backward(dy, cache)


def layer_norm(x: Array, gain: Array, bias: Array, *, eps: float = EPS) -> tuple:
    """Normalize each example to mean 0 and variance 1 with eps inside the root, then scale and shift channels.

    x           (K, N, ..., C)   d numbers an example
    gain, bias  (K, C)           one for each channel (for vectors: for each feature)
    returns     y of x's shape, cache

        xc = x - mean(x)    q = mean(xc*xc)    sigma = sqrt(q + eps)    h = xc/sigma    y = gain*h + bias
    """
    xp = get_xp(x)
    v = _vectors(x)
    xc = v - v.mean(axis=2, keepdims=True)
    sigma = xp.sqrt((xc * xc).mean(axis=2, keepdims=True) + eps)
    h = xc / sigma
    y, affine_cache = affine(h.reshape(x.shape), gain, bias)
    return y, (h, sigma, affine_cache)


def layer_norm_backward(dy: Array, cache: tuple) -> tuple:
    """Map dL/dy to (dL/dx, dL/dgain, dL/dbias).

    Derivation, a vector x of d entries, dh = gain*dy, q = xc'xc/c² with c² = d:
        d sigma/dxc_j = xc_j/(c² sigma) = h_j/c²
        dh_i/dxc_j = (delta_ij - h_i h_j/c²)/sigma         dxc_j/dx_k = delta_jk - 1/d
    so J = (I - hh'/c²)(I - 11'/d)/sigma = (I - 11'/d - hh'/c²)/sigma, as sum(h) = 0. J is symmetric, hence with
    m = h'dh/c² = mean(dh*h)
        dx = (dh - mean(dh) - m h)/sigma                                          (*)
    Exact for eps > 0. Identities: J1 = 0, Jh = (eps/sigma²) h/sigma.
    """
    h, sigma, affine_cache = cache
    dh, dgain, dbias = affine_backward(dy, affine_cache)
    g = dh.reshape(h.shape)
    dx = (g - g.mean(axis=2, keepdims=True) - h * (g * h).mean(axis=2, keepdims=True)) / sigma
    return dx.reshape(dy.shape), dgain, dbias


def affine(x: Array, gain: Array, bias: Array) -> tuple:
    """y = gain*x + bias for each channel: the learnable part of a norm.

    x           (K, N, ..., C)
    gain, bias  (K, C)
    returns     y of x's shape, cache
    """
    return x * _per_channel(gain, x.ndim) + _per_channel(bias, x.ndim), (x, gain)


def affine_backward(dy: Array, cache: tuple) -> tuple:
    """Map dL/dy to (dL/dx, dL/dgain, dL/dbias).

    Derivation, one client: y_nsc = gain_c x_nsc + bias_c at example n, place s, channel c, so
        dx = gain*dy    dgain_c = sum_ns dy_nsc x_nsc    dbias_c = sum_ns dy_nsc
    """
    x, gain = cache
    places = tuple(range(1, dy.ndim - 1))
    return dy * _per_channel(gain, dy.ndim), (dy * x).sum(axis=places), dy.sum(axis=places)


def _vectors(x):
    """(K, N, ...) -> (K, N, d): each example's numbers as the vector that is normalized."""
    return x.reshape(*x.shape[:2], -1)


def _mean(v):
    """Each vector's mean, (K, N, d) -> (K, N, 1); of numbers that are all the same exactly that number.

    The sum of d numbers 0.7 is rounded, and d does not divide it to 0.7. No other mean changes a bit. The correction
    is a constant, so that the mean of a complex step moves as any other. To look at all numbers once more would take a
    fifth of a norm's time: on a CPU it is done only where some first number is the mean but for rounding.
    """
    xp, real, mean = get_xp(v), v.real, v.mean(axis=2, keepdims=True)
    off = real[:, :, :1] - mean.real
    if on_cpu(v) and not (abs(off) <= ROUNDINGS * xp.finfo(v.dtype).eps * abs(mean.real)).any():
        return mean
    return mean + off * (real.max(axis=2, keepdims=True) == real.min(axis=2, keepdims=True))


def _to_sphere(v, eps):
    """sqrt(d) v / max(eps, ||v||) along the last axis of v (K, N, d); cache = (y, r, whether ||v|| > eps)."""
    xp = get_xp(v)
    length = xp.sqrt((v * v).sum(axis=2, keepdims=True))
    above = length.real > eps
    r = v.shape[2] ** 0.5 / xp.where(above, length, eps).astype(v.dtype)
    y = v * r
    return y, (y, r, above)


def _to_sphere_backward(dv, cache):
    """Equation (*) of feature_norm_backward on vectors (K, N, d)."""
    y, r, above = cache
    radial = (dv * y).mean(axis=2, keepdims=True) * above
    return r * (dv - y * radial)


def _split_groups(x, groups):
    """(K, N, ..., C) -> (K, N*groups, d/groups): each group of an example becomes an example of its own."""
    xp = get_xp(x)
    k, n, c = x.shape[0], x.shape[1], x.shape[-1]
    if c % groups:
        raise ValueError(f"{groups} groups do not divide {c} channels")
    v = x.reshape(k, n, -1, groups, c // groups)
    return xp.swapaxes(v, 2, 3).reshape(k, n * groups, -1)


def _join_groups(v, shape, groups):
    """The inverse of _split_groups."""
    k, n, c = shape[0], shape[1], shape[-1]
    v = v.reshape(k, n, groups, -1, c // groups)
    return get_xp(v).swapaxes(v, 2, 3).reshape(shape)


def _per_channel(p, ndim):
    """(K, C) -> (K, 1, ..., 1, C) with ndim axes."""
    return p.reshape(p.shape[0], *(1,) * (ndim - 2), p.shape[1])
