"""SCAFFOLD (Karimireddy et al. 2020, Algorithm 1): control variates take the drift out of the local steps.

    client k:   theta <- theta - lr (grad F_k(theta) - c_k + c)          E times
    option I:   c_k+ = grad F_k(w), here the mean gradient at w over the batches of the round
    option II:  c_k+ = the mean gradient along the way, without another pass over the data (`Scaffold.message`)
    server:     w <- w + server_lr sum_{k in S} (n_k / n_S) (theta_k - w)
                c: what keeps it the clients' mean (`Scaffold.server`)

All controls start at 0. S are the clients that answered, n_S their examples, n those of all clients. Their
algorithm is for clients of equal weight, n_k/n = 1/N, where these are its lines 16 and 17. With unequal clients
the controls have to carry the weights of the average: after each round the server holds

    c = sum_k (n_k / n) c_k            (for equal clients: N c = sum_k c_k)

over all clients, those too that did not answer, and a minimum of sum_k (n_k/n) F_k stays one, because there
c_k = grad F_k and c = 0. Averaging models by n_k but controls by 1/N, as is often done, leaves c != 0 there and drives
the clients away from the minimum: it converges to that of sum_k F_k / N instead
(tests/fl/algorithms/test_scaffold.py shows both).
"""

from dataclasses import dataclass

from minifl.backend import get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import SERVER_LR, FedAvg
from minifl.models import loss_and_grad


@dataclass(frozen=True)
class Scaffold(FedAvg):
    scaffold_option: str = hyperparameter("II", choices=("II", "I"), source="the paper's experimental set-up",
                                          help="How controls are renewed: II from the steps, I by a gradient.")
    server_lr: float = hyperparameter(1.0, **SERVER_LR, source="Karimireddy et al.")

    kept = broadcast = ("control",)

    def is_fedavg(self, settings, counts):
        return {"with one client in all, its control equals the server's": len(counts) == 1 and self.server_lr == 1}

    def server_state(self, w):
        return {"control": get_xp(w).zeros_like(w)}

    def gradient(self, work, theta, x, y):
        """As FedAvg's, but the gradient is what the step takes: corrected by the client's control and the server's."""
        loss, g, seen = super().gradient(work, theta, x, y)
        return loss, g - work.own["control"] + work.server["control"], seen

    def message(self, work, theta):
        """FedAvg's message, and how the client's control changes, named "control"; the client keeps the new one.

        work.steps (K, 1) is E, with momentum E', what the weights of the steps add up to (local.py).

        Derivation of option II:
            theta = w - lr sum_e (g_e - c_k + c),   hence   (w - theta)/(E lr) = mean_e(g_e) - c_k + c,   and
            c_k+ = mean_e(g_e) = c_k - c + (w - theta)/(E lr)
        With momentum E' takes the place of E, and c_k+ is the mean with the weights of the steps. Weight decay counts
        as a part of the gradient in option II, not in option I. In float32 c_k+ carries the rounding of w - theta,
        about 1e-8/(E lr): at the end of a cosine schedule it is noise, which lr then multiplies away.
        """
        message, _ = super().message(work, theta)
        control = work.own["control"]
        if self.scaffold_option == "II":
            new = control - work.server["control"] - message["update"] / (work.steps * work.lr)
        else:
            new = _mean_gradient_at_server(work)
        return message | {"control": new - control}, {"control": new}

    def server(self, model, w, mean, state, share):
        """FedAvg's step with a learning rate, and the server's new control.

        Derivation. For the sum over all clients of (n_k/n) c_k to stay c,
            c <- c + sum_{k in S} (n_k / n) (c_k+ - c_k),
        and the mean over those that answered has the weights n_k/n_S: it is short of the factor n_S/n, the share.
        """
        return w + self.server_lr * mean["update"], {"control": state["control"] + share * mean["control"]}


def _mean_gradient_at_server(work):
    """(K, P): each client's gradient at w, averaged over the batches of its steps."""
    xp = get_xp(work.w)
    total = xp.zeros_like(work.w)
    for step in range(work.x.shape[1]):
        _, g, _ = loss_and_grad(work.model, work.w, *work.batch(step), work.smoothing)
        total += xp.where(work.active[:, step, None], g, xp.zeros_like(g))
    return total / work.active.sum(axis=1, keepdims=True).astype(work.w.dtype)
