"""PyTorch's own functions under the names of minifl's layers, in minifl's layout: LAYER.

Where minifl has no eps in a root, or PyTorch no such layer, it is put together here.
"""

import math

import torch
import torch.nn.functional as F

EPS = 1e-5


def nchw(x):
    return x.permute(0, 3, 1, 2)


def nhwc(x):
    return x.permute(0, 2, 3, 1)


def on_map(f):
    """f on NCHW maps -> f on NHWC maps."""
    return lambda x, *args, **options: nhwc(f(nchw(x), *args, **options))


def on_either(f):
    """f on vectors and NCHW maps -> f on vectors and NHWC maps."""
    return lambda x, *args, **options: (f if x.ndim == 2 else on_map(f))(x, *args, **options)


def linear(x, weight, bias=None):
    return F.linear(x, weight.T, bias)


def conv2d(x, weight, bias=None, *, stride=1, padding=0):
    return nhwc(F.conv2d(nchw(x), weight.permute(3, 2, 0, 1), bias, stride=stride, padding=padding))


def max_pool2d(x, *, size=2, stride=None):
    return F.max_pool2d(x, size, stride)


def avg_pool2d(x, *, size=2, stride=None):
    return F.avg_pool2d(x, size, stride)


def global_avg_pool(x):
    return F.adaptive_avg_pool2d(nchw(x), 1).flatten(1)


def shift(x):
    """Each example minus its mean over everything."""
    return x - x.mean(dim=tuple(range(1, x.ndim)), keepdim=True)


def feature_norm(x, *, eps=EPS):
    v = x.flatten(1)
    return (math.sqrt(v.shape[1]) * F.normalize(v, dim=1, eps=eps)).view_as(x)


def mv_norm(x, *, eps=EPS):
    """PyTorch's layer norm without eps; where the clamp acts, its F.normalize of the centred example."""
    if shift(x).flatten(1).norm(dim=1).min() > eps:
        return F.layer_norm(x, x.shape[1:], eps=0.0)
    return feature_norm(shift(x), eps=eps)


def group_norm(x, *, groups):
    """PyTorch's group norm without eps. x (N, C) or (N, C, H, W).

    Where a group is constant (ReLU left nothing of it) the clamp acts, as in mv_norm.
    """
    v = x.reshape(x.shape[0] * groups, -1)
    if shift(v).norm(dim=1).min() > EPS:
        return F.group_norm(x, groups, eps=0.0)
    return mv_norm(v).view_as(x)


def instance_norm(x, *, eps=EPS):
    """PyTorch's instance norm without eps, x (N, C, H, W); where a map is constant, as in mv_norm."""
    v = x.reshape(x.shape[0] * x.shape[1], -1)
    if shift(v).norm(dim=1).min() > eps:
        return F.instance_norm(x, eps=0.0)
    return feature_norm(shift(v), eps=eps).view_as(x)


def rms_norm(x, *, eps=EPS):
    return F.rms_norm(x, x.shape[1:], eps=eps)


def batch_norm(x, *, eps=EPS):
    return F.batch_norm(x, None, None, training=True, eps=eps)


def batch_norm_fixed(x, mean, variance, *, eps=EPS):
    return F.batch_norm(x, mean, variance, training=False, eps=eps)


def standardize(weight, *, eps=EPS):
    """weight (..., F): each output's weights standardized and divided by the root of their number."""
    rows = weight.flatten(0, -2).T
    variance, mean = torch.var_mean(rows, dim=1, correction=0, keepdim=True)
    return ((rows - mean) / torch.sqrt(variance + eps) / math.sqrt(rows.shape[1])).T.reshape(weight.shape)


def unit_columns(weight, *, eps=EPS):
    return F.normalize(weight, dim=0, eps=eps)


def softplus(x):
    return F.softplus(x, threshold=math.inf)   # by default it is x itself above 20


def per_channel(x, gain, bias):
    """x (N, C) or (N, C, H, W)."""
    shape = (-1,) + (1,) * (x.ndim - 2)
    return x * gain.view(shape) + bias.view(shape)


def layer_norm(x, gain, bias):
    if x.ndim == 2:
        return F.layer_norm(x, x.shape[1:], gain, bias, eps=EPS)
    v = nchw(x)
    return nhwc(per_channel(F.layer_norm(v, v.shape[1:], eps=EPS), gain, bias))


def affine(x, gain, bias):
    return per_channel(x, gain, bias) if x.ndim == 2 else nhwc(per_channel(nchw(x), gain, bias))


def decorrelation(z, *, eps=0.0):
    """The correlations are products of features that layer norm has standardized over the examples."""
    n, d = z.shape
    h = F.layer_norm(z.T, (n,), eps=eps)
    return ((h @ h.T / n) ** 2).sum() / d**2


def decorrelation_released(z, *, eps=1e-8):
    """As FedDecorr's code has it: variance with N - 1, off-diagonal entries alone, their mean over N."""
    n, d = z.shape
    h = (z - z.mean(dim=0)) / torch.sqrt(eps + z.var(dim=0))
    off_diagonal = ~torch.eye(d, dtype=torch.bool)
    return (h.T @ h)[off_diagonal].pow(2).mean() / n


def model_contrastive(feature, positive, negative, *, tau=0.5):
    """As Li et al. 2021 have it: cross-entropy of the two similarities, of which the first is right."""
    similar = torch.stack([F.cosine_similarity(feature, other, dim=1) for other in (positive, negative)], dim=1)
    return F.cross_entropy(similar / tau, torch.zeros(len(feature), dtype=torch.long))


def positive_hinge(feature, weight, labels, *, margin=0.9):
    return (F.relu(margin - F.cosine_similarity(feature, weight.T[labels])) ** 2).mean()


def spreadout(weight, *, margin=1.0):
    distance = 1 - F.cosine_similarity(weight.T[:, None], weight.T[None], dim=2)
    different = ~torch.eye(weight.shape[1], dtype=torch.bool)
    return (F.relu(margin - distance)[different] ** 2).sum()


def attention(q, k, v, *, heads):
    q, k, v = (a.unflatten(2, (heads, -1)).transpose(1, 2) for a in (q, k, v))
    return F.scaled_dot_product_attention(q, k, v).transpose(1, 2).flatten(2)


LAYER = {
    "linear": linear,
    "conv2d": conv2d,
    "flatten": lambda x: x.flatten(1),
    "relu": F.relu,
    "leaky_relu": lambda x, slope=0.01: F.leaky_relu(x, slope),
    "elu": lambda x, alpha=1.0: F.elu(x, alpha),
    "gelu": F.gelu,
    "silu": F.silu,
    "softplus": softplus,
    "tanh": torch.tanh,
    "sigmoid": torch.sigmoid,
    "softmax_cross_entropy": F.cross_entropy,
    "smoothed_cross_entropy": lambda logits, labels, *, smoothing: F.cross_entropy(logits, labels, label_smoothing=smoothing),
    "model_contrastive": model_contrastive,
    "max_pool2d": on_map(max_pool2d),
    "avg_pool2d": on_map(avg_pool2d),
    "global_avg_pool": global_avg_pool,
    "shift": shift,
    "feature_norm": feature_norm,
    "mv_norm": mv_norm,
    "group_norm": on_either(group_norm),
    "instance_norm": on_map(instance_norm),
    "rms_norm": rms_norm,
    "batch_norm": on_either(batch_norm),
    "batch_norm_fixed": on_either(batch_norm_fixed),
    "standardize": standardize,
    "unit_columns": unit_columns,
    "layer_norm": layer_norm,
    "affine": affine,
    "decorrelation": decorrelation,
    "decorrelation_released": decorrelation_released,
    "positive_hinge": positive_hinge,
    "spreadout": spreadout,
    "attention": attention,
    "add_position": lambda x, position: x + position,
    "prepend_token": lambda x, token: torch.cat([token.expand(len(x), 1, -1), x], dim=1),
    "first_token": lambda x: x[:, 0],
}
