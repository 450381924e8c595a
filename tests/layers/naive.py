"""Layers as plain loops, the oracles of the tests."""

import numpy as np


def conv2d_naive(x, weight, bias=None, *, padding=0, stride=1):
    """conv2d as four plain loops over output pixels and kernel positions."""
    k, n, h, w, _ = x.shape
    kh, kw, _, f = weight.shape[1:]
    oh, ow = (h + 2 * padding - kh) // stride + 1, (w + 2 * padding - kw) // stride + 1
    padded = np.zeros((k, n, h + 2 * padding, w + 2 * padding, x.shape[4]), dtype=x.dtype)
    padded[:, :, padding:padding + h, padding:padding + w] = x
    y = np.zeros((k, n, oh, ow, f), dtype=np.result_type(x, weight))
    for o in range(oh):
        for q in range(ow):
            for i in range(kh):
                for j in range(kw):
                    y[:, :, o, q] += padded[:, :, o * stride + i, q * stride + j] @ weight[:, i, j]
    return y if bias is None else y + bias[:, None, None, None, :]


def attention_naive(q, k, v, *, heads):
    """attention as plain loops over clients, examples, heads and tokens."""
    o, d = np.zeros_like(v), v.shape[3] // heads
    for client, n, h, t in np.ndindex(*q.shape[:2], heads, q.shape[2]):
        part = (client, n, slice(None), slice(h * d, (h + 1) * d))
        weights = np.exp(k[part] @ q[part][t] / d ** 0.5)
        o[part][t] = weights @ v[part] / weights.sum()
    return o
