"""What a check found: for each argument block and each property a line, and what is likely wrong."""

from typing import NamedTuple


class Block(NamedTuple):
    """The gradient of one argument at its worst entry."""
    name: str
    shape: tuple
    error: float          # max|a - n| / max(max|a|, max|n|); inf where nothing could be compared
    tolerance: float
    index: tuple          # of the worst entry; () where a random direction through many is off by more
    analytic: float       # what backward says there
    numeric: float        # what the instrument says there
    instrument: str
    step: float           # of the instrument
    hint: str = ""        # what is likely wrong, if it failed
    inconclusive: bool = False   # nothing could be compared: the gradient vanishes, or is rounding alone
    left_out: int = 0     # numbers that were not compared as the budget was spent

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.tolerance)   # nan passes nothing


class Property(NamedTuple):
    """Something else that a right pair has: the same bits twice, the adjoint, a symmetric second derivative."""
    name: str
    error: float
    tolerance: float
    hint: str = ""

    @property
    def passed(self) -> bool:
        return bool(self.error <= self.tolerance)


class Report(NamedTuple):
    """All that `check` found about one pair on one set of inputs; print it to read it."""
    blocks: tuple
    properties: tuple
    shapes: dict          # name -> shape of every input
    budget: str = ""      # what the budget did not suffice for

    @property
    def passed(self) -> bool:
        return bool(self.blocks) and all(finding.passed for finding in (*self.blocks, *self.properties))

    @property
    def inconclusive(self) -> bool:
        """Whether nothing is wrong, but some block could not be compared."""
        return not self.passed and all(f.passed or getattr(f, "inconclusive", False)
                                       for f in (*self.blocks, *self.properties))

    @property
    def hints(self) -> list:
        """What is likely wrong, a sentence for each finding that failed."""
        return [f"{f.name}: {f.hint}" for f in (*self.blocks, *self.properties) if not f.passed and f.hint]

    def assert_passed(self) -> None:
        """Raise AssertionError with the whole report unless everything passed."""
        if not self.passed:
            raise AssertionError(f"the backward pass is wrong\n{self}")

    def __str__(self):
        rows = [("block", "shape", "error", "allowed", "worst at", "backward", "numeric", "instrument", "step", "")]
        for b in self.blocks:
            rows.append((b.name, _shape(b.shape), f"{b.error:.1e}", f"{b.tolerance:.0e}", _place(b),
                         f"{b.analytic:.9g}", f"{b.numeric:.9g}", b.instrument, f"{b.step:.0e}", _verdict(b)))
        widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
        lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows if self.blocks]
        lines += [f"{p.name}: {p.error:.1e}, allowed {p.tolerance:.0e}  {_verdict(p)}" for p in self.properties]
        return "\n".join([*lines, *(f"  {hint}" for hint in self.hints), *([self.budget] if self.budget else [])])


def _shape(shape):
    return "x".join(map(str, shape)) or "()"


def _place(block):
    return str(list(block.index)) if len(block.index) == len(block.shape) else "a direction"


def _verdict(finding):
    if getattr(finding, "inconclusive", False):
        return "NOT COMPARED"
    return "ok" if finding.passed else "FAILED"
