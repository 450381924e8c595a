"""FedProx (Li et al. 2020, "Federated optimization in heterogeneous networks", eq. 2): clients stay near the server.

    client k minimizes  F_k(theta) + mu/2 ||theta - w||^2,  w the server's parameters
    server: as FedAvg

mu = 0 is FedAvg, to the bit. The paper's mu is 0.01 (its experimental set-up).
"""

from dataclasses import dataclass

from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.participation import steps_of


@dataclass(frozen=True)
class FedProx(FedAvg):
    mu: float = hyperparameter(0.01, at_least=0, help="Proximal term.", source="the paper's experimental set-up")

    def is_fedavg(self, settings, counts):
        return {"--mu 0: there is no proximal term": self.mu == 0,
                "the only local step begins at the server's parameters, where the proximal term is 0":
                    {steps_of(settings, n) for n in counts.sum(axis=1).tolist()} == {1}}

    def gradient(self, work, theta, x, y):
        """As FedAvg's, but the gradient is that of the objective with the proximal term.

        Derivation. The term's gradient is mu (theta - w), so a step takes grad F_k(theta) + mu (theta - w).
        """
        loss, g, seen = super().gradient(work, theta, x, y)
        return loss, g + self.mu * (theta - work.w), seen
