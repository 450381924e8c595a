"""What a check of a claim gives, and what the checks share: a row of the report, differences, random networks.

Numbers of several networks become one that is printed: of a claim the worst, of a negative control the smallest.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np

from minifl.backend import Array
from minifl.gradcheck.networks import comparable, draw
from minifl.models.network import Network
from minifl.paper.chains import difference

DIFFERENT = 0.05   # relative: what a negative control must differ by
TRIES = 20         # draws for each network that is wanted
SCALE = 3          # of larger weights

HOLDS = "holds"
CONTROL = "fails as it should"
COUNTEREXAMPLE = "paper imprecise: counterexample"
FAILED = "FAILED"


class Row(NamedTuple):
    """One comparison of a claim."""
    claim: str
    compared: str
    value: float
    bound: float
    expects: str   # the verdict if all is well. HOLDS: value <= bound; CONTROL, COUNTEREXAMPLE: value > bound

    @property
    def passed(self) -> bool:
        """False for a value that is not a number, too."""
        return bool(self.value <= self.bound if self.expects == HOLDS else self.value > self.bound)

    @property
    def verdict(self) -> str:
        return self.expects if self.passed else FAILED


def holds(compared: str, values: Any, tolerance: float) -> Row:
    """A Row without its claim: the worst of the values must not exceed the tolerance."""
    return Row("", compared, float(np.max(values)), tolerance, HOLDS)


def control(compared: str, values: Any, bound: float = DIFFERENT) -> Row:
    """A Row without its claim: where a condition of the claim is missing, the smallest value must exceed the bound."""
    return Row("", compared, float(np.min(values)), bound, CONTROL)


def counterexample(compared: str, values: Any) -> Row:
    """A Row without its claim: how far what the paper says is from what is, even where they are closest."""
    return Row("", compared, float(np.min(values)), DIFFERENT, COUNTEREXAMPLE)


def proportion(a: Array, b: Array) -> tuple[Array, Array]:
    """a (K, N, C) against b as c b with one constant c for each example: c (K, N) by least squares, and (K,) the
    largest |a - c b| over the largest |a| of an example. Where both are 0 (g = 0) c is 1, where one is, it is 0.
    """
    square, size = (b * b).sum(axis=2), np.abs(a).max(axis=2)
    c = np.where((square == 0) & (size == 0), 1, (a * b).sum(axis=2) / np.where(square == 0, 1, square))
    spread = np.abs(a - c[:, :, None] * b).max(axis=2) / np.where(size == 0, 1, size)
    return c, spread.max(axis=1)


def logits(model: Network, theta: Array, x: Array) -> Array:
    return model.forward(model.spec.views(theta), x)[0]


def apart(full: Network, reduced: Network, theta: Array, x: Array) -> Array:
    """(K,) how differently two networks see the examples: of their outputs minus the mean over the examples, which
    would hide it where an activation like softplus adds much the same to all. An equality would have to hold at every
    theta, so the larger difference of those at theta and SCALE theta counts: on small numbers softplus and tanh are
    nearly straight.
    """
    differences = []
    for scale in (1, SCALE):
        outputs = [logits(model, scale * theta, x) for model in (full, reduced)]
        differences.append(difference(*(output - output.mean(axis=1, keepdims=True) for output in outputs)))
    return np.fmax(*differences)   # of an output that does not vary at one scale the other scale counts


def living(model: Network, rng: np.random.Generator, count: int, batch: int = 5,
           adjust: Callable = lambda model, theta: theta) -> tuple[Array, ...]:
    """theta (K, P), images, labels of K = count random networks with a gradient in every block that is not lost in
    rounding: networks this small may have only dead ReLUs in a layer, and then there is nothing to compare.

    adjust: (model, theta) -> theta, what is done to the parameters first
    """
    found = []
    for tries_left in range(TRIES * count, 0, -1):
        theta, x, labels = draw(model, rng, clients=1, batch=batch)
        drawn = adjust(model, theta), x, labels
        if comparable(model, *drawn) or tries_left <= count - len(found):   # a broken layer shall be seen, not end this
            found.append(drawn)
        if len(found) == count:
            break
    return tuple(np.concatenate(arrays) for arrays in zip(*found))


def only_first_bias(model: Network, theta: Array) -> Array:
    """theta with all biases 0 but the first layer's: Assumption 1 of the paper lets that one stay."""
    theta = theta.copy()
    biases = [view for name, view in model.spec.views(theta).items() if name.endswith(".bias")]
    for view in biases[1:]:
        view[...] = 0
    return theta
