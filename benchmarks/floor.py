"""A run's layers against their floor: the least time that each could take on this machine.

    python benchmarks/floor.py [--model NAME] [--norm NAME] [--width W] [--batch-size N] [--rounds N] [--json FILE]

    with FLOPs (convolutions, linear layers, attention)   the same multiply-adds as plain BLAS products in float32 on
                                                          one thread, at the best speed of some products
    without (norms, activations, pooling, loss)           what goes in read once and what comes out written once, at
                                                          the speed of copying a large array

Some rounds on the embedded data, one worker, are profiled as `train --profile` does, and each row gets its floor. A
network's own products may be slower than the best one, so it is a floor and not a forecast. Convolutions can go below it:
minimal filtering takes fewer multiplications than the plain product that is counted here.
"""

import argparse
import tempfile
from math import prod
from pathlib import Path
from time import perf_counter
from typing import NamedTuple

import numpy as np

import measure
from minifl.backend import keep_freed_memory
from minifl.blas import one_thread
from minifl.data.registry import load
from minifl.models import MODELS
from minifl.runs.profile import BACKWARD, FORWARD, Profile
from minifl.runs.profile_table import HEAD, cells, lines, number
from minifl.runs.run import Placement, split, train
from minifl.runs.settings import settings_for
from minifl.runs.summary import markdown

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


def speed_of(model, batch_size):
    """The Speed of this machine, in about half a second."""
    with one_thread():
        times = {}
        for sizes in [LARGE, *own_products(model, batch_size)]:
            m, d, f = sizes
            a, b, out = (np.full(shape, 0.5, dtype=np.float32) for shape in ((m, d), (d, f), (m, f)))
            times[sizes] = _best(np.matmul, a, b, out) / (2 * m * d * f)
        source = np.ones(COPIED, dtype=np.uint8)
        copying = _best(np.copyto, np.empty_like(source), source)
    best = sorted(times, key=times.get)
    return Speed(1 / times[best[0]], tuple(best), 2 * COPIED / copying)


def floors(profile, layers, speed):
    """Seconds of each of these Lines of layers at that Speed."""
    moved = {line.name: sum(profile.spent[line.name, direction].nbytes for direction in (FORWARD, BACKWARD))
             for line in layers}
    return [sum(line.flops) / speed.flops if sum(line.flops) else moved[line.name] / profile.steps / speed.copied
            for line in layers]


def own_products(model, batch_size):
    """Sizes (rows, inner, columns) of the forward products of the layers with the most FLOPs, cut where large."""
    found = {}
    for row in sorted(model.plan, key=lambda row: -row.flops):
        weights = [entry.shape for entry in row.entries if len(entry.shape) > 1]
        if row.flops and weights:
            d, f = min(prod(weights[0][:-1]), LONGEST), min(weights[0][-1], LONGEST)
            m = min(batch_size * prod(row.shape[:-1]), max(1, MOST_FLOPS // (2 * d * f)))
            found[m, d, f] = None
    return list(found)[:OWN]


def profiled(settings):
    """The Profile of a run with these settings on the embedded data, in a folder that does not stay."""
    dataset = load("embedded")
    profile = Profile(settings.network(dataset.num_classes, dataset.image_shape), 1)
    with tempfile.TemporaryDirectory() as folder, profile:
        for _ in train(settings, dataset, split(settings, dataset), Path(folder) / "run", Placement(workers=1)):
            pass
    return profile


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="cnn", choices=list(MODELS))
    parser.add_argument("--norm", default="none")
    parser.add_argument("--width", type=float, default=1.0)
    parser.add_argument("--batch-size", type=int, default=32)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    keep_freed_memory()
    chosen = {name: getattr(arguments, name) for name in ("model", "norm", "width", "batch_size", "rounds")}
    settings = settings_for("embedded", chosen | {"local_eval_every": 0})
    profile = profiled(settings)
    speed = speed_of(profile.model, settings.batch_size)
    layers, _ = lines(profile, settings.batch_size)
    floor = floors(profile, layers, speed)
    print(markdown([(*HEAD, "floor ms", "/ floor"), *(
        (*cells(line), number(1e3 * least, 3), number(least and line.seconds / least, 2))
        for line, least in zip(layers, floor))]))
    best, *others = ("x".join(map(str, sizes)) for sizes in speed.products)
    print(f"All layers: {1e3 * sum(line.seconds for line in layers):.3f} ms, floor {1e3 * sum(floor):.3f} ms. Floor: the "
          f"layer's multiply-adds at {speed.flops / 1e9:.1f} GFLOP/s, the speed on one thread of a float32 product of {best}"
          + (f" (slower: {', '.join(others)})" if others else "") + f"; of layers without any, input and output at "
          f"{speed.copied / 1e9:.1f} GB/s, that of copying {COPIED >> 20} MB.")
    if arguments.json:
        measure.write(arguments.json, {
            "command": measure.command(), "machine": measure.machine(), "speed": speed._asdict(),
            "lines": [{**line._asdict(), "floor": least} for line, least in zip(layers, floor)]})


def _best(function, *arguments):
    """Seconds of the fastest of some calls."""
    seconds = []
    for _ in range(REPEATS):
        begin = perf_counter()
        function(*arguments)
        seconds.append(perf_counter() - begin)
    return min(seconds)


if __name__ == "__main__":
    main()
