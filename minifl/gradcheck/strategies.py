"""Shapes and numbers drawn by hypothesis, and a check on each: `inputs` and `sweep`.

    from minifl.gradcheck.strategies import inputs, sweep
    print(sweep(scale, scale_backward, inputs(x="K N D", gain="K D")))

A letter is a size, everywhere the same. Whoever needs other sizes or numbers names a strategy or a function for them,
or writes a strategy: of dicts name -> array, or of pairs of such a dict and the keyword options of forward for it.
"""

from typing import NamedTuple

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck import conditions, raised
from minifl.gradcheck.adapters import with_options
from minifl.gradcheck.check import check
from minifl.gradcheck.findings import Report
from minifl.gradcheck.hints import ours

try:
    import hypothesis
    from hypothesis import strategies as st
except ImportError as error:
    raise ImportError("minifl.gradcheck.strategies and minifl.gradcheck.pytest draw shapes by hypothesis, which is not "
                      "installed: pip install 'minifl[test]'") from error

SIZES = st.integers(1, 5)     # of a letter: 1, odd ones and even ones
MANY, FEW = 600, 3            # in inputs with an array of more numbers than that, the letters end at 3
EXAMPLES = 30
SPECIAL = {                   # what random numbers never hit
    "zeros": lambda rng, x: x * (rng.random(x.shape) < 0.7),     # kinks at 0
    "ties": lambda rng, x: np.round(2 * x) / 2,                  # equal numbers, zeros among them
    "large": lambda rng, x: 1e3 * x,
    "small": lambda rng, x: 1e-3 * x,
}


class Drawn(dict):
    """name -> array, and what it was drawn as: `sizes`, symbol -> size, with "special" -> the kind of numbers."""
    sizes = {}


def inputs(shapes=None, /, *, sizes=None, values=None, special=(), **named):
    """A strategy of a layer's inputs, name -> float64 array in this order.

    shapes   name -> symbolic shape, such as x="K N D", kernel="K 3 3 C F" with whole numbers, t="" for one number; as
             a dict, or as keyword arguments (named)
    sizes    symbol -> a strategy of sizes (st.sampled_from([5, 7])), a number, or a function of the sizes that are drawn
             (lambda sizes: 2 * sizes["D"]). Default 1 to 5
    values   name -> (rng, sizes) -> array, for others than standard normal numbers: labels, variances
    special  of "zeros", "ties", "large", "small": these kinds of numbers are drawn, too, as often as normal ones
    Raises InputError for a shape, size, name or kind that there is not.
    """
    sizes, values = dict(sizes or {}), dict(values or {})
    shapes = {name: _symbols(name, text) for name, text in {**(shapes or {}), **named}.items()}
    if not shapes or set(values) - set(shapes):
        raise InputError(f"values for {', '.join(values) or 'nothing'}, shapes for {', '.join(shapes) or 'nothing'}: there "
                         "must be an input, and values only for inputs that have a shape.")
    if set(special) - set(SPECIAL):
        raise InputError(f"special={tuple(special)!r}; valid are {', '.join(SPECIAL)}.")
    plain = list(dict.fromkeys(s for shape in shapes.values() for s in shape if isinstance(s, str) and s not in sizes))

    @st.composite
    def drawn(draw):
        found = {symbol: draw(SIZES) for symbol in plain}
        for symbol, size in sizes.items():
            if not callable(size):
                found[symbol] = draw(size) if isinstance(size, st.SearchStrategy) else size
        if max(_count(shape, found, sizes) for shape in shapes.values()) > MANY:
            found |= {symbol: min(found[symbol], FEW) for symbol in plain}
        _derive(found, sizes)
        kind = draw(st.sampled_from(("", *special))) if special else ""
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        arrays = Drawn((name, _array(name, shape, found, values, kind, rng)) for name, shape in shapes.items())
        arrays.sizes = found | ({"special": kind} if kind else {})
        return arrays

    return drawn()


class Sweep(NamedTuple):
    """What checks on many inputs found; print it to read it."""
    reports: tuple          # of the examples in which something was compared
    inconclusive: int       # examples that were discarded: gradients that vanish or are rounding alone
    smallest: Report        # the failing one with the fewest numbers, with all blocks compared if there is one such
    hint: str               # for which shapes it is wrong, and what a larger example says

    @property
    def passed(self):
        return bool(self.reports) and self.smallest is None

    @property
    def verdict(self):
        """What it amounts to if it did not pass: a wrong backward pass, or code that raises."""
        return raised.verdict(self.smallest) if self.smallest else "nothing was compared"

    def assert_passed(self):
        """Raise AssertionError with all of it unless everything passed."""
        if not self.passed:
            raise AssertionError(f"{self.verdict}\n{self}")

    def __str__(self):
        wrong = sum(not report.passed for report in self.reports)
        first = (f"{len(self.reports)} examples, {wrong} of them wrong; in {self.inconclusive} more there was nothing to "
                 "compare")
        smallest = [f"the smallest wrong one, {_shapes(self.smallest)}:", str(self.smallest)] if self.smallest else []
        return "\n".join([first, *smallest, *([self.hint] if self.hint else [])])


def sweep(forward, backward, strategy, *, examples=EXAMPLES, fixed=(), seed=0, **options):
    """`check` on inputs drawn from a strategy, the same ones for the same seed. Returns a Sweep.

    strategy  of dicts name -> array (see `inputs`), or of pairs (such a dict, keyword options of forward), which
              inputs(...).map(lambda x: (x, {"groups": x["x"].shape[-1]})) makes
    examples  so many in which there was something to compare, as far as they are to be found
    fixed, options   as in check, such as instrument, tolerance
    An example on which forward or backward raises is a wrong one.
    """
    found, discarded, refused = [], [], []
    forward, backward = raised.marked("forward", forward), raised.marked("backward", backward)

    @hypothesis.seed(seed)
    @hypothesis.settings(max_examples=examples, database=None, deadline=None, phases=[hypothesis.Phase.generate],
                         suppress_health_check=list(hypothesis.HealthCheck))
    @hypothesis.given(strategy)
    def each(example):
        arrays, keywords = example if _is_pair(example) else (example, {})
        sizes = dict(getattr(arrays, "sizes", {}))
        try:
            report = check(with_options(forward, **keywords), backward, arrays, fixed=fixed,
                           seed=(seed, len(found) + len(discarded)), **options)
        except InputError as error:     # the pair or the options have another form: no shape makes that right
            refused.append(error)
            return
        except Exception as error:      # whatever forward and backward raise
            report = raised.raised(arrays, error)
        if report.inconclusive:
            discarded.append(report)
            hypothesis.reject()
        found.append((report, sizes or conditions.axes(report.shapes)))

    try:
        each()
    except hypothesis.errors.Unsatisfiable:     # all were discarded
        pass
    if refused:
        raise refused[0]
    wrong = [(report, sizes) for report, sizes in found if not report.passed]
    smallest = min((report for report, _ in wrong), default=None,
                   key=lambda report: (any(block.inconclusive for block in report.blocks), _numbers(report)))
    return Sweep(tuple(report for report, _ in found), len(discarded), smallest,
                 _hint(found, wrong, smallest, discarded, ours(forward)))


def _hint(found, wrong, smallest, discarded, is_ours):
    """What all examples together say."""
    if not found:
        why = "; ".join(discarded[-1].hints) if discarded else "the strategy gave no example"
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


def _symbols(name, text):
    """Sizes and symbols of a symbolic shape."""
    parts = text.split() if isinstance(text, str) else list(text)
    parts = [int(part) if str(part).isdigit() else part for part in parts]
    if not all(isinstance(part, int) or str(part).isidentifier() for part in parts):
        raise InputError(f"shape {text!r} of {name}: it should be letters and whole numbers with spaces, such as 'K N 3'.")
    return tuple(parts)


def _derive(found, sizes):
    """Add the sizes that are functions of others, in their order."""
    for symbol, size in sizes.items():
        if callable(size):
            found[symbol] = size(found)


def _count(shape, found, sizes):
    """Numbers of an array, with the sizes that are drawn."""
    found = dict(found)
    _derive(found, sizes)
    return int(np.prod([found[s] if isinstance(s, str) else s for s in shape]))


def _array(name, shape, found, values, kind, rng):
    size = tuple(found[s] if isinstance(s, str) else s for s in shape)
    if name not in values:
        x = rng.standard_normal(size)
        return SPECIAL[kind](rng, x) if kind else x
    array = np.asarray(values[name](rng, found))
    if array.shape != size:
        raise InputError(f"values of {name} have shape {array.shape}, its shape is {size}.")
    return array


def _is_pair(example):
    return isinstance(example, tuple) and len(example) == 2 and all(isinstance(part, dict) for part in example)


def _numbers(report):
    return sum(int(np.prod(shape)) for shape in report.shapes.values())


def _different(report):
    """How many different sizes there are: the more, the less does a factor fit several."""
    return len({size for shape in report.shapes.values() for size in shape if size > 1})


def _shapes(report):
    return ", ".join(f"{name} {'x'.join(map(str, shape)) or '()'}" for name, shape in report.shapes.items())
