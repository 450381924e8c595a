"""What must not change a bit of a run: workers, who computes with whom, evaluations, a stop in the middle."""

import itertools
from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from looping import NONE, arrays, assert_same_bits, partition_of, rounds, run, settings

from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.rounds import federated_rounds, start
from minifl.models import Arrangement, build


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_workers_nor_evaluations_change_a_bit(model, w, data, partition, dtype):
    w = w.astype(dtype)
    reference = run(model, w, data, partition, eval_every=1, local_eval_every=1)
    for options in ({"workers": 2}, {"workers": 5}, {"eval_every": 7}, {"eval_every": 4, "workers": 3},
                    {"local_eval_every": 0}, {"local_eval_every": 4, "clients_per_call": 2, "workers": 2}):
        other = run(model, w, data, partition, **{"eval_every": 1, "local_eval_every": 1} | options)
        for (state_a, a), (state_b, b) in zip(reference, other, strict=True):
            assert state_b.w.dtype == dtype
            np.testing.assert_array_equal(state_a.w, state_b.w)
            assert {name: a[name] for name in b} == b    # the reference has all that any has


# For each number of clients: norms and methods change what is computed of a client, networks how.
NORMS = [("none", "static"), ("fn", "static"), ("ln", "static"), ("gn", "static"), ("ln", "learnable")]
METHODS = ("fedavg", "scaffold", "fedyogi", "feddecorr", "fedlc", "fedaws")


def place_cases():
    """The MLP in float32 with every method and norm; float64, and the CNN, which is slow, with each once or more."""
    every = list(itertools.product(METHODS, NORMS))
    some = [(method, norm) for method, norm in every if (NORMS.index(norm) - METHODS.index(method)) % len(NORMS) == 0]
    return [(network, dtype, method, *norm) for network, dtype, cases in (
        ("mlp", "float32", every), ("mlp", "float64", some), ("cnn", "float32", some), ("cnn", "float64", some))
        for method, norm in cases]


@pytest.fixture(scope="module")
def pictures():
    """Images that the CNN takes, and three clients of 8, 12 and 4 examples with all classes or some."""
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (36, 16, 17, 3), dtype=np.uint8)
    data = SimpleNamespace(x_train=images[:24], y_train=np.arange(24) % 4, x_test=images[24:],
                           y_test=np.arange(12) % 4)
    train = [np.arange(8), np.arange(8, 20), np.array([20, 21, 22, 22])]
    return data, partition_of(data, train, [np.arange(6), np.arange(6, 12), NONE])


@pytest.mark.parametrize("network, dtype, method, norm, affine", place_cases())
def test_who_computes_with_whom_changes_no_bit(pictures, network, dtype, method, norm, affine):
    """With 3, 5 and 2 local steps: clients together are masked, clients alone are not."""
    data, partition = pictures
    options = dict(algorithm=method, rounds=2, local_epochs=1, batch_size=3, local_eval_every=1,
                   lr=1.0 if method == "fedaws" else 0.1)
    model = build(network, 4, (16, 17, 3), Arrangement(norm, learnable=affine == "learnable"), width=1 / 16)
    w = model.spec.init(0).astype(dtype)
    reference = run(model, w, data, partition, **options)
    assert (reference[-1][0].w != w).mean() > 0.5
    for workers, clients_per_call in ((1, 2), (2, 3), (3, 100), (3, 1)):
        assert_same_bits(reference, run(model, w, data, partition, workers=workers,
                                        clients_per_call=clients_per_call, **options))


@pytest.mark.parametrize("method", ALGORITHMS)
def test_clients_of_different_steps_together_are_clients_alone(model, w, data, partition, method):
    """Steps 1, 17, 4, 9 and 3: enough that NumPy would add up the losses of a padded client in another order."""
    options = dict(algorithm=method, local_epochs=2, batch_size=2, rounds=2, momentum=0.5, weight_decay=0.01)
    alone = run(model, w.astype(np.float32), data, partition, **options)
    assert_same_bits(alone, run(model, w.astype(np.float32), data, partition, clients_per_call=5, **options))


@pytest.mark.parametrize("method", ["fedavg", "scaffold", "fedyogi"])
def test_a_state_from_the_middle_continues_to_the_same_bits(model, w, data, partition, method):
    chosen = settings(algorithm=method, participation=0.6, dropout_rate=0.2, lr_schedule="cosine", eval_every=1)
    whole = rounds(chosen, model, start(chosen.method(), w), data, partition)
    assert len(whole) == 6
    for done in range(6):
        assert_same_bits(whole[done + 1:], rounds(chosen, model, whole[done][0], data, partition))
    for rewritten in (replace(chosen, seed=12), replace(chosen, lr=0.11)):   # the comparison can fail
        with pytest.raises(AssertionError):
            assert_same_bits(whole[3:], rounds(rewritten, model, whole[2][0], data, partition))


@pytest.mark.parametrize("method", ALGORITHMS)
def test_states_are_never_written_to(model, w, data, partition, method):
    chosen = settings(algorithm=method, momentum=0.5, participation=0.8, augment="none")
    plain = rounds(chosen, model, start(chosen.method(), w), data, partition)
    state = start(chosen.method(), w.copy())
    frozen, done = state, []
    for array in arrays(frozen).values():
        array.flags.writeable = False
    for state, record in federated_rounds(chosen, model, chosen.method(), frozen, data, partition):
        record.pop("seconds")
        done.append((state, record))
        for array in arrays(state).values():
            array.flags.writeable = False
    assert_same_bits(plain, done)
    assert frozen.round == 0 and frozen.own == {}      # neither are its dicts
