"""FedAdam: two rounds by hand."""

import math

from adaptive import Adaptive
from by_hand import FIRST, SECOND, a_round, begin, close
from declared_values import BELOW_ONE, NOT_NEGATIVE, POSITIVE

from minifl.fl.algorithms.fedadam import FedAdam

DECLARED = {"server_lr": (0.01, POSITIVE), "beta1": (0.9, BELOW_ONE), "beta2": (0.99, BELOW_ONE), "server_tau": (1e-3, POSITIVE),
            "server_v0": (1e-6, NOT_NEGATIVE)}
HARD = {"server_lr": 0.05, "beta1": 0.7, "beta2": 0.8, "server_tau": 0.02, "server_v0": 1e-3}


class Oracle(Adaptive):

    def second_moment(self, settings, v, d):
        return settings.beta2 * v + (1 - settings.beta2) * d ** 2


def test_by_hand():
    method = FedAdam(server_lr=3.0, beta1=0.5, beta2=0.25, server_tau=0.5, server_v0=13.0)
    one = a_round(method, begin(method), FIRST)
    close(one.state["m"], [1, -0.5])                       # no bias correction, neither here nor in v
    close(one.state["v"], [6.25, 4])                       # 0.25*13 + 0.75*4,  0.25*13 + 0.75*1
    close(one.w, [2, 1.4])                                 # 1 + 3*1/(2.5 + 0.5),  2 - 3*0.5/(2 + 0.5)
    two = a_round(method, one, SECOND)
    close(two.state["m"], [1, 0.75])
    close(two.state["v"], [2.3125, 4])                     # 0.25*6.25 + 0.75*1,  0.25*4 + 0.75*4
    close(two.w, [2 + 3 / (math.sqrt(2.3125) + 0.5), 2.3])                # 1.4 + 3*0.75/(2 + 0.5)
