"""What the tests of assignment 1 are made of: layers and losses with your shapes, and what should come out.

A linear layer is written here number by number. It is linear in x, in the weight and in the bias, so its derivative
along one entry is the layer itself, at an x (or weight, or bias) that has a single 1 there. The loss is made of
logaddexp, and its derivative is that of a polynomial through its values along the line on which one logit moves.
"""

import cmath

import numpy as np

SMOOTHING = 0.1
OBJECTIVE = "sum(v*y)"     # what the instruments differentiate


# ---- linear layer

def problems(given):
    """(in words, x, weight (K, D, F), bias, dy) of a wide, a narrow and a square layer."""
    k, n, d = given.size("clients", 2, 3), given.size("examples", 3, 5), given.size("features", 3, 5)
    for f in (d + given.size("wider", 1, 3), 2, d):
        rng = given.rng("linear", f)
        yield (f"{k} clients, {n} examples, {d} features to {f}", rng.standard_normal((k, n, d)),
               rng.standard_normal((k, d, f)), rng.standard_normal((k, f)), rng.standard_normal((k, n, f)))


def stored(weight, given):
    """A weight (K, D, F) as your layer takes it, and back again."""
    return weight.transpose(0, 2, 1).copy() if given.variant["weight"] == "pytorch" else weight


def mapped(features, weight, bias):
    """y of one example by one client's weight (D, F) and bias, number by number."""
    y = []
    for f, number in enumerate(bias):
        for d, feature in enumerate(features):
            number = number + feature * weight[d][f]
        y.append(number)
    return np.array(y)


def all_mapped(x, weight, bias):
    """y (K, N, F), one example after the other."""
    return np.array([[mapped(example, w, b) for example in client] for client, w, b in zip(x, weight, bias)])


def units(*shape):
    """All arrays of that shape with a single 1."""
    return np.eye(int(np.prod(shape))).reshape(-1, *shape)


# ---- softmax cross-entropy

def target(label, classes, given):
    """How much of each class an example is."""
    smoothing = SMOOTHING if given.variant["loss"] == "smoothed" else 0
    return np.eye(classes)[label] * (1 - smoothing) + smoothing / classes


def reduced(losses, given):
    """Each client's loss from those of its examples (K, N)."""
    return losses.sum(axis=1) * (1 if given.variant["loss"] == "sum" else 1 / losses.shape[1])


def slope(along):
    """The derivative at 0 of along(moves), where it is smooth from -1 to 1: that of a polynomial through its values."""
    return np.polynomial.Chebyshev.interpolate(along, 20).deriv()(0.0)


def slopes_of_reduced(losses, given):
    """How each client's loss moves with those of its examples (K, N)."""
    slopes = np.zeros(losses.shape)
    for k, client in enumerate(losses):
        size = max(1.0, *client)
        for n, e in enumerate(np.eye(len(client))):
            slopes[k, n] = slope(lambda moves: reduced(client + size * moves[:, None] * e, given)) / size
    return slopes


def log_sum(z):
    """log(sum(exp(z))), by logaddexp, which does not overflow, but takes no complex numbers."""
    return cmath.log(sum(map(cmath.exp, z))) if np.iscomplexobj(z) else np.logaddexp.reduce(z)


def loss_of_one(z, label, given):
    """The loss of an example with the logits z; of differences, so that a small loss is not hidden by large logits."""
    return sum(q * log_sum(z - number) for q, number in zip(target(label, len(z), given), z))


def losses_by_hand(logits, labels, given):
    """The loss of each example (K, N); logits (K, N, C)."""
    return np.array([[loss_of_one(z, label, given) for z, label in zip(*client)] for client in zip(logits, labels)])


def slopes_by_hand(logits, labels, given):
    """The derivative of each example's loss by each logit, (K, N, C), along the line on which this logit moves."""
    slopes = np.zeros(logits.shape)
    for at in np.ndindex(logits.shape):
        z, label, e = logits[at[:2]], labels[at[:2]], np.eye(logits.shape[2])[at[2]]

        def along(moves):
            return np.array([loss_of_one(z + t * e, label, given) - loss_of_one(z, label, given) for t in moves])

        slopes[at] = slope(along)
    return slopes


def classified(given):
    """(in words, logits, labels, dloss) of two problems."""
    k = given.size("clients", 2, 3)
    for n, c in ((given.size("examples", 3, 5), given.size("classes", 3, 6)), (1, 2)):
        rng = given.rng("loss", n)
        yield (f"{k} clients, {n} example{'s' * (n > 1)}, {c} classes", 2 * rng.standard_normal((k, n, c)),
               rng.integers(0, c, (k, n)), rng.uniform(0.5, 2, k) * rng.choice([-1, 1], k))


def large(given):
    """(in words, logits, labels, dloss): logits that exp cannot take, of classes that are right and wrong."""
    rng, k = given.rng("large"), given.size("clients", 2, 3)
    logits = rng.choice([-1000.0, -20.0, 0.0, 15.0, 1000.0], (k, 5, given.size("classes", 3, 6)))
    logits += rng.integers(-8, 9, logits.shape) / 4      # their differences are exact
    logits[:, 0] -= 2000
    return "logits of 1000", logits, rng.integers(0, logits.shape[2], (k, 5)), rng.uniform(0.5, 2, k)


# ---- gradient checker

def cotangent(v, y):
    """How the objective moves with each number of y."""
    return v


def error_by_hand(a, n):
    """The error of a block where all is finite and does not vanish, number by number."""
    difference, *sizes = (max(abs(number) for number in np.ravel(block)) for block in (a - n, a, n))
    return difference / max(sizes)


def laid_out(matrix, y_shape, x_shape):
    """A Jacobian, a row for each number of y and a column for each of x, as yours should be."""
    return matrix
