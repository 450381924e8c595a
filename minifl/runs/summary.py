"""Tables of finished runs, made from their records alone."""

from collections.abc import Sequence
from math import inf
from pathlib import Path
from statistics import fmean, median, stdev
from typing import Any, NamedTuple

from minifl.errors import InputError
from minifl.runs import record
from minifl.runs.recorded import settings_in
from minifl.runs.settings import LOOKING, belongs

FIRST = ("data", "setting", "algorithm", "norm")
NOT_SHOWN = ("seed", "rounds", *LOOKING)   # rounds done have a column
ACCURACIES = ("accuracy", "mean of last 5", "client mean")
LAST = 5   # single evaluations swing by several points, so the mean over the last few is shown, too


def table(paths: Sequence[str | Path]) -> str:
    """A Markdown table with a line for each run directory, accuracies in percent.

    Raises InputError if one is no run directory or has not been evaluated yet.
    """
    rows = []
    for path in paths:
        run = read(path)
        rows.append((Path(path).name, *(str(run.settings[name]) for name in FIRST), str(run.settings["seed"]),
                     str(run.rounds), *(_percent([value]) for value in run.accuracies), _seconds(run.seconds)))
    return markdown([("run", *FIRST, "seed", "rounds", *ACCURACIES, "s/round"), *rows])


def mean_table(paths: Sequence[str | Path]) -> str:
    """A Markdown table with a line for the runs that differ in their seed only: mean ± standard deviation.

    Beside data, setting, method and norm it names every other setting in which the runs differ; what belongs to another
    choice (a hyperparameter to a method) where runs of the same choice do. One run alone has no standard deviation.
    """
    names, groups = grouped([read(path) for path in paths])
    rows = [(*key, str(len(group)), *map(_percent, zip(*(run.accuracies for run in group))),
             _seconds([second for run in group for second in run.seconds])) for key, group in groups.items()]
    return markdown([(*names, "runs", *ACCURACIES, "s/round"), *rows])


def reach_table(paths: Sequence[str | Path], levels: Sequence[float], *, mean: bool = False) -> str:
    """A Markdown table: the first evaluated round at which the test accuracy reached each of `levels`, in percent.

    Single evaluations swing, so each level has a second column: the first round at which the mean of the last 5
    evaluations, that of the round and the four before it, reached it. "-" if never. With `mean` a line for the runs
    that differ in their seed only, "120 (2/3)": the median of their rounds, in which a run that never did comes after
    all others ("-" if it is the median), and how many of the runs did.
    """
    if not all(0 < level <= 100 for level in levels):
        raise InputError(f"--reach {','.join(f'{level:g}' for level in levels)} is invalid; it must be accuracies in "
                         f"percent, above 0 and at most 100, as 20,30,40.")
    runs = [read(path) for path in paths]
    names, lines = ("run",), [((run.path.name,), [run]) for run in runs]
    if mean:
        names, groups = grouped(runs)
        lines = groups.items()
    rows = [(*key, *(_reached(group, round(level / 100, 12), last, mean) for level in levels for last in (1, LAST)))
            for key, group in lines]
    heads = [text for level in levels for text in (f"{level:g} %", f"{level:g} %, mean of {LAST}")]
    return markdown([(*names, *heads), *rows])


def _reached(runs, level, last, counted):
    rounds = [first_reaching(run.tested, level, last) for run in runs]
    middle = median(inf if number is None else number for number in rounds)
    text = "-" if middle == inf else f"{middle:g}"
    return f"{text} ({len(rounds) - rounds.count(None)}/{len(rounds)})" if counted else text


def first_reaching(tested: Sequence, level: float, last: Any = 1) -> int | None:
    """The first round at which the mean of `last` evaluations, its own and those before it, is at least `level`.

    tested  (round, accuracy) of each evaluation, in order. None if that never happens, or there are fewer evaluations.
    """
    for i in range(last, len(tested) + 1):
        if fmean(accuracy for _, accuracy in tested[i - last:i]) >= level:
            return tested[i - 1][0]
    return None


def grouped(runs: list) -> tuple:
    """Runs that differ in their seed only, together: names of columns, and {values of these, as shown: the runs}.

    The columns are data, setting, method and norm, whatever else the runs differ in, and the rounds done.
    """
    known = dict.fromkeys(name for run in runs for name in run.settings)    # one's own methods have other hyperparameters
    differing = [name for name in known if name not in (*FIRST, *NOT_SHOWN) and _differs(name, runs)]
    groups = {}
    for run in runs:
        key = tuple("-" if run.settings.get(name) is None else str(run.settings[name]) for name in (*FIRST, *differing))
        groups.setdefault((*key, str(run.rounds)), []).append(run)
    return (*FIRST, *differing, "rounds"), groups


def _differs(name, runs):
    owner = belongs().get(name, (None,))[0]
    values = {(run.settings[owner] if owner else None, str(run.settings.get(name))) for run in runs}
    return len(values) > len({choice for choice, _ in values})


class Run(NamedTuple):
    """What a run's records say of it."""
    path: Path
    settings: dict
    rounds: int         # at the last evaluation
    accuracies: tuple   # in the order of ACCURACIES, in [0, 1] or None
    seconds: list
    tested: list        # (round, test accuracy of the global model) of each evaluation


def read(path: str | Path) -> Any:
    """The Run in the directory `path`; InputError if it is none or has not been evaluated yet."""
    settings = settings_in(path, record.read_config(path))
    tested = [line for line in record.read_rounds(path) if "accuracy" in line]
    record.check(path, record.PARTITION, record.DIAGNOSTICS)
    if not tested:
        raise InputError(f"{path} has no evaluation yet.")
    accuracies = (tested[-1]["accuracy"], fmean(line["accuracy"] for line in tested[-LAST:]),
                  tested[-1]["client_mean_accuracy"])
    return Run(Path(path), vars(settings), tested[-1]["round"], accuracies,
               record.read_seconds(path), [(line["round"], line["accuracy"]) for line in tested])


def _percent(values):
    if None in values:
        return "-"
    mean = f"{100 * fmean(values):.2f}"
    return mean if len(values) == 1 else f"{mean} ± {100 * stdev(values):.2f}"


def _seconds(seconds):
    return f"{median(seconds):.2f}" if seconds else "-"


def markdown(rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table of rows of strings, the header first."""
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    return "\n".join([lines[0], "|" + "|".join("-" * (width + 2) for width in widths) + "|", *lines[1:]])
