"""Where a network normalizes, and what else every network offers alike.

A network has a norm at each of its activations. An arrangement names the one on the main path, the one at the last
activation, whose output is the feature that the classifier sees, and the one inside residual branches:

    --norm         main path   last   branch
    none           -           -      -         FedAvg's plain ("vanilla") network
    fn             -           n      -         FedFN: n on the last feature only
    fn-all         n           n      -         n at every activation of the main path (equal to fn by Proposition 1)
    fn-inside      -           n      n         fn and n inside the blocks (Table 13); another network than fn
    fn-mv-inside   -           n      n_MV      fn and n_MV inside the blocks (Table 13)
    ln             n_MV        n_MV   n_MV      FedLN: MV norm at every activation (for a ResNet eq. 10)
    ln-reduced     s           n_MV   n_MV      shift on the main path, MV norm last (equal to ln by Proposition 2; for
                                                a ResNet eq. 11, which is not)
    gn             GN          GN     GN        MV norm within groups of channels (the paper uses 2 groups)
    in             IN          -      IN        instance norm, on maps; vectors are left alone, IN would make them 0, and
                                                so is the last activation, of whose maps pooling would leave 0
    rms            RMS         RMS    RMS       n with eps in the root
    bn             BN          BN     BN        batch norm; whose its statistics are: minifl/fl/statistics.py

Learnable norms carry a gain and a bias for each channel (for vectors: each feature); s has none.
"""

from dataclasses import dataclass

from minifl.errors import InputError, unknown
from minifl.params import Entry

WHERE = {
    "none": ("identity", "identity", "identity"),
    "fn": ("identity", "n", "identity"),
    "fn-all": ("n", "n", "identity"),
    "fn-inside": ("identity", "n", "n"),
    "fn-mv-inside": ("identity", "n", "mv"),
    "ln": ("mv", "mv", "mv"),
    "ln-reduced": ("s", "mv", "mv"),
    "gn": ("gn", "gn", "gn"),
    "in": ("in", "identity", "in"),
    "rms": ("rms", "rms", "rms"),
    "bn": ("bn", "bn", "bn"),
}
KINDS = ("identity", "s", "n", "mv", "gn", "in", "rms", "bn")     # that blocks.normalize has
POSITIONS = ("after", "before")
BIASES = ("none", "hidden", "all")
ACTIVATIONS = ("relu", "leaky-relu", "elu", "gelu", "silu", "softplus", "tanh", "sigmoid")
HEADS = ("linear", "cosine")


@dataclass(frozen=True)
class Arrangement:
    """Choices that every model offers alike.

    norm         a key of WHERE
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
        for option, value, valid in (("--norm", self.norm, WHERE),
                                     ("--norm-position", self.position, POSITIONS),
                                     ("--bias", self.bias, BIASES),
                                     ("--activation", self.activation, ACTIVATIONS),
                                     ("--head", self.head, HEADS)):
            if value not in valid:
                raise unknown(option, value, valid)
        for kind in WHERE[self.norm]:
            if kind not in KINDS:
                raise unknown(f"--norm {self.norm}: the kind of norm", kind, KINDS)
        if self.groups < 1:
            raise InputError(f"--groups {self.groups} is invalid; it must be at least 1.")

    @property
    def main(self):
        """The norm at the activations of the main path, but for the last."""
        return WHERE[self.norm][0]

    @property
    def last(self):
        """The norm at the last activation."""
        return WHERE[self.norm][1]

    @property
    def branch(self):
        """The norm inside residual branches."""
        return WHERE[self.norm][2]

    def entries(self, name, channels, kind):
        """Parameter blocks, and running statistics, of a norm of that kind at the activation `name`."""
        if kind == "gn" and channels % self.groups:
            raise InputError(f"--groups {self.groups} does not divide the {channels} channels of {name}.")
        shape, entries = (channels,), ()
        if self.learnable and kind not in ("identity", "s"):
            entries += (Entry(f"{name}.gain", shape, constant=1.0), Entry(f"{name}.bias", shape))
        if kind == "bn":
            entries += (Entry(f"{name}.mean", shape, statistic=True),
                        Entry(f"{name}.variance", shape, constant=1.0, statistic=True))
        return entries

    def has_bias(self, classifier=False):
        """Whether a hidden layer, or the classifier, carries a bias."""
        return self.bias == "all" or (self.bias == "hidden" and not classifier)

    @property
    def pool_first(self):
        """Whether an inner activation may be computed after the max-pool that follows it: where no norm stands
        between them. ReLU and leaky ReLU do not decrease, so max(act(x)) = act(max(x)), with the same gradient:
        the winner is the same, and where all of a window's ReLUs are 0 no gradient flows either way. It saves
        three quarters of the activation's work. (GELU and SiLU decrease somewhere; the others saturate, where rounding
        makes ties.)
        """
        return self.main == "identity" and self.activation in ("relu", "leaky-relu")


def only_sequential(arrangement, model):
    """InputError for what makes no sense without residual blocks."""
    if arrangement.norm in ("fn-inside", "fn-mv-inside"):
        raise InputError(f"--norm {arrangement.norm} stands inside residual blocks, which --model {model} has not; "
                         f"valid there are {', '.join(name for name in WHERE if 'inside' not in name)}.")
