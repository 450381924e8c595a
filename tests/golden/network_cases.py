"""The networks that are compared with PyTorch's. Of minifl only names and shapes of parameter blocks are used."""

import math
from dataclasses import dataclass

from drawing import labels, uniform
from minifl.models import CNN, MLP, Arrangement, ResNet, ViT


@dataclass(frozen=True)
class Network:
    """A network with a batch for each client.

    widths       of the dense layers
    channels     of the two convolutions; none: an MLP
    arrangement  keywords of minifl's Arrangement, all of them given
    steps        0: loss and gradients at a point of each client's own; else local SGD from a common point
    """
    arrangement: dict
    image_shape: tuple = (16, 20, 2)
    channels: tuple = (4, 6)
    widths: tuple = (12, 8)
    classes: int = 7
    clients: int = 2
    examples: int = 4
    steps: int = 0
    lr: float = 0.05
    spread = 6

    @property
    def model(self):
        arr = Arrangement(**self.arrangement)
        if not self.channels:
            return MLP(self.classes, self.image_shape, self.widths, arr)
        return CNN(self.classes, self.image_shape, self.channels, self.widths, arr)

    def parameters(self, name):
        """Blocks by name (K, ...), K = 1 for SGD; weights keep activations near 1, gains have both signs."""
        k = 1 if self.steps else self.clients
        return {entry.name: uniform(f"{name}.{entry.name}", (k, *entry.shape),
                                    math.sqrt(self.spread / entry.fan_in) if entry.fan_in else 1.0)
                for entry in self.model.spec.entries}

    def batch(self, name):
        """x (K, N, H, W, C) in [0, 1) and labels (K, N); for SGD (K, E, N, ...)."""
        lead = (self.clients, self.steps, self.examples) if self.steps else (self.clients, self.examples)
        x = (uniform(f"{name}.x", (*lead, *self.image_shape)) + 1) / 2
        return x, labels(f"{name}.labels", lead, self.classes)


@dataclass(frozen=True)
class Residual(Network):
    """A residual network; `blocks` basic blocks a stage, average-pool `pool`."""
    image_shape: tuple = (16, 12, 2)
    channels: tuple = (4, 6, 8)
    blocks: tuple = (1, 2, 1)
    pool: int = 2
    examples: int = 3
    spread = 2   # each block adds its branch to what comes in

    @property
    def model(self):
        return ResNet(self.classes, self.image_shape, self.channels, self.blocks, self.pool,
                      Arrangement(**self.arrangement))


@dataclass(frozen=True)
class Transformer(Network):
    """A vision transformer of two blocks, 3x2 patches of 4x4 pixels, 6 features in 3 heads."""
    image_shape: tuple = (12, 8, 2)
    channels: tuple = ()
    widths: tuple = ()
    token: str = "class"
    heads: int = 3

    @property
    def model(self):
        return ViT(self.classes, self.image_shape, patch=4, dim=6, depth=2, heads=self.heads, token=self.token,
                   arrangement=Arrangement(**self.arrangement))


def _arrangement(norm, position, learnable, bias, activation, standardize=False, head="linear"):
    return {"norm": norm, "position": position, "learnable": learnable, "groups": 2, "bias": bias,
            "activation": activation, "standardize": standardize, "head": head}


NORMS = ("none", "fn", "fn-all", "ln", "ln-reduced", "gn", "in", "rms", "bn")
INSIDE = ("fn-inside", "fn-mv-inside")   # for residual networks
MIXES = (   # every value of every option meets every norm
    ("after", False, "none", "relu"),
    ("before", False, "hidden", "leaky-relu"),
    ("after", True, "all", "leaky-relu"),
    ("before", True, "none", "relu"),
)
# A convolution's bias before a norm that takes the channel's mean out again has the gradient 0 and nothing to compare.
MIXES_WITHOUT_MEAN = (MIXES[0], ("before", False, "none", "leaky-relu"), MIXES[2], MIXES[3],
                      ("after", False, "hidden", "relu"))
BATCH_NORM_MIXES = (MIXES[3], ("before", False, "none", "relu"), ("after", True, "all", "tanh"))
ACTIVATIONS = ("elu", "gelu", "silu", "softplus", "tanh", "sigmoid")


def _mixes(norm):
    return MIXES_WITHOUT_MEAN if norm in ("in", "bn") else MIXES


def _named(prefix, norm, mix, kind=Network, **shape):
    position, learnable, bias, activation = mix
    name = f"{prefix}-{norm}-{position}-{'learnable' if learnable else 'static'}-bias-{bias}-{activation}"
    return {name: kind(_arrangement(norm, *mix), **shape)}


def _released(norm):
    """The paper's CNN as released, at its full width."""
    return _named("released-full-size", norm, MIXES[0], image_shape=(32, 32, 3), channels=(64, 64), widths=(384, 192),
                  classes=10, examples=2)


def _networks():
    cases = {}
    for norm in NORMS:
        for mix in _mixes(norm):
            cases |= _named("cnn-16x20", norm, mix)
        cases |= _named("cnn-32x32", norm, MIXES[0], image_shape=(32, 32, 3), widths=(24, 12), classes=10)
        if norm != "in":   # it is for maps
            for mix in (MIXES[0], MIXES[2]):
                cases |= _named("mlp", norm, mix, image_shape=(4, 3, 3), channels=(), widths=(10, 8), classes=5)
    for norm in ("none", "fn", "ln", "gn"):
        cases |= _named("table7", norm, MIXES[0], widths=(14,))
    cases |= _named("table7", "ln", MIXES[2], widths=(14,))
    for norm in ("none", "fn"):
        cases |= _released(norm)
    for activation in ACTIVATIONS:
        cases |= _named("cnn-16x20", "fn", ("after", False, "all", activation))
        cases |= _named("mlp", "ln", ("before", True, "none", activation), image_shape=(4, 3, 3), channels=(),
                        widths=(10, 8), classes=5)
    cases["cnn-16x20-ln-standardized-cosine"] = Network(
        _arrangement("ln", "before", True, "all", "gelu", standardize=True, head="cosine"))
    return cases


def _residual():
    cases = {}
    for norm in (*NORMS, *INSIDE):
        for mix in (MIXES[0], ("before", True, "none" if norm in ("in", "bn") else "hidden", "leaky-relu")):
            cases |= _named("resnet", norm, mix, Residual)
    cases["resnet-bn-standardized-cosine"] = Residual(
        _arrangement("bn", "before", True, "none", "silu", standardize=True, head="cosine"))
    cases["resnet-fn-cosine"] = Residual(_arrangement("fn", "after", False, "all", "relu", head="cosine"))
    return cases


def _sgd():
    """Group norm after ReLU is delicate: where a group of an example is almost dead, 1/sigma is large, and 20
    steps can amplify rounding 10^7 times (the worst of 12 draws; for layer norm 10^2). The draws behind these
    names are calm ones; test_golden.py checks that. Batch norm behind ReLU is as delicate, where hardly an example of
    the batch passes: here it is before it, or behind a smooth activation.
    """
    cases = {}
    for norm in ("none", "fn", "fn-all", "ln", "ln-reduced", "gn"):
        cases |= _named("sgd", norm, MIXES[0], steps=20)
    for norm, mix in (("none", MIXES[1]), ("fn-all", MIXES[3]), ("ln", MIXES[2]), ("gn", MIXES[1])):
        cases |= _named("sgd", norm, mix, steps=20)
    for mix in BATCH_NORM_MIXES:
        cases |= _named("sgd", "bn", mix, steps=10, examples=6)
    for norm in ("none", "fn", "fn-mv-inside", "ln", "ln-reduced", "gn", "rms"):
        cases |= _named("sgd-resnet", norm, MIXES[0], Residual, steps=5)
    for mix in BATCH_NORM_MIXES:
        cases |= _named("sgd-resnet", "bn", mix, Residual, steps=5)
    return cases


def _resnet18():
    """The paper's ResNet-18 at its full width: 11 164 352 parameters for 10 classes. One point, and 5 steps."""
    shape = {"image_shape": (32, 32, 3), "channels": (64, 128, 256, 512), "blocks": (2, 2, 2, 2), "pool": 4,
             "classes": 10, "clients": 1}
    point, steps = {}, {}
    for norm in ("none", "fn", "ln"):
        point |= _named("resnet18", norm, MIXES[0], Residual, **shape, examples=2)
        steps |= _named("sgd-resnet18", norm, MIXES[0], Residual, **shape, examples=1, steps=5,
                        lr=0.05 if norm == "none" else 0.01)
    return point, steps


def _transformers():
    """norm, position, learnable, bias, activation, token."""
    mixes = (("none", "before", False, "all", "gelu", "class"), ("ln", "before", True, "all", "gelu", "class"),
             ("ln", "after", False, "none", "gelu", "mean"), ("ln-reduced", "after", True, "hidden", "relu", "class"),
             ("fn", "after", True, "all", "relu", "mean"), ("fn-all", "after", False, "none", "gelu", "class"),
             ("fn-inside", "before", False, "none", "relu", "mean"))
    return {f"vit-{mix[0]}-{mix[1]}-{token}": Transformer(_arrangement(*mix), token=token) for *mix, token in mixes}


RESNET18, RESNET18_SGD = _resnet18()
NETWORKS = _networks() | _residual() | _transformers() | RESNET18
NORMALIZED = _released("ln")    # in a file of its own: the others keep their bytes
SGD = _sgd() | RESNET18_SGD
