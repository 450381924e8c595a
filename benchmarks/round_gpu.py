"""One federated round on a GPU: minifl against PyTorch at its best, on the same work, in the same run.

    python benchmarks/round_gpu.py [--repetitions N] [--quick] [--json FILE]

The work is round_cpu.py's: 10 clients x 10 local steps x batches of 32, CIFAR-10-shaped uint8 images on the device,
crops and flips and the server's mean included, evaluation excluded; the paper's released CNN with feature norm. minifl
step by step and with CUDA graphs, in float32 and TF32, against PyTorch's usual loop over clients and what makes it
faster (pytorch_gpu.py), in the same precisions. minifl goes on from round to round, as in a run; in its fourth round,
where graphs are launched, each PyTorch side must end at the same parameters from the same start (float32: 1e-4 of each
block's largest number; TF32, whose factors have 10 bits: 1e-2). Then all sides are timed in turn, and a round of
minifl's is extrapolated to 10 000.

Needs a GPU, CuPy and PyTorch with CUDA; without one of them it says which and ends with code 2.
"""

import argparse
import sys
import warnings
from dataclasses import replace
from pathlib import Path

import measure
from minifl.backend import choose_device, choose_precision, to_host
from minifl.errors import InputError
from minifl.fl.rounds import federated_rounds, start
from minifl.runs.run import on_device

TOLERANCES = {"fp32": 1e-4, "tf32": 1e-2}
VERIFIED = 3        # rounds before the one that is verified: a graph was recorded in the first, compared in the second
ROUNDS = 10_000
TARGETS = {"usual loop": 0.05, "best": 0.8}     # minifl's time / PyTorch's
USUAL = "loop over clients, default layout"


class Minifl:
    """minifl's side: each call does one more round. Its start and its precision are what the others are given."""

    def __init__(self, work, xp, precision, cuda_graphs):
        self.xp, self.precision = xp, precision
        settings = replace(work.settings, rounds=10**9, eval_every=10**9)
        begin = start(work.method, xp.asarray(work.w.astype("float32")))
        self.states = federated_rounds(settings, work.model, work.method, begin, on_device(work.data, xp),
                                       work.partition, cuda_graphs=cuda_graphs)

    def __call__(self):
        """w (P,) after the round; the round ends with a wait for the device."""
        choose_precision(self.xp, self.precision)
        return next(self.states)[0].w


def missing():
    """(CuPy, description, None) or (None, None, what is missing)."""
    try:
        xp, description = choose_device("cuda")
    except InputError as error:
        return None, None, str(error).partition(" Valid here")[0]     # this program has no --device
    try:
        import torch
    except ImportError as error:
        return None, None, f"PyTorch cannot be imported ({error})"
    if not torch.cuda.is_available():
        return None, None, f"PyTorch {torch.__version__} finds no CUDA device, or was built without CUDA"
    return xp, description, None


def blocks(work, w):
    """name -> array on the host of parameters w (P,)."""
    return {name: view[0] for name, view in work.model.spec.views(to_host(w)[None]).items()}


def sides_of(work, xp, quick):
    """name -> function of what is measured; differences of the PyTorch sides; what did not work."""
    import pytorch_gpu
    sides, differences, failures = {}, {}, {}
    for precision, tolerance in TOLERANCES.items():
        for how, cuda_graphs in (("step by step", False), ("CUDA graphs", True)):
            name = f"minifl, {precision}, {how}"
            measure.say(f"verifying: {name}")
            sides[name] = Minifl(work, xp, precision, cuda_graphs)
            for _ in range(VERIFIED):
                before = sides[name]()
            after = sides[name]()
            if cuda_graphs:       # its steps are verified through the PyTorch sides, below
                ours = blocks(work, before), blocks(work, after)
            else:
                eager = blocks(work, after)
        differences[name] = *measure.largest_difference(ours[1], eager), tolerance
        for name, side in pytorch_gpu.sides(work, precision, quick).items():
            name = f"PyTorch, {precision}, {name}"
            measure.say(f"verifying: {name}")
            try:
                found = side.blocks_after(ours[0], VERIFIED)
                differences[name] = *measure.largest_difference(found, ours[1]), tolerance
                sides[name] = side
            except Exception as error:     # compilers and captures fail in many ways
                failures[name] = f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"
    return sides, differences, failures


def ratios_of(taken, precision):
    """What the targets ask for: the time of minifl's faster way to the usual loop's, and to the best one's."""
    def fastest(start):
        return min((name for name in taken if name.startswith(start)), key=lambda name: taken[name]["median"])

    ours, best = fastest(f"minifl, {precision}"), fastest(f"PyTorch, {precision}")
    seconds, usual = taken[ours]["median"], taken.get(f"PyTorch, {precision}, {USUAL}")
    return {"ours": ours, "best": best, "to_best": seconds / taken[best]["median"],
            "to_usual": seconds / usual["median"] if usual else None, "seconds_of_10000_rounds": ROUNDS * seconds}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=21)
    parser.add_argument("--quick", action="store_true", help="Without torch.compile.")
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    xp, description, problem = missing()
    if problem:
        print(f"{Path(__file__).name}: {problem}", file=sys.stderr)
        raise SystemExit(2)
    import torch

    import round_cpu
    work = round_cpu.Work("cnn")
    with warnings.catch_warnings():
        warnings.filterwarnings("error", message="the local steps run without CUDA graphs")
        sides, differences, failures = sides_of(work, xp, arguments.quick)
        taken = measure.alternating(sides, arguments.repetitions, say=measure.say)
    machine = measure.machine() | {"device": description, "torch": torch.__version__}
    print(f"{measure.in_words(machine)}; {description}; PyTorch {torch.__version__}")
    print(f"one round of 10 clients x 10 steps x 32; median of {arguments.repetitions} in turn")
    for name, times in taken.items():
        difference = f"  differs by {differences[name][1]:.0e} ({differences[name][0]})" if name in differences else ""
        print(f"  {1e3 * times['median']:8.2f} ms  {name}{difference}")
    for name, why in failures.items():
        print(f"         - ms  {name}: did not work ({why})")
    ratios = {precision: ratios_of(taken, precision) for precision in TOLERANCES
              if any(name.startswith(f"PyTorch, {precision}") for name in taken)}
    for precision, of in ratios.items():
        usual = "-" if of["to_usual"] is None else f"{of['to_usual']:.3f}"
        print(f"{precision}: minifl / the usual loop {usual} (target {TARGETS['usual loop']}), / best PyTorch "
              f"{of['to_best']:.2f} (target {TARGETS['best']}; {of['best']}); {ROUNDS} rounds take about "
              f"{of['seconds_of_10000_rounds']:.0f} s without tests")
    wrong = {name: d for name, d in differences.items() if not d[1] <= d[2]}
    for name, (block, d, tolerance) in wrong.items():
        print(f"NOT THE SAME: {name}, {block} differs by {d:.1e} of its largest number, more than {tolerance:.0e}")
    if arguments.json:
        measure.write(arguments.json, {"command": measure.command(), "machine": machine, "seconds": taken,
                                       "ratios": ratios, "differences": differences, "did_not_work": failures})
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
