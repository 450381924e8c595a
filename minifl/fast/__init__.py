"""Functions of minifl/layers once more, written for speed: same arguments, same y and gradients, other caches.

What a layer computes and why its gradient is right stands in minifl/layers, and is read there. Here the same is arranged
so that it takes less time and memory; every function has the name of its textbook twin and is held against it by
tests/fast, has cases and mutants of its own in minifl/gradcheck, and nothing in minifl/layers knows of it.

A network has the fast form of a layer by the line that imports it, and that is the whole choice:

    from minifl.fast import conv2d, conv2d_backward             # what networks train with
    from minifl.layers.conv import conv2d, conv2d_backward      # the same, as it is taught
"""

from minifl.fast.conv import conv2d, conv2d_backward
from minifl.fast.pool import max_pool2d, max_pool2d_backward

__all__ = ["conv2d", "conv2d_backward", "max_pool2d", "max_pool2d_backward"]
