"""Adaptive server optimizers (Reddi et al. 2021, "Adaptive federated optimization", Algorithm 2).

    clients: as FedAvg;  D = sum_k p_k (theta_k - w) stands for the negative gradient
    server:  m <- beta1 m + (1 - beta1) D                       from m = 0
             v <- second moment of D, see the subclasses        from v = server_v0
             w <- w + server_lr m / (sqrt(v) + server_tau)

There is no bias correction in their algorithm. FedAdagrad, FedAdam and FedYogi differ in v only.
"""

from dataclasses import dataclass

from minifl.backend import get_xp
from minifl.fl.algorithms.fedavg import FedAvg


@dataclass(frozen=True)
class FedOpt(FedAvg):
    """The common part; server_tau bounds how far a small v lets a step go ("adaptivity")."""
    server_lr: float = 0.01
    beta1: float = 0.9
    server_tau: float = 1e-3
    server_v0: float = 1e-6

    def server_state(self, w):
        """The moments, name -> (P,), before the first round."""
        xp = get_xp(w)
        return {"m": xp.zeros_like(w), "v": xp.full_like(w, self.server_v0)}

    def second_moment(self, v, update):
        """v (P,) and D (P,) -> next v."""
        raise NotImplementedError

    def server(self, model, w, mean, state, share):
        """Next w (P,) and moments, by the equations in this file's first lines; D is mean["update"]."""
        update = mean["update"]
        m = self.beta1 * state["m"] + (1 - self.beta1) * update
        v = self.second_moment(state["v"], update)
        return w + self.server_lr * m / (get_xp(w).sqrt(v) + self.server_tau), {"m": m, "v": v}
