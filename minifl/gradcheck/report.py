"""The report of the gradient checks as text."""

from collections import Counter
from collections.abc import Iterable, Iterator

from minifl.gradcheck import checks
from minifl.gradcheck.mutants import MUTANTS, caught

EXACT = ("bits", "cache", "linear", "layout")     # nothing worth a line where there is no error


def lines(results: Iterable) -> Iterator[tuple[str, bool]]:
    """(text, passed) for each layer case and network: shape, each instrument's worst block error, verdict.

    results: Results in which those of one name follow each other
    """
    group = []
    for result in results:
        if group and group[0].name != result.name:
            yield _line(group)
            group = []
        group.append(result)
    if group:
        yield _line(group)


def _line(group):
    failed = checks.failed(group)
    errors = "  ".join(f"{r.instrument} {r.error:.0e}" for r in group if r.error or r.instrument not in EXACT)
    verdict = "ok" if not failed else "FAILED " + "; ".join(
        f"{result.instrument}, block {result.block}: {result.error:.1e} > {result.tolerance:.0e}" for result in failed)
    return f"{group[0].name:<52} {group[0].shape:<11} {errors:<71} {verdict}", not failed


def mutant_lines(seed: int = 0, layer: str | None = None) -> Iterator[tuple[str, bool]]:
    """(text, caught) for each mutant, or those of one layer."""
    for mutant in MUTANTS:
        if layer in (None, mutant.layer, mutant.layer.split(":")[0]):
            by = caught(mutant, seed)
            verdict = f"caught by {', '.join(by)}" if by else "SURVIVED"
            yield f"{mutant.layer:<48} {mutant.mistake:<50} {verdict}", bool(by)


def rates(texts: Iterable[str]) -> str:
    """How many of the mutants each instrument noticed, from their lines; "error": the backward pass raised."""
    caught_by = [text.partition("caught by ")[2].split(", ") for text in texts]
    counts = Counter(name for names in caught_by for name in names if name)
    return ", ".join(f"{name} {count}" for name, count in counts.most_common())
