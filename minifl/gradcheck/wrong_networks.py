"""Wrong backward passes of whole networks: they stand in the place of functions that the networks call."""

from typing import Any

from minifl.backend import Array
from minifl.fast import conv
from minifl.layers import batchnorm
from minifl.models import blocks, resnet
from minifl.models.arrangement import Arrangement
from minifl.models.network import Network

# The right functions under names of their own, for mutants that stand in their place and call them.
_normalize_backward = blocks.normalize_backward


def conv_input_gradient_halved(dy: Array, cache: Any, *, input_gradient: bool = True) -> tuple:
    dx, dweight, dbias = conv.conv2d_backward(dy, cache, input_gradient=input_gradient)
    return None if dx is None else dx / 2, dweight, dbias


def unit_order(arr: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    act_cache, norm_cache = cache
    dx = blocks.activate_backward(arr, dy, act_cache)
    return blocks.normalize_backward(arr, dx, norm_cache, grads, name, kind)


def norm_skipped(arr: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    return dy


def inner_norm_skipped(arr: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    """All norms but that of the CNN's last feature."""
    return _normalize_backward(arr, dy, cache, grads, name, kind) if name == "dense2.norm" else dy


def branch_norm_skipped(arr: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    return dy if name.endswith("norm1") else _normalize_backward(arr, dy, cache, grads, name, kind)


def block_norm_skipped(arr: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    return dy if name.endswith("norm2") else _normalize_backward(arr, dy, cache, grads, name, kind)


def batch_norm_treated_as_fixed(arr: Arrangement, dy: Array, cache: Any, grads: dict, name: str, kind: str) -> Array:
    dx = _normalize_backward(arr, dy, cache, grads, name, kind)
    return batchnorm.batch_norm_fixed_backward(dy, cache[1]) if isinstance(cache, tuple) else dx


# --- the residual block ------------------------------------------------------------------------------------

def _shares(net, block, dy, cache, g):
    """(what the branch returns to x, what the shortcut returns, the gradient of their sum): the right ones."""
    arr, name = net.arrangement, block.name
    conv1, act1, conv2, shortcut, act2 = cache
    d_sum = resnet.unit_backward(arr, dy, act2, g, f"{name}.norm2", block.end)
    d = resnet.convolve_backward(arr, d_sum, conv2, g, f"{name}.conv2")
    d = resnet.unit_backward(arr, d, act1, g, f"{name}.norm1", arr.branch)
    d_main = resnet.convolve_backward(arr, d, conv1, g, f"{name}.conv1")
    if block.projected:
        return d_main, resnet.convolve_backward(arr, d_sum, shortcut, g, f"{name}.shortcut"), d_sum
    return d_main, d_sum, d_sum


def shortcut_dropped(net: Network, block: Any, dy: Array, cache: Any, g: dict) -> Array:
    return _shares(net, block, dy, cache, g)[0]


def shortcut_twice(net: Network, block: Any, dy: Array, cache: Any, g: dict) -> Array:
    d_main, d_shortcut, _ = _shares(net, block, dy, cache, g)
    return d_main + 2 * d_shortcut


def branch_dropped(net: Network, block: Any, dy: Array, cache: Any, g: dict) -> Array:
    return _shares(net, block, dy, cache, g)[1]


def projection_input_dropped(net: Network, block: Any, dy: Array, cache: Any, g: dict) -> Array:
    d_main, d_shortcut, _ = _shares(net, block, dy, cache, g)
    return d_main if block.projected else d_main + d_shortcut


def shortcut_behind_the_activation(net: Network, block: Any, dy: Array, cache: Any, g: dict) -> Array:
    """The shortcut handed the block's dy, not that of the sum: the last activation with its norm left out."""
    d_main, d_shortcut, _ = _shares(net, block, dy, cache, g)
    return d_main + (d_shortcut if block.projected else dy)
