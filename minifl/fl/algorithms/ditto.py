"""Ditto (Li, Hu, Beirami and Smith 2021, "Ditto: fair and robust federated learning through personalization", Algorithm 1):
beside FedAvg each client trains a model of its own.

    client k:  theta_k as FedAvg, from the server's w; besides a model v_k of its own, which never leaves it:
               as many steps v_k <- v_k - lr (grad F_k(v_k) + ditto_lambda (v_k - w)), on the same batches
    server:    as FedAvg: w and all that is tested of it are FedAvg's, to the bit, whatever ditto_lambda is

ditto_lambda = 0 is training alone: v_k goes on from where it was and never sees the server. Each client keeps v_k,
"personal", and its running statistics of batch norm, "personal_statistics"; before its first round v_k = w, the server's
then (theirs is a v_k that everyone has from the start, which is the same where all clients take part). Momentum, weight
decay and clipping are those of the steps of theta_k. The steps of v_k cost as much as those of theta_k.

What is tested. The global model is w. The clients' own models, of the local evaluation (--local-eval-every: local_accuracy,
local_own_accuracy), are the v_k after their steps, not the theta_k. They are in the run's last checkpoint, own/personal.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from minifl.backend import Array
from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg, Work


@dataclass(frozen=True)
class Ditto(FedAvg):
    ditto_lambda: float = hyperparameter(
        0.1, at_least=0, source="ours: Li et al. choose for each client among values from 0.05 to 2",
        help="How strongly a client's own model is held to the server's; 0: not at all.")

    kept = ("personal", "personal_statistics")
    working = 1      # theta waits while v_k makes its steps

    def advice(self, settings: Any, counts: Array) -> Iterator[str]:
        yield ("Ditto's global model is FedAvg's; what it is for are the clients' own models, in the record as "
               "local_accuracy and local_own_accuracy.")
        if settings.lr * self.ditto_lambda > 2:
            yield (f"--lr {settings.lr:g} times --ditto-lambda {self.ditto_lambda:g} is above 2: the own models overshoot "
                   f"the server's in each step, further each time.")

    def client_state(self, w: Array, running: Array) -> dict[str, Array]:
        return {"personal": w, "personal_statistics": running}

    def keep(self, work: Work, theta: Array) -> dict[str, Array]:
        """The clients' own models after this round's steps.

        Derivation. v_k is to minimize F_k(v) + ditto_lambda/2 ||v - w||^2, whose gradient is grad F_k(v) + ditto_lambda
        (v - w): FedProx's, but v does not begin at w and is not averaged.
        """
        def gradient(v, x, y):
            loss, g, seen = self.gradient(work, v, x, y)
            return loss, g + self.ditto_lambda * (v - work.w), seen

        own = work.own
        personal, _, statistics = work.descend(gradient, own["personal"], own["personal_statistics"])
        return {"personal": personal, "personal_statistics": statistics}

    def own_model(self, theta: Array, running: Array, kept: dict) -> tuple[Array, Array]:
        return kept["personal"], kept["personal_statistics"]
