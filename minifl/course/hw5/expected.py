"""What the tests of assignment 5 are made of: softmax regression by plain loops, and clients with your numbers."""

import cmath
import math

import numpy as np

from minifl.course.running import expect

SMALL = 1e-12     # of rounding


def near(what, found, expected, tolerance=SMALL):
    """Say where an array is off, unless it is what it should be."""
    try:
        found = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        expect(False, f"{what} is not an array of numbers but {type(found).__name__}")
    expected = np.asarray(expected, dtype=float)
    expect(found.shape == expected.shape, f"{what} has the shape {found.shape}, it should be {expected.shape}")
    expect(np.isfinite(found).all(), f"{what} has numbers that are not finite")
    expect(np.isfinite(expected).all(), f"{what} cannot be compared: what it should be is not finite with your numbers")
    error = np.abs(found - expected)
    if error.size and error.max() > tolerance * max(1, np.abs(expected).max()):
        worst = np.unravel_index(error.argmax(), error.shape)
        where = f" at {tuple(int(i) for i in worst)}" if worst else ""
        expect(False, f"{what} is off by {error.max():.1e}{where}")


def slope(theta, x, y, classes):
    """(mean loss, gradient (P,)) of softmax regression on x (n, D), y (n,), example by example."""
    d, total = len(x[0]), 0.0
    g = [0.0] * (d * classes)
    for example, label in zip(x, y):
        logits = [sum(example[i] * theta[i * classes + c] for i in range(d)) for c in range(classes)]
        powers = [math.exp(z - max(logits)) for z in logits]
        total += math.log(sum(powers)) + max(logits) - logits[label]
        for i in range(d):
            for c in range(classes):
                g[i * classes + c] += example[i] * (powers[c] / sum(powers) - (c == label)) / len(x)
    return total / len(x), np.array(g)


def derivative(theta, w, x, y, classes, penalty):
    """The gradient (P,) of the mean loss plus penalty(theta - w), number by number, by complex steps Im f(t + ih)/h."""
    d, g = len(x[0]), []
    for j in range(len(theta)):
        moved, objective = [complex(t, 1e-30 * (i == j)) for i, t in enumerate(theta)], 0
        for example, label in zip(x, y):
            logits = [sum(example[i] * moved[i * classes + c] for i in range(d)) for c in range(classes)]
            objective += (cmath.log(sum(cmath.exp(z) for z in logits)) - logits[label]) / len(x)
        objective += penalty([t - b for t, b in zip(moved, w)])
        g.append(objective.imag / 1e-30)
    return g


def a_batch(given, purpose):
    """classes, w and theta (K, P), x (K, N, D), y (K, N) in the student's shapes."""
    rng, k, n = given.rng(purpose), given.size("clients", 2, 4), given.size("batch", 3, 5)
    classes, d = given.size("classes", 2, 4), given.size("d", 2, 4)
    w, theta = rng.standard_normal((2, k, d * classes))
    return classes, w, theta, rng.standard_normal((k, n, d)), rng.integers(0, classes, (k, n))


def some_clients(given, purpose):
    """classes, w (P,), x and y of clients with different numbers of examples; their classes overlap."""
    rng, classes, d = given.rng(purpose), given.size("classes", 2, 4), given.size("d", 2, 4)
    sizes = rng.permutation([4, 7, 12, *rng.integers(5, 9, given.size("more clients", 0, 2))])
    x = [rng.standard_normal((n, d)) + rng.standard_normal(d) for n in sizes]
    y = [rng.integers(0, classes, n) for n in sizes]
    x = [np.concatenate([own, own[:3]]) for own in x]
    y = [np.concatenate([own, (own[:3] + 1) % classes]) for own in y]      # the same example with another label
    return classes, rng.standard_normal(d * classes) / 2, x, y


def minimum(x, y, classes):
    """The minimum of the mean loss over all clients' examples, and each client's gradient there; Newton's method."""
    x_all, y_all = np.concatenate(x), np.concatenate(y)
    theta = np.zeros(x_all.shape[1] * classes)
    for _ in range(50):
        _, g = slope(theta, x_all, y_all, classes)
        if np.abs(g).max() < 1e-15:
            break
        logits = x_all @ theta.reshape(-1, classes)
        share = np.exp(logits - logits.max(axis=1, keepdims=True))
        share /= share.sum(axis=1, keepdims=True)
        curvature = sum(np.kron(np.outer(e, e), np.diag(s) - np.outer(s, s)) for e, s in zip(x_all, share)) / len(x_all)
        theta = theta - np.linalg.pinv(curvature, rcond=1e-9) @ g / (1 + 10 * np.abs(g).max())
    return theta, [slope(theta, *own, classes)[1] for own in zip(x, y)]
