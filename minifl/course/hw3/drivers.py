"""Your residual block on its own, between layers that are given: so its tests do not need your convolution."""

from unittest import mock

import numpy as np

from minifl.layers.linear import linear, linear_backward
from minifl.models import resnet
from minifl.models.arrangement import Arrangement


def block(x, p, dy=None, *, stride, projected, end, arrangement):
    """Run ResNet._block, and with dy ResNet._block_backward, with every convolution replaced by a plain linear map.

    The map takes every stride-th row and column of x and multiplies each pixel's channels by a matrix, like a 1x1
    convolution, whatever the kernel; it writes down how it was asked for.

    x            (K, N, H, W, C)
    p            the block's parameters by name; "block.conv1.weight" is (K, C, F)
    arrangement  dict, the arguments of Arrangement
    returns      dict: y; asked, a list of (layer, stride, padding); with dy also dx and g, the gradients by name
    """
    net = resnet.ResNet(arrangement=Arrangement(**arrangement))
    channels = p["block.conv1.weight"].shape[2]
    one, asked, g = resnet.Block("block", channels, stride, projected, end), [], {}

    def convolve(arrangement, x, p, name, *, stride=1, padding=0):
        asked.append((name, stride, padding))
        kept = x[:, :, ::stride, ::stride]
        weight = p[f"{name}.weight"]
        y, cache = linear(kept.reshape(len(x), -1, x.shape[4]), weight, p.get(f"{name}.bias"))
        return y.reshape(*kept.shape[:4], weight.shape[2]), (cache, x.shape, stride)

    def convolve_backward(arrangement, dy, cache, grads, name):
        cache, shape, stride = cache
        d, grads[f"{name}.weight"], grads[f"{name}.bias"] = linear_backward(dy.reshape(len(dy), -1, dy.shape[4]), cache)
        dx = np.zeros(shape, dtype=d.dtype)
        dx[:, :, ::stride, ::stride] = d.reshape(*dy.shape[:4], shape[4])
        return dx

    with mock.patch.multiple(resnet, convolve=convolve, convolve_backward=convolve_backward):
        y, cache = net._block(one, x, p)
        if dy is None:
            return {"y": y, "asked": asked}
        dx = net._block_backward(one, dy, cache, g)
    return {"y": y, "asked": asked, "dx": dx, "g": {name: value for name, value in g.items() if value is not None}}
