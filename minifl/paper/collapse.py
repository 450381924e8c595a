"""What local steps do to one client's model: the paper's Figures 2 and 3.

Figure 2, local overfitting: from a trained global model a client that has one class takes a few local steps; what
becomes of the other classes? Once as the plain network, once with n before the classifier. Both begin with the same
parameters and so with the same predictions (Proposition 3A).

Figure 3, feature collapse: client 1 alone trains on its class; norms of the classifier's vectors, norms and singular
values of the features along the way. The paper says neither from which model it begins nor how many steps it takes, so
both starts are measured, at several steps.
"""

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.atomic import write
from minifl.backend import Array
from minifl.blas import one_thread
from minifl.data.dataset import Dataset
from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.batches import local_batches
from minifl.fl.diagnostics import classifier, probe, spectrum
from minifl.fl.diagnostics import features as features_of
from minifl.fl.evaluate import predict
from minifl.fl.local import local_sgd
from minifl.models import loss_and_grad
from minifl.paper.records import where
from minifl.paper.study import Cell, Study
from minifl.runs import record
from minifl.runs.provenance import environment
from minifl.runs.settings import Settings, settings_for

NORMS = {"vanilla": "none", "FN": "fn"}
STEPS = 5                                # of Figure 2
CLIENT_OF_2, CLIENT_OF_3 = 0, 1          # their classes are 0 and 1
MARKS = (0, 10, 20, 50, 100, 200)        # local steps at which Figure 3 looks
EVERY, SHOWN = 2, 5                      # of the probe's images, 20 of each class: 100 for the singular values; of
                                         # these again 20 for the features' norms


def starts(study: Study, cells: Sequence[Cell], folder: str | Path) -> list[tuple]:
    """(label, settings, run or None, file of the measurement) of each model from which a figure begins."""
    every = [(cell.row, settings, where(folder, settings, model=True)) for cell in cells for settings in cell.settings]
    if study.name == "figure3":
        every = [("initialization", settings, None) for settings in cells[0].settings] + every

    def stem(settings, run):
        data = "" if settings.data == study.base["data"] else f"{settings.data}-"
        return run.name if run else f"{data}seed{settings.seed}"

    return [(label, settings, run, Path(folder) / f"{study.name}-{stem(settings, run)}.json")
            for label, settings, run in every]


def measure(study: Study, settings: Settings, run: Path | None, dataset: Dataset) -> dict:
    """What goes into the file of a measurement, see `overfitting` and `features`."""
    own = {name: getattr(settings_for(settings.data, {}), name) for name in ("lr", "batch_size", "augment")}
    local = replace(settings, **own)      # the pre-training may have had others
    model = local.network(dataset.num_classes, dataset.image_shape)
    if run is None:
        theta = model.spec.init(settings.seed).astype(np.float32)
    else:
        blocks = record.load_model(run, statistics.saved_shapes(settings, model, settings.num_clients))
        theta = model.spec.flatten({name: block[None] for name, block in blocks.items()},
                                   like=np.zeros((1, 1), np.float32))[0]
    with one_thread():                    # as in a run: the number of threads changes no bit
        found = (overfitting if study.name == "figure2" else features)(local, dataset, theta)
    return {"begins": run.name if run else "initialization", "seed": settings.seed, **own,
            "classes": list(dataset.class_names), **found}


def overfitting(settings: Settings, dataset: Dataset, theta: Array) -> dict:
    """Figure 2: per-class accuracies in [0, 1] on the whole test set before and after STEPS local steps on one class.

    settings   of the local steps; theta (P,) where they begin
    returns    {"pre-trained": [C], "vanilla": [C], "FN": [C]}
    """
    found = {}
    for label, own, model in _networks(settings, dataset):
        found.setdefault("pre-trained", _of_classes(model, theta, dataset))     # FN has the same predictions
        found[label] = _of_classes(model, _train(model, own, dataset, theta, CLIENT_OF_2, range(STEPS)), dataset)
    return found


def features(settings: Settings, dataset: Dataset, theta: Array) -> dict:
    """Figure 3: what the features become while one client trains, for the plain network and with FN.

    returns  label -> a dict for each of MARKS: step, loss of its next batch, classifier_norms [C], feature_norms of 20
             random test images, singular_values and direction_singular_values, descending, of 100
    """
    chosen = probe(dataset.y_test, dataset.num_classes, settings.seed)[::EVERY]
    found = {}
    for label, own, model in _networks(settings, dataset):
        current, step, found[label] = theta, 0, []
        for mark in MARKS:
            current, step = _train(model, own, dataset, current, CLIENT_OF_3, range(step, mark)), mark
            found[label].append({"step": step, **_look(model, own, dataset, current, chosen, step)})
    return found


def save(path: str | Path, content: dict) -> None:
    """Write a measurement and by what it was made."""
    write(path, (json.dumps({**content, **environment("cpu")}, indent=1) + "\n").encode())


def read(path: str | Path) -> dict | None:
    """A measurement; None if there is none yet."""
    try:
        return reading.json_file(path, reading.LARGEST)
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {getattr(error, 'strerror', None) or error}.") from error


def _networks(settings, dataset):
    for label, norm in NORMS.items():
        own = replace(settings, norm=norm)
        yield label, own, own.network(dataset.num_classes, dataset.image_shape)


def _train(model, settings, dataset, theta, client, steps):
    """theta (P,) after these local steps of a client that has the class of its number, each step a round of its own in
    the address of its batch."""
    for step in steps:
        x, y = _batch(settings, dataset, client, step)
        after, _, _ = local_sgd(lambda theta, x, y: loss_and_grad(model, theta, x, y), theta[None], x[None], y[None],
                                lr=settings.lr)
        theta = after[0]
    return theta


def _batch(settings, dataset, client, step):
    own = np.flatnonzero(dataset.y_train == client)
    return local_batches(dataset.x_train, dataset.y_train, own, settings.seed, step, client, steps=1,
                         batch_size=settings.batch_size, augment=settings.augment)


def _of_classes(model, theta, dataset):
    predicted, _ = predict(model, model.spec.views(theta[None]), dataset.x_test, dataset.y_test)
    correct = predicted == dataset.y_test
    return [float(correct[dataset.y_test == c].mean()) for c in range(dataset.num_classes)]


def _look(model, settings, dataset, theta, chosen, step):
    p = model.spec.views(theta[None])
    g = features_of(model, p, dataset.x_test[chosen])
    norms = np.sqrt((g * g).sum(axis=1))
    x, y = _batch(settings, dataset, CLIENT_OF_3, step)
    return {"loss": float(loss_and_grad(model, theta[None], x, y)[0][0]),
            "classifier_norms": np.sqrt((classifier(model, p) ** 2).sum(axis=0)).tolist(),
            "feature_norms": norms[::SHOWN].tolist(),
            "singular_values": spectrum(g)[0].tolist(),
            "direction_singular_values": spectrum(g / np.where(norms > 0, norms, 1)[:, None])[0].tolist()}
