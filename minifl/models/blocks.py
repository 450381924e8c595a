"""What networks are written with: layers under an Arrangement, each a forward and a backward by the block's name.

Forward functions read the blocks p[name + ".weight"], ... of the named views p of theta; backward functions put the
gradients of the same blocks into `grads`. A batch norm normalizes with p[name + ".mean"] and p[name + ".variance"] where
p holds them (evaluation mode) and with its batch's own otherwise; then its backward puts what the batch had under these
names into grads, from which running statistics are gathered.
"""

from typing import Any

from minifl.backend import Array
from minifl.errors import unknown
from minifl.fast import conv2d, conv2d_backward
from minifl.layers import norm, weights
from minifl.layers.linear import linear, linear_backward
from minifl.models.arrangement import ACTIVATIONS, Arrangement
from minifl.models.norms import KINDS


def activate(arrangement: Arrangement, x: Array) -> tuple[Array, Any]:
    """The activation. Returns y, cache."""
    return ACTIVATIONS[arrangement.activation].forward(x)


def activate_backward(arrangement: Arrangement, dy: Array, cache: Any) -> Array:
    """dL/dy -> dL/dx."""
    return ACTIVATIONS[arrangement.activation].backward(dy, cache)


def normalize(arrangement: Arrangement, x: Array, p: dict, name: str, kind: str) -> tuple[Array, Any]:
    """The norm of that kind at the activation `name`, with its gain and bias if learnable. Returns y, cache."""
    found = _of_kind(kind)
    affine = (p[f"{name}.gain"], p[f"{name}.bias"]) if arrangement.learnable and found.gain else ()
    options = {option: getattr(arrangement, option) for option in found.options}
    if found.gain == "own":
        return found.forward(x, *affine, **options)
    if found.evaluated and f"{name}.mean" in p:
        y, cache = found.evaluated[0](x, p[f"{name}.mean"], p[f"{name}.variance"])
    else:
        y, cache = found.forward(x, **options)
    if not affine:
        return y, cache
    y, affine_cache = norm.affine(y, *affine)
    return y, (cache, affine_cache)


def normalize_backward(arrangement: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    """Return dL/dx and put the gradients of gain and bias, if any, into grads."""
    found = _of_kind(kind)
    if found.gain == "own":
        dx, grads[f"{name}.gain"], grads[f"{name}.bias"] = found.backward(dy, cache)
        return dx
    if arrangement.learnable and found.gain:
        cache, affine_cache = cache
        dy, grads[f"{name}.gain"], grads[f"{name}.bias"] = norm.affine_backward(dy, affine_cache)
    if not found.evaluated:
        return found.backward(dy, cache)
    if not isinstance(cache, tuple):      # evaluation mode
        return found.evaluated[1](dy, cache)
    grads[f"{name}.mean"], grads[f"{name}.variance"] = found.seen(cache)
    return found.backward(dy, cache)


def _of_kind(kind):
    if kind not in KINDS:
        raise unknown("the kind of norm", kind, KINDS)
    return KINDS[kind]


def unit(arrangement: Arrangement, x: Array, p: dict, name: str, kind: str) -> tuple[Array, Any]:
    """Activation and norm in the arrangement's order. Returns y, cache."""
    if arrangement.position == "after":
        x, act_cache = activate(arrangement, x)
        y, norm_cache = normalize(arrangement, x, p, name, kind)
    else:
        x, norm_cache = normalize(arrangement, x, p, name, kind)
        y, act_cache = activate(arrangement, x)
    return y, (act_cache, norm_cache)


def unit_backward(arrangement: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    """Return dL/dx; gradients of the norm's parameters go into grads."""
    act_cache, norm_cache = cache
    if arrangement.position == "after":
        dx = normalize_backward(arrangement, dy, norm_cache, grads, name, kind)
        return activate_backward(arrangement, dx, act_cache)
    dx = activate_backward(arrangement, dy, act_cache)
    return normalize_backward(arrangement, dx, norm_cache, grads, name, kind)


def convolve(arrangement: Arrangement, x: Array, p: dict, name: str, **options) -> tuple[Array, Any]:
    """The convolution `name`, with standardized weights if the arrangement says so. Returns y, cache."""
    weight, weight_cache = p[f"{name}.weight"], None
    if arrangement.standardize:
        weight, weight_cache = weights.standardize(weight)
    y, cache = conv2d(x, weight, p.get(f"{name}.bias"), **options)
    return y, (cache, weight_cache)


def convolve_backward(arrangement: Arrangement, dy: Array, cache: Any, grads: dict, name: str, **options) -> Array:
    """Return dL/dx; gradients of weight and bias go into grads."""
    cache, weight_cache = cache
    dx, dweight, grads[f"{name}.bias"] = conv2d_backward(dy, cache, **options)
    if arrangement.standardize:
        dweight = weights.standardize_backward(dweight, weight_cache)
    grads[f"{name}.weight"] = dweight
    return dx


def dense(x: Array, p: dict, name: str) -> tuple[Array, Any]:
    """The linear layer `name`. Returns y, cache."""
    return linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def dense_backward(dy: Array, cache: Any, grads: dict, name: str) -> Array:
    """Return dL/dx; gradients of weight and bias go into grads."""
    dx, grads[f"{name}.weight"], grads[f"{name}.bias"] = linear_backward(dy, cache)
    return dx


def classify(arrangement: Arrangement, feature: Array, p: dict) -> tuple[Array, Any]:
    """The logits of the feature (K, N, D): the linear layer "classifier" of every network. Returns logits, cache."""
    weight, weight_cache = p["classifier.weight"], None
    if arrangement.head == "cosine":
        weight, weight_cache = weights.unit_columns(weight)
    logits, cache = linear(feature, weight, p.get("classifier.bias"))
    return logits, (feature, cache, weight_cache)


def classify_backward(arrangement: Arrangement, dlogits: Array, cache: Any, grads: dict) -> Array:
    """Return dL/dfeature; gradients of weight and bias go into grads."""
    _, cache, weight_cache = cache
    dfeature, dweight, grads["classifier.bias"] = linear_backward(dlogits, cache)
    if arrangement.head == "cosine":
        dweight = weights.unit_columns_backward(dweight, weight_cache)
    grads["classifier.weight"] = dweight
    return dfeature
