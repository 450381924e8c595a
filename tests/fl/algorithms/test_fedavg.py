"""FedAvg: what a method adds nothing to is the mean; steps, their weights, and training on the union."""

import numpy as np
import pytest

from by_hand import FIRST, SECOND, a_round, begin, close
from plain import Plain
from small_problem import batch, network, problem, run, settings_of

from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.local import local_sgd, weight_of_steps
from minifl.models import loss_and_grad

DECLARED, HARD, Oracle = {}, {}, Plain
SGD = [{}]
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}
AVERAGED = [name for name, method in ALGORITHMS.items() if (method.message, method.server) == (FedAvg.message, FedAvg.server)]


@pytest.mark.parametrize("name", AVERAGED)
def test_by_hand(name):
    method = ALGORITHMS[name]()
    one = a_round(method, begin(method), FIRST)
    close(one.w, [3, 1])                                   # (1, 2) + (2, -1)
    close(a_round(method, one, SECOND).w, [4, 3])          # (3, 1) + (1, 2)
    assert one.state == {} and one.own == {}


def test_one_local_step_of_equal_clients_is_one_step_on_the_union():
    counts = [[3, 2, 1, 0], [0, 0, 0, 6], [1, 2, 3, 0]]
    data, partition = problem(counts)
    model, w = network(), network().spec.init(3)
    settings = settings_of("fedavg", local_steps=1)
    for t, (state, _) in enumerate(run(settings, model, data, partition)):
        batches = [batch(settings, data, partition, t, k) for k in range(3)]
        x, y = (np.concatenate([b[i][0] for b in batches])[None] for i in (0, 1))
        assert x.shape[:2] == (1, 12)
        w = w - 0.1 * loss_and_grad(model, w[None], x, y)[1][0]
        np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("momentum", [0.0, 0.3, 0.9])
@pytest.mark.parametrize("steps", [1, 2, 3, 10])
def test_weight_of_steps_is_how_far_sgd_goes_on_a_constant_gradient(steps, momentum):
    velocity = theta = 0.0
    for _ in range(steps):
        velocity = momentum * velocity + 1
        theta -= velocity
    assert weight_of_steps(steps, momentum) == pytest.approx(-theta, rel=1e-14)
    nothing, constant = np.zeros((1, steps, 1)), (np.zeros(1), np.ones((1, 1)), None)
    ours, *_ = local_sgd(lambda *_: constant, np.zeros(1), nothing, nothing, lr=1.0, momentum=momentum)
    assert ours[0, 0] == pytest.approx(theta, rel=1e-14)


def test_weight_of_steps_of_several_clients():
    close(weight_of_steps([1, 2, 3], 0.5), [1, 1 + 1.5, 1 + 1.5 + 1.75])
    close(weight_of_steps([1, 2, 3], 0.0), [1, 2, 3])
