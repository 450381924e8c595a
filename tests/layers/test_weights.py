"""Reparametrized weights: by hand, and their identities."""

import numpy as np
import pytest

from minifl.layers.linear import linear
from minifl.layers.weights import standardize, standardize_backward, unit_columns, unit_columns_backward

SHAPES = pytest.mark.parametrize("shape", [(2, 3, 3, 4, 5), (3, 7, 2)], ids=["convolution", "linear"])


def drawn(shape, seed=4):
    return np.random.default_rng(seed).standard_normal(shape)


def per_output(weight):
    """(K, n, F)"""
    return weight.reshape(len(weight), -1, weight.shape[-1])


def test_two_weights_standardized():
    """Mean 1 and standard deviation 2, over the root of 2."""
    out, _ = standardize(np.array([[[3.0], [-1.0]]]), eps=0.0)
    np.testing.assert_allclose(out, [[[0.5**0.5], [-(0.5**0.5)]]], rtol=1e-15)
    out, _ = standardize(np.array([[[3.0], [-1.0]]]), eps=12.0)   # sigma = 4
    np.testing.assert_allclose(out, [[[0.125**0.5], [-(0.125**0.5)]]], rtol=1e-15)


@SHAPES
def test_each_outputs_weights_have_mean_0_and_length_1(shape):
    out = per_output(standardize(3 * drawn(shape) + 1)[0])
    np.testing.assert_allclose(out.mean(axis=1), 0, atol=1e-15)
    np.testing.assert_allclose((out * out).sum(axis=1), 1, rtol=1e-5)   # variance 1/n; eps takes a little


@SHAPES
def test_standardization_does_not_see_scale_or_mean(shape):
    weight = drawn(shape)
    gain, bias = np.abs(drawn(shape[-1:], 5)) + 0.1, drawn(shape[-1:], 6)
    out, _ = standardize(weight, eps=0.0)
    np.testing.assert_allclose(standardize(gain * weight + bias, eps=0.0)[0], out, atol=1e-13)
    assert np.abs(standardize(drawn(shape, 7), eps=0.0)[0] - out).max() > 0.1


@SHAPES
def test_the_gradient_neither_moves_the_mean_nor_follows_the_weights(shape):
    """It sums to 0; without eps it is orthogonal to the centred weights, too."""
    weight, dout = drawn(shape), drawn(shape, 8)
    dweight = per_output(standardize_backward(dout, standardize(weight, eps=0.0)[1]))
    assert np.abs(dweight).max() > 0.01
    np.testing.assert_allclose(dweight.sum(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose((dweight * per_output(weight)).sum(axis=1), 0, atol=1e-13)


def test_outputs_are_standardized_each_on_their_own():
    weight = drawn((2, 3, 3, 4, 5))
    out = standardize(weight)[0]
    for f in range(5):
        np.testing.assert_allclose(standardize(weight[..., f:f + 1])[0], out[..., f:f + 1], atol=1e-15)


def test_two_columns_of_length_1():
    out, _ = unit_columns(np.array([[[3.0, 0.0], [4.0, -2.0]]]))
    np.testing.assert_allclose(out, [[[0.6, 0.0], [0.8, -1.0]]], rtol=1e-15)


def test_logits_are_length_times_cosine():
    x, weight = drawn((2, 6, 5)), drawn((2, 5, 4), 9)
    logits, _ = linear(x, unit_columns(weight)[0])
    for k in range(2):
        for n in range(6):
            for c in range(4):
                g, w = x[k, n], weight[k, :, c]
                cosine = g @ w / np.linalg.norm(g) / np.linalg.norm(w)
                assert logits[k, n, c] == pytest.approx(np.linalg.norm(g) * cosine, rel=1e-12)


def test_the_gradient_is_orthogonal_to_each_column():
    weight, dout = drawn((2, 5, 4)), drawn((2, 5, 4), 10)
    dweight = unit_columns_backward(dout, unit_columns(weight)[1])
    assert np.abs(dweight).max() > 0.01
    np.testing.assert_allclose((weight * dweight).sum(axis=1), 0, atol=1e-14)
    stepped = weight - 0.1 * dweight   # so under SGD a length only grows
    np.testing.assert_allclose((stepped**2).sum(axis=1), (weight**2).sum(axis=1) + 0.01 * (dweight**2).sum(axis=1),
                               rtol=1e-13)


def test_below_the_clamp_columns_are_divided_by_eps():
    weight = 1e-3 * drawn((2, 5, 4))
    out, cache = unit_columns(weight, eps=0.5)
    np.testing.assert_allclose(out, weight / 0.5, rtol=1e-14)
    np.testing.assert_allclose(unit_columns_backward(np.ones_like(weight), cache), 2.0, rtol=1e-14)
