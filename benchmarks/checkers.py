"""Our mutants and our right backward passes before the rules of other gradient checkers, beside our own instruments.

    python benchmarks/checkers.py [--layer NAME] [--seed N] [--json FILE]

Every checker gets the same pairs at the same inputs: each case of the registry, and the loss of a network as a function
of its parameter blocks. A rule that rejects a wrong backward and in the same case the right one, too, has seen nothing
there. So a mutant counts as caught if some case in which it is wrong is rejected, and as told from the right one if the
right one is accepted in such a case. The exit code is 1 if our own instruments together miss one, or reject a right one.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

import measure
from checker_rules import RULES
from checker_trials import OURS, RAISED, SUITE, right_trials, wrong_trials
from minifl.errors import InputError
from minifl.gradcheck.mutants import MUTANTS

RIGHT_SEEDS = 3     # draws of each right backward pass


def record(seed=0, layer=None):
    """Everything as a dict of JSON's types: seed, right_seeds, numpy (its version), rows: for each checker

        caught, told, of    mutants rejected in some case; in one where the right one is accepted; that it was shown
        cases_told, cases   the same of single cases in which a mutant is wrong (a network is one)
        alarms, checks      right backward passes rejected, of how many
        seconds             for all of it; None for one instrument of several
        missed, untold      mutants that were not caught; that were, but not told from the right one: "layer: mistake"
        missed_cases        accepted where they are wrong: "layer: mistake (case), off by so much of the largest entry";
                            None for one instrument of several
        alarmed             "layer: case" or network -> how often its right backward was rejected
    layer: only the mutants and right passes of that layer or model, or of the network of that full name. Raises
    InputError where there are none.
    """
    chosen = [mutant for mutant in MUTANTS if layer in (None, mutant.layer, mutant.layer.split(":")[0])]
    if not chosen:
        known = dict.fromkeys(name for mutant in MUTANTS for name in (mutant.layer.split(":")[0], mutant.layer))
        raise InputError(f"layer {layer!r} has no mutants; valid are {', '.join(known)}.")
    seconds = Counter()
    wrong = [trial for mutant in chosen for trial in wrong_trials(mutant, seed, seconds)]
    right = [trial for s in range(seed, seed + RIGHT_SEEDS) for trial in right_trials(chosen, s, seconds)]
    noticed = {name for trial in wrong + right for name in trial.rejected if name.startswith(OURS)}
    instruments = sorted(noticed - {SUITE, RAISED})
    rows = [_row(checker, wrong, right, seconds) for checker in (*RULES, *instruments, SUITE)]
    return {"seed": seed, "right_seeds": RIGHT_SEEDS, "numpy": np.__version__, "rows": rows}


def table_rows(found):
    """Rows of strings for a table, the header first, from a record."""
    rows = [("checker", "mutants caught", "told from the right one", "in single cases", "right rejected", "seconds")]
    for row in found["rows"]:
        rows.append((row["checker"], f"{row['caught']} of {row['of']}", str(row["told"]),
                     f"{row['cases_told']} of {row['cases']}", f"{row['alarms']} of {row['checks']}",
                     "-" if row["seconds"] is None else f"{row['seconds']:.0f}"))
    return rows


def lines_of(found):
    """The lines of the report: the table in Markdown, then what each checker missed and what it rejected wrongly. Of
    our single instruments, some of which look for one property alone, there are only the numbers."""
    rows = table_rows(found)
    widths = [max(map(len, column)) for column in zip(*rows)]
    for row in (rows[0], ["-" * width for width in widths], *rows[1:]):
        yield "| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |"
    for row in found["rows"]:
        if _is_one_of_ours(row["checker"]):
            continue
        alarmed = [f"{name}, {times} of {found['right_seeds']} draws" for name, times in row["alarmed"].items()]
        for what, names in (("does not catch", row["missed"]), ("rejects only where it rejects the right one, too",
                                                                row["untold"]),
                            ("accepts in single cases", row["missed_cases"]), ("rejects though it is right", alarmed)):
            if names:
                yield from ("", f"{row['checker']} {what}:", *(f"  {name}" for name in names))


def _is_one_of_ours(checker):
    return checker.startswith(OURS) and checker != SUITE


def _row(checker, wrong, right, seconds):
    single = _is_one_of_ours(checker)
    if single:    # where it noticed no layer's mutant, or no network's, it is taken not to run
        kinds = {not trial.case for trial in wrong if checker in trial.rejected}
        wrong = [trial for trial in wrong if (not trial.case) in kinds]
    counted = {checker, RAISED} if single else {checker}     # what raises is noticed by all instruments
    alarms = [trial for trial in right if counted & trial.rejected]
    blind = {(trial.where, trial.case, trial.seed) for trial in alarms}
    every = dict.fromkeys((trial.where, trial.mistake) for trial in wrong)
    seen = [trial for trial in wrong if counted & trial.rejected]
    seen_well = [trial for trial in seen if (trial.where, trial.case, trial.seed) not in blind]
    caught, told = ({(trial.where, trial.mistake) for trial in trials} for trials in (seen, seen_well))
    return {
        "checker": checker, "caught": len(caught), "told": len(told), "of": len(every),
        "cases_told": len(seen_well), "cases": len(wrong), "alarms": len(alarms), "checks": len(right),
        "seconds": None if single else round(seconds[checker], 1),
        "missed": [": ".join(mutant) for mutant in every if mutant not in caught],
        "untold": [": ".join(mutant) for mutant in every if mutant in caught - told],
        "missed_cases": None if single else [_described(trial) for trial in wrong if trial not in seen],
        "alarmed": dict(Counter(f"{trial.where}: {trial.case}" if trial.case else trial.where for trial in alarms)),
    }


def _described(trial):
    case = f" ({trial.case})" if trial.case else ""
    off = f"off by {trial.off:.0e}" if np.isfinite(trial.off) else "of another form"
    return f"{trial.where}: {trial.mistake}{case}, {off}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--layer", help="Only this layer or network.")
    parser.add_argument("--seed", type=int, default=0, help="Of inputs and cotangents.")
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    try:
        found = record(arguments.seed, arguments.layer)
    except InputError as error:
        parser.error(str(error))
    print("\n".join(lines_of(found)))
    if arguments.json:
        measure.write(arguments.json, found)
    ours = next(row for row in found["rows"] if row["checker"] == SUITE)
    raise SystemExit(bool(ours["alarms"] or ours["told"] < ours["of"]))


if __name__ == "__main__":
    main()
