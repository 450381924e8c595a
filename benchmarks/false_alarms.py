"""What the check says of pairs that are right, and of pairs that are wrong: on random cases of every layer of ours.

    python benchmarks/false_alarms.py [--cases N] [--seed N] [--json FILE]

A check that is to be believed says nothing wrong of a right pair, whatever the shapes and the sizes of the numbers, and
its measured tolerances hide no error. `record` counts the first, `mutant_record` the second. The exit code is 1 after a
false alarm.
"""

import argparse
from collections import Counter
from pathlib import Path

import numpy as np

import measure
from minifl.errors import InputError
from minifl.gradcheck.check import check
from minifl.gradcheck.mutants import MUTANTS
from minifl.rng import CHECK, address
from random_cases import LAYERS, random_case

MODES = (("auto", "float64"), ("auto", "float64"), ("central", "float64"), ("auto", "float32"))   # in turn
ATTEMPTS = 50        # draws for a case in which there is something to compare
EXAMPLES = 40        # cases of a mutant


def cases(count, seed):
    """(layer, instrument asked for, precision, Case, Report) until there are `count` conclusive ones, the inconclusive
    ones among them: cases in which a gradient vanishes or is rounding alone. Each is followed by another draw."""
    if count < 1 or seed < 0:
        raise InputError(f"--cases {count} with seed {seed}: at least 1 case and a seed of at least 0 are needed.")
    layers = list(LAYERS)
    for i in range(count):
        layer, (instrument, precision) = layers[i % len(layers)], MODES[i // len(layers) % len(MODES)]
        for attempt in range(ATTEMPTS):
            case, report = _checked(layer, instrument, precision, (seed, CHECK, i, attempt))
            yield layer, instrument, precision, case, report
            if not report.inconclusive:
                break
        else:
            raise RuntimeError(f"{layer}: nothing to compare in {ATTEMPTS} draws; its draws are of no use")


def record(count=10_000, seed=0):
    """How many of `count` random cases of right pairs raise an alarm, as a dict that JSON can hold."""
    counts = {what: Counter() for what in ("layers", "instruments", "inconclusive")}
    alarms = []
    for layer, instrument, precision, case, report in cases(count, seed):
        if report.inconclusive:
            counts["inconclusive"][layer] += 1
            continue
        used = report.blocks[0].instrument if report.blocks else instrument
        counts["layers"][layer] += 1
        counts["instruments"][f"{used}, {precision}"] += 1
        if not report.passed:
            alarms.append({"layer": layer, "shapes": case.what, "instrument": used, "precision": precision,
                           "report": str(report)})
    return {"cases": count, "seed": seed, "alarms": alarms, "inconclusive": sum(counts["inconclusive"].values()),
            "by instrument": dict(counts["instruments"]), "by layer": dict(counts["layers"]),
            "inconclusive by layer": dict(counts["inconclusive"]), "numpy": np.__version__}


def lines_of(found):
    """The same as lines of text."""
    for alarm in found["alarms"]:
        yield f"FALSE ALARM {alarm['layer']} {alarm['shapes']} {alarm['precision']}\n{alarm['report']}"
    for layer, number in found["by layer"].items():
        wrong = sum(alarm["layer"] == layer for alarm in found["alarms"])
        yield f"{layer:<24} {number:>6} cases  {wrong} false alarms"
    used = ", ".join(f"{number} by {name}" for name, number in found["by instrument"].items())
    share = found["inconclusive"] / (found["inconclusive"] + found["cases"])
    yield (f"{found['cases']} random correct cases of {len(found['by layer'])} layers ({used}): "
           f"{len(found['alarms'])} false alarms; {found['inconclusive']} draws ({share:.1%}) had nothing to compare and "
           "were drawn anew")


def mutant_record(examples=EXAMPLES, seed=0):
    """For every wrong backward pass of a layer: how many random cases were conclusive, in how many of them the check,
    with its measured tolerances, saw that it is wrong, and the hints that it gave, most frequent first."""
    found = []
    for number, mutant in enumerate(m for m in MUTANTS if m.module is None):
        wrong, conclusive, hints = 0, 0, Counter()
        for i in range(examples):
            instrument, precision = MODES[i % len(MODES)]
            try:
                _, report = _checked(mutant.layer, instrument, precision, (seed, CHECK, number, i), mutant.wrong)
            except Exception as error:   # whatever a wrong backward raises: shapes that do not fit, mostly
                wrong, conclusive = wrong + 1, conclusive + 1
                hints[f"raises {type(error).__name__}"] += 1
                continue
            conclusive += not report.inconclusive
            wrong += not report.passed and not report.inconclusive
            hints.update(hint for hint in report.hints if not report.inconclusive)
        found.append({"layer": mutant.layer, "mistake": mutant.mistake, "conclusive": conclusive, "caught": wrong,
                      "hints": [hint for hint, _ in hints.most_common()]})
    return found


def _checked(layer, instrument, precision, place, backward=None):
    """A random case at this place, and the Report of its layer, or of another backward for it."""
    rng = address(*place)
    case = random_case(layer, rng)
    inputs = {name: array.astype(precision) if array.dtype.kind == "f" else array
              for name, array in case.draw(rng).items()}
    report = check(case.forward, backward or case.backward, inputs, fixed=case.fixed, instrument=instrument, seed=place)
    return case, report


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--cases", type=int, default=10_000, help="How many.")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    try:
        found = record(arguments.cases, arguments.seed)
    except InputError as error:
        parser.error(str(error))
    print("\n".join(lines_of(found)))
    if arguments.json:
        measure.write(arguments.json, found)
    raise SystemExit(bool(found["alarms"]))


if __name__ == "__main__":
    main()
