"""Local Adam: its steps by hand, its moments from 0 in each round, weight decay and momentum behind it."""

import numpy as np

from by_hand import close
from declared_values import BELOW_ONE, POSITIVE
from plain import Plain
from small_problem import batch, final, network, problem, run, settings_of

from minifl.fl.algorithms.localadam import LocalAdam
from minifl.models import loss_and_grad

DECLARED = {"adam_beta1": (0.9, BELOW_ONE), "adam_beta2": (0.999, BELOW_ONE), "adam_epsilon": (1e-8, POSITIVE)}
HARD = {"adam_beta1": 0.6, "adam_beta2": 0.8, "adam_epsilon": 1e-3}
# Where a gradient is 0 but for rounding, epsilon 1e-8 makes steps of that rounding: the network is one without such.
TRAJECTORIES = {"easy": ("easy", {"lr": 0.01}, "none"), "clipped": ("clipped", HARD, "fn")}


class Oracle(Plain):
    """The moments as sums over the steps."""

    def direction(self, settings, along):
        t = len(along)

        def mean(beta, terms):
            weights = [(1 - beta) * beta ** (t - s) for s in range(1, t + 1)]
            return sum(a * term for a, term in zip(weights, terms, strict=True)) / sum(weights)

        m, v = mean(settings.adam_beta1, along), mean(settings.adam_beta2, [g ** 2 for g in along])
        return m / (np.sqrt(v) + settings.adam_epsilon)


def test_two_steps_by_hand():
    """b1 = 1/2, b2 = 3/4. Gradients 2, then -1: first m/(1 - b1) = 2, v/(1 - b2) = 4; then m = (1/2) 1 - 1/2 = 0, v = 3/4 + 1/4 = 1.
    The other parameter has 3 both times: m = 3, v = 9, directions 1."""
    method = LocalAdam(adam_beta1=0.5, adam_beta2=0.75, adam_epsilon=1e-30)
    first, memory = method.direction(np.array([[2.0, 3.0]]), None)
    close(first, [[1, 1]])
    second, (t, m, v) = method.direction(np.array([[-1.0, 3.0]]), memory)
    close(second, [[0, 1]])
    close(m, [[0, 2.25]])
    close(v, [[1, 9 * 7 / 16]])
    assert t == 2


def test_the_first_step_of_each_round_is_of_length_lr_in_every_parameter_that_has_a_gradient():
    """Moments that began elsewhere would be seen in it."""
    w = network("none").spec.init(3)
    for state, _ in run(settings_of("localadam", local_steps=1, lr=0.03, rounds=3), network("none"), *problem([[3, 3, 3, 3]])):
        moved = np.abs(state.w - w)
        assert moved.max() < 0.03 * (1 + 1e-12) and (moved[moved > 0] > 0.029).mean() > 0.99 and (moved > 0).any()
        w = state.w


def test_without_averaging_its_direction_is_the_sign_and_a_large_epsilon_makes_it_sgd():
    settings = {"adam_beta1": 0, "adam_beta2": 0}
    sgd, scaled = final("fedavg", lr=0.1), final("localadam", lr=0.1 * 1e9, adam_epsilon=1e9, **settings)
    np.testing.assert_allclose(scaled, sgd, rtol=0, atol=1e-8)
    g = np.array([[-3.0, 1e-3, 0.0]])
    close(LocalAdam(**settings, adam_epsilon=1e-30).direction(g, None)[0], [[-1, 1, 0]])


def test_weight_decay_is_adamws():
    """Behind Adam: one step is lr (direction + decay w), the direction of the gradient alone."""
    data, partition = problem([[3, 3, 3, 3]])
    model, w = network(), network().spec.init(3)
    settings = settings_of("localadam", rounds=1, local_steps=1, weight_decay=0.5, lr=0.01)
    x, y = batch(settings, data, partition, 0, 0)
    g = loss_and_grad(model, w[None], x[0][None], y[0][None])[1][0]
    state, _ = run(settings, model, data, partition)[0]
    np.testing.assert_allclose(state.w, w - 0.01 * (g / (np.abs(g) + 1e-8) + 0.5 * w), rtol=0, atol=1e-10)


def test_momentum_is_said_to_come_on_top():
    method = LocalAdam()
    assert list(method.advice(settings_of("localadam", lr=0.001), None)) == []
    assert "--adam-beta1 0.9" in next(iter(method.advice(settings_of("localadam", lr=0.001, momentum=0.5), None)))
