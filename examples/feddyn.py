"""A method of one's own: FedDyn, as a file that is no part of minifl.

    python cli.py check --algorithm examples/feddyn.py:FedDyn
    python cli.py train --data embedded --algorithm examples/feddyn.py:FedDyn --alpha 0.1

minifl has it, too, with its derivation: minifl/fl/algorithms/feddyn.py; this one gives the same bits. What a method
consists of is said in minifl/fl/algorithms/fedavg.py. Its hyperparameters are options wherever the file is named.
"""

from dataclasses import dataclass

from minifl.declared import hyperparameter
from minifl.fl.algorithms.fedavg import FedAvg


@dataclass(frozen=True)
class FedDyn(FedAvg):
    alpha: float = hyperparameter(0.01, above=0, help="Weight of the proximal term.", source="Acar et al. 2021")

    kept = ("linear",)      # each client's between rounds, from 0

    def server_state(self, w):
        return {"sum": 0 * w}

    def gradient(self, work, theta, x, y):
        loss, g, seen = super().gradient(work, theta, x, y)
        return loss, g - work.own["linear"] + self.alpha * (theta - work.w), seen

    def message(self, work, theta):
        message, _ = super().message(work, theta)
        return message, {"linear": work.own["linear"] - self.alpha * message["update"]}

    def server(self, model, w, mean, state, share):
        total = state["sum"] + share * mean["update"]
        return w + mean["update"] + total, {"sum": total}
