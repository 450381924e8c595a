"""Softmax cross-entropy and the activations at their edges."""

import numpy as np
import pytest

from minifl.layers.activations import leaky_relu, leaky_relu_backward, relu, relu_backward
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from minifl.layers.smoothing import smoothed_cross_entropy, smoothed_cross_entropy_backward

from minifl.layers.cosine import positive_hinge

DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def loss_and_gradient(logits, labels):
    loss, cache = softmax_cross_entropy(logits, labels)
    return loss, softmax_cross_entropy_backward(np.ones_like(loss), cache)


@DTYPES
def test_large_logits_neither_overflow_nor_lose_the_gradient(dtype):
    """The exact answers: a wrong label 2000 below the winner costs 2000, the winner 0."""
    logits = np.array([[1000, -1000, 0], [-1000, 1000, 0], [1000, 1000, -1000], [-1000, -1000, -1000]], dtype)
    logits = logits[:, None]   # 4 clients with 1 example each
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        loss, gradient = loss_and_gradient(logits, np.zeros((4, 1), int))
    np.testing.assert_allclose(loss, [0, 2000, np.log(2), np.log(3)], rtol=1e-6)
    expected = [[0, 0, 0], [-1, 1, 0], [-0.5, 0.5, 0], [-2 / 3, 1 / 3, 1 / 3]]
    np.testing.assert_allclose(gradient[:, 0], expected, rtol=1e-6, atol=1e-7)
    assert loss.dtype == gradient.dtype == dtype


def test_it_is_the_mean_over_examples_as_written_down():
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((3, 5, 4)), rng.integers(0, 4, (3, 5))
    loss, gradient = loss_and_gradient(logits, labels)
    for k in range(3):
        p = [np.exp(z) / np.exp(z).sum() for z in logits[k]]
        assert loss[k] == pytest.approx(-np.mean([np.log(p[n][labels[k, n]]) for n in range(5)]), rel=1e-14)
        for n in range(5):
            np.testing.assert_allclose(gradient[k, n], (p[n] - np.eye(4)[labels[k, n]]) / 5, atol=1e-15)
    np.testing.assert_allclose(gradient.sum(axis=2), 0, atol=1e-16)


def test_permuted_examples_and_shifted_logits_change_nothing():
    rng = np.random.default_rng(0)
    logits, labels, order = rng.standard_normal((2, 6, 4)), rng.integers(0, 4, (2, 6)), rng.permutation(6)
    loss, gradient = loss_and_gradient(logits, labels)
    for changed in ((logits[:, order], labels[:, order]), (logits[:, order] + 5.0, labels[:, order])):
        loss2, gradient2 = loss_and_gradient(*changed)
        np.testing.assert_allclose(loss2, loss, rtol=1e-14)
        np.testing.assert_allclose(gradient2, gradient[:, order], atol=1e-15)


def test_equal_logits_cost_log_of_the_number_of_classes():
    loss, _ = loss_and_gradient(np.full((2, 3, 7), 4.0), np.zeros((2, 3), int))
    np.testing.assert_allclose(loss, np.log(7), rtol=1e-15)


# ---- smoothed labels

def smoothed(logits, labels, smoothing):
    loss, cache = smoothed_cross_entropy(logits, labels, smoothing=smoothing)
    return loss, smoothed_cross_entropy_backward(np.ones_like(loss), cache)


def test_smoothed_labels_by_hand():
    """Softmax 3/4, 1/4 and a tenth of the label spread over two classes: q = 0.95, 0.05."""
    loss, gradient = smoothed(np.log([[[3.0, 1.0]]]), np.array([[0]]), 0.1)
    np.testing.assert_allclose(loss, -0.95 * np.log(0.75) - 0.05 * np.log(0.25), rtol=1e-14)
    np.testing.assert_allclose(gradient, [[[0.75 - 0.95, 0.25 - 0.05]]], rtol=1e-14)


@pytest.mark.parametrize("smoothing", [0.05, 0.9])
def test_smoothing_is_the_cross_entropy_to_the_mixed_labels_as_written_down(smoothing):
    rng = np.random.default_rng(3)
    logits, labels = 3 * rng.standard_normal((2, 4, 5)), rng.integers(0, 5, (2, 4))
    loss, gradient = smoothed(logits, labels, smoothing)
    for k in range(2):
        expected = 0.0
        for z, label, g in zip(logits[k], labels[k], gradient[k]):
            p = np.exp(z) / np.exp(z).sum()
            q = [(1 - smoothing) * (c == label) + smoothing / 5 for c in range(5)]
            expected -= sum(q[c] * np.log(p[c]) for c in range(5)) / 4
            np.testing.assert_allclose(g, (p - q) / 4, rtol=0, atol=1e-15)
        assert loss[k] == pytest.approx(expected, rel=1e-13)


@DTYPES
def test_smoothing_0_is_the_plain_loss_to_the_bit_and_the_minimum_moves_from_infinity(dtype):
    rng = np.random.default_rng(0)
    logits, labels = rng.standard_normal((2, 6, 4)).astype(dtype), rng.integers(0, 4, (2, 6))
    for plain, own in zip(loss_and_gradient(logits, labels), smoothed(logits, labels, 0.0)):
        assert plain.tobytes() == own.tobytes()
    loss, gradient = smoothed(logits, labels, 0.2)
    assert loss.dtype == gradient.dtype == dtype
    best = np.log([0.85, 0.05, 0.05, 0.05]).astype(dtype)[None, None]     # where softmax is q the gradient is 0
    np.testing.assert_allclose(smoothed(best, np.array([[0]]), 0.2)[1], 0, atol=1e-7)


@DTYPES
def test_activations_at_and_around_zero(dtype):
    x = np.array([[-2.0, -0.0, 0.0, 3.0]], dtype)
    y, cache = relu(x)
    assert y.tolist() == [[0, 0, 0, 3]] and relu_backward(np.ones_like(x), cache).tolist() == [[0, 0, 0, 1]]
    y, cache = leaky_relu(x, slope=0.25)
    assert y.tolist() == [[-0.5, 0, 0, 3]]
    assert leaky_relu_backward(np.ones_like(x), cache).tolist() == [[0.25, 0.25, 0.25, 1]]


@pytest.mark.parametrize("activation", [relu, leaky_relu])
def test_activations_are_scale_equivariant(activation):
    """rho(c t) = c rho(t) for c > 0: what the paper's Propositions 1 and 2 stand on (its Lemma 1)."""
    x = np.random.default_rng(0).standard_normal((2, 3, 4))
    np.testing.assert_allclose(activation(7.3 * x)[0], 7.3 * activation(x)[0], rtol=1e-15)


def test_the_default_slope_is_pytorchs():
    assert leaky_relu(np.array([-1.0]))[0] == -0.01


@pytest.mark.parametrize("label", [-1, 4, 10**9])
@pytest.mark.parametrize("of", ["softmax_cross_entropy", "positive_hinge"])
def test_a_label_of_no_class_is_an_error(label, of):
    """NumPy takes -1 for the last class, and calls 4 out of bounds for some axis."""
    rng = np.random.default_rng(0)
    labels = np.array([[0, 3], [label, 1]])
    with pytest.raises(ValueError, match=rf"label {label} is outside of 0\.\.3, the 4 classes"):
        if of == "softmax_cross_entropy":
            softmax_cross_entropy(rng.standard_normal((2, 2, 4)), labels)
        else:
            positive_hinge(rng.standard_normal((2, 2, 5)), rng.standard_normal((2, 5, 4)), labels)


def test_all_labels_of_classes_are_taken_whatever_their_format():
    logits = np.zeros((1, 3, 3))
    for dtype in (np.uint8, np.int32, np.int64):
        np.testing.assert_allclose(softmax_cross_entropy(logits, np.array([[0, 1, 2]], dtype))[0], np.log(3))
    with np.errstate(invalid="ignore"), pytest.warns(RuntimeWarning, match="[Mm]ean of empty"):
        assert np.isnan(softmax_cross_entropy(np.zeros((1, 0, 3)), np.zeros((1, 0), int))[0])
