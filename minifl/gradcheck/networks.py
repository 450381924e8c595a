"""Whole networks under the instruments: every model in every arrangement, small enough to move each parameter."""

from itertools import product
from typing import Any

import numpy as np

from minifl.backend import Array
from minifl.gradcheck.instruments import FLOOR, STEP, block_error
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from minifl.models import CNN, MLP, Arrangement, ResNet, ViT, loss_and_grad
from minifl.models.arrangement import ACTIVATIONS, POSITIONS
from minifl.models.network import Network
from minifl.models.norms import KINDS, NORMS
from minifl.models.vit import same_as

CLIENTS_AT_A_TIME = 64   # perturbed copies of the network in one call
ALIVE = 100 * FLOOR      # for a loss, so that other cotangents have a gradient above the floor
CALM = 5e-14             # how much of a gradient may be rounding errors

IMAGE = (16, 18, 2)
SEQUENTIAL = tuple(name for name, norm in NORMS.items() if not norm.inside)   # the norms that need no residual blocks
MAPS = {name for name, norm in NORMS.items() if any(kind.maps for kind in norm.kinds)}               # those for maps alone

MIXES = (   # position, learnable, bias, activation: every norm meets every value of each
    ("after", False, "none", "relu"),
    ("before", False, "none", "relu"),
    ("after", True, "all", "leaky-relu"),
    ("before", True, "hidden", "relu"),
)
# A convolution's bias in front of a norm that takes the channel's mean out again has no gradient to compare; with an
# activation between them only what the activation's bends leave.
WITHOUT_MEAN = {name for name, norm in NORMS.items() if any(kind.channels for kind in norm.kinds)}
BENT = (*MIXES[:2], ("after", True, "all", "tanh"), ("before", True, "none", "leaky-relu"))


def networks(quick: bool = False) -> dict[str, Network]:
    """name -> network: each norm, after and before the activation, static and learnable, with and without biases.

    quick: a part of them: of each norm one CNN, one ResNet (learnable) and all MLPs, of each activation the MLPs
    """
    return {name: model for family in (_cnns, _mlps, _resnets, _vits) for name, model in family(quick)}


def _cnns(quick):
    for norm in SEQUENTIAL:
        for label, arrangement in _mixed(norm, (MIXES[0],) if quick else MIXES):
            yield f"cnn: {label}", CNN(4, IMAGE, (4, 6), (12, 8), arrangement)
    for norm in ("ln",) if quick else ("fn", "ln"):
        yield f"cnn-table7: {norm}", CNN(3, IMAGE, (2, 4), (8,), Arrangement(norm))
    if not quick:   # where the pool comes after the activation, and none of its ties is a ReLU's
        yield "cnn: fn, gelu", CNN(4, IMAGE, (2, 4), (8, 6), Arrangement("fn", activation="gelu"))
    yield ("cnn: bn, tanh, standardized, cosine",
           CNN(4, IMAGE, (2, 4), (8, 6), Arrangement("bn", activation="tanh", standardize=True, head="cosine")))


def _mlps(quick):
    for norm in SEQUENTIAL:
        if norm not in MAPS:
            yield f"mlp: {norm}", _mlp(norm)
            yield f"mlp: {norm}, learnable, bias all", _mlp(norm, learnable=True, bias="all")
    for activation in ACTIVATIONS:
        yield f"mlp: ln, {activation}", _mlp("ln", activation=activation)
        yield f"mlp: none, bias all, {activation}", _mlp("none", bias="all", activation=activation)
    yield "mlp: fn, cosine", _mlp("fn", head="cosine")


def _resnets(quick):
    for norm in NORMS:
        for label, arrangement in _mixed(norm, (MIXES[2],) if quick else MIXES):
            yield f"resnet: {label}", _resnet(arrangement)
    for norm in ("ln",) if quick else ("fn-mv-inside", "ln", "ln-reduced", "bn"):
        yield f"resnet: {norm}, two blocks a stage", _resnet(Arrangement(norm), (2, 2, 2))
    yield "resnet: fn, standardized, cosine", _resnet(Arrangement("fn", standardize=True, head="cosine"))
    yield "resnet: bn, standardized, before", _resnet(Arrangement("bn", "before", standardize=True))
    yield "resnet: ln, gelu, before", _resnet(Arrangement("ln", "before", activation="gelu"))
    yield ("resnet: none, silu, two windows of the pool",
           ResNet(3, (8, 16, 2), (2, 3), (1, 1), 4, Arrangement(activation="silu")))


def _vits(quick):
    mixes = (("class", False, "none", "relu"), ("mean", True, "all", "gelu"))
    for norm, position in product(NORMS, POSITIONS):
        if norm in MAPS or same_as(norm, position) or (quick and norm not in ("fn", "fn-inside", "ln", "bn")):
            continue   # it refuses these; or they are other norms at the same places
        for token, learnable, bias, activation in mixes[:1] if quick else mixes:
            bias = "none" if norm in WITHOUT_MEAN else bias
            arrangement = Arrangement(norm, position, learnable, bias=bias, activation=activation)
            affine = "learnable" if learnable else "static"
            yield f"vit: {norm}, {position}, {affine}, bias {bias}, {activation}, {token}", _vit(arrangement, token)
    yield "vit: fn, standardized, cosine", _vit(Arrangement("fn", standardize=True, head="cosine"), "class")
    yield "vit: ln, before, 2 blocks", _vit(Arrangement("ln", "before", activation="gelu"), "mean", 2)


def _mixed(norm, mixes):
    """(label, arrangement) for each of the mixes."""
    for mix in mixes:
        position, learnable, bias, activation = BENT[MIXES.index(mix)] if norm in WITHOUT_MEAN else mix
        arrangement = Arrangement(norm=norm, position=position, learnable=learnable, bias=bias, activation=activation)
        yield f"{norm}, {position}, {'learnable' if learnable else 'static'}, bias {bias}, {activation}", arrangement


def _mlp(norm, **choices):
    return MLP(4, (3, 4, 2), (10, 8), Arrangement(norm, **choices))


def _resnet(arrangement, blocks=(1, 1, 1)):
    """Maps of 8x8, 4x4 and 2x2, pooled to 1x1; for instance norm, which has little to do with 4 places, no 2x2.
    Standardized weights of a 1x1 convolution with 2 channels would be 1 and -1 for ever."""
    if arrangement.norm in MAPS:
        return ResNet(3, (8, 8, 2), (2, 3), (1, 1), 4, arrangement)
    in_groups = "groups" in KINDS[arrangement.main].options
    channels = (4, 4, 4) if in_groups else (3, 3, 4) if arrangement.standardize else (2, 3, 4)
    return ResNet(3, (8, 8, 2), channels, blocks, 2, arrangement)


def _vit(arrangement, token, depth=1):
    """3x2 patches, heads of 3 features."""
    return ViT(3, (6, 4, 2), patch=2, dim=6, depth=depth, heads=2, token=token, arrangement=arrangement)


def draw(model: Any, rng: np.random.Generator, *, clients: int = 2, batch: int = 5) -> tuple:
    """theta (K, P) around the usual start with gains and biases moved from 1 and 0, images, labels."""
    theta = np.stack([model.spec.init(seed) for seed in rng.integers(0, 2**31, clients)])
    theta += 0.1 * rng.standard_normal(theta.shape)
    x = rng.random((clients, batch, *model.image_shape))
    return theta, x, rng.integers(0, model.num_classes, (clients, batch))


def draw_statistics(model: Network, rng: np.random.Generator, theta: Array, x: Any, labels: Array) -> dict:
    """Running means and variances (K, ...) by name, not far from what the batch norms see in this batch; without
    batch norm an empty dict."""
    seen = model.statistics.views(loss_and_grad(model, theta, x, labels)[2])
    return {name: value * (rng.uniform(0.5, 2.0, value.shape) if name.endswith("variance")
                           else rng.uniform(0.8, 1.2, value.shape)) for name, value in seen.items()}


def loss_gradient_error(model: Network, theta: Array, x: Any, labels: Array) -> tuple[float, str]:
    """(worst block error, its block): loss_and_grad against the complex step in every parameter of client 0.

    The copies of the network that differ in one perturbed parameter are the clients of one call. That clients
    do not touch each other is another test's subject (a batch of clients = a loop over clients).
    """
    _, gradient, _ = loss_and_grad(model, theta, x, labels)
    theta, x, labels = theta[:1], x[:1], labels[:1]
    numeric = np.empty(model.spec.size)
    for start in range(0, model.spec.size, CLIENTS_AT_A_TIME):
        moved = np.arange(start, min(start + CLIENTS_AT_A_TIME, model.spec.size))
        k = len(moved)
        copies = np.repeat(theta.astype(complex), k, axis=0)
        copies[np.arange(k), moved] += 1j * STEP
        logits, _ = model.forward(model.spec.views(copies), np.repeat(x, k, axis=0))
        loss, _ = softmax_cross_entropy(logits, np.repeat(labels, k, axis=0))
        numeric[moved] = loss.imag / STEP
    errors = {name: block_error(gradient[0, part], numeric[part]) for name, part in model.spec.slices.items()}
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def adjoint_error(model: Network, theta: Array, x: Any, rng: np.random.Generator,
                  statistics: dict | None = None) -> tuple[float, str]:
    """(worst block error, its block) of u'(Jv) = (J'u)'v for the map theta -> logits, J restricted to a block.

    Jv is one complex step along a random direction v of the block, J'u the backward pass for a random u.
    statistics: running means and variances by name: batch norm in evaluation mode
    """
    logits, cache = model.forward(model.spec.views(theta) | (statistics or {}), x)
    u = rng.standard_normal(logits.shape)
    gradient = model.spec.flatten(model.backward(u, cache), like=theta)
    errors = {}
    for name, part in model.spec.slices.items():
        v = np.zeros_like(theta)
        v[:, part] = rng.standard_normal((len(theta), part.stop - part.start))
        moved, _ = model.forward(model.spec.views(theta + 1j * STEP * v) | (statistics or {}), x)
        left, right = u * moved.imag / STEP, gradient * v
        added = np.abs(left).sum(axis=(1, 2)), np.abs(right).sum(axis=1)   # the sums themselves may cancel
        error = np.abs(left.sum(axis=(1, 2)) - right.sum(axis=1)) / np.maximum(*added)
        errors[name] = float(error.max()) if min(map(np.min, added)) > FLOOR else np.inf
    worst = max(errors, key=errors.get)
    return errors[worst], worst


def comparable(model: Network, theta: Array, x: Any, labels: Array, statistics: dict | None = None) -> bool:
    """Whether every block of every client has a gradient that is not 0 nor has its digits cancelled.

    In networks this small all ReLUs of a layer can be dead, or one unit be left, which a norm turns into a constant;
    and of a channel's shift a norm behind it can leave next to nothing. How much of a gradient is rounding errors is
    seen where everything is rounded differently: examples in another order, parameters one unit in the last place
    larger, a loss that counts three times.
    """
    def gradient(theta, order, times):
        logits, cache = model.forward(model.spec.views(theta) | (statistics or {}), x[:, order])
        loss, loss_cache = softmax_cross_entropy(logits, labels[:, order])
        blocks = model.backward(softmax_cross_entropy_backward(loss * 0 + times, loss_cache), cache)
        return model.spec.flatten(blocks, like=theta) / times

    one, other = gradient(theta, slice(None), 1), gradient(np.nextafter(theta, np.inf), slice(None, None, -1), 3)
    largest = np.array([np.abs(one[:, part]).max(axis=1) for part in model.spec.slices.values()])
    differs = np.array([np.abs((one - other)[:, part]).max(axis=1) for part in model.spec.slices.values()])
    return bool((largest > ALIVE).all() and (differs < CALM * largest).all())


def train(model: Network, theta: Array, x: Array, labels: Array, *, steps: int = 20, lr: float = 0.02) -> Array:
    """theta after some SGD steps on one batch."""
    for _ in range(steps):
        theta = theta - lr * loss_and_grad(model, theta, x, labels)[1]
    return theta
