"""Plan and FLOPs: by hand, and against what the forward pass really computes."""

import math
import sys

import numpy as np
import pytest

from minifl.gradcheck.networks import draw, networks
from minifl.models import CNN, MLP, MODELS, Arrangement, ResNet, blocks, build, cnn, resnet
from minifl.params import Spec

CIFAR = (10, (32, 32, 3))
NETWORKS = {name: model for name, model in networks(quick=True).items() if isinstance(model, (CNN, MLP, ResNet))}
NETWORKS |= {"resnet, 13x9 images": ResNet(3, (13, 9, 1), (2, 3, 4), (1, 2, 1), 2),
             "resnet, stages of one width": ResNet(3, (9, 8, 2), (3, 3), (2, 1), 4, Arrangement("bn")),
             "cnn, 23x18 images": CNN(4, (23, 18, 1), (2, 3), (5,))}
every_network = pytest.mark.parametrize("model", NETWORKS.values(), ids=NETWORKS)


@pytest.fixture
def computed(monkeypatch):
    """A list to which each convolution, pooling and linear layer adds (its output's shape for an example, 2 x its
    multiply-adds)."""
    found = []

    def watched(module, name, flops):
        function = getattr(module, name)

        def watch(x, *arguments, **options):
            y, cache = function(x, *arguments, **options)
            found.append((y.shape[2:], flops(y, *arguments)))
            return y, cache

        monkeypatch.setattr(module, name, watch)

    def product(y, weight, *_):
        return 2 * math.prod(y.shape[2:]) * weight[0, ..., 0].size

    watched(blocks, "conv2d", product)
    watched(blocks, "linear", product)
    for module, name in ((cnn, "max_pool2d"), (resnet, "avg_pool2d")):
        watched(module, name, lambda y: 0)
    return found


@every_network
def test_the_plan_is_what_is_computed(model, computed):
    theta, x, _ = draw(model, np.random.default_rng(0))
    logits, cache = model.forward(model.spec.views(theta), x)
    planned = [(row.shape, row.flops) for row in model.plan if row.flops or "pool" in row.what]
    assert computed == planned
    assert model.flops == sum(flops for _, flops in computed)
    assert model.plan[-1].shape == logits.shape[2:]
    assert model.feature(cache).shape[2:] == model.plan[-2].shape


@every_network
def test_the_plans_blocks_are_those_that_have_gradients(model):
    theta, x, _ = draw(model, np.random.default_rng(0))
    logits, cache = model.forward(model.spec.views(theta), x)
    returned = {name: block.shape[1:] for name, block in model.backward(logits, cache).items() if block is not None}
    assert returned == {entry.name: entry.shape for row in model.plan for entry in row.entries}
    assert [*model.spec.entries, *model.statistics.entries] == sorted(
        (entry for row in model.plan for entry in row.entries), key=lambda entry: entry.statistic)
    assert isinstance(model.spec, Spec) and len(model.spec.slices) == len(model.spec.entries)
    assert len({row.name for row in model.plan}) == len(model.plan)


def test_flops_of_the_cnn():
    """Multiply-adds: 28x28 places of 5x5x3x64, 10x10 of 5x5x64x64, then the linear layers."""
    by_hand = 784 * 75 * 64 + 100 * 1600 * 64 + 1600 * 384 + 384 * 192 + 192 * 10
    assert build("cnn", *CIFAR).flops == 2 * by_hand == 2 * 14_693_248
    assert build("cnn-table7", *CIFAR).flops == 2 * (by_hand - 384 * 192 - 192 * 10 + 384 * 10)


def test_flops_of_the_mlp():
    assert build("mlp", *CIFAR).flops == 2 * (3072 * 200 + 200 * 200 + 200 * 10)


def test_flops_of_resnet18():
    """Known for CIFAR-sized ResNet-18: 0.556 G multiply-adds. By hand: the stem; four convolutions of 64 at 32x32;
    then in each stage one from half the channels, three of the same, a 1x1 shortcut, which is as much for each stage,
    as the channels double when the places are a quarter; the classifier."""
    stage = 16 * 16 * (9 * 64 * 128 + 3 * 9 * 128 * 128 + 64 * 128)
    assert stage == 8 * 8 * (9 * 128 * 256 + 3 * 9 * 256 * 256 + 128 * 256)
    by_hand = 32 * 32 * (27 * 64 + 4 * 9 * 64 * 64) + 3 * stage + 512 * 10
    assert build("resnet18", *CIFAR).flops == 2 * by_hand == 2 * 555_422_720
    assert by_hand == pytest.approx(0.556e9, rel=2e-3)


def test_norms_biases_and_activations_are_not_counted():
    plain = build("resnet8", *CIFAR).flops
    for arrangement in (Arrangement("ln", learnable=True, bias="all", activation="gelu"), Arrangement("bn", "before"),
                        Arrangement("fn", standardize=True, head="cosine")):
        assert build("resnet8", *CIFAR, arrangement).flops == plain


def test_the_kind_of_a_row_is_the_function_that_computes_it():
    for name in MODELS:
        for arrangement in (Arrangement(), Arrangement("fn"), Arrangement("ln", "before")):
            model = build(name, *CIFAR, arrangement)
            here = vars(sys.modules[type(model).__module__])
            assert all(callable(here[row.kind]) for row in model.plan)
            assert all(row.kind in ("unit", "normalize", "activate") for row in model.plan if row.steps)


def test_what_a_plan_says():
    rows = {row.name: row.what for row in build("resnet8", *CIFAR, Arrangement("ln", head="cosine")).plan}
    assert rows["stem"] == "conv 3x3" and rows["stage2.block1.conv1"] == "conv 3x3, stride 2"
    assert rows["stage2.block1.shortcut"] == "conv 1x1, stride 2" and rows["stem.norm"] == "relu, mv"
    assert rows["classifier"] == "linear, weights of length 1" and rows["pool"] == "average-pool 8"
    before = {row.name: row.what for row in build("cnn", *CIFAR, Arrangement("ln", "before", activation="elu")).plan}
    assert before["norm1"] == "mv, elu" and before["pool1"] == "max-pool 2"
