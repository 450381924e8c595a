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


def _smoothed(what, k, n, c, scale, part):
    return Case(smoothing.smoothed_cross_entropy_backward, what,
                lambda *inputs: smoothing.smoothed_cross_entropy(*inputs, smoothing=part), _logits(k, n, c, scale),
                fixed=("labels",))


def _contrastive(what, shape, *, scale=1.0, **options):
    """scale: of the feature."""
    vectors = normal(feature=shape, positive=shape, negative=shape)

    def draw(rng):
        inputs = vectors(rng)
        return inputs | {"feature": scale * inputs["feature"]}

    return Case(contrastive.model_contrastive_backward, what,
                lambda *inputs: contrastive.model_contrastive(*inputs, **options), draw, fixed=("positive", "negative"))


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
    return Case(room.conv2d_backward, what, lambda *inputs: room.conv2d(*inputs, **options), normal(**shapes))


def max_pool(room: ModuleType, what: str, shape: tuple, options: dict) -> Case:
    """The Case of room.max_pool2d."""
    return Case(room.max_pool2d_backward, what, lambda x: room.max_pool2d(x, **options), normal(x=shape))


def _avg_pool(what, shape, **options):
    return Case(pool.avg_pool2d_backward, what, lambda x: pool.avg_pool2d(x, **options), normal(x=shape))


def _norms(kind):
    """The cases of an entry of the table of norms."""
    def draw(what, shape):
        return _scaled(shape, 0.1) if what == "below the clamp" else normal(x=shape)

    return [Case(kind.backward, what, partial(kind.forward, **options), draw(what, shape))
            for what, shape, options in kind.cases]


def _batch_norm_fixed(what, shape, scale, **options):
    return Case(batchnorm.batch_norm_fixed_backward, what,
                lambda *inputs: batchnorm.batch_norm_fixed(*inputs, **options), _statistics(shape, scale),
                fixed=("mean", "variance"))


def _standardize(what, shape, **options):
    return Case(weights.standardize_backward, what, lambda weight: weights.standardize(weight, **options),
                normal(weight=shape))


def _unit_columns(what, shape, **options):
    return Case(weights.unit_columns_backward, what, lambda weight: weights.unit_columns(weight, **options),
                normal(weight=shape))


def _smooth(forward, backward):
    """An activation around 0, below 0 alone, and where it saturates."""
    return (Case(backward, "map", forward, normal(x=(2, 2, 3, 3, 2))),
            Case(backward, "below 0", forward, _below_zero((3, 2, 5))),
            Case(backward, "large |x|", forward, _scaled((2, 3, 7), 10.0)))


def _decorrelation(what, shape, **options):
    return Case(decorrelation.decorrelation_backward, what,
                lambda z: decorrelation.decorrelation(z, **options), normal(z=shape))


def _decorrelation_released(what, shape, **options):
    return Case(decorrelation.decorrelation_released_backward, what,
                lambda z: decorrelation.decorrelation_released(z, **options), normal(z=shape))


def _labelled(k, n, d, c):
    """draw: features, a classifier's weight and labels."""
    vectors = normal(feature=(k, n, d), weight=(k, d, c))
    return lambda rng: vectors(rng) | {"labels": rng.integers(0, c, (k, n))}


def _positive_hinge(what, k, n, d, c, **options):
    return Case(cosine.positive_hinge_backward, what,
                lambda *inputs: cosine.positive_hinge(*inputs, **options), _labelled(k, n, d, c),
                fixed=("labels",))


def _spreadout(what, shape, **options):
    return Case(cosine.spreadout_backward, what, lambda weight: cosine.spreadout(weight, **options),
                normal(weight=shape))


def _attention(what, shape, *, heads, scale=1.0):
    """scale: of the queries, and so of the scores."""
    def draw(rng):
        q, k, v = rng.standard_normal((3, *shape))
        return {"q": scale * q, "k": k, "v": v}

    return Case(attention.attention_backward, what, lambda *inputs: attention.attention(*inputs, heads=heads), draw)


CASES = (
    Case(linear.linear_backward, "bias", linear.linear, normal(x=(2, 3, 5), weight=(2, 5, 4), bias=(2, 4))),
    Case(linear.linear_backward, "no bias, square", linear.linear, normal(x=(3, 4, 5), weight=(3, 5, 5))),
    Case(linear.linear_backward, "one of each", linear.linear, normal(x=(1, 1, 1), weight=(1, 1, 1), bias=(1, 1))),
    Case(linear.flatten_backward, "map", linear.flatten, normal(x=(2, 3, 2, 3, 4))),
    *(convolution(conv, *each) for each in CONVOLUTIONS),
    *(max_pool(pool, *each) for each in MAX_POOLS),
    _avg_pool("2", (2, 2, 4, 6, 3)),
    _avg_pool("3, stride 2", (2, 2, 7, 6, 2), size=3, stride=2),
    Case(pool.global_avg_pool_backward, "map", pool.global_avg_pool, normal(x=(2, 3, 3, 4, 2))),
    Case(activations.relu_backward, "vector", activations.relu, normal(x=(2, 3, 7))),
    Case(activations.relu_backward, "map", activations.relu, normal(x=(2, 2, 3, 3, 2))),
    Case(activations.leaky_relu_backward, "slope 0.01", activations.leaky_relu, normal(x=(2, 3, 7))),
    Case(activations.leaky_relu_backward, "slope 0.3, map", lambda x: activations.leaky_relu(x, slope=0.3),
         normal(x=(2, 2, 3, 3, 2))),
    *(case for entry in ACTIVATIONS.values() if not entry.linear for case in _smooth(entry.forward, entry.backward)),
    Case(activations.elu_backward, "alpha 0.7", lambda x: activations.elu(x, alpha=0.7), normal(x=(2, 3, 7))),
    Case(loss.softmax_cross_entropy_backward, "10 classes", loss.softmax_cross_entropy, _logits(2, 4, 10, 1.0),
         fixed=("labels",)),
    Case(loss.softmax_cross_entropy_backward, "large logits", loss.softmax_cross_entropy, _logits(3, 5, 3, 8.0),
         fixed=("labels",)),
    Case(loss.softmax_cross_entropy_backward, "2 classes, 1 example", loss.softmax_cross_entropy,
         _logits(1, 1, 2, 1.0), fixed=("labels",)),
    _smoothed("10 classes, 0.1", 2, 4, 10, 1.0, 0.1),
    _smoothed("large logits, 0.3", 3, 5, 3, 8.0, 0.3),
    _smoothed("2 classes, 1 example, 0.9", 1, 1, 2, 1.0, 0.9),
    *(case for kind in KINDS.values() for case in _norms(kind)),
    Case(norm.layer_norm_backward, "vector", norm.layer_norm, _affine_inputs((2, 3, 7))),
    Case(norm.layer_norm_backward, "map", norm.layer_norm, _affine_inputs((2, 2, 3, 4, 3))),
    Case(norm.layer_norm_backward, "large eps", lambda *inputs: norm.layer_norm(*inputs, eps=0.5),
         _affine_inputs((3, 2, 5))),
    Case(norm.affine_backward, "vector", norm.affine, _affine_inputs((2, 3, 7))),
    Case(norm.affine_backward, "map", norm.affine, _affine_inputs((3, 2, 3, 2, 4))),
    _batch_norm_fixed("vector", (2, 5, 4), 1.0),
    _batch_norm_fixed("map", (3, 2, 3, 2, 2), 1.0),
    _batch_norm_fixed("small variance, 1 example", (2, 1, 3), 1e-3),
    _batch_norm_fixed("large eps", (2, 3, 5), 1.0, eps=0.5),
    _standardize("3x3 convolution", (2, 3, 3, 2, 4)),
    _standardize("1x1 convolution, 1 output", (3, 1, 1, 5, 1)),
    _standardize("linear", (2, 6, 3)),
    _standardize("2 weights, large eps", (2, 2, 3), eps=0.5),
    _unit_columns("fewer classes than features", (2, 6, 4)),
    _unit_columns("more classes than features", (3, 3, 7)),
    _unit_columns("1 class", (1, 5, 1)),
    Case(weights.unit_columns_backward, "below the clamp", lambda weight: weights.unit_columns(weight, eps=1.0),
         _scaled((2, 4, 3), 0.1, "weight")),
    _unit_columns("partly below the clamp", (2, 5, 6), eps=2.0),
    # without eps the loss of two examples, or of one feature, is 1 whatever they are
    _decorrelation("fewer examples than features", (2, 4, 7)),
    _decorrelation("more examples than features", (3, 9, 4)),
    _decorrelation("as many, 1 client", (1, 5, 5)),
    _decorrelation("2 examples, large eps", (2, 2, 5), eps=0.5),
    _decorrelation("1 feature, large eps", (3, 5, 1), eps=0.5),
    _decorrelation_released("fewer examples than features", (2, 4, 7)),
    _decorrelation_released("more examples than features", (3, 9, 4)),
    _decorrelation_released("2 examples, 2 features, large eps", (1, 2, 2), eps=0.5),
    _contrastive("tau 0.5", (2, 4, 7)),
    _contrastive("tau 0.1, long features", (3, 2, 5), scale=20.0, tau=0.1),
    _contrastive("1 example, 2 features, tau 2", (1, 1, 2), tau=2.0),
    _contrastive("below the clamp", (2, 3, 5), scale=0.1, eps=1.0),
    _positive_hinge("margin 0.9", 2, 4, 5, 3),
    _positive_hinge("margin 0, half beyond it", 2, 9, 6, 3, margin=0.0),
    _positive_hinge("classes that do not occur", 3, 3, 4, 7),
    _positive_hinge("1 example, 1 class", 1, 1, 3, 1, margin=1.5),
    _positive_hinge("partly below the clamp", 2, 6, 5, 4, eps=2.0),
    _spreadout("margin 1, half beyond it", (2, 6, 5)),
    _spreadout("more classes than features, margin 1.7", (3, 2, 6), margin=1.7),
    _spreadout("2 classes, margin 2.5", (1, 3, 2), margin=2.5),
    _spreadout("partly below the clamp", (2, 5, 6), eps=2.0),
    _attention("2 heads", (2, 3, 4, 6), heads=2),
    _attention("1 head, large scores", (3, 2, 5, 3), heads=1, scale=3.0),
    _attention("heads of 1 feature, 2 tokens", (2, 2, 2, 3), heads=3),
    _attention("7 tokens of one example", (1, 1, 7, 4), heads=2),
    Case(tokens.add_position_backward, "4 places", tokens.add_position, normal(x=(2, 3, 4, 5), position=(2, 4, 5))),
    Case(tokens.add_position_backward, "1 place", tokens.add_position, normal(x=(3, 2, 1, 2), position=(3, 1, 2))),
    Case(tokens.prepend_token_backward, "before 4", tokens.prepend_token, normal(x=(2, 3, 4, 5), token=(2, 5))),
    Case(tokens.prepend_token_backward, "before 1", tokens.prepend_token, normal(x=(3, 2, 1, 2), token=(3, 2))),
    Case(tokens.first_token_backward, "of 4", tokens.first_token, normal(x=(2, 3, 4, 5))),
    *(convolution(fast, *each) for each in (*CONVOLUTIONS, *FILTERED)),
    *(max_pool(fast, *each) for each in MAX_POOLS),
)
