"""A study: a table or figure of the paper as data, rows x columns of runs beside its numbers.

    settings of the cell (row, column) = study.base | row | column | rounds, seed

Names and values are those of `Settings`. Nothing here reads a file or trains.
"""

from collections.abc import Iterable
from typing import NamedTuple

from minifl.errors import InputError
from minifl.runs.settings import Settings, settings_for

# Testing the clients' own models would double the time of a short run, and no table of the paper shows them.
BASE = {"data": "cifar10", "local_eval_every": 0}


class Study(NamedTuple):
    """A table or figure. Accuracies are in percent."""
    name: str
    title: str
    kind: str             # table; points: accuracy against the columns; curves: accuracy against the rounds
    rows: dict            # label -> choices
    columns: dict         # label -> choices
    paper: dict           # row label -> a number for each column, None where there is none; curves: for each of marks
    base: dict = BASE
    rounds: int = 10_000  # of the paper
    seeds: int = 1        # runs that the paper averages
    note: str = ""
    axis: str = ""        # what a points figure has along x: its column labels are numbers
    marks: tuple = ()     # rounds of the paper's points in a curve


class Cell(NamedTuple):
    """One number of a table: its runs, one for each seed."""
    row: str
    column: str
    paper: object        # its accuracy in percent; curves: one for each of study.marks; None: not known
    chosen: tuple[dict, ...]
    settings: tuple[Settings, ...]


def cells(study: Study, *, rounds: int | None = None, seeds: Iterable[int] | None = None, only: Iterable[str] = (),
          data: str | None = None) -> list[Cell]:
    """The cells of a study, row by row.

    rounds  instead of the paper's
    data    instead of the paper's data set; where that is another one, the paper's numbers are not comparable and are
            left out
    seeds   whole numbers; default 0, 1, ... as many as the paper averages
    only    row or column labels, or parts of them: a cell stays if its row is meant by one of those that are about
            rows, if there are any, and its column likewise; a whole label means that one only
    Raises InputError for a part that no label has.
    """
    rows, columns = (_meant(labels, only) for labels in (study.rows, study.columns))
    for part in only:
        if not any(_meant(labels, [part], ()) for labels in (study.rows, study.columns)):
            raise InputError(f"--only {part!r} is in no row or column of {study.name}; its rows are "
                             f"{', '.join(study.rows)}; its columns "
                             f"{', '.join(filter(None, study.columns)) or 'none'}.")
    found = []
    for row, own in study.rows.items():
        for i, (column, of_column) in enumerate(study.columns.items()):
            if row in rows and column in columns:
                numbers = study.paper.get(row)
                choices = {**study.base, **own, **of_column, "rounds": rounds or study.rounds}
                if data not in (None, choices["data"]):
                    numbers, choices["data"] = None, data
                paper = numbers if study.kind == "curves" else numbers and numbers[i]
                chosen = tuple({**choices, "seed": seed} for seed in (range(study.seeds) if seeds is None else seeds))
                found.append(Cell(row, column, paper, chosen, tuple(settings_for(own["data"], own) for own in chosen)))
    return found


def _meant(labels, only, otherwise=None):
    """The labels that are meant by one of `only`; if none is, `otherwise`, all labels by default."""
    found = set()
    for part in only:
        whole = {label for label in labels if label.lower() == part.lower()}
        found |= whole or {label for label in labels if part.lower() in label.lower()}
    return found or set(labels if otherwise is None else otherwise)
