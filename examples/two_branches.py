"""A network that is not ours, in a file of its own: two branches over the flattened image, one of them gates the other.

    python cli.py gradcheck examples/two_branches.py:TwoBranches
    python cli.py train --data embedded --model examples/two_branches.py:TwoBranches --norm ln
"""

from dataclasses import dataclass, field
from functools import cached_property
from math import prod

from minifl.layers.activations import sigmoid, sigmoid_backward
from minifl.layers.linear import flatten
from minifl.models.arrangement import Arrangement
from minifl.models.blocks import classify, classify_backward, dense, dense_backward, unit, unit_backward
from minifl.models.network import Network, Row, dense_row, unit_row


@dataclass(frozen=True)
class TwoBranches(Network):
    """feature = sigmoid(gate(x)) * act(value(x)), then the classifier."""
    num_classes: int = 10
    image_shape: tuple = (32, 32, 3)
    hidden: int = 64
    arrangement: Arrangement = field(default_factory=Arrangement)
    branches = maps = False      # no residual ones, and vectors only
    widths = ("hidden",)         # what --width multiplies

    @cached_property
    def plan(self):
        self.check_arrangement()
        arr, shape = self.arrangement, (prod(self.image_shape),)
        gate, value = (dense_row(arr, name, shape, self.hidden) for name in ("gate", "value"))
        return (Row("flatten", "flatten", shape), gate, Row("gate.open", "sigmoid", gate.shape, "sigmoid"), value,
                unit_row(arr, "value.norm", value.shape, arr.last),
                Row("product", "product", value.shape, "gate times value"),
                dense_row(arr, "classifier", value.shape, self.num_classes, classifier=True))

    def forward(self, p, x):
        x, _ = flatten(x)
        a, gate = dense(x, p, "gate")
        a, opened = sigmoid(a)
        b, value = dense(x, p, "value")
        b, act = unit(self.arrangement, b, p, "value.norm", self.arrangement.last)
        logits, classifier = classify(self.arrangement, a * b, p)
        return logits, (gate, opened, value, act, a, b, classifier)

    def backward(self, dlogits, cache, dfeature=0):
        """feature = a*b, so da = b d and db = a d."""
        gate, opened, value, act, a, b, classifier = cache
        g = {}
        d = classify_backward(self.arrangement, dlogits, classifier, g) + dfeature
        db = unit_backward(self.arrangement, a * d, act, g, "value.norm", self.arrangement.last)
        dense_backward(db, value, g, "value")
        dense_backward(sigmoid_backward(b * d, opened), gate, g, "gate")
        return g
