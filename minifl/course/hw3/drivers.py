"""Your residual block on its own, between layers that are given: so its tests do not need your convolution."""

import numpy as np

from minifl.course.running import instead, with_arguments


def block(student, x, p, dy=None, *, stride, projected, end, arrangement):
    """Run ResNet._block, and with dy ResNet._block_backward, with every convolution replaced by a plain linear map.

    The map takes every stride-th row and column of x and multiplies each pixel's channels by a matrix, like a 1x1
    convolution, whatever the kernel; it writes down how it was asked for.

    x            (K, N, H, W, C)
    p            the block's parameters by name; "block.conv1.weight" is (K, C, F)
    arrangement  dict, the arguments of Arrangement
    returns      dict: y; asked, a list of (layer, stride, padding); with dy also dx and g, the gradients by name
    """
    resnet = student("minifl.models.resnet")
    net = resnet.ResNet(arrangement=student("minifl.models.arrangement").Arrangement(**arrangement))
    channels = p["block.conv1.weight"].shape[2]
    one, asked = resnet.Block("block", channels, stride, projected, end), []

    def convolve(arrangement, x, p, name, *, stride=1, padding=0):
        asked.append((name, stride, padding))
        kept = x[:, :, ::stride, ::stride]
        y = np.einsum("knhwc,kcf->knhwf", kept, p[f"{name}.weight"])
        bias = p.get(f"{name}.bias")
        if bias is not None:
            y = y + bias.reshape(len(bias), 1, 1, 1, -1)
        return y, (kept, p[f"{name}.weight"], bias, x.shape, stride)

    def convolve_backward(arrangement, dy, cache, grads, name):
        kept, weight, bias, shape, stride = cache
        grads[f"{name}.weight"] = np.einsum("knhwc,knhwf->kcf", kept, dy)
        grads[f"{name}.bias"] = None if bias is None else dy.sum(axis=(1, 2, 3))
        dx = np.zeros(shape, dtype=dy.dtype)
        dx[:, :, ::stride, ::stride] = np.einsum("knhwf,kcf->knhwc", dy, weight)
        return dx

    with instead(resnet, convolve=convolve, convolve_backward=convolve_backward):
        y, cache = net._block(one, x, p)
        if dy is None:
            return {"y": y, "asked": asked}
        dx, (*_, g), _ = with_arguments(net._block_backward, one, dy, cache, {})
    return {"y": y, "asked": asked, "dx": dx, "g": {name: value for name, value in g.items() if value is not None}}
