"""FedDecorr's penalty: values by hand, the definition as oracle, its range and invariances."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minifl.layers.decorrelation import (decorrelation, decorrelation_backward, decorrelation_released,
                                         decorrelation_released_backward)


def loss_and_gradient(z, **options):
    loss, cache = decorrelation(np.asarray(z, float), **options)
    return loss, decorrelation_backward(np.ones_like(loss), cache)


def drawn(k, n, d, seed=0):
    return np.random.default_rng(seed).standard_normal((k, n, d))


def as_written_down(z, eps):
    """The loss of one client's features (N, D), correlation by correlation."""
    n, d = z.shape
    total = 0.0
    for a in z.T:
        for b in z.T:
            covariance = sum((a[i] - sum(a) / n) * (b[i] - sum(b) / n) for i in range(n)) / n
            total += covariance**2 / ((np.var(a) + eps) * (np.var(b) + eps))
    return total / d**2


# ---- by hand

def test_two_examples_of_two_features():
    # xc = (-1, 2), (1, -2); variances 1 and 4, covariance -2; with eps = 3
    # C = [[1/4, -2/sqrt(4*7)], [-2/sqrt(4*7), 4/7]]   loss = (1/16 + 2*4/28 + 16/49)/4
    loss, _ = loss_and_gradient([[[1, 5], [3, 1]]], eps=3.0)
    np.testing.assert_allclose(loss, [(1 / 16 + 2 / 7 + 16 / 49) / 4], rtol=1e-15)
    # without eps two examples are always perfectly correlated
    np.testing.assert_allclose(loss_and_gradient([[[1, 5], [3, 1]]])[0], [1], rtol=1e-7)


def test_one_feature_with_eps():
    # loss = (v/(v + 3))² with v = ((a - b)/2)² = 1, so 1/16
    # dloss/dv = 2*3 v/(v + 3)³ = 3/32, dv/da = (a - b)/2 = -1
    loss, gradient = loss_and_gradient([[[0], [2]]], eps=3.0)
    np.testing.assert_allclose(loss, [1 / 16], rtol=1e-15)
    np.testing.assert_allclose(gradient, [[[-3 / 32], [3 / 32]]], rtol=1e-15)


def test_correlation_of_one_half():
    # a = (1, 0, -1), b = (1, -1, 0): a'a = b'b = 2, a'b = 1, so r = 1/2 and loss = (2 + 2 r²)/4 = 0.625
    # dloss/da = r dr/da = r (b - r a)/2 = (1, -2, 1)/8, dloss/db = r (a - r b)/2 = (1, 1, -2)/8
    loss, gradient = loss_and_gradient([[[1, 1], [0, -1], [-1, 0]]])
    np.testing.assert_allclose(loss, [0.625], rtol=1e-7)
    np.testing.assert_allclose(gradient, [[[0.125, 0.125], [-0.25, 0.125], [0.125, -0.25]]], atol=1e-8)


def test_perfectly_correlated_features_cost_1_and_uncorrelated_ones_1_over_d():
    a = np.array([1.0, 1, -1, -1])
    correlated = np.stack([a, 3 * a + 7, -0.1 * a], axis=1)
    orthogonal = np.array([[1.0, 1, 1], [1, -1, -1], [-1, 1, -1], [-1, -1, 1]]) * [1, 2, 0.5] + [5, 0, -1]
    loss, gradient = loss_and_gradient(np.stack([correlated, orthogonal]))
    np.testing.assert_allclose(loss, [1, 1 / 3], rtol=1e-6)
    np.testing.assert_allclose(gradient, 0, atol=1e-5)   # the maximum and the minimum; at eps/s² of 1e-6


# ---- against the definition

@pytest.mark.parametrize("n, d", [(3, 8), (8, 3), (5, 5), (2, 6), (6, 1)])
@pytest.mark.parametrize("eps", [1e-8, 0.5])
def test_it_is_the_mean_squared_correlation(n, d, eps):
    z = drawn(2, n, d)
    loss, _ = loss_and_gradient(z, eps=eps)
    np.testing.assert_allclose(loss, [as_written_down(client, eps) for client in z], rtol=1e-12)


def test_the_released_code_minimizes_n_times_as_much():
    n, d = 32, 48
    z = drawn(3, n, d) @ drawn(1, d, d, seed=1)
    loss, _ = loss_and_gradient(z)
    h = (z - z.mean(axis=1, keepdims=True)) / np.sqrt(1e-8 + z.var(axis=1, ddof=1, keepdims=True))
    released = [(c[~np.eye(d, dtype=bool)]**2).mean() / n for c in h.transpose(0, 2, 1) @ h]
    np.testing.assert_allclose(released, (n - 1)**2 / n * d / (d - 1) * (loss - 1 / d), rtol=1e-7)
    np.testing.assert_allclose(decorrelation_released(z)[0], released, rtol=1e-12)


def test_the_factor_between_the_two_forms():
    """30.19 for the paper's 32 examples and 192 features, as --help says, and --decorr-weight 0.5 is 15.1 or 0.0166."""
    z = drawn(1, 32, 192)
    loss, gradient = loss_and_gradient(z)
    released, cache = decorrelation_released(z, eps=0)
    factor = 31**2 / 32 * 192 / 191
    assert round(factor, 2) == 30.19 and round(0.5 * factor, 1) == 15.1 and round(0.5 / factor, 4) == 0.0166
    np.testing.assert_allclose(released, factor * (loss - 1 / 192), rtol=1e-12)
    np.testing.assert_allclose(decorrelation_released_backward(np.ones(1), cache), factor * gradient, atol=1e-15)


def test_the_published_form_does_not_see_the_scale_of_a_feature():
    """With 1e-8 in the root, as the released code has it, features of 1e-4 would count half."""
    z = drawn(2, 8, 5)
    loss, gradient = loss_and_gradient(z)
    for scale in (1e-3, 1e-6, 1e-12, 1e6):
        scales = np.array([1, scale, 1, scale, 1])
        small, small_gradient = loss_and_gradient(z * scales)
        np.testing.assert_allclose(small, loss, rtol=1e-13)
        np.testing.assert_allclose(small_gradient * scales, gradient, rtol=1e-10, atol=1e-14)
    released = decorrelation_released(z)[0]
    assert (decorrelation_released(1e-4 * z)[0] < 0.5 * released).all()


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("form, backward", [(decorrelation, decorrelation_backward),
                                            (decorrelation_released, decorrelation_released_backward)])
def test_a_feature_that_is_constant_but_for_rounding_contributes_nothing(form, backward, dtype):
    """The mean of equal numbers is rounded, and what is left of them is no correlation."""
    rng = np.random.default_rng(0)
    z = rng.standard_normal((1, 31, 6)).astype(dtype)
    z[..., 1], z[..., 3], z[..., 4] = 0.7, 1e4 / 3, -1e-9
    loss, cache = form(z)
    gradient = backward(np.ones(1, dtype), cache)
    z[..., [1, 3, 4]] = 0
    expected, cache = form(z)
    assert loss.dtype == dtype and loss == expected
    assert not gradient[..., [1, 3, 4]].any() and np.array_equal(gradient, backward(np.ones(1, dtype), cache))


def test_the_released_form_of_one_example_or_one_feature_is_0():
    """There the released code divides 0 by 0."""
    for shape in ((2, 1, 5), (2, 4, 1), (1, 1, 1)):
        loss, cache = decorrelation_released(drawn(*shape))
        np.testing.assert_allclose(loss, 0, atol=1e-12)
        np.testing.assert_allclose(decorrelation_released_backward(np.ones(shape[0]), cache), 0, atol=1e-12)


# ---- properties

@settings(max_examples=60, deadline=None)
@given(st.integers(3, 9), st.integers(1, 7), st.integers(0, 2**32 - 1))
def test_range_and_invariances(n, d, seed):
    z = drawn(2, n, d, seed)
    rng = np.random.default_rng([seed, 1])
    loss, gradient = loss_and_gradient(z, eps=1e-14)
    assert (loss <= 1 + 1e-9).all() and (loss >= 1 / min(d, n - 1) - 1e-9).all()
    shift = 5 * rng.standard_normal((2, 1, d))
    scale = rng.choice([-1, 1], (2, 1, d)) * rng.uniform(0.5, 2, (2, 1, d))
    moved_loss, moved_gradient = loss_and_gradient(scale * z + shift, eps=1e-14)
    np.testing.assert_allclose(moved_loss, loss, rtol=1e-8)
    np.testing.assert_allclose(moved_gradient * scale, gradient, atol=1e-8 * (1 + 1 / z.std(axis=1).min()))
    order, features = rng.permutation(n), rng.permutation(d)
    permuted_loss, permuted_gradient = loss_and_gradient(z[:, order][:, :, features], eps=1e-14)
    np.testing.assert_allclose(permuted_loss, loss, rtol=1e-12)
    np.testing.assert_allclose(permuted_gradient, gradient[:, order][:, :, features], atol=1e-9)


def test_the_gradient_sums_to_0_over_the_examples_and_does_not_change_the_lengths():
    z = drawn(2, 6, 4)
    _, gradient = loss_and_gradient(z)
    assert np.abs(gradient).max() > 1e-3
    np.testing.assert_allclose(gradient.sum(axis=1), 0, atol=1e-15)
    centred = z - z.mean(axis=1, keepdims=True)
    np.testing.assert_allclose((gradient * centred).sum(axis=1), 0, atol=1e-7)   # eps is 1e-8


def test_one_example_or_constant_features_cost_nothing():
    loss, gradient = loss_and_gradient(drawn(2, 1, 5))
    assert loss.tolist() == [0, 0] and not gradient.any()
    loss, gradient = loss_and_gradient(np.full((1, 4, 3), 2.0))
    assert loss.tolist() == [0] and not gradient.any()
    # one constant feature of three: 4 of the 9 correlations are left, and it has no gradient
    z = drawn(1, 5, 3)
    z[:, :, 1] = 2
    loss, gradient = loss_and_gradient(z)
    alone, gradient_alone = loss_and_gradient(z[:, :, [0, 2]])
    np.testing.assert_allclose(loss, alone * 4 / 9, rtol=1e-14)
    np.testing.assert_allclose(gradient[:, :, [0, 2]], gradient_alone * 4 / 9, atol=1e-15)
    assert not gradient[:, :, 1].any()


def test_clients_do_not_touch_each_other():
    z, dloss = drawn(3, 5, 4), np.array([1.0, -2.0, 0.5])
    loss, cache = decorrelation(z)
    gradient = decorrelation_backward(dloss, cache)
    for k in range(3):
        loss_k, gradient_k = loss_and_gradient(z[k:k + 1])
        np.testing.assert_allclose(loss_k, loss[k:k + 1], rtol=1e-14)
        np.testing.assert_allclose(dloss[k] * gradient_k, gradient[k:k + 1], atol=1e-15)


def test_descending_it_decorrelates():
    z = drawn(1, 8, 4) @ (np.eye(4) + 2)   # nearly collinear features
    before, _ = loss_and_gradient(z)
    for _ in range(1000):
        loss, gradient = loss_and_gradient(z)
        z = z - 3 * gradient
    assert before > 0.7 and loss < 0.2501
