"""FedDyn: its fixed points are the minima of the weighted objective; with one step it is optimistic gradient descent."""

import numpy as np
import pytest

from by_hand import FIRST, SECOND, a_round, begin, close
from convex import QUADRATIC, SIZES, convex_settings
from declared_values import POSITIVE
from plain import Plain, average
from small_problem import network, problem, run, settings_of

from minifl.fl.algorithms.feddyn import FedDyn
from minifl.fl.rounds import State, federated_rounds

DECLARED = {"feddyn_alpha": (0.01, POSITIVE)}
HARD = {"feddyn_alpha": 0.4}


class Oracle(Plain):
    """Acar et al., Algorithm 1: h, of which the server here keeps -h/alpha."""

    def first_state(self, settings, size):
        return {"sum": np.zeros(size)}

    def correction(self, settings, theta, w, state, own):
        return settings.feddyn_alpha * (theta - w) - own.get("linear", 0)

    def kept(self, settings, model, w, answer, state, own):
        return {"linear": own.get("linear", 0) - settings.feddyn_alpha * (answer.theta - w)}

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        alpha = settings.feddyn_alpha
        h = -alpha * state["sum"]
        for answer in answers:
            h = h - alpha * answer.weight / total * (answer.theta - w)
        return average(answers) - h / alpha, {"sum": -h / alpha}


def TERM(method, work, theta):
    near = method.feddyn_alpha / 2 * ((theta - work.w) ** 2).sum(axis=1)
    return near - (work.own["linear"] * theta).sum(axis=1)


def test_by_hand():
    """A third client with the other 4 of 8 examples does not answer."""
    method = FedDyn(feddyn_alpha=0.5)
    one = a_round(method, begin(method), FIRST, total=8)
    close(one.own["linear"], [(-1, 0), (-1, 2)])           # 0 - 0.5 (2, 0),  0 - 0.5 (2, -4)
    close(one.state["sum"], [1, -0.5])                     # half of (2, -1)
    close(one.w, [4, 0.5])                                 # (1, 2) + (2, -1) + (1, -0.5)
    two = a_round(method, one, SECOND, total=8)
    close(two.own["linear"], [(-1, -1), (-3, 1)])          # (-1, 0) - 0.5 (0, 2),  (-1, 2) - 0.5 (4, 2)
    close(two.state["sum"], [1.5, 0.5])                    # (1, -0.5) + half of (1, 2)
    close(two.w, [6.5, 3])                                 # (4, 0.5) + (1, 2) + (1.5, 0.5)
    close(-0.5 * two.state["sum"], np.array([3, 1]) / 8 @ two.own["linear"])     # h = sum_k (n_k/n) g_k, the third is 0


@pytest.mark.parametrize("options", [{}, {"clients_per_round": 2}, {"clients_per_round": 3, "dropout_rate": 0.3,
                                                                    "local_epochs": 1, "client_weights": "uniform"}])
def test_h_is_the_weighted_sum_of_what_the_clients_keep(options):
    data, partition = problem()
    settings = settings_of("feddyn", feddyn_alpha=0.3, rounds=8, **options)
    n = np.array([1 if settings.client_weights == "uniform" else len(part) for part in partition.train])
    for state, _ in run(settings, network(), data, partition):
        kept = sum(n[k] / n.sum() * own["linear"] for k, own in state.own.items())
        np.testing.assert_allclose(-0.3 * state.server["sum"], kept, rtol=0, atol=1e-12)
    assert np.abs(kept).max() > 1e-3


def test_a_fixed_point_is_a_minimum_of_the_weighted_objective(convex):
    """At the minimum with g_k = grad F_k nobody moves; with those of equal weight, whose sum is not 0, the server does."""
    settings = convex_settings("feddyn", feddyn_alpha=0.5)

    def moved(w):
        slopes = convex.slopes_at(w)
        h = np.array(SIZES) @ slopes / sum(SIZES)
        state = State(0, w, {"sum": -h / 0.5}, {k: {"linear": slope} for k, slope in enumerate(slopes)})
        after, _ = next(iter(federated_rounds(settings, QUADRATIC, settings.method(), state, *convex.problem, workers=0)))
        return np.abs(after.w - w).max()

    assert moved(convex.minimum) < 1e-14
    assert moved(convex.unweighted) > 0.05


@pytest.mark.parametrize("options", [{}, {"momentum": 0.5}, {"clients_per_round": 2, "dropout_rate": 0.2}])
def test_goes_to_the_minimum_of_the_weighted_objective_where_fedavg_does_not(convex, options):
    settings = convex_settings("feddyn", feddyn_alpha=1.0, rounds=150, **options)
    end = run(settings, QUADRATIC, *convex.problem, w=np.zeros(3))[-1][0]
    np.testing.assert_allclose(end.w, convex.minimum, rtol=0, atol=1e-8)
    np.testing.assert_allclose([end.own[k]["linear"] for k in range(3)], convex.slopes_at(convex.minimum), rtol=0, atol=1e-7)
    np.testing.assert_allclose(end.server["sum"], 0, rtol=0, atol=1e-7)


def test_with_one_step_and_alpha_1_over_lr_it_is_optimistic_gradient_descent(convex):
    """w' = w - lr (2 grad F(w) - grad F(w before)): then g_k is grad F_k where the round began, and h their mean."""
    settings = convex_settings("feddyn", local_steps=1, feddyn_alpha=1 / 0.2, rounds=10)
    w, before = np.zeros(3), 0
    for state, _ in run(settings, QUADRATIC, *convex.problem, w=np.zeros(3)):
        slope = np.array(SIZES) @ convex.slopes_at(w) / sum(SIZES)
        w, before = w - 0.2 * (2 * slope - before), slope
        np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-12)
