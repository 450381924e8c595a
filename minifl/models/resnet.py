"""Residual networks for small images: a 3x3 stem, stages of basic blocks, average pooling, the classifier.

    stem      conv 3x3 -> C1, activation
    stage s   `blocks[s]` basic blocks of C_s channels; from the second stage on the first block halves the map
    head      average-pool `pool` (the whole map where it is smaller), flatten, classifier

    basic block   y = act(shortcut(x) + conv2(act(conv1(x)))),   both 3x3; the shortcut is x itself, or a 1x1
                  convolution without norm where the shape changes

ResNet-18 as the paper has it: 64-128-256-512, two blocks each, pool 4: the feature has 512 numbers for images of 32
px, 2 048 for 64, 25 088 for 224. ResNet-8 and ResNet-20 (He et al. 2016, section 4.2) have three stages of 16-32-64
with one and three blocks and pool 8: 77 thousand and 271 thousand parameters, for machines without a GPU.

Norms stand at every activation (stem, inside the block, at its end), as in the paper's eq. 10; n, feature norm, as the
network's last one stands on the pooled feature, right before the classifier.
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod
from typing import NamedTuple

from minifl.layers.linear import flatten, flatten_backward
from minifl.layers.pool import avg_pool2d, avg_pool2d_backward
from minifl.models.arrangement import Arrangement
from minifl.models.blocks import (classify, classify_backward, convolve, convolve_backward, normalize,
                                  normalize_backward, unit, unit_backward)
from minifl.models.network import Network, Row, conv_row, dense_row, norm_rows, unit_row


class Block(NamedTuple):
    """A basic block."""
    name: str
    channels: int
    stride: int
    projected: bool   # whether the shortcut is a convolution
    end: str          # the norm at its end


@dataclass(frozen=True)
class ResNet(Network):
    """The network for images of image_shape (H, W, C0), of any size.

    plan raises InputError if the groups of group norm do not divide the channels.
    """
    num_classes: int = 10
    image_shape: tuple = (32, 32, 3)
    channels: tuple = (64, 128, 256, 512)
    blocks: tuple = (2, 2, 2, 2)
    pool: int = 4
    arrangement: Arrangement = field(default_factory=Arrangement)
    widths = ("channels",)

    @cached_property
    def _feature_norm(self):
        """The norm of the pooled feature: n if it is the network's last one."""
        return "n" if self.arrangement.last == "n" else "identity"

    @cached_property
    def _blocks(self):
        arr, before, blocks = self.arrangement, self.channels[0], []
        for s, (channels, count) in enumerate(zip(self.channels, self.blocks)):
            for b in range(count):
                stride = 2 if s > 0 and b == 0 else 1
                projected = stride > 1 or channels != before
                blocks.append(Block(f"stage{s + 1}.block{b + 1}", channels, stride, projected, arr.main))
                before = channels
        last = arr.main if arr.last == "n" else arr.last
        return (*blocks[:-1], blocks[-1]._replace(end=last))

    @cached_property
    def plan(self):
        arr = self.arrangement
        rows = [conv_row(arr, "stem", self.image_shape, 3, self.channels[0], padding=1)]
        rows.append(unit_row(arr, "stem.norm", rows[-1].shape, arr.main))
        for name, channels, stride, projected, end in self._blocks:
            before = rows[-1].shape
            rows.append(conv_row(arr, f"{name}.conv1", before, 3, channels, stride=stride, padding=1))
            rows.append(unit_row(arr, f"{name}.norm1", rows[-1].shape, arr.branch))
            rows.append(conv_row(arr, f"{name}.conv2", rows[-1].shape, 3, channels, padding=1))
            if projected:
                rows.append(conv_row(arr, f"{name}.shortcut", before, 1, channels, stride=stride))
            rows.append(unit_row(arr, f"{name}.norm2", rows[-1].shape, end))
        height, width, channels = rows[-1].shape
        size = self._window(height, width)
        rows.append(Row("pool", "avg_pool2d", (height // size, width // size, channels), f"average-pool {size}"))
        shape = (prod(rows[-1].shape),)
        rows.append(Row("flatten", "flatten", shape))
        rows += norm_rows(arr, "feature.norm", shape, self._feature_norm)
        return (*rows, dense_row(arr, "classifier", shape, self.num_classes, classifier=True))

    def _window(self, height, width):
        return min(self.pool, height, width)

    def forward(self, p, x):
        """x (K, N, H, W, C) and the named views p of theta -> logits (K, N, num_classes), cache."""
        arr = self.arrangement
        a, stem = convolve(arr, x, p, "stem", padding=1)
        a, act = unit(arr, a, p, "stem.norm", arr.main)
        blocks = []
        for block in self._blocks:
            a, cache = self._block(block, a, p)
            blocks.append(cache)
        a, pool = avg_pool2d(a, size=self._window(*a.shape[2:4]))
        a, flat = flatten(a)
        a, last = normalize(arr, a, p, "feature.norm", self._feature_norm)
        logits, classifier = classify(arr, a, p)
        return logits, (stem, act, blocks, pool, flat, last, classifier)

    def backward(self, dlogits, cache, dfeature=0):
        """dL/dlogits -> the gradient of every parameter block by name, in mirrored order.

        dfeature (K, N, D): what the loss adds to the feature's gradient besides what comes through the logits.
        """
        arr = self.arrangement
        stem, act, blocks, pool, flat, last, classifier = cache
        g = {}
        d = classify_backward(arr, dlogits, classifier, g) + dfeature
        d = normalize_backward(arr, d, last, g, "feature.norm", self._feature_norm)
        d = flatten_backward(d, flat)
        d = avg_pool2d_backward(d, pool)
        for block, cache in zip(reversed(self._blocks), reversed(blocks)):
            d = self._block_backward(block, d, cache, g)
        d = unit_backward(arr, d, act, g, "stem.norm", arr.main)
        convolve_backward(arr, d, stem, g, "stem", input_gradient=False)
        return g

    def _block(self, block, x, p):
        """One basic block.

            y = norm2(shortcut(x) + conv2(norm1(conv1(x))))

        block    Block; its layers have the names f"{block.name}.conv1" and so on
        x        (K, N, H, W, C)
        p        the named views of theta
        returns  y (K, N, OH, OW, block.channels), cache

        conv1 and conv2 are 3x3 with padding 1, conv1 with block.stride. The shortcut is x itself, or, if
        block.projected, a 1x1 convolution with block.stride named "shortcut". norm1 and norm2 are units, an
        activation with its norm: norm1 of kind arrangement.branch, norm2 of kind block.end.
        """
        arr, name = self.arrangement, block.name
        a, conv1 = convolve(arr, x, p, f"{name}.conv1", stride=block.stride, padding=1)
        a, act1 = unit(arr, a, p, f"{name}.norm1", arr.branch)
        a, conv2 = convolve(arr, a, p, f"{name}.conv2", padding=1)
        shortcut = None
        if block.projected:
            x, shortcut = convolve(arr, x, p, f"{name}.shortcut", stride=block.stride)
        y, act2 = unit(arr, a + x, p, f"{name}.norm2", block.end)
        return y, (conv1, act1, conv2, shortcut, act2)

    def _block_backward(self, block, dy, cache, g):
        """Map dL/dy (K, N, OH, OW, block.channels) to dL/dx (K, N, H, W, C).

        The gradients of the block's parameters go into the dict g, by name.

        Derivation: the sum hands its gradient to both sides, and x receives what comes back from both:

            s = shortcut(x) + branch(x)    =>    dx = shortcut'(ds) + branch'(ds)
        """
        arr, name = self.arrangement, block.name
        conv1, act1, conv2, shortcut, act2 = cache
        d_sum = unit_backward(arr, dy, act2, g, f"{name}.norm2", block.end)
        d = convolve_backward(arr, d_sum, conv2, g, f"{name}.conv2")
        d = unit_backward(arr, d, act1, g, f"{name}.norm1", arr.branch)
        d_main = convolve_backward(arr, d, conv1, g, f"{name}.conv1")
        d_shortcut = convolve_backward(arr, d_sum, shortcut, g, f"{name}.shortcut") if block.projected else d_sum
        return d_main + d_shortcut
