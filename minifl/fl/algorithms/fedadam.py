"""FedAdam (Reddi et al. 2021, Algorithm 2; fedopt.py has its common part).

    v <- beta2 v + (1 - beta2) D^2

The paper does not run it; the defaults are those of its FedYogi.
"""

from dataclasses import dataclass

from minifl.backend import Array
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedopt import BETA2, FedOpt


@dataclass(frozen=True)
class FedAdam(FedOpt):
    beta2: float = hyperparameter(0.99, **BETA2, source="the paper's FedYogi")

    def second_moment(self, v: Array, update: Array) -> Array:
        return self.beta2 * v + (1 - self.beta2) * update * update
