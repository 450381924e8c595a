"""Our numbers against the paper's, cell by cell, always with the rounds that ours had."""

from collections.abc import Sequence
from math import log, nan
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from minifl.paper.records import Measured, measured, shown
from minifl.paper.study import Cell, Study
from minifl.runs.summary import markdown

WITHIN = 5   # points of the best: how far the range of good learning rates goes


def table(study: Study, cells: list[Cell], folder: str | Path) -> str:
    """A Markdown table with a line for each cell; of curves one for each of the paper's points that ours reach."""
    names = {"rows": any(cell.row for cell in cells), "columns": any(cell.column for cell in cells)}
    head = ("row",) * names["rows"] + ("column",) * names["columns"] + (
        "rounds", "runs", "client mean", "its mean of last 5", "all examples, mean of last 5",
        f"paper, {study.rounds:,} rounds" if study.kind != "curves" else "paper, so many rounds", "difference")
    lines = []
    for cell in cells:
        for rounds, paper in points(study, cell):
            found = measured(cell, folder, rounds)
            lines.append((cell.row,) * names["rows"] + (cell.column,) * names["columns"] + (
                f"{rounds:,}", *_numbers(found), "-" if paper is None else f"{paper:g}", _difference(found, paper)))
    return markdown([head, *lines])


def points(study: Study, cell: Cell) -> list:
    """(rounds, the paper's number or None) of a cell: its end, and for a curve the paper's marks up to there."""
    rounds = cell.settings[0].rounds
    if study.kind != "curves":
        return [(rounds, cell.paper)]
    numbers = cell.paper or [None] * len(study.marks)
    marks = [(mark, paper) for mark, paper in zip(study.marks, numbers) if mark <= rounds]
    return marks if marks and marks[-1][0] == rounds else [*marks, (rounds, None)]


def standing(study: Study, cells: list[Cell], folder: str | Path) -> str:
    """One sentence on how far these runs are from the paper's protocol."""
    ended = [measured(cell, folder) for cell in cells]
    done = sum(found is not None for found in ended)
    rounds = cells[0].settings[0].rounds
    part = f"{rounds:,} rounds, as in the paper" if rounds == study.rounds else \
        f"{rounds:,} rounds, {100 * rounds / study.rounds:.3g} % of the paper's {study.rounds:,}"
    return (f"{done} of {len(cells)} cells have runs that ended; {part}. Accuracies in percent, ± standard deviation "
            f"over runs; \"client mean\" is the paper's accuracy, at the last evaluation as in the paper, which swings "
            f"by several points, and as the mean of the last five evaluations.")


class Range(NamedTuple):
    """The learning rates that come within some points of the best."""
    best: float
    best_rate: float
    lowest: float
    highest: float

    @property
    def width(self) -> float:
        """How many times the lowest the highest is."""
        return self.highest / self.lowest


def good_range(rates: Sequence[float], accuracies: Sequence[float | None]) -> Range:
    """The Range around the best rate in which every rate of the grid is WITHIN points of the best.

    rates ascending; an accuracy may be None, where no run ended: the range ends before it
    """
    best = max((i for i, a in enumerate(accuracies) if a is not None), key=lambda i: accuracies[i])
    good = [a is not None and a >= accuracies[best] - WITHIN for a in accuracies]
    first = last = best
    while first > 0 and good[first - 1]:
        first -= 1
    while last + 1 < len(rates) and good[last + 1]:
        last += 1
    return Range(accuracies[best], rates[best], rates[first], rates[last])


def rates_table(study: Study, cells: list[Cell], folder: str | Path) -> str:
    """The robustness to the learning rate: for each norm the range of rates within 5 points of its best."""
    lines = [("row", "", "best", "at", f"within {WITHIN} points", "width")]
    for row in dict.fromkeys(cell.row for cell in cells):
        own = [cell for cell in cells if cell.row == row]
        rates = [float(cell.column) for cell in own]
        for whose, values in (("ours", [accuracy(measured(cell, folder)) for cell in own]),
                              ("paper", [cell.paper for cell in own])):
            if any(value is not None for value in values):
                r = good_range(rates, values)
                lines.append((row, whose, f"{r.best:.2f}", f"{r.best_rate:g}", f"{r.lowest:g} to {r.highest:g}",
                              f"x {r.width:g}"))
    return markdown(lines)


def accuracy(found: Measured | None) -> float | None:
    """The number that a cell is judged by: the mean over runs of the client mean of the last 5 evaluations. None: no
    run ended, or one diverged."""
    if found is None or found.diverged or None in found.client_mean_of_5:
        return None
    return fmean(found.client_mean_of_5)


def overfitting_table(study: Study, found: dict) -> str:
    """Figure 2: accuracy of each class in percent, ours and the paper's, and their mean.

    found  a measurement of collapse.py
    """
    labels = tuple(study.paper)
    lines = [("class", *(f"{label}, {whose}" for label in labels for whose in ("ours", "paper")))]
    columns = [column for label in labels for column in ([100 * a for a in found[label]], study.paper[label])]
    for name, *values in zip((*found["classes"], "mean"), *([*column, fmean(column)] for column in columns)):
        lines.append((name, *(f"{value:.1f}" for value in values)))
    return markdown(lines)


def features_table(study: Study, found: dict) -> str:
    """Figure 3: what becomes of the features, step by step; the paper's numbers in the last lines."""
    last = len(found["vanilla"][0]["singular_values"])       # 100, fewer where the network has fewer features
    lines = [("network", "step", "loss", "‖w_1‖", "other ‖w_c‖", "feature norms", "σ_1", "σ_2", f"ln(σ_{last}/σ_1)",
              "of directions")]
    for label in study.paper["ln(σ_100/σ_1)"]:
        for look in found[label]:
            norms, sigma, directions = (look[name] for name in ("classifier_norms", "singular_values",
                                                                "direction_singular_values"))
            lines.append((label, str(look["step"]), f"{look['loss']:.3g}", f"{norms[1]:.3f}",
                          f"{fmean(norms[:1] + norms[2:]):.3f}",
                          f"{min(look['feature_norms']):.3g} to {max(look['feature_norms']):.3g}",
                          f"{sigma[0]:.4g}", f"{sigma[1]:.3g}",
                          *(f"{last_to_first(s):.1f}" for s in (sigma, directions))))
    *values, logarithms = study.paper.values()      # all but the last are the plain network's
    of_vanilla = tuple(" to ".join(f"{v:g}" for v in (value if isinstance(value, tuple) else (value,)))
                       for value in values)
    for label, logarithm in logarithms.items():
        lines.append((f"{label}, paper", "?", "-", *(of_vanilla if label == "vanilla" else ("-",) * 5),
                      f"{logarithm:g}", "-"))
    return markdown(lines)


def last_to_first(singular_values: Sequence[float]) -> float:
    """ln of the last singular value over the first; below the rounding of float32, 1e-7, it says no more than that. NaN
    where all are 0."""
    first, last = singular_values[0], singular_values[-1]
    return log(max(last, 1e-30) / first) if first else nan


def _numbers(found):
    if found is None:
        return "0", "-", "-", "-"
    count = str(len(found.seeds + found.diverged)) + (f", {len(found.diverged)} diverged" if found.diverged else "")
    return count, *map(shown, (found.client_mean, found.client_mean_of_5, found.accuracy_of_5))


def _difference(found, paper):
    ours = accuracy(found)
    return "-" if paper is None or ours is None else f"{ours - paper:+.1f}"
