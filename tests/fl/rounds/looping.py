"""Rounds on noise, small enough for loops in Python, shared by the tests of the loop."""

import numpy as np

from minifl.data.partition import Partition
from minifl.fl.rounds import federated_rounds, start
from minifl.runs.settings import settings_for

SHAPE = (5, 4, 2)
UNEQUAL = (1, 17, 4, 9, 3)    # examples of each client: one alone, one with fewer than a batch
NONE = np.zeros(0, np.int64)


def partition_of(data, train, test=()):
    def counts(labels, parts):
        return np.array([np.bincount(labels[part], minlength=4) for part in parts]).reshape(-1, 4)
    return Partition(counts(data.y_train, train), counts(data.y_test, test), list(train), list(test))


def consecutive(sizes, total):
    """Clients of these sizes, from shuffled examples."""
    order = np.random.default_rng(1).permutation(total)
    return [np.sort(part) for part in np.split(order, np.cumsum(sizes))[:len(sizes)]]


OPTIONS = dict(rounds=6, local_steps=3, batch_size=4, lr=0.1, seed=11, eval_every=2, local_eval_every=1000)


def settings(**options):
    if "local_epochs" in options:
        options["local_steps"] = None
    return settings_for("cifar10", OPTIONS | options)


def rounds(chosen, model, state, data, partition, *, method=None, **place):
    """All (State, record) of the rounds after `state`, the records without their times."""
    results = list(federated_rounds(chosen, model, method or chosen.method(), state, data, partition, **place))
    for _, record in results:
        assert record.pop("seconds") > 0
    return results


def run(model, w, data, partition, *, workers=1, clients_per_call=None, **options):
    chosen = settings(**options)
    return rounds(chosen, model, start(chosen.method(), w), data, partition, workers=workers,
                  clients_per_call=clients_per_call)


def arrays(state):
    """name -> array, of everything in a State."""
    own = {f"own {k} {name}": array for k, kept in state.own.items() for name, array in kept.items()}
    return {"w": state.w, **state.server, **own}


def assert_same_bits(one, other):
    for (state_a, a), (state_b, b) in zip(one, other, strict=True):
        assert state_a.round == state_b.round and a == b
        arrays_a, arrays_b = arrays(state_a), arrays(state_b)
        assert arrays_a.keys() == arrays_b.keys()
        for name, array in arrays_a.items():
            assert array.dtype == arrays_b[name].dtype == state_a.w.dtype, name
            np.testing.assert_array_equal(array, arrays_b[name], err_msg=name)
