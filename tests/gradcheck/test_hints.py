"""The hints: for each mistake the sentence that names it, on the gradient of a small layer."""

import numpy as np
import pytest

from minifl.gradcheck import check
from minifl.gradcheck.hints import factor_name
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
