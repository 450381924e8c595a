"""What networks are written with: layers under an Arrangement, each a forward and a backward by the block's name.

Forward functions read the blocks p[name + ".weight"], ... of the named views p of theta; backward functions put the
gradients of the same blocks into `grads`. A batch norm normalizes with p[name + ".mean"] and p[name + ".variance"] where
p holds them (evaluation mode) and with its batch's own otherwise; then its backward puts what the batch had under these
names into grads, from which running statistics are gathered.
"""

from minifl.errors import unknown
from minifl.fast import conv2d, conv2d_backward
from minifl.layers import activations, batchnorm, norm, weights
from minifl.layers.linear import linear, linear_backward
from minifl.models.arrangement import KINDS


def activate(arrangement, x):
    """The activation. Returns y, cache."""
    return _activation(arrangement)(x)


def activate_backward(arrangement, dy, cache):
    """dL/dy -> dL/dx."""
    return _activation(arrangement, "_backward")(dy, cache)


def _activation(arrangement, suffix=""):
    return getattr(activations, arrangement.activation.replace("-", "_") + suffix)


def normalize(arrangement, x, p, name, kind):
    """The norm of that kind at the activation `name`, with its gain and bias if learnable. Returns y, cache."""
    if kind == "identity":
        return x, None
    if kind == "s":
        return norm.shift(x)
    if kind == "n":
        y, cache = norm.feature_norm(x)
    elif kind == "mv":
        y, cache = norm.mv_norm(x)
    elif kind == "gn":
        y, cache = norm.group_norm(x, groups=arrangement.groups)
    elif kind == "rms":
        y, cache = norm.rms_norm(x)
    elif kind == "in":
        y, cache = norm.instance_norm(x)
    elif kind == "bn" and f"{name}.mean" in p:
        y, cache = batchnorm.batch_norm_fixed(x, p[f"{name}.mean"], p[f"{name}.variance"])
    elif kind == "bn":
        y, cache = batchnorm.batch_norm(x)
    else:
        raise unknown("the kind of norm", kind, KINDS)
    if not arrangement.learnable:
        return y, cache
    y, affine_cache = norm.affine(y, p[f"{name}.gain"], p[f"{name}.bias"])
    return y, (cache, affine_cache)


def normalize_backward(arrangement, dy, cache, grads, name, kind):
    """Return dL/dx and put the gradients of gain and bias, if any, into grads."""
    if kind == "identity":
        return dy
    if kind == "s":
        return norm.shift_backward(dy, cache)
    if arrangement.learnable:
        cache, affine_cache = cache
        dy, grads[f"{name}.gain"], grads[f"{name}.bias"] = norm.affine_backward(dy, affine_cache)
    if kind == "n":
        return norm.feature_norm_backward(dy, cache)
    if kind == "mv":
        return norm.mv_norm_backward(dy, cache)
    if kind == "gn":
        return norm.group_norm_backward(dy, cache)
    if kind == "rms":
        return norm.rms_norm_backward(dy, cache)
    if kind == "in":
        return norm.instance_norm_backward(dy, cache)
    if kind != "bn":
        raise unknown("the kind of norm", kind, KINDS)
    if not isinstance(cache, tuple):
        return batchnorm.batch_norm_fixed_backward(dy, cache)
    grads[f"{name}.mean"], grads[f"{name}.variance"] = batchnorm.batch_statistics(cache)
    return batchnorm.batch_norm_backward(dy, cache)


def unit(arrangement, x, p, name, kind):
    """Activation and norm in the arrangement's order. Returns y, cache."""
    if arrangement.position == "after":
        x, act_cache = activate(arrangement, x)
        y, norm_cache = normalize(arrangement, x, p, name, kind)
    else:
        x, norm_cache = normalize(arrangement, x, p, name, kind)
        y, act_cache = activate(arrangement, x)
    return y, (act_cache, norm_cache)


def unit_backward(arrangement, dy, cache, grads, name, kind):
    """Return dL/dx; gradients of the norm's parameters go into grads."""
    act_cache, norm_cache = cache
    if arrangement.position == "after":
        dx = normalize_backward(arrangement, dy, norm_cache, grads, name, kind)
        return activate_backward(arrangement, dx, act_cache)
    dx = activate_backward(arrangement, dy, act_cache)
    return normalize_backward(arrangement, dx, norm_cache, grads, name, kind)


def convolve(arrangement, x, p, name, **options):
    """The convolution `name`, with standardized weights if the arrangement says so. Returns y, cache."""
    weight, weight_cache = p[f"{name}.weight"], None
    if arrangement.standardize:
        weight, weight_cache = weights.standardize(weight)
    y, cache = conv2d(x, weight, p.get(f"{name}.bias"), **options)
    return y, (cache, weight_cache)


def convolve_backward(arrangement, dy, cache, grads, name, **options):
    """Return dL/dx; gradients of weight and bias go into grads."""
    cache, weight_cache = cache
    dx, dweight, grads[f"{name}.bias"] = conv2d_backward(dy, cache, **options)
    if arrangement.standardize:
        dweight = weights.standardize_backward(dweight, weight_cache)
    grads[f"{name}.weight"] = dweight
    return dx


def dense(x, p, name):
    """The linear layer `name`. Returns y, cache."""
    return linear(x, p[f"{name}.weight"], p.get(f"{name}.bias"))


def dense_backward(dy, cache, grads, name):
    """Return dL/dx; gradients of weight and bias go into grads."""
    dx, grads[f"{name}.weight"], grads[f"{name}.bias"] = linear_backward(dy, cache)
    return dx


def classify(arrangement, feature, p):
    """The logits of the feature (K, N, D): the linear layer "classifier" of every network. Returns logits, cache."""
    weight, weight_cache = p["classifier.weight"], None
    if arrangement.head == "cosine":
        weight, weight_cache = weights.unit_columns(weight)
    logits, cache = linear(feature, weight, p.get("classifier.bias"))
    return logits, (feature, cache, weight_cache)


def classify_backward(arrangement, dlogits, cache, grads):
    """Return dL/dfeature; gradients of weight and bias go into grads."""
    _, cache, weight_cache = cache
    dfeature, dweight, grads["classifier.bias"] = linear_backward(dlogits, cache)
    if arrangement.head == "cosine":
        dweight = weights.unit_columns_backward(dweight, weight_cache)
    grads["classifier.weight"] = dweight
    return dfeature
