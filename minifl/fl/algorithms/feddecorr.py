"""FedDecorr (Shi et al. 2023, "Towards understanding and mitigating dimensional collapse in heterogeneous federated
learning"): clients keep their features from collapsing onto a few dimensions.

    client k minimizes  F_k(theta) + decorr_weight ||C||_F^2 / d^2,   C (d, d) the correlations of a batch's features
    server: as FedAvg

The features are what the classifier sees; losses and gradients are in layers/decorrelation.py. The paper's weight is
0.5. decorr_form "released" takes the penalty of FedDecorr's released code instead of the published one:
about as many times larger as a batch has examples, 30.19 for 32 and 192 features. So that code's 0.5 is that of
decorr_form released, or a weight of 15.1 here.

A feature that barely varies within a batch is divided by a tiny deviation, so rounding errors can grow to the size of
the parameters within 20 rounds: between machines compare accuracies of this method, not parameters.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minifl.backend import Array
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.layers.decorrelation import (decorrelation, decorrelation_backward, decorrelation_released,
                                         decorrelation_released_backward)
from minifl.layers.smoothing import smoothed_cross_entropy, smoothed_cross_entropy_backward
from minifl.models import flat_gradient


@dataclass(frozen=True)
class FedDecorr(FedAvg):
    decorr_weight: float = hyperparameter(0.5, at_least=0, help="Weight of the decorrelation penalty.",
                                          source="the paper's experimental set-up")
    decorr_form: str = hyperparameter(
        "published", choices=("published", "released"), source="Shi et al., the formula as published",
        help="published: the formula, ||K||²/d²; released: as its authors' code has it, the mean of the squared "
             "off-diagonal entries over N, about N times as large (30.19 for 32 examples and 192 features): its 0.5 is "
             "15.1 of the formula.")

    def advice(self, settings: Any, counts: Array) -> Iterator[str]:
        if settings.batch_size < 3:
            yield (f"FedDecorr with batches of {settings.batch_size}: standardized over so few examples all features are "
                   f"+1, -1 or 0, so their correlations say nothing.")

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--decorr-weight 0: there is no penalty": self.decorr_weight == 0}

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        logits, cache = work.model.forward(work.model.spec.views(theta), x)
        loss, loss_cache = smoothed_cross_entropy(logits, y, smoothing=work.smoothing)
        one, feature = loss * 0 + 1, work.model.feature(cache)
        if self.decorr_form == "published":
            penalty, penalty_cache = decorrelation(feature)
            dfeature = decorrelation_backward(self.decorr_weight * one, penalty_cache)
        else:
            penalty, penalty_cache = decorrelation_released(feature)
            dfeature = decorrelation_released_backward(self.decorr_weight * one, penalty_cache)
        grads = work.model.backward(smoothed_cross_entropy_backward(one, loss_cache), cache, dfeature=dfeature)
        return loss + self.decorr_weight * penalty, *flat_gradient(work.model, grads, theta)
