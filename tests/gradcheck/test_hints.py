"""The hints: for each mistake the sentence that names it, on the gradient of a small layer and of those that people wrote. They
are computed again before they are given: places, terms over any axes, factors, small errors, whose axis 0."""

from functools import partial

import numpy as np
import pytest
from public_idioms import attention, buffers, classes, maps, norms, recurrent

from minifl.gradcheck import check, from_vjp, with_options
from minifl.gradcheck.hints import factor_name, ours
from minifl.layers.activations import leaky_relu, leaky_relu_backward
from minifl.layers.conv import conv2d, conv2d_backward
from minifl.layers.linear import linear, linear_backward
from minifl.layers.norm import affine, affine_backward, mv_norm, mv_norm_backward

X, WEIGHT, BIAS = (np.random.default_rng(i).standard_normal(shape) for i, shape in
                   enumerate([(2, 3, 7), (2, 7, 5), (2, 5)]))


def hint(forward, backward, inputs, change, block=0):
    """The hint for the backward pass with change applied to the gradient of one block."""
    def wrong(dy, cache):
        found = backward(dy, cache)
        found = list(found) if isinstance(found, tuple) else [found]
        found[block] = change(found[block], dy, cache)
        return tuple(found)

    report = check(forward, wrong, inputs)
    assert not report.passed
    assert [b.hint != "" for b in report.blocks] == [i == block for i in range(len(report.blocks))]
    return report.blocks[block].hint


@pytest.mark.parametrize("change, block, said", [
    (lambda g, dy, c: -g, 0, "the sign is wrong"),
    (lambda g, dy, c: g * 3, 1, "off by the factor 3 = N, N = 3 (axis 1 of x or axis 1 of the output): a missing 1/N?"),
    (lambda g, dy, c: g / 3, 1, "off by the factor 0.333333 = 1/N, N = 3"),
    (lambda g, dy, c: g * 7 ** 0.5, 0, "off by the factor 2.64575 = sqrt(N), N = 7 (axis 2 of x"),
    (lambda g, dy, c: g * (2 / 3) ** 0.5, 0, "sqrt((N - 1)/N), N = 3"),
    (lambda g, dy, c: g * 1.1, 0, "off by the factor 1.1: a constant forgotten?"),
    (lambda g, dy, c: g * (1 + 1e-9), 0, "off by the same factor everywhere, 1 + 1e-09: a rounded constant, or an eps?"),
    (lambda g, dy, c: g * 0, 2, "all zeros"),
    (lambda g, dy, c: None, 1, "backward returned None"),
    (lambda g, dy, c: g * np.where(np.arange(5) == 2, np.nan, 1), 2, "2 of 10 entries are not finite"),
    (lambda g, dy, c: g.sum(axis=0, keepdims=True) + 0 * g, 1, "summed over axis 0 (the clients)"),
    (lambda g, dy, c: g.mean(axis=0, keepdims=True) + 0 * g, 1, "averaged over axis 0 (the clients)"),
    (lambda g, dy, c: g.sum(axis=0), 1, "summed over axis 0 (the clients): its shape is (7, 5), it should be (2, 7, 5)"),
    (lambda g, dy, c: np.swapaxes(g, 1, 2), 1, "transposed, axes 1 and 2 are exchanged: its shape is (2, 5, 7)"),
    (lambda g, dy, c: dy, 2, "not summed over axis 1, over which it was broadcast: its shape is (2, 3, 5)"),
    (lambda g, dy, c: g.reshape(-1), 2, "right numbers in the wrong shape"),
    (lambda g, dy, c: g[::-1], 1, "reversed along axis 0"),
    (lambda g, dy, c: np.roll(g, 1, axis=1), 1, "the right numbers at the wrong places"),
    (lambda g, dy, c: g * (1 + (np.arange(5) == 4)), 2, "wrong only at 4 of 0..4 along axis 1: an edge?"),
    (lambda g, dy, c: g * (1 + (np.arange(42).reshape(2, 3, 7) % 5 == 0)), 0, "9 of 42 entries are wrong, the others right"),
])
def test_a_linear_layer(change, block, said):
    assert said in hint(linear, linear_backward, {"x": X, "weight": WEIGHT, "bias": BIAS}, change, block)


def test_a_square_weight_that_is_transposed():
    square = np.random.default_rng(3).standard_normal((2, 7, 7))
    assert hint(linear, linear_backward, {"x": X, "weight": square}, lambda g, dy, c: np.swapaxes(g, 1, 2), 1) == \
        "transposed: axes 1 and 2 are exchanged"


@pytest.mark.parametrize("change, said", [
    (lambda g, dy, c: g + dy.mean(axis=2, keepdims=True), "a term that is constant over axis 2: that of a mean?"),
    (lambda g, dy, c: g + X * dy.mean(axis=2, keepdims=True), "a term along the input (over axis 2): that of a length"),
    (lambda g, dy, c: g + c[0] * (dy * c[0]).mean(axis=2, keepdims=True),
     "a term along input - mean (over axis 2): that of a standard deviation"),
    (lambda g, dy, c: g + (X + 2) * dy.mean(axis=2, keepdims=True), "terms of a mean and of a length (over axis 2)"),
    (lambda g, dy, c: g / c[1], "off by a factor that is the same over axis 2 and differs between the rest"),
    (lambda g, dy, c: g + np.cos(1 + X) * dy, "wrong nearly everywhere, and not by a factor"),
])
def test_a_norm(change, said):
    assert said in hint(mv_norm, mv_norm_backward, {"x": X}, change)


def test_a_norm_over_the_batch():
    maps = np.random.default_rng(4).standard_normal((2, 3, 2, 2, 2))
    assert "constant over axes 1 to 3" in hint(
        lambda x: (x - x.mean(axis=(1, 2, 3), keepdims=True), None),
        lambda dy, c: dy - dy.mean(axis=(1, 2, 3), keepdims=True), {"x": maps}, lambda g, dy, c: dy)


def test_a_forgotten_gain_and_a_forgotten_slope():
    gain, bias = np.random.default_rng(5).standard_normal((2, 2, 7))
    assert "the same over axes 0 to 1 and differs" in hint(
        lambda x, gain, bias: affine(x, gain, bias), affine_backward,
        {"x": X, "gain": np.repeat(gain[:1], 2, axis=0), "bias": bias}, lambda g, dy, c: dy)
    assert hint(leaky_relu, leaky_relu_backward, {"x": X}, lambda g, dy, c: dy * c[0]) == \
        "wrong only where the input is negative: a mask or a slope?"


def test_a_kernel_with_rows_and_columns_exchanged():
    inputs = {"x": np.random.default_rng(6).standard_normal((1, 2, 5, 5, 2)),
              "weight": np.random.default_rng(7).standard_normal((1, 3, 2, 2, 2))}
    assert "transposed, axes 1 and 2" in hint(conv2d, conv2d_backward, inputs, lambda g, dy, c: np.swapaxes(g, 1, 2), 1)


def test_factor_names():
    sizes = {6: ["axis 0 of x"], 4: ["axis 1 of x", "axis 2 of x"]}
    assert factor_name(6, sizes) == "N, N = 6 (axis 0 of x)"
    assert factor_name(0.25, sizes) == "1/N, N = 4 (axis 1 of x or axis 2 of x)"
    assert factor_name(5 / 6, sizes) == "(N - 1)/N, N = 6 (axis 0 of x)"
    assert factor_name(1.234, sizes) == "" and factor_name(1.0, {1: ["axis 0 of x"]}) == ""


# ---- of layers as people write them

LAYERS = {idiom.name: idiom for file in (attention, buffers, classes, maps, norms, recurrent) for idiom in file.LAYERS}
LEFT_OUT = "left out of a loop, or overwritten where it should be added?"


def hints_of(name, what):
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
    assert said in hints_of(name, what)[block]


ROWS = np.random.default_rng(0).standard_normal((3, 4))


def of_square(change):
    """The hint for x*x with a change of its gradient."""
    return check(*from_vjp(lambda x: x * x, lambda x, dy: change(2 * x * dy)), {"x": ROWS}).blocks[0].hint


@pytest.mark.parametrize("change, said", [
    (lambda g: g * (1 + 1e-9), "off by the same factor everywhere, 1 + 1e-09: a rounded constant, or an eps?"),
    (lambda g: g * (1 - 1e-5), "off by the same factor everywhere, 1 - 1e-05"),
    (lambda g: g * 1.1, "off by the factor 1.1: a constant forgotten?"),
    (lambda g: g + 1e-9 * np.cos(ROWS), "nearly right, off by"),
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
    report = check(lambda x: (x * x, x), lambda dy, x: (dy.ravel("A") * 2 * x.ravel()).reshape(x.shape), {"x": layout(ROWS)})
    assert not report.passed and "for a dy in Fortran's order" in str(report) and "not linear" not in str(report)
