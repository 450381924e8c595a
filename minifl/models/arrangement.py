"""What every network offers alike: where it normalizes, its activation, its biases, its head."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

from minifl.errors import InputError, unknown
from minifl.layers import activations
from minifl.models.norms import KINDS, NORMS
from minifl.params import Entry


class Activation(NamedTuple):
    """A pair, f(x) -> y, cache and f_backward(dy, cache) -> dx, and what a network needs of it.

    nbytes  of each number of its output: kept for the way back; there at the same time, forward; backward
    linear  piecewise linear, and nowhere decreasing
    """
    forward: Callable
    backward: Callable
    nbytes: tuple
    linear: bool = False


ACTIVATIONS = {
    "relu": Activation(activations.relu, activations.relu_backward, (1, 8, 8), linear=True),
    "leaky-relu": Activation(activations.leaky_relu, activations.leaky_relu_backward, (1, 16, 16), linear=True),
    "elu": Activation(activations.elu, activations.elu_backward, (5, 16, 16)),
    "gelu": Activation(activations.gelu, activations.gelu_backward, (8, 12, 20)),
    "silu": Activation(activations.silu, activations.silu_backward, (8, 16, 20)),
    "softplus": Activation(activations.softplus, activations.softplus_backward, (4, 16, 24)),
    "tanh": Activation(activations.tanh, activations.tanh_backward, (4, 8, 16)),
    "sigmoid": Activation(activations.sigmoid, activations.sigmoid_backward, (4, 16, 16)),
}
POSITIONS = ("after", "before")
BIASES = ("none", "hidden", "all")
HEADS = ("linear", "cosine")


@dataclass(frozen=True)
class Arrangement:
    """Choices that every model offers alike.

    norm         one of NORMS
    position     the norm stands after or before the activation (in a transformer: the sublayer)
    learnable    norms carry gain and bias
    groups       of group norm
    bias         which linear and convolution layers carry one: none (the paper's networks), hidden (all but the
                 classifier), all
    activation   one of ACTIVATIONS; leaky-relu has the slope 0.01, elu alpha = 1
    standardize  convolutions use standardized weights
    head         linear, or cosine: the classifier's weight vectors have length 1
    """
    norm: str = "none"
    position: str = "after"
    learnable: bool = False
    groups: int = 2
    bias: str = "none"
    activation: str = "relu"
    standardize: bool = False
    head: str = "linear"

    def __post_init__(self):
        for option, value, valid in (("--norm", self.norm, NORMS),
                                     ("--norm-position", self.position, POSITIONS),
                                     ("--bias", self.bias, BIASES),
                                     ("--activation", self.activation, ACTIVATIONS),
                                     ("--head", self.head, HEADS)):
            if value not in valid:
                raise unknown(option, value, valid)
        for kind in NORMS[self.norm][:3]:
            if kind not in KINDS:
                raise unknown(f"--norm {self.norm}: the kind of norm", kind, KINDS)
            if KINDS[kind].gain == "own" and not self.learnable:
                raise InputError(f"--norm {self.norm} has a gain and a bias of its own; choose --norm-affine learnable.")
        if self.groups < 1:
            raise InputError(f"--groups {self.groups} is invalid; it must be at least 1.")

    @property
    def main(self) -> str:
        """The norm at the activations of the main path, but for the last."""
        return NORMS[self.norm].main

    @property
    def last(self) -> str:
        """The norm at the last activation."""
        return NORMS[self.norm].last

    @property
    def branch(self) -> str:
        """The norm inside residual branches."""
        return NORMS[self.norm].branch

    def entries(self, name: str, channels: int, kind: str) -> tuple[Entry, ...]:
        """Parameter blocks, and running statistics, of a norm of that kind at the activation `name`."""
        norm = KINDS[kind]
        if "groups" in norm.options and channels % self.groups:
            raise InputError(f"--groups {self.groups} does not divide the {channels} channels of {name}.")
        shape, entries = (channels,), ()
        if self.learnable and norm.gain:
            entries += (Entry(f"{name}.gain", shape, constant=1.0), Entry(f"{name}.bias", shape))
        if norm.evaluated:
            entries += (Entry(f"{name}.mean", shape, statistic=True),
                        Entry(f"{name}.variance", shape, constant=1.0, statistic=True))
        return entries

    def has_bias(self, classifier: bool = False) -> bool:
        """Whether a hidden layer, or the classifier, carries a bias."""
        return self.bias == "all" or (self.bias == "hidden" and not classifier)

    @property
    def pool_first(self) -> bool:
        """Whether an inner activation may be computed after the max-pool that follows it: where no norm stands
        between them. ReLU and leaky ReLU do not decrease, so max(act(x)) = act(max(x)), with the same gradient:
        the winner is the same, and where all of a window's ReLUs are 0 no gradient flows either way. It saves
        three quarters of the activation's work. (GELU and SiLU decrease somewhere; the others saturate, where rounding
        makes ties.)
        """
        return self.main == "identity" and ACTIVATIONS[self.activation].linear
