"""The check on many inputs: on examples that a strategy draws, and on some of them with special numbers."""

from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any, NamedTuple

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck import conditions, raised
from minifl.gradcheck.adapters import with_options
from minifl.gradcheck.budget import Clock
from minifl.gradcheck.check import check
from minifl.gradcheck.findings import Report
from minifl.gradcheck.hints import ours

try:
    import hypothesis
    from hypothesis import strategies as st     # noqa: F401 - for strategies.py, which needs it, too
except ImportError as error:
    raise ImportError("minifl.gradcheck.strategies and minifl.gradcheck.pytest draw shapes by hypothesis, which is not "
                      "installed: pip install 'minifl[test]'") from error

SPECIAL = {   # numbers that random ones never hit: kind -> (rng, standard normal array) -> array
    "zeros": lambda rng, x: x * (rng.random(x.shape) < 0.7),     # kinks at 0
    "ties": lambda rng, x: np.round(2 * x) / 2,                  # equal numbers, zeros among them
    "large": lambda rng, x: 1e3 * x,
    "small": lambda rng, x: 1e-3 * x,
    "saturation": lambda rng, x: np.where(rng.random(x.shape) < 0.5, x, 20 * np.sign(x)),     # exp(-20) is 2e-9
    "rows of zeros": lambda rng, x: x * (rng.random((*x.shape[:-1], *(1 for _ in x.shape[-1:]))) < 0.6),
}
FLOAT32 = "float32"     # numbers in another precision are special, too
EXAMPLES = 30
ALSO = ("ties", "saturation", "rows of zeros", FLOAT32)   # what a sweep tries besides what it was asked for
ALSO_EXAMPLES, ALSO_ATTEMPTS = 3, 6                       # of each


class Sweep(NamedTuple):
    """What checks on many inputs found; print it to read it."""
    reports: tuple          # of the examples in which something was compared
    inconclusive: int       # examples that were discarded: gradients that vanish or are rounding alone
    smallest: Report        # the failing one with the fewest numbers, with all blocks compared if there is one such
    hint: str               # for which shapes it is wrong, and what a larger example says
    budget: str = ""        # what the budget did not suffice for

    @property
    def passed(self) -> bool:
        return bool(self.reports) and self.smallest is None

    @property
    def verdict(self) -> str:
        """What it amounts to if it did not pass: a wrong backward pass, or code that raises."""
        return raised.verdict(self.smallest) if self.smallest else "nothing was compared"

    def assert_passed(self) -> None:
        """Raise AssertionError with all of it unless everything passed."""
        if not self.passed:
            raise AssertionError(f"{self.verdict}\n{self}")

    def __str__(self):
        wrong = sum(not report.passed for report in self.reports)
        first = (f"{len(self.reports)} examples, {wrong} of them wrong; in {self.inconclusive} more there was nothing to "
                 "compare")
        smallest = [f"the smallest wrong one, {_shapes(self.smallest)}:", str(self.smallest)] if self.smallest else []
        return "\n".join([first, *smallest, *filter(None, (self.hint, self.budget))])


def sweep(forward: Callable, backward: Callable, strategy: Any, *, examples: int = EXAMPLES,
          also: Iterable[str] = ALSO, fixed: Iterable[str] = (), seed: int = 0, budget: float | None = None,
          **options: Any) -> Sweep:
    """`check` on inputs drawn from a strategy, the same ones for the same seed. Returns a Sweep.

    strategy  of dicts name -> array (see `inputs`), or of pairs (such a dict, keyword options of forward), which
              inputs(...).map(lambda x: (x, {"groups": x["x"].shape[-1]})) makes
    examples  so many in which there was something to compare, as far as they are to be found
    also      then 3 of them each with such special numbers (of `inputs`) in the first input that has standard normal ones,
              and 3 in "float32". Where forward raises or is not finite for these, nothing is said
    budget    seconds for all of it; what they do not suffice for is not drawn, and the Sweep says so
    fixed, options   as in check, such as instrument, tolerance
    An example on which forward or backward raises is a wrong one.
    """
    if set(also) - {*SPECIAL, FLOAT32}:
        raise InputError(f"also={tuple(also)!r}; valid are {', '.join((*SPECIAL, FLOAT32))}.")
    found, discarded, refused, drawn, clock = [], [], [], [], Clock(budget)
    forward, backward = raised.marked("forward", forward), raised.marked("backward", backward)

    def checked(arrays, keywords, drawn_as, special):
        """Whether an example was conclusive; it is added to what was found."""
        try:
            report = check(with_options(forward, **keywords), backward, arrays, fixed=fixed,
                           seed=(seed, len(found) + len(discarded)), budget=clock.left, **options)
        except InputError as error:     # the pair or the options have another form: no shape makes that right
            refused.append(error)
            return True
        except Exception as error:      # whatever forward and backward raise
            report = raised.raised(arrays, error)
        sizes = dict(getattr(drawn_as, "sizes", {})) or conditions.axes(report.shapes)
        (discarded if report.inconclusive else found).append((report, sizes | special))
        return not report.inconclusive

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=examples, database=None, deadline=None, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(strategy)
    def each(example):
        arrays, keywords = example if _is_pair(example) else (example, {})
        if clock.over:
            return
        drawn.append((arrays, keywords))
        if not checked(arrays, keywords, arrays, {}):
            hypothesis.reject()

    with suppress(hypothesis.errors.Unsatisfiable):     # all were discarded
        each()
    for kind in () if refused else also:
        _also(kind, drawn, forward, checked, clock, seed)
    if refused:
        raise refused[0]
    wrong = [(report, sizes) for report, sizes in found if not report.passed]
    smallest = min((report for report, _ in wrong), default=None,
                   key=lambda report: (any(block.inconclusive for block in report.blocks), _numbers(report)))
    said = f"the budget of {budget:g} s was spent after {len(found)} examples" if clock.over else ""
    return Sweep(tuple(report for report, _ in found), len(discarded), smallest,
                 _hint(found, wrong, smallest, discarded, ours(forward)), said)


def _also(kind, drawn, forward, checked, clock, seed):
    """Check some of the drawn examples, the larger ones, with another kind of numbers."""
    conclusive, rng = 0, np.random.default_rng([seed, *kind.encode()])
    plain = [(arrays, keywords) for arrays, keywords in drawn if "special" not in getattr(arrays, "sizes", {})]
    larger = sorted(plain, key=lambda example: -sum(np.size(array) for array in example[0].values()))
    for arrays, keywords in larger[:ALSO_ATTEMPTS]:
        normal = getattr(arrays, "plain", ())
        if clock.over or conclusive == ALSO_EXAMPLES:
            return
        if kind == FLOAT32:
            changed = {name: np.asarray(array, np.float32) if np.asarray(array).dtype == np.float64 else array
                       for name, array in arrays.items()}
        elif normal:
            changed = dict(arrays) | {normal[0]: SPECIAL[kind](rng, arrays[normal[0]])}
        else:
            return
        try:
            with np.errstate(all="ignore"):
                y = with_options(forward, **keywords)(*(np.array(array) for array in changed.values()))[0]
                defined = np.all(np.isfinite(y))
        except Exception:    # a function need not be defined for all numbers, or take all of them
            continue
        if defined:
            conclusive += checked(changed, keywords, arrays, {"special": kind})


def _hint(found, wrong, smallest, discarded, is_ours):
    """What all examples together say."""
    if not found:
        why = "; ".join(discarded[-1][0].hints) if discarded else "the strategy gave no example"
        return f"nothing was compared in any example: {why}"
    if not wrong:
        return ""
    right = [sizes for report, sizes in found if report.passed]
    condition = conditions.separating([sizes for _, sizes in wrong], right, is_ours)
    lines = [f"wrong only for {condition}"] if condition else []
    telling = max((report for report, _ in wrong), key=lambda report: (_different(report), _numbers(report)))
    if telling.hints and telling.hints[0] not in smallest.hints:
        lines.append(f"of a larger example, {_shapes(telling)}: {telling.hints[0]}")
    return "\n".join(lines)


def _is_pair(example):
    return isinstance(example, tuple) and len(example) == 2 and all(isinstance(part, dict) for part in example)


def _numbers(report):
    return sum(int(np.prod(shape)) for shape in report.shapes.values())


def _different(report):
    """How many different sizes there are: the more, the less does a factor fit several."""
    return len({size for shape in report.shapes.values() for size in shape if size > 1})


def _shapes(report):
    return ", ".join(f"{name} {'x'.join(map(str, shape)) or '()'}" for name, shape in report.shapes.items())
