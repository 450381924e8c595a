"""Batch norm by hand: training, the statistics it contributes, evaluation mode."""

import numpy as np
import pytest

from minifl.layers.batchnorm import (MOMENTUM, batch_norm, batch_norm_backward, batch_norm_fixed,
                                     batch_norm_fixed_backward, batch_statistics)
from minifl.layers.norm import EPS

# one client, two vectors of two channels
X = np.array([[[1.0, 10.0], [3.0, 30.0]]])


def drawn(shape):
    return np.random.default_rng(3).standard_normal(shape)


def test_two_numbers_a_channel():
    y, _ = batch_norm(X, eps=0.0)
    np.testing.assert_array_equal(y, [[[-1, -1], [1, 1]]])
    y, _ = batch_norm(X, eps=3.0)           # means 2, 20; variances 1, 100: sigma 2 and sqrt(103)
    np.testing.assert_allclose(y, [[[-0.5, -10 / 103**0.5], [0.5, 10 / 103**0.5]]], rtol=1e-15)


def test_the_backward_of_two_numbers():
    """y = (-1/2, 1/2), sigma = 2; dy = (1, 0) has mean 1/2 and mean(dy y) = -1/4, so
    dx = (1 - 1/2 - 1/8, 0 - 1/2 + 1/8)/2 = (3/16, -3/16)."""
    _, cache = batch_norm(X[..., :1], eps=3.0)
    dx = batch_norm_backward(np.array([[[1.0], [0.0]]]), cache)
    np.testing.assert_allclose(dx, [[[3 / 16], [-3 / 16]]], rtol=1e-15)


def test_statistics_of_two_numbers():
    """Means 2 and 20; squared deviations add up to 2 and 200, over m - 1 = 1."""
    mean, variance = batch_statistics(batch_norm(X)[1])
    np.testing.assert_array_equal(mean, [[2, 20]])
    np.testing.assert_array_equal(variance, [[2, 200]])
    assert MOMENTUM == 0.1   # so after this batch, from 0 and 1: 0.2, 2 and 0.9 + 0.2, 0.9 + 20


def test_a_map_is_a_batch_of_its_places():
    x = drawn((2, 3, 4, 5, 2))
    y, cache = batch_norm(x)
    flat, flat_cache = batch_norm(x.reshape(2, 60, 2))
    np.testing.assert_allclose(y.reshape(2, 60, 2), flat, atol=1e-14)
    for a, b in zip(batch_statistics(cache), batch_statistics(flat_cache)):
        np.testing.assert_allclose(a, b, rtol=1e-13)
    np.testing.assert_allclose(batch_statistics(cache)[1], x.reshape(2, 60, 2).var(axis=1, ddof=1), rtol=1e-13)


@pytest.mark.parametrize("shape", [(3, 7, 4), (3, 2, 3, 4, 2)])
def test_each_client_has_statistics_of_its_own(shape):
    x = drawn(shape)
    y, cache = batch_norm(x)
    over = tuple(range(1, len(shape) - 1))
    np.testing.assert_allclose(y.mean(axis=over), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=over), x.var(axis=over) / (x.var(axis=over) + EPS), rtol=1e-13)
    others = x.copy()
    others[1:] = 5 * others[1:] + 1
    y_others, cache_others = batch_norm(others)
    assert np.array_equal(y_others[0], y[0]) and not np.allclose(cache_others[2][1:], cache[2][1:])
    assert np.array_equal(batch_statistics(cache_others)[0][0], batch_statistics(cache)[0][0])


def test_examples_move_each_other():
    """The negative control of "no example sees another", which holds for all other norms."""
    x = drawn((1, 4, 3))
    moved = x.copy()
    moved[:, 0] += 1
    y, y_moved = batch_norm(x)[0], batch_norm(moved)[0]
    assert np.abs(y_moved - y)[:, 1:].max(axis=2).min() > 0.05
    gradient = batch_norm_backward(np.eye(1, 12).reshape(1, 4, 3), batch_norm(x)[1])
    assert np.abs(gradient[:, 1:, 0]).min() > 0.01 and not gradient[..., 1:].any()   # of one channel only


def test_jacobian_identities():
    """J = (I - 11'/m - yy'/m)/sigma is symmetric: J1 = 0, Jy = (eps/sigma²) y/sigma."""
    x = drawn((2, 5, 3))
    y, cache = batch_norm(x, eps=0.3)
    sigma = np.sqrt(x.var(axis=1, keepdims=True) + 0.3)
    np.testing.assert_allclose(batch_norm_backward(np.ones_like(x), cache), 0, atol=1e-15)
    np.testing.assert_allclose(batch_norm_backward(y, cache), 0.3 / sigma**2 * y / sigma, rtol=1e-12)


def test_scale_and_shift_of_a_channel_do_not_matter_without_eps():
    x = drawn((2, 5, 3))
    moved = x * [2.0, 30.0, 0.1] + [1.0, -5.0, 0.0]
    np.testing.assert_allclose(batch_norm(moved, eps=0.0)[0], batch_norm(x, eps=0.0)[0], atol=1e-13)


def test_a_batch_of_one_vector_becomes_0():
    y, cache = batch_norm(drawn((2, 1, 3)))
    assert not y.any() and not batch_norm_backward(np.ones((2, 1, 3)), cache).any()
    assert not batch_statistics(cache)[1].any()   # and no division by m - 1 = 0


def test_evaluation_mode_by_hand():
    """(5 - 1)/sqrt(15 + 1) = 1 and (5 + 1)/sqrt(3 + 1) = 3, whatever else is in the batch."""
    x = np.full((1, 1, 2), 5.0)
    mean, variance = np.array([[1.0, -1.0]]), np.array([[15.0, 3.0]])
    y, cache = batch_norm_fixed(x, mean, variance, eps=1.0)
    np.testing.assert_array_equal(y, [[[1, 3]]])
    np.testing.assert_array_equal(batch_norm_fixed_backward(np.full((1, 1, 2), 8.0), cache), [[[2, 4]]])
    more, _ = batch_norm_fixed(np.concatenate([x, 100 + x], axis=1), mean, variance, eps=1.0)
    np.testing.assert_array_equal(more[:, :1], y)


@pytest.mark.parametrize("shape", [(3, 7, 4), (3, 2, 3, 4, 2)])
def test_evaluation_with_the_batchs_own_statistics_is_training(shape):
    """With the variance over m, the one it normalizes with; each client has its own."""
    x = drawn(shape)
    over = tuple(range(1, len(shape) - 1))
    y, _ = batch_norm_fixed(x, x.mean(axis=over), x.var(axis=over))
    np.testing.assert_allclose(y, batch_norm(x)[0], atol=1e-14)


def test_statistics_keep_the_dtype():
    x = drawn((2, 5, 3)).astype(np.float32)
    assert {a.dtype for a in batch_statistics(batch_norm(x)[1])} == {np.dtype(np.float32)}
