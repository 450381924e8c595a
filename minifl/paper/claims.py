"""Which of the paper's claims hold in our records, by rules that are written down, and after how many rounds.

A rule compares accuracies: the mean over runs of the client mean of the last five evaluations, in percent (report.py).
Its thresholds are well above what single runs differ by, 1 to 3 points by that mean, and well below what the paper
reports; its own numbers satisfy them all. A claim that fails at few rounds may hold at the paper's 10 000: the table
says how many it saw.
"""

import re
from collections.abc import Callable, Iterable
from pathlib import Path
from statistics import fmean
from typing import NamedTuple

from minifl.paper import STUDIES, collapse
from minifl.paper.records import measured
from minifl.paper.report import accuracy, good_range, last_to_first
from minifl.paper.study import cells
from minifl.runs.summary import markdown

ABOUT_EQUAL = 5     # points within which two networks count as equally good
CLEARLY = 10        # points by which one is clearly ahead
CHANCE = 12         # percent, of ten classes: at most that is chance


class Claim(NamedTuple):
    """A statement of the paper and how it is judged."""
    text: str
    source: str
    cells: tuple        # (study, row, column) of the accuracies that the rule takes, in this order
    rule: str
    holds: Callable     # accuracies -> bool
    until: int = None   # judged after at most so many rounds


def _cells(study, rows, columns=("",)):
    return tuple((study, row, column) for row in rows for column in columns)


RATES = tuple(STUDIES["figure7"].columns)
CLAIMS = (
    Claim("With one class per client FN and LN learn, the plain network hardly does", "Fig. 4",
          _cells("figure4", ("vanilla", "FN", "LN")), "FN and LN both clearly (10 points) above vanilla",
          lambda vanilla, fn, ln: min(fn, ln) >= vanilla + CLEARLY),
    Claim("In the first 400 rounds LN is ahead of FN there", "Fig. 4", _cells("figure4", ("FN", "LN")),
          "LN at least 3 points above FN", lambda fn, ln: ln >= fn + 3, 400),
    Claim("In the first 400 rounds FN and LN are ahead of central training of the plain network", "Fig. 4",
          _cells("figure4", ("centralized", "FN", "LN")), "both above", lambda central, fn, ln: min(fn, ln) > central,
          400),
    Claim("FN at every layer or last only is the same without biases (Proposition 1)", "Table 3",
          _cells("table3", ("no bias, FN layer-wise", "no bias, FN last"), ("1 class",)), "within 5 points",
          lambda a, b: abs(a - b) <= ABOUT_EQUAL),
    Claim("LN at every layer or reduced is the same without biases (Proposition 2)", "Table 3",
          _cells("table3", ("no bias, LN layer-wise", "no bias, LN reduced"), ("1 class",)), "within 5 points",
          lambda a, b: abs(a - b) <= ABOUT_EQUAL),
    Claim("With biases, where the propositions do not apply, FN last and LN reduced are as good, too", "Table 3",
          _cells("table3", ("bias, FN layer-wise", "bias, FN last", "bias, LN layer-wise", "bias, LN reduced"),
                 ("1 class",)), "each pair within 5 points",
          lambda a, b, c, d: max(abs(a - b), abs(c - d)) <= ABOUT_EQUAL),
    Claim("Group norm is as good as layer norm", "Tables 4, 6",
          (("table4", "GN(2)", "1 class"), ("table6", "static", "1 class")), "within 5 points",
          lambda gn, ln: abs(gn - ln) <= ABOUT_EQUAL),
    Claim("Batch norm fails with one class per client, its statistics averaged", "Table 4",
          (("table4", "FedAvg + BN", "1 class"),), "at most 12 %", lambda bn: bn <= CHANCE),
    Claim("LN's gain and bias, and its place, hardly matter", "Table 6",
          _cells("table6", STUDIES["table6"].rows, ("1 class",)), "all within 5 points",
          lambda *values: max(values) - min(values) <= ABOUT_EQUAL),
    Claim("FedYogi alone is far ahead of FedAvg", "Table 14",
          (("table14", "FedAvg", "CNN"), ("table14", "FedYogi", "CNN")), "by 10 points",
          lambda avg, yogi: yogi >= avg + CLEARLY),
    Claim("FN and LN add to FedYogi", "Table 12",
          _cells("table12", ("FedYogi", "FN + FedYogi", "LN + FedYogi"), ("1 class",)), "both at least 3 points above",
          lambda yogi, fn, ln: min(fn, ln) >= yogi + 3),
    Claim("The more label skew, the more FN and LN gain", "Fig. 5",
          _cells("figure5", ("vanilla", "FN", "LN"), ("0.02", "2")),
          "both gain at least 5 points more at β = 0.02 than at 2",
          lambda v, v2, fn, fn2, ln, ln2: min(fn - v - (fn2 - v2), ln - v - (ln2 - v2)) >= 5),
    Claim("FN and LN are ahead of the plain network at every learning rate that trains", "Fig. 7",
          _cells("figure7", ("vanilla", "FN", "LN"), RATES[:5]), "both above at 0.001 to 0.1",
          lambda *values: all(min(values[5 + i], values[10 + i]) > values[i] for i in range(5))),
    Claim("FN and LN are robust to the learning rate", "Fig. 7", _cells("figure7", ("vanilla", "FN", "LN"), RATES[:5]),
          "the range within 5 points of the best is wider than vanilla's",
          lambda *values: min(_width(values[5:10]), _width(values[10:])) > _width(values[:5])),
)


def _width(accuracies):
    return good_range([float(rate) for rate in RATES[:5]], accuracies).width


def table(folder: str | Path) -> str:
    """A Markdown table with a line for each claim, judged by the records in `folder`."""
    lines = [("claim", "paper", "counts as holding", "ours", "rounds", "runs", "verdict")]
    for claim in CLAIMS:
        rounds, found = of_most_rounds(claim.cells, folder, claim.until)
        if rounds is None:
            lines.append((claim.text, claim.source, claim.rule, "-", "-", "0", "not measured"))
            continue
        values = [accuracy(one) for one in found]
        verdict = "holds" if None not in values and claim.holds(*values) else "**does not hold**"
        ours = ", ".join("diverged" if value is None else f"{value:.1f}" for value in values)
        runs = len(found[0].seeds + found[0].diverged)
        lines.append((claim.text, claim.source, claim.rule, ours, f"{rounds:,}", str(runs), verdict))
    return markdown(lines + _closeups(folder))


def of_most_rounds(wanted: Iterable[tuple], folder: str | Path,
                   until: int | None = None) -> tuple[int | None, list | None]:
    """(rounds, a Measured for each cell): with the most rounds, at most `until`, of which all cells have runs, of all
    seeds that all of them have; (None, None) without any."""
    found = [re.search(r"-rounds(\d+)-seed(\d+)$", path.name) for path in Path(folder).glob("*")]
    marks = {tuple(map(int, one.groups())) for one in found if one}
    ends = {rounds for rounds, _ in marks}
    for rounds in sorted({end for end in ends if end < until} | {until} if until else ends, reverse=True):
        seeds = [seed for seed in sorted({seed for _, seed in marks})
                 if all(measured(_cell(one, rounds, [seed]), folder) for one in wanted)]
        if seeds:
            return rounds, [measured(_cell(one, rounds, seeds), folder) for one in wanted]
    return None, None


def _cell(which, rounds, seeds):
    study, row, column = which
    return next(cell for cell in cells(STUDIES[study], rounds=rounds, seeds=seeds)
                if (cell.row, cell.column) == (row, column))


def _closeups(folder):
    """Lines for the claims of Figures 2 and 3, one for each start that was measured."""
    lines = []
    for file in sorted(Path(folder).glob("figure2-*.json")):
        found = collapse.read(file)
        before, vanilla, fn = (100 * fmean(found[label]) for label in ("pre-trained", "vanilla", "FN"))
        lines.append((f"Five local steps on one class ruin the plain network, less so with FN; from {found['begins']}",
                      "Fig. 2", "FN 10 points above vanilla after them",
                      f"{before:.1f} before; {vanilla:.1f}, {fn:.1f}", "-", "1",
                      "holds" if fn >= vanilla + CLEARLY else "**does not hold**"))
    for file in sorted(Path(folder).glob("figure3-*.json")):
        found = collapse.read(file)
        vanilla, fn = (last_to_first(found[label][-1]["singular_values"]) for label in ("vanilla", "FN"))
        lines.append((f"A client alone lets the plain network's features collapse, less so with FN; from "
                      f"{found['begins']}", "Fig. 3", "ln(σ_100/σ_1) lower by at least 1", f"{vanilla:.1f}, {fn:.1f}",
                      "-", "1", "holds" if vanilla <= fn - 1 else "**does not hold**"))
    return lines
