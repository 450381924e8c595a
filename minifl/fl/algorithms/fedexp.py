"""FedExP (Jhunjhunwala et al. 2023, "FedExP: speeding up federated averaging via extrapolation", Algorithm 1).

    clients: as FedAvg;  D_k = theta_k - w,  D = sum_k p_k D_k
    server:  eta = max(1, sum_k p_k ||D_k||^2 / (2 (||D||^2 + fedexp_epsilon))),   w <- w + eta D

Updates that point different ways shorten their mean, and eta makes up for it; where all are equal the ratio is 1/2
and the step is FedAvg's. Theirs is for clients of equal weight, p_k = 1/M. They report the mean of the last two
iterates at the end; here w is the last one.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.participation import ONE_A_ROUND, clients_per_round
from minifl.models.network import Network


@dataclass(frozen=True)
class FedExP(FedAvg):
    fedexp_epsilon: float = hyperparameter(1e-3, at_least=0, source="Jhunjhunwala et al.",
                                           help="What is added to the squared length of the mean update.")

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {ONE_A_ROUND: clients_per_round(settings, len(counts)) == 1}

    def message(self, work: Work, theta: Array) -> tuple[dict, dict]:
        update = theta - work.w
        return {"update": update, "square": (update * update).sum(axis=1)}, {}

    def server(self, model: Network, w: Array, mean: dict, state: dict, share: float) -> tuple[Array, dict]:
        xp, update = get_xp(w), mean["update"]
        ratio = mean["square"] / (2 * ((update * update).sum() + self.fedexp_epsilon))
        return w + xp.maximum(ratio, xp.ones_like(ratio)) * update, state
