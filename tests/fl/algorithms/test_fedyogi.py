"""FedYogi: v by hand, above, below and at the square of the update."""

import math

from adaptive import Adaptive
from by_hand import FIRST, SECOND, a_round, begin, close
from declared_values import BELOW_ONE, NOT_NEGATIVE, POSITIVE

from minifl.fl.algorithms.fedyogi import FedYogi

DECLARED = {"server_lr": (0.01, POSITIVE), "beta1": (0.9, BELOW_ONE), "beta2": (0.99, BELOW_ONE), "server_tau": (1e-3, POSITIVE),
            "server_v0": (1e-6, NOT_NEGATIVE)}
HARD = {"server_lr": 0.05, "beta1": 0.8, "beta2": 0.9, "server_tau": 0.01, "server_v0": 1e-4}


class Oracle(Adaptive):

    def second_moment(self, settings, v, d):
        if v > d ** 2:
            return v - (1 - settings.beta2) * d ** 2
        return v + (1 - settings.beta2) * d ** 2


def test_by_hand():
    method = FedYogi(server_lr=1.0, beta1=0.5, beta2=0.65, server_tau=0.5, server_v0=2.6)
    one = a_round(method, begin(method), FIRST)            # D^2 = (4, 1): above and below v = 2.6
    close(one.state["m"], [1, -0.5])                       # 0.5 (0, 0) + 0.5 (2, -1)
    close(one.state["v"], [4, 2.25])                       # 2.6 + 0.35*4 = 4,  2.6 - 0.35*1 = 2.25
    close(one.w, [1.4, 1.75])                              # 1 + 1/(2 + 0.5),   2 - 0.5/(1.5 + 0.5)
    two = a_round(method, one, SECOND)                     # D^2 = (1, 4): below and above v = (4, 2.25)
    close(two.state["m"], [1, 0.75])                       # 0.5 (1, -0.5) + 0.5 (1, 2)
    close(two.state["v"], [3.65, 3.65])                    # 4 - 0.35*1,        2.25 + 0.35*4
    close(two.w, [1.4 + 1 / (math.sqrt(3.65) + 0.5), 1.75 + 0.75 / (math.sqrt(3.65) + 0.5)])


def test_it_stays_where_v_has_reached_the_square():
    method = FedYogi(beta2=0.5, server_v0=4.0)
    close(a_round(method, begin(method), FIRST).state["v"], [4, 3.5])    # 4 = 2^2: sign 0;  4 - 0.5*1
