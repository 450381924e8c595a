"""A profile against its floor: the least time that each layer could take on this machine, layer by layer.

    with FLOPs (convolutions, linear layers, attention)   the same multiply-adds as plain BLAS products in float32 on
                                                          one thread, at the best speed of some products
    without (norms, activations, pooling, loss)           what goes in read once and what comes out written once, at
                                                          the speed of copying a large array

A network's own products may be slower than the best one, so it is a floor and not a forecast. Convolutions can go below
it: minimal filtering (minifl/layers/filtering.py) takes fewer multiplications than the plain product counted here.
"""

from math import prod
from time import perf_counter
from typing import NamedTuple

import numpy as np

from minifl.blas import one_thread
from minifl.runs.profile import AROUND, BACKWARD, FORWARD, LOSS

REPEATS = 5                # of a measurement; the best counts
LARGE = 1024, 1024, 1024
OWN = 3                    # of the network's own products: those of the rows with the most FLOPs
MOST_FLOPS = 10 ** 9       # of one of them; it has fewer rows else
LONGEST = 4096             # of its other sides
COPIED = 2 ** 25           # bytes: larger than the caches of a core


class Speed(NamedTuple):
    """Of this machine, on one thread."""
    flops: float     # a second, of the best product
    products: tuple  # the sizes (rows, inner, columns) of those that were measured, the best one first
    copied: float    # bytes read and written a second


class Line(NamedTuple):
    """A row of the table. Seconds and FLOPs are those of one local step of one client; None: there are none."""
    name: str
    what: str
    forward: float | None
    backward: float | None
    share: float               # of the threads' seconds
    flops: tuple = (0, 0)      # forward, backward
    floor: float | None = None
    other: float = 0.0         # seconds of what is no layer

    @property
    def seconds(self):
        return (self.forward or 0) + (self.backward or 0) + self.other


def measure(model, batch_size):
    """The Speed of this machine, in about half a second."""
    with one_thread():
        times = {}
        for sizes in [LARGE, *_own_products(model, batch_size)]:
            m, d, f = sizes
            a, b, out = (np.full(shape, 0.5, dtype=np.float32) for shape in ((m, d), (d, f), (m, f)))
            times[sizes] = _best(np.matmul, a, b, out) / (2 * m * d * f)
        source = np.ones(COPIED, dtype=np.uint8)
        copying = _best(np.copyto, np.empty_like(source), source)
    best = sorted(times, key=times.get)
    return Speed(1 / times[best[0]], tuple(best), 2 * COPIED / copying)


def lines(profile, batch_size, speed):
    """The Lines of the layers in forward order, then those of what is around them. Needs at least one local step."""
    plan = {row.name: row for row in profile.model.plan}
    known = [*plan, LOSS]
    other = [name for name, direction in profile.spent if direction and name not in known]
    layers = [_layer(profile, name, plan.get(name), batch_size, speed) for name in [*known, *dict.fromkeys(other)]]
    around = [(name, what, profile.spent[name, None].seconds) for name, what in AROUND.items()]
    return layers, [Line(name, what, None, None, _share(profile, seconds), other=seconds / profile.steps)
                    for name, what, seconds in around]


def _layer(profile, name, row, batch_size, speed):
    """The Line of one layer; row: its Row in the plan, if it has one."""
    directions = [profile.spent[name, direction] for direction in (FORWARD, BACKWARD)]
    flops = tuple(row.flops * batch_size * spent.passes / profile.steps if row else 0 for spent in directions)
    nbytes = sum(spent.nbytes for spent in directions) / profile.steps
    return Line(name, row.what if row else "", *(spent.seconds / profile.steps if spent.calls else None
                                                 for spent in directions),
                _share(profile, sum(spent.seconds for spent in directions)), flops,
                sum(flops) / speed.flops if sum(flops) else nbytes / speed.copied)


def _share(profile, seconds):
    return seconds / profile.thread_seconds


def _own_products(model, batch_size):
    """Sizes (rows, inner, columns) of the forward products of the layers with the most FLOPs, cut where large."""
    found = {}
    for row in sorted(model.plan, key=lambda row: -row.flops):
        weights = [entry.shape for entry in row.entries if len(entry.shape) > 1]
        if row.flops and weights:
            d, f = min(prod(weights[0][:-1]), LONGEST), min(weights[0][-1], LONGEST)
            m = min(batch_size * prod(row.shape[:-1]), max(1, MOST_FLOPS // (2 * d * f)))
            found[m, d, f] = None
    return list(found)[:OWN]


def _best(function, *arguments):
    """Seconds of the fastest of some calls."""
    seconds = []
    for _ in range(REPEATS):
        begin = perf_counter()
        function(*arguments)
        seconds.append(perf_counter() - begin)
    return min(seconds)
