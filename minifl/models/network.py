"""What the networks have in common: a plan, and what follows from it."""

import math
from collections.abc import Callable
from functools import cached_property
from typing import NamedTuple

import numpy as np

from minifl.errors import InputError
from minifl.models.arrangement import Arrangement
from minifl.models.norms import NORMS
from minifl.params import Entry, Spec


class Row(NamedTuple):
    """One step of a network on one example."""
    name: str
    kind: str             # the function that computes it, of minifl/layers or blocks.py
    shape: tuple          # of its output
    what: str = ""        # for people
    entries: tuple = ()   # its parameter blocks and running statistics
    flops: int = 0        # of its forward pass, see Network.flops
    stride: int = 1       # of a convolution
    steps: tuple = ()     # of a unit or norm: its activation and its kind of norm, in order


class Network:
    """A frozen description of a network.

    Each has, besides its fields,
        plan                                its steps in forward order, a tuple of Rows; InputError if they do not fit
        forward(p, x)                       x (K, N, H, W, C), named views p of theta -> logits (K, N, classes), cache
        backward(dlogits, cache, dfeature)  -> the gradient of every parameter block by name, in mirrored order
    written out by hand. The cache's last part is that of the classifier, which keeps the feature first.

    branches, maps   whether it has residual branches; whether norms stand on maps somewhere
    widths           the fields, a number or several, that --width multiplies
    activation       where none is chosen
    """
    arrangement: Arrangement
    image_shape: tuple
    plan: tuple
    forward: Callable
    backward: Callable
    branches = maps = True
    widths = ()
    activation = "relu"

    @classmethod
    def at_width(cls, width: float, **fields):
        """The network whose `widths` are multiplied by width, rounded to whole numbers of at least 1."""
        for name in cls.widths:
            sizes = fields.get(name, getattr(cls, name))
            scaled = tuple(max(1, round(width * size)) for size in np.atleast_1d(sizes).tolist())
            fields[name] = scaled if isinstance(sizes, tuple) else scaled[0]
        return cls(**fields)

    def check_arrangement(self) -> None:
        """InputError for an arrangement that makes no sense in this network."""
        name, norm = type(self).__name__.lower(), self.arrangement.norm
        if NORMS[norm].inside and not self.branches:
            raise InputError(f"--norm {norm} stands inside residual blocks, which --model {name} has not; valid there are "
                             f"{', '.join(name for name in NORMS if not NORMS[name].inside)}.")
        if not self.maps and any(kind.maps for kind in NORMS[norm].kinds):
            raise InputError(f"--norm {norm} needs maps, and --model {name} has vectors only; choose another norm or model.")

    @cached_property
    def spec(self) -> Spec:
        """The parameter blocks of one client, in forward order."""
        return Spec(tuple(entry for row in self.plan for entry in row.entries if not entry.statistic))

    @cached_property
    def statistics(self) -> Spec:
        """The running statistics of batch norm of one client; of size 0 without batch norm."""
        return Spec(tuple(entry for row in self.plan for entry in row.entries if entry.statistic))

    @cached_property
    def batch_norm_blocks(self) -> tuple[str, ...]:
        """The names of the gains and biases that belong to batch norms."""
        norms = {entry.name.rpartition(".")[0] for entry in self.statistics.entries}
        return tuple(entry.name for entry in self.spec.entries if entry.name.rpartition(".")[0] in norms)

    @cached_property
    def flops(self) -> int:
        """Of a forward pass of one example: 2 for each multiply-add of convolutions, linear layers and attention
        products; biases, norms, activations and pooling are not counted, as is usual."""
        return sum(row.flops for row in self.plan)

    def feature(self, cache):
        """The feature that the classifier saw, (K, N, D)."""
        classifier = cache[-1]
        return classifier[0]


def weight_entries(name: str, shape: tuple, bias: bool) -> tuple[Entry, ...]:
    """Weight, and bias if there is one, of a linear or convolution layer; the last axis is the output."""
    fan_in = math.prod(shape[:-1])
    entries = (Entry(f"{name}.weight", shape, fan_in=fan_in),)
    return entries + ((Entry(f"{name}.bias", shape[-1:], fan_in=fan_in),) if bias else ())


def conv_row(arrangement: Arrangement, name: str, image: tuple, kernel: int, channels: int, *, stride: int = 1,
             padding: int = 0) -> Row:
    """A square convolution on an image (H, W, C)."""
    height, width, c = image
    shape = (*((side + 2 * padding - kernel) // stride + 1 for side in (height, width)), channels)
    if min(shape) < 1:
        raise InputError(f"the images are too small for this network: a {kernel}x{kernel} convolution meets a map of "
                         f"{height}x{width} at {name}.")
    entries = weight_entries(name, (kernel, kernel, c, channels), arrangement.has_bias())
    what = f"conv {kernel}x{kernel}" + (f", stride {stride}" if stride > 1 else "")
    return Row(name, "convolve", shape, what, entries, 2 * math.prod(shape) * kernel * kernel * c, stride)


def dense_row(arrangement: Arrangement, name: str, shape: tuple, units: int, *, classifier: bool = False) -> Row:
    """A linear layer on the last axis of an example of that shape."""
    entries = weight_entries(name, (shape[-1], units), arrangement.has_bias(classifier))
    what = "linear" + (", weights of length 1" if classifier and arrangement.head == "cosine" else "")
    return Row(name, "classify" if classifier else "dense", (*shape[:-1], units), what, entries,
               2 * math.prod(shape) * units)


def unit_row(arrangement: Arrangement, name: str, shape: tuple, kind: str) -> Row:
    """An activation with the norm of that kind."""
    steps = (arrangement.activation, *(() if kind == "identity" else (kind,)))
    steps = steps if arrangement.position == "after" else steps[::-1]
    what = ", ".join(step.rpartition(":")[2] for step in steps)     # of one's own FILE.py:my_norm the name
    return Row(name, "unit", shape, what, arrangement.entries(name, shape[-1], kind), steps=steps)


def norm_rows(arrangement: Arrangement, name: str, shape: tuple, kind: str) -> tuple[Row, ...]:
    """A norm of that kind that stands alone; no row for the identity."""
    if kind == "identity":
        return ()
    what, entries = kind.rpartition(":")[2], arrangement.entries(name, shape[-1], kind)
    return (Row(name, "normalize", shape, what, entries, steps=(kind,)),)
