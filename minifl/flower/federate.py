"""A run directory as a federation on this machine: begun, followed while the ServerApp writes it, and closed."""

import math
import secrets
import shutil
import time
from collections.abc import Callable, Iterator
from importlib import metadata
from pathlib import Path
from typing import Any

from minifl import own
from minifl.data.partition import Partition
from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.participation import own_models
from minifl.flower import certificates, leftovers
from minifl.flower.loopback import Failed, Federation, Node
from minifl.models.network import Network
from minifl.runs import checkpoint, initial, record
from minifl.runs.locking import locked
from minifl.runs.resuming import more_rounds, refuse_ended
from minifl.runs.run import Placement, first_state, given_files, last_test, new_config
from minifl.runs.settings import Settings, settings_for

FLOWER = "1.41.0"       # what this is written for and tested with
FOLDER, CLIENTS = "federation", "clients"      # in the run directory
MOST_NODES = 8          # by default; more clients share them
POLL, ASK = 0.2, 20     # seconds between looks at the record, and questions to Flower whether the run still goes


def check_installed() -> None:
    """InputError unless Flower is installed, in the version that this is written for."""
    try:
        found = metadata.version("flwr")
    except metadata.PackageNotFoundError:
        raise InputError("federate needs Flower, which is not installed: pip install -e '.[flower]'") from None
    if found != FLOWER:
        raise InputError(f"federate needs Flower {FLOWER}, and {found} is installed: pip install -e '.[flower]'")


def refuse(settings: Settings, **numbers: Any) -> None:
    """InputError for what a federation cannot do, and for numbers, by option, that are not finite and above 0."""
    for name, value in numbers.items():
        if value is not None and not 0 < value < math.inf:
            raise InputError(f"--{name.replace('_', '-')} {value:g} is invalid; it must be a finite number above 0.")
    for name, text in own.used(settings):
        raise InputError(f"{own.option(name)} {text}: the nodes of a federation run nothing that its server names, so "
                         f"federate takes only what minifl has; use train.")
    if settings.diagnose:
        raise InputError("--diagnose looks at the clients' models before averaging, and in a federation these stay "
                         "with their clients; leave it out, or use train.")


def number_of_nodes(nodes: int, num_clients: int) -> int:
    """How many SuperNodes there are; nodes: as asked for, or None."""
    if nodes is not None and nodes > num_clients:
        raise InputError(f"--nodes {nodes} is more than the {num_clients} clients; at most one node for each is valid.")
    return nodes or min(num_clients, MOST_NODES)


def begin(settings: Settings, dataset: Any, partition: Partition, out: str | Path, *, nodes: int, wait: float,
          timeout: float, clip_update: float, tls: bool, elsewhere: bool = False, force: bool = False,
          table_file: Any = None, start: Any = None) -> dict:
    """Write what a federation's run directory begins with; elsewhere: its nodes are on other machines.

    InputError if `out` cannot be used.
    """
    initial.check(start, settings, settings.network(dataset.num_classes, dataset.image_shape))
    config = new_config(settings, dataset, partition, Placement(workers=1), table_file, start) | {"federation": {
        "id": secrets.token_hex(8), "nodes": nodes, "wait": wait, "timeout": timeout, "clip_update": clip_update,
        "tls": tls, "elsewhere": elsewhere, "flwr": metadata.version("flwr")}}
    if force:
        leftovers.end(Path(out) / FOLDER)
    with locked(out) as path:
        record.create(path, config, partition.counts, dataset.class_names, force=force,
                      given=given_files(partition, start))
        for name in (FOLDER, CLIENTS):      # of the run that was there
            shutil.rmtree(path / name, ignore_errors=True)
    return config


def check_resumable(out: str | Path, config: dict, rounds: int | None = None) -> tuple:
    """What a federation goes on with: its config, which changes if it gets more `rounds`, and sentences about that.

    InputError if the run in `out` is no federation, or has ended. What says how it was interrupted is removed, and what a
    killed `federate` left of processes is ended.
    """
    if "federation" not in config:
        raise InputError(f"{out} was begun by train, not by federate; go on with: python cli.py train --resume {out}")
    messages = leftovers.end(Path(out) / FOLDER)
    with locked(out) as path:
        if rounds is None:
            refuse_ended(path)
        else:
            _refuse_forgotten(path, config)
            config, more = more_rounds(path, config, rounds, config["device"])
            messages += more
        record.reopen_end(path)
    return config, messages


def federation(out: str | Path, config: dict, data_dir: str | Path, workers: int, say: Callable[[str], object],
               check: Callable[[], None] = lambda: None) -> Federation:
    """The Federation of a run directory; check: see there."""
    out, own = Path(out).resolve(), config["federation"]
    folder, shared = out / FOLDER, {"data-dir": str(Path(data_dir).resolve()) if data_dir else ""}
    keys = [certificates.make_node_key(folder / "certificates" / f"node-{i}") if own["tls"] else None
            for i in range(own["nodes"])]
    nodes = [Node({"partition-id": i, "num-partitions": own["nodes"], "workers": workers,
                   "state-dir": str(out / CLIENTS), **shared}, key) for i, key in enumerate(keys)]
    app_config = app_configuration(out, own) | {"workers": workers, **shared}
    return Federation(folder, nodes, app_config, secure=own["tls"], say=say, check=check)


def app_configuration(out: str | Path, own: Any) -> dict:
    """The configuration of server.py, from what config.json says of the federation."""
    return {"out": str(out), "data-dir": "", "workers": 1, "nodes": own["nodes"], "wait": float(own["wait"]),
            "timeout": float(own["timeout"]), "clip-update": float(own["clip_update"] or 0),
            "named-nodes": bool(own["tls"])}


def follow(out: str | Path, federation: Any, seen: int = 0, check: Callable[[], None] = lambda: None) -> Iterator:
    """Yield the lines of the run's record as they come, until end.json says that it has ended.

    seen   how many lines it had before
    check  called between two looks. Raises Failed if the SuperLink or the run ends without that.
    """
    asked = time.monotonic()
    while True:
        check()
        ended = record.read_end(out)            # first: what is written before it is then there
        lines = record.read_rounds(out)
        seen = min(seen, len(lines))            # the server goes on from an earlier checkpoint
        yield from lines[seen:]
        seen = len(lines)
        if ended:
            return
        federation.watch()
        if time.monotonic() - asked > ASK:
            if federation.over() and record.read_end(out) is None:
                raise Failed(f"the run ended without saying how. {federation.tail()}")
            asked = time.monotonic()
        time.sleep(POLL)


def close(out: str | Path, settings: Settings, model: Network, clients: Any) -> None:
    """After the processes are gone: a complete run loses what its clients kept, another one gets its end.json."""
    with locked(out) as path:
        ended = record.read_end(path)
        if ended is None:
            lines = record.read_rounds(path)
            first = first_state(settings, model, start=initial.of_run(path, settings))
            state, _ = checkpoint.latest(path, first, len(lines), None)
            if not own_models(settings):
                record.save_model(path, statistics.saved(settings, model, state, clients))
            record.finish(path, "interrupted", f"stopped after round {len(lines)}", len(lines), last_test(lines))
        elif ended["status"] in record.COMPLETE:
            shutil.rmtree(path / CLIENTS, ignore_errors=True)
            shutil.rmtree(path / FOLDER / "certificates", ignore_errors=True)


def _refuse_forgotten(path, config):
    """InputError if the run has finished and its clients kept something between rounds, which went with them."""
    settings, ended = settings_for(config["settings"].get("data"), config["settings"]), record.read_end(path)
    keeps = settings.method().kept or own_models(settings)
    if ended and ended["status"] == "finished" and keeps and not (path / CLIENTS).exists():
        raise InputError(f"{path} has finished after round {ended['rounds_done']}, and what its clients kept between "
                         f"rounds ended with their nodes; begin a new federation with --config "
                         f"{path / record.CONFIG} --rounds N.")


def absences(lines: Any) -> dict:
    """round -> {client: reason}, of the lines of a record: what `federated_rounds` takes to do the rounds again."""
    return {line["round"]: {missing["client"]: missing["reason"] for missing in line["absent"]}
            for line in lines if "absent" in line}
