"""FedNova: with equal steps it is FedAvg, else not."""

import numpy as np
import pytest

from by_hand import FIRST, SECOND, a_round, begin, close
from plain import Plain, step_weights, weighted_mean
from small_problem import MOMENTUM, difference, final

from minifl.fl.algorithms.fednova import FedNova

DECLARED, HARD = {}, {}
IS_FEDAVG = ["easy"]        # equal steps
ONE_STEP, SGD = [{}], [{}]


class Oracle(Plain):

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        """Wang et al., eq. 9: from the gradients of the steps, not from the models."""
        n, effective, direction = sum(answer.weight for answer in answers), 0.0, np.zeros_like(w)
        for answer in answers:
            effective += answer.weight / n * sum(step_weights(len(answer.gradients), settings.momentum))
            direction += answer.weight / n * weighted_mean(answer.gradients, settings.momentum)
        return w - lr * effective * direction, state


@pytest.mark.parametrize("options", [{}, MOMENTUM], ids=["plain", "momentum"])
def test_with_equal_steps_it_is_fedavg_and_else_not(options):
    assert difference(final("fednova", **options), final("fedavg", **options)) < 1e-12
    unequal = {"local_epochs": 1} | options
    assert difference(final("fednova", **unequal), final("fedavg", **unequal)) > 1e-3


def test_by_hand():
    method = FedNova()
    one = a_round(method, begin(method), FIRST, steps=(2, 4))
    # directions (2, 0)/2 = (1, 0) and (2, -4)/4 = (0.5, -1), mean 3/4 (1, 0) + 1/4 (0.5, -1) = (0.875, -0.25)
    # times 3/4*2 + 1/4*4 = 2.5 steps: (2.1875, -0.625), where FedAvg has (2, -1)
    close(one.w, [3.1875, 1.375])
    two = a_round(method, one, SECOND, steps=(4, 1))
    # directions (0, 0.5) and (4, 2), mean (1, 0.875); times 3/4*4 + 1/4*1 = 3.25: (3.25, 2.84375)
    close(two.w, [6.4375, 4.21875])
