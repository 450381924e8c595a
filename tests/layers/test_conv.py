"""Convolution against plain loops, over drawn shapes."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minifl.layers import filtering
from minifl.layers.conv import conv2d, conv2d_backward, conv2d_naive
from minifl.layers.linear import linear


@st.composite
def problems(draw):
    """x, weight, bias or None, options: any kernel, stride, padding and size that give an output pixel.

    A third of them has the kernel and channels that minimal filtering takes.
    """
    def size(low, high):
        return draw(st.integers(low, high))

    k, n, c, f = size(1, 3), size(1, 3), size(1, 3), size(1, 3)
    kh, kw, h, w = size(1, 5), size(1, 5), size(1, 8), size(1, 8)
    options = {"stride": size(1, 4), "padding": size(0, 3)}
    if draw(st.integers(0, 2)) == 0:
        c, kh, h, options["stride"] = filtering.FEWEST_CHANNELS, draw(st.sampled_from((3, 5))), size(5, 20), 1
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


def test_without_input_gradient_the_rest_is_the_same():
    rng = np.random.default_rng(0)
    y, cache = conv2d(*(rng.standard_normal(shape) for shape in ((2, 3, 6, 5, 2), (2, 3, 3, 2, 4), (2, 4))))
    dy = rng.standard_normal(y.shape)
    dx, *expected = conv2d_backward(dy, cache)
    none, *found = conv2d_backward(dy, cache, input_gradient=False)
    assert dx is not None and none is None
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("channels", [3, filtering.FEWEST_CHANNELS])
@pytest.mark.parametrize("view", [
    lambda a: np.broadcast_to(a[:, :, :1, :1], a.shape),                             # as of a global average pool
    lambda a: np.pad(a, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))[:, :, 1:-1, 1:-1],   # as of a padded convolution
    lambda a: np.repeat(a, 2, axis=4)[..., ::2],
    lambda a: a[..., ::-1],
])
def test_views_are_what_they_show(view, channels):
    """The kernels look at memory by address: a gradient, input or kernel whose numbers lie elsewhere changes nothing."""
    rng = np.random.default_rng(0)
    for n in (1, 2):
        x, weight = view(rng.standard_normal((1, n, 8, 7, channels))), view(rng.standard_normal((1, 3, 3, channels, 4)))
        y, cache = conv2d(x, weight)
        expected, expected_cache = conv2d(x.copy(), weight.copy())
        dy = view(rng.standard_normal(y.shape))
        pairs = zip((y, *conv2d_backward(dy, cache)[:2]), (expected, *conv2d_backward(dy.copy(), expected_cache)[:2]))
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


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
