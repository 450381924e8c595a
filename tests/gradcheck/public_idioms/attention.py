"""Attention, distances, products: einsum, masks with -inf or -1e9, several outputs, cosine similarity."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck import from_outputs


def attention_forward(q, k, v):
    scale = 1.0 / np.sqrt(q.shape[-1])
    scores = q @ k.swapaxes(-1, -2) * scale
    weights = np.exp(scores - scores.max(axis=-1, keepdims=True))
    weights /= weights.sum(axis=-1, keepdims=True)
    return weights @ v, (q, k, v, weights, scale)


def attention_backward(dout, cache):
    q, k, v, weights, scale = cache
    dv = weights.swapaxes(-1, -2) @ dout
    dweights = dout @ v.swapaxes(-1, -2)
    dscores = weights * (dweights - (dweights * weights).sum(axis=-1, keepdims=True))
    dq = dscores @ k * scale
    dk = dscores.swapaxes(-1, -2) @ q * scale
    return dq, dk, dv


def causal_attention(x, Wq, Wk, Wv):
    T, D = x.shape
    q, k, v = x @ Wq, x @ Wk, x @ Wv
    scores = q @ k.T / np.sqrt(D)
    scores[np.triu_indices(T, 1)] = -1e9
    e = np.exp(scores - np.max(scores, axis=1, keepdims=True))
    p = e / e.sum(1, keepdims=True)
    return p @ v, (x, Wq, Wk, Wv, q, k, v, p)


def causal_attention_backward(dout, cache):
    x, Wq, Wk, Wv, q, k, v, p = cache
    dv, dp = p.T @ dout, dout @ v.T
    ds = p * (dp - np.sum(dp * p, axis=1, keepdims=True)) / np.sqrt(x.shape[1])
    dq, dk = ds @ k, ds.T @ q
    dx = dq @ Wq.T + dk @ Wk.T + dv @ Wv.T
    return dx, x.T @ dq, x.T @ dk, x.T @ dv


def multihead_forward(x, W, U):
    N, T, D = x.shape
    heads = (x @ W).reshape(N, T, 2, D // 2).transpose(0, 2, 1, 3)
    mixed = np.tanh(np.einsum("nhtd,nhsd->nhts", heads, heads)) @ heads
    joined = mixed.transpose(0, 2, 1, 3).reshape(N, T, D)
    return joined @ U, (x, W, U, heads, joined)


def multihead_backward(dout, cache):
    x, W, U, heads, joined = cache
    N, T, D = x.shape
    dU = np.einsum("ntd,nte->de", joined, dout)
    dmixed = (dout @ U.T).reshape(N, T, 2, D // 2).transpose(0, 2, 1, 3)
    a = np.tanh(np.einsum("nhtd,nhsd->nhts", heads, heads))
    da = dmixed @ heads.swapaxes(2, 3) * (1 - a ** 2)
    dheads = a.swapaxes(2, 3) @ dmixed
    dheads += da @ heads
    dheads += da.swapaxes(2, 3) @ heads
    dxw = dheads.transpose(0, 2, 1, 3).reshape(N, T, D)
    return dxw @ W.T, np.einsum("ntd,nte->de", x, dxw), dU


def cosine_forward(a, b):
    na, nb = np.linalg.norm(a, axis=1), np.linalg.norm(b, axis=1)
    cos = np.sum(a * b, axis=1) / (na * nb)
    return cos, (a, b, na, nb, cos)


def cosine_backward(dy, cache):
    a, b, na, nb, cos = cache
    da = dy[:, None] * (b / (na * nb)[:, None] - a * (cos / na ** 2)[:, None])
    db = dy[:, None] * (a / (na * nb)[:, None] - b * (cos / nb ** 2)[:, None])
    return da, db


def distances_forward(x, c):
    difference = x[:, None, :] - c[None, :, :]
    d = np.linalg.norm(difference, axis=-1)
    return d, (difference, d)


def distances_backward(dout, cache):
    difference, d = cache
    g = (dout / d)[:, :, None] * difference
    return g.sum(axis=1), -g.sum(axis=0)


def moments_forward(x):
    return x.mean(axis=0), x.var(axis=0), x


def moments_backward(dmean, dvar, x):
    return (np.ones_like(x) * dmean + 2 * (x - x.mean(axis=0)) * dvar) / len(x)


def gated_forward(x):
    a, b = np.split(x, 2, axis=1)
    s = 1 / (1 + np.exp(-b))
    return a * s, (a, s)


def gated_backward(dy, cache):
    a, s = cache
    return np.concatenate([dy * s, dy * a * s * (1 - s)], axis=1)


def gram_forward(x):
    N, C = x.shape[:2]
    f = x.reshape(N, C, -1)
    return f @ f.transpose(0, 2, 1) / f.shape[2], (x.shape, f)


def gram_backward(dg, cache):
    shape, f = cache
    return ((dg + dg.transpose(0, 2, 1)) @ f / f.shape[2]).reshape(shape)


LAYERS = [
    Idiom("attention", (attention_forward, attention_backward), normal(q=(2, 2, 3), k=(2, 4, 3), v=(2, 4, 2)), {
        "dk without the scale": ("@ q * scale", "@ q"),
        "the softmax by its diagonal": ("(dweights - (dweights * weights).sum(axis=-1, keepdims=True))", "dweights"),
        "the softmax along the wrong axis": ("(dweights * weights).sum(axis=-1, keepdims=True)",
                                             "(dweights * weights).sum(axis=-2, keepdims=True)"),
    }),
    Idiom("causal attention with projections", (causal_attention, causal_attention_backward),
          normal(1, x=(4, 3), Wq=(3, 3), Wk=(3, 3), Wv=(3, 3)), {
        "one path to x forgotten": (" + dk @ Wk.T", ""),
        "the root forgotten": (" / np.sqrt(x.shape[1])", ""),
        "keys and queries exchanged": ("ds @ k, ds.T @ q", "ds.T @ k, ds @ q"),
    }),
    Idiom("heads by reshape and transpose", (multihead_forward, multihead_backward), normal(2, x=(2, 3, 4), W=(4, 4), U=(4, 4)), {
        "heads used twice, one path": ("dheads += da.swapaxes(2, 3) @ heads", "pass"),
        "not transposed back": ("dheads.transpose(0, 2, 1, 3).reshape(N, T, D)", "dheads.reshape(N, T, D)"),
        "tanh's derivative": ("(1 - a ** 2)", "(1 - a)"),
    }),
    Idiom("cosine similarity", (cosine_forward, cosine_backward), normal(3, a=(3, 4), b=(3, 4)), {
        "no radial term": (" - b * (cos / nb ** 2)[:, None]", ""),
        "the other length": ("(cos / na ** 2)", "(cos / nb ** 2 * 1)"),
        "not divided by the lengths": ("(b / (na * nb)[:, None]", "(b / na[:, None]"),
    }),
    Idiom("pairwise distances, np.linalg.norm", (distances_forward, distances_backward), normal(4, x=(3, 2), c=(4, 2)), {
        "of the square": ("(dout / d)", "(2 * dout)"),
        "the sign for the centres": ("-g.sum(axis=0)", "g.sum(axis=0)"),
        "a mean": ("g.sum(axis=1)", "g.mean(axis=1)"),
    }),
    Idiom("mean and variance, two outputs", (moments_forward, moments_backward), normal(5, x=(4, 3)), {
        "a constant 2": ("2 * (x", "(x"),
        "not divided by N": (" / len(x)", ""),
        "not centred": ("(x - x.mean(axis=0))", "x"),
    }, from_outputs),
    Idiom("gated linear unit, split and concatenate", (gated_forward, gated_backward), normal(6, x=(3, 4)), {
        "the halves exchanged": ("[dy * s, dy * a * s * (1 - s)]", "[dy * a * s * (1 - s), dy * s]"),
        "the gate's derivative": ("s * (1 - s)]", "(1 - s)]"),
        "a forgotten": ("dy * a * s", "dy * s"),
    }),
    Idiom("Gram matrix of maps", (gram_forward, gram_backward), normal(7, x=(2, 3, 2, 2)), {
        "one of the two factors": ("(dg + dg.transpose(0, 2, 1))", "dg"),
        "twice one of them": ("(dg + dg.transpose(0, 2, 1))", "2 * dg"),
        "not divided": ("@ f / f.shape[2])", "@ f)"),
    }),
]
