"""What the golden values cover, and the numbers that go in: shared by make_golden.py and test_golden.py.

Inputs are drawn by name in both programs, so the npz files hold PyTorch's answers only. The draws use PCG64's
raw output, which NumPy promises never to change. Of minifl only the names and shapes of parameter blocks are
used.
"""

import math
import zlib
from dataclasses import dataclass, field

import numpy as np

from minifl.models import CNN, MLP, Arrangement, ViT

STORED_IN_FULL = 1000   # entries of one client's tensor; of a larger one SAMPLE_SIZE are stored
SAMPLE_SIZE = 200


def raw(name, count):
    """`count` whole numbers 0..2^64-1 that belong to a name."""
    return np.random.PCG64(zlib.crc32(name.encode())).random_raw(count)


def uniform(name, shape, scale=1.0):
    """float64 in [-scale, scale) that belong to a name."""
    return scale * ((raw(name, math.prod(shape)) >> 11) * 2.0**-52 - 1).reshape(shape)


def labels(name, shape, classes):
    return (raw(name, math.prod(shape)) % classes).astype(np.int64).reshape(shape)


def condensed(tensors):
    """Tensors by name (K, ...) -> the numbers that are stored and compared.

    A large tensor becomes a drawn sample of its entries, the same for each client, and its Euclidean norm.
    """
    out = {}
    for name, tensor in tensors.items():
        rows = np.reshape(tensor, (len(tensor), -1))
        if rows.shape[1] <= STORED_IN_FULL:
            out[name] = tensor
        else:
            chosen = raw(f"{name}.sample", SAMPLE_SIZE) % rows.shape[1]
            out[f"{name}.sample"] = rows[:, chosen.astype(np.int64)]
            out[f"{name}.norm"] = np.sqrt((rows * rows).sum(axis=1))
    return out


# --- layers -------------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Layer:
    """One call of a layer: its function's name, the shapes of its arguments, and its keywords.

    scale   of the first argument
    levels  if not 0, the first argument is rounded to this many steps per unit, so that zeros and ties occur
    """
    layer: str
    shapes: dict
    options: dict = field(default_factory=dict)
    scale: float = 1.0
    levels: int = 0

    def inputs(self, name):
        """Arguments by name, float64; `labels` are whole numbers below the number of logits, or of embeddings."""
        first = next(iter(self.shapes))
        out = {}
        for tensor, shape in self.shapes.items():
            if tensor == "labels":
                out[tensor] = labels(f"{name}.labels", shape, self.shapes.get("logits", self.shapes.get("weight"))[-1])
            else:
                out[tensor] = uniform(f"{name}.{tensor}", shape, self.scale if tensor == first else 1.0)
        if self.levels:
            out[first] = np.round(out[first] * self.levels) / self.levels
        return out


def _layers():
    vector, image, odd = (2, 5, 6), (2, 5, 4, 3, 4), (3, 2, 9, 7, 2)
    logits = {"logits": (3, 5, 10), "labels": (3, 5)}
    cases = {
        "linear": Layer("linear", {"x": (3, 4, 5), "weight": (3, 5, 6)}),
        "linear-bias": Layer("linear", {"x": (3, 4, 5), "weight": (3, 5, 6), "bias": (3, 6)}),
        "flatten": Layer("flatten", {"x": image}),
        "relu": Layer("relu", {"x": image}),
        "relu-zeros": Layer("relu", {"x": image}, levels=2),
        "leaky-relu": Layer("leaky_relu", {"x": image}),
        "leaky-relu-zeros": Layer("leaky_relu", {"x": vector}, {"slope": 0.2}, levels=2),
        "cross-entropy": Layer("softmax_cross_entropy", logits, scale=3.0),
        "cross-entropy-large": Layer("softmax_cross_entropy", logits, scale=900.0),
        "max-pool-2": Layer("max_pool2d", {"x": (2, 2, 6, 8, 3)}),
        "max-pool-2-odd": Layer("max_pool2d", {"x": odd}),
        "max-pool-2-ties": Layer("max_pool2d", {"x": odd}, levels=1),
        "max-pool-3-stride-2": Layer("max_pool2d", {"x": odd}, {"size": 3, "stride": 2}),
        "max-pool-3-stride-2-ties": Layer("max_pool2d", {"x": odd}, {"size": 3, "stride": 2}, levels=1),
        "avg-pool-2": Layer("avg_pool2d", {"x": (2, 2, 6, 8, 3)}),
        "avg-pool-2-odd": Layer("avg_pool2d", {"x": odd}),
        "avg-pool-3-stride-2": Layer("avg_pool2d", {"x": odd}, {"size": 3, "stride": 2}),
        "global-avg-pool": Layer("global_avg_pool", {"x": odd}),
    }
    tokens = (3, 2, 5, 6)
    embeddings = {"feature": (3, 5, 6), "weight": (3, 6, 4), "labels": (3, 5)}
    cases |= {
        "decorrelation-few-features": Layer("decorrelation", {"z": (2, 6, 4)}),
        "decorrelation-few-examples": Layer("decorrelation", {"z": (2, 4, 7)}),
        "decorrelation-eps": Layer("decorrelation", {"z": (2, 5, 4)}, {"eps": 0.3}),
        "positive-hinge": Layer("positive_hinge", embeddings),
        "positive-hinge-margin": Layer("positive_hinge", embeddings, {"margin": 0.1}),
        "spreadout": Layer("spreadout", {"weight": (3, 6, 4)}),
        "spreadout-margin": Layer("spreadout", {"weight": (3, 3, 5)}, {"margin": 1.7}),
        "attention": Layer("attention", {"q": tokens, "k": tokens, "v": tokens}, {"heads": 2}),
        "attention-1-head": Layer("attention", {"q": tokens, "k": tokens, "v": tokens}, {"heads": 1}),
        "attention-large-scores": Layer("attention", {"q": tokens, "k": tokens, "v": tokens}, {"heads": 3}, scale=20.0),
        "add-position": Layer("add_position", {"x": tokens, "position": (3, 5, 6)}),
        "prepend-token": Layer("prepend_token", {"x": tokens, "token": (3, 6)}),
        "first-token": Layer("first_token", {"x": tokens}),
    }
    for kernel in (5, 3, 1):
        for stride in (1, 2):
            for padding in (0, 1, 2):
                for bias in (False, True):
                    shapes = {"x": (2, 2, 7, 6, 2), "weight": (2, kernel, kernel, 2, 3)}
                    shapes |= {"bias": (2, 3)} if bias else {}
                    name = f"conv-{kernel}x{kernel}-stride-{stride}-padding-{padding}{'-bias' * bias}"
                    cases[name] = Layer("conv2d", shapes, {"stride": stride, "padding": padding})
    cases["conv-3x5"] = Layer("conv2d", {"x": (3, 1, 5, 9, 1), "weight": (3, 3, 5, 1, 2)})
    for kind, shape in (("vector", vector), ("map", image)):
        channels = {"gain": (2, shape[-1]), "bias": (2, shape[-1])}
        cases |= {
            f"shift-{kind}": Layer("shift", {"x": shape}),
            f"affine-{kind}": Layer("affine", {"x": shape} | channels),
            f"layer-norm-{kind}": Layer("layer_norm", {"x": shape} | channels),
            f"layer-norm-{kind}-small": Layer("layer_norm", {"x": shape} | channels, scale=3e-3),
            f"group-norm-{kind}-2": Layer("group_norm", {"x": shape}, {"groups": 2}),
            f"group-norm-{kind}-1": Layer("group_norm", {"x": shape}, {"groups": 1}),
        }
        for layer in ("feature", "mv"):
            name, eps = f"{layer}-norm-{kind}", {"vector": 1.4, "map": 4.0}[kind]
            cases[name] = Layer(f"{layer}_norm", {"x": shape})
            cases[f"{name}-below-clamp"] = Layer(f"{layer}_norm", {"x": shape}, scale=1e-7)
            cases[f"{name}-both-sides-of-clamp"] = Layer(f"{layer}_norm", {"x": shape}, {"eps": eps})
    return cases


LAYERS = _layers()


# --- networks -----------------------------------------------------------------------------------------------

@dataclass(frozen=True)
class Network:
    """A network with a batch for each of two clients.

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
    examples: int = 4
    steps: int = 0
    lr: float = 0.05

    @property
    def model(self):
        arr = Arrangement(**self.arrangement)
        if not self.channels:
            return MLP(self.classes, self.image_shape, self.widths, arr)
        return CNN(self.classes, self.image_shape, self.channels, self.widths, arr)

    def parameters(self, name):
        """Blocks by name (K, ...), K = 1 for SGD; weights keep activations near 1, gains have both signs."""
        k = 1 if self.steps else 2
        return {entry.name: uniform(f"{name}.{entry.name}", (k, *entry.shape),
                                    math.sqrt(6 / entry.fan_in) if entry.fan_in else 1.0)
                for entry in self.model.spec.entries}

    def batch(self, name):
        """x (K, N, H, W, C) in [0, 1) and labels (K, N); for SGD (K, E, N, ...)."""
        lead = (2, self.steps, self.examples) if self.steps else (2, self.examples)
        x = (uniform(f"{name}.x", (*lead, *self.image_shape)) + 1) / 2
        return x, labels(f"{name}.labels", lead, self.classes)


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


def _arrangement(norm, position, learnable, bias, activation):
    return {"norm": norm, "position": position, "learnable": learnable, "groups": 2, "bias": bias,
            "activation": activation}


NORMS = ("none", "fn", "fn-all", "ln", "ln-reduced", "gn")
MIXES = (   # every value of every option meets every norm
    ("after", False, "none", "relu"),
    ("before", False, "hidden", "leaky-relu"),
    ("after", True, "all", "leaky-relu"),
    ("before", True, "none", "relu"),
)


def _named(prefix, norm, mix, **shape):
    position, learnable, bias, activation = mix
    name = f"{prefix}-{norm}-{position}-{'learnable' if learnable else 'static'}-bias-{bias}-{activation}"
    return {name: Network(_arrangement(norm, *mix), **shape)}


def _networks():
    cases = {}
    for norm in NORMS:
        for mix in MIXES:
            cases |= _named("cnn-16x20", norm, mix)
        cases |= _named("cnn-32x32", norm, MIXES[0], image_shape=(32, 32, 3), widths=(24, 12), classes=10)
        for mix in (MIXES[0], MIXES[2]):
            cases |= _named("mlp", norm, mix, image_shape=(4, 3, 3), channels=(), widths=(10, 8), classes=5)
    for norm in ("none", "fn", "ln", "gn"):
        cases |= _named("table7", norm, MIXES[0], widths=(14,))
    cases |= _named("table7", "ln", MIXES[2], widths=(14,))
    for norm in ("none", "fn"):
        cases |= _named("released-full-size", norm, MIXES[0], image_shape=(32, 32, 3), channels=(64, 64),
                        widths=(384, 192), classes=10, examples=2)
    return cases


def _sgd():
    """Group norm after ReLU is delicate: where a group of an example is almost dead, 1/sigma is large, and 20
    steps can amplify rounding 10^7 times (the worst of 12 draws; for layer norm 10^2). The draws behind these
    names are calm ones; test_golden.py checks that.
    """
    cases = {}
    for norm in NORMS:
        cases |= _named("sgd", norm, MIXES[0], steps=20)
    for norm, mix in (("none", MIXES[1]), ("fn-all", MIXES[3]), ("ln", MIXES[2]), ("gn", MIXES[1])):
        cases |= _named("sgd", norm, mix, steps=20)
    return cases


def _transformers():
    """norm, position, learnable, bias, activation, token."""
    mixes = (("none", "before", False, "all", "gelu", "class"), ("ln", "before", True, "all", "gelu", "class"),
             ("ln", "after", False, "none", "gelu", "mean"), ("ln-reduced", "after", True, "hidden", "relu", "class"),
             ("fn", "after", True, "all", "relu", "mean"), ("fn-all", "after", False, "none", "gelu", "class"),
             ("fn-inside", "before", False, "none", "relu", "mean"))
    return {f"vit-{mix[0]}-{mix[1]}-{token}": Transformer(_arrangement(*mix), token=token) for *mix, token in mixes}


NETWORKS = _networks() | _transformers()
SGD = _sgd()
