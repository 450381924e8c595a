"""Random cases of every layer of the registry: shapes, options and sizes of the numbers that nobody has chosen.

Numbers are between 1e-3 and 1e3 in size, each input on its own; some have an offset of ten times their size, in some
there are ties and exact zeros. Where a layer saturates (scores, squashing activations) the size ends at SATURATED,
beyond which its derivatives are 0 in float64.
"""

import numpy as np

from minifl import fast
from minifl.gradcheck.cases import Case
from minifl.layers import (activations, attention, batchnorm, contrastive, conv, cosine, decorrelation, linear, loss,
                           norm, pool, smoothing, tokens, weights)

SMALLEST, LARGEST, SATURATED = 1e-3, 1e3, 10.0
OFFSET, TIES = 0.2, 0.1              # shares of the arrays with an offset, with ties and zeros
FEW = 0.1                            # share of the norms over any number of numbers: 1 and 2 become constants
EPS = (1e-8, 1e-5, 1e-3, 0.5)
LAYERS = {}                          # layer -> rng -> (forward, backward, inputs, names of the fixed inputs)


def random_case(layer, rng):
    """A Case of this layer drawn from rng; its `draw` gives the same inputs for any rng."""
    forward, backward, inputs, *fixed = LAYERS[layer](rng)
    shapes = " ".join("x".join(map(str, np.shape(array))) for array in inputs.values())
    return Case(backward, shapes, forward, lambda _: dict(inputs), tuple(fixed))


def _array(rng, *shape, largest=LARGEST):
    """Numbers of one random size; with an offset, or with ties and zeros, now and then."""
    size = np.exp(rng.uniform(np.log(SMALLEST), np.log(largest)))
    x = rng.standard_normal(shape)
    kind = rng.random()
    if kind < TIES:
        x = np.round(2 * x) / 2
    elif kind < TIES + OFFSET and largest == LARGEST:
        x += rng.choice([-10, 10])
    return size * x


def _sizes(rng, *most):
    """A size from 1 to each of these."""
    return [int(rng.integers(1, m + 1)) for m in most]


def _at_least(rng, least, most):
    """A size between the two; now and then anything from 1."""
    return int(rng.integers(1 if rng.random() < FEW else least, most + 1))


def _vector_or_map(rng, least=1):
    """(K, N, D) or (K, N, H, W, C) with D, H mostly at least `least`."""
    k, n = _sizes(rng, 3, 4)
    if rng.random() < 0.5:
        return [k, n, _at_least(rng, least, 8)]
    return [k, n, _at_least(rng, least, 4), *_sizes(rng, 4, 4)]


def _layer(name):
    def register(draw):
        LAYERS[name] = draw
        return draw
    return register


@_layer("linear")
def _linear(rng):
    k, n, d, f = _sizes(rng, 3, 4, 6, 6)
    inputs = {"x": _array(rng, k, n, d), "weight": _array(rng, k, d, f)}
    return linear.linear, linear.linear_backward, inputs | ({"bias": _array(rng, k, f)} if rng.random() < 0.5 else {})


@_layer("flatten")
def _flatten(rng):
    return linear.flatten, linear.flatten_backward, {"x": _array(rng, *_sizes(rng, 3, 3, 4, 4, 4))}


def _conv(name, forward, backward):
    @_layer(name)
    def draw(rng):
        """Of the fast pair also with as many channels as minimal filtering starts from, on a map of several tiles."""
        if rng.random() < 0.1 and forward is fast.conv2d:
            (k, n, w, f), h, c, kh = _sizes(rng, 2, 2, 2, 2), int(rng.integers(8, 14)), 16, int(rng.choice([3, 5]))
            stride, padding = 1, int(rng.integers(0, 3))
        else:
            (k, n, w, c, f, kh), h = _sizes(rng, 2, 3, 6, 3, 3, 4), int(rng.integers(1, 7))
            stride, padding = int(rng.integers(1, 4)), int(rng.integers(0, 3))
        kw = int(rng.integers(1, 4))
        h, w = max(h, kh - 2 * padding), max(w, kw - 2 * padding)
        inputs = {"x": _array(rng, k, n, h, w, c), "weight": _array(rng, k, kh, kw, c, f)}
        inputs |= {"bias": _array(rng, k, f)} if rng.random() < 0.5 else {}
        return lambda *a: forward(*a, stride=stride, padding=padding), backward, inputs


_conv("conv2d", conv.conv2d, conv.conv2d_backward)
_conv("fast.conv2d", fast.conv2d, fast.conv2d_backward)


def _pool(name, forward, backward):
    @_layer(name)
    def draw(rng):
        size = int(rng.integers(1, 4))
        stride = int(rng.integers(1, 4)) if rng.random() < 0.7 else None
        k, n, h, w, c = _sizes(rng, 2, 3, 5, 5, 3)
        x = _array(rng, k, n, h + size - 1, w + size - 1, c)
        return lambda x: forward(x, size=size, stride=stride), backward, {"x": x}


_pool("max_pool2d", pool.max_pool2d, pool.max_pool2d_backward)
_pool("fast.max_pool2d", fast.max_pool2d, fast.max_pool2d_backward)
_pool("avg_pool2d", pool.avg_pool2d, pool.avg_pool2d_backward)


@_layer("global_avg_pool")
def _global_avg_pool(rng):
    return pool.global_avg_pool, pool.global_avg_pool_backward, {"x": _array(rng, *_sizes(rng, 3, 3, 4, 4, 4))}


def _elementwise(name, *, largest=LARGEST, option=None, between=()):
    """An activation, with a random value of its option."""
    forward, backward = getattr(activations, name), getattr(activations, f"{name}_backward")

    @_layer(name)
    def draw(rng):
        options = {option: float(rng.uniform(*between))} if option else {}
        return lambda x: forward(x, **options), backward, {"x": _array(rng, *_vector_or_map(rng), largest=largest)}


_elementwise("relu")
_elementwise("leaky_relu", option="slope", between=(0.0, 1.0))
_elementwise("elu", largest=SATURATED, option="alpha", between=(0.1, 2.0))
for _name in ("gelu", "sigmoid", "silu", "softplus", "tanh"):
    _elementwise(_name, largest=SATURATED)


@_layer("softmax_cross_entropy")
def _loss(rng):
    k, n, c = _sizes(rng, 3, 5, 7)
    inputs = {"logits": _array(rng, k, n, c + 1, largest=SATURATED), "labels": rng.integers(0, c + 1, (k, n))}
    return loss.softmax_cross_entropy, loss.softmax_cross_entropy_backward, inputs, "labels"


@_layer("smoothed_cross_entropy")
def _smoothed(rng):
    part, (_, _, inputs, _) = float(rng.uniform(0, 1)), _loss(rng)
    return (lambda *a: smoothing.smoothed_cross_entropy(*a, smoothing=part), smoothing.smoothed_cross_entropy_backward,
            inputs, "labels")


def _norm(name, module=norm, option="eps"):
    forward, backward = getattr(module, name), getattr(module, f"{name}_backward")

    @_layer(name)
    def draw(rng):
        options = {option: float(rng.choice(EPS))} if option else {}
        shape = _vector_or_map(rng, 3)
        shape[1] = shape[1] if module is norm else _at_least(rng, 3, 6)
        return lambda x: forward(x, **options), backward, {"x": _array(rng, *shape)}


_norm("shift", option=None)
for _name in ("feature_norm", "mv_norm", "rms_norm"):
    _norm(_name)
_norm("batch_norm", batchnorm)


@_layer("group_norm")
def _group_norm(rng):
    groups, eps = int(rng.integers(1, 4)), float(rng.choice(EPS))
    *shape, c = _vector_or_map(rng, 3)
    x = _array(rng, *shape, groups * c)
    return lambda x: norm.group_norm(x, groups=groups, eps=eps), norm.group_norm_backward, {"x": x}


@_layer("instance_norm")
def _instance_norm(rng):
    eps = float(rng.choice(EPS))
    x = _array(rng, *_sizes(rng, 3, 3), _at_least(rng, 3, 5), *_sizes(rng, 4, 4))
    return lambda x: norm.instance_norm(x, eps=eps), norm.instance_norm_backward, {"x": x}


def _affine_inputs(rng):
    shape = _vector_or_map(rng, 3)
    k, c = shape[0], shape[-1]
    return {"x": _array(rng, *shape), "gain": _array(rng, k, c), "bias": _array(rng, k, c)}


@_layer("layer_norm")
def _layer_norm(rng):
    eps = float(rng.choice(EPS))
    return lambda *a: norm.layer_norm(*a, eps=eps), norm.layer_norm_backward, _affine_inputs(rng)


@_layer("affine")
def _affine(rng):
    return norm.affine, norm.affine_backward, _affine_inputs(rng)


@_layer("batch_norm_fixed")
def _batch_norm_fixed(rng):
    eps, shape = float(rng.choice(EPS)), _vector_or_map(rng)
    k, c = shape[0], shape[-1]
    inputs = {"x": _array(rng, *shape), "mean": _array(rng, k, c), "variance": abs(_array(rng, k, c)) + SMALLEST}
    return (lambda *a: batchnorm.batch_norm_fixed(*a, eps=eps), batchnorm.batch_norm_fixed_backward, inputs, "mean",
            "variance")


@_layer("standardize")
def _standardize(rng):
    eps = float(rng.choice(EPS))
    fan_in = [_at_least(rng, 3, 8)] if rng.random() < 0.5 else [_at_least(rng, 3, 5), *_sizes(rng, 3, 3)]
    shape = [*_sizes(rng, 3), *fan_in, *_sizes(rng, 4)]
    return lambda w: weights.standardize(w, eps=eps), weights.standardize_backward, {"weight": _array(rng, *shape)}


@_layer("unit_columns")
def _unit_columns(rng):
    eps = float(rng.choice(EPS))
    weight = _array(rng, *_sizes(rng, 3), _at_least(rng, 2, 6), *_sizes(rng, 6))
    return lambda w: weights.unit_columns(w, eps=eps), weights.unit_columns_backward, {"weight": weight}


@_layer("decorrelation")
def _decorrelation(rng):
    eps = float(rng.choice(EPS))
    z = _array(rng, *_sizes(rng, 3), _at_least(rng, 3, 7), _at_least(rng, 2, 6))
    return lambda z: decorrelation.decorrelation(z, eps=eps), decorrelation.decorrelation_backward, {"z": z}


@_layer("decorrelation_released")
def _decorrelation_released(rng):
    eps, z = float(rng.choice(EPS)), _array(rng, *_sizes(rng, 3), _at_least(rng, 3, 7), _at_least(rng, 2, 6))
    return (lambda z: decorrelation.decorrelation_released(z, eps=eps), decorrelation.decorrelation_released_backward,
            {"z": z})


@_layer("model_contrastive")
def _contrastive(rng):
    tau, eps, shape = float(rng.uniform(0.1, 2)), float(rng.choice(EPS)), (*_sizes(rng, 3, 5), _at_least(rng, 2, 6))
    inputs = {name: _array(rng, *shape) for name in ("feature", "positive", "negative")}
    return (lambda *a: contrastive.model_contrastive(*a, tau=tau, eps=eps), contrastive.model_contrastive_backward, inputs,
            "positive", "negative")


@_layer("positive_hinge")
def _positive_hinge(rng):
    margin, eps, (k, n, d, c) = float(rng.uniform(0, 1.5)), float(rng.choice(EPS)), _sizes(rng, 3, 5, 6, 5)
    d = max(d, _at_least(rng, 2, 6))
    inputs = {"feature": _array(rng, k, n, d), "weight": _array(rng, k, d, c), "labels": rng.integers(0, c, (k, n))}
    return (lambda *a: cosine.positive_hinge(*a, margin=margin, eps=eps), cosine.positive_hinge_backward, inputs,
            "labels")


@_layer("spreadout")
def _spreadout(rng):
    margin, eps, (k, d, c) = float(rng.uniform(0.5, 2)), float(rng.choice(EPS)), _sizes(rng, 3, 6, 6)
    d, c = _at_least(rng, 2, 6), _at_least(rng, 2, 6)
    return (lambda w: cosine.spreadout(w, margin=margin, eps=eps), cosine.spreadout_backward,
            {"weight": _array(rng, k, d, c)})


@_layer("attention")
def _attention(rng):
    k, n, t, heads, d = _sizes(rng, 2, 2, 5, 3, 3)
    q, key, v = (_array(rng, k, n, t, heads * d, largest=largest) for largest in (SATURATED ** 0.5,) * 2 + (LARGEST,))
    return lambda *a: attention.attention(*a, heads=heads), attention.attention_backward, {"q": q, "k": key, "v": v}


@_layer("add_position")
def _add_position(rng):
    k, n, t, d = _sizes(rng, 3, 4, 5, 5)
    return tokens.add_position, tokens.add_position_backward, {"x": _array(rng, k, n, t, d),
                                                               "position": _array(rng, k, t, d)}


@_layer("prepend_token")
def _prepend_token(rng):
    k, n, t, d = _sizes(rng, 3, 4, 5, 5)
    return tokens.prepend_token, tokens.prepend_token_backward, {"x": _array(rng, k, n, t, d),
                                                                 "token": _array(rng, k, d)}


@_layer("first_token")
def _first_token(rng):
    return tokens.first_token, tokens.first_token_backward, {"x": _array(rng, *_sizes(rng, 3, 4, 5, 5))}
