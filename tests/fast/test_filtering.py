"""Minimal filtering: the identity it rests on, its transposes, its rounding."""

import numpy as np
import pytest

from minifl.fast import conv2d, conv2d_backward, filtering
from minifl.layers import conv

TAPS = tuple(filtering.TILES)


@pytest.mark.parametrize("taps", TAPS)
def test_the_products_at_the_points_give_every_output(taps):
    """y_o = sum_i x_{o+i} w_i for the unit vectors x and w, which is (*) as an equation of numbers."""
    a, g, b = map(np.array, filtering.MATRICES[taps].values())
    m, n = a.shape
    assert n == m + taps - 1 == len(set(filtering.TILES[taps][1]))
    found = np.einsum("op,pi,pr->oir", a, g, b)
    expected = np.zeros((m, taps, n))
    for o in range(m):
        for i in range(taps):
            expected[o, i, o + i] = 1
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13)


@pytest.mark.parametrize("taps, height", [(3, 4), (3, 5), (3, 11), (5, 5), (5, 10), (5, 13)])
def test_each_transpose_is_the_transpose(taps, height):
    rng = np.random.default_rng(0)
    m = filtering.TILES[taps][0]
    k, n, w, c, f, rows = 2, 3, 4, 2, 3, -(-height // m) * m + taps - 1
    pairs = [
        ((k, n, rows, w, c), lambda x: filtering.map_at_points(x, taps, height),
         lambda d: filtering.map_at_points_transposed(d, taps, n)),
        ((k, taps, 2, c, f), filtering.kernel_at_points, lambda d: filtering.kernel_at_points_transposed(d, taps)),
        ((k, m + taps - 1, n * -(-height // m), w, f), lambda x: filtering.outputs(x, taps, n, height),
         lambda d: filtering.outputs_transposed(d, taps)),
    ]
    for shape, forward, transposed in pairs:
        x = rng.standard_normal(shape)
        y = forward(x)
        d = rng.standard_normal(y.shape)
        back = transposed(d)
        assert back.shape == x.shape
        for client in range(k):
            np.testing.assert_allclose((y[client] * d[client]).sum(), (back[client] * x[client]).sum(), rtol=1e-11)


@pytest.mark.parametrize("taps, bound", [(3, 1e-6), (5, 3e-6)])
def test_the_rounding_error_in_float32_is_what_the_module_says(taps, bound):
    """Root mean square, relative to y, of the convolution and its gradients against the same in float64."""
    rng = np.random.default_rng(1)
    x = np.maximum(rng.standard_normal((1, 4, 14, 9, 64)), 0).astype(np.float32)
    weight = rng.uniform(-0.03, 0.03, (1, taps, taps, 64, 32)).astype(np.float32)
    assert filtering.outputs_of_tile(taps, 15 - taps, 64)
    y, cache = conv2d(x, weight)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    exact, exact_cache = conv2d(x.astype(float), weight.astype(float))
    np.testing.assert_allclose(exact, conv.conv2d(x.astype(float), weight.astype(float))[0], rtol=0, atol=1e-13)
    pairs = zip((y, *conv2d_backward(dy, cache)[:2]), (exact, *conv2d_backward(dy.astype(float), exact_cache)[:2]))
    for found, expected in pairs:
        assert found.dtype == np.float32
        assert np.sqrt(((found - expected) ** 2).mean() / (expected ** 2).mean()) < bound


def test_where_it_stands():
    """The second convolution of the paper's CNN and the 3x3 ones of a ResNet; not the first ones, nor short maps."""
    assert filtering.outputs_of_tile(5, 10, 64) == 5 and filtering.outputs_of_tile(3, 32, 64) == 4
    assert filtering.outputs_of_tile(5, 28, 3) == 0
    assert filtering.outputs_of_tile(5, 2, 64) == filtering.outputs_of_tile(3, 2, 64) == 0
    assert filtering.outputs_of_tile(1, 32, 64) == 0
