"""Layers as people write them: each right one is accepted, three wrong versions of each are refused."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from minifl.gradcheck import check
from minifl.gradcheck.pairs import call
from minifl.gradcheck.strategies import inputs, sweep
from minifl.gradcheck.sweeps import ALSO

sys.path.insert(0, str(Path(__file__).parent))

from public_idioms import (
    algebra, attention, buffers, classes, elementwise, losses, maps, norms, recurrent)

LAYERS = [idiom for file in (algebra, attention, buffers, classes, elementwise, losses, maps, norms, recurrent)
          for idiom in file.LAYERS]
WRONG = [(idiom, what) for idiom in LAYERS for what in idiom.wrong]


def named(entry):
    return entry.name if hasattr(entry, "name") else entry


@pytest.mark.parametrize("idiom", LAYERS, ids=named)
def test_a_right_layer_is_accepted(idiom):
    check(*idiom.right(), idiom.inputs, fixed=idiom.fixed).assert_passed()


@pytest.mark.parametrize("idiom", LAYERS, ids=named)
def test_a_right_layer_is_accepted_in_a_sweep(idiom):
    """Other numbers, ties, saturation, rows of zeros, float32."""
    values = {name: partial(lambda array, rng, sizes: array, array) for name, array in idiom.inputs.items()
              if array.dtype.kind != "f" or name in idiom.given}
    strategy = inputs({name: array.shape for name, array in idiom.inputs.items()}, values=values)
    also = [kind for kind in ALSO if kind not in idiom.without]
    sweep(*idiom.right(), strategy, examples=3, also=also, fixed=idiom.fixed).assert_passed()


@pytest.mark.parametrize("idiom, what", WRONG, ids=named)
def test_a_wrong_version_is_refused(idiom, what):
    report = check(*idiom.broken(what), idiom.inputs, fixed=idiom.fixed)
    assert not report.passed and not report.inconclusive, f"{what} is not seen\n{report}"
    misleading = ("(the clients)", "the factor 1:", "a standard deviation, a length or a count")
    assert not [words for words in misleading if words in str(report)], report


@pytest.mark.parametrize("idiom, what", WRONG, ids=named)
def test_a_wrong_version_is_wrong_in_its_numbers(idiom, what):
    """Else its refusal would be a false alarm: once, or when it is called for the second time on the same cache."""
    right, wrong = (answers(*pair, idiom.inputs) for pair in (idiom.right(), idiom.broken(what)))
    assert any(a.shape != b.shape or np.abs(a - b).max() > 1e-6 * np.abs(a).max() for a, b in zip(right, wrong))


def answers(forward, backward, inputs):
    """What backward says to one dy, twice on the same cache, and dy after that."""
    y, cache = call(forward, {name: array.copy() for name, array in inputs.items()})
    dy = np.array(np.random.default_rng(1234).standard_normal(y.shape))
    found = []
    for _ in range(2):
        result = backward(dy, cache)
        found += [np.array(g) for g in (result if isinstance(result, tuple) else (result,)) if g is not None]
    return [*found, dy]


def test_enough_of_them():
    assert len(LAYERS) >= 40 and all(len(idiom.wrong) == 3 for idiom in LAYERS)
    assert len({idiom.name for idiom in LAYERS}) == len(LAYERS)
