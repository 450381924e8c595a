"""Residual networks: parameters and sizes by hand, where norms stand, and what equals what (the paper's eqs. 10 and 11)."""

from dataclasses import replace

import numpy as np
import pytest

from comparing import difference, logits, shapes

from minifl.errors import InputError
from minifl.gradcheck.networks import draw, train
from minifl.models import Arrangement, ResNet, build, loss_and_grad
from minifl.models.norms import NORMS

CIFAR = (10, (32, 32, 3))
TINY = ResNet(3, (8, 8, 2), (4, 4, 6), (1, 1, 1), 2)   # three blocks
every_position = pytest.mark.parametrize("position", ["after", "before"])


def tiny(norm, **choices):
    return replace(TINY, arrangement=Arrangement(norm, **choices))


# ---- sizes

RESNET18 = (
    3 * 3 * 3 * 64                                                      # stem
    + 4 * 3 * 3 * 64 * 64                                               # stage 1
    + 3 * 3 * 64 * 128 + 3 * 3 * 3 * 128 * 128 + 64 * 128               # stage 2, its shortcut last
    + 3 * 3 * 128 * 256 + 3 * 3 * 3 * 256 * 256 + 128 * 256
    + 3 * 3 * 256 * 512 + 3 * 3 * 3 * 512 * 512 + 256 * 512
    + 512 * 10)


def test_the_size_of_resnet18():
    assert build("resnet18", *CIFAR).spec.size == RESNET18 == 11_164_352
    assert build("resnet18", 100, (32, 32, 3)).spec.size == RESNET18 + 90 * 512


def test_resnet18_next_to_the_well_known_one():
    """The ResNet-18 for CIFAR-10 that most repositories train has 11 173 962 parameters: batch norms with gain and
    bias behind each convolution, shortcuts too, and a classifier's bias. Ours has none on its three shortcuts, and the
    bias only together with all others."""
    model = build("resnet18", *CIFAR, Arrangement("bn", "before", learnable=True))
    norms = 2 * (64 + 4 * 64 + 4 * 128 + 4 * 256 + 4 * 512)
    assert model.spec.size == RESNET18 + norms == 11_172_160
    on_shortcuts, classifier_bias = 2 * (128 + 256 + 512), 10
    assert model.spec.size + on_shortcuts + classifier_bias == 11_173_962
    assert model.statistics.size == norms
    biases = build("resnet18", *CIFAR, Arrangement(bias="all")).spec.size - RESNET18
    assert biases == norms // 2 + on_shortcuts // 2 + classifier_bias   # one for each output


def test_the_blocks_of_resnet18():
    found = shapes(build("resnet18", *CIFAR))
    assert found["stem.weight"] == (3, 3, 3, 64) and found["classifier.weight"] == (512, 10)
    assert found["stage1.block1.conv1.weight"] == found["stage1.block2.conv2.weight"] == (3, 3, 64, 64)
    assert found["stage4.block1.conv1.weight"] == (3, 3, 256, 512)
    assert {name: shape for name, shape in found.items() if "shortcut" in name} == {
        "stage2.block1.shortcut.weight": (1, 1, 64, 128), "stage3.block1.shortcut.weight": (1, 1, 128, 256),
        "stage4.block1.shortcut.weight": (1, 1, 256, 512)}
    assert len(found) == 1 + 4 * 4 + 3 + 1


@pytest.mark.parametrize("name, convolutions, size", [("resnet8", 1, 77_360), ("resnet20", 3, 270_896)])
def test_the_small_ones(name, convolutions, size):
    """He et al. 2016, section 4.2, says 0.27 M for 20 layers, its shortcuts without parameters."""
    def stage(before, channels):
        return 9 * before * channels + (2 * convolutions - 1) * 9 * channels * channels

    by_hand = 9 * 3 * 16 + stage(16, 16) + stage(16, 32) + 16 * 32 + stage(32, 64) + 32 * 64 + 64 * 10
    assert build(name, *CIFAR).spec.size == by_hand == size
    layers = sum("conv" in block or "stem" in block for block in shapes(build(name, *CIFAR))) + 1
    assert name == f"resnet{layers}"


@pytest.mark.parametrize("side, feature", [(32, 512), (64, 2_048), (224, 25_088)])
def test_the_feature_follows_from_the_images(side, feature):
    """Of the paper's ResNet-18: images of CIFAR-10, TinyImageNet and PACS."""
    assert shapes(build("resnet18", 10, (side, side, 3)))["classifier.weight"] == (feature, 10)


def test_width():
    model = build("resnet18", *CIFAR, width=0.25)
    assert model.channels == (16, 32, 64, 128) and model.blocks == (2, 2, 2, 2)
    assert build("resnet20", *CIFAR, width=2).channels == (32, 64, 128)


def test_a_small_map_is_pooled_as_a_whole():
    for side, windows in ((8, 1), (16, 1), (32, 1), (64, 4)):   # maps of 1, 2, 4 and 8 pixels a side
        assert shapes(build("resnet18", 10, (side, side, 3)))["classifier.weight"] == (512 * windows, 10)


def test_a_map_that_halves_has_a_convolution_as_shortcut_whatever_the_width():
    model = ResNet(3, (8, 8, 2), (4, 4), (1, 1), 4)
    assert "stage1.block1.shortcut.weight" not in shapes(model) and "stage2.block1.shortcut.weight" in shapes(model)


# ---- where norms stand

@every_position
@pytest.mark.parametrize("norm, stem, inside, ends, last, feature", [
    ("none", "", "", "", "", ""), ("fn", "", "", "", "", "n"), ("fn-all", "n", "", "n", "n", "n"),
    ("fn-inside", "", "n", "", "", "n"), ("fn-mv-inside", "", "mv", "", "", "n"), ("ln", "mv", "mv", "mv", "mv", ""),
    ("ln-reduced", "s", "mv", "s", "mv", ""), ("gn", "gn", "gn", "gn", "gn", ""), ("in", "in", "in", "in", "", ""),
    ("rms", "rms", "rms", "rms", "rms", ""), ("bn", "bn", "bn", "bn", "bn", "")])
def test_where_norms_stand(norm, position, stem, inside, ends, last, feature):
    def at_activation(kind):
        return ", ".join(part for part in (("relu", kind) if position == "after" else (kind, "relu")) if part)

    what = {row.name: row.what for row in tiny(norm, position=position).plan}
    assert what["stem.norm"] == at_activation(stem)
    for stage in (1, 2, 3):
        assert what[f"stage{stage}.block1.norm1"] == at_activation(inside)
    assert what["stage1.block1.norm2"] == what["stage2.block1.norm2"] == at_activation(ends)
    assert what["stage3.block1.norm2"] == at_activation(last)
    assert what.get("feature.norm", "") == feature


@every_position
@pytest.mark.parametrize("norm", NORMS)
def test_no_norm_leaves_a_network_without_an_answer(norm, position):
    """Instance norm in front of the pool would: of each of its maps the mean is 0."""
    model = build("resnet8", 3, (16, 16, 2), Arrangement(norm, position, groups=1), width=0.25)
    theta, x, labels = draw(model, np.random.default_rng(1))
    assert np.abs(logits(model, theta, x)).max() > 0.01
    gradient = loss_and_grad(model, theta, x, labels)[1]
    assert all(np.abs(gradient[:, part]).max() > 1e-6 for part in model.spec.slices.values())


def test_what_cannot_be():
    with pytest.raises(InputError, match="--groups 4 .* 6 channels of stage3.block1.norm1"):
        tiny("gn", groups=4).spec


# ---- what equals what

@every_position
@pytest.mark.parametrize("activation", ["relu", "leaky-relu"])
def test_n_after_every_block_is_n_at_the_end(position, activation):
    """Shortcut and branch scale alike, so Proposition 1 holds for residual networks: outputs, gradients, training."""
    full, reduced = (tiny(norm, position=position, activation=activation) for norm in ("fn-all", "fn"))
    theta, x, labels = draw(full, np.random.default_rng(22))
    assert difference(logits(full, theta, x), logits(reduced, theta, x)) < 1e-12
    gradients = [loss_and_grad(model, theta, x, labels)[1] for model in (full, reduced)]
    for part in full.spec.slices.values():
        assert np.abs(gradients[1][:, part]).max() > 1e-6
        assert difference(gradients[0][:, part], gradients[1][:, part]) < 1e-11
    trained = [train(model, theta, x, labels, steps=50, lr=0.01) for model in (full, reduced)]
    assert difference(trained[0], theta) > 0.05 and difference(*trained) < 1e-9


@pytest.mark.parametrize("choices", [{"bias": "hidden"}, {"activation": "gelu"}, {"activation": "tanh"},
                                     {"activation": "softplus"}], ids=str)
def test_what_is_not_scale_equivariant_breaks_the_equality(choices):
    full, reduced = (tiny(norm, **choices) for norm in ("fn-all", "fn"))
    theta, x, _ = draw(full, np.random.default_rng(22))
    assert difference(logits(full, theta, x), logits(reduced, theta, x)) > 0.05


@every_position
@pytest.mark.parametrize("one, other", [("ln-reduced", "ln"), ("fn-inside", "fn"), ("fn-mv-inside", "fn"),
                                        ("fn-mv-inside", "fn-inside"), ("ln", "fn"), ("fn", "none")])
def test_different_networks(one, other, position):
    """Among them the paper's eq. 11 (ln-reduced), which is not eq. 10 (ln): a branch with a norm inside does not scale
    with its input, the shortcut does, and s in the place of n_MV lets the input's scale through."""
    models = [tiny(norm, position=position) for norm in (one, other)]
    theta, x, _ = draw(models[0], np.random.default_rng(22))
    assert difference(*(logits(model, theta, x) for model in models)) > 0.05


def test_without_norms_inside_branches_eq_11_would_be_eq_10():
    """n_MV = n s, and what is left of the norms on the main path then is Proposition 1."""
    class Outer(Arrangement):
        branch = "identity"

    full, reduced = (replace(TINY, arrangement=Outer(norm)) for norm in ("ln", "ln-reduced"))
    theta, x, _ = draw(full, np.random.default_rng(22))
    assert difference(logits(full, theta, x), logits(reduced, theta, x)) < 1e-12
