"""What the tests of assignment 6 are made of: networks and clients with your shapes, and what should come out.

Networks are written here for any norms inside, with sums over named axes, and gradients for all matrices at once: the
complex step is taken on one copy of the network for each entry. Losses are summed example by example, class by class.
"""

import math
from itertools import pairwise

import numpy as np

from minifl.course.running import expect

SHORTEST = 1e-5   # eps of the norms
FLAT = 0.01       # leaky ReLU's slope below 0
SAFE = 0.1        # a length that is far from eps, also after some steps
LEAKY, GELU = "leaky-relu", "gelu"


def number(what, found):
    """A number that a function returned."""
    ok = isinstance(found, (float, int, np.floating)) or isinstance(found, np.ndarray) and found.shape == ()
    expect(ok, f"{what} should be a number, it is a {type(found).__name__}")
    expect(math.isfinite(found), f"{what} is {found}")
    return float(found)


def near(what, found, right, tolerance=1e-12):
    """A number that is right up to `tolerance` of its size."""
    found = number(what, found)
    error = abs(found - right)
    times = f"{found / right:.6g} times" if right else "and not 0 as"
    expect(error <= tolerance * max(abs(right), abs(found)),
           f"{what} is not what the tests find: yours is {found:.6g}, {times} what it should be")


def vectors(what, found, rows=None, columns=None):
    """An array (rows, columns) of finite numbers that a function returned; None: any number of them, but one."""
    expect(isinstance(found, np.ndarray), f"{what} should be an array, it is a {type(found).__name__}")
    fits = found.ndim == 2 and 0 not in found.shape and rows in (None, len(found)) and columns in (None, found.shape[1])
    wanted = ", ".join("any" if size is None else str(size) for size in (rows, columns))
    expect(fits, f"{what} has the shape {found.shape}, it should have ({wanted})")
    expect(found.dtype.kind in "fi" and np.isfinite(found).all(), f"{what} should hold finite numbers")
    return found.astype(float)


def pair(what, found, count=2):
    """A tuple that a function returned."""
    expect(isinstance(found, (tuple, list)) and len(found) == count, f"{what} should return {count} things")
    return found


# ---- networks

def a_network(given, purpose):
    """x (m, inputs), labels (m,), weights and biases (not zero) of a network in your shapes. Where a vector that a norm
    gets is so short that rounding or eps may be seen, all is drawn again."""
    rng, classes, m = given.rng(purpose), given.size("classes", 3, 5), given.size("examples", 3, 5)
    layers = given.size("layers", 3, 4)
    widths = [given.size(f"width {layer}", 4, 6) for layer in range(layers + 1)] + [classes]
    while True:
        weights = [rng.standard_normal((a, b)) * (1.5 / a) ** 0.5 + 0.3 for a, b in pairwise(widths)]
        biases = [rng.standard_normal(width) for width in widths[1:-1]]
        x = rng.standard_normal((m, widths[0]))
        if _shortest(given, x, weights, biases) > SAFE:
            return x, rng.integers(classes, size=m), weights, biases


def more_examples(given, purpose, weights, biases, count):
    """(count, inputs) other examples, of other sizes, of a network."""
    rng, found = given.rng(purpose), []
    while len(found) < count:
        x = rng.uniform(1, 5) * rng.standard_normal((1, len(weights[0])))
        if _shortest(given, x, weights, biases) > SAFE:
            found.append(x[0])
    return np.array(found)


def _shortest(given, x, weights, biases):
    """The least length, also after s, of all vectors that norms get in the networks of the propositions."""
    found = []
    for first in (0, 1):
        bias = [first * biases[0], *no_biases(biases[1:])]
        for name in ("", "s", "n", "mv"):
            _, got = network(given, x, weights, bias, inside(biases, name, name))
            found += [length(row) for v in got for row in (*v, *unshifted(v))]
    return min(found)


def no_biases(biases):
    """As many, all zero."""
    return [0 * bias for bias in biases]


def unshifted(v):
    """s of each example."""
    return v - v.sum(axis=-1)[..., None] / v.shape[-1]


def on_sphere(v, given):
    """n of each example."""
    size = (v ** 2).sum(axis=-1)[..., None] ** 0.5
    return v * radius(v.shape[-1], given) / np.where(size.real < SHORTEST, SHORTEST, size)


def radius(d, given):
    """The length of n(x)."""
    return {"root": math.sqrt(d), "one": 1.0}[given.variant["scale"]]


def bent(z, activation):
    """The activation of each number."""
    if activation == LEAKY:
        return z * np.where(z.real > 0, 1.0, FLAT)
    return z / 2 + z / 2 * np.tanh(math.sqrt(2 / math.pi) * z + math.sqrt(2 / math.pi) * 0.044715 * z ** 3)


def network(given, x, weights, biases, norms, activation=LEAKY):
    """(logits, what each layer's norm gets); norms: a word for each layer of "n", "s", "mv" and "". Copies of a matrix
    along a first axis give copies of the logits."""
    apply = {"": lambda v: v, "n": lambda v: on_sphere(v, given), "s": unshifted,
             "mv": lambda v: on_sphere(unshifted(v), given)}
    got = []
    for weight, bias, name in zip(weights, biases, norms):
        x = np.einsum("...ea,...ab->...eb", x, weight) + bias
        if given.variant["position"] == "after":
            x = bent(x, activation)
        got.append(x)
        x = apply[name](x)
        if given.variant["position"] == "before":
            x = bent(x, activation)
    return np.einsum("...ea,...ab->...eb", x, weights[-1]), got


def inside(biases, name, last):
    """Norms with one name inside, and another at the last layer."""
    return [name] * (len(biases) - 1) + [last]


def slopes(given, x, labels, weights, biases, norms, activation):
    """The gradients of the mean cross-entropy, all entries of all matrices in one pass."""
    sizes = np.cumsum([0, *(weight.size for weight in weights)])
    copies = [np.repeat(weight[None].astype(complex), sizes[-1], axis=0) for weight in weights]
    for begin, copy in zip(sizes, copies):
        each = np.arange(copy[0].size)
        copy.reshape(len(copy), -1)[begin + each, each] += 1e-30j
    z, _ = network(given, x, copies, biases, norms, activation)
    loss = 0
    for example, label in enumerate(labels):
        loss = loss + np.log(np.exp(z[:, example] - z[:, example, label, None]).sum(axis=1)) / len(labels)
    return [part.reshape(weight.shape) for part, weight in zip(np.split(loss.imag / 1e-30, sizes[1:-1]), weights)]


def after_steps(given, x, labels, weights, biases, norms, activation, steps, rate):
    """The matrices after full-batch gradient descent."""
    for _ in range(steps):
        moves = slopes(given, x, labels, weights, biases, norms, activation)
        weights = [weight - rate * move for weight, move in zip(weights, moves)]
    return weights


def apart(one, other):
    """What `difference` of chains.py says of two arrays."""
    one, other = np.ravel(one), np.ravel(other)
    size = max(max(map(abs, one)), max(map(abs, other)))
    return max(abs(a - b) for a, b in zip(one, other)) / size


# ---- one class

def a_client(given, purpose, size):
    """w (C, d), g (m, d) in your shapes, of numbers about `size`."""
    rng = given.rng(purpose)
    c, m, d = given.size("C", 4, 7), given.size("m", 2, 5), given.size("d", 3, 6)
    return size * rng.standard_normal((c, d)), size * rng.standard_normal((m, d))


def loss_of(margins):
    """log(1 + sum exp(margin)) of one example's margins, exact for small and for large ones."""
    largest = max([0.0, *margins])
    if largest == 0:
        return math.log1p(math.fsum(math.exp(margin) for margin in margins))
    return largest + math.log(math.exp(-largest) + math.fsum(math.exp(margin - largest) for margin in margins))


def margins_of(w, g):
    """For each example the margins of the classes 1, 2, ...: (w_c - w_0).g_i."""
    dot = [[math.fsum(a * b for a, b in zip(row, feature)) for row in w] for feature in g]
    return [[products[c] - products[0] for c in range(1, len(w))] for products in dot]


def total(w, g, given):
    """The client's loss f_k, k = 0."""
    losses = [loss_of(margins) for margins in margins_of(w, g)]
    return math.fsum(losses) / {"mean": len(losses), "sum": 1}[given.variant["loss"]]


def length(v):
    """||v||"""
    return math.sqrt(math.fsum(entry * entry for entry in v))
