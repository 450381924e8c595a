"""Every fast function against its textbook twin: values and all gradients, on the registered cases and on many shapes."""

import inspect
from itertools import product

import numpy as np
import pytest

from minifl import fast
from minifl.fast.filtering import FEWEST_CHANNELS, outputs_of_tile
from minifl.gradcheck import cases
from minifl.gradcheck.networks import draw
from minifl.layers import conv, pool
from minifl.models import CNN, ResNet, blocks, cnn, loss_and_grad

TWINS = {"conv2d": conv, "max_pool2d": pool}
TOLERANCE = {np.float64: 1e-13, np.float32: 2e-5}     # of the largest number; rounding of minimal filtering included
DTYPES = pytest.mark.parametrize("dtype", TOLERANCE, ids=lambda dtype: dtype.__name__)


def assert_the_same(name, inputs, options, rng, dtype):
    """y and the gradients of all inputs, for a random cotangent, in dtype."""
    inputs, module = [None if x is None else x.astype(dtype) for x in inputs], TWINS[name]
    y, cache = getattr(fast, name)(*inputs, **options)
    expected_y, expected_cache = getattr(module, name)(*inputs, **options)
    dy = rng.standard_normal(expected_y.shape).astype(dtype)
    found, expected = ([values, *gradients(getattr(room, f"{name}_backward")(dy, saved))]
                       for room, values, saved in ((fast, y, cache), (module, expected_y, expected_cache)))
    for a, b in zip(found, expected, strict=True):
        if b is None:
            assert a is None
            continue
        assert a.dtype == b.dtype == dtype and a.shape == b.shape
        assert np.abs(a - b).max() <= TOLERANCE[dtype] * np.abs(b).max(), (inputs[0].shape, options)


def gradients(found):
    return found if isinstance(found, tuple) else (found,)


def test_a_twin_has_the_same_name_and_arguments():
    public = [name for name in fast.__all__ if not name.endswith("_backward")]
    assert set(public) == set(TWINS) and {f"{name}_backward" for name in public} < set(fast.__all__)
    for name, module in TWINS.items():
        for each in (name, f"{name}_backward"):
            assert inspect.signature(getattr(fast, each)) == inspect.signature(getattr(module, each))


@DTYPES
@pytest.mark.parametrize("case", [*cases.CONVOLUTIONS, *cases.FILTERED], ids=lambda case: case[0])
def test_registered_convolutions(case, dtype):
    rng = np.random.default_rng(0)
    inputs = cases.convolution(conv, *case).draw(rng)
    assert_the_same("conv2d", inputs.values(), case[-1], rng, dtype)


@DTYPES
@pytest.mark.parametrize("case", cases.MAX_POOLS, ids=lambda case: case[0])
def test_registered_pools(case, dtype):
    rng = np.random.default_rng(0)
    assert_the_same("max_pool2d", cases.max_pool(pool, *case).draw(rng).values(), case[-1], rng, dtype)


@DTYPES
def test_every_kernel_stride_and_padding_on_random_maps(dtype):
    rng = np.random.default_rng(1)
    for kh, kw, stride, padding in product(range(1, 6), range(1, 5), range(1, 5), range(4)):
        k, n, c, f, more, wider = rng.integers(1, 4, 6)
        h, w = max(1, kh - 2 * padding + 2 * more - 2), max(1, kw - 2 * padding + 3 * wider - 3)
        bias = rng.standard_normal((k, f)) if rng.random() < 0.5 else None
        inputs = rng.standard_normal((k, n, h, w, c)), rng.standard_normal((k, kh, kw, c, f)), bias
        assert_the_same("conv2d", inputs, {"stride": stride, "padding": padding}, rng, dtype)


@DTYPES
@pytest.mark.parametrize("taps", [3, 5])
def test_every_number_of_rows_that_is_filtered(taps, dtype):
    rng, filtered = np.random.default_rng(2), 0
    for rows, padding in product(range(1, 18), range(taps // 2 + 1)):
        h, (k, n, f, kw) = rows + taps - 1 - 2 * padding, rng.integers(1, 4, 4)
        if h < 1:
            continue
        c = FEWEST_CHANNELS + rng.integers(0, 3)
        filtered += outputs_of_tile(taps, rows, c) > 0
        inputs = rng.standard_normal((k, n, h, kw + 1, c)), rng.standard_normal((k, taps, kw, c, f)), None
        assert_the_same("conv2d", inputs, {"padding": padding}, rng, dtype)
    assert filtered > 20


@DTYPES
def test_every_window_and_stride_with_and_without_ties(dtype):
    rng = np.random.default_rng(3)
    for size, stride, tied in product(range(1, 6), (None, *range(1, 7)), (False, True)):
        k, n, c, more, wider = rng.integers(1, 4, 5)
        x = rng.standard_normal((k, n, size + 2 * more - 2, size + 3 * wider - 3, c))
        assert_the_same("max_pool2d", [np.round(x) if tied else x], {"size": size, "stride": stride}, rng, dtype)


@pytest.mark.parametrize("network", [CNN(4, (16, 18, 2), (4, 6), (12,)), ResNet(3, (8, 8, 2), (4, 4), (1, 1), 2)],
                         ids=lambda network: type(network).__name__)
def test_a_network_with_the_textbook_pairs_is_the_same(network, monkeypatch):
    theta, x, labels = draw(network, np.random.default_rng(4))
    assert blocks.conv2d is fast.conv2d and cnn.max_pool2d is fast.max_pool2d
    loss, gradient, _ = loss_and_grad(network, theta, x, labels)
    for where, name, module in ((blocks, "conv2d", conv), (cnn, "max_pool2d", pool)):
        for each in (name, f"{name}_backward"):
            monkeypatch.setattr(where, each, getattr(module, each))
    loss_2, gradient_2, _ = loss_and_grad(network, theta, x, labels)
    np.testing.assert_allclose(loss, loss_2, rtol=1e-13)
    np.testing.assert_allclose(gradient, gradient_2, rtol=0, atol=1e-12 * np.abs(gradient).max())


@pytest.mark.parametrize("room", [conv, fast], ids=["textbook", "fast"])
def test_without_input_gradient_the_rest_is_the_same(room):
    rng = np.random.default_rng(0)
    y, cache = room.conv2d(*(rng.standard_normal(shape) for shape in ((2, 3, 6, 5, 2), (2, 3, 3, 2, 4), (2, 4))))
    dy = rng.standard_normal(y.shape)
    dx, *expected = room.conv2d_backward(dy, cache)
    none, *found = room.conv2d_backward(dy, cache, input_gradient=False)
    assert dx is not None and none is None
    assert all(np.array_equal(a, b) for a, b in zip(found, expected, strict=True))


@pytest.mark.parametrize("channels", [3, FEWEST_CHANNELS])
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
        y, cache = fast.conv2d(x, weight)
        expected, expected_cache = fast.conv2d(x.copy(), weight.copy())
        dy = view(rng.standard_normal(y.shape))
        pairs = zip((y, *fast.conv2d_backward(dy, cache)[:2]), (expected, *fast.conv2d_backward(dy.copy(), expected_cache)[:2]))
        for a, b in pairs:
            np.testing.assert_allclose(a, b, rtol=0, atol=1e-12)


@pytest.mark.parametrize("function, inputs, message", [
    ("conv2d", (np.ones((1, 1, 2, 4, 1)), np.ones((1, 5, 2, 1, 1))), "kernel of 5x2 does not fit into a map of 2x4"),
    ("max_pool2d", (np.ones((1, 1, 3, 1, 1)),), "window of 2x2 does not fit into a map of 3x1")])
def test_errors_are_the_textbooks(function, inputs, message):
    for room in (fast, TWINS[function]):
        with pytest.raises(ValueError, match=message):
            getattr(room, function)(*inputs)
