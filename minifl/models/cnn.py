"""The paper's CNN: two 5x5 convolutions with max-pooling, then dense layers (its Table 7).

    conv 5x5 -> C1, activation, max-pool 2
    conv 5x5 -> C2, activation, max-pool 2
    flatten, then for each width of `dense`: linear, activation
    classifier: linear without bias (unless bias = "all") from the last feature to the classes

As released by the authors dense is 384, 192 (797,248 weights for 10 classes); as printed in Table 7 it is 384.
"""

from dataclasses import dataclass, field
from functools import cached_property

from minifl.errors import InputError
from minifl.fast import max_pool2d, max_pool2d_backward
from minifl.layers.linear import flatten, flatten_backward
from minifl.models.arrangement import Arrangement
from minifl.models.blocks import (classify, classify_backward, convolve, convolve_backward, dense, dense_backward, unit,
                                  unit_backward)
from minifl.models.network import Network, Row, conv_row, dense_row, unit_row
from minifl.models.norms import KINDS

KERNEL = 5
RELEASED = (384, 192)
TABLE7 = (384,)


@dataclass(frozen=True)
class CNN(Network):
    """The network for images of image_shape (H, W, C0), at least 16x16, with 5x5 convolutions of `channels` = (C1, C2).

    plan raises InputError if the images are too small or the groups of group norm do not divide the channels.
    """
    num_classes: int = 10
    image_shape: tuple = (32, 32, 3)
    channels: tuple = (64, 64)
    dense: tuple = RELEASED
    arrangement: Arrangement = field(default_factory=Arrangement)
    branches = False
    widths = ("channels", "dense")

    @cached_property
    def plan(self):
        arr, shape, rows = self.arrangement, self.image_shape, []
        self.check_arrangement()
        if min(shape[:2]) < 16:
            raise InputError(f"--model cnn needs images of at least 16x16 pixels, these have {shape[0]}x{shape[1]}.")
        for i, channels in enumerate(self.channels, start=1):
            rows.append(conv_row(arr, f"conv{i}", shape, KERNEL, channels))
            rows.append(unit_row(arr, f"norm{i}", rows[-1].shape, arr.main))
            shape = (rows[-1].shape[0] // 2, rows[-1].shape[1] // 2, channels)
            rows.append(Row(f"pool{i}", "max_pool2d", shape, "max-pool 2"))
        shape = (shape[0] * shape[1] * shape[2],)
        rows.append(Row("flatten", "flatten", shape))
        for i, units in enumerate(self.dense, start=1):
            rows.append(dense_row(arr, f"dense{i}", shape, units))
            shape = rows[-1].shape
            rows.append(unit_row(arr, f"dense{i}.norm", shape, self._kind(i)))
        return (*rows, dense_row(arr, "classifier", shape, self.num_classes, classifier=True))

    def _kind(self, i):
        """The norm at the i-th dense layer; those for maps leave it alone."""
        kind = self.arrangement.last if i == len(self.dense) else self.arrangement.main
        return "identity" if KINDS[kind].maps else kind

    def forward(self, p, x):
        """x (K, N, H, W, C) and the named views p of theta -> logits (K, N, num_classes), cache."""
        arr = self.arrangement
        a, conv1 = convolve(arr, x, p, "conv1")
        a, stage1 = self._unit_and_pool(a, p, "norm1")
        a, conv2 = convolve(arr, a, p, "conv2")
        a, stage2 = self._unit_and_pool(a, p, "norm2")
        a, flat = flatten(a)
        hidden = []
        for i in range(1, len(self.dense) + 1):
            a, layer = dense(a, p, f"dense{i}")
            a, act = unit(arr, a, p, f"dense{i}.norm", self._kind(i))
            hidden.append((layer, act))
        logits, classifier = classify(arr, a, p)
        return logits, (conv1, stage1, conv2, stage2, flat, hidden, classifier)

    def backward(self, dlogits, cache, dfeature=0):
        """dL/dlogits -> the gradient of every parameter block by name, in mirrored order.

        dfeature (K, N, D): what the loss adds to the feature's gradient besides what comes through the logits.
        """
        arr = self.arrangement
        conv1, stage1, conv2, stage2, flat, hidden, classifier = cache
        g = {}
        d = classify_backward(arr, dlogits, classifier, g) + dfeature
        for i in range(len(self.dense), 0, -1):
            layer, act = hidden[i - 1]
            d = unit_backward(arr, d, act, g, f"dense{i}.norm", self._kind(i))
            d = dense_backward(d, layer, g, f"dense{i}")
        d = flatten_backward(d, flat)
        d = self._unit_and_pool_backward(d, stage2, g, "norm2")
        d = convolve_backward(arr, d, conv2, g, "conv2")
        d = self._unit_and_pool_backward(d, stage1, g, "norm1")
        convolve_backward(arr, d, conv1, g, "conv1", input_gradient=False)
        return g

    def _unit_and_pool(self, a, p, name):
        arr = self.arrangement
        if arr.pool_first:
            a, pool = max_pool2d(a)
            a, act = unit(arr, a, p, name, arr.main)
        else:
            a, act = unit(arr, a, p, name, arr.main)
            a, pool = max_pool2d(a)
        return a, (act, pool)

    def _unit_and_pool_backward(self, d, cache, g, name):
        arr = self.arrangement
        act, pool = cache
        if arr.pool_first:
            d = unit_backward(arr, d, act, g, name, arr.main)
            return max_pool2d_backward(d, pool)
        d = max_pool2d_backward(d, pool)
        return unit_backward(arr, d, act, g, name, arr.main)
