"""Pooling against plain loops over windows."""

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from minifl import fast
from minifl.layers import pool
from minifl.layers.pool import (avg_pool2d, avg_pool2d_backward, global_avg_pool, global_avg_pool_backward,
                                max_pool2d, max_pool2d_backward)


def windows(shape, size, stride):
    """(output row, output column, the window's slices) one after the other."""
    for o in range((shape[2] - size) // stride + 1):
        for q in range((shape[3] - size) // stride + 1):
            yield o, q, (slice(o * stride, o * stride + size), slice(q * stride, q * stride + size))


def naive(x, dy, size, stride, kind):
    """y and dx. In a tie the first of the window, row by row, wins."""
    k, n, h, w, c = x.shape
    y = np.zeros((k, n, (h - size) // stride + 1, (w - size) // stride + 1, c))
    dx = np.zeros(x.shape)
    for o, q, (rows, columns) in windows(x.shape, size, stride):
        for index in np.ndindex(k, n, c):
            a, b, channel = index
            window = x[a, b, rows, columns, channel]
            if kind == "max":
                i, j = np.unravel_index(np.argmax(window), window.shape)
                y[a, b, o, q, channel] = window[i, j]
                dx[a, b, rows.start + i, columns.start + j, channel] += dy[a, b, o, q, channel]
            else:
                y[a, b, o, q, channel] = window.mean()
                dx[a, b, rows, columns, channel] += dy[a, b, o, q, channel] / size**2
    return y, dx


@st.composite
def problems(draw):
    """x, size, stride: overlapping, touching and distant windows; often whole numbers, for ties."""
    size = draw(st.integers(1, 5))
    shape = [draw(st.integers(1, high)) for high in (2, 2, 8, 8, 2)]
    assume(min(shape[2:4]) >= size)
    rng = np.random.default_rng(draw(st.integers(0, 99)))
    x = rng.integers(-2, 3, shape).astype(float) if draw(st.booleans()) else rng.standard_normal(shape)
    return x, size, draw(st.integers(1, 6))


@pytest.mark.parametrize("kind, forward, backward", [("max", max_pool2d, max_pool2d_backward),
                                                     ("avg", avg_pool2d, avg_pool2d_backward)])
@settings(max_examples=60, deadline=None)
@given(problem=problems())
def test_pooling_is_a_plain_loop(kind, forward, backward, problem):
    x, size, stride = problem
    y, cache = forward(x, size=size, stride=stride)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    expected_y, expected_dx = naive(x, dy, size, stride, kind)
    np.testing.assert_allclose(y, expected_y, rtol=0, atol=0 if kind == "max" else 1e-14)
    np.testing.assert_allclose(backward(dy, cache), expected_dx, rtol=0, atol=1e-14)


def test_the_stride_is_the_size_unless_given():
    x = np.random.default_rng(0).standard_normal((1, 2, 7, 8, 3))
    for forward in (max_pool2d, avg_pool2d):
        for size in (2, 3):
            assert np.array_equal(forward(x, size=size)[0], forward(x, size=size, stride=size)[0])
        assert np.array_equal(forward(x)[0], forward(x, size=2)[0])


def test_rows_outside_of_any_window_get_no_gradient():
    y, cache = max_pool2d(np.random.default_rng(0).standard_normal((1, 1, 5, 7, 1)))
    dx = max_pool2d_backward(np.ones(y.shape), cache)
    assert y.shape == (1, 1, 2, 3, 1) and not dx[:, :, 4].any() and not dx[:, :, :, 6].any() and dx.sum() == 6


def test_in_a_tie_the_first_wins():
    x = np.zeros((1, 1, 4, 4, 1))
    y, cache = max_pool2d(x, size=3, stride=1)
    dx = max_pool2d_backward(np.ones(y.shape), cache)[0, 0, :, :, 0]
    assert np.array_equal(dx, [[1, 1, 0, 0], [1, 1, 0, 0], [0, 0, 0, 0], [0, 0, 0, 0]])


@pytest.mark.parametrize("winner", range(4))
@pytest.mark.parametrize("room", [pool, fast], ids=["textbook", "fast"])
def test_in_a_tie_of_real_parts_the_first_is_returned_too(winner, room):
    """The complex step moves one pixel along the imaginary axis: y is the pixel that gets the gradient."""
    x = np.array([1.0, 1, 1, 1], complex)
    x[winner] += 1e-30j
    y, cache = room.max_pool2d(x.reshape(1, 1, 2, 2, 1))
    dx = room.max_pool2d_backward(np.ones(y.shape), cache).ravel()
    assert dx.tolist() == [1, 0, 0, 0]
    assert y.item() == x[0] and y.item().imag == (1e-30 if winner == 0 else 0)


def test_global_average_pool_is_the_mean_of_the_map():
    x = np.random.default_rng(0).standard_normal((2, 3, 4, 5, 2))
    y, cache = global_avg_pool(x)
    dy = np.random.default_rng(1).standard_normal(y.shape)
    np.testing.assert_allclose(y, x.sum(axis=(2, 3)) / 20, atol=1e-15)
    dx = global_avg_pool_backward(dy, cache)
    assert dx.shape == x.shape and np.array_equal(dx[:, :, 3, 1], dy / 20)


@pytest.mark.parametrize("forward", [max_pool2d, avg_pool2d])
def test_a_window_larger_than_the_map_is_an_error(forward):
    with pytest.raises(ValueError, match="window of 5x5 does not fit into a map of 3x6"):
        forward(np.ones((1, 1, 3, 6, 1)), size=5)
