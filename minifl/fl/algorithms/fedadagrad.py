"""FedAdagrad (Reddi et al. 2021, Algorithm 2; fedopt.py has its common part).

    v <- v + D^2

The paper does not run it; server_lr, tau and v0 are those of its FedYogi, and beta1 = 0 as Reddi et al. have it in
their experiments with FedAdagrad.
"""

from dataclasses import dataclass

from minifl.backend import Array
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedopt import BETA1, FedOpt


@dataclass(frozen=True)
class FedAdagrad(FedOpt):
    beta1: float = hyperparameter(0.0, **BETA1, source="Reddi et al., experiments")

    def second_moment(self, v: Array, update: Array) -> Array:
        return v + update * update
