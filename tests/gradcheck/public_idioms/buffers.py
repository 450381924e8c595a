"""Code that writes into arrays: copy() and *=, zeros_like and +=, empty_like and [...] =, buffers, views, `out=`."""

import numpy as np
from public_idioms.form import Idiom, normal

from minifl.gradcheck import from_vjp


def scale_copy(x, g):
    out = x.copy()
    out *= g
    return out, (x, g)


def scale_copy_backward(dy, cache):
    x, g = cache
    dx = dy.copy()
    dx *= g
    return dx, (dy * x).sum(axis=0)


def scale_added(x, g):
    out = np.zeros_like(x)
    out += x * g
    return out, (x, g)


def scale_added_backward(dy, cache):
    x, g = cache
    dx, dg = np.zeros_like(x), np.zeros_like(g)
    dx += dy * g
    for row in dy * x:
        dg += row
    return dx, dg


def scale_filled(x, g):
    out = np.empty_like(x)
    out[...] = x * g
    return out, (x, g)


def scale_filled_backward(dy, cache):
    x, g = cache
    return dy * g, np.sum(dy * x, 0)


def twice_through_a_buffer(x, g):
    t = np.empty_like(x)
    t[...] = x * g
    return t * g, (x, g)


def twice_through_a_buffer_backward(dy, cache):
    x, g = cache
    return dy * g * g, (2 * dy * x * g).sum(axis=0)


def scan(x, a):
    y = np.empty(x.shape)
    y[0] = x[0]
    for t in range(1, len(x)):
        np.multiply(y[t - 1], a, out=y[t])
        y[t] += x[t]
    return y, (a, y)


def scan_backward(dy, cache):
    a, y = cache
    dx, da = dy.copy(), np.zeros_like(a)
    for t in range(len(y) - 1, 0, -1):
        da += dx[t] * y[t - 1]
        dx[t - 1] += dx[t] * a
    return dx, da


def linear_loops(x, w, b):
    out = np.zeros((x.shape[0], w.shape[1]))
    for n in range(x.shape[0]):
        for m in range(w.shape[1]):
            for d in range(w.shape[0]):
                out[n, m] += x[n, d] * w[d, m]
            out[n, m] += b[m]
    return out, (x, w)


def linear_loops_backward(dout, cache):
    x, w = cache
    dx, dw, db = np.zeros(x.shape), np.zeros(w.shape), np.zeros(w.shape[1])
    for n, m in np.ndindex(*dout.shape):
        db[m] += dout[n, m]
        for d in range(len(w)):
            dw[d, m] += x[n, d] * dout[n, m]
            dx[n, d] += w[d, m] * dout[n, m]
    return dx, dw, db


def standard_columns(x):
    out = np.array(x, dtype=np.float64)
    out -= out.mean(axis=0)
    norm = np.linalg.norm(out, axis=0)
    out /= norm
    return out, (out, norm)


def standard_columns_backward(dy, cache):
    out, norm = cache
    dx = dy - out * np.sum(out * dy, axis=0)
    dx /= norm
    dx -= dx.mean(axis=0)
    return dx


def cross(a, b):
    y = np.zeros(a.shape)
    y[:, 0] = a[:, 1] * b[:, 2] - a[:, 2] * b[:, 1]
    y[:, 1] = a[:, 2] * b[:, 0] - a[:, 0] * b[:, 2]
    y[:, 2] = a[:, 0] * b[:, 1] - a[:, 1] * b[:, 0]
    return y


def cross_vjp(a, b, dy):
    return cross(b, dy), cross(dy, a)


def gather(x, weights, index):
    out = np.zeros((index.max() + 1, x.shape[1]))
    for row, w, i in zip(x, weights, index):
        out[i] += w * row
    return out, (x, weights, index)


def gather_backward(dy, cache):
    x, weights, index = cache
    picked = dy[index]
    return picked * weights[:, None], np.einsum("nd,nd->n", picked, x)


def maximum_minus(x):
    shifted = x - np.max(x, axis=1, keepdims=True)
    return shifted ** 2, (shifted, x.argmax(axis=1))


def maximum_minus_backward(dy, cache):
    shifted, top = cache
    dx = 2 * dy * shifted
    dx[np.arange(len(dx)), top] -= dx.sum(axis=1)
    return dx


SCALE = normal(x=(3, 4), g=4)

LAYERS = [
    Idiom("copy() and *=", (scale_copy, scale_copy_backward), SCALE, {
        "the cache is the output": ("return out, (x, g)", "return out, (out, g)"),
        "dy is overwritten": ("dx = dy.copy()", "dx = dy"),
        "the sum over the wrong axis": ("(dy * x).sum(axis=0)", "(dy * x).sum(axis=1)"),
    }),
    Idiom("zeros_like and +=", (scale_added, scale_added_backward), SCALE, {
        "the last row alone": ("dg += row", "dg = row"),
        "without the gain": ("dx += dy * g", "dx += dy"),
        "the cache is destroyed": ("dx += dy * g", "dx += dy * g; x *= 0"),
    }),
    Idiom("empty_like and [...] =", (scale_filled, scale_filled_backward), SCALE, {
        "half of the gain's": ("np.sum(dy * x, 0)", "np.sum(dy * x, 0) / 2"),
        "nothing for the gain": ("np.sum(dy * x, 0)", "np.zeros(g.shape)"),
        "a gain too many": ("return dy * g,", "return dy * g * g,"),
    }),
    Idiom("a buffer between", (twice_through_a_buffer, twice_through_a_buffer_backward), SCALE, {
        "half of the gain's": ("2 * dy * x * g", "dy * x * g"),
        "the gain once": ("return dy * g * g,", "return dy * g,"),
        "x forgotten": ("2 * dy * x * g", "2 * dy * g"),
    }),
    Idiom("a recursion with out=", (scan, scan_backward), normal(1, x=(4, 3), a=3), {
        "nothing flows back": ("dx[t - 1] += dx[t] * a", "pass"),
        "not through the later steps": ("dx[t - 1] += dx[t] * a", "dx[t - 1] += dy[t] * a"),
        "the first step left out": ("range(len(y) - 1, 0, -1)", "range(len(y) - 1, 1, -1)"),
    }),
    Idiom("a linear layer in loops", (linear_loops, linear_loops_backward), normal(2, x=(3, 2), w=(2, 4), b=4), {
        "the last example alone": ("dw[d, m] += x[n, d]", "dw[d, m] = x[n, d]"),
        "the bias overwritten": ("db[m] += dout[n, m]", "db[m] = dout[n, m]"),
        "the last feature left out": ("for d in range(len(w)):", "for d in range(len(w) - 1):"),
    }),
    Idiom("-= and /= in one array", (standard_columns, standard_columns_backward), normal(3, x=(4, 3)), {
        "not centred": ("dx -= dx.mean(axis=0)", "pass"),
        "no radial term": ("dy - out * np.sum(out * dy, axis=0)", "dy.copy()"),
        "writes into dy": ("dx = dy - out * np.sum(out * dy, axis=0)", "dx = dy; dx -= out * np.sum(out * dy, axis=0)"),
    }),
    Idiom("cross product, columns filled", (cross, cross_vjp), normal(4, a=(3, 3), b=(3, 3)), {
        "the order": ("cross(b, dy)", "cross(dy, b)"),
        "both the same": ("cross(dy, a)", "cross(b, dy)"),
        "exchanged": ("cross(b, dy), cross(dy, a)", "cross(dy, a), cross(b, dy)"),
    }, from_vjp),
    Idiom("rows added by index, weighted", (gather, gather_backward),
          normal(5, x=(4, 3), weights=4) | {"index": np.array([0, 2, 0, 1])}, {
        "weights forgotten": ("picked * weights[:, None]", "picked * 1"),
        "in their order": ("picked = dy[index]", "picked = dy[np.sort(index)]"),
        "a mean": ("np.einsum(\"nd,nd->n\", picked, x)", "(picked * x).mean(axis=1)"),
    }),
    Idiom("the maximum subtracted, and not constant", (maximum_minus, maximum_minus_backward), normal(6, x=(3, 4)), {
        "the maximum taken for a constant": ("dx[np.arange(len(dx)), top] -= dx.sum(axis=1)", "pass"),
        "the sign": ("top] -= dx.sum", "top] += dx.sum"),
        "of the first column": ("dx[np.arange(len(dx)), top] -=", "dx[:, 0] -="),
    }),
]
