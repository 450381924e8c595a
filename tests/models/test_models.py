"""The networks: their parameters, their start, clients side by side, and configurations that cannot be."""

import math
from dataclasses import replace

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.gradcheck.networks import draw, networks
from minifl.models import CNN, MLP, MODELS, Arrangement, build, loss_and_grad
from minifl.models.arrangement import WHERE, POSITIONS

every_network = pytest.mark.parametrize("model", networks().values(), ids=networks())
CIFAR = (10, (32, 32, 3))


def shapes(model):
    return {entry.name: entry.shape for entry in model.spec.entries}


def assert_close(found, expected, tolerance):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_the_released_cnn():
    assert shapes(build("cnn", *CIFAR)) == {
        "conv1.weight": (5, 5, 3, 64), "conv2.weight": (5, 5, 64, 64), "dense1.weight": (1600, 384),
        "dense2.weight": (384, 192), "classifier.weight": (192, 10)}
    assert build("cnn", *CIFAR).spec.size == 797_248   # PAPER section 3
    assert build("cnn", 100, (32, 32, 3)).spec.size == 797_248 + 90 * 192


def test_the_cnn_of_table_7():
    model = build("cnn-table7", *CIFAR)
    by_hand = 5 * 5 * 3 * 64 + 5 * 5 * 64 * 64 + 1600 * 384 + 384 * 10
    assert model.spec.size == by_hand == 725_440
    assert "dense2.weight" not in shapes(model) and shapes(model)["classifier.weight"] == (384, 10)


def test_the_mlp():
    assert shapes(build("mlp", 3, (4, 4, 2))) == {
        "dense1.weight": (32, 200), "dense2.weight": (200, 200), "classifier.weight": (200, 3)}


@pytest.mark.parametrize("bias, extra", [("none", 0), ("hidden", 64 + 64 + 384 + 192), ("all", 704 + 10)])
def test_biases(bias, extra):
    assert build("cnn", *CIFAR, Arrangement(bias=bias)).spec.size == 797_248 + extra


@pytest.mark.parametrize("norm, inner, last", [("none", 0, 0), ("fn", 0, 1), ("fn-all", 1, 1), ("ln", 1, 1),
                                               ("ln-reduced", 0, 1), ("gn", 1, 1)])
def test_learnable_norms_have_a_gain_and_a_bias_for_each_channel(norm, inner, last):
    model = build("cnn", *CIFAR, Arrangement(norm, learnable=True))
    assert model.spec.size == 797_248 + 2 * (inner * (64 + 64 + 384) + last * 192)
    if inner:
        assert shapes(model)["norm1.gain"] == (64,) and shapes(model)["dense1.norm.bias"] == (384,)
    assert build("cnn", *CIFAR, Arrangement(norm)).spec.size == 797_248   # static norms have none


def test_width_scales_every_hidden_layer():
    model = build("cnn", *CIFAR, width=0.25)
    assert (model.channels, model.dense) == ((16, 16), (96, 48))
    assert build("mlp", *CIFAR, width=0.001).hidden == (1, 1)


def test_the_start_is_uniform_within_pytorchs_bounds():
    """Each block fills ±1/sqrt(fan_in): its mean, variance and quarters are those of a uniform draw."""
    model = build("cnn", *CIFAR, Arrangement("ln", learnable=True, bias="all"))
    fan_in = {"conv1": 75, "conv2": 1600, "dense1": 1600, "dense2": 384, "classifier": 192}
    blocks = {name: view[0] for name, view in model.spec.views(model.spec.init(3)[None]).items()}
    for layer, count in fan_in.items():
        bound = 1 / math.sqrt(count)
        for block in (blocks[f"{layer}.weight"], blocks[f"{layer}.bias"]):
            assert np.abs(block).max() <= bound
        u = blocks[f"{layer}.weight"].ravel() / bound
        sigma = 1 / math.sqrt(len(u))
        assert np.abs(u).max() > 1 - 20 / len(u)
        assert abs(u.mean()) < 4 * sigma and abs(u.var() - 1 / 3) < 4 * sigma
        assert np.abs(np.histogram(u, 4, (-1, 1))[0] / len(u) - 0.25).max() < 4 * sigma
    for name in ("norm1", "norm2", "dense1.norm", "dense2.norm"):
        assert (blocks[f"{name}.gain"] == 1).all() and not blocks[f"{name}.bias"].any()


def test_the_start_is_the_same_whatever_the_norm_and_differs_with_the_seed():
    plain = build("cnn", *CIFAR, width=0.1)
    for norm in WHERE:
        for position in POSITIONS:
            for learnable in (False, True):
                arrangement = Arrangement(norm, position, learnable, groups=1, bias="hidden")
                model = build("cnn", *CIFAR, arrangement, width=0.1)
                w, start = model.spec.init(5), plain.spec.init(5)
                for name, part in plain.spec.slices.items():
                    assert np.array_equal(w[model.spec.slices[name]], start[part])
    assert not set(plain.spec.init(5)) & set(plain.spec.init(6))


def test_the_views_of_a_network_alias_theta_and_flatten_joins_them():
    model = CNN(3, (16, 16, 1), (2, 3), (4,), Arrangement("ln", learnable=True))
    theta = np.random.default_rng(0).standard_normal((2, model.spec.size))
    views = model.spec.views(theta)
    assert {name: view.shape[1:] for name, view in views.items()} == shapes(model)
    assert np.array_equal(model.spec.flatten(views, like=theta), theta)
    views["conv2.weight"][1] = 7.0
    assert (theta[1, model.spec.slices["conv2.weight"]] == 7.0).all() and (theta[0] != 7.0).all()


@every_network
def test_clients_at_once_are_a_loop_over_clients(model):
    theta, x, labels = draw(model, np.random.default_rng(1), clients=3, batch=4)
    loss, gradient = loss_and_grad(model, theta, x, labels)
    assert loss.shape == (3,) and gradient.shape == theta.shape
    for k in range(3):
        one = slice(k, k + 1)
        loss_k, gradient_k = loss_and_grad(model, theta[one], x[one], labels[one])
        assert_close(loss_k, loss[one], 1e-13)
        assert_close(gradient_k, gradient[one], 1e-12)


@every_network
def test_no_example_sees_another(model):
    theta, x, _ = draw(model, np.random.default_rng(2), clients=2, batch=4)
    p = model.spec.views(theta)
    logits, _ = model.forward(p, x)
    assert logits.shape == (2, 4, model.num_classes)
    for n in range(4):
        assert_close(model.forward(p, x[:, n:n + 1])[0], logits[:, n:n + 1], 1e-12)


@every_network
def test_the_feature_is_what_the_classifier_sees(model):
    theta, x, labels = draw(model, np.random.default_rng(7), clients=2, batch=4)
    p = model.spec.views(theta)
    logits, cache = model.forward(p, x)
    feature = model.feature(cache)
    assert feature.shape == (2, 4, p["classifier.weight"].shape[1])
    bias = p["classifier.bias"][:, None] if "classifier.bias" in p else 0
    assert_close(feature @ p["classifier.weight"] + bias, logits, 1e-13)


@every_network
def test_what_a_loss_adds_to_the_features_gradient_reaches_every_parameter(model):
    """Of the loss u.logits + v.feature, v orthogonal to nothing, by one complex step in a random direction."""
    rng = np.random.default_rng(8)
    theta, x, _ = draw(model, rng, clients=2, batch=4)
    logits, cache = model.forward(model.spec.views(theta), x)
    u, v = rng.standard_normal(logits.shape), rng.standard_normal(model.feature(cache).shape)
    with_feature, without = (model.spec.flatten(model.backward(u, cache, **more), like=theta)
                             for more in ({"dfeature": v}, {}))
    direction = rng.standard_normal(theta.shape)
    moved_logits, moved = model.forward(model.spec.views(theta + 1e-30j * direction), x)
    of_logits = (u * moved_logits.imag).sum(axis=(1, 2)) / 1e-30
    of_feature = (v * model.feature(moved).imag).sum(axis=(1, 2)) / 1e-30
    assert np.abs(of_feature).min() > 1e-3
    assert_close((without * direction).sum(axis=1), of_logits, 1e-11)
    assert_close((with_feature * direction).sum(axis=1), of_logits + of_feature, 1e-11)
    classifier = [model.spec.slices[name] for name in model.spec.slices if name.startswith("classifier")]
    for part in classifier:      # it lies behind the feature
        np.testing.assert_array_equal(with_feature[:, part], without[:, part])


@every_network
def test_float32_in_float32_out_and_nothing_given_is_changed(model):
    theta, x, labels = draw(model, np.random.default_rng(3), clients=2, batch=4)
    loss, gradient = loss_and_grad(model, theta, x, labels)
    arrays = theta.astype(np.float32), x.astype(np.float32), labels
    for array in arrays:
        array.flags.writeable = False
    loss32, gradient32 = loss_and_grad(model, *arrays)
    assert loss32.dtype == gradient32.dtype == np.float32
    assert_close(loss32, loss, 1e-4)
    assert_close(gradient32, gradient, 1e-2)


@pytest.mark.parametrize("activation", ["relu", "leaky-relu"])
@pytest.mark.parametrize("norm", ["none", "fn"])
@pytest.mark.parametrize("bias", ["none", "all"])
def test_the_activation_after_the_pool_changes_no_bit(activation, norm, bias, monkeypatch):
    model = CNN(4, (16, 18, 2), (4, 6), (12, 8), Arrangement(norm, bias=bias, activation=activation))
    theta, x, labels = draw(model, np.random.default_rng(4))
    assert model.arrangement.pool_first
    loss, gradient = loss_and_grad(model, theta, x, labels)
    monkeypatch.setattr(Arrangement, "pool_first", property(lambda self: False))
    loss2, gradient2 = loss_and_grad(model, theta, x, labels)
    assert np.array_equal(loss, loss2) and np.array_equal(gradient, gradient2)


@pytest.mark.parametrize("norm", ["fn-all", "ln", "ln-reduced", "gn"])
def test_the_pool_is_not_moved_past_a_norm(norm):
    assert not Arrangement(norm).pool_first


@pytest.mark.parametrize("name, shape", [("cnn", (16, 17, 1)), ("mlp", (1, 3, 2))])
def test_the_smallest_images(name, shape):
    model = build(name, 2, shape, width=0.1)
    theta, x, labels = draw(model, np.random.default_rng(5))
    assert np.isfinite(loss_and_grad(model, theta, x, labels)[0]).all()


@pytest.mark.parametrize("make, named", [
    (lambda: build("resnet", *CIFAR), ("--model", "'resnet'", *MODELS)),
    (lambda: Arrangement(norm="batch"), ("--norm", "'batch'", *WHERE)),
    (lambda: Arrangement(position="between"), ("--norm-position", "'between'", *POSITIONS)),
    (lambda: Arrangement(bias="some"), ("--bias", "'some'", "none, hidden, all")),
    (lambda: Arrangement(activation="gelu"), ("--activation", "'gelu'", "relu, leaky-relu")),
    (lambda: Arrangement("gn", groups=0), ("--groups", "0", "at least 1")),
    (lambda: build("cnn", *CIFAR, Arrangement("gn", groups=3)).spec, ("--groups", "3", "64", "norm1")),
    (lambda: build("mlp", *CIFAR, Arrangement("gn", groups=3)).spec, ("--groups", "3", "200", "dense1")),
    (lambda: build("cnn", 10, (15, 32, 3)).spec, ("16x16", "15x32")),
    (lambda: build("cnn-table7", 10, (32, 8, 3)).spec, ("16x16", "32x8")),
])
def test_what_cannot_be_is_named(make, named):
    with pytest.raises(InputError) as caught:
        make()
    for word in named:
        assert word in str(caught.value)


def test_groups_matter_only_to_group_norm():
    assert build("cnn", *CIFAR, Arrangement("ln", groups=3)).spec.size == 797_248
    one, two = (replace(MLP(3, (2, 2, 2), (6, 6)), arrangement=Arrangement("gn", groups=g)) for g in (1, 2))
    theta, x, labels = draw(one, np.random.default_rng(6))
    ln = replace(one, arrangement=Arrangement("ln"))
    assert_close(loss_and_grad(one, theta, x, labels)[1], loss_and_grad(ln, theta, x, labels)[1], 1e-12)
    assert not np.allclose(loss_and_grad(two, theta, x, labels)[0], loss_and_grad(one, theta, x, labels)[0])
