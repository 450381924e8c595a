"""Tables of finished runs, made from their records alone."""

from pathlib import Path
from statistics import fmean, median, stdev
from typing import NamedTuple

from minifl.errors import InputError
from minifl.fl import record
from minifl.fl.settings import BELONGS, settings_for

FIRST = ("data", "setting", "algorithm", "norm")
NOT_SHOWN = ("seed", "rounds", "eval_every", "local_eval_every")   # rounds done have a column; looking changes nothing
ACCURACIES = ("accuracy", "mean of last 5", "client mean")
LAST = 5   # single evaluations swing by several points, so the mean over the last few is shown, too


def table(paths):
    """A Markdown table with a line for each run directory, accuracies in percent.

    Raises InputError if one is no run directory or has not been evaluated yet.
    """
    rows = []
    for path in paths:
        run = _read(path)
        rows.append((Path(path).name, *(str(run.settings[name]) for name in FIRST), str(run.settings["seed"]),
                     str(run.rounds), *(_percent([value]) for value in run.accuracies), _seconds(run.seconds)))
    return markdown([("run", *FIRST, "seed", "rounds", *ACCURACIES, "s/round"), *rows])


def mean_table(paths):
    """A Markdown table with a line for the runs that differ in their seed only: mean ± standard deviation.

    Beside data, setting, method and norm it names every other setting in which the runs differ; what belongs to another
    choice (a hyperparameter to a method) where runs of the same choice do. One run alone has no standard deviation.
    """
    runs = [_read(path) for path in paths]
    differing = [name for name in runs[0].settings if name not in (*FIRST, *NOT_SHOWN) and _differs(name, runs)]
    groups = {}
    for run in runs:
        key = tuple("-" if run.settings[name] is None else str(run.settings[name]) for name in (*FIRST, *differing))
        groups.setdefault((*key, str(run.rounds)), []).append(run)
    rows = [(*key, str(len(group)), *map(_percent, zip(*(run.accuracies for run in group))),
             _seconds([second for run in group for second in run.seconds])) for key, group in groups.items()]
    return markdown([(*FIRST, *differing, "rounds", "runs", *ACCURACIES, "s/round"), *rows])


def _differs(name, runs):
    owner = BELONGS[name][0] if name in BELONGS else None
    values = {(run.settings[owner] if owner else None, str(run.settings[name])) for run in runs}
    return len(values) > len({choice for choice, _ in values})


class _Run(NamedTuple):
    settings: dict
    rounds: int         # at the last evaluation
    accuracies: tuple   # in the order of ACCURACIES, in [0, 1] or None
    seconds: list


def _read(path):
    settings = record.read_config(path)["settings"]
    tested = [line for line in record.read_rounds(path) if "accuracy" in line]
    if not tested:
        raise InputError(f"{path} has no evaluation yet.")
    accuracies = (tested[-1]["accuracy"], fmean(line["accuracy"] for line in tested[-LAST:]),
                  tested[-1]["client_mean_accuracy"])
    return _Run(vars(settings_for(settings.get("data"), settings)), tested[-1]["round"], accuracies,
                record.read_seconds(path))


def _percent(values):
    if None in values:
        return "-"
    mean = f"{100 * fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * stdev(values):.2f}"


def _seconds(seconds):
    return f"{median(seconds):.2f}" if seconds else "-"


def markdown(rows):
    """A Markdown table of rows of strings, the header first."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
