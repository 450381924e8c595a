"""FedProx (Li et al. 2020, "Federated optimization in heterogeneous networks", eq. 2): clients stay near the server.

    client k minimizes  F_k(theta) + mu/2 ||theta - w||^2,  so each step takes  grad F_k(theta) + mu (theta - w)
    server: as FedAvg

mu = 0 is FedAvg, to the bit. The paper's mu is 0.01 (PAPER section 3).
"""

from dataclasses import dataclass

from minifl.fl.algorithms.fedavg import FedAvg


@dataclass(frozen=True)
class FedProx(FedAvg):
    mu: float = 0.01

    def gradient(self, work, theta, x, y):
        loss, g, seen = super().gradient(work, theta, x, y)
        return loss, g + self.mu * (theta - work.w), seen
