"""What each method's clients minimize: gradients against complex steps, and small cases by hand."""

import math
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))

from small_problem import CLASSES, network, problem, run, settings_of   # noqa: E402

from minifl.fl.algorithms import ALGORITHMS                                     # noqa: E402
from minifl.fl.algorithms.fedavg import Work                                    # noqa: E402
from minifl.models import CNN, MLP, Arrangement                                 # noqa: E402

H = 1e-30
COUNTS = np.array([[5, 0, 2, 1], [3, 3, 0, 0], [1, 4, 9, 2]], dtype=float)      # of K = 3 clients
N = 6                                                                           # examples of a batch
METHODS = {"fedavg": {}, "fedprox": {"mu": 0.7}, "scaffold": {}, "feddecorr": {"decorr_weight": 0.5},
           "fedlc": {"fedlc_tau": 1.3}, "fedrs": {"fedrs_alpha": 0.4}, "fedaws": {"hinge_margin": 0.9}}
CONVOLUTIONS = CNN(CLASSES, (16, 16, 1), channels=(2, 3), dense=(6,), arrangement=Arrangement("fn"))
NETWORKS = {"none": network("none"), "fn": network("fn"), "ln": network("ln"), "cnn": CONVOLUTIONS}


@cache
def situation(net):
    """Work of three clients, with controls, at theta (K, P), and a batch of each."""
    rng = np.random.default_rng(5)
    model = NETWORKS[net]
    k, p = len(COUNTS), model.spec.size
    y = np.array([rng.choice(np.flatnonzero(row), N) for row in COUNTS])
    x = rng.random((k, N, *model.image_shape))
    w = model.spec.init(1)
    work = Work(model=model, w=w, server={"control": rng.standard_normal(p)},
                own={"control": rng.standard_normal((k, p))}, counts=COUNTS, x=x[:, None], y=y[:, None],
                active=np.ones((k, 1), bool), steps=np.ones((k, 1)), lr=0.1)
    return work, w + 0.3 * rng.standard_normal((k, p)), x, y


def in_parameter_space(name, method, work, theta):
    """The terms of the objective that are not in the recorded loss."""
    if name == "fedprox":
        return method.mu / 2 * ((theta - work.w) ** 2).sum(axis=1)
    if name == "scaffold":
        return ((work.server["control"] - work.own["control"]) * theta).sum(axis=1)
    return 0


def test_all_methods_with_an_objective_of_their_own_are_here():
    plain = ALGORITHMS["fedavg"].gradient
    own = {name for name, method in ALGORITHMS.items() if method.gradient is not plain}
    assert set(METHODS) == own | {"fedavg"}


@pytest.mark.parametrize("net", NETWORKS)
@pytest.mark.parametrize("name", METHODS)
def test_gradient_is_that_of_the_objective(name, net):
    method = ALGORITHMS[name](**METHODS[name])
    work, theta, x, y = situation(net)
    loss, gradient, _ = method.gradient(work, theta, x, y)
    assert loss.shape == (len(theta),) and loss.dtype == float and gradient.shape == theta.shape
    rng = np.random.default_rng(7)
    for _ in range(4):
        direction = rng.standard_normal(theta.shape)
        moved = theta + 1j * H * direction
        value = method.gradient(work, moved, x, y)[0] + in_parameter_space(name, method, work, moved)
        slope = (gradient * direction).sum(axis=1)
        scale = np.linalg.norm(gradient, axis=1) + np.abs(slope)
        np.testing.assert_allclose((value.imag / H - slope) / scale, 0, rtol=0, atol=1e-12)
        assert np.abs(slope).min() > 1e-3


# --- by hand: a linear classifier of 3 classes and 2 features, weight (2, 3) -------------------------------

LINEAR = MLP(num_classes=3, image_shape=(2,), hidden=())


def loss_and_gradient(method, theta, x, y, counts=(1, 1, 1)):
    """Of one client that holds these counts and sees examples x (N, 2) with labels y."""
    theta, x, counts = (np.array([numbers], dtype=float) for numbers in (theta, x, counts))
    work = Work(model=LINEAR, w=np.zeros(6), server={}, own={}, counts=counts, x=None, y=None, active=None,
                steps=None, lr=None)
    loss, gradient, _ = method.gradient(work, theta, x, np.array([y]))
    return loss[0], gradient[0]


def one_example(method, logits, label, counts):
    """Loss, and gradient of the logits, of the single example (1, 0): its logits are the first row."""
    loss, gradient = loss_and_gradient(method, [*logits, 0, 0, 0], [(1, 0)], [label], counts)
    np.testing.assert_array_equal(gradient[3:], 0)
    return loss, gradient[:3]


def test_fedrs_by_hand():
    # class 2 is absent: softmax of (ln 2, 0, ln 5) = (2, 1, 5)/8, loss -log(2/8), d/dz_2 = 0.5 * 5/8
    logits = (math.log(2), 0, 2 * math.log(5))
    loss, d = one_example(ALGORITHMS["fedrs"](fedrs_alpha=0.5), logits, 0, (4, 1, 0))
    assert loss == pytest.approx(math.log(4), rel=1e-15)
    np.testing.assert_allclose(d, [-0.75, 0.125, 0.3125], rtol=1e-15)


def test_fedrs_with_all_scaled_to_0_leaves_only_the_own_class():
    # one class, alpha 0: softmax of (ln 2, 0, 0) = (2, 1, 1)/4; the absent rows are not pushed at all
    loss, d = one_example(ALGORITHMS["fedrs"](fedrs_alpha=0.0), (math.log(2), 7, -7), 0, (4, 0, 0))
    assert loss == pytest.approx(math.log(2), rel=1e-15)
    np.testing.assert_allclose(d, [-0.5, 0, 0], rtol=1e-15)


def test_fedlc_by_hand():
    # margins 2*16^(-1/4) = 1, 2*1 = 2, infinite: softmax of (1 + ln 3 - 1, 2 - 2) = (3, 1)/4
    loss, d = one_example(ALGORITHMS["fedlc"](fedlc_tau=2.0), (1 + math.log(3), 2, 50), 1, (16, 1, 0))
    assert loss == pytest.approx(math.log(4), rel=1e-14)
    np.testing.assert_allclose(d, [0.75, -0.75, 0], rtol=1e-14)


def test_fedlc_margins():
    margins = ALGORITHMS["fedlc"](fedlc_tau=0.5).margins(np.array([[1.0, 16, 0, 10000]]))
    np.testing.assert_allclose(margins, [[0.5, 0.25, math.inf, 0.05]], rtol=1e-15)


def test_fedaws_by_hand():
    # feature (3, 4), embedding of the label (2, 0): cosine 0.6, gap 0.9 - 0.6 = 0.3, loss 0.09
    # embedding: -2*0.3 ((0.6, 0.8) - 0.6 (1, 0))/2 = (0, -0.24); the other classes get nothing
    theta = [2, -5, 1,
             0, 9, 1]
    loss, gradient = loss_and_gradient(ALGORITHMS["fedaws"](), theta, [(3, 4)], [0])
    assert loss == pytest.approx(0.09, rel=1e-14)
    np.testing.assert_allclose(gradient, [0, 0, 0, -0.24, 0, 0], rtol=0, atol=1e-15)


def test_feddecorr_by_hand():
    # all logits are 0, so the cross-entropy is ln 3; eps 1e-8 is little beside variances of 1 and 4
    method = ALGORITHMS["feddecorr"](decorr_weight=0.5)
    same, crossed = [(1, 2), (-1, -2), (1, 2), (-1, -2)], [(1, 2), (-1, 2), (1, -2), (-1, -2)]
    for x, penalty in ((same, 4 / 4), (crossed, 2 / 4)):     # C is all ones; C is the unit matrix
        loss, _ = loss_and_gradient(method, [0] * 6, x, [0, 1, 2, 0])
        assert loss == pytest.approx(math.log(3) + 0.5 * penalty, abs=1e-7)


ONE_CLASS = [[7, 0, 0, 0], [0, 3, 0, 0], [0, 0, 5, 0], [0, 0, 0, 4]]


def test_fedlc_learns_nothing_from_one_class_per_client():
    """The paper's Table 1 has chance for it: loss and gradient are exactly 0, so w keeps every bit."""
    model = network()
    w = model.spec.init(3)
    for state, record in run(settings_of("fedlc", momentum=0.9), model, *problem(ONE_CLASS)):
        assert record["train_loss"] == 0.0
        assert state.w.tobytes() == w.tobytes()
    work, theta, x, _ = situation("ln")
    one = work._replace(counts=np.diag([3.0, 8, 1, 0])[:3])
    loss, gradient, _ = ALGORITHMS["fedlc"]().gradient(one, theta, x, np.tile(np.arange(3)[:, None], N))
    assert not loss.any() and not gradient.any()


def test_fedrs_pushes_absent_rows_less_but_learns_from_one_class():
    """FedRS is no FedLC: its gradient there is not 0."""
    model = network()
    final = run(settings_of("fedrs"), model, *problem(ONE_CLASS))[-1][0].w
    assert np.abs(final - model.spec.init(3)).max() > 0.01
