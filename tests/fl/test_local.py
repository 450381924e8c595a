"""Local SGD against plain loops; learning-rate schedules and weights of steps by hand."""

import math

import numpy as np
import pytest

from minifl.fl.local import learning_rate, local_sgd, weight_of_steps
from minifl.models import MLP, Arrangement, loss_and_grad
from minifl.runs.settings import settings_for

MODEL = MLP(3, (3, 2, 2), (6, 5), Arrangement("ln", learnable=True, bias="all"))
K, E, N = 3, 5, 4


@pytest.fixture(scope="module")
def case():
    """w (P,), x (K, E, N, ...), y (K, E, N)"""
    rng = np.random.default_rng(0)
    return MODEL.spec.init(0), rng.random((K, E, N, 3, 2, 2)), rng.integers(0, 3, (K, E, N))


def gradient(theta, x, y):
    return loss_and_grad(MODEL, theta, x, y)


def plain_sgd(w, x, y, *, lr, momentum=0.0, weight_decay=0.0):
    """torch.optim.SGD with dampening 0, one client; theta after the steps and the loss before each."""
    theta, buffer, losses = w.copy(), None, []
    for batch, labels in zip(x, y):
        loss, g, _ = loss_and_grad(MODEL, theta[None], batch[None], labels[None])
        g = g[0] + weight_decay * theta
        buffer = g if buffer is None else momentum * buffer + g
        theta = theta - lr * buffer
        losses.append(loss[0])
    return theta, losses


@pytest.mark.parametrize("momentum, weight_decay", [(0, 0), (0.9, 0), (0, 0.1), (0.9, 0.1), (0.5, 3)])
@pytest.mark.parametrize("steps", [(E, E, E), (1, 5, 3), (2, 2, 4)])
def test_equals_a_plain_loop(case, momentum, weight_decay, steps):
    w, x, y = case
    active = np.arange(E) < np.array(steps)[:, None]
    options = dict(lr=0.3, momentum=momentum, weight_decay=weight_decay)
    theta, losses, _ = local_sgd(gradient, w, x, y, active=None if active.all() else active, **options)
    assert theta.shape == (K, MODEL.spec.size) and losses.shape == (K, E)
    for k, n in enumerate(steps):
        expected, expected_losses = plain_sgd(w, x[k, :n], y[k, :n], **options)
        np.testing.assert_allclose(theta[k], expected, rtol=0, atol=1e-13)
        np.testing.assert_allclose(losses[k], [*expected_losses, *[0] * (E - n)], rtol=1e-13)


def test_by_hand():
    """Gradient theta + 2 of loss x; lr 0.1, momentum 0.5, weight decay 1: the numbers of three steps."""
    theta, losses, _ = local_sgd(lambda theta, x, y: (x[:, 0], theta + 2, None), np.array([1.0]),
                                 np.array([[[7.0], [8], [9]]]), np.zeros((1, 3, 1), int),
                                 lr=0.1, momentum=0.5, weight_decay=1.0)
    # v = 1+2+1 = 4, theta = 0.6;  v = 2 + 0.6+2+0.6 = 5.2, theta = 0.08;  v = 2.6 + 0.08+2+0.08 = 4.76, theta = -0.396
    np.testing.assert_allclose(theta, [[-0.396]], rtol=1e-14)
    np.testing.assert_array_equal(losses, [[7, 8, 9]])


def test_losses_are_those_before_each_step(case):
    w, x, y = case
    _, losses, _ = local_sgd(gradient, w, x, y, lr=0.2)
    for e in range(E):
        before, *_ = local_sgd(gradient, w, x[:, :e], y[:, :e], lr=0.2)
        np.testing.assert_allclose(losses[:, e], gradient(before, x[:, e], y[:, e])[0], rtol=1e-13)
    np.testing.assert_array_equal(losses[:, 0], gradient(np.tile(w, (K, 1)), x[:, 0], y[:, 0])[0])


def test_an_inactive_step_may_give_anything(case):
    w, x, y = case
    active = np.arange(E) < np.array([[2], [5], [3]])

    def broken(theta, x, y, step=iter(range(E))):
        loss, g, seen = gradient(theta, x, y)
        idle = ~active[:, next(step)]
        loss[idle], g[idle] = np.nan, np.inf
        return loss, g, seen

    options = dict(lr=0.2, active=active, momentum=0.9, weight_decay=0.1)
    for found, expected in zip(local_sgd(broken, w, x, y, **options)[:2], local_sgd(gradient, w, x, y, **options)[:2]):
        np.testing.assert_array_equal(found, expected)


@pytest.mark.parametrize("options", [{}, {"momentum": 0.9}, {"weight_decay": 0.1},
                                     {"momentum": 0.5, "weight_decay": 1}])
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_mask_of_all_steps_changes_no_bit_nor_does_the_dtype_change(case, options, dtype):
    w, x, y = case[0].astype(dtype), case[1].astype(dtype), case[2]
    for array in (w, x, y):
        array.flags.writeable = False      # nothing given is written to
    theta, losses, _ = local_sgd(gradient, w, x, y, lr=0.1, **options)
    masked, masked_losses, _ = local_sgd(gradient, w, x, y, lr=0.1, active=np.ones((K, E), bool), **options)
    assert theta.dtype == losses.dtype == dtype
    np.testing.assert_array_equal(theta, masked)
    np.testing.assert_array_equal(losses, masked_losses)


def test_momentum_begins_at_zero_in_every_call(case):
    w, x, y = case
    options = dict(lr=0.1, momentum=0.9)
    first, *_ = local_sgd(gradient, w, x[:1, :1], y[:1, :1], **options)
    second, *_ = local_sgd(gradient, first[0], x[:1, 1:2], y[:1, 1:2], **options)
    np.testing.assert_array_equal(second, local_sgd(gradient, w, x[:1, :2], y[:1, :2], lr=0.1)[0])
    assert np.abs(second - local_sgd(gradient, w, x[:1, :2], y[:1, :2], **options)[0]).max() > 1e-3


def test_weight_of_steps():
    np.testing.assert_array_equal(weight_of_steps([1, 2, 10], 0), [1, 2, 10])
    np.testing.assert_allclose(weight_of_steps([0, 1, 2, 3], 0.5), [0, 1, 2.5, 4.25], rtol=1e-14)


@pytest.mark.parametrize("momentum", [0.0, 0.5, 0.9, 0.99])
def test_weight_of_steps_is_how_far_a_constant_gradient_goes(momentum):
    steps = np.array([1, 2, 7])
    active = np.arange(7) < steps[:, None]
    theta, *_ = local_sgd(lambda theta, x, y: (np.zeros(3), np.ones((3, 2)), None), np.zeros(2), np.zeros((3, 7, 1)),
                         np.zeros((3, 7, 1), int), lr=0.1, active=active, momentum=momentum)
    np.testing.assert_allclose(theta[:, 0], -0.1 * weight_of_steps(steps, momentum), rtol=1e-12)


def rates(rounds=8, **options):
    settings = settings_for("cifar10", {"rounds": rounds, "lr": 0.4} | options)
    return [learning_rate(settings, t) for t in range(rounds)]


def test_a_constant_learning_rate():
    assert rates() == rates(lr_schedule="constant", lr_decay=0.5, lr_step_rounds=2) == [0.4] * 8


def test_cosine():
    found = rates(lr_schedule="cosine")
    half, quarter = 0.2, 0.2 * math.sqrt(0.5)
    assert found[0] == 0.4 and found[4] == pytest.approx(half, rel=1e-14)
    assert found[2] == pytest.approx(half + quarter, rel=1e-14) and found[6] == pytest.approx(half - quarter, rel=1e-14)
    assert found == sorted(found, reverse=True) and found[-1] > 0
    assert [a + b for a, b in zip(found[1:], found[:0:-1])] == pytest.approx([0.4] * 7, rel=1e-14)   # odd about round 4
    assert rates(1, lr_schedule="cosine") == [0.4]


def test_steps():
    assert rates(lr_schedule="step", lr_step_rounds=3, lr_decay=0.5) == [0.4, 0.4, 0.4, 0.2, 0.2, 0.2, 0.1, 0.1]
    assert rates(lr_schedule="step", lr_step_rounds=8) == [0.4] * 8
    assert rates(3, lr_schedule="step", lr_step_rounds=1) == pytest.approx([0.4, 0.04, 0.004], rel=1e-14)


@pytest.mark.parametrize("schedule", ["constant", "cosine", "step"])
def test_a_learning_rate_is_a_plain_number_for_the_record(schedule):
    assert {type(lr) for lr in rates(lr_schedule=schedule)} == {float}
