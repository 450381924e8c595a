"""The federated loop against an independent one, by hand, and who takes part."""

from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import pytest

from looping import NONE, UNEQUAL, partition_of, run, settings

from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.batches import local_batches
from minifl.fl.client import local_work
from minifl.fl.local import local_sgd
from minifl.fl.rounds import federated_rounds, start
from minifl.models import loss_and_grad


def plain_fedavg(model, w, data, clients, *, rounds, steps, batch_size, lr, seed):
    """McMahan et al., Algorithm 1, a client and a step at a time; yields (w, mean losses of the clients).

    steps is a number for each client, lr one for each round
    """
    total = sum(len(examples) for examples in clients)
    for t in range(rounds):
        average, losses = np.zeros_like(w), []
        for k, examples in enumerate(clients):
            x, y = local_batches(data.x_train, data.y_train, examples, seed, t, k, steps=steps[k],
                                 batch_size=batch_size, augment="crop-flip", dtype=w.dtype.type)
            theta, sum_of_losses = w.copy(), 0.0
            for e in range(steps[k]):
                loss, gradient, _ = loss_and_grad(model, theta[None], x[e][None], y[e][None])
                theta = theta - lr[t] * gradient[0]
                sum_of_losses += loss[0]
            average += len(examples) / total * theta
            losses.append(sum_of_losses / steps[k])
        w = average
        yield w, losses


@pytest.mark.parametrize("options, steps, lr", [
    ({}, [3] * 5, [0.1] * 20),
    ({"local_epochs": 2, "clients_per_call": 5}, [1, 9, 2, 5, 2], [0.1] * 20),
    ({"lr_schedule": "step", "lr_step_rounds": 8, "lr_decay": 0.5}, [3] * 5, [0.1] * 8 + [0.05] * 8 + [0.025] * 4),
], ids=["steps", "epochs", "schedule"])
def test_agrees_with_a_plain_implementation_over_20_rounds(model, w, data, partition, options, steps, lr):
    ours = run(model, w, data, partition, rounds=20, **options)
    plain = list(plain_fedavg(model, w, data, partition.train, rounds=20, steps=steps, batch_size=4, lr=lr,
                              seed=11))
    assert np.abs(ours[-1][0].w - w).max() > 0.1      # it went somewhere
    for (state, record), (plain_w, losses), rate in zip(ours, plain, lr, strict=True):
        assert record.get("lr", 0.1) == rate
        np.testing.assert_allclose(state.w, plain_w, rtol=0, atol=1e-10)
        expected = sum(n * loss for n, loss in zip(UNEQUAL, losses)) / sum(UNEQUAL)
        assert record["train_loss"] == pytest.approx(expected, rel=1e-10)


# For each number of clients: norms and methods change what is computed of a client, networks how.


def test_one_client_is_plain_sgd(model, w, data):
    examples = np.arange(60)
    ours = run(model, w, data, partition_of(data, [examples], [np.arange(23)]), augment="none")[-1][0].w
    for t in range(6):
        x, y = local_batches(data.x_train, data.y_train, examples, 11, t, 0, steps=3, batch_size=4,
                             augment="none", dtype=float)
        for e in range(3):
            w = w - 0.1 * loss_and_grad(model, w[None], x[e][None], y[e][None])[1][0]
    np.testing.assert_allclose(ours, w, rtol=0, atol=1e-12)


def test_one_local_step_of_equal_clients_is_one_step_on_the_union(model, w, data):
    clients = np.arange(60).reshape(5, 12)
    ours = run(model, w, data, partition_of(data, clients, [np.arange(23)] * 5), rounds=1, local_steps=1)[-1][0].w
    batches = [local_batches(data.x_train, data.y_train, part, 11, 0, k, steps=1, batch_size=4, augment="crop-flip",
                             dtype=float) for k, part in enumerate(clients)]
    x, y = (np.concatenate([batch[i][0] for batch in batches])[None] for i in (0, 1))
    assert x.shape[:2] == (1, 20)
    central = w - 0.1 * loss_and_grad(model, w[None], x, y)[1][0]
    np.testing.assert_allclose(ours, central, rtol=0, atol=1e-12)


def test_the_order_of_the_clients_changes_rounding_only(model, w, data, partition):
    """Local work in another order than the server adds it up; clients draw by their number, so they keep that."""
    chosen, order = settings(rounds=1), [3, 0, 4, 2, 1]
    state = start(chosen.method(), w)
    theta, _, message, kept, losses = local_work(chosen, model, chosen.method(), data, partition, state, order)
    assert theta.shape == message["update"].shape == (5, model.spec.size) and losses.shape == (5,) and kept == {}
    weights = np.array(UNEQUAL)[order] / sum(UNEQUAL)
    (after, record), = run(model, w, data, partition, rounds=1)
    np.testing.assert_allclose(w + weights @ (theta - w), after.w, rtol=0, atol=1e-12)
    assert record["train_loss"] == pytest.approx(weights @ losses, rel=1e-12)


def test_fedavgs_message_and_server_by_hand():
    w, theta = np.array([1.0, 2.0]), np.array([[3.0, 2.0], [1.0, -2.0]])
    method = FedAvg()
    message, kept = method.message(SimpleNamespace(w=w), theta)
    np.testing.assert_array_equal(message["update"], [[2, 0], [0, -4]])
    mean = {"update": 0.75 * message["update"][0] + 0.25 * message["update"][1]}
    np.testing.assert_array_equal(method.server(None, w, mean, {}, 1.0)[0], [2.5, 1.0])
    assert kept == method.server_state(w) == {}


def test_clients_without_examples_are_left_out_and_the_others_keep_their_numbers(model, w, data, partition):
    train, test = partition.train, partition.test
    with_empty = partition_of(data, [*train[:2], NONE, *train[2:], NONE], [*test[:2], NONE, *test[2:], NONE])
    ours = run(model, w, data, with_empty, rounds=3)
    clients = [(k, part) for k, part in enumerate(with_empty.train) if len(part)]
    for t in range(3):
        after = np.zeros_like(w)
        for k, part in clients:
            x, y = local_batches(data.x_train, data.y_train, part, 11, t, k, steps=3, batch_size=4,
                                 augment="crop-flip", dtype=float)
            theta, *_ = local_sgd(lambda *batch: loss_and_grad(model, *batch), w, x[None], y[None], lr=0.1)
            after += len(part) / sum(UNEQUAL) * theta[0]
        w = after
        np.testing.assert_allclose(ours[t][0].w, w, rtol=0, atol=1e-12)
        assert ours[t][1]["clients"] == 5 and "sampled" not in ours[t][1]
    assert len(ours[-1][1]["local_accuracy"]) == 5
    sampled = [record["sampled"] for _, record in run(model, w, data, with_empty, clients_per_round=4, rounds=40)]
    assert {k for chosen in sampled for k in chosen} == {0, 1, 3, 4, 5}      # never 2 or 6


@dataclass(frozen=True)
class Contrary(FedAvg):
    """A method whose server moves without any message, and keeps state: what happens if it is asked must show."""
    kept = ("count",)

    def server_state(self, w):
        return {"moves": np.zeros_like(w)}

    def message(self, work, theta):
        return {"update": theta - work.w}, {"count": work.own["count"] + 1}

    def server(self, model, w, mean, state, share):
        return w + 1, {"moves": state["moves"] + share}


def test_a_round_without_answers_leaves_everything_as_it_was(model, w, data, partition):
    chosen = settings(rounds=12, clients_per_round=2, dropout_rate=0.5, eval_every=1, local_eval_every=1)
    state, alone, answered = start(Contrary(), w), 0, dict.fromkeys(range(5), 0)
    for after, record in federated_rounds(chosen, model, Contrary(), state, data, partition):
        answers = sorted(set(record["sampled"]) - set(record["failed"]))
        assert record["clients"] == len(answers) and len(record["sampled"]) == 2
        assert len(record["local_accuracy"]) == len(record["local_own_accuracy"]) == len(answers)
        if answers:
            np.testing.assert_array_equal(after.w, state.w + 1)
            held = sum(UNEQUAL[k] for k in answers) / sum(UNEQUAL)
            np.testing.assert_allclose(after.server["moves"] - state.server["moves"], held, rtol=1e-12)
        else:
            alone += 1
            assert record["train_loss"] is None and record["failed"] == record["sampled"]
            assert after == state._replace(round=state.round + 1)
            assert after.w is state.w and after.server is state.server and after.own is state.own
        for k in answers:
            answered[k] += 1
        assert {k: kept["count"][0] for k, kept in after.own.items()} == {k: n for k, n in answered.items() if n}
        assert "accuracy" in record and after.round == record["round"] == state.round + 1
        state = after
    assert 0 < alone < 12 and len(state.own) > 0 and max(answered.values()) > 1


def test_nobody_ever_answers(model, w, data, partition):
    for method in ("fedavg", "scaffold", "fedyogi"):
        results = run(model, w, data, partition, rounds=2, dropout_rate=1, algorithm=method)
        for state, record in results:
            np.testing.assert_array_equal(state.w, w)
            assert record["failed"] == [0, 1, 2, 3, 4] and record["clients"] == 0 and state.own == {}
        np.testing.assert_array_equal(results[-1][0].server.get("control", 0), 0)
        np.testing.assert_array_equal(results[-1][0].server.get("v", 1e-6), 1e-6)


def test_only_clients_that_took_part_have_a_state(model, w, data, partition):
    seen = set()
    for state, record in run(model, w, data, partition, algorithm="scaffold", clients_per_round=1, rounds=5):
        seen |= set(record["sampled"])
        assert state.own.keys() == seen
        assert all(kept["control"].base is None for kept in state.own.values())   # holds no other client's alive
    assert 1 < len(seen) < 5
