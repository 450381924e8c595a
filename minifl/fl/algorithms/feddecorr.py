"""FedDecorr (Shi et al. 2023, "Towards understanding and mitigating dimensional collapse in heterogeneous federated
learning"): clients keep their features from collapsing onto a few dimensions.

    client k minimizes  F_k(theta) + decorr_weight ||C||_F^2 / d^2,   C (d, d) the correlations of a batch's features
    server: as FedAvg

The features are what the classifier sees; loss and gradient are in layers/decorrelation.py. The paper's weight is
0.5 (PAPER section 3). The released code of FedDecorr has another normalization than its equation; see there.

A feature that barely varies within a batch is divided by a tiny deviation, so rounding errors can grow to the size of
the parameters within 20 rounds: between machines compare accuracies of this method, not parameters.
"""

from dataclasses import dataclass

from minifl.fl.algorithms.fedavg import FedAvg
from minifl.layers.decorrelation import decorrelation, decorrelation_backward
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from minifl.models import flatten


@dataclass(frozen=True)
class FedDecorr(FedAvg):
    decorr_weight: float = 0.5

    def gradient(self, work, theta, x, y):
        logits, cache = work.model.forward(work.model.spec.views(theta), x)
        loss, loss_cache = softmax_cross_entropy(logits, y)
        penalty, penalty_cache = decorrelation(work.model.feature(cache))
        one = loss * 0 + 1
        grads = work.model.backward(softmax_cross_entropy_backward(one, loss_cache), cache,
                                    dfeature=decorrelation_backward(self.decorr_weight * one, penalty_cache))
        return loss + self.decorr_weight * penalty, *flatten(work.model, grads, theta)
