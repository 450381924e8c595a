"""How rounds end: a client or the server diverges, the caller stops them, there are none left."""

import itertools

import numpy as np
import pytest

from looping import NONE, partition_of, rounds, run, settings

from minifl.fl import client as client_module
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.batches import local_batches
from minifl.fl.client import Diverged
from minifl.fl.local import local_sgd
from minifl.fl.rounds import federated_rounds, start


def break_client(monkeypatch, broken, round_, how):
    """Client number `broken` gets what `how` makes of (theta, losses) in a 1-based round."""
    calls = []

    def batches(images, labels, examples, seed, t, client, **options):
        calls.append((t + 1, client))
        return local_batches(images, labels, examples, seed, t, client, **options)

    def local(*arguments, **options):
        theta, losses, running = local_sgd(*arguments, **options)
        return *(how(theta, losses) if calls[-1] == (round_, broken) else (theta, losses)), running

    monkeypatch.setattr(client_module, "local_batches", batches)
    monkeypatch.setattr(client_module, "local_sgd", local)


def _loss_at_step_2(value):
    def how(theta, losses):
        losses[-1, 1:] = value
        return theta, losses
    return how


def _one_parameter(theta, losses):
    theta[-1, 5] = np.inf
    return theta, losses


@pytest.mark.parametrize("clients_per_call", [1, 2, 4])    # with clients 0, 1, 3, 4: the last of its call
@pytest.mark.parametrize("how, text", [
    (_loss_at_step_2(np.nan), "loss of client 4 is nan at local step 2 of round 3"),
    (_loss_at_step_2(np.inf), "loss of client 4 is inf at local step 2 of round 3"),
    (_one_parameter, "parameters of client 4 are not finite after local step 3 of round 3"),
])
def test_a_client_that_diverges_is_named_and_the_server_keeps_w(model, w, data, partition, monkeypatch, how, text,
                                                                clients_per_call):
    train = [*partition.train[:2], NONE, *partition.train[2:4]]    # client 2 takes no part
    partition = partition_of(data, train, partition.test)
    good = run(model, w, data, partition, rounds=2)
    break_client(monkeypatch, 4, 3, how)
    reached, chosen = [], settings()
    with pytest.raises(Diverged, match=text):
        for result in federated_rounds(chosen, model, chosen.method(), start(chosen.method(), w), data, partition,
                                       clients_per_call=clients_per_call):
            reached.append(result)
    assert [record["round"] for _, record in reached] == [1, 2]
    np.testing.assert_array_equal(reached[-1][0].w, good[-1][0].w)
    assert np.isfinite(reached[-1][0].w).all()


def test_the_step_after_which_parameters_are_not_finite_is_the_clients_own_last(model, w, data, partition,
                                                                                monkeypatch):
    break_client(monkeypatch, 4, 1, _one_parameter)
    with pytest.raises(Diverged, match="client 4 are not finite after local step 2 of round 1"):
        run(model, w, data, partition, local_epochs=2, clients_per_call=5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("clients_per_call", [1, 5])
def test_a_much_too_large_learning_rate_diverges_without_warnings(model, w, data, partition, clients_per_call):
    with pytest.raises(Diverged, match="client 0 .* of round 1; a smaller --lr may help"):
        run(model, w.astype(np.float32), data, partition, lr=1e38, workers=2, clients_per_call=clients_per_call)


@pytest.mark.filterwarnings("error")
def test_a_server_that_diverges_ends_the_rounds(model, w, data, partition):
    chosen, reached = settings(algorithm="fedavgm", server_lr=1e38, lr=100), []
    with pytest.raises(Diverged, match="server's state is not finite after round 1; .*--server-lr"):
        for result in federated_rounds(chosen, model, chosen.method(), start(chosen.method(), w.astype(np.float32)),
                                       data, partition):
            reached.append(result)
    assert reached == []


@pytest.mark.filterwarnings("error")
def test_what_a_client_keeps_is_finite_or_the_rounds_end(model, w, data, partition):
    """Ditto's own models overshoot, lr lambda being far above 2; the server's never sees them."""
    with pytest.raises(Diverged, match="what client 0 keeps, personal, is not finite after round 1; a smaller --lr"):
        run(model, w.astype(np.float32), data, partition, algorithm="ditto", ditto_lambda=1e38, lr=1)


@pytest.mark.filterwarnings("error")
def test_parameters_too_large_for_a_loss_end_the_rounds(model, w, data, partition):
    """They are finite, and stay as they are; the logits are not."""
    with pytest.raises(Diverged, match="the loss on the test images is (nan|inf) after round 2"):
        run(model, (1e20 * np.ones_like(w)).astype(np.float32), data, partition, dropout_rate=1.0)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ALGORITHMS)
def test_steps_that_a_client_does_not_do_warn_of_nothing(model, w, data, partition, method):
    """Their batches are zeros of class 0: FedLC's loss of a class that is not held is infinite there."""
    one_class = partition_of(data, [np.flatnonzero(data.y_train == c)[:n] for c, n in enumerate((1, 6, 3, 9))],
                             partition.test[:4])
    run(model, w.astype(np.float32), data, one_class, algorithm=method, local_epochs=3, clients_per_call=4, rounds=2,
        momentum=0.9)


class Stop(Exception):
    pass


@pytest.mark.parametrize("place, calls_a_round", [({}, 5), ({"workers": 3}, 5), ({"clients_per_call": 2}, 3)])
def test_check_is_called_between_pieces_of_work_and_ends_the_rounds(model, w, data, partition, place, calls_a_round):
    chosen, calls, done = settings(eval_every=100), itertools.count(1), []

    def check():
        if next(calls) == 2 * calls_a_round + 2:    # in the third round, after the first piece
            raise Stop

    with pytest.raises(Stop):
        for state, _ in federated_rounds(chosen, model, chosen.method(), start(chosen.method(), w), data, partition,
                                         check=check, **place):
            done.append(state.round)
    assert done == [1, 2] and next(calls) == 2 * calls_a_round + 3


def test_the_rounds_of_a_finished_state_are_none(model, w, data, partition):
    chosen = settings()
    state = start(chosen.method(), w)._replace(round=6)
    assert rounds(chosen, model, state, data, partition) == []
