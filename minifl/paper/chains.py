"""Small networks as chains of matrices, of which every line can be read: what the experiments of equivalence.py need.

One network, no client axis: x (m, inputs), `weights` a list of L + 1 matrices (inputs, outputs), the last of which is
the classifier, d the entries of an example's vector. minifl/layers has the same functions for many networks at once.
All take complex numbers, too, for `gradients`.
"""

import numpy as np

EPS = 1e-5     # the paper's, for all norms
SLOPE = 0.01   # of leaky ReLU below 0
STEP = 1e-30   # of `gradients`


def leaky_relu(x):
    """x where x > 0, else SLOPE x; elementwise."""
    return np.where(x.real > 0, x, SLOPE * x)


def gelu(x):
    """x (1 + tanh(sqrt(2/pi) (x + 0.044715 x³)))/2, elementwise (Hendrycks and Gimpel 2016)."""
    return x * (1 + np.tanh((2 / np.pi) ** 0.5 * (x + 0.044715 * x * x * x))) / 2


ACTIVATIONS = {"leaky-relu": leaky_relu, "gelu": gelu, "tanh": np.tanh}


def identity(x):
    """x: no norm."""
    return x


def sphere(x):
    """n(x) = sqrt(d) x / max(EPS, ||x||) for each example; x (m, d)."""
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return x.shape[-1] ** 0.5 * x / np.where(length.real > EPS, length, EPS)


def centred(x):
    """s(x) = x - mean(x) for each example; x (m, d)."""
    return x - x.mean(axis=-1, keepdims=True)


def mv(x):
    """n_MV(x) = n(s(x)) for each example; x (m, d)."""
    return sphere(centred(x))


def cross_entropy(logits, labels):
    """Mean over the examples of log(sum_c exp(z_c)) - z_label; logits (m, C), labels (m,) whole numbers."""
    z = logits - logits.real.max(axis=1, keepdims=True)
    return (np.log(np.exp(z).sum(axis=1)) - z[np.arange(len(z)), labels]).mean()


def gradients(loss, weights):
    """The gradients of loss(weights), a number, by the complex step: list of arrays like the weights."""
    weights = [weight.astype(complex) for weight in weights]
    found = [np.empty(weight.shape) for weight in weights]
    for weight, gradient in zip(weights, found):
        for place in np.ndindex(weight.shape):
            weight[place] += 1j * STEP
            gradient[place] = loss(weights).imag / STEP
            weight[place] -= 1j * STEP
    return found


def difference(a, b):
    """(K,) for each network the largest |a - b| over the largest |a| or |b|; a, b (K, ...). Where both are 0 nothing
    was compared, and it is not a number: neither a claim nor a control can pass with that."""
    axes = tuple(range(1, a.ndim))
    size = np.maximum(np.abs(a).max(axis=axes), np.abs(b).max(axis=axes))
    return np.abs(a - b).max(axis=axes) / np.where(size == 0, np.nan, size)
