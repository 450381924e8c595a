"""Hints that are computed again before they are given: places, terms over any axes, factors, small errors, whose axis 0."""

import sys
from functools import partial
from pathlib import Path

import numpy as np
import pytest

from minifl.gradcheck import check, from_vjp, with_options
from minifl.gradcheck.hints import ours
from minifl.layers.linear import linear, linear_backward

sys.path.insert(0, str(Path(__file__).parent))

from public_idioms import attention, buffers, classes, maps, norms, recurrent

LAYERS = {idiom.name: idiom for file in (attention, buffers, classes, maps, norms, recurrent) for idiom in file.LAYERS}
LEFT_OUT = "left out of a loop, or overwritten where it should be added?"


def hints(name, what):
    """block -> hint of a wrong version of a public layer."""
    idiom = LAYERS[name]
    report = check(*idiom.broken(what), idiom.inputs, fixed=idiom.fixed)
    return {block.name: block.hint for block in report.blocks if not block.passed}


@pytest.mark.parametrize("name, what, block, said", [
    ("convolution in loops, padded", "the last row left out", "x",
     f"dy, of the output, is not used at 2 of 0..2 along axis 2, the last: {LEFT_OUT}"),
    ("convolution in loops, padded", "the last row left out", "w", "not used at 2 of 0..2 along axis 2, the last"),
    ("class Convolution1D, loops", "assigned where it is added", "kernel",
     f"used only at 1 of 0..1 along axis 0 and used only at 3 of 0..3 along axis 1: {LEFT_OUT}"),
    ("class Convolution1D, loops", "the last place left out", "x", "not used at 3 of 0..3 along axis 1, the last"),
    ("zeros_like and +=", "the last row alone", "g", "used only at 2 of 0..2 along axis 0"),
    ("class MatMul, grads[0][...] =", "the first example alone", "W", "used only at 0 of 0..3 along axis 0"),
    ("RNN through time", "nothing flows back in time", "x",
     "along axis 1 the part of each place's own dy is right, that of dy at later places is missing, as it flows back in time?"),
    ("RNN through time", "nothing flows back in time", "h0", "used only at 0 of 0..2 along axis 1"),
    ("LSTM through time", "h does not flow back", "x", "that of dy at later places is wrong, as it flows back in time?"),
    ("class TimeRNN, lists params and grads", "nothing flows back in time", "xs", "along axis 0 the part of each place's own dy"),
    ("LSTM step, two outputs", "the cell's own gradient lost", "x", "not used at 4 to 7 of 0..7 along axis 0"),
    ("GRU cell", "without the reset gate", "U", "wrong only at 4, 5 of 0..5 along axis 1"),
    ("class Embedding, a bag of ids", "each id once", "W", "wrong only at 2 of 0..3 along axis 0"),
    ("batch norm with bn_param", "no term of the mean", "x", "a term that is constant over axis 0: that of a mean?"),
    ("batch norm with bn_param", "no term of the variance", "x", "a term along input - mean (over axis 0)"),
    ("class BatchNormalization", "no term of the deviation", "x", "a term along input - mean (over axis 0)"),
    ("batch norm of maps, channels first", "no term of the variance", "x", "input - mean (over axes 0, 2 and 3)"),
    ("batch norm of maps, channels first", "divided by N alone", "x", "are terms of a mean and of a length (over axes 0, 2 and 3)"),
    ("batch norm of maps, channels first", "the eps outside of the root", "x", "1 - 4.8e-06: a rounded constant, or an eps?"),
    ("instance norm, std + eps", "not centred", "x", "constant over axes 2 to 3"),
    ("weight normalization", "no projection", "v", "a term along the input (over axis 0)"),
    ("a buffer between", "the gain once", "x", "the same over axis 0 and differs between the rest: it is 1/g"),
    ("empty_like and [...] =", "a gain too many", "x", "it is g"),
    ("rows of length 1, np.linalg.norm", "twice the length", "x", "it is 1/(the input's length)"),
])
def test_what_is_wrong_is_named(name, what, block, said):
    assert said in hints(name, what)[block]


X = np.random.default_rng(0).standard_normal((3, 4))


def of_square(change):
    """The hint for x*x with a change of its gradient."""
    return check(*from_vjp(lambda x: x * x, lambda x, dy: change(2 * x * dy)), {"x": X}).blocks[0].hint


@pytest.mark.parametrize("change, said", [
    (lambda g: g * (1 + 1e-9), "off by the same factor everywhere, 1 + 1e-09: a rounded constant, or an eps?"),
    (lambda g: g * (1 - 1e-5), "off by the same factor everywhere, 1 - 1e-05"),
    (lambda g: g * 1.1, "off by the factor 1.1: a constant forgotten?"),
    (lambda g: g + 1e-9 * np.cos(X), "nearly right, off by"),
    (lambda g: g + 1e-9, "nearly right, off by"),
    (lambda g: g * np.where(np.arange(4) == 3, 1.5, 1), "wrong only at 3 of 0..3 along axis 1: an edge?"),
    (lambda g: g * np.where(np.arange(12).reshape(3, 4) == 5, 1.5, 1), "1 of 12 entries are wrong"),
])
def test_small_errors_and_factors(change, said):
    assert said in of_square(change)


def test_clients_are_named_for_our_layers_however_they_are_wrapped():
    def wrong(dy, cache):
        dx, dweight, _ = linear_backward(dy, cache)
        return dx, dweight.sum(axis=0, keepdims=True) + 0 * dweight

    inputs = {"x": np.random.default_rng(0).standard_normal((2, 3, 4)), "w": np.random.default_rng(1).standard_normal((2, 4, 2))}
    for forward in (linear, partial(linear), with_options(linear, bias=None)):
        assert ours(forward) and "summed over axis 0 (the clients)" in str(check(forward, wrong, inputs))
    foreign = check(lambda x, w: linear(x, w), wrong, inputs)
    assert not ours(lambda x, w: linear(x, w)) and "summed over axis 0\n" in str(foreign) and "clients" not in str(foreign)


@pytest.mark.parametrize("layout", [np.ascontiguousarray, np.asfortranarray])
def test_memory_that_is_read_as_it_lies_is_called_by_its_name(layout):
    report = check(lambda x: (x * x, x), lambda dy, x: (dy.ravel("A") * 2 * x.ravel()).reshape(x.shape), {"x": layout(X)})
    assert not report.passed and "for a dy in Fortran's order" in str(report) and "not linear" not in str(report)
