"""Adaptive server optimizers (Reddi et al. 2021, "Adaptive federated optimization", Algorithm 2).

    clients: as FedAvg;  D = sum_k p_k (theta_k - w) stands for the negative gradient
    server:  m <- beta1 m + (1 - beta1) D                       from m = 0
             v <- second moment of D, see the subclasses        from v = server_v0
             w <- w + server_lr m / (sqrt(v) + server_tau)

There is no bias correction in their algorithm. FedAdagrad, FedAdam and FedYogi differ in v only.
"""

from dataclasses import dataclass

from minifl.backend import get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import SERVER_LR, FedAvg

# of every method that has them: range and help
BETA1 = {"at_least": 0, "below": 1, "help": "Momentum of the server."}
BETA2 = {"at_least": 0, "below": 1, "help": "Decay of the server's second moment."}


@dataclass(frozen=True)
class FedOpt(FedAvg):
    """The common part; server_tau bounds how far a small v lets a step go ("adaptivity")."""
    server_lr: float = hyperparameter(0.01, **SERVER_LR, source="the paper's FedYogi")
    beta1: float = hyperparameter(0.9, **BETA1, source="the paper's FedYogi")
    server_tau: float = hyperparameter(1e-3, above=0, source="the paper's FedYogi",
                                       help="What is added to the root of the second moment.")
    server_v0: float = hyperparameter(1e-6, at_least=0, help="Second moment at the start.",
                                      source="the paper's FedYogi")

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
