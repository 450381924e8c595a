"""The registry: for every `*_backward` of minifl.layers and minifl.fast, cases in several shapes, odd ones and several
clients.

A case draws float64 inputs of a size at which each block's gradient is far from 0.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from types import ModuleType
from typing import Any

from minifl import fast
from minifl.layers import (activations, attention, batchnorm, contrastive, conv, cosine, decorrelation, linear, loss,
                           norm, pool, smoothing, tokens, weights)
from minifl.models.arrangement import ACTIVATIONS
from minifl.models.norms import KINDS


@dataclass(frozen=True)
class Case:
    """One check of one layer.

    backward  the function under test; its name is the layer's name in the registry, "fast.conv2d" for one of minifl.fast
    what      the variant, for people
    forward   f(*inputs) -> y, cache, options bound
    draw      rng -> name -> array, in the order of forward's arguments
    fixed     names of inputs that are not differentiated (labels)
    """
    backward: Callable
    what: str
    forward: Callable
    draw: Callable
    fixed: tuple = ()

    @property
    def layer(self) -> str:
        room = "fast." if self.backward.__module__.startswith("minifl.fast.") else ""
        return room + self.backward.__name__.removesuffix("_backward")


def normal(**shapes: Any) -> Callable:
    """draw: standard normal arrays of these shapes."""
    return lambda rng: {name: rng.standard_normal(shape) for name, shape in shapes.items()}


def _of(room, name, what, draw, *, fixed=(), **options):
    """The Case of room.name, room being the module that has the pair."""
    return Case(getattr(room, f"{name}_backward"), what, partial(getattr(room, name), **options), draw, fixed)


def _affine_inputs(shape):
    """x, and gain and bias that are far from their start at 1 and 0."""
    k, c = shape[0], shape[-1]
    return normal(x=shape, gain=(k, c), bias=(k, c))


def _scaled(shape, scale, name="x"):
    """So short that the clamp of the norms is active, or so large that activations saturate."""
    return lambda rng: {name: scale * rng.standard_normal(shape)}


def _below_zero(shape):
    return lambda rng: {"x": -abs(rng.standard_normal(shape))}


def _statistics(shape, scale):
    """x, and running means and variances of the size `scale`."""
    k, c = shape[0], shape[-1]
    x_and_mean = normal(x=shape, mean=(k, c))
    return lambda rng: x_and_mean(rng) | {"variance": scale * rng.uniform(0.5, 2.0, (k, c))}


def _logits(k, n, c, scale):
    return lambda rng: {"logits": scale * rng.standard_normal((k, n, c)), "labels": rng.integers(0, c, (k, n))}


def _vectors(shape, scale=1.0):
    """draw: features and what they are compared with; scale: of the feature."""
    vectors = normal(feature=shape, positive=shape, negative=shape)

    def draw(rng):
        inputs = vectors(rng)
        return inputs | {"feature": scale * inputs["feature"]}

    return draw


# What textbook and fast pair are both checked on.
CONVOLUTIONS = (    # what, x, kernel, options
    ("5x5", (2, 2, 7, 6, 1), (5, 5, 1, 2), {}),
    ("3x3, padding 1, bias", (2, 2, 4, 5, 2), (3, 3, 2, 2), {"padding": 1}),
    ("3x2, stride 2, padding 1, bias", (2, 2, 5, 6, 2), (3, 2, 2, 2), {"stride": 2, "padding": 1}),
    ("1x1, stride 2", (3, 2, 5, 4, 2), (1, 1, 2, 2), {"stride": 2}),
    ("3x3, stride 3, bias", (1, 1, 8, 8, 1), (3, 3, 1, 1), {"stride": 3}),
)
FILTERED = (        # two tiles each, the second one not full, of as many channels as filtering starts from
    ("5x2, filtered", (2, 1, 10, 2, 16), (5, 2, 16, 1), {}),
    ("3x2, filtered, padding 1, bias", (1, 2, 6, 2, 16), (3, 2, 16, 2), {"padding": 1}),
)
MAX_POOLS = (       # what, x, options
    ("2", (2, 2, 4, 6, 3), {}),
    ("2, odd map", (2, 3, 5, 7, 2), {}),
    ("3, stride 2", (2, 2, 7, 6, 2), {"size": 3, "stride": 2}),
    ("2, stride 3", (1, 2, 8, 5, 2), {"size": 2, "stride": 3}),
)


def convolution(room: ModuleType, what: str, x: Any, kernel: Any, options: dict) -> Case:
    """The Case of room.conv2d, room being a module that has the pair."""
    shapes = {"x": x, "weight": (x[0], *kernel)} | ({"bias": (x[0], kernel[-1])} if "bias" in what else {})
    return _of(room, "conv2d", what, normal(**shapes), **options)


def max_pool(room: ModuleType, what: str, shape: tuple, options: dict) -> Case:
    """The Case of room.max_pool2d."""
    return _of(room, "max_pool2d", what, normal(x=shape), **options)


def _norms(kind):
    """The cases of an entry of the table of norms."""
    def draw(what, shape):
        return _scaled(shape, 0.1) if what == "below the clamp" else normal(x=shape)

    return [Case(kind.backward, what, partial(kind.forward, **options), draw(what, shape))
            for what, shape, options in kind.cases]


def _smooth(forward, backward):
    """An activation around 0, below 0 alone, and where it saturates."""
    return (Case(backward, "map", forward, normal(x=(2, 2, 3, 3, 2))),
            Case(backward, "below 0", forward, _below_zero((3, 2, 5))),
            Case(backward, "large |x|", forward, _scaled((2, 3, 7), 10.0)))


def _labelled(k, n, d, c):
    """draw: features, a classifier's weight and labels."""
    vectors = normal(feature=(k, n, d), weight=(k, d, c))
    return lambda rng: vectors(rng) | {"labels": rng.integers(0, c, (k, n))}


def _queries(shape, scale=1.0):
    """draw: queries, keys and values; scale: of the queries, and so of the scores."""
    def draw(rng):
        q, k, v = rng.standard_normal((3, *shape))
        return {"q": scale * q, "k": k, "v": v}

    return draw


CASES = (
    _of(linear, "linear", "bias", normal(x=(2, 3, 5), weight=(2, 5, 4), bias=(2, 4))),
    _of(linear, "linear", "no bias, square", normal(x=(3, 4, 5), weight=(3, 5, 5))),
    _of(linear, "linear", "one of each", normal(x=(1, 1, 1), weight=(1, 1, 1), bias=(1, 1))),
    _of(linear, "flatten", "map", normal(x=(2, 3, 2, 3, 4))),
    *(convolution(conv, *each) for each in CONVOLUTIONS),
    *(max_pool(pool, *each) for each in MAX_POOLS),
    _of(pool, "avg_pool2d", "2", normal(x=(2, 2, 4, 6, 3))),
    _of(pool, "avg_pool2d", "3, stride 2", normal(x=(2, 2, 7, 6, 2)), size=3, stride=2),
    _of(pool, "global_avg_pool", "map", normal(x=(2, 3, 3, 4, 2))),
    _of(activations, "relu", "vector", normal(x=(2, 3, 7))),
    _of(activations, "relu", "map", normal(x=(2, 2, 3, 3, 2))),
    _of(activations, "leaky_relu", "slope 0.01", normal(x=(2, 3, 7))),
    _of(activations, "leaky_relu", "slope 0.3, map", normal(x=(2, 2, 3, 3, 2)), slope=0.3),
    *(case for entry in ACTIVATIONS.values() if not entry.linear for case in _smooth(entry.forward, entry.backward)),
    _of(activations, "elu", "alpha 0.7", normal(x=(2, 3, 7)), alpha=0.7),
    _of(loss, "softmax_cross_entropy", "10 classes", _logits(2, 4, 10, 1.0), fixed=("labels",)),
    _of(loss, "softmax_cross_entropy", "large logits", _logits(3, 5, 3, 8.0), fixed=("labels",)),
    _of(loss, "softmax_cross_entropy", "2 classes, 1 example", _logits(1, 1, 2, 1.0), fixed=("labels",)),
    _of(smoothing, "smoothed_cross_entropy", "10 classes, 0.1", _logits(2, 4, 10, 1.0), fixed=("labels",), smoothing=0.1),
    _of(smoothing, "smoothed_cross_entropy", "large logits, 0.3", _logits(3, 5, 3, 8.0), fixed=("labels",), smoothing=0.3),
    _of(smoothing, "smoothed_cross_entropy", "2 classes, 1 example, 0.9", _logits(1, 1, 2, 1.0),
        fixed=("labels",), smoothing=0.9),
    *(case for kind in KINDS.values() for case in _norms(kind)),
    _of(norm, "layer_norm", "vector", _affine_inputs((2, 3, 7))),
    _of(norm, "layer_norm", "map", _affine_inputs((2, 2, 3, 4, 3))),
    _of(norm, "layer_norm", "large eps", _affine_inputs((3, 2, 5)), eps=0.5),
    _of(norm, "affine", "vector", _affine_inputs((2, 3, 7))),
    _of(norm, "affine", "map", _affine_inputs((3, 2, 3, 2, 4))),
    _of(batchnorm, "batch_norm_fixed", "vector", _statistics((2, 5, 4), 1.0), fixed=("mean", "variance")),
    _of(batchnorm, "batch_norm_fixed", "map", _statistics((3, 2, 3, 2, 2), 1.0), fixed=("mean", "variance")),
    _of(batchnorm, "batch_norm_fixed", "small variance, 1 example", _statistics((2, 1, 3), 1e-3),
        fixed=("mean", "variance")),
    _of(batchnorm, "batch_norm_fixed", "large eps", _statistics((2, 3, 5), 1.0), fixed=("mean", "variance"), eps=0.5),
    _of(weights, "standardize", "3x3 convolution", normal(weight=(2, 3, 3, 2, 4))),
    _of(weights, "standardize", "1x1 convolution, 1 output", normal(weight=(3, 1, 1, 5, 1))),
    _of(weights, "standardize", "linear", normal(weight=(2, 6, 3))),
    _of(weights, "standardize", "2 weights, large eps", normal(weight=(2, 2, 3)), eps=0.5),
    _of(weights, "unit_columns", "fewer classes than features", normal(weight=(2, 6, 4))),
    _of(weights, "unit_columns", "more classes than features", normal(weight=(3, 3, 7))),
    _of(weights, "unit_columns", "1 class", normal(weight=(1, 5, 1))),
    _of(weights, "unit_columns", "below the clamp", _scaled((2, 4, 3), 0.1, "weight"), eps=1.0),
    _of(weights, "unit_columns", "partly below the clamp", normal(weight=(2, 5, 6)), eps=2.0),
    # without eps the loss of two examples, or of one feature, is 1 whatever they are
    _of(decorrelation, "decorrelation", "fewer examples than features", normal(z=(2, 4, 7))),
    _of(decorrelation, "decorrelation", "more examples than features", normal(z=(3, 9, 4))),
    _of(decorrelation, "decorrelation", "as many, 1 client", normal(z=(1, 5, 5))),
    _of(decorrelation, "decorrelation", "2 examples, large eps", normal(z=(2, 2, 5)), eps=0.5),
    _of(decorrelation, "decorrelation", "1 feature, large eps", normal(z=(3, 5, 1)), eps=0.5),
    _of(decorrelation, "decorrelation_released", "fewer examples than features", normal(z=(2, 4, 7))),
    _of(decorrelation, "decorrelation_released", "more examples than features", normal(z=(3, 9, 4))),
    _of(decorrelation, "decorrelation_released", "2 examples, 2 features, large eps", normal(z=(1, 2, 2)), eps=0.5),
    _of(contrastive, "model_contrastive", "tau 0.5", _vectors((2, 4, 7)), fixed=("positive", "negative")),
    _of(contrastive, "model_contrastive", "tau 0.1, long features", _vectors((3, 2, 5), scale=20.0),
        fixed=("positive", "negative"), tau=0.1),
    _of(contrastive, "model_contrastive", "1 example, 2 features, tau 2", _vectors((1, 1, 2)),
        fixed=("positive", "negative"), tau=2.0),
    _of(contrastive, "model_contrastive", "below the clamp", _vectors((2, 3, 5), scale=0.1),
        fixed=("positive", "negative"), eps=1.0),
    _of(cosine, "positive_hinge", "margin 0.9", _labelled(2, 4, 5, 3), fixed=("labels",)),
    _of(cosine, "positive_hinge", "margin 0, half beyond it", _labelled(2, 9, 6, 3), fixed=("labels",), margin=0.0),
    _of(cosine, "positive_hinge", "classes that do not occur", _labelled(3, 3, 4, 7), fixed=("labels",)),
    _of(cosine, "positive_hinge", "1 example, 1 class", _labelled(1, 1, 3, 1), fixed=("labels",), margin=1.5),
    _of(cosine, "positive_hinge", "partly below the clamp", _labelled(2, 6, 5, 4), fixed=("labels",), eps=2.0),
    _of(cosine, "spreadout", "margin 1, half beyond it", normal(weight=(2, 6, 5))),
    _of(cosine, "spreadout", "more classes than features, margin 1.7", normal(weight=(3, 2, 6)), margin=1.7),
    _of(cosine, "spreadout", "2 classes, margin 2.5", normal(weight=(1, 3, 2)), margin=2.5),
    _of(cosine, "spreadout", "partly below the clamp", normal(weight=(2, 5, 6)), eps=2.0),
    _of(attention, "attention", "2 heads", _queries((2, 3, 4, 6)), heads=2),
    _of(attention, "attention", "1 head, large scores", _queries((3, 2, 5, 3), scale=3.0), heads=1),
    _of(attention, "attention", "heads of 1 feature, 2 tokens", _queries((2, 2, 2, 3)), heads=3),
    _of(attention, "attention", "7 tokens of one example", _queries((1, 1, 7, 4)), heads=2),
    _of(tokens, "add_position", "4 places", normal(x=(2, 3, 4, 5), position=(2, 4, 5))),
    _of(tokens, "add_position", "1 place", normal(x=(3, 2, 1, 2), position=(3, 1, 2))),
    _of(tokens, "prepend_token", "before 4", normal(x=(2, 3, 4, 5), token=(2, 5))),
    _of(tokens, "prepend_token", "before 1", normal(x=(3, 2, 1, 2), token=(3, 2))),
    _of(tokens, "first_token", "of 4", normal(x=(2, 3, 4, 5))),
    *(convolution(fast, *each) for each in (*CONVOLUTIONS, *FILTERED)),
    *(max_pool(fast, *each) for each in MAX_POOLS),
)
