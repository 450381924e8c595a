"""One federated round on the CPU: minifl against PyTorch at its best, on the same work, in the same run.

    python benchmarks/round_cpu.py [--model cnn|resnet18] [--repetitions N] [--quick] [--json FILE]

The work: 10 clients with a class each x 10 local steps x batches of 32, uint8 images of 32x32x3 (the generated set), crops
and flips and the server's mean included, evaluation excluded; the paper's released CNN with feature norm, or ResNet-18 with
16 channels in its first stage. First both must end at the same parameters from the same start, in float64 to 1e-10 of each
block's largest number, and all sides in float32 to 1e-4; then they are timed in turn. (With all classes in a batch the first
steps are steeper, and ReLUs and pools that rounding tips over the edge move any two float32 programs apart by 1e-3.)

The opponents: PyTorch's default and channels_last layout, one and two threads, one process and one for each core, threads
over clients, torch.func.vmap over clients, torch.compile. The best of them counts. The two libraries run in processes of
their own, each told to keep freed memory.

It also times the multiply-adds of the same round as plain BLAS products of the same sizes, without anything around them, on
as many threads as minifl has: with minimal filtering minifl may be faster than these.
"""

import argparse
from dataclasses import replace
from importlib.metadata import version
from math import prod
from pathlib import Path
from threading import get_ident

import numpy as np

import measure
from minifl.backend import keep_freed_memory
from minifl.data.partition import make_partition
from minifl.data.registry import load
from minifl.fl.parallel import in_order
from minifl.fl.rounds import federated_rounds, start
from minifl.runs.run import default_workers
from minifl.runs.settings import settings_for

TOLERANCE, EXACT = 1e-4, 1e-10   # in float32 and in float64
MODELS = {"cnn": {"model": "cnn"}, "resnet18": {"model": "resnet18", "width": 0.25}}


class Work:
    """The round that all sides do."""

    def __init__(self, model):
        made = load("embedded")
        tested = np.unique(made.y_test, return_index=True)[1]     # an image of each class: evaluation is not the subject
        self.data = replace(made, x_test=made.x_test[tested], y_test=made.y_test[tested])
        self.settings = settings_for("cifar10", {**MODELS[model], "norm": "fn", "rounds": 1, "eval_every": 2,
                                                 "local_eval_every": 0})
        self.partition = make_partition("oneclass", self.data.y_train, self.data.y_test, made.num_classes,
                                        self.settings.num_clients, 0)
        self.model, self.method = self.settings.network(made.num_classes, made.image_shape), self.settings.method()
        self.w = self.model.spec.init(0)
        self.start = {name: view[0] for name, view in self.model.spec.views(self.w[None]).items()}

    def minifl(self, workers, dtype=np.float32):
        """minifl's side: () -> parameters after the round. Its one evaluation, of 10 images, is in the time."""
        def round_():
            begin = start(self.method, self.w.astype(dtype))
            (state, _), = federated_rounds(self.settings, self.model, self.method, begin, self.data, self.partition,
                                           workers=workers)
            return {name: view[0] for name, view in self.model.spec.views(state.w[None]).items()}
        return round_

    def products(self, workers):
        """() -> None: the multiply-adds of the round as products of BLAS."""
        def operands(row):
            *inner, f = row.entries[0].shape
            k = prod(inner)
            return tuple(np.ones(shape, np.float32) for shape in
                         ((self.settings.batch_size * row.flops // (2 * k * f), k), (k, f)))

        rows = [row for row in self.model.plan if row.flops]

        kept = {}     # thread -> its operands

        def local_work(_):
            mine = kept.get(get_ident()) or kept.setdefault(get_ident(), [operands(row) for row in rows])
            for _ in range(self.settings.local_steps):
                for i, (x, w) in enumerate(mine):
                    y = x @ w
                    x.T @ y
                    if i:        # the first layer's input is data and needs no gradient
                        y @ w.T

        def round_():
            with in_order(workers) as pool_map:
                list(pool_map(local_work, range(self.settings.num_clients)))
        return round_

    def ours(self):
        """name -> side of minifl, and nothing to close."""
        cores = default_workers()
        sides = {f"minifl, {cores} workers": self.minifl(cores)}
        if cores > 1:
            sides["minifl, 1 worker"] = self.minifl(1)
        return sides | {"products": self.products(cores), "float64": self.minifl(1, np.float64)}, []

    def opponents(self, model, quick):
        """name -> side of PyTorch, and what is to be closed at the end."""
        import torch

        import pytorch
        keep_freed_memory()     # as minifl does for itself
        data = pytorch.Data(self.data, self.partition, self.settings, model)
        default, last = torch.contiguous_format, torch.channels_last
        cores = default_workers()
        several = pytorch.Processes(data, last, cores)   # forked before this process has threads
        closing = [several]
        sides = {f"{cores} processes, channels_last": several.round}
        if not quick:
            compiled = pytorch.Processes(data, last, cores, compiled=True)
            closing.append(compiled)
            sides[f"{cores} processes, channels_last, torch.compile"] = compiled.round
        sides[f"1 process, {cores} threads, channels_last"] = pytorch.loop(data, last, cores)
        if not quick:
            sides |= {
                f"1 process, {cores} threads, default layout": pytorch.loop(data, default, cores),
                "1 process, 1 thread, default layout": pytorch.loop(data, default, 1),
                "1 process, 1 thread, channels_last": pytorch.loop(data, last, 1),
                f"1 process, {cores} threads over clients, channels_last": pytorch.in_threads(data, last, cores),
                f"1 process, {cores} threads, channels_last, torch.compile": pytorch.loop(data, last, cores, True),
                f"torch.func.vmap over clients, {cores} threads": pytorch.vmapped(data, default, cores),
            }
        w = data.parameters(self.start)
        exactly = pytorch.Data(self.data, self.partition, self.settings, model, torch.float64)
        exact = pytorch.loop(exactly, default, 1)
        return ({name: (lambda side=side: pytorch.blocks_of(side(w))) for name, side in sides.items()} |
                {"float64": lambda: pytorch.blocks_of(exact(exactly.parameters(self.start)))}), closing


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", choices=MODELS, default="cnn")
    parser.add_argument("--repetitions", type=int, default=7)
    parser.add_argument("--quick", action="store_true", help="Two opponents only.")
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()

    work, model, quick = Work(arguments.model), arguments.model, arguments.quick
    theirs, ours = measure.Elsewhere(lambda: work.opponents(model, quick)), measure.Elsewhere(work.ours)
    exact = measure.largest_difference(ours.result("float64"), theirs.result("float64"))
    sides = {name: (where, name) for where in (ours, theirs) for name in where.names if name != "float64"}
    fastest, *_ = sides
    expected, differences, failures = ours.result(fastest), {}, {}
    for name in [name for name in sides if name not in (fastest, "products")]:
        measure.say(f"verifying: {name}")
        try:
            differences[name] = measure.largest_difference(sides[name][0].result(name), expected)
        except RuntimeError as error:
            failures[name] = str(error)
            del sides[name]
    taken = measure.alternating(sides, arguments.repetitions, clock=lambda side: side[0].seconds(side[1]),
                                say=measure.say)
    ours.close()
    theirs.close()

    best = min((name for name in theirs.names if name in taken), key=lambda name: taken[name]["median"])
    machine = measure.machine()
    print(measure.in_words(machine))
    print(f"{arguments.model}: one round of 10 clients x 10 steps x 32; median of {arguments.repetitions} in turn")
    for name, times in taken.items():
        difference = "" if name not in differences else f"  differs by {differences[name][1]:.0e} ({differences[name][0]})"
        print(f"  {1e3 * times['median']:8.0f} ms  {name}{' <- best' if name == best else ''}{difference}")
    for name, why in failures.items():
        print(f"         - ms  {name}: did not work ({why})")
    ratios = {"to_best_pytorch": taken[fastest]["median"] / taken[best]["median"],
              "to_products": taken[fastest]["median"] / taken["products"]["median"]}
    print(f"minifl / best PyTorch {ratios['to_best_pytorch']:.2f}; minifl / the same multiply-adds as BLAS products "
          f"{ratios['to_products']:.2f}")
    print(f"in float64 minifl and PyTorch differ by {exact[1]:.0e} ({exact[0]})")
    wrong = {name: d for name, d in differences.items() if not d[1] <= TOLERANCE}
    wrong |= {} if exact[1] <= EXACT else {"float64": exact}
    for name, (block, d) in wrong.items():
        print(f"NOT THE SAME: {name}, {block} differs by {d:.1e} of its largest number")
    if arguments.json:
        measure.write(arguments.json, {"command": measure.command(), "machine": machine | {"torch": version("torch")},
                                       "model": arguments.model, "seconds": taken, "best": best, "ratios": ratios,
                                       "float64_difference": exact, "differences": differences, "did_not_work": failures})
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
