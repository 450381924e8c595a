"""FedAvgM: without momentum it is FedAvg."""

import numpy as np

from by_hand import FIRST, SECOND, a_round, begin, close
from declared_values import BELOW_ONE, POSITIVE
from plain import Plain, average

from minifl.fl.algorithms.fedavgm import FedAvgM

DECLARED = {"server_lr": (1.0, POSITIVE), "beta1": (0.9, BELOW_ONE)}
HARD = {"server_lr": 0.7, "beta1": 0.6}
FEDAVG = {"beta1": 0, "server_lr": 1}, {"beta1": 0.1, "server_lr": 1}
SGD = [{"beta1": 0}]


class Oracle(Plain):

    def first_state(self, settings, size):
        return {"m": np.zeros(size)}

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        m = settings.beta1 * state["m"] + average(answers) - w
        return w + settings.server_lr * m, {"m": m}


def test_by_hand():
    method = FedAvgM(server_lr=2.0, beta1=0.5)
    one = a_round(method, begin(method), FIRST)
    close(one.state["m"], [2, -1])                         # 0.5 (0, 0) + (2, -1): no factor 1 - beta1
    close(one.w, [5, 0])                                   # (1, 2) + 2 (2, -1)
    two = a_round(method, one, SECOND)
    close(two.state["m"], [2, 1.5])                        # 0.5 (2, -1) + (1, 2)
    close(two.w, [9, 3])                                   # (5, 0) + 2 (2, 1.5)
