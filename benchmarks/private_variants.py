"""No comparison of speeds: what public solutions earn in a class with public variants, and in one with a private file.

    python benchmarks/private_variants.py hw1 hw2 [--private FILE] [--students N] [--json FILE]

Handed in, as it is, for each of N students: the published file, and what `course solve --student` of the public package
writes for that student. Each is tried with the public tests of the student's folder, carved without the private file and
with it. Ids are "student 0", "student 1", ...; percentages are of the points by tests.
"""

import argparse
import tempfile
from pathlib import Path

import measure
from minifl.course import assignments, carve, proof

EXAMPLE = Path(__file__).resolve().parent.parent / "examples/private_variants/variants.py"
HANDED_IN = ("published file", "solve --student")


def shares(name, student, private=None):
    """The share of the points, 0 to 1, that each of HANDED_IN earns in a student's folder."""
    public, assignment = assignments.load(name), assignments.load(name, private)
    texts = [proof._reference(public, assignments.variant_of(public, each)) for each in ("", student)]
    with tempfile.TemporaryDirectory() as folder:
        carve.write_tree(assignment, Path(folder), student=student)
        results = proof._trial(Path(folder), texts)
    points = sum(assignments.parts(assignment).values())
    # what cannot be tried, as its file cannot be imported, is a message
    return [0 if isinstance(result, str) else sum(outcome[3] for outcome in result) / points for result in results]


def against(name, students, private=None):
    """How many variants there are, how many pairs should share one, and what each of HANDED_IN earns."""
    variants, share = assignments.odds(assignments.load(name, private))
    earned = zip(*(shares(name, f"student {i}", private) for i in range(students)))
    return {"variants": round(variants), "expected pairs": students * (students - 1) / 2 * share,
            **{what: {"mean": 100 * sum(each) / students, "full marks": sum(one == 1 for one in each)}
               for what, each in zip(HANDED_IN, earned)}}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("assignments", nargs="+", choices=assignments.NAMES)
    parser.add_argument("--private", default=EXAMPLE, type=Path, help="default: the example")
    parser.add_argument("--students", type=int, default=60)
    parser.add_argument("--json", type=Path)
    given, found = parser.parse_args(), {}
    for name in given.assignments:
        if assignments.load(name, given.private).draw is None:
            parser.error(f"{given.private} has no function {name}")
        found[name] = {"public": against(name, given.students), "private": against(name, given.students, given.private)}
        for whose, row in found[name].items():
            earned = "; ".join(f"{what} {row[what]['mean']:.0f} %, {row[what]['full marks']} of {given.students} full marks"
                               for what in HANDED_IN)
            print(f"{name}, {whose}: {earned}; {row['variants']:,} variants, {row['expected pairs']:.2g} pairs share one",
                  flush=True)
    if given.json:
        measure.write(given.json, {"command": measure.command(), "students": given.students, "assignments": found})


if __name__ == "__main__":
    main()
