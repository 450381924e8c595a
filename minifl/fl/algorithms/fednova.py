"""FedNova (Wang et al. 2020, "Tackling the objective inconsistency problem", Algorithm 1): normalized averaging.

    client k:  d_k = (theta_k - w) / a_k,     a_k = ||a_k||_1, the sum of the weights that its steps have in theta_k
    server:    w <- w + (sum_k p_k a_k) sum_k p_k d_k

For plain SGD a_k is the number of steps E_k; with momentum rho it is [E_k - rho (1 - rho^E_k)/(1 - rho)]/(1 - rho)
(local.py). FedAvg lets a client that does more steps pull harder, and so minimizes another objective than
sum_k p_k F_k; here everyone's direction counts by p_k. With equal steps it is FedAvg, up to rounding.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.participation import ONE_A_ROUND, clients_per_round, steps_of
from minifl.models.network import Network


@dataclass(frozen=True)
class FedNova(FedAvg):

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"all clients do the same number of steps, so normalizing by it changes nothing; see --local-epochs":
                    len({steps_of(settings, n) for n in counts.sum(axis=1).tolist()}) == 1,
                ONE_A_ROUND: clients_per_round(settings, len(counts)) == 1}

    def message(self, work: Work, theta: Array) -> tuple[dict, dict]:
        return {"direction": (theta - work.w) / work.steps, "steps": work.steps[:, 0]}, {}

    def moved(self, message: dict) -> Array:
        return message["direction"] * message["steps"][..., None]

    def server(self, model: Network, w: Array, mean: dict, state: dict, share: float) -> tuple[Array, dict]:
        return w + mean["steps"] * mean["direction"], state
