"""One run from settings to record: what `train` and `eval` of the command line do, without a terminal."""

import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, replace
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minifl import own
from minifl.backend import choose_precision
from minifl.data import lists
from minifl.data.dataset import Dataset
from minifl.data.partition import NATURAL, Listed, Partition, make_partition
from minifl.data.registry import load
from minifl.data.table import read_csv
from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.client import Diverged
from minifl.fl.evaluate import evaluate
from minifl.fl.parallel import Signals, in_order
from minifl.fl.participation import looked_at, own_models, whose_models
from minifl.fl.rounds import State, federated_rounds
from minifl.fl.rounds import start as begin
from minifl.models.network import Network
from minifl.runs import checkpoint, initial, memory, record, seals
from minifl.runs.locking import locked
from minifl.runs.provenance import environment
from minifl.runs.recorded import blaming, settings_in
from minifl.runs.settings import GIVEN, LISTS, Settings


def default_workers() -> int:
    """Threads over clients: the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def split(settings: Settings, dataset: Dataset, given: Any = None) -> Partition:
    """The partition of the data set: by its setting, or what a file gave: a table of label counts (K, C), or a Listed.

    Raises InputError for settings that allow none, or none that fits into memory.
    """
    if settings.setting in GIVEN and given is None:
        what = "examples of each client" if settings.setting == LISTS else "label counts"
        raise InputError(f"--setting {settings.setting}: the {what} were read from a file, which --partition must name.")
    if isinstance(given, Listed):
        if settings.num_clients != len(given.train):
            raise InputError(f"--num-clients {settings.num_clients}: the file of --partition has {len(given.train)} "
                             f"clients; leave --num-clients out or give {len(given.train)}.")
        return given
    memory.check_partition(settings.num_clients, dataset.num_classes)
    if settings.setting == NATURAL and not dataset.domain_names:
        raise InputError(f"--setting {NATURAL}: the data set {dataset.name} does not say whose its examples are; take "
                         f"another setting, or data with users or domains, as data_scripts/leaf.py makes them.")
    if settings.by_domain and not dataset.domain_names:
        raise InputError(f"--by-domain: the data set {dataset.name} has no domains; give --no-by-domain, or data that have "
                         f"them, such as embedded or pacs.")
    domains = (dataset.domain_train, dataset.domain_test, dataset.domain_names) if dataset.domain_names else None
    own.require(vars(settings))
    with own.running("setting", settings.setting):
        return make_partition(settings.setting if given is None else given, dataset.y_train, dataset.y_test,
                              dataset.num_classes, settings.num_clients, settings.data_seed, domains=domains,
                              by_domain=settings.by_domain, **settings.partition_options())


def on_device(dataset: Dataset, xp: ModuleType) -> Dataset:
    """The data set with its arrays where xp computes; images that would take more than half of the free memory there
    stay on the host, maybe memory-mapped, and are moved as they are used."""
    if xp is np:
        return dataset
    free, _ = xp.cuda.Device().mem_info
    moved = ["y_train", "y_test"]
    if dataset.x_train.nbytes + dataset.x_test.nbytes <= free // 2:
        moved += ["x_train", "x_test"]
    return replace(dataset, **{name: xp.asarray(getattr(dataset, name)) for name in moved})


class Placement(NamedTuple):
    """Where and how a run computes. None of it changes a bit of the result, but for the array module and precision."""
    xp: object = np
    device: str = "cpu"
    workers: int = 1
    clients_per_call: int | None = None
    checkpoint_every: int = 10
    precision: str | None = None   # of products on a GPU; None: fp32, or the one that a resumed run began with


def train(settings: Settings, dataset: Dataset, partition: Partition, out: str | Path, place: Any = Placement(), *,
          force: bool = False, table_file: str | Path | None = None, start: Any = None) -> Iterator[dict]:
    """Begin a run in the directory `out` and return an iterator that does it and yields each round's record.

    Nobody else can write the directory until the iterator is done or closed. However it ends, `out` is readable: at
    an interruption or a failure the state of the last finished round is saved and end.json says what happened, then
    the exception goes on.
    start  the model to begin with, where settings.init_from says so (initial.py)
    Raises InputError if `out` or `start` cannot be used or the device has no such precision, Diverged if a loss is not
    finite.
    """
    choose_precision(place.xp, place.precision or "fp32")
    model = settings.network(dataset.num_classes, dataset.image_shape)
    state = first_state(settings, model, place.xp, start)
    config = new_config(settings, dataset, partition, place, table_file, start)
    with ExitStack() as lock:
        out = lock.enter_context(locked(out))
        record.create(out, config, partition.counts, dataset.class_names, force=force, given=given_files(partition, start))
        return do_rounds(lock.pop_all(), settings, model, dataset, partition, out, place, state, None)


def given_files(partition: Partition, start: Any) -> dict:
    """What a run directory keeps of what it was given: file name -> bytes."""
    return ({record.LISTS: lists.text(partition)} if isinstance(partition, Listed) else {}) | \
        ({record.START: start.content()} if start else {})


def new_config(settings: Settings, dataset: Dataset, partition: Partition, place: Any, table_file: str | Path,
               start: Any = None) -> dict:
    """The config of a run that begins here and now."""
    return {
        "settings": asdict(settings),
        "partition": {"sha256": lists.identity(partition), "file": table_file},
        **({"own": own.entries(settings)} if own.entries(settings) else {}),
        **({"start": {"sha256": start.sha256, "file": start.file}} if start else {}),
        "data": {"name": dataset.name, "source": dataset.source, "sha256": dataset.sha256},
        "parameters": settings.network(dataset.num_classes, dataset.image_shape).spec.size,
        **environment(place.device, place.precision or "fp32"),
    }


def last_test(lines: Any) -> dict | None:
    """The last of a record's lines in which the global model was tested; None without one."""
    return next((line for line in reversed(lines) if "accuracy" in line), None)


def first_state(settings: Settings, model: Network, xp: ModuleType = np, start: Any = None) -> State:
    """The State before the first round, on xp's device; start: the Start that settings.init_from asks for."""
    w, running = initial.vectors(start, settings, model)
    return begin(settings.method(), xp.asarray(w), xp.asarray(running))


def do_rounds(lock: Any, settings: Settings, model: Network, dataset: Dataset, partition: Partition, out: str | Path,
              place: Any, state: State, last: Any) -> Iterator[dict]:
    """Do the rounds after `state` and keep their record; `last` is the record of the last evaluation before."""
    def save_model(state):
        record.save_model(out, statistics.saved(settings, model, state, len(partition.train)))

    with lock, Signals() as signals, keeping(settings, out, state, last, save_model, place.checkpoint_every) as keep:
        for state, line in federated_rounds(
                settings, model, settings.method(), state, on_device(dataset, place.xp), partition,
                workers=place.workers, clients_per_call=place.clients_per_call, check=signals.check):
            keep(state, line)
            yield line


@contextmanager
def keeping(settings: Settings, out: str | Path, state: State, last: Any, save_model: Callable,
            checkpoint_every: int) -> Iterator[Callable]:
    """Inside, `keep(state, line)` puts a round that was done into the run directory `out`; at the end comes end.json.

    However the block ends, `out` is readable: at an interruption or a failure the state of the last round that was kept
    is saved, and end.json says what happened.
    last        record of the last evaluation before, None without one
    save_model  (state) -> None, writes the model
    """
    status, message, origin = "failed", None, record.origin(record.read_config(out))

    def save(state):
        checkpoint.save(out, state, origin, seals.last(out / record.ROUNDS))

    def keep(new, line):
        nonlocal state, last
        if "diagnostics" in line:       # before the round is in the record: a kill in between loses nothing
            record.append_diagnostics(out, line.pop("diagnostics"))
        record.append(out, line, line.pop("seconds"))
        state = new                     # only now: a state goes with the record's last line
        if "accuracy" in line:
            last = line
            save_model(state)
        if state.round % checkpoint_every == 0 and state.round < settings.rounds:
            save(state)

    try:
        yield keep
        status = "finished"
    except (KeyboardInterrupt, GeneratorExit):   # the latter where the caller stops between two rounds
        if state.round < settings.rounds:
            status, message = "interrupted", f"stopped after round {state.round}"
        else:
            status = "finished"
        raise
    except Diverged as error:
        status, message = "diverged", str(error)
        raise
    except BaseException as error:
        message = f"{type(error).__name__}: {error}"
        raise
    finally:
        save_model(state)
        if status != "diverged":
            save(state)
        record.finish(out, status, message, state.round, last)
        if status in record.COMPLETE:   # only now: a kill in between must leave something to resume
            checkpoint.remove(out, but=status == "finished")


def reopen(path: str | Path, data_dir: str | Path | None = None) -> tuple:
    """Load the data of a run directory: (config, dataset, partition).

    Raises InputError if the run or its data cannot be read, if data, partition or one's own files are not what they were,
    and if one's own things were not named in this command.
    """
    path = Path(path)
    config = record.read_config(path)
    own.recognize(path, config)
    settings = settings_in(path, config)
    dataset = load(settings.data, data_dir)
    if dataset.sha256 != config["data"].get("sha256"):
        raise InputError(f"{path} was trained on other data: sha256 {str(config['data'].get('sha256'))[:16]}, "
                         f"found {dataset.sha256[:16]} ({dataset.source}).")
    counts = read_csv(path / record.PARTITION, dataset.class_names)
    with blaming(path / record.CONFIG):
        settings.network(dataset.num_classes, dataset.image_shape).spec   # noqa: B018 - made here, it says what does not fit
    listed = settings.setting == LISTS or os.path.lexists(path / record.LISTS)      # which a split of one's own may have
    file = record.LISTS if listed else record.PARTITION
    known = lists.read(path / file, dataset) if listed else None if settings.setting == NATURAL else counts
    with blaming(path / file):
        partition = split(settings, dataset, known)
    found, expected = lists.identity(partition), str(config["partition"].get("sha256"))
    if found != expected:
        raise InputError(f"{path / file} is not the partition of {record.CONFIG}; one of them was changed: its sha256 is "
                         f"{found[:16]}, and was {expected[:16]}.")
    if not np.array_equal(partition.counts, counts):
        raise InputError(f"{path / record.PARTITION} is not the partition of {record.CONFIG}; it was changed.")
    record.check(path, record.PARTITION)
    return config, dataset, partition


def reevaluate(path: str | Path, *, data_dir: str | Path | None = None, xp: ModuleType = np,
               workers: int = 1) -> tuple:
    """Test the saved model of a run again: (config, dataset, the entries of `evaluate`).

    Raises InputError if the run, its model or its data cannot be read, or the data is not what it was.
    """
    config, dataset, partition = reopen(path, data_dir)
    settings = settings_in(path, config)
    model = settings.network(dataset.num_classes, dataset.image_shape)
    clients = len(partition.train)
    if own_models(settings) and config.get("federation", {}).get("elsewhere"):
        raise InputError(f"{path} is of a federation whose clients kept their batch norms or layers: their models are not "
                         f"here.")
    blocks = record.load_model(path, statistics.saved_shapes(settings, model, clients))
    data = on_device(dataset, xp)
    with in_order(workers if xp is np else 0) as pool_map:
        models = statistics.restored(blocks, clients, xp)
        if len(models) > 1:
            looked = set(looked_at(settings, range(clients)))
            models = [p if k in looked else None for k, p in enumerate(models)]
        result = evaluate(model, models, data.x_test, data.y_test, partition.test, pool_map=pool_map)
        result |= whose_models(settings, clients)
    return config, dataset, result
