"""What the methods must be equal to; to the bit where only multiplications by 1 and additions of 0 differ. What holds of one
method alone is in its own file."""

from functools import cache

import numpy as np
import pytest

from of_methods import each
from small_problem import (COUNTS, MOMENTUM, PARTIAL, batch, difference, final, network, problem, run,
                           settings_of)

from minifl.data.dataset import make_dataset
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.client import local_work
from minifl.models import loss_and_grad


# --- to FedAvg and to SGD, as the methods' files say -------------------------------------------------------

@pytest.mark.parametrize("options", [{}, MOMENTUM, PARTIAL], ids=["plain", "momentum", "partial"])
@pytest.mark.parametrize("algorithm, pair", each("FEDAVG"))
def test_is_fedavg_to_the_bit(algorithm, pair, options):
    (neutral, other), fedavg = pair, final("fedavg", **options)
    assert final(algorithm, **options | neutral).tobytes() == fedavg.tobytes()
    assert difference(final(algorithm, **options | other), fedavg) > 1e-5


@pytest.mark.parametrize("algorithm, options", each("ONE_STEP"))
def test_with_one_local_step_it_is_fedavg(algorithm, options):
    """One step starts at w: no drift yet. For SCAFFOLD as sum_k p_k (c - c_k) = 0, whatever the sizes."""
    common = {"local_steps": 1, "rounds": 8, "weight_decay": 0.01}
    assert difference(final(algorithm, **common, **options), final("fedavg", **common)) < 1e-12


@pytest.mark.parametrize("momentum, weight_decay", [(0, 0), (0.6, 0.02)])
@pytest.mark.parametrize("algorithm, options", each("SGD"))
def test_one_client_is_plain_sgd(algorithm, options, momentum, weight_decay):
    data, partition = problem([[3, 3, 3, 3]])
    model, w = network(), network().spec.init(3)
    settings = settings_of(algorithm, momentum=momentum, weight_decay=weight_decay, **options)
    for t, (state, _) in enumerate(run(settings, model, data, partition)):
        x, y = batch(settings, data, partition, t, 0)
        velocity = 0     # clients begin each round without memory of the last one
        for e in range(3):
            g = loss_and_grad(model, w[None], x[e][None], y[e][None])[1][0] + weight_decay * w
            velocity = momentum * velocity + g
            w = w - 0.1 * velocity
        np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-12)


# --- to itself ---------------------------------------------------------------------------------------------

@cache
def under_way(algorithm):
    """Settings for four rounds and the state after three, with controls and moments that are not 0."""
    three, four = (settings_of(algorithm, rounds=rounds, local_epochs=1, **MOMENTUM) for rounds in (3, 4))
    return four, run(three, network(), *problem())[-1][0]


def next_round(algorithm, order):
    """w and server state after a round whose clients answer in this order, and what each client keeps."""
    settings, state = under_way(algorithm)
    method, (data, partition), sizes = settings.method(), problem(), COUNTS.sum(axis=1)
    mean, own = {}, {}
    for k in order:
        _, _, message, kept, _ = local_work(settings, network(), method, data, partition, state, [k])
        for name, sent in message.items():
            mean[name] = mean.get(name, 0) + sizes[k] / sizes.sum() * sent[0]
        own[k] = {name: array[0] for name, array in kept.items()}
    w, server = method.server(network(), state.w, mean, state.server, 1.0)
    return {"w": w} | server, own


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_the_order_of_the_messages_changes_rounding_only(algorithm):
    ordered, own = next_round(algorithm, range(5))
    for order in ([3, 0, 4, 2, 1], [4, 3, 2, 1, 0]):
        other, own_of_other = next_round(algorithm, order)
        for name, array in ordered.items():
            np.testing.assert_allclose(other[name], array, rtol=0, atol=1e-12)
        for k, kept in own.items():     # a client does not notice when its turn comes
            assert {name: array.tobytes() for name, array in kept.items()} == \
                   {name: array.tobytes() for name, array in own_of_other[k].items()}
    settings, state = under_way(algorithm)
    loop = run(settings, network(), *problem())[-1][0]
    np.testing.assert_allclose(ordered["w"], loop.w, rtol=0, atol=1e-12)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_clients_in_one_call_do_not_see_each_other(algorithm):
    """Together, in any order, with unequal steps: each client's theta, message and own state to the bit."""
    settings, state = under_way(algorithm)
    method, model, (data, partition) = settings.method(), network(), problem()

    def work(clients):
        theta, _, message, kept, losses = local_work(settings, model, method, data, partition, state, clients)
        own = {f"own {name}": array for name, array in kept.items()}
        return {"theta": theta, "loss": losses} | message | own

    alone = {k: work([k]) for k in range(5)}
    for clients in ([0, 1, 2, 3, 4], [3, 0, 4, 2, 1], [4, 1]):
        together = work(clients)
        for i, k in enumerate(clients):
            for name, array in together.items():
                assert array[i].tobytes() == alone[k][name][0].tobytes(), (name, k)


WHOLE = np.array([[1, 1, 1, 1], [0, 2, 0, 0], [3, 0, 4, 1], [0, 0, 0, 1]])    # sizes 4, 2, 8, 1


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_renaming_the_clients_renames_their_state_and_nothing_else(algorithm):
    """With batches of a client's whole data its number, the address of its shuffles, does not matter."""
    options = {"batch_size": 8, "augment": "none", "local_steps": 2, "rounds": 3, "lr": 0.05} | MOMENTUM
    data, partition = problem(WHOLE)
    order = [2, 0, 3, 1]
    renamed = partition._replace(counts=WHOLE[order], train=[partition.train[k] for k in order])
    settings = settings_of(algorithm, **options)
    runs = (run(settings, network("none"), data, parts) for parts in (partition, renamed))
    for (a, _), (b, _) in zip(*runs):
        np.testing.assert_allclose(b.w, a.w, rtol=0, atol=1e-11)
        for name, array in a.server.items():
            np.testing.assert_allclose(b.server[name], array, rtol=0, atol=1e-11)
        assert set(a.own) == set(b.own)
        for new, old in enumerate(order):
            for name, array in a.own.get(old, {}).items():
                np.testing.assert_allclose(b.own[new][name], array, rtol=0, atol=1e-11)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_renaming_the_classes_renames_the_rows_of_the_classifier_and_nothing_else(algorithm):
    """Class c is called new[c] in labels, counts and classifier."""
    data, partition = problem()
    new, model = np.array([2, 0, 3, 1]), network("fn")
    old = np.argsort(new)

    def rename(w):
        w = w.copy()
        view = model.spec.views(w[None])["classifier.weight"]
        view[...] = view[:, :, old]
        return w

    renamed = make_dataset("new", data.x_train, new[data.y_train], data.x_test, new[data.y_test], "abcd", "")
    settings, w = settings_of(algorithm, rounds=4, lr=0.05, **PARTIAL), model.spec.init(3)
    a = run(settings, model, data, partition, w=w)
    b = run(settings, model, renamed, partition._replace(counts=partition.counts[:, old]), w=rename(w))
    for (ours, _), (theirs, _) in zip(a, b):
        np.testing.assert_allclose(theirs.w, rename(ours.w), rtol=0, atol=1e-11)
    assert difference(ours.w, w) > 1e-3


@pytest.mark.parametrize("name", ALGORITHMS)
def test_what_starts_in_float32_stays_float32(name):
    """Controls and moments in float64 would double the memory, and the clients' work with them."""
    model = network()
    w = model.spec.init(3).astype(np.float32)
    for state, _ in run(settings_of(name, rounds=2, clients_per_round=3), model, *problem(), w=w):
        arrays = [state.w, *state.server.values(), *(a for kept in state.own.values() for a in kept.values())]
        assert {array.dtype for array in arrays} == {np.dtype(np.float32)}
