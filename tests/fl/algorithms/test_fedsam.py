"""FedSAM: rho 0 is FedAvg; the gradient is that of the loss a step uphill."""

from unittest import mock

import numpy as np

from by_hand import close
from declared_values import NOT_NEGATIVE
from plain import Plain, cross_entropy
from small_problem import network, problem, run, settings_of, situation

from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.algorithms.fedsam import FedSAM
from minifl.models import loss_and_grad

DECLARED = {"sam_rho": (0.05, NOT_NEGATIVE)}
HARD = {"sam_rho": 0.2}
FEDAVG = {"sam_rho": 0}, {"sam_rho": 0.1}
SGD = [{"sam_rho": 0}]
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}


class Oracle(Plain):

    def objective(self, settings, model, theta, x, y, counts, w):
        loss, g = cross_entropy(settings, model, theta, x, y)
        uphill = theta + settings.sam_rho * g / np.sqrt(sum(g ** 2))
        return loss, cross_entropy(settings, model, uphill, x, y)[1]


def OBJECTIVE(method, work, theta, x, y):
    """F(theta + e), where e is that of the real theta: it is not differentiated."""
    _, g, _ = loss_and_grad(work.model, theta.real, x, y)
    e = method.sam_rho * g / np.sqrt((g * g).sum(axis=1, keepdims=True))
    return loss_and_grad(work.model, theta + e, x, y)[0]


def test_on_a_parabola_by_hand():
    """At (3, 1): g = (3, 4) of length 5, e = 0.5 (3, 4)/5 = (0.3, 0.4), gradient at (3.3, 1.4): (3.3, 5.6)."""
    loss, g, _ = sam_of_parabola(0.5, [[3.0, 1.0], [0.0, 0.0]])
    close(loss, [6.5, 0])
    close(g[0], [3.3, 5.6])
    close(g[1], [0, 0])     # no direction is uphill from a minimum


def sam_of_parabola(rho, theta):
    def gradient(self, work, theta, x, y):
        slopes = np.array([1.0, 4.0])
        return (slopes * theta * theta).sum(axis=1) / 2, slopes * theta, None

    with mock.patch.object(FedAvg, "gradient", gradient):
        return FedSAM(sam_rho=rho).gradient(None, np.array(theta), None, None)


def test_the_loss_and_what_batch_norms_see_are_those_of_the_parameters_not_of_uphill():
    work, theta, x, y = situation(network("bn"))
    loss, _, seen = FedSAM(sam_rho=0.5).gradient(work, theta, x, y)
    plain, _, seen_there = loss_and_grad(work.model, theta, x, y)
    assert loss.tobytes() == plain.tobytes() and seen.tobytes() == seen_there.tobytes()


def test_its_step_goes_on_from_the_parameters_not_from_uphill():
    """To first order in rho the step is FedAvg's: it is rho that its difference is proportional to."""
    def step(rho):
        return run(settings_of("fedsam", sam_rho=rho, rounds=1, local_steps=1, augment="none"), network("fn"), *problem())[0][0].w

    near, far = (np.linalg.norm(step(rho) - step(0)) for rho in (1e-5, 2e-5))
    assert 1.9 < far / near < 2.1
