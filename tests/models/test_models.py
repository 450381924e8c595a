"""The networks: their parameters, their start, clients side by side, and configurations that cannot be."""

import math
from dataclasses import replace

import numpy as np
import pytest

from comparing import shapes

from minifl.errors import InputError
from minifl.gradcheck.networks import SEQUENTIAL, draw, draw_statistics, networks
from minifl.layers.weights import unit_columns
from minifl.models import CNN, MLP, MODELS, Arrangement, ResNet, build, loss_and_grad
from minifl.models.arrangement import ACTIVATIONS, HEADS, POSITIONS
from minifl.models.norms import NORMS

NETWORKS = networks(quick=True)
every_network = pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)
CIFAR = (10, (32, 32, 3))


def assert_close(found, expected, tolerance):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_the_released_cnn():
    assert shapes(build("cnn", *CIFAR)) == {
        "conv1.weight": (5, 5, 3, 64), "conv2.weight": (5, 5, 64, 64), "dense1.weight": (1600, 384),
        "dense2.weight": (384, 192), "classifier.weight": (192, 10)}
    assert build("cnn", *CIFAR).spec.size == 797_248   # of the paper's released code
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
                                               ("ln-reduced", 0, 1), ("gn", 1, 1), ("rms", 1, 1), ("bn", 1, 1)])
def test_learnable_norms_have_a_gain_and_a_bias_for_each_channel(norm, inner, last):
    model = build("cnn", *CIFAR, Arrangement(norm, learnable=True))
    assert model.spec.size == 797_248 + 2 * (inner * (64 + 64 + 384) + last * 192)
    if inner:
        assert shapes(model)["norm1.gain"] == (64,) and shapes(model)["dense1.norm.bias"] == (384,)
    assert build("cnn", *CIFAR, Arrangement(norm)).spec.size == 797_248   # static norms have none


def test_instance_norm_leaves_vectors_alone():
    model = build("cnn", *CIFAR, Arrangement("in", learnable=True))
    assert model.spec.size == 797_248 + 2 * (64 + 64)


def test_batch_norm_has_running_statistics_that_are_no_parameters():
    model = build("cnn", *CIFAR, Arrangement("bn"))
    assert model.spec.size == 797_248
    assert {entry.name: entry.shape for entry in model.statistics.entries} == {
        f"{name}.{which}": (c,) for which in ("mean", "variance")
        for name, c in (("norm1", 64), ("norm2", 64), ("dense1.norm", 384), ("dense2.norm", 192))}
    start = model.statistics.views(model.statistics.init(0)[None])
    assert not start["norm1.mean"].any() and (start["norm1.variance"] == 1).all()
    assert model.batch_norm_blocks == ()
    learnable = build("cnn", *CIFAR, Arrangement("bn", learnable=True, bias="all"))
    assert learnable.batch_norm_blocks == tuple(
        f"{name}.{which}" for name in ("norm1", "norm2", "dense1.norm", "dense2.norm") for which in ("gain", "bias"))
    assert build("cnn", *CIFAR, Arrangement("ln", learnable=True)).batch_norm_blocks == ()
    assert build("cnn", *CIFAR, Arrangement("ln")).statistics.size == 0


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
    for name, norms in (("cnn", SEQUENTIAL), ("resnet8", NORMS)):
        plain = build(name, *CIFAR, width=0.1)
        start = plain.spec.init(5)
        for norm in norms:
            for position in POSITIONS:
                for learnable in (False, True):
                    arrangement = Arrangement(norm, position, learnable, groups=1, bias="hidden")
                    model = build(name, *CIFAR, arrangement, width=0.1)
                    w = model.spec.init(5)
                    for block, part in plain.spec.slices.items():
                        assert np.array_equal(w[model.spec.slices[block]], start[part])
        assert not set(start) & set(plain.spec.init(6))


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
    loss, gradient, seen = loss_and_grad(model, theta, x, labels)
    assert loss.shape == (3,) and gradient.shape == theta.shape and seen.shape == (3, model.statistics.size)
    for k in range(3):
        one = slice(k, k + 1)
        loss_k, gradient_k, seen_k = loss_and_grad(model, theta[one], x[one], labels[one])
        assert_close(loss_k, loss[one], 1e-13)
        assert_close(gradient_k, gradient[one], 1e-12)
        if seen.size:
            assert_close(seen_k, seen[one], 1e-13)


@every_network
def test_no_example_sees_another(model):
    """But through the statistics of batch norm while training."""
    rng = np.random.default_rng(2)
    theta, x, labels = draw(model, rng, clients=2, batch=4)
    p = model.spec.views(theta)
    if model.statistics.size:
        alone = model.forward(p, x[:, :1])[0]
        assert np.abs(alone - model.forward(p, x)[0][:, :1]).max() > 1e-3
        p |= draw_statistics(model, rng, theta, x, labels)
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
    weight = p["classifier.weight"]
    weight = unit_columns(weight)[0] if model.arrangement.head == "cosine" else weight
    assert_close(feature @ weight + bias, logits, 1e-13)


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
    loss, gradient, _ = loss_and_grad(model, theta, x, labels)
    arrays = theta.astype(np.float32), x.astype(np.float32), labels
    for array in arrays:
        array.flags.writeable = False
    loss32, gradient32, seen32 = loss_and_grad(model, *arrays)
    assert loss32.dtype == gradient32.dtype == seen32.dtype == np.float32
    assert_close(loss32, loss, 1e-4)
    assert_close(gradient32, gradient, 1e-2)


@pytest.mark.parametrize("activation", ["relu", "leaky-relu"])
@pytest.mark.parametrize("norm", ["none", "fn"])
@pytest.mark.parametrize("bias", ["none", "all"])
def test_the_activation_after_the_pool_changes_no_bit(activation, norm, bias, monkeypatch):
    model = CNN(4, (16, 18, 2), (4, 6), (12, 8), Arrangement(norm, bias=bias, activation=activation))
    theta, x, labels = draw(model, np.random.default_rng(4))
    assert model.arrangement.pool_first
    loss, gradient, _ = loss_and_grad(model, theta, x, labels)
    monkeypatch.setattr(Arrangement, "pool_first", property(lambda self: False))
    loss2, gradient2, _ = loss_and_grad(model, theta, x, labels)
    assert np.array_equal(loss, loss2) and np.array_equal(gradient, gradient2)


@pytest.mark.parametrize("norm", NORMS)
def test_the_pool_is_not_moved_past_a_norm(norm):
    assert Arrangement(norm).pool_first == (norm in ("none", "fn", "fn-inside", "fn-mv-inside"))


def test_the_pool_is_moved_past_piecewise_linear_activations_only():
    assert {name for name in ACTIVATIONS if Arrangement(activation=name).pool_first} == {"relu", "leaky-relu"}


@pytest.mark.parametrize("model", [CNN(4, (16, 18, 2), (4, 6), (12, 8)), MLP(4, (3, 4, 2), (10, 8)),
                                   ResNet(3, (8, 8, 2), (2, 3), (1, 1), 4)], ids=["cnn", "mlp", "resnet"])
def test_a_bias_in_front_of_batch_norm_has_no_effect(model):
    """It is in the mean that is taken out again: why no gradient check meets one there."""
    model = replace(model, arrangement=Arrangement("bn", "before", bias="all"))
    theta, x, labels = draw(model, np.random.default_rng(9), clients=2, batch=6)
    _, gradient, _ = loss_and_grad(model, theta, x, labels)
    for name, part in model.spec.slices.items():
        largest = np.abs(gradient[:, part]).max()
        in_front = name.endswith(".bias") and name != "classifier.bias"
        assert largest < 1e-14 if in_front else largest > 1e-4, name


def test_what_batch_norm_saw():
    """Mean and variance of what a norm was given; of maps over examples and places, the variance over m - 1."""
    model = ResNet(3, (8, 8, 2), (2, 3), (1, 1), 4, Arrangement("bn", "before"))
    theta, x, labels = draw(model, np.random.default_rng(10), clients=2, batch=3)
    seen = model.statistics.views(loss_and_grad(model, theta, x, labels)[2])
    stem = model.spec.views(theta)["stem.weight"]
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1), (0, 0)))
    maps = sum(padded[:, :, i:i + 8, j:j + 8] @ stem[:, i, j][:, None, None] for i in range(3) for j in range(3))
    np.testing.assert_allclose(seen["stem.norm.mean"], maps.mean(axis=(1, 2, 3)), rtol=1e-12)
    np.testing.assert_allclose(seen["stem.norm.variance"], maps.reshape(2, -1, 2).var(axis=1, ddof=1), rtol=1e-12)
    assert set(seen) == {f"{name}.{which}" for which in ("mean", "variance") for name in (
        "stem.norm", "stage1.block1.norm1", "stage1.block1.norm2", "stage2.block1.norm1", "stage2.block1.norm2")}


def test_evaluation_mode_uses_the_statistics_it_is_given():
    """With the batch's own variance over m it is training; with others it is not. Nothing is seen then."""
    model = MLP(4, (3, 4, 2), (10, 8), Arrangement("bn"))
    theta, x, labels = draw(model, np.random.default_rng(11), clients=2, batch=6)
    p, seen = model.spec.views(theta), loss_and_grad(model, theta, x, labels)[2]
    statistics = model.statistics.views(seen)
    biased = {name: value * (5 / 6 if name.endswith("variance") else 1) for name, value in statistics.items()}
    training, _ = model.forward(p, x)
    logits, cache = model.forward(p | biased, x)
    assert_close(logits, training, 1e-12)
    assert np.abs(model.forward(p | statistics, x)[0] - training).max() > 1e-3
    assert set(model.backward(logits, cache)) == {*model.spec.slices, "dense1.bias", "dense2.bias", "classifier.bias"}


@pytest.mark.parametrize("name, shape", [("cnn", (16, 17, 1)), ("mlp", (1, 3, 2)), ("resnet8", (1, 2, 1))])
def test_the_smallest_images(name, shape):
    model = build(name, 2, shape, width=0.1)
    theta, x, labels = draw(model, np.random.default_rng(5))
    assert np.isfinite(loss_and_grad(model, theta, x, labels)[0]).all()


@pytest.mark.parametrize("make, named", [
    (lambda: build("resnet", *CIFAR), ("--model", "'resnet'", *MODELS)),
    (lambda: Arrangement(norm="batch"), ("--norm", "'batch'", *NORMS)),
    (lambda: Arrangement(position="between"), ("--norm-position", "'between'", *POSITIONS)),
    (lambda: Arrangement(bias="some"), ("--bias", "'some'", "none, hidden, all")),
    (lambda: Arrangement(activation="swish"), ("--activation", "'swish'", *ACTIVATIONS)),
    (lambda: Arrangement(head="angular"), ("--head", "'angular'", *HEADS)),
    (lambda: build("cnn", *CIFAR, Arrangement("fn-inside")).plan, ("--norm fn-inside", "--model cnn", *SEQUENTIAL)),
    (lambda: build("mlp", *CIFAR, Arrangement("fn-mv-inside")).spec, ("--norm fn-mv-inside", "--model mlp")),
    (lambda: build("mlp", *CIFAR, Arrangement("in")).spec, ("--norm in", "maps", "--model mlp")),
    (lambda: build("mlp", *CIFAR, Arrangement(standardize=True)).spec, ("--standardize-weights", "--model mlp")),
    (lambda: build("resnet18", *CIFAR, Arrangement("gn", groups=3)).spec, ("--groups", "3", "64", "stem.norm")),
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
