"""MOON (Li, He and Song 2021, "Model-contrastive federated learning", Algorithm 1): features stay near the server's model's.

    client k minimizes  F_k(theta) + moon_weight mean_n l(z_n, z+_n, z-_n),     l in layers/contrastive.py
                        z(theta), z+ = z(w), z- = z(theta_k'): the features of an example for the model that is trained,
                        for the server's of this round, and for what the client's last local steps ended at
    server: as FedAvg

moon_weight = 0 is FedAvg, to the bit. Each client keeps theta_k', "previous". Before its first round it has none: there
theta_k' = w, so z- = z+ and the term is log 2, without a gradient. The features are what the classifier sees; theirs go
through two more layers, a projection head, which networks here have not. A step costs two forward passes more than FedAvg's.
moon_weight (their mu) was tuned in 0.1, 1, 5, 10: 5 for CIFAR-10, 1 for CIFAR-100 and Tiny-ImageNet.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.layers.contrastive import model_contrastive, model_contrastive_backward
from minifl.layers.smoothing import smoothed_cross_entropy, smoothed_cross_entropy_backward
from minifl.models import flat_gradient


@dataclass(frozen=True)
class MOON(FedAvg):
    moon_weight: float = hyperparameter(1.0, at_least=0, source="Li et al., section 4.1, for two of its three data sets",
                                        help="Weight of the contrastive term.")
    moon_tau: float = hyperparameter(0.5, above=0, help="Temperature of the contrastive term.",
                                     source="Li et al., section 4.1")

    kept = ("previous",)

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--moon-weight 0: there is no contrastive term": self.moon_weight == 0}

    def client_state(self, w: Array, running: Array) -> dict[str, Array]:
        return {"previous": w}

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """Loss and gradient of the objective.

        Derivation. z+ and z- come of parameters that do not move, so the term's gradient comes through z alone: it is added,
        as dL/dz, where the network's backward pass comes out of the classifier (`dfeature`).
        """
        positive, negative = (_features(work.model, parameters, x) for parameters in (work.w, work.own["previous"]))
        logits, cache = work.model.forward(work.model.spec.views(theta), x)
        loss, loss_cache = smoothed_cross_entropy(logits, y, smoothing=work.smoothing)
        term, term_cache = model_contrastive(work.model.feature(cache), positive, negative, tau=self.moon_tau)
        one = loss * 0 + 1
        dfeature = model_contrastive_backward(self.moon_weight * one, term_cache)
        grads = work.model.backward(smoothed_cross_entropy_backward(one, loss_cache), cache, dfeature=dfeature)
        return loss + self.moon_weight * term, *flat_gradient(work.model, grads, theta)

    def keep(self, work: Work, theta: Array) -> dict[str, Array]:
        return {"previous": theta}


def _features(model, theta, x):
    """The features (K, N, D) of a batch x for the parameters theta (K, P); batch norms see that batch."""
    _, cache = model.forward(model.spec.views(theta), x)
    return model.feature(cache)
