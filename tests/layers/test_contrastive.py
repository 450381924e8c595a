"""MOON's contrastive loss: values by hand, the definition as oracle, what it does not depend on."""

import numpy as np
import pytest

from minifl.layers.contrastive import model_contrastive, model_contrastive_backward


def loss_and_gradient(*features, **options):
    loss, cache = model_contrastive(*(np.asarray(f, float) for f in features), **options)
    return loss, model_contrastive_backward(np.ones_like(loss), cache)


def drawn(seed=0, shape=(2, 4, 5)):
    return np.random.default_rng(seed).standard_normal((3, *shape))


def cosine(a, b):
    return a @ b / np.sqrt((a @ a) * (b @ b))


def test_orthogonal_models_by_hand():
    """z along z+, z- across: cosines 1 and 0, tau 1/2: log(1 + exp(-2)). The gradient turns z away from z-:
    dloss/dcos- = sigmoid(-2)/tau, and cos- = z_2/||z|| changes by 1/3 along the second axis, where ||z|| = 3."""
    loss, gradient = loss_and_gradient([[[3, 0]]], [[[5, 0]]], [[[0, 2]]], tau=0.5)
    np.testing.assert_allclose(loss, np.log1p(np.exp(-2)), rtol=1e-14)
    np.testing.assert_allclose(gradient, [[[0, 2 / (1 + np.exp(2)) / 3]]], rtol=1e-14, atol=1e-16)


@pytest.mark.parametrize("tau", [0.1, 0.5, 3.0])
def test_it_is_the_definition_example_by_example(tau):
    z, positive, negative = drawn()
    loss, _ = loss_and_gradient(z, positive, negative, tau=tau)
    for k in range(2):
        terms = []
        for n in range(4):
            up, down = (np.exp(cosine(z[k, n], other[k, n]) / tau) for other in (positive, negative))
            terms.append(-np.log(up / (up + down)))
        assert loss[k] == pytest.approx(np.mean(terms), rel=1e-13)


def test_two_models_that_agree_teach_nothing():
    z, positive, _ = drawn()
    loss, gradient = loss_and_gradient(z, positive, positive)
    np.testing.assert_allclose(loss, np.log(2), rtol=1e-15)
    assert not gradient.any()


def test_lengths_do_not_matter_and_the_gradient_is_orthogonal_to_the_feature():
    z, positive, negative = drawn()
    loss, gradient = loss_and_gradient(z, positive, negative)
    np.testing.assert_allclose((gradient * z).sum(axis=2), 0, atol=1e-15)
    again, other = loss_and_gradient(4 * z, 0.3 * positive, 7 * negative)
    np.testing.assert_allclose(again, loss, rtol=1e-13)
    np.testing.assert_allclose(other, gradient / 4, rtol=0, atol=1e-15)


def test_a_small_temperature_does_not_overflow():
    z = np.array([[[1.0, 0.0]]], np.float32)
    with np.errstate(over="raise", invalid="raise"):
        loss, cache = model_contrastive(z, -z, z, tau=0.001)
        gradient = model_contrastive_backward(loss * 0 + 1, cache)
    np.testing.assert_allclose(loss, [2000], rtol=1e-6)
    assert loss.dtype == gradient.dtype == np.float32 and np.isfinite(gradient).all()


def test_a_feature_of_zeros_costs_log_2():
    _, positive, negative = drawn(shape=(1, 1, 3))
    loss, gradient = loss_and_gradient([[[0, 0, 0]]], positive, negative)
    assert loss == pytest.approx(np.log(2)) and np.isfinite(gradient).all()
