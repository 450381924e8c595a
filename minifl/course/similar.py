"""How alike the submissions of a class are, to each other, to what is published, and to earlier terms.

Compared are runs of tokens, see fingerprints.py; WHAT says which of them count.
"""

from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from itertools import combinations
from pathlib import Path
from typing import NamedTuple

from minifl.course import assignments, fingerprints
from minifl.course.assignments import Assignment

WHAT = """Compared are runs of tokens, without names, numbers and comments, and without what was handed out. Of a pair of
students neither those runs count that the reference solution has, nor those that more than a quarter of the class has:
formulas are short, and whoever is right writes much the same. What is left is what nobody has to write so; the share is that
of the one who has less of it. It is no proof, only what to read side by side first."""
FEWEST = 25       # runs of one's own below which a share says nothing
COMMON = 0.25     # of the class
LEAST_CLASS = 4   # submissions that have a run before it can be what everybody writes
PASSAGES = 5      # shown of a pair
LINES = 12        # of a passage


class One(NamedTuple):
    """A submission to be compared, or what is published."""
    name: str
    files: dict      # file -> (text, tokens)
    runs: dict       # run -> where, without what was handed out


class Pair(NamedTuple):
    """Two that are alike."""
    share: float
    one: One
    two: One
    runs: set        # that both have


def submission(name: str, paths: tuple[Path, ...], assignment: Assignment, given: set) -> One | str:
    """A One of what was handed in; why it is none. given: runs of what was handed out."""
    files = fingerprints.read_from(paths, assignment.files)
    return files if isinstance(files, str) else of(name, files, given)


def of(name: str, files: dict[str, tuple], given: set) -> One:
    """A One of file -> (text, tokens)."""
    return One(name, files, {run: where for run, where in fingerprints.runs(files).items() if run not in given})


def given(assignment: Assignment, ids: list[str]) -> set:
    """The runs of what was handed out, to these students, and as published."""
    return set().union(*(fingerprints.runs(fingerprints.own({file: assignments.students(assignment, variant, file)}))
                         for variant in _variants(assignment, ids) for file in assignment.files))


def published(assignment: Assignment, ids: list[str], handed_out: set) -> list[One]:
    """The reference solution, in the variants of these students and as published, and what the tests are made of."""
    solutions = {}
    for number, variant in enumerate(_variants(assignment, ids)):
        for file in assignment.files:
            solutions[f"{file}, variant {number}"] = assignments.source(assignment, variant, file)
    found = [of("the reference solution", fingerprints.own(solutions), handed_out)]
    for name in ("expected.py", "drivers.py"):
        file = f"minifl/course/{assignment.name}/{name}"
        if (assignments.ROOT / file).exists():
            source = assignments.source(assignment, {}, file)
            found.append(of(f"{name} of the tests", fingerprints.own({file: source}), handed_out))
    return found


def read(entries: list[tuple[str, tuple]], assignment: Assignment, handed_out: set,
         jobs: int) -> tuple[list[One], list[str]]:
    """(submissions, what could not be read, and why) of (name, paths); `jobs` processes at a time."""
    with ThreadPoolExecutor(jobs) as pool:
        found = list(pool.map(lambda entry: submission(*entry, assignment, handed_out), entries))
    return ([one for one in found if not isinstance(one, str)],
            [f"{entry[0]}: {why}" for entry, why in zip(entries, found) if isinstance(why, str)])


def pairs(ones: list[One], earlier: list[One], reference: One) -> list[Pair]:
    """Every pair of the class, and of the class and earlier terms, most alike first."""
    held = Counter(run for one in ones for run in one.runs)
    common = {run for run, count in held.items() if count > max(LEAST_CLASS, COMMON * len(ones))}
    left = {id(one): one.runs.keys() - common - reference.runs.keys() for one in (*ones, *earlier)}
    return _sorted(_pair(one, two, left[id(one)], left[id(two)]) for one, two in
                   [*combinations(ones, 2), *((one, two) for one in ones for two in earlier)])


def with_published(ones: list[One], known: list[One]) -> list[Pair]:
    """Each submission with each of what is published, most alike first; of the solution all that is written is compared."""
    return _sorted(_pair(one, two, one.runs.keys(), two.runs.keys()) for one in ones for two in known)


def passages(pair: Pair) -> list[list[tuple[str, str]]]:
    """Of each of the two its longest passages, ("norm.py 12-20", the text), of what both have."""
    return [_passages(one, pair.runs) for one in (pair.one, pair.two)]


def report(assignment: Assignment, ones: list[One], found: list[Pair], public: list[Pair], unread: list[str],
           above: float) -> str:
    """The report as Markdown."""
    lines = [f"# {assignment.name}: how alike {len(ones)} submissions are", "", WHAT, ""]
    lines += ["## The class", "", *_distribution("pairs of students and earlier terms", found), ""]
    for name in dict.fromkeys(pair.two.name for pair in public):
        lines += _distribution(f"students with {name}", [pair for pair in public if pair.two.name == name]) + [""]
    alike = [pair for pair in found if pair.share >= above]
    lines += [f"## {len(alike)} pairs of which {above:.0%} or more of one's own is the other's, too", ""]
    for pair in alike:
        lines += _shown(pair)
    lines += ["## What is published", "", "The share is of the submission, or of what is published where that is shorter. A "
              "right solution may be close to the reference; parts of the tests' own code have no place in one.", ""]
    lines += ["| share | runs | submission | published |", "|---|---|---|---|"]
    lines += [f"| {pair.share:.0%} | {len(pair.runs)} | {pair.one.name} | {pair.two.name} |" for pair in public
              if pair.share >= above]
    oracles = [pair for pair in public if pair.share >= above and "solution" not in pair.two.name]
    for pair in oracles:
        lines += ["", *_shown(pair)]
    lines += ["", f"## {len(unread)} could not be read", "", *(f"- {one}" for one in unread)]
    return "\n".join(lines).rstrip() + "\n"


def _variants(assignment, ids):
    """Those of the students, the published one first, each once."""
    found = [assignments.variant_of(assignment, own) for own in ("", *ids)]
    return [variant for i, variant in enumerate(found) if variant not in found[:i]]


def _pair(one, two, left, right):
    both, fewest = left & right, min(len(left), len(right))
    return Pair(len(both) / fewest if fewest >= FEWEST else 0.0, one, two, both)


def _sorted(found):
    return sorted(found, key=lambda pair: (-pair.share, -len(pair.runs), pair.one.name, pair.two.name))


def _distribution(what, found):
    """How many have which share: where a class is alike as a whole, a share says little."""
    counts = Counter(min(9, int(10 * pair.share)) for pair in found)
    shares = " | ".join(f"{10 * i}-{10 * i + 10} %" for i in range(10))
    numbers = " | ".join(str(counts[i]) for i in range(10))
    return [f"{what} by share:", "", f"| {shares} |", "|---" * 10 + "|", f"| {numbers} |"]


def _shown(pair):
    lines = [f"### {pair.one.name} and {pair.two.name}: {pair.share:.0%}, {len(pair.runs)} runs", ""]
    for one, found in zip((pair.one, pair.two), passages(pair)):
        text = [f"    {line}" for line in found[0][1].splitlines()]
        lines += [f"{one.name}: " + ", ".join(where for where, _ in found), "", *text, ""]
    return lines


def _passages(one, shared):
    """The longest passages of a submission that the runs make."""
    covered = {(run.file, line) for words in shared for run in one.runs[words] for line in range(run.first, run.last + 1)}
    found = []
    for file in one.files:
        lines = sorted(line for name, line in covered if name == file)
        starts = [line for line in lines if (file, line - 1) not in covered]
        ends = [line for line in lines if (file, line + 1) not in covered]
        text = one.files[file][0].split("\n")
        found += [(end - start, f"{file} {start}-{end}", "\n".join(text[start - 1:min(end, start - 1 + LINES)]))
                  for start, end in zip(starts, ends)]
    return [(where, text) for _, where, text in sorted(found, key=lambda one: -one[0])[:PASSAGES]] or [("nowhere", "")]
