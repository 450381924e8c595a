"""Multilayer perceptron: flatten, then for each width of `hidden`: linear, activation; then the classifier."""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from minifl.errors import InputError
from minifl.layers.linear import flatten
from minifl.models.arrangement import Arrangement
from minifl.models.blocks import classify, classify_backward, dense, dense_backward, unit, unit_backward
from minifl.models.network import Network, Row, dense_row, unit_row


@dataclass(frozen=True)
class MLP(Network):
    """The network for inputs of image_shape, any number of axes, with hidden layers of these widths."""
    num_classes: int = 10
    image_shape: tuple = (32, 32, 3)
    hidden: tuple = (200, 200)
    arrangement: Arrangement = field(default_factory=Arrangement)
    branches = maps = False
    widths = ("hidden",)

    @cached_property
    def plan(self):
        arr, shape = self.arrangement, (prod(self.image_shape),)
        self.check_arrangement()
        if arr.standardize:
            raise InputError("--standardize-weights is for convolutions, and --model mlp has none; leave it out.")
        rows = [Row("flatten", "flatten", shape)]
        for i, units in enumerate(self.hidden, start=1):
            rows.append(dense_row(arr, f"dense{i}", shape, units))
            shape = rows[-1].shape
            rows.append(unit_row(arr, f"dense{i}.norm", shape, self._kind(i)))
        return (*rows, dense_row(arr, "classifier", shape, self.num_classes, classifier=True))

    def _kind(self, i):
        return self.arrangement.last if i == len(self.hidden) else self.arrangement.main

    def forward(self, p, x):
        """x (K, N, ...) and the named views p of theta -> logits (K, N, num_classes), cache."""
        a, _ = flatten(x)
        hidden = []
        for i in range(1, len(self.hidden) + 1):
            a, layer = dense(a, p, f"dense{i}")
            a, act = unit(self.arrangement, a, p, f"dense{i}.norm", self._kind(i))
            hidden.append((layer, act))
        logits, classifier = classify(self.arrangement, a, p)
        return logits, (hidden, classifier)

    def backward(self, dlogits, cache, dfeature=0):
        """dL/dlogits -> the gradient of every parameter block by name, in mirrored order.

        dfeature (K, N, D): what the loss adds to the feature's gradient besides what comes through the logits.
        """
        hidden, classifier = cache
        g = {}
        d = classify_backward(self.arrangement, dlogits, classifier, g) + dfeature
        for i in range(len(self.hidden), 0, -1):
            layer, act = hidden[i - 1]
            d = unit_backward(self.arrangement, d, act, g, f"dense{i}.norm", self._kind(i))
            d = dense_backward(d, layer, g, f"dense{i}")
        return g
