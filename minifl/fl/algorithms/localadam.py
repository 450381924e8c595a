"""FedAvg with Adam on the clients (Kingma and Ba 2015, Algorithm 1): "local Adam".

    client k:  m = v = 0; in its t-th step of the round, t = 1, 2, ..., with g the gradient
               m <- b1 m + (1 - b1) g        v <- b2 v + (1 - b2) g^2
               theta <- theta - lr m_t/(sqrt(v_t) + epsilon),      m_t = m/(1 - b1^t),  v_t = v/(1 - b2^t)
    server:    as FedAvg

The moments begin at 0 in each round, as momentum does (local.py). They are averages of gradients along a client's own steps,
and a round begins elsewhere, at the server's w: moments kept from the last round would be those of another place, and with
sampled clients of another time. Averaging them at the server would triple what is sent; that is other methods' subject.
The bias corrections matter: without them, the first step would be (1 - b1)/sqrt(1 - b2) = 3.2 times too long.

A step's length hardly depends on the gradient's: lr is another one than that of SGD (Kingma and Ba: 0.001), and --clip-norm
counts only where lengths differ within a round. --weight-decay and --momentum come behind Adam, so the first is AdamW's
(Loshchilov and Hutter 2019), theta <- theta - lr (m_t/(sqrt(v_t) + epsilon) + weight_decay theta), and the second one more
momentum, of these steps; b1 already is one.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minifl.backend import Array, get_xp
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg


LARGE = 0.005     # lr of SGD, mostly: said before the run


@dataclass(frozen=True)
class LocalAdam(FedAvg):
    adam_beta1: float = hyperparameter(0.9, at_least=0, below=1, source="Kingma and Ba, Algorithm 1",
                                       help="Decay of the mean of a client's gradients.")
    adam_beta2: float = hyperparameter(0.999, at_least=0, below=1, source="Kingma and Ba, Algorithm 1",
                                       help="Decay of the mean of their squares.")
    adam_epsilon: float = hyperparameter(1e-8, above=0, source="Kingma and Ba, Algorithm 1",
                                         help="What is added to the root of that mean.")

    working = 7      # m and v, before and after, their means, a step

    def advice(self, settings: Any, counts: Array) -> Iterator[str]:
        if settings.lr > LARGE:
            yield (f"--lr {settings.lr:g} with --algorithm localadam: each parameter moves by about that much in a step, "
                   f"whatever its gradient; Adam's usual rate is 0.001.")
        if settings.momentum:
            yield (f"--momentum {settings.momentum:g} with --algorithm localadam is momentum of Adam's steps, besides "
                   f"Adam's own, --adam-beta1 {self.adam_beta1:g}.")

    def direction(self, g: Array, memory: tuple | None) -> tuple[Array, tuple]:
        """Adam's direction from the gradient g (K, P); memory: how many steps were done, m and v.

        Derivation of the corrections. From m = 0, m = (1 - b1) sum_s b1^(t-s) g_s, whose weights add up to 1 - b1^t: divided
        by that, m_t is a mean of the gradients. The same for v. In the first step m_t = g and v_t = g^2, so each parameter
        moves by lr, but for epsilon.
        """
        zeros = get_xp(g).zeros_like(g)
        t, m, v = memory or (0, zeros, zeros)
        t, m, v = t + 1, self.adam_beta1 * m + (1 - self.adam_beta1) * g, self.adam_beta2 * v + (1 - self.adam_beta2) * g * g
        mean, square = m / (1 - self.adam_beta1 ** t), v / (1 - self.adam_beta2 ** t)
        return mean / (get_xp(g).sqrt(square) + self.adam_epsilon), (t, m, v)
