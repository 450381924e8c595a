"""FedAdagrad: two rounds by hand."""

import math

from adaptive import Adaptive
from by_hand import FIRST, SECOND, a_round, begin, close
from declared_values import BELOW_ONE, NOT_NEGATIVE, POSITIVE

from minifl.fl.algorithms.fedadagrad import FedAdagrad

DECLARED = {"server_lr": (0.01, POSITIVE), "beta1": (0.0, BELOW_ONE), "server_tau": (1e-3, POSITIVE),
            "server_v0": (1e-6, NOT_NEGATIVE)}
HARD = {"server_lr": 0.05, "beta1": 0.3, "server_tau": 0.01, "server_v0": 1e-4}


class Oracle(Adaptive):

    def second_moment(self, settings, v, d):
        return v + d ** 2


def test_by_hand():
    method = FedAdagrad(server_lr=10.5, server_tau=0.25, server_v0=6.5625)
    one = a_round(method, begin(method), FIRST)
    close(one.state["m"], [2, -1])                         # beta1 = 0
    close(one.state["v"], [10.5625, 7.5625])               # 6.5625 + 4,  6.5625 + 1: roots 3.25 and 2.75
    close(one.w, [7, -1.5])                                # 1 + 10.5*2/3.5,  2 - 10.5*1/3
    two = a_round(method, one, SECOND)
    close(two.state["v"], [11.5625, 11.5625])              # 10.5625 + 1,  7.5625 + 4
    close(two.w, [7 + 10.5 / (math.sqrt(11.5625) + 0.25), -1.5 + 21 / (math.sqrt(11.5625) + 0.25)])
