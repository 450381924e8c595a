"""What was chosen, from a config file, a table of label counts and the command line, before it becomes Settings."""

import json
from dataclasses import fields

from minifl.data import table
from minifl.data.counts import check_counts
from minifl.data.partition import class_sizes
from minifl.errors import InputError
from minifl.fl.settings import BELONGS, EITHER, TABLE, Settings


def read_settings(path):
    """Settings from a JSON file: an object of settings, or a run's config that holds one."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
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


def merge(from_file, from_line):
    """Settings of a file and of the command line, which goes before it.

    A method, norm or model chosen on the command line comes with what belongs to it, and of two ways to say the same
    (steps or epochs, part or number of clients) the one on the command line counts.
    """
    given = {name: value for name, value in from_line.items() if value is not None}
    changed = {field for field, _ in BELONGS.values() if given.get(field, from_file.get(field)) != from_file.get(field)}
    from_file = {name: value for name, value in from_file.items() if BELONGS.get(name, (None,))[0] not in changed}
    for pair in ((name, other) for name, (other, _) in EITHER.items()):
        if any(name in given for name in pair):
            from_file = {name: value for name, value in from_file.items() if name not in pair}
    if "local_steps" in given:      # without epochs there is no last batch of them
        from_file.pop("last_batch", None)
    return {**from_file, **given}


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
