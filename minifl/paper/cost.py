"""What a study would cost: multiply-adds counted from the networks, hours from a step measured now on this machine."""

from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

from minifl.blas import one_thread
from minifl.data.registry import load
from minifl.fl.participation import clients_per_round, steps_of
from minifl.models import loss_and_grad
from minifl.runs.settings import Settings

BACKWARD = 2            # a backward pass has two products for each of the forward pass
MOST_FLOPS = 2e10       # of a measured step: larger batches are measured in part and scaled up
REPEATS = 3             # the fastest counts


class Data(NamedTuple):
    """As published, and split as in the paper's experiments: a plan needs no files."""
    classes: int
    image: tuple
    train: int
    test: int


DATA = {"cifar10": Data(10, (32, 32, 3), 50_000, 10_000), "cifar100": Data(100, (32, 32, 3), 50_000, 10_000),
        "tinyimagenet": Data(200, (64, 64, 3), 100_000, 10_000), "pacs": Data(7, (224, 224, 3), 7_907, 1_920)}


class Cost(NamedTuple):
    training_flops: float
    testing_flops: float
    seconds: float           # of one core


def cost(settings: Settings, step_seconds: float, data_dir: str | Path | None = None) -> Cost:
    """The Cost of a run: local steps of its clients and tests of the global model, none of the clients' own.

    step_seconds   seconds of forward and backward pass of one example, see `measure_step`
    """
    data = facts(settings.data, data_dir)
    model = settings.network(data.classes, data.image)
    clients = clients_per_round(settings, settings.num_clients)
    steps = steps_of(settings, data.train // settings.num_clients)
    trained = settings.rounds * clients * steps * settings.batch_size
    tests = settings.rounds // settings.eval_every + (settings.rounds % settings.eval_every > 0)
    tested = tests * data.test
    return Cost(trained * (1 + BACKWARD) * model.flops, tested * model.flops,
                step_seconds * (trained + tested / (1 + BACKWARD)))


def facts(name: str, data_dir: str | Path | None = None) -> Data:
    """The Data of a data set: of the paper's as published, of another as it is found."""
    if name in DATA:
        return DATA[name]
    found = load(name, data_dir)
    return Data(found.num_classes, found.image_shape, len(found.y_train), len(found.y_test))


def same_network(settings: Settings) -> tuple:
    """What a step's time depends on."""
    return settings.data, settings.model, settings.arrangement(), settings.width, settings.batch_size


def measure_step(settings: Settings, data_dir: str | Path | None = None) -> float:
    """Seconds of one core for the forward and backward pass of one example, in a batch as large as the run's or as
    MOST_FLOPS allows."""
    data = facts(settings.data, data_dir)
    model = settings.network(data.classes, data.image)
    batch = int(min(settings.batch_size, max(2, MOST_FLOPS // ((1 + BACKWARD) * model.flops))))
    rng = np.random.default_rng(0)
    theta = model.spec.init(0).astype(np.float32)[None]
    x = rng.random((1, batch, *data.image), dtype=np.float32)
    labels = rng.integers(0, data.classes, (1, batch))
    times = []
    with one_thread():
        for _ in range(REPEATS):
            begin = perf_counter()
            loss_and_grad(model, theta, x, labels)
            times.append(perf_counter() - begin)
    return min(times) / batch
