"""Convolution against plain loops, over drawn shapes."""

from pathlib import Path

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from naive import conv2d_naive

from minifl.layers import conv
from minifl.layers.conv import conv2d, conv2d_backward
from minifl.layers.linear import linear

SCREEN = 80


@st.composite
def problems(draw):
    """x, weight, bias or None, options: any kernel, stride, padding and size that give an output pixel."""
    def size(low, high):
        return draw(st.integers(low, high))

    k, n, c, f = size(1, 3), size(1, 3), size(1, 3), size(1, 3)
    kh, kw, h, w = size(1, 5), size(1, 5), size(1, 8), size(1, 8)
    options = {"stride": size(1, 4), "padding": size(0, 3)}
    assume(min(h - kh, w - kw) + 2 * options["padding"] >= 0)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    bias = rng.standard_normal((k, f)) if draw(st.booleans()) else None
    return rng.standard_normal((k, n, h, w, c)), rng.standard_normal((k, kh, kw, c, f)), bias, options


@settings(max_examples=80, deadline=None)
@given(problems())
def test_forward_is_four_plain_loops(problem):
    x, weight, bias, options = problem
    expected = conv2d_naive(x, weight, bias, **options)
    np.testing.assert_allclose(conv2d(x, weight, bias, **options)[0], expected, rtol=0, atol=1e-12)


@settings(max_examples=80, deadline=None)
@given(problems())
def test_backward_is_the_adjoint_of_the_plain_loops(problem):
    """y is linear in x and in W, so <dy, conv(x', W)> = <dx, x'> and <dy, conv(x, W')> = <dW, W'>."""
    x, weight, bias, options = problem
    rng = np.random.default_rng(5)
    y, cache = conv2d(x, weight, bias, **options)
    dy, x2, weight2 = (rng.standard_normal(a.shape) for a in (y, x, weight))
    dx, dweight, dbias = conv2d_backward(dy, cache)

    def per_client(a, b):
        return (a * b).reshape(len(a), -1).sum(axis=1)

    assert dx.shape == x.shape and dweight.shape == weight.shape
    for gradient, moved, y_moved in ((dx, x2, conv2d_naive(x2, weight, **options)),
                                     (dweight, weight2, conv2d_naive(x, weight2, **options))):
        np.testing.assert_allclose(per_client(gradient, moved), per_client(dy, y_moved), atol=1e-11)
    if bias is None:
        assert dbias is None
    else:
        np.testing.assert_allclose(dbias, dy.sum(axis=(1, 2, 3)), atol=1e-12)


def test_a_kernel_of_one_pixel_is_a_linear_layer_and_a_shifted_one_shifts():
    rng = np.random.default_rng(0)
    x, weight = rng.standard_normal((2, 3, 4, 5, 2)), rng.standard_normal((2, 1, 1, 2, 3))
    y = conv2d(x, weight)[0].reshape(2, -1, 3)
    np.testing.assert_allclose(y, linear(x.reshape(2, -1, 2), weight[:, 0, 0])[0], atol=1e-14)
    kernel = np.zeros((2, 3, 3, 2, 2))
    kernel[:, 0, 2] = np.eye(2)   # one row up, one column to the right: cross-correlation, not convolution
    shifted = conv2d(x, kernel, padding=1)[0]
    assert np.array_equal(shifted[:, :, 1:, :-1], x[:, :, :-1, 1:])
    assert not shifted[:, :, 0].any() and not shifted[:, :, :, -1].any()


def test_a_kernel_larger_than_the_padded_map_is_an_error():
    with pytest.raises(ValueError, match="kernel of 5x2 does not fit into a map of 4x6, padding included"):
        conv2d(np.ones((1, 1, 2, 4, 1)), np.ones((1, 5, 2, 1, 1)), padding=1)


def test_formula_derivation_and_code_of_both_are_on_one_screen():
    lines = Path(conv.__file__).read_text().splitlines()
    assert sum(bool(line.strip()) for line in lines) <= SCREEN
