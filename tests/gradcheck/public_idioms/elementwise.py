"""Functions of each number: masks, `copy()` and indexing, branches, `np.abs`, `np.maximum`, `.real`, a fixed dropout mask."""

import numpy as np
from public_idioms.form import Idiom, normal
from scipy import special

from minifl.gradcheck import from_vjp


def relu_forward(x):
    out = np.maximum(0, x)
    return out, x


def relu_backward(dout, cache):
    dx = dout.copy()
    dx[cache <= 0] = 0
    return dx


def leaky_forward(x):
    out = x.copy()
    out[x < 0] *= 0.1
    return out, x < 0


def leaky_backward(dout, negative):
    dx = np.array(dout, copy=True)
    dx[negative] *= 0.1
    return dx


def elu_forward(x):
    y = np.empty_like(x)
    positive = x > 0
    y[positive] = x[positive]
    y[~positive] = np.exp(x[~positive]) - 1
    return y, (positive, y)


def elu_backward(dy, cache):
    positive, y = cache
    dx = np.empty_like(dy)
    dx[positive] = dy[positive]
    dx[~positive] = dy[~positive] * (y[~positive] + 1)
    return dx


def sigmoid_forward(x):
    z = np.exp(-np.abs(x))
    s = np.where(x >= 0, 1 / (1 + z), z / (1 + z))
    return s, s


def sigmoid_backward(dout, s):
    return dout * s * (1 - s)


def gelu_forward(x):
    cdf = 0.5 * (1 + special.erf(x / np.sqrt(2)))
    return x * cdf, (x, cdf)


def gelu_backward(dout, cache):
    x, cdf = cache
    pdf = np.exp(-0.5 * x ** 2) / np.sqrt(2 * np.pi)
    return dout * (cdf + x * pdf)


def softplus_forward(x):
    return np.logaddexp(0, x), x


def softplus_backward(dout, x):
    return dout / (1.0 + np.exp(-x))


def prelu_forward(x, alpha):
    return np.where(x > 0, x, alpha * x), (x, alpha)


def prelu_backward(dout, cache):
    x, alpha = cache
    dx = np.where(x > 0, dout, alpha * dout)
    dalpha = np.sum(dout * np.minimum(x, 0), axis=0)
    return dx, dalpha


def dropout_forward(x, mask):
    p = 0.75
    return x * mask / p, (mask, p)


def dropout_backward(dout, cache):
    mask, p = cache
    return dout * mask / p


def clip_forward(x):
    return np.clip(x, -1, 1), (x > -1) & (x < 1)


def clip_backward(dout, inside):
    return dout * inside


def signed_root(x):
    return np.sign(x) * np.sqrt(np.abs(x) + 1)


def signed_root_vjp(x, dy):
    return dy * 0.5 / np.sqrt(np.abs(x) + 1)


def modulus(x):
    return (x * (1 + 0.5j)).real ** 2


def modulus_vjp(x, dy):
    return 2 * x * dy


def maxout_forward(x):
    N, D = x.shape
    pairs = x.reshape(N, D // 2, 2)
    return np.max(pairs, axis=2), (pairs, pairs.argmax(axis=2))


def maxout_backward(dout, cache):
    pairs, winner = cache
    dpairs = np.zeros_like(pairs)
    rows, columns = np.indices(winner.shape)
    dpairs[rows, columns, winner] = dout
    return dpairs.reshape(len(dout), -1)


def masked_mean_forward(x, keep):
    count = keep.sum(axis=1)
    return (x * keep[..., None]).sum(axis=1) / count[:, None], (keep, count)


def masked_mean_backward(dout, cache):
    keep, count = cache
    return dout[:, None, :] * keep[..., None] / count[:, None, None]


ZERO_ONE = np.array([[1, 0, 1, 1], [1, 1, 0, 1], [0, 1, 1, 1]])

LAYERS = [
    Idiom("ReLU, a copy with zeros put in", (relu_forward, relu_backward), normal(x=(3, 4)), {
        "the mask of dout": ("dx[cache <= 0] = 0", "dx[dx <= 0] = 0"),
        "the mask reversed": ("cache <= 0", "cache > 0"),
        "no mask": ("dx[cache <= 0] = 0", "pass"),
    }),
    Idiom("leaky ReLU, copy() and *=", (leaky_forward, leaky_backward), normal(1, x=(3, 4)), {
        "0 for the slope": ("dx[negative] *= 0.1", "dx[negative] = 0"),
        "writes into dout": ("np.array(dout, copy=True)", "dout"),
        "another slope": ("dx[negative] *= 0.1", "dx[negative] *= 0.01"),
    }),
    Idiom("ELU, empty_like and parts", (elu_forward, elu_backward), normal(2, x=(3, 4)), {
        "exp - 1 for exp": ("(y[~positive] + 1)", "y[~positive]"),
        "the derivative without dy": ("dx[positive] = dy[positive]", "dx[positive] = 1"),
        "of the wrong branch": ("dy[~positive] * (y[~positive] + 1)", "dy[~positive]"),
    }),
    Idiom("stable sigmoid, np.abs and np.where", (sigmoid_forward, sigmoid_backward), normal(3, x=(3, 4)), {
        "the sign": ("(1 - s)", "(s - 1)"),
        "one factor missing": ("dout * s * (1 - s)", "dout * (1 - s)"),
        "of tanh": ("dout * s * (1 - s)", "dout * (1 - s * s)"),
    }),
    Idiom("GELU with erf", (gelu_forward, gelu_backward), normal(4, x=(3, 4)), {
        "no density": ("(cdf + x * pdf)", "cdf"),
        "density without its constant": (" / np.sqrt(2 * np.pi)", ""),
        "exponent without 1/2": ("np.exp(-0.5 * x ** 2)", "np.exp(-x ** 2)"),
    }),
    Idiom("softplus, np.logaddexp", (softplus_forward, softplus_backward), normal(5, x=(3, 4)), {
        "the sign of x": ("np.exp(-x)", "np.exp(x)"),
        "without dout": ("dout / (1.0", "1 / (1.0"),
        "multiplied": ("dout / (1.0 + np.exp(-x))", "dout * (1.0 + np.exp(-x))"),
    }),
    Idiom("PReLU, a slope for each column", (prelu_forward, prelu_backward), normal(6, x=(4, 3), alpha=3), {
        "the slope's gradient over all numbers": ("np.minimum(x, 0), axis=0)", "np.minimum(x, 0))"),
        "max for min": ("np.minimum(x, 0)", "np.maximum(x, 0)"),
        "the slope forgotten": ("alpha * dout)", "0 * dout)"),
    }),
    Idiom("dropout with a given mask", (dropout_forward, dropout_backward), normal(7, x=(3, 4)) | {"mask": ZERO_ONE}, {
        "not divided by p": ("dout * mask / p", "dout * mask"),
        "divided by 1 - p": ("dout * mask / p", "dout * mask / (1 - p)"),
        "no mask": ("dout * mask / p", "dout / p"),
    }),
    Idiom("clip", (clip_forward, clip_backward), normal(8, x=(4, 4)), {
        "one side": ("dout * inside", "np.where(inside, dout, 1)"),
        "no mask": ("dout * inside", "dout * 1"),
        "outside": ("dout * inside", "dout * ~inside"),
    }),
    Idiom("signed root, np.sign and np.abs", (signed_root, signed_root_vjp), normal(9, x=(3, 4)), {
        "the sign once more": ("dy * 0.5", "np.sign(x) * dy * 0.5"),
        "a constant 2": ("dy * 0.5", "dy"),
        "without the 1": ("0.5 / np.sqrt(np.abs(x) + 1)", "0.5 / np.sqrt(np.abs(x))"),
    }, from_vjp),
    Idiom(".real of a complex number", (modulus, modulus_vjp), normal(10, x=(3, 4)), {
        "a constant 2": ("2 * x * dy", "x * dy"),
        "without x": ("2 * x * dy", "2 * dy"),
        "the modulus": ("2 * x * dy", "2.5 * x * dy"),
    }, from_vjp),
    Idiom("maxout", (maxout_forward, maxout_backward), normal(11, x=(3, 4)), {
        "both get it": ("dpairs[rows, columns, winner] = dout", "dpairs[:] = dout[..., None]"),
        "the loser gets it": ("columns, winner]", "columns, 1 - winner]"),
        "times the number": ("winner] = dout", "winner] = dout * pairs.max(axis=2)"),
    }),
    Idiom("mean over what a mask keeps", (masked_mean_forward, masked_mean_backward),
          normal(12, x=(3, 4, 2)) | {"keep": ZERO_ONE}, {
        "divided by the length": ("/ count[:, None, None]", "/ keep.shape[1]"),
        "no mask": ("dout[:, None, :] * keep[..., None]", "dout[:, None, :] * np.ones_like(keep)[..., None]"),
        "no division": (" / count[:, None, None]", ""),
    }),
]
