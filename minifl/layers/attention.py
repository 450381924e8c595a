"""Multi-head scaled dot-product attention (Vaswani et al. 2017, eq. 1 and section 3.2.2), without its projections."""

from minifl.backend import Array, get_xp


def attention(q: Array, k: Array, v: Array, *, heads: int) -> tuple:
    """Each token's mean of the values of its example, weighted by how well its query fits their keys.

    q, k, v  (K, N, T, D)   queries, keys and values of T tokens; head h has the D/heads numbers from h D/heads on
    returns  o (K, N, T, D), cache
    Raises ValueError if heads does not divide D.

    One example, one head, d = D/heads, rows are tokens:
        z = q k'/sqrt(d)    p = softmax(z) along each row: p_ts = exp(z_ts)/sum_r exp(z_tr)    o = p v
    The largest score of a row is subtracted first, which changes nothing but keeps exp from overflowing.

    Linear in v alone: twice the input gives twice the scores, other weights p, and not twice the output. A network
    with attention is not scale equivariant, and the paper's Propositions 1 and 2 are not about it.
    """
    q, k, v = (_split(a, heads) for a in (q, k, v))
    p = _softmax(_scale(q) * q @ get_xp(k).swapaxes(k, 3, 4))
    return _join(p @ v), (q, k, v, p)


def attention_backward(do: Array, cache: tuple) -> tuple:
    """Map dL/do to (dL/dq, dL/dk, dL/dv).

    Derivation, one example, one head, c = 1/sqrt(d). o = p v is linear in both:
        o_ti = sum_s p_ts v_si    =>    dv_si = sum_t p_ts do_ti,   dv = p' do
                                        dp_ts = sum_i do_ti v_si,   dp = do v'
    Row t of p is the softmax of row t of z:
        dp_r/dz_s = p_r (delta_rs - p_s),   the symmetric J = diag(p) - pp'
        =>  dz_ts = p_ts (dp_ts - sum_r p_tr dp_tr)                               (*)
    and z_ts = c sum_i q_ti k_si:
        dq_ti = c sum_s dz_ts k_si,   dq = c dz k          dk_si = c sum_t dz_ts q_ti,   dk = c dz' q
    Identity: J1 = 0, so each row of dz sums to 0.
    """
    xp = get_xp(do)
    q, k, v, p = cache
    do = _split(do, q.shape[2])
    dv = xp.swapaxes(p, 3, 4) @ do
    dp = do @ xp.swapaxes(v, 3, 4)
    dz = _scale(q) * p * (dp - (p * dp).sum(axis=4, keepdims=True))
    return _join(dz @ k), _join(xp.swapaxes(dz, 3, 4) @ q), _join(dv)


def _scale(q):
    """c = 1/sqrt(d): for independent q and k of variance 1 a score then has variance 1."""
    return q.shape[-1] ** -0.5


def _softmax(z):
    e = get_xp(z).exp(z - z.real.max(axis=-1, keepdims=True))
    return e / e.sum(axis=-1, keepdims=True)


def _split(x, heads):
    """(K, N, T, D) -> (K, N, heads, T, D/heads), a view."""
    if x.shape[-1] % heads:
        raise ValueError(f"{heads} heads do not divide {x.shape[-1]} features")
    return get_xp(x).swapaxes(x.reshape(*x.shape[:3], heads, -1), 2, 3)


def _join(x):
    """The inverse of _split."""
    x = get_xp(x).swapaxes(x, 2, 3)
    return x.reshape(*x.shape[:3], -1)
