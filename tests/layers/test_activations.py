"""Activations: against SciPy's and NumPy's functions, at extreme inputs, and the paper's Lemma 1."""

import numpy as np
import pytest
from scipy.special import expit, ndtr

from minifl.layers import activations
from minifl.models.arrangement import ACTIVATIONS

every_activation = pytest.mark.parametrize("name", [name.replace("-", "_") for name in ACTIVATIONS])

ORACLES = {   # f and its derivative
    "relu": (lambda x: np.maximum(x, 0), lambda x: np.where(x > 0, 1.0, 0.0)),
    "leaky_relu": (lambda x: np.where(x > 0, x, 0.01 * x), lambda x: np.where(x > 0, 1.0, 0.01)),
    "elu": (lambda x: np.where(x > 0, x, np.exp(np.minimum(x, 0)) - 1), lambda x: np.exp(np.minimum(x, 0))),
    "gelu": (lambda x: x * ndtr(x), lambda x: ndtr(x) + x * np.exp(-x * x / 2) / np.sqrt(2 * np.pi)),
    "silu": (lambda x: x * expit(x), lambda x: expit(x) + x * expit(x) * expit(-x)),
    "softplus": (lambda x: np.logaddexp(0, x), expit),
    "tanh": (lambda x: np.sinh(x) / np.cosh(x), lambda x: 1 / np.cosh(x) ** 2),
    "sigmoid": (expit, lambda x: expit(x) * expit(-x)),
}
FAR = {   # value and derivative at -1e4 and at 1e4
    "relu": (0, 0, 1e4, 1), "leaky_relu": (-100, 0.01, 1e4, 1), "elu": (-1, 0, 1e4, 1), "gelu": (0, 0, 1e4, 1),
    "silu": (0, 0, 1e4, 1), "softplus": (0, 0, 1e4, 1), "tanh": (-1, 0, 1, 0), "sigmoid": (0, 0, 1, 0),
}


def pair(name):
    return getattr(activations, name), getattr(activations, f"{name}_backward")


@every_activation
def test_values_and_derivatives(name):
    f, backward = pair(name)
    x = np.concatenate([np.linspace(-8, 8, 161), np.random.default_rng(0).standard_normal(40)]).reshape(3, 67)
    y, cache = f(x)
    np.testing.assert_allclose(y, ORACLES[name][0](x), rtol=1e-13, atol=1e-15)
    away = x != 0   # of the kink
    dx = backward(np.full_like(x, 2.0), cache)
    np.testing.assert_allclose(dx[away], 2 * ORACLES[name][1](x[away]), rtol=1e-13, atol=1e-14)


def test_values_to_know():
    x = np.array([1.0])
    assert activations.gelu(x)[0] == pytest.approx(0.8413447460685429, rel=1e-14)   # the normal distribution at 1
    assert activations.silu(x)[0] == pytest.approx(np.e / (1 + np.e), rel=1e-14)
    assert activations.softplus(0 * x)[0] == pytest.approx(np.log(2), rel=1e-15)
    assert activations.sigmoid(0 * x)[0] == 0.5
    assert activations.elu(-x, alpha=0.7)[0] == pytest.approx(0.7 * (1 / np.e - 1), rel=1e-14)


@every_activation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_large_inputs_neither_overflow_nor_warn(name, dtype):
    f, backward = pair(name)
    x = np.array([-1e4, -100, -30, 0, 30, 100, 1e4], dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = f(x)
        dx = backward(np.ones_like(x), cache)
    assert y.dtype == dx.dtype == dtype
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    np.testing.assert_allclose([y[0], dx[0], y[-1], dx[-1]], FAR[name], rtol=1e-6, atol=0)


@every_activation
def test_lemma_1(name):
    """f(t x) = t f(x) for t > 0 if and only if f consists of two straight halves that meet in 0."""
    f, _ = pair(name)
    x = np.linspace(-2, 2, 81)
    for t in (0.25, 3.0, 40.0):
        difference = np.abs(f(t * x)[0] - t * f(x)[0]).max() / np.abs(t * f(x)[0]).max()
        assert difference < 1e-12 if name in ("relu", "leaky_relu") else difference > 0.05


@every_activation
def test_any_shape(name):
    f, backward = pair(name)
    x = np.random.default_rng(1).standard_normal((2, 3, 4))
    y, cache = f(x)
    for index in np.ndindex(x.shape):
        one, one_cache = f(x[index].reshape(1))
        assert one == y[index] and backward(np.ones(1), one_cache) == backward(np.ones(x.shape), cache)[index]


INF = float("inf")
LIMITS = {   # value and derivative as x goes to -inf and to inf; PyTorch has these, but NaN for gelu and silu at some
    "relu": (0, 0, INF, 1), "leaky_relu": (-INF, 0.01, INF, 1), "elu": (-1, 0, INF, 1), "gelu": (0, 0, INF, 1),
    "silu": (0, 0, INF, 1), "softplus": (0, 0, INF, 1), "tanh": (-1, 0, 1, 0), "sigmoid": (0, 0, 1, 0),
}


@every_activation
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_at_the_infinities_are_the_limits(name, dtype):
    f, backward = pair(name)
    x = np.array([-INF, INF], dtype=dtype)
    with np.errstate(invalid="raise", divide="raise"):
        y, cache = f(x)
        dx = backward(np.ones_like(x), cache)
    np.testing.assert_allclose([y[0], dx[0], y[1], dx[1]], LIMITS[name], rtol=1e-7)
    largest = np.array([-1, 1], dtype) * np.finfo(dtype).max      # and they are reached before
    with np.errstate(over="ignore"):     # of the square of it
        y, cache = f(largest)
    far = np.where(np.isinf(LIMITS[name][::2]), largest * [0.01 if name == "leaky_relu" else 1, 1], LIMITS[name][::2])
    np.testing.assert_allclose(y, far, rtol=1e-6)
    np.testing.assert_allclose(backward(np.ones_like(x), cache), LIMITS[name][1::2], rtol=1e-7)


@every_activation
def test_nan_stays_nan(name):
    """Else a run that diverged would go on."""
    assert np.isnan(pair(name)[0](np.array([np.nan]))[0]).all()


@every_activation
def test_numbers_and_their_complex_form_have_the_same_real_part(name):
    """The complex step checks the code that trains: at kinks, too, and where real numbers are clipped."""
    f, backward = pair(name)
    x = np.array([-3e4, -200.0, -1.5, 0.0, 1.5, 200.0, 3e4])
    y, cache = f(x)
    z, _ = f(x + 1e-30j)
    np.testing.assert_allclose(z.real, y, rtol=1e-14, atol=1e-60)
    np.testing.assert_allclose(z.imag / 1e-30, backward(np.ones_like(x), cache), rtol=1e-13, atol=1e-80)
