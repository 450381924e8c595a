"""FedYogi (Reddi et al. 2021, Algorithm 2; fedopt.py has its common part).

v moves towards D^2 by a step of (1 - beta2) D^2, so that it grows as fast as Adam's and falls more slowly.
The paper's values: server_lr 0.01, beta 0.9 and 0.99, tau 1e-3, v0 1e-6.
"""

from dataclasses import dataclass

from minifl.backend import get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedopt import BETA2, FedOpt


@dataclass(frozen=True)
class FedYogi(FedOpt):
    beta2: float = hyperparameter(0.99, **BETA2, source="the paper's FedYogi")

    def second_moment(self, v, update):
        """v (P,) and D (P,) -> next v.

        Derivation. The step goes down where v > D^2 and up where v < D^2:
            v <- v - (1 - beta2) D^2 sign(v - D^2)
        """
        square = update * update
        return v - (1 - self.beta2) * square * get_xp(v).sign(v - square)
