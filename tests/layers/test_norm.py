"""The norms' identities, and their behaviour at extreme inputs."""

import numpy as np
import pytest

from minifl.layers.norm import (EPS, affine, feature_norm, feature_norm_backward, group_norm,
                                group_norm_backward, instance_norm, instance_norm_backward, layer_norm,
                                layer_norm_backward, mv_norm, mv_norm_backward, rms_norm, rms_norm_backward, shift,
                                shift_backward)

SHAPES = pytest.mark.parametrize("shape", [(2, 3, 12), (2, 3, 2, 3, 4)], ids=["vector", "map"])
DTYPES = pytest.mark.parametrize("dtype", [np.float32, np.float64])


def unit_layer_norm(x):
    """layer_norm with gain 1 and bias 0."""
    k, c = x.shape[0], x.shape[-1]
    return layer_norm(x, np.ones((k, c), x.dtype), np.zeros((k, c), x.dtype))


def dx_of(gradients):
    return gradients[0] if isinstance(gradients, tuple) else gradients


NORMS = {"feature_norm": (feature_norm, feature_norm_backward), "mv_norm": (mv_norm, mv_norm_backward),
         "group_norm": (lambda x: group_norm(x, groups=2), group_norm_backward),
         "layer_norm": (unit_layer_norm, layer_norm_backward), "rms_norm": (rms_norm, rms_norm_backward)}
every_norm = pytest.mark.parametrize("forward, backward", NORMS.values(), ids=NORMS)


def drawn(shape, scale=1.0, dtype=np.float64):
    return (scale * np.random.default_rng(0).standard_normal(shape)).astype(dtype)


def per_example(x):
    return x.reshape(*x.shape[:2], -1)


@SHAPES
def test_outputs_lie_where_the_definitions_say(shape):
    x, d = drawn(shape, 3.0) + 1.0, 12 if len(shape) == 3 else 24
    length = np.linalg.norm(per_example(feature_norm(x)[0]), axis=2)
    np.testing.assert_allclose(length, np.sqrt(d), rtol=1e-14)
    np.testing.assert_allclose(per_example(shift(x)[0]).mean(axis=2), 0, atol=1e-14)
    y = per_example(mv_norm(x)[0])
    np.testing.assert_allclose(y.mean(axis=2), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=2), 1, rtol=1e-13)
    y, variance = per_example(unit_layer_norm(x)[0]), per_example(x).var(axis=2)
    np.testing.assert_allclose(y.mean(axis=2), 0, atol=1e-14)
    np.testing.assert_allclose(y.var(axis=2), variance / (variance + EPS), rtol=1e-13)


@SHAPES
def test_directions_are_kept(shape):
    x = drawn(shape)
    centred = shift(x)[0]
    for y, of in ((feature_norm(x)[0], x), (mv_norm(x)[0], centred), (unit_layer_norm(x)[0], centred)):
        y, of = per_example(y), per_example(of)
        cosine = (y * of).sum(axis=2) / (np.linalg.norm(y, axis=2) * np.linalg.norm(of, axis=2))
        np.testing.assert_allclose(cosine, 1, rtol=1e-14)


@SHAPES
def test_norms_in_terms_of_each_other(shape):
    x = drawn(shape)
    c = shape[-1]
    assert np.array_equal(mv_norm(x)[0], feature_norm(shift(x)[0])[0])
    np.testing.assert_allclose(group_norm(x, groups=1)[0], mv_norm(x)[0], atol=1e-14)
    np.testing.assert_allclose(shift(shift(x)[0])[0], shift(x)[0], atol=1e-15)
    y = group_norm(x, groups=2)[0]
    for part in (slice(0, c // 2), slice(c // 2, c)):   # neighbouring channels
        np.testing.assert_allclose(y[..., part], mv_norm(x[..., part])[0], atol=1e-14)


@SHAPES
@pytest.mark.parametrize("forward, scale_only", [(feature_norm, True), (mv_norm, False)])
def test_invariances(shape, forward, scale_only):
    x = drawn(shape)
    y = forward(x)[0]
    np.testing.assert_allclose(forward(37.5 * x)[0], y, rtol=0, atol=1e-13)
    moved = np.abs(forward(x + 2.0)[0] - y).max()
    assert moved > 0.1 if scale_only else moved < 1e-13


@SHAPES
def test_jacobian_identities_of_the_docstrings(shape):
    """All Jacobians are symmetric, so J u is the backward pass of u."""
    x = drawn(shape)
    ones = np.ones(shape)
    y, cache = feature_norm(x)
    np.testing.assert_allclose(feature_norm_backward(y, cache), 0, atol=1e-14)   # the length is lost
    y, cache = mv_norm(x)
    for lost in (ones, y):
        np.testing.assert_allclose(mv_norm_backward(lost, cache), 0, atol=1e-14)
    np.testing.assert_allclose(shift_backward(ones, None), 0, atol=1e-15)

    k, c = shape[0], shape[-1]
    h, cache = layer_norm(x, np.ones((k, c)), np.zeros((k, c)), eps=0.3)
    np.testing.assert_allclose(layer_norm_backward(ones, cache)[0], 0, atol=1e-14)   # J1 = 0
    sigma = np.sqrt(per_example(x).var(axis=2) + 0.3).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    np.testing.assert_allclose(layer_norm_backward(h, cache)[0], 0.3 / sigma**2 * h / sigma, atol=1e-14)


@SHAPES
@pytest.mark.parametrize("eps", [EPS, 0.3])
def test_rms_norm_is_n_but_for_where_eps_sits(shape, eps):
    """rms_norm(x) = sqrt(q/(q + eps)) n(x), q = mean(x*x): n for eps = 0."""
    x = drawn(shape)
    q = (per_example(x) ** 2).mean(axis=2).reshape(*shape[:2], *(1,) * (len(shape) - 2))
    y, cache = rms_norm(x, eps=eps)
    np.testing.assert_allclose(y, np.sqrt(q / (q + eps)) * feature_norm(x)[0], rtol=1e-13)
    np.testing.assert_allclose(rms_norm(x, eps=0.0)[0], feature_norm(x)[0], rtol=1e-13)
    np.testing.assert_allclose(rms_norm_backward(y, cache), eps / (q + eps) * y / np.sqrt(q + eps), rtol=1e-9)
    assert np.abs(rms_norm(x, eps=0.3)[0] - feature_norm(x)[0]).max() > 0.05


def test_rms_norm_by_hand():
    """x = (3, 4, 0, 0): mean square 25/4, and with eps = 11/4 the root is 3."""
    y, _ = rms_norm(np.array([[[3.0, 4.0, 0.0, 0.0]]]), eps=2.75)
    np.testing.assert_allclose(y, [[[1, 4 / 3, 0, 0]]], rtol=1e-15)


def test_instance_norm_is_mv_norm_of_each_map():
    x = drawn((2, 3, 4, 5, 6), 3.0) + 1.0
    y, cache = instance_norm(x)
    z = (x - x.mean(axis=(2, 3), keepdims=True)) / x.std(axis=(2, 3), keepdims=True)
    np.testing.assert_allclose(y, z, atol=1e-13)
    grouped, grouped_cache = group_norm(x, groups=6)
    v = drawn(x.shape)
    assert np.array_equal(y, grouped)
    assert np.array_equal(instance_norm_backward(v, cache), group_norm_backward(v, grouped_cache))
    for c in range(6):
        np.testing.assert_allclose(y[..., c:c + 1], mv_norm(x[..., c:c + 1])[0], atol=1e-14)


def test_instance_norm_of_vectors_is_an_error():
    with pytest.raises(ValueError, match="needs maps"):
        instance_norm(np.ones((1, 2, 8)))


def test_instance_norm_leaves_nothing_of_a_mean_over_the_map():
    """Why no network has one in front of its average pool."""
    assert np.abs(instance_norm(drawn((2, 3, 4, 4, 2)))[0].mean(axis=(2, 3))).max() < 1e-15


def test_affine_belongs_to_the_channel():
    x = drawn((2, 3, 2, 3, 4))
    gain, bias = drawn((2, 4)), drawn((2, 4)) + 1
    y = affine(x, gain, bias)[0]
    for k in range(2):
        for c in range(4):
            assert np.array_equal(y[k, ..., c], x[k, ..., c] * gain[k, c] + bias[k, c])


@pytest.mark.parametrize("forward", [feature_norm, mv_norm])
def test_the_clamp_is_continuous(forward):
    """Just above and just below ||x|| = eps, and linear below it."""
    x = shift(drawn((1, 1, 12)))[0]
    x *= EPS / np.linalg.norm(x)
    above, below = forward(x * (1 + 1e-9))[0], forward(x * (1 - 1e-9))[0]
    np.testing.assert_allclose(above, below, rtol=3e-9)
    np.testing.assert_allclose(np.linalg.norm(above), np.sqrt(12), rtol=1e-8)
    np.testing.assert_allclose(forward(x / 4)[0], forward(x / 2)[0] / 2, rtol=1e-14)
    np.testing.assert_allclose(forward(x / 4)[0], np.sqrt(12) / EPS * x / 4, rtol=1e-9)


@every_norm
@SHAPES
@DTYPES
def test_zero_input_gives_zero_output_and_a_finite_gradient(forward, backward, shape, dtype):
    with np.errstate(all="raise"):
        y, cache = forward(np.zeros(shape, dtype))
        dx = dx_of(backward(drawn(shape, dtype=dtype), cache))
    assert not y.any() and np.isfinite(dx).all() and dx.any()


@every_norm
@SHAPES
@DTYPES
@pytest.mark.parametrize("scale", [1e-20, 1e-8, 1e8, 1e18])
def test_tiny_and_huge_inputs(forward, backward, shape, dtype, scale):
    """Bounded outputs and finite gradients; beyond the clamp the output of a scaled input is the same."""
    x, v = drawn(shape, scale, dtype), drawn(shape, dtype=dtype)
    with np.errstate(over="raise", invalid="raise", divide="raise"):
        y, cache = forward(x)
        dx = dx_of(backward(v, cache))
    assert np.isfinite(y).all() and np.isfinite(dx).all()
    length = np.linalg.norm(per_example(y), axis=2) / np.sqrt(per_example(y).shape[2])
    np.testing.assert_allclose(length, 1, rtol=1e-5) if scale > 1 else np.testing.assert_array_less(length, 1)
    if scale > 1:
        np.testing.assert_allclose(y, forward(drawn(shape, 1e4, dtype))[0], rtol=1e-3, atol=1e-5)


@every_norm
@SHAPES
def test_float64_carries_1e20_and_float32_becomes_zero_there(forward, backward, shape):
    """The limit named in the module's docstring: a length overflows beyond 1.8e19 in float32, and y is 0."""
    x = drawn(shape, 1e20)
    y, cache = forward(x)
    np.testing.assert_allclose(y, forward(drawn(shape, 1e4))[0], rtol=1e-9)
    assert np.isfinite(dx_of(backward(y, cache))).all()
    with np.errstate(over="ignore"):
        y, cache = forward(x.astype(np.float32))
        dx = dx_of(backward(np.ones_like(y), cache))
    assert not y.any() and np.isfinite(dx).all()


def test_groups_that_do_not_divide_the_channels_are_an_error():
    with pytest.raises(ValueError, match="3 groups do not divide 8 channels"):
        group_norm(np.ones((1, 2, 8)), groups=3)


@DTYPES
@pytest.mark.parametrize("value", [0.7, 1 / 3, -1e4 / 3, 10.0, 1e-20, 0.0])
@pytest.mark.parametrize("shape", [(1, 3, 32, 32, 3), (2, 3, 7, 5, 4), (2, 3, 100)])
def test_constant_examples_become_exactly_0_among_others(shape, value, dtype):
    """The mean of so many numbers is rounded; n_MV would stretch what is left to 0.66, and of -3333s to -1."""
    x = drawn(shape, dtype=dtype)
    x[0, 1] = value
    for forward, backward in (NORMS["mv_norm"], NORMS["group_norm"], (instance_norm, instance_norm_backward))[:len(shape) - 2]:
        if x.shape[-1] % 2 and forward is NORMS["group_norm"][0]:
            continue
        y, cache = forward(x)
        dy = drawn(y.shape, dtype=dtype) + 1
        dx = backward(dy, cache)
        assert y.dtype == dx.dtype == dtype and not y[0, 1].any() and np.isfinite(dx).all()
        exact, cache = forward(x.astype(float))
        np.testing.assert_allclose(y, exact, rtol=0, atol=1e-4 if dtype == np.float32 else 0)
        expected = backward(dy.astype(float), cache)
        for ours, theirs in zip(dx.reshape(-1, *shape[2:]), expected.reshape(-1, *shape[2:])):
            np.testing.assert_allclose(ours, theirs, rtol=0, atol=1e-5 * (1 + abs(theirs).max()))


def test_a_constant_example_changes_no_bit_of_the_others():
    x = drawn((1, 4, 6, 6, 3), dtype=np.float32) + 1
    y, _ = mv_norm(x)
    other = x.copy()
    other[0, 2] = 0.7
    assert np.array_equal(mv_norm(other)[0][0, [0, 1, 3]], y[0, [0, 1, 3]])
    v = x.reshape(1, 4, -1)
    assert np.array_equal(shift(x)[0], (v - v.mean(axis=2, keepdims=True)).reshape(x.shape))


@pytest.mark.parametrize("value", [0.7, 0.0])
def test_the_complex_step_is_right_at_constant_examples(value):
    """n_MV is linear there: sqrt(d)/eps (dx - mean(dx))."""
    x, dx = np.full((1, 2, 5, 3, 2), value), drawn((1, 2, 5, 3, 2))
    y, cache = mv_norm(x + 1e-30j * dx)
    np.testing.assert_allclose(y.imag / 1e-30, np.sqrt(30) / EPS * shift(dx)[0], rtol=1e-12, atol=1e-6)
    assert not y.real.any()
    np.testing.assert_allclose(mv_norm_backward(dx, cache).real, np.sqrt(30) / EPS * shift(dx)[0], rtol=1e-12, atol=1e-6)
