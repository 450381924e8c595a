"""What each method's clients minimize: every gradient against complex steps."""

from functools import cache

import numpy as np
import pytest

from of_methods import of
from small_problem import CLASSES, network, situation

from minifl.fl.algorithms import ALGORITHMS
from minifl.models import CNN, Arrangement

H = 1e-30
CONVOLUTIONS = CNN(CLASSES, (16, 16, 1), channels=(2, 3), dense=(6,), arrangement=Arrangement("fn"))
NETWORKS = {"none": network("none"), "fn": network("fn"), "ln": network("ln"), "cnn": CONVOLUTIONS}
METHODS = ["fedavg", *(name for name, method in ALGORITHMS.items() if method.gradient is not ALGORITHMS["fedavg"].gradient)]


@cache
def at(net, server, own):
    return situation(NETWORKS[net], server, own)


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("name", METHODS)
def test_gradient_is_that_of_the_objective(name, net):
    method = ALGORITHMS[name](**of(name).HARD)
    work, theta, x, y = at(net, method.broadcast, method.kept)
    in_parameter_space = getattr(of(name), "TERM", lambda *_: 0)
    objective = getattr(of(name), "OBJECTIVE", lambda _, work, theta, x, y: method.gradient(work, theta, x, y)[0]
                        + in_parameter_space(method, work, theta))
    loss, gradient, _ = method.gradient(work, theta, x, y)
    assert loss.shape == (len(theta),) and loss.dtype == float and gradient.shape == theta.shape
    rng = np.random.default_rng(7)
    for _ in range(4):
        direction = rng.standard_normal(theta.shape)
        moved = theta + 1j * H * direction
        value = objective(method, work, moved, x, y)
        slope = (gradient * direction).sum(axis=1)
        scale = np.linalg.norm(gradient, axis=1) + np.abs(slope)
        np.testing.assert_allclose((value.imag / H - slope) / scale, 0, rtol=0, atol=1e-12)
        assert np.abs(slope).min() > 1e-3
