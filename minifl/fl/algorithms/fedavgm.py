"""FedAvgM (Hsu et al. 2019, "Measuring the effects of non-identical data distribution", section 4.3): server momentum.

    clients: as FedAvg;  D = sum_k p_k (theta_k - w)
    server:  m <- beta1 m + D,   w <- w + server_lr m

beta1 = 0 with server_lr = 1 is FedAvg, to the bit. beta1 = 0.9 is in their grid; the paper does not run it.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import SERVER_LR, FedAvg
from minifl.fl.algorithms.fedopt import BETA1
from minifl.models.network import Network


@dataclass(frozen=True)
class FedAvgM(FedAvg):
    server_lr: float = hyperparameter(1.0, **SERVER_LR, source="Hsu et al., section 4.3")
    beta1: float = hyperparameter(0.9, **BETA1, source="Hsu et al., section 4.3")

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--beta1 0 and --server-lr 1: no momentum": self.beta1 == 0 and self.server_lr == 1}

    def server_state(self, w: Array) -> dict[str, Array]:
        return {"m": get_xp(w).zeros_like(w)}

    def server(self, model: Network, w: Array, mean: dict, state: dict, share: float) -> tuple[Array, dict]:
        m = self.beta1 * state["m"] + mean["update"]
        return w + self.server_lr * m, {"m": m}
