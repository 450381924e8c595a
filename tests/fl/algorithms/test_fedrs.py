"""FedRS: alpha = 1 is FedAvg; absent classes are pushed less, and one class alone still learns."""

import math

import numpy as np
import pytest

from by_hand import one_example
from declared_values import PROBABILITIES
from plain import Plain, softmax_loss, through_network
from small_problem import ONE_CLASS, network, problem, run, settings_of

from minifl.fl.algorithms.fedrs import FedRS

DECLARED = {"fedrs_alpha": (0.5, PROBABILITIES)}
HARD = {"fedrs_alpha": 0.3}
FEDAVG = {"fedrs_alpha": 1}, {"fedrs_alpha": 0.9}
SGD = [{}]
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}


class Oracle(Plain):

    def objective(self, settings, model, theta, x, y, counts, w):
        def of_outputs(logits, features, embeddings):
            scales = np.array([1.0 if n else settings.fedrs_alpha for n in counts])
            loss, d = softmax_loss(logits * scales, y, settings.label_smoothing)
            return loss, d * scales, 0 * features, 0 * embeddings
        return through_network(model, theta, x, of_outputs)


def test_by_hand():
    # class 2 is absent: softmax of (ln 2, 0, ln 5) = (2, 1, 5)/8, loss -log(2/8), d/dz_2 = 0.5 * 5/8
    logits = (math.log(2), 0, 2 * math.log(5))
    loss, d = one_example(FedRS(fedrs_alpha=0.5), logits, 0, (4, 1, 0))
    assert loss == pytest.approx(math.log(4), rel=1e-15)
    np.testing.assert_allclose(d, [-0.75, 0.125, 0.3125], rtol=1e-15)


def test_with_all_scaled_to_0_only_the_own_class_is_left():
    # one class, alpha 0: softmax of (ln 2, 0, 0) = (2, 1, 1)/4; the absent rows are not pushed at all
    loss, d = one_example(FedRS(fedrs_alpha=0.0), (math.log(2), 7, -7), 0, (4, 0, 0))
    assert loss == pytest.approx(math.log(2), rel=1e-15)
    np.testing.assert_allclose(d, [-0.5, 0, 0], rtol=1e-15)


def test_it_pushes_absent_rows_less_but_learns_from_one_class():
    """FedRS is no FedLC: its gradient there is not 0."""
    model = network()
    final = run(settings_of("fedrs"), model, *problem(ONE_CLASS))[-1][0].w
    assert np.abs(final - model.spec.init(3)).max() > 0.01
