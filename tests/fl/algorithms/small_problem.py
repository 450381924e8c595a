"""A federated problem small enough for loops in Python, shared by the tests of the methods."""

import numpy as np

from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.fl.algorithms.fedavg import Work
from minifl.fl.batches import local_batches
from minifl.fl.rounds import federated_rounds, start
from minifl.models import MLP, Arrangement
from minifl.runs.settings import settings_for

SHAPE, CLASSES = (5, 4, 2), 4

# A row for each client: two hold all classes, one a single class, and no two are of the same size.
COUNTS = np.array([[6, 5, 4, 2], [0, 0, 3, 0], [9, 0, 1, 0], [2, 2, 2, 2], [0, 1, 0, 4]])
ONE_CLASS = [[7, 0, 0, 0], [0, 3, 0, 0], [0, 0, 5, 0], [0, 0, 0, 4]]

MOMENTUM = {"momentum": 0.6, "weight_decay": 0.02}
PARTIAL = {"clients_per_round": 3, "dropout_rate": 0.3, "local_epochs": 1, "seed": 2} | MOMENTUM


def problem(counts=COUNTS, seed=0):
    """Dataset of noise and the Partition that gives each client its counts (K, C)."""
    counts = np.asarray(counts)
    rng = np.random.default_rng(seed)
    labels, tests = np.repeat(np.arange(CLASSES), counts.sum(axis=0)), 3 * len(counts)

    def images(n):
        return rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)

    data = make_dataset("noise", images(len(labels)), labels, images(tests), np.arange(tests) % CLASSES,
                        "abcd", "random numbers")
    unused = {c: list(np.flatnonzero(labels == c)) for c in range(CLASSES)}
    train = [np.sort([unused[c].pop() for c in range(CLASSES) for _ in range(row[c])]).astype(np.int64)
             for row in counts]
    test = list(np.arange(tests).reshape(len(counts), 3))
    return data, Partition(counts, np.full((len(counts), CLASSES), -1), train, test)


def network(norm="ln"):
    return MLP(CLASSES, SHAPE, (7, 6), Arrangement(norm, learnable=True, bias="hidden"))


def settings_of(algorithm, **options):
    """Settings for a few rounds on the small problem; 3 local steps unless options say otherwise."""
    common = {"rounds": 6, "lr": 0.1, "batch_size": 4, "seed": 11, "local_eval_every": 0, "eval_every": 1000}
    steps = {} if "local_epochs" in options else {"local_steps": 3}
    return settings_for("cifar10", {"algorithm": algorithm} | common | steps | options)


def run(settings, model, data, partition, w=None, **call):
    """All (state, record) of a run in float64, or in the dtype of w."""
    method = settings.method()
    w = model.spec.init(3) if w is None else w
    state = start(method, w, model.statistics.init(3).astype(w.dtype))
    return list(federated_rounds(settings, model, method, state, data, partition, **{"workers": 0} | call))


def final(algorithm, counts=COUNTS, **options):
    """w after the last round."""
    return run(settings_of(algorithm, **options), network(), *problem(counts))[-1][0].w


def difference(a, b):
    return np.abs(a - b).max()


def batch(settings, data, partition, t, k):
    """x (E, 4, ...) and y (E, 4) of client k in round t."""
    return local_batches(data.x_train, data.y_train, partition.train[k], settings.seed, t, k, batch_size=4,
                         steps=settings.local_steps, augment="crop-flip", dtype=float)


def situation(model, server=(), own=()):
    """Work of three clients, with arrays of these names that are not 0, at theta (K, P), and a batch (x, y) of each."""
    rng = np.random.default_rng(5)
    counts = np.array([[5, 0, 2, 1], [3, 3, 0, 0], [1, 4, 9, 2]], dtype=float)
    k, p, n = len(counts), model.spec.size, 6
    y = np.array([rng.choice(np.flatnonzero(row), n) for row in counts])
    x = rng.random((k, n, *model.image_shape))
    w = model.spec.init(1)
    work = Work(model=model, w=np.tile(w, (k, 1)), server={name: rng.standard_normal(p) for name in server},
                own={name: rng.standard_normal((k, p)) for name in own}, counts=counts, x=x[:, None], y=y[:, None],
                active=np.ones((k, 1), bool), steps=np.ones((k, 1)), lr=0.1)
    return work, w + 0.3 * rng.standard_normal((k, p)), x, y
