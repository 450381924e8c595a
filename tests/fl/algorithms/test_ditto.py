"""Ditto: the server's model is FedAvg's; lambda 0 is training alone; the clients' own models are what local tests test."""

import numpy as np
import pytest

from declared_values import NOT_NEGATIVE
from plain import Plain, clipped, cross_entropy
from small_problem import MOMENTUM, PARTIAL, batch, final, network, problem, run, settings_of

from minifl.fl import statistics
from minifl.fl.algorithms.ditto import Ditto
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.evaluate import predict
from minifl.models import loss_and_grad

DECLARED = {"ditto_lambda": (0.1, NOT_NEGATIVE)}
HARD = {"ditto_lambda": 0.5}
ONE_STEP = [{}]
SGD = [{}]
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}
IS_FEDAVG = ("easy", "hard", "alike", "clipped")     # what the server has


class Oracle(Plain):

    def kept(self, settings, model, w, answer, state, own):
        v = own.get("personal", w)
        velocity = 0 * v
        for x, y in answer.batches:
            gradient = cross_entropy(settings, model, v, x, y)[1] + settings.ditto_lambda * (v - w)
            velocity = settings.momentum * velocity + clipped(settings, gradient) + settings.weight_decay * v
            v = v - answer.lr * velocity
        return {"personal": v, "personal_statistics": np.zeros(0)}


@pytest.mark.parametrize("options", [{}, MOMENTUM, PARTIAL, {"norm": "bn"}, {"label_smoothing": 0.1, "clip_norm": 0.5}],
                         ids=["plain", "momentum", "partial", "bn", "options"])
@pytest.mark.parametrize("lambda_", [0, 3.0])
def test_the_servers_model_is_fedavgs_to_the_bit_whatever_lambda_is(lambda_, options):
    assert final("ditto", ditto_lambda=lambda_, **options).tobytes() == final("fedavg", **options).tobytes()


def test_lambda_0_is_training_alone():
    data, partition = problem()
    model, settings = network(), settings_of("ditto", ditto_lambda=0)
    state = run(settings, model, data, partition)[-1][0]
    for k in range(5):
        v = model.spec.init(3)
        for t in range(settings.rounds):
            x, y = batch(settings, data, partition, t, k)
            for e in range(settings.local_steps):
                v = v - 0.1 * loss_and_grad(model, v[None], x[e][None], y[e][None])[1][0]
        np.testing.assert_allclose(state.own[k]["personal"], v, rtol=0, atol=1e-12)


def test_a_large_lambda_holds_the_own_model_at_the_servers():
    """lr lambda = 1: a step leads from v to w - lr grad F(v), whatever v was."""
    near, far = (run(settings_of("ditto", ditto_lambda=lambda_), network(), *problem()) for lambda_ in (10.0, 0.0))
    (before, _), (after, _) = near[-2:]
    for k in range(5):
        held = np.abs(after.own[k]["personal"] - before.w).max()
        assert held < 0.5 * np.abs(far[-1][0].own[k]["personal"] - before.w).max()


def test_two_steps_by_hand():
    """F(v) = (v - 4)^2/2, w = 0, lambda 1, lr 1/2, from v = 2: the gradient is -2 + 2 = 0; from v = 0 it is -4: to 2, to 2."""
    def descend(gradient, begin, running):
        v = begin
        for _ in range(2):
            v = v - 0.5 * gradient(v, None, None)[1]
        return v, None, running

    class Parabola(Ditto):
        def gradient(self, work, theta, x, y):
            return None, theta - 4, None

    own = {"personal": np.array([[2.0], [0.0]]), "personal_statistics": np.zeros((2, 0))}
    work = Work(None, np.zeros((2, 1)), {}, own, None, None, None, None, None, 0.5, descend=descend)
    assert Parabola(ditto_lambda=1.0).keep(work, None)["personal"].tolist() == [[2.0], [2.0]]


@pytest.mark.parametrize("norm, options", [("ln", {}), ("bn", {}), ("bn", {"bn_stats": "local"}), ("bn", {"bn_stats": "batch"})])
def test_the_local_evaluation_tests_the_own_models_and_the_global_one_the_servers(norm, options):
    data, partition = problem()
    model = network(norm)
    common = {"norm": norm, "rounds": 3, "local_eval_every": 1, "eval_every": 1, "clients_per_round": 3, **options}
    settings = settings_of("ditto", **common)
    ditto, fedavg = run(settings, model, data, partition), run(settings_of("fedavg", **common), model, data, partition)
    differ = False
    for (state, record), (_, line) in zip(ditto, fedavg, strict=True):
        for i, k in enumerate(record["sampled"]):
            own = state.own[k]
            p = statistics.tested(settings, model, own["personal"][None], own["personal_statistics"][None])
            right = predict(model, p, data.x_test, data.y_test)[0] == data.y_test
            assert record["local_accuracy"][i] == right.mean()
            assert record["local_own_accuracy"][i] == right[partition.test[k]].mean()
        differ |= record["local_accuracy"] != line["local_accuracy"]
        assert record["accuracy"] == line["accuracy"] and record["client_accuracy"] == line["client_accuracy"]
    assert differ


def test_own_models_have_batch_norms_of_their_own():
    """Gains, biases and statistics of v_k go on from those of v_k, not from the server's."""
    settings = settings_of("ditto", norm="bn", ditto_lambda=0.0)
    state = run(settings, network("bn"), *problem())[-1][0]
    others = [state.own[k] for k in range(5)]
    assert all(np.abs(own["personal_statistics"] - state.statistics).max() > 1e-3 for own in others)
    assert FedAvg().own_model(1, 2, {}) == (1, 2)
