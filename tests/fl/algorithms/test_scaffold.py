"""SCAFFOLD where other libraries are wrong: its controls carry the weights of the average."""

from unittest import mock

import numpy as np
import pytest

from by_hand import FIRST, SECOND, a_round, begin, close
from convex import QUADRATIC, SIZES, convex_settings
from declared_values import POSITIVE
from plain import Plain, average, cross_entropy, weighted_mean
from small_problem import PARTIAL, network, problem, run, settings_of

from minifl.fl.algorithms.scaffold import Scaffold
from minifl.fl.client import local_work
from minifl.fl.local import local_sgd
from minifl.fl.rounds import State, federated_rounds
from minifl.models import loss_and_grad

DECLARED = {"scaffold_option": ("II", (("I", "II"), ("", "III", 1))), "server_lr": (1.0, POSITIVE)}
HARD, FIRST_OPTION = {"server_lr": 0.8}, {"scaffold_option": "I"}
TRAJECTORIES = {"I": ("easy", FIRST_OPTION, "none"), "hard, I": ("hard", FIRST_OPTION, "fn"),
                "alike, I": ("alike", FIRST_OPTION, "fn"), "clipped": ("clipped", HARD, "fn")}
ONE_STEP = SGD = [{}, FIRST_OPTION]


class Oracle(Plain):

    def first_state(self, settings, size):
        return {"control": np.zeros(size)}

    def correction(self, settings, theta, w, state, own):
        return state["control"] - own.get("control", 0)

    def kept(self, settings, model, w, answer, state, own):
        if settings.scaffold_option == "I":
            return {"control": sum(cross_entropy(settings, model, w, x, y)[1] for x, y in answer.batches) / len(answer.batches)}
        return {"control": weighted_mean(answer.gradients, settings.momentum)}

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        control = state["control"]
        for answer in answers:
            before = own.get(answer.client, {}).get("control", 0)
            control = control + answer.weight / total * (new[answer.client]["control"] - before)
        return w + settings.server_lr * (average(answers) - w), {"control": control}


def TERM(method, work, theta):
    return ((work.server["control"] - work.own["control"]) * theta).sum(axis=1)


PARTICIPATION = {
    "full": {},
    "partial": {"clients_per_round": 2},
    "dropouts": {"dropout_rate": 0.4, "local_epochs": 1},
    "partial and dropouts": {"clients_per_round": 3, "dropout_rate": 0.3, "local_epochs": 1, "momentum": 0.5,
                             "weight_decay": 0.01, "server_lr": 0.7, "lr_schedule": "cosine"},
}


@pytest.mark.parametrize("option", ["II", "I"])
@pytest.mark.parametrize("participation", PARTICIPATION)
def test_the_servers_control_is_the_weighted_sum_of_the_clients(participation, option):
    data, partition = problem()
    n = np.array([len(part) for part in partition.train])
    size, clients, seen = network().spec.size, len(n), set()
    settings = settings_of("scaffold", rounds=12, scaffold_option=option, **PARTICIPATION[participation])
    for state, record in run(settings, network(), data, partition):
        controls = [state.own[k]["control"] if k in state.own else np.zeros(size) for k in range(clients)]
        weighted = sum(clients * n[k] / n.sum() * controls[k] for k in range(clients))
        np.testing.assert_allclose(clients * state.server["control"], weighted, rtol=0, atol=1e-12)
        seen |= set(record.get("sampled", range(clients))) - set(record.get("failed", ()))
        assert set(state.own) == seen      # clients that never took part cost nothing
    assert np.abs(state.server["control"]).max() > 0.005
    assert np.abs(clients * state.server["control"] - sum(controls)).max() > 0.01    # unequal clients


@pytest.mark.parametrize("participation", PARTICIPATION)
def test_with_equal_clients_the_controls_sum_to_n_times_the_servers(participation):
    counts = [[6, 0, 0, 0], [0, 6, 0, 0], [2, 0, 2, 2], [1, 1, 2, 2]]
    settings = settings_of("scaffold", rounds=12, **PARTICIPATION[participation])
    for state, _ in run(settings, network(), *problem(counts)):
        total = sum((kept["control"] for kept in state.own.values()), np.zeros(network().spec.size))
        np.testing.assert_allclose(total, 4 * state.server["control"], rtol=0, atol=1e-12)
    assert np.abs(total).max() > 0.1


@pytest.mark.parametrize("option", ["II", "I"])
@pytest.mark.parametrize("momentum, weight_decay", [(0, 0), (0.6, 0), (0.6, 0.05)])
def test_a_clients_new_control(option, momentum, weight_decay):
    """Option II is the paper's formula and the mean gradient on the way; option I the mean gradient at w."""
    model, (data, partition) = network(), problem()
    settings = settings_of("scaffold", rounds=3, scaffold_option=option, momentum=momentum,
                           weight_decay=weight_decay, local_epochs=1)
    state = run(settings, model, data, partition)[-1][0]
    theta, _, message, kept, _ = local_work(settings, model, settings.method(), data, partition, state, range(5))
    w, c = state.w, state.server["control"]
    for k, steps in enumerate([5, 1, 3, 2, 2]):
        old, new = state.own[k]["control"], kept["control"][k]
        at_w, along = gradients(settings, model, data, partition, state, k, steps)
        if option == "I":
            np.testing.assert_allclose(new, sum(at_w) / steps, rtol=0, atol=1e-12)
        else:
            np.testing.assert_allclose(new, weighted_mean(along, momentum), rtol=0, atol=1e-12)
            if not momentum:
                np.testing.assert_allclose(new, old - c + (w - theta[k]) / (steps * 0.1), rtol=0, atol=1e-12)
        np.testing.assert_array_equal(message["control"][k], new - old)
        assert np.abs(new - old).max() > 1e-3


def gradients(settings, model, data, partition, state, k, steps):
    """Of client k's batches: the gradients at w, and those along its way, with weight decay."""
    seen = []

    def spy(gradient, w, x, y, **options):
        def recorded(theta, x, y):
            seen.append((theta[0].copy(), x, y))
            return gradient(theta, x, y)
        return local_sgd(recorded, w, x, y, **options)

    with mock.patch("minifl.fl.client.local_sgd", spy):
        local_work(settings, model, settings.method(), data, partition, state, [k])
    assert len(seen) == steps
    at_w = [loss_and_grad(model, state.w[None], x, y)[1][0] for _, x, y in seen]
    along = [loss_and_grad(model, theta[None], x, y)[1][0] + settings.weight_decay * theta
             for theta, x, y in seen]
    return at_w, along


def test_by_hand():
    """2 steps of lr 0.5, so that E lr = 1; a third client with the other 4 of 8 examples does not answer."""
    method = Scaffold()
    one = a_round(method, begin(method), FIRST, total=8, steps=(2, 2), lr=0.5)
    close(one.w, [3, 1])
    close(one.own["control"], [(-2, 0), (-2, 4)])          # 0 - 0 - update/1
    close(one.state["control"], [-1, 0.5])                 # 0 + 3/8 (-2, 0) + 1/8 (-2, 4)
    two = a_round(method, one, SECOND, total=8, steps=(2, 2), lr=0.5)
    close(two.w, [4, 3])
    close(two.own["control"], [(-1, -2.5),                 # (-2, 0) - (-1, 0.5) - (0, 2)
                               (-5, 1.5)])                 # (-2, 4) - (-1, 0.5) - (4, 2)
    # changes (-1, -2.5) - (-2, 0) = (1, -2.5) and (-5, 1.5) - (-2, 4) = (-3, -2.5);
    # c = (-1, 0.5) + 3/8 (1, -2.5) + 1/8 (-3, -2.5) = (-1, 0.5) + (0, -1.25)
    close(two.state["control"], [-1, -0.75])
    close(np.array([3, 1]) / 8 @ two.own["control"], [-1, -0.75])    # the third control is 0


def test_by_hand_with_unequal_steps_and_server_lr():
    method = Scaffold(server_lr=0.5)
    one = a_round(method, begin(method), FIRST, steps=(2, 4), lr=0.5)
    close(one.w, [2, 1.5])                                 # (1, 2) + 0.5 (2, -1): server_lr moves w only
    close(one.own["control"], [(-2, 0), (-1, 2)])          # -(2, 0)/(2*0.5),  -(2, -4)/(4*0.5)
    close(one.state["control"], [-1.75, 0.5])              # 3/4 (-2, 0) + 1/4 (-1, 2)


def test_with_uniform_weights_the_controls_are_the_algorithms_own():
    """Karimireddy et al., Algorithm 1, line 17: c is the plain mean of all N controls, whoever took part, sizes unequal."""
    settings = settings_of("scaffold", client_weights="uniform", **PARTIAL)
    for state, _ in run(settings, network(), *problem()):
        total = sum(kept["control"] for kept in state.own.values())
        np.testing.assert_allclose(total / 5, state.server["control"], rtol=0, atol=1e-13)
    assert np.abs(state.server["control"]).max() > 1e-3


# --- on a convex problem (convex.py) ----------------------------------------------------------------------

@pytest.mark.parametrize("options", [{}, {"scaffold_option": "I"}, {"momentum": 0.5}])
def test_with_exact_controls_the_minimum_is_a_fixed_point(convex, options):
    settings = convex_settings("scaffold", **options)
    own = {k: {"control": slope} for k, slope in enumerate(convex.slopes)}

    def way(control):
        """How far the clients go from the minimum with controls grad F_k and the server's c."""
        state = State(0, convex.minimum, {"control": control}, own)
        theta, *_ = local_work(settings, QUADRATIC, settings.method(), *convex.problem, state, range(3))
        return np.abs(theta - convex.minimum).max()

    weighted = np.array(SIZES) @ convex.slopes / sum(SIZES)
    assert way(weighted) < 1e-14                     # c = sum_k (n_k/n) c_k = 0: nobody moves
    assert way(convex.slopes.mean(axis=0)) > 0.05    # c = sum_k c_k/N, as is often done: off they go


@pytest.mark.parametrize("options", [{}, {"scaffold_option": "I"}, {"momentum": 0.5},
                                     {"clients_per_round": 2, "dropout_rate": 0.2}])
def test_goes_to_the_minimum_of_the_weighted_objective_where_fedavg_does_not(convex, options):
    def end(algorithm, **own):
        settings = convex_settings(algorithm, rounds=60, **own)
        return run(settings, QUADRATIC, *convex.problem, w=np.zeros(3))[-1][0]

    final = end("scaffold", **options)
    np.testing.assert_allclose(final.w, convex.minimum, rtol=0, atol=1e-8)
    np.testing.assert_allclose([final.own[k]["control"] for k in range(3)], convex.slopes, rtol=0, atol=1e-7)
    np.testing.assert_allclose(final.server["control"], 0, rtol=0, atol=1e-7)
    assert np.abs(end("fedavg").w - convex.minimum).max() > 0.005


def test_controls_of_equal_weight_beside_models_weighted_by_samples_go_elsewhere(convex):
    """What the weights are for: with 1/N for the controls it is sum_k F_k/N that gets minimized."""
    class Unweighted(Scaffold):
        def message(self, work, theta):
            message, own = super().message(work, theta)
            examples = work.counts.sum(axis=1, keepdims=True)
            return message | {"control": message["control"] * sum(SIZES) / (3 * examples)}, own

    method, state = Unweighted(), State(0, np.zeros(3), {"control": np.zeros(3)}, {})
    settings = convex_settings("scaffold", rounds=60)
    final = list(federated_rounds(settings, QUADRATIC, method, state, *convex.problem, workers=0))[-1][0]
    total = sum(kept["control"] for kept in final.own.values())
    np.testing.assert_allclose(total, 3 * final.server["control"], rtol=0, atol=1e-12)    # and does not help
    np.testing.assert_allclose(final.w, convex.unweighted, rtol=0, atol=1e-8)
    assert np.abs(final.w - convex.minimum).max() > 0.05
