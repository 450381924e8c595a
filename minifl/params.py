"""One flat array per state, and a Spec that names its parts.

theta is (K, P): K clients, P parameters. `Spec.views(theta)` gives a dict of named views that alias theta, so
a model reads p["conv1.weight"] while an algorithm adds and scales whole arrays.
"""

import math
import zlib
from dataclasses import dataclass
from functools import cached_property

import numpy as np

from minifl.backend import Array, get_xp
from minifl.rng import INIT, address


@dataclass(frozen=True)
class Entry:
    """One named parameter block of one client: its shape and how it starts.

    fan_in > 0: uniform in ±1/sqrt(fan_in), PyTorch's default for weights and biases of linear and
    convolution layers; fan_in = 0: the constant `constant` (gains 1, biases of norms 0).
    statistic: not trained, but gathered while training: a running statistic of batch norm
    """
    name: str
    shape: tuple
    fan_in: int = 0
    constant: float = 0.0
    statistic: bool = False

    @property
    def size(self) -> int:
        return math.prod(self.shape)


@dataclass(frozen=True)
class Spec:
    """The named blocks of a flat parameter vector, in order."""
    entries: tuple

    @cached_property
    def size(self) -> int:
        """P, the number of parameters of one client."""
        return sum(entry.size for entry in self.entries)

    @cached_property
    def slices(self) -> dict[str, slice]:
        """name -> slice of the flat axis."""
        stops = np.cumsum([entry.size for entry in self.entries], dtype=int).tolist()
        return {entry.name: slice(stop - entry.size, stop) for entry, stop in zip(self.entries, stops)}

    def views(self, theta: Array) -> dict[str, Array]:
        """name -> view (K, *shape) of theta (K, P); writing to a view writes to theta."""
        return {entry.name: theta[:, self.slices[entry.name]].reshape(theta.shape[0], *entry.shape)
                for entry in self.entries}

    def flatten(self, blocks: dict[str, Array], like: Array) -> Array:
        """The inverse of views: name -> (K, *shape) into one new array (K, P), of the dtype and kind of `like`."""
        flat = get_xp(like).empty((len(like), self.size), dtype=like.dtype)
        for name, view in self.views(flat).items():
            view[...] = blocks[name]
        return flat

    def init(self, seed: int) -> Array:
        """w (P,) float64 on the CPU at its starting point.

        Every block draws from an address made of its name, so that networks that differ only in their norms
        start from the same weights.
        """
        w = np.empty((1, self.size))
        for entry in self.entries:
            view = w[0, self.slices[entry.name]]
            if entry.fan_in:
                bound = 1 / math.sqrt(entry.fan_in)
                view[:] = address(seed, INIT, zlib.crc32(entry.name.encode())).uniform(-bound, bound, entry.size)
            else:
                view[:] = entry.constant
        return w[0]
