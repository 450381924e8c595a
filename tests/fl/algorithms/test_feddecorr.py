"""FedDecorr: its penalty entry by entry, as published and as in its authors' code."""

import math

import numpy as np
import pytest

from by_hand import loss_and_gradient
from declared_values import NOT_NEGATIVE
from plain import Plain, softmax_loss, through_network

from minifl.fl.algorithms.feddecorr import FedDecorr

DECLARED = {"decorr_weight": (0.5, NOT_NEGATIVE), "decorr_form": ("published", (("released",), ("", "nonsense", 1)))}
HARD = {"decorr_weight": 0.2}
RELEASED = {"decorr_form": "released"}
FEDAVG = {"decorr_weight": 0}, {"decorr_weight": 0.1}
# Its gradient is large where a feature hardly varies in a batch: at lr 0.1 rounding errors grow to 0.1 in 20 rounds.
TRAJECTORIES = {"easy": ("easy", {"lr": 0.03}, "none"), "alike": ("alike", HARD | {"lr": 0.05}, "fn"),
                "released": ("easy", RELEASED | {"lr": 0.02}, "none"), "hard, released": ("hard", HARD | RELEASED, "fn")}
TINY = 1e-30


class Oracle(Plain):

    def objective(self, settings, model, theta, x, y, counts, w):
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


def test_by_hand():
    # all logits are 0, so the cross-entropy is ln 3; eps 1e-8 is little beside variances of 1 and 4
    method = FedDecorr(decorr_weight=0.5)
    same, crossed = [(1, 2), (-1, -2), (1, 2), (-1, -2)], [(1, 2), (-1, 2), (1, -2), (-1, -2)]
    for x, penalty in ((same, 4 / 4), (crossed, 2 / 4)):     # C is all ones; C is the unit matrix
        loss, _ = loss_and_gradient(method, [0] * 6, x, [0, 1, 2, 0])
        assert loss == pytest.approx(math.log(3) + 0.5 * penalty, abs=1e-7)
