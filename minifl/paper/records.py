"""From a study's cells to the run directories that hold their runs, and back to numbers.

Tables share runs: a run's directory is named by its settings (naming.py). Randomness is addressed, so the first rounds
of a longer run are the shorter run to the bit, and it serves a cell of fewer rounds, too, if it was tested then.
"""

import re
from collections.abc import Sequence
from pathlib import Path
from statistics import fmean, stdev
from typing import NamedTuple

from minifl.errors import InputError
from minifl.paper.naming import run_name, stem
from minifl.paper.study import Cell
from minifl.runs import record
from minifl.runs.recorded import settings_in
from minifl.runs.settings import LOOKING, Settings
from minifl.runs.summary import LAST
from minifl.runs.sweep import Run


class Measured(NamedTuple):
    """What the runs of a cell reached, in percent, a number for each run; None: without any test example."""
    rounds: int
    seeds: tuple
    client_mean: tuple        # the mean over clients, last evaluation: what the paper reports
    client_mean_of_5: tuple   # mean over the last 5 evaluations
    accuracy_of_5: tuple      # of all test examples
    diverged: tuple           # seeds of which the loss became infinite; they have no number above


def runs(cells: list[Cell], folder: str | Path, model: bool = False) -> list[Run]:
    """The runs of cells, each once, as the sweep performs them; model: see `where`. InputError if a directory holds
    another run."""
    found = {}
    for cell in cells:
        for chosen, settings in zip(cell.chosen, cell.settings):
            path = where(folder, settings, model)
            found.setdefault(path, Run(path, chosen, settings, _status(path, settings)))
    return list(found.values())


def where(folder: str | Path, settings: Settings, model: bool = False) -> Path:
    """The directory of a run: the one of its own name, else one of more rounds, if it was tested after these.

    model   its model is wanted, too, not its record alone: then it is the one of its own name
    """
    own = Path(folder) / run_name(settings)
    if not model and not (own / record.CONFIG).exists() and settings.lr_schedule == "constant":
        pattern = re.compile(rf"{re.escape(stem(settings))}-rounds(\d+)-seed{settings.seed}")
        longer = [path for path in Path(folder).glob("*")
                  if (found := pattern.fullmatch(path.name)) and int(found[1]) > settings.rounds]
        for path in sorted(longer):
            if (record.read_end(path) or {}).get("status") == "finished" and \
                    any(line["round"] == settings.rounds for line in evaluations(path, settings.rounds)):
                return path
    return own


def evaluations(path: str | Path, rounds: int) -> list[dict]:
    """The records of a run's tests up to that round."""
    return [line for line in record.read_rounds(path) if "accuracy" in line and line["round"] <= rounds]


def measured(cell: Cell, folder: str | Path, rounds: int | None = None) -> Measured | None:
    """What the runs of a cell that have ended reached, or had reached after so many rounds, if they were tested then;
    None if none has."""
    rounds = rounds or cell.settings[0].rounds
    seeds, diverged, numbers = [], [], []
    for settings in cell.settings:
        path = where(folder, settings)
        status = _status(path, settings)
        if status == "diverged":
            diverged.append(settings.seed)
        elif status == "finished":
            tested = evaluations(path, rounds)
            if tested and tested[-1]["round"] == rounds:
                seeds.append(settings.seed)
                numbers.append((percent(tested[-1:], "client_mean_accuracy"),
                                percent(tested[-LAST:], "client_mean_accuracy"), percent(tested[-LAST:], "accuracy")))
    if not seeds and not diverged:
        return None
    return Measured(rounds, tuple(seeds), *(zip(*numbers) if numbers else ((), (), ())), tuple(diverged))


def percent(lines: list[dict], name: str) -> float | None:
    """The mean of an accuracy over evaluations, in percent; None if one has none."""
    values = [line[name] for line in lines]
    return None if None in values else 100 * fmean(values)


def shown(values: Sequence[float | None]) -> str:
    """Mean ± standard deviation over runs."""
    if not values or None in values:
        return "-"
    return f"{fmean(values):.2f}" + (f" ± {stdev(values):.2f}" if len(values) > 1 else "")


def _status(path, settings):
    """new, begun, or as end.json has it, of the run with these settings; how often one looked is no difference."""
    if not (path / record.CONFIG).exists():
        return "new"
    held = vars(settings_in(path, record.read_config(path)))
    for name, value in vars(settings).items():
        longer = name == "rounds" and held[name] > value
        if held[name] != value and name not in LOOKING and not longer:
            raise InputError(f"{path} holds a run with --{name.replace('_', '-')} {held[name]}, not {value}; choose "
                             f"another --out.")
    end = record.read_end(path)
    return end["status"] if end else "begun"
