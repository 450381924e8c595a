"""What was chosen, from a config file, a table of label counts and the command line, before it becomes Settings."""

import json
from dataclasses import fields

from minifl import reading
from minifl.data import table
from minifl.data.counts import check_counts
from minifl.data.partition import class_sizes
from minifl.errors import InputError
from minifl.fl.settings import TABLE, Settings


def read_settings(path):
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
    known = sorted(field.name for field in fields(Settings))
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(f"--config {path}: unknown setting {unknown[0]!r}; valid are {', '.join(known)}.")
    return settings


def data_name(chosen):
    """The --data that was chosen, else auto."""
    return "auto" if chosen.get("data") is None else chosen["data"]


def read_table(path, dataset, chosen):
    """The label counts of --partition, which then is the setting; its number of clients counts if none was given."""
    if path is None:
        return None
    if chosen.get("setting") not in (None, TABLE):
        raise InputError(f"--partition and --setting {chosen['setting']}: give one of them.")
    chosen["setting"] = TABLE
    counts = table.read_csv(path, dataset.class_names)
    check_counts(counts, class_sizes(dataset.y_train, dataset.num_classes), f"--partition {path}", dataset.class_names)
    if chosen.get("num_clients") is None:
        chosen["num_clients"] = len(counts)
    return counts
