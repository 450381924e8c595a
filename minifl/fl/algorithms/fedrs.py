"""FedRS (Li and Zhan 2021, "FedRS: federated learning with restricted softmax").

    client k minimizes the cross-entropy of softmax(a_c z_c),  a_c = 1 if it holds class c, else fedrs_alpha
    server: as FedAvg

The gradient of z_c is a_c times that of the scaled logit, so the classifier rows of absent classes are pushed away
less. fedrs_alpha = 1 is FedAvg, to the bit. The paper's is 0.5, and with one class per client it reports 10 %,
chance, for it (Tables 1 and 10).
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.layers.smoothing import smoothed_cross_entropy, smoothed_cross_entropy_backward
from minifl.models import flat_gradient


@dataclass(frozen=True)
class FedRS(FedAvg):
    fedrs_alpha: float = hyperparameter(0.5, at_least=0, at_most=1, help="Factor of the logits of absent classes.",
                                        source="the paper's experimental set-up")

    def advice(self, settings: Any, counts: Array) -> Iterator[str]:
        if len(counts) and ((counts > 0).sum(axis=1) == 1).all() and self.fedrs_alpha < 1:
            yield ("All clients hold one class only. FedRS weakens what pushes their features apart: the paper reports "
                   "10 %, chance, for it.")

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--fedrs-alpha 1: no logit is scaled": self.fedrs_alpha == 1,
                "each client holds every class: no logit is scaled": bool((counts > 0).all())}

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        logits, cache = work.model.forward(work.model.spec.views(theta), x)
        scale = self.scales(work.counts)[:, None]
        loss, loss_cache = smoothed_cross_entropy(scale * logits, y, smoothing=work.smoothing)
        dlogits = scale * smoothed_cross_entropy_backward(loss * 0 + 1, loss_cache)
        return loss, *flat_gradient(work.model, work.model.backward(dlogits, cache), theta)

    def scales(self, counts: Array) -> Array:
        """(K, C) counts of the training examples -> factors of the logits."""
        xp = get_xp(counts)
        return xp.where(counts > 0, xp.ones_like(counts), self.fedrs_alpha * xp.ones_like(counts))
