"""A run done again in this process, from its configuration, and compared with its record bit by bit."""

from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.parallel import Signals
from minifl.fl.rounds import federated_rounds
from minifl.flower.federate import absences
from minifl.runs import initial, record
from minifl.runs.run import first_state, reopen
from minifl.runs.settings import settings_for


def differences(run: str | Path, data_dir: str | Path, workers: int, show: Callable) -> list[str]:
    """Sentences on what differs between the run's record and the same rounds in this process; none if nothing does.

    show  (lines, settings) consumes the rounds' lines as they come
    Raises InputError if the run or its data cannot be read, or if it was made on a GPU.
    """
    config, dataset, partition = reopen(run, data_dir)
    if not str(config.get("device")).startswith("cpu"):
        raise InputError(f"{run} was made on {config.get('device')}, which rounds differently from the CPU.")
    settings = settings_for(dataset.name, config["settings"])
    model = settings.network(dataset.num_classes, dataset.image_shape)
    before = record.read_rounds(run)
    if not before:
        raise InputError(f"{run} has no round yet.")
    shapes = statistics.saved_shapes(settings, model, len(partition.train))
    if config.get("federation", {}).get("elsewhere"):       # what stayed with the clients
        shapes = statistics.without_clients(shapes)
    saved = record.load_model(run, shapes)
    ended = record.read_end(run)
    found, last = [], first_state(settings, model, start=initial.of_run(run, settings))

    def rounds_to(rounds, signals):
        """The rounds from `last` to that one, as a run of so many has them."""
        yield from federated_rounds(replace(settings, rounds=rounds), model, settings.method(), last, dataset, partition,
                                    workers=workers, check=signals.check, absent=absences(before))

    def rounds_again():
        nonlocal last
        with Signals() as signals:
            rounds = chain.from_iterable(rounds_to(end, signals) for end in ends_of(config))
            for (state, line), old in zip(rounds, before):      # as far as the record goes
                line.pop("seconds"), line.pop("diagnostics", None)
                last = state
                if line != old:
                    names = sorted(name for name in line.keys() | old.keys() if line.get(name) != old.get(name))
                    found.append(f"round {old['round']}: {', '.join(names)} differ")
                yield line

    show(rounds_again(), settings)
    if ended is None or last.round != ended["rounds_done"]:
        return [*found, f"the model was not compared: it may be of another round than {last.round}"]
    again = statistics.saved(settings, model, last, len(partition.train))
    for name, array in saved.items():
        if not np.array_equal(array, again[name]):
            found.append(f"model: {name} differs by up to {np.abs(array - again[name]).max():.3g}")
    return found


def ends_of(config: dict) -> list[int]:
    """The rounds after which the run had reached its end, the present one last: what is last is tested, and a run that
    went on to more rounds from there keeps that test."""
    extended = config.get("extended", [])
    return [*(each["rounds"][0] for each in extended if each["done"] == each["rounds"][0]), config["settings"]["rounds"]]
