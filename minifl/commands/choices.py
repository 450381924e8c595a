"""What was chosen, from a config file, the file of a partition, a model to start from and the command line, before it
becomes Settings."""

import json
from typing import Any

from minifl import own, reading
from minifl.data import lists, table
from minifl.data.counts import check_counts, class_sizes
from minifl.data.partition import NATURAL, Listed
from minifl.errors import InputError
from minifl.runs import initial
from minifl.runs.settings import GIVEN, LISTS, TABLE, choices


def read_settings(path: Any) -> dict:
    """Settings from a JSON file: an object of settings, or a run's config that holds one."""
    if path is None:
        return {}
    try:
        content = reading.json_file(path)
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}.") from error
    except ValueError as error:
        raise InputError(f"--config {path} is not a JSON object of settings: {error}.") from error
    settings = content.get("settings", content) if isinstance(content, dict) else content
    if not isinstance(settings, dict):
        where = "its settings are" if isinstance(content, dict) else "it holds"
        raise InputError(f"--config {path} is not a JSON object of settings: {where} {json.dumps(settings):.40}; valid "
                         f'is, for example, {{"lr": 0.1, "norm": "fn"}}.')
    known = sorted(choices())
    if settings is content.get("settings"):
        settings = own.renamed(settings, content, known)
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(f"--config {path}: unknown setting {unknown[0]!r}; valid are {', '.join(known)}.")
    return settings


def data_name(chosen: dict) -> Any:
    """The --data that was chosen, else auto."""
    return "auto" if chosen.get("data") is None else chosen["data"]


def read_partition(path: Any, dataset: Any, chosen: dict) -> Any:
    """What the file of --partition says, which then is the setting: label counts (K, C), or a Listed.

    Its number of clients, and with --setting natural that of the data set's users, counts if none was given. None without
    a file.
    """
    settings = chosen["setting"] if isinstance(chosen.get("setting"), list) else [chosen.get("setting")]
    if path is None:
        if NATURAL in settings and chosen.get("num_clients") is None and dataset.domain_names:
            chosen["num_clients"] = len(dataset.domain_names)
        return None
    if not set(settings) <= {None, *GIVEN}:
        raise InputError(f"--partition and --setting {', '.join(map(str, settings))}: give one of them.")
    if lists.is_lists(path):
        given: Any = lists.read(path, dataset)
    else:
        given = table.read_csv(path, dataset.class_names)
        check_counts(given, class_sizes(dataset.y_train, dataset.num_classes), f"--partition {path}", dataset.class_names)
    listed = isinstance(given, Listed)
    if listed and chosen.get("by_domain"):
        raise InputError(f"--by-domain: --partition {path} says which client has which example; leave it out.")
    chosen["setting"] = LISTS if listed else TABLE
    if chosen.get("num_clients") is None:
        chosen["num_clients"] = len(given.train if listed else given)
    return given


def read_start(path: Any, chosen: dict) -> Any:
    """The model of --init-from, which is then among what was chosen by its sha256; None without one."""
    wanted = chosen.get("init_from")
    if path is None:
        return None
    start = initial.read(path)
    if wanted not in (None, start.sha256):
        raise InputError(f"--init-from {path}: has the sha256 {start.sha256[:16]}, and the settings of --config start from "
                         f"{str(wanted)[:16]}; give that model, or take init_from out of them.")
    chosen["init_from"] = start.sha256
    return start
