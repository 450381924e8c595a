"""FedLC (Zhang et al. 2022, "Federated learning with label distribution skew via logits calibration").

    client k minimizes the cross-entropy of softmax(z_c - fedlc_tau n_kc^(-1/4)),  n_kc its examples of class c
    server: as FedAvg

The margin makes rare classes harder. For a class that the client does not hold it is infinite: that class leaves
the softmax. So with one class per client the loss is log(exp(z)/exp(z)) = 0 and so is its gradient, at any
parameters: nothing is learned. That is the method as the paper ran it (its Table 1: 10 %), not an error; a sum over the
other classes only, as FedLC derives it from pairwise margins, would be another loss. With equal counts every logit
moves by the same amount, which softmax does not see: FedAvg. The paper's tau is 1.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.errors import InputError
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from minifl.models import flat_gradient


@dataclass(frozen=True)
class FedLC(FedAvg):
    fedlc_tau: float = hyperparameter(1.0, at_least=0, help="Size of the margins.",
                                      source="the paper's experimental set-up")

    def refuse(self, settings: Any) -> None:
        if settings.label_smoothing:
            raise InputError(f"--label-smoothing {settings.label_smoothing:g} with --algorithm fedlc: absent classes are "
                             f"not in its softmax, and a part of a label for them costs infinitely much; leave it out.")

    def advice(self, settings: Any, counts: Array) -> Iterator[str]:
        single = int(((counts > 0).sum(axis=1) == 1).sum())
        everybody = single == len(counts)
        if single:
            who = "All clients hold" if everybody else f"{single} of {len(counts)} clients hold"
            yield (f"{who} one class only. FedLC takes absent classes out of the softmax, so their loss and gradient are "
                   f"identically 0" + (": nothing will be learned, accuracy stays at chance." if everybody else
                                       " and they learn nothing."))

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--fedlc-tau 0: there are no margins, and no class is absent":
                    self.fedlc_tau == 0 and bool((counts > 0).all()),
                "each client holds as many examples of every class: the margins are equal, and softmax does not see a "
                "constant": bool((counts == counts[:, :1]).all())}

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        logits, cache = work.model.forward(work.model.spec.views(theta), x)
        loss, loss_cache = softmax_cross_entropy(logits - self.margins(work.counts)[:, None], y)
        grads = work.model.backward(softmax_cross_entropy_backward(loss * 0 + 1, loss_cache), cache)
        return loss, *flat_gradient(work.model, grads, theta)

    def margins(self, counts: Array) -> Array:
        """(K, C) counts of the training examples -> what is subtracted from the logits."""
        xp = get_xp(counts)
        held = counts > 0
        return xp.where(held, self.fedlc_tau * xp.where(held, counts, 1) ** -0.25, xp.inf)
