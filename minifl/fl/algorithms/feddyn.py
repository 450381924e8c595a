"""FedDyn (Acar et al. 2021, "Federated learning based on dynamic regularization", Algorithm 1).

    client k minimizes  F_k(theta) - <g_k, theta> + alpha/2 ||theta - w||^2,  w the server's parameters
                        g_k <- g_k - alpha (theta_k - w)                             from g_k = 0
    server:             h <- h - alpha sum_{k in S} (n_k/n) (theta_k - w)            from h = 0
                        w <- sum_{k in S} (n_k/n_S) theta_k - h/alpha

S are the clients that answered, n_S their examples, n those of all clients. Theirs is for clients of equal weight; with
these weights h = sum_k (n_k/n) g_k over all clients at any time, and a fixed point is stationary for
sum_k (n_k/n) F_k: there theta_k = w, so each client has g_k = grad F_k(w), and h = 0. Local steps find the minimum only
nearly; where they end elsewhere, g_k is not the gradient there, but the fixed points are the same.

The server keeps u = -h/alpha, the sum of all updates, each by its client's share: u <- u + (n_S/n) D, w <- w + D + u. alpha
has to be above 0: as it goes to 0 the clients become FedAvg's, and the server's u does not.
"""

from dataclasses import dataclass

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.models.network import Network


@dataclass(frozen=True)
class FedDyn(FedAvg):
    feddyn_alpha: float = hyperparameter(0.01, above=0, help="Weight of the proximal term, and of what the clients keep.",
                                         source="Acar et al.")

    kept = ("linear",)       # g_k

    def server_state(self, w: Array) -> dict[str, Array]:
        return {"sum": get_xp(w).zeros_like(w)}

    def gradient(self, work: Work, theta: Array, x: Array, y: Array) -> tuple[Array, Array, Array]:
        """As FedAvg's, but the gradient is that of the client's objective.

        Derivation. The linear term's gradient is -g_k, the proximal one's alpha (theta - w). At the minimum
            grad F_k(theta_k) = g_k - alpha (theta_k - w),
        which is the new g_k: what the client keeps is its own gradient, without another pass over the data.
        """
        loss, g, seen = super().gradient(work, theta, x, y)
        return loss, g - work.own["linear"] + self.feddyn_alpha * (theta - work.w), seen

    def message(self, work: Work, theta: Array) -> tuple[dict, dict]:
        message, _ = super().message(work, theta)
        return message, {"linear": work.own["linear"] - self.feddyn_alpha * message["update"]}

    def server(self, model: Network, w: Array, mean: dict, state: dict, share: float) -> tuple[Array, dict]:
        total = state["sum"] + share * mean["update"]
        return w + mean["update"] + total, {"sum": total}
