"""The norms, each one entry: a kind of norm with its pair and what a network needs of it, and where `--norm` puts them.

A network has a norm at each of its activations. `--norm` names the kind on the main path, the one at the last activation,
whose output is the feature that the classifier sees, and the one inside residual branches. Learnable norms carry a gain
and a bias for each channel (for vectors: each feature); s has none.
"""

from collections.abc import Callable
from typing import NamedTuple

from minifl.layers import batchnorm, norm


def identity(x):
    """No norm."""
    return x, None


def identity_backward(dy, cache):
    """dx = dy."""
    return dy


class Kind(NamedTuple):
    """A norm that can stand at an activation.

    forward, backward  the pair: f(x, **options) -> y, cache; f_backward(dy, cache) -> dx
    options            fields of the Arrangement that forward takes by name
    gain               whether a gain and a bias stand behind it where norms are learnable; "own": forward takes them after
                       x, and backward returns their gradients after dx
    maps               it is for maps, and leaves vectors alone
    channels           it takes each channel's mean out: a bias in front of it has no effect
    evaluated          the pair of evaluation mode, f(x, mean, variance), of a norm over the batch, which has running
                       statistics; () for others
    seen               of the cache of such a norm: mean and variance of the batch
    nbytes             of each number of its output: kept for the way back; there at the same time, forward; backward
    cases              what is gradient-checked: (in words, shape of x, options)
    """
    forward: Callable
    backward: Callable
    options: tuple = ()
    gain: bool | str = True
    maps: bool = False
    channels: bool = False
    evaluated: tuple = ()
    seen: Callable | None = None
    nbytes: tuple = (8, 24, 32)
    cases: tuple = ()


class Norm(NamedTuple):
    """Where an entry of NORMS puts which kind, and its help.

    inside: it is about branches, and makes no sense in a network without any
    """
    main: str
    last: str
    branch: str
    help: str
    inside: bool = False

    @property
    def kinds(self) -> list[Kind]:
        """The kinds that it puts anywhere."""
        return [KINDS[kind] for kind in self[:3]]


VECTOR, MAP, SHORT = ("vector", (2, 3, 7), {}), ("map", (2, 2, 3, 4, 2), {}), ("below the clamp", (2, 3, 7), {"eps": 1.0})

KINDS = {
    "identity": Kind(identity, identity_backward, gain=False),
    "s": Kind(norm.shift, norm.shift_backward, gain=False, nbytes=(0, 12, 12), cases=(VECTOR, MAP)),
    "n": Kind(norm.feature_norm, norm.feature_norm_backward, nbytes=(4, 12, 16), cases=(VECTOR, MAP, SHORT)),
    "mv": Kind(norm.mv_norm, norm.mv_norm_backward, nbytes=(4, 16, 16), cases=(VECTOR, MAP, SHORT)),
    "gn": Kind(norm.group_norm, norm.group_norm_backward, options=("groups",), nbytes=(4, 20, 24), cases=(
        ("vector, 2 groups", (2, 3, 10), {"groups": 2}), ("map, 3 groups", (2, 2, 3, 2, 6), {"groups": 3}))),
    "in": Kind(norm.instance_norm, norm.instance_norm_backward, maps=True, channels=True, nbytes=(4, 20, 24), cases=(
        MAP, ("one channel", (3, 2, 2, 3, 1), {}), ("below the clamp", (2, 2, 3, 2, 3), {"eps": 1.0}))),
    "rms": Kind(norm.rms_norm, norm.rms_norm_backward, nbytes=(4, 12, 16), cases=(
        VECTOR, MAP, ("large eps", (3, 2, 5), {"eps": 0.5}), ("1 number, large eps", (2, 3, 1), {"eps": 0.5}))),
    "bn": Kind(batchnorm.batch_norm, batchnorm.batch_norm_backward, channels=True, nbytes=(4, 12, 20),
               evaluated=(batchnorm.batch_norm_fixed, batchnorm.batch_norm_fixed_backward),
               seen=batchnorm.batch_statistics, cases=(
                   ("vector", (2, 5, 4), {}), ("map", (2, 3, 3, 2, 3), {}), ("1 example, map", (3, 1, 3, 4, 2), {}),
                   ("vector, large eps", (3, 4, 5), {"eps": 0.5}),
                   # with tiny eps two numbers become 1 and -1 whatever they are
                   ("2 examples, large eps", (2, 2, 3), {"eps": 0.5}))),
}

NORMS = {
    "none": Norm("identity", "identity", "identity", "plain"),
    "fn": Norm("identity", "n", "identity", "feature norm last, the paper's FedFN"),
    "fn-all": Norm("n", "n", "identity", "feature norm everywhere"),                # Proposition 1
    "fn-inside": Norm("identity", "n", "n", "fn, and feature norm in residual blocks", inside=True),            # Table 13
    "fn-mv-inside": Norm("identity", "n", "mv", "fn, and MV norm in residual blocks", inside=True),
    "ln": Norm("mv", "mv", "mv", "MV (layer) norm everywhere, the paper's FedLN"),  # for a ResNet eq. 10
    "ln-reduced": Norm("s", "mv", "mv", "shift inside, MV norm last"),              # Proposition 2; for a ResNet eq. 11
    "gn": Norm("gn", "gn", "gn", "group norm everywhere"),                          # the paper uses 2 groups
    # not last: of maps whose channels have mean 0 the pooling behind it would leave exactly 0
    "in": Norm("in", "identity", "in", "instance norm, on maps"),
    "rms": Norm("rms", "rms", "rms", "RMS norm everywhere (feature norm with eps in the root)"),
    "bn": Norm("bn", "bn", "bn", "batch norm everywhere"),
}


def same_places(norm: str, places: tuple[str, ...]) -> str | None:
    """The first norm that has the same kinds at these places ("main", "last", "branch"); None if that is `norm` itself."""
    def at(name):
        return [getattr(NORMS[name], place) for place in places]

    first = next(name for name in NORMS if at(name) == at(norm))
    return None if first == norm else first
