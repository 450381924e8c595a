"""FedSAM (Qu et al. 2022, "Generalized federated learning via sharpness aware minimization", and Caldarola et al. 2022,
"Improving generalization in federated learning by seeking flat minima"): local steps by SAM (Foret et al. 2021).

    client k minimizes  max_{||e|| <= rho} F_k(theta + e):  a step takes grad F_k(theta + e),  e = rho g/||g||,
                        g = grad F_k(theta), both on the step's batch
    server: as FedAvg

rho = 0 is FedAvg, to the bit. A step costs two of FedAvg's. The recorded loss and what batch norms gather are those of
theta, not of theta + e. Both papers tune rho for each data set and network; the default is Foret et al.'s.
"""

from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work


@dataclass(frozen=True)
class FedSAM(FedAvg):
    sam_rho: float = hyperparameter(0.05, at_least=0, source="Foret et al., section 3",
                                    help="How far from the parameters the gradient is taken, uphill.")

    working = 2      # e and theta + e

    def is_fedavg(self, settings: Any, counts: Array) -> dict[str, bool]:
        return {"--sam-rho 0: the gradient is taken where the parameters are": self.sam_rho == 0}

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """FedAvg's loss at theta, and its gradient at theta + e.

        Derivation. To first order F(theta + e) = F(theta) + <g, e>, which over the ball ||e|| <= rho is largest at
            e = rho g/||g||                          (Cauchy and Schwarz: <g, e> <= rho ||g||, with equality there)
        and the gradient of F(theta + e(theta)) is (1 + de/dtheta)' grad F(theta + e). SAM leaves de/dtheta out, which is a
        second derivative: the step takes grad F(theta + e). Where g = 0 there is no direction, and e = 0.
        """
        xp = get_xp(theta)
        loss, g, seen = super().gradient(work, theta, x, y)
        length = xp.sqrt((g * g).sum(axis=1, keepdims=True))
        uphill = self.sam_rho / xp.where(length > 0, length, xp.ones_like(length)) * g
        _, g, _ = super().gradient(work, theta + uphill, x, y)
        return loss, g, seen
