"""What a client minimizes in each method, for plain_methods.py: example by example, in plain formulas.

Every objective is a function (settings, model, theta, x, y, counts, w) -> loss, gradient (P,) of one client:
theta and the server's w (P,), a batch x, y, and counts (C,), the client's training examples of each class.
"""

import math

import numpy as np

from minifl.models import loss_and_grad

TINY = 1e-30


def cross_entropy(settings, model, theta, x, y, counts, w):
    loss, gradient, _ = loss_and_grad(model, theta[None], x[None], y[None], settings.label_smoothing)
    return loss[0], gradient[0]


def through_network(model, theta, x, of_outputs):
    """Gradient of a loss whose value and derivatives by logits, features, embeddings `of_outputs` returns."""
    p = model.spec.views(theta[None])
    logits, cache = model.forward(p, x[None])
    features, embeddings = model.feature(cache)[0], p["classifier.weight"][0]
    loss, dlogits, dfeature, dembeddings = of_outputs(logits[0], features, embeddings)
    blocks = model.backward(dlogits[None], cache, dfeature=dfeature[None])
    blocks["classifier.weight"] = blocks["classifier.weight"] + dembeddings[None]
    return loss, np.concatenate([blocks[entry.name].ravel() for entry in model.spec.entries])


def softmax_loss(logits, y, smoothing=0.0):
    """Mean cross-entropy and its derivative; logits of -inf are no part of the softmax."""
    loss, d = 0.0, np.zeros(logits.shape)
    for n, z in enumerate(logits):
        total = sum(math.exp(value) for value in z)
        loss += math.log(total) / len(logits)
        for c, value in enumerate(z):
            q = (1 - smoothing) * (c == y[n]) + smoothing / len(z)      # of the label
            loss -= q * value / len(logits) if q else 0
            d[n, c] = (math.exp(value) / total - q) / len(logits)
    return loss, d


def fedprox_objective(settings, model, theta, x, y, counts, w):
    loss, gradient = cross_entropy(settings, model, theta, x, y, counts, w)
    return loss, gradient + settings.mu * (theta - w)


def fedlc_objective(settings, model, theta, x, y, counts, w):
    def of_outputs(logits, features, embeddings):
        z = logits.copy()
        for c, n in enumerate(counts):
            z[:, c] = logits[:, c] - settings.fedlc_tau / n ** 0.25 if n else -math.inf
        return *softmax_loss(z, y), 0 * features, 0 * embeddings
    return through_network(model, theta, x, of_outputs)


def fedrs_objective(settings, model, theta, x, y, counts, w):
    def of_outputs(logits, features, embeddings):
        scales = np.array([1.0 if n else settings.fedrs_alpha for n in counts])
        loss, d = softmax_loss(logits * scales, y, settings.label_smoothing)
        return loss, d * scales, 0 * features, 0 * embeddings
    return through_network(model, theta, x, of_outputs)


def correlation_penalty(z):
    """||C||_F^2/D^2 of the D x D correlation matrix of the features z (N, D), where constant ones correlate with none."""
    n, d = z.shape
    live = np.ptp(z.real, axis=0) > 1e-14 * np.abs(z).max(axis=0)     # of equal examples a product may differ in rounding
    centred = (z - z.sum(axis=0) / n)[:, live]
    covariance = centred.T @ centred / n
    deviation = np.sqrt(np.diag(covariance))
    return ((covariance / np.outer(deviation, deviation)) ** 2).sum() / d ** 2


def released_penalty(z):
    """The same in FedDecorr's code: entry by entry off the diagonal, the variance with N - 1, eps, and 1/N."""
    n, d = z.shape
    if n == 1:
        return 0 * z.sum()
    centred = z - z.sum(axis=0) / n
    h = centred / np.sqrt((centred ** 2).sum(axis=0) / (n - 1) + 1e-8)
    squares = [(h[:, i] @ h[:, j]) ** 2 for i in range(d) for j in range(d) if i != j]
    return sum(squares) / len(squares) / n


def feddecorr_objective(settings, model, theta, x, y, counts, w):
    of_features = {"published": correlation_penalty, "released": released_penalty}[settings.decorr_form]

    def of_outputs(logits, features, embeddings):
        loss, dlogits = softmax_loss(logits, y, settings.label_smoothing)
        slope = np.zeros_like(features)
        for place in np.ndindex(features.shape):
            moved = features.astype(complex)
            moved[place] += TINY * 1j
            slope[place] = of_features(moved).imag / TINY
        beta, penalty = settings.decorr_weight, of_features(features)
        return loss + beta * penalty, dlogits, beta * slope, 0 * embeddings
    return through_network(model, theta, x, of_outputs)


def cosine(a, b):
    """cos(a, b) and its derivatives by a and b; 0 for a vector of zeros."""
    length_a, length_b = math.sqrt(a @ a), math.sqrt(b @ b)
    if length_a * length_b == 0:
        return 0.0, 0 * a, 0 * b
    value = a @ b / (length_a * length_b)
    return (value, b / (length_a * length_b) - value * a / length_a ** 2,
            a / (length_a * length_b) - value * b / length_b ** 2)


def fedaws_objective(settings, model, theta, x, y, counts, w):
    def of_outputs(logits, features, embeddings):
        loss, dfeature, dembeddings = 0.0, np.zeros_like(features), np.zeros_like(embeddings)
        for n, g in enumerate(features):
            value, by_feature, by_embedding = cosine(g, embeddings[:, y[n]])
            gap = settings.hinge_margin - value
            if gap > 0:
                loss += gap ** 2 / len(features)
                dfeature[n] = -2 * gap * by_feature / len(features)
                dembeddings[:, y[n]] += -2 * gap * by_embedding / len(features)
        return loss, 0 * logits, dfeature, dembeddings
    return through_network(model, theta, x, of_outputs)


OBJECTIVES = {"fedprox": fedprox_objective, "fedlc": fedlc_objective, "fedrs": fedrs_objective,
              "feddecorr": feddecorr_objective, "fedaws": fedaws_objective}
