"""FedLC: equal counts are FedAvg, and one class per client has loss and gradient 0."""

import math

import numpy as np
import pytest

from by_hand import one_example
from declared_values import NOT_NEGATIVE
from plain import Plain, softmax_loss, through_network
from small_problem import MOMENTUM, ONE_CLASS, difference, final, network, problem, run, settings_of, situation

from minifl.fl.algorithms.fedlc import FedLC

DECLARED = {"fedlc_tau": (1.0, NOT_NEGATIVE)}
HARD = {"fedlc_tau": 0.6}
SGD = [{}]
NO_SMOOTHING = True      # absent classes are at -inf
ALL_EQUAL = np.array([[2, 2, 2, 2], [1, 1, 1, 1], [4, 4, 4, 4]])   # each client has as much of every class


class Oracle(Plain):

    def objective(self, settings, model, theta, x, y, counts, w):
        def of_outputs(logits, features, embeddings):
            z = logits.copy()
            for c, n in enumerate(counts):
                z[:, c] = logits[:, c] - settings.fedlc_tau / n ** 0.25 if n else -math.inf
            return *softmax_loss(z, y), 0 * features, 0 * embeddings
        return through_network(model, theta, x, of_outputs)


@pytest.mark.parametrize("options", [{}, MOMENTUM], ids=["plain", "momentum"])
def test_with_equal_counts_it_is_fedavg(options):
    fedavg = final("fedavg", ALL_EQUAL, **options)
    for tau in (0.5, 3):
        assert difference(final("fedlc", ALL_EQUAL, fedlc_tau=tau, **options), fedavg) < 1e-12
    assert difference(final("fedlc", **options), final("fedavg", **options)) > 1e-3


def test_by_hand():
    # margins 2*16^(-1/4) = 1, 2*1 = 2, infinite: softmax of (1 + ln 3 - 1, 2 - 2) = (3, 1)/4
    loss, d = one_example(FedLC(fedlc_tau=2.0), (1 + math.log(3), 2, 50), 1, (16, 1, 0))
    assert loss == pytest.approx(math.log(4), rel=1e-14)
    np.testing.assert_allclose(d, [0.75, -0.75, 0], rtol=1e-14)


def test_margins():
    margins = FedLC(fedlc_tau=0.5).margins(np.array([[1.0, 16, 0, 10000]]))
    np.testing.assert_allclose(margins, [[0.5, 0.25, math.inf, 0.05]], rtol=1e-15)


def test_it_learns_nothing_from_one_class_per_client():
    """The paper's Table 1 has chance for it: loss and gradient are exactly 0, so w keeps every bit."""
    model = network()
    w = model.spec.init(3)
    for state, record in run(settings_of("fedlc", momentum=0.9), model, *problem(ONE_CLASS)):
        assert record["train_loss"] == 0.0
        assert state.w.tobytes() == w.tobytes()
    work, theta, x, y = situation(network("ln"))
    one = work._replace(counts=np.diag([3.0, 8, 1, 0])[:3])
    loss, gradient, _ = FedLC().gradient(one, theta, x, np.tile(np.arange(3)[:, None], y.shape[1]))
    assert not loss.any() and not gradient.any()
