"""The tables of README.md and benchmarks/README.md, each made from a record under results/bench/."""

import json
from pathlib import Path

from minifl.runs.summary import markdown

BENCH = Path(__file__).resolve().parent.parent / "results" / "bench"


def read(name):
    return json.loads((BENCH / f"{name}.json").read_text(encoding="utf-8"))


def clients():
    """Of clients.py: a round where many clients are registered."""
    rows = [("registered clients", "ms per round", "peak MB", "of it controls", "peak MB with a control for each",
             "same bits")]
    for line in read("clients")["lines"]:
        dense = line.get("dense_peak_bytes")
        rows.append((f"{line['registered']:,}", f"{1e3 * line['seconds_per_round']:.0f}",
                     f"{line['peak_bytes'] / 1e6:.1f}", f"{line['controls_bytes'] / 1e6:.1f}",
                     "-" if dense is None else f"{dense / 1e6:.0f}",
                     {True: "yes", False: "NO", None: "-"}[line["same_bits_as_dense"]]))
    return markdown(rows) + "\n"


def speed():
    """A line for each goal that was measured on a CPU."""
    cnn, resnet, around, scale = (read(name) for name in ("round_cpu", "round_cpu_resnet18", "around", "scale"))
    start = around["seconds"]["start-up"]
    first = max(line["to_first"] for line in scale["lines"])
    last = min(line["to_first"] for line in scale["lines"])

    def row(what, value, goal, other=""):
        return what, f"{value:.2f}", f"≤ {goal}", "yes" if value <= goal else "**no**", other

    ours = f"{1e3 * median_of(cnn, 'minifl'):.0f} ms"
    return markdown([
        ("what", "measured", "goal", "reached", "in numbers"),
        row("round of the CNN / best PyTorch", cnn["ratios"]["to_best_pytorch"], 0.67,
            f"{ours}, {1e3 * cnn['seconds'][cnn['best']]['median']:.0f} ms ({cnn['best']})"),
        row("round of the CNN / its multiply-adds as BLAS products", cnn["ratios"]["to_products"], 1.6,
            f"{ours}, {1e3 * cnn['seconds']['products']['median']:.0f} ms"),
        row("round of ResNet-18 (width 16) / best PyTorch", resnet["ratios"]["to_best_pytorch"], 1.0,
            f"{1e3 * median_of(resnet, 'minifl'):.0f} ms, {1e3 * resnet['seconds'][resnet['best']]['median']:.0f} ms "
            f"({resnet['best']})"),
        row("evaluation of 10 000 images / best PyTorch", around["evaluation_to_best_pytorch"], 1.1,
            f"{1e3 * median_of({'seconds': around['seconds']['evaluation of 10,000 images']}, 'minifl'):.0f} ms"),
        ("time per client, 10 to 1 000 sampled, / that of 10", f"{last:.2f} to {first:.2f}", "0.9 to 1.1",
         "yes" if last >= 0.9 and first <= 1.1 else "**no**", ""),
        row("seconds of `cli.py --help`", start["cli.py --help"]["median"], 0.4),
        row("seconds of `import minifl` and its models beyond numpy",
            start["import minifl, its layers and models"]["median"] - start["import numpy"]["median"], 0.2),
    ]) + "\n"


def median_of(record, beginning):
    """The first side whose name begins so."""
    return next(times["median"] for name, times in record["seconds"].items() if name.startswith(beginning))


def round_of(name):
    """All sides of a record of round_cpu.py, the fastest first."""
    record = read(name)
    rows = [("side", "ms per round", "/ minifl", "differs by")]
    ours = median_of(record, "minifl")
    for side, times in sorted(record["seconds"].items(), key=lambda item: item[1]["median"]):
        difference = record["differences"].get(side)
        what = "the same multiply-adds as BLAS products" if side == "products" else \
            side if side.startswith("minifl") else f"PyTorch: {side}"
        rows.append((what, f"{1e3 * times['median']:.0f}", f"{times['median'] / ours:.2f}",
                     f"{difference[1]:.0e}" if difference else "-"))
    rows += [(f"PyTorch: {side}", "did not work", "-", "-") for side in record["did_not_work"]]
    return markdown(rows) + "\n"


def layers():
    """Of layers.py: forward and backward of each layer."""
    rows = [("layer", "forward ms", "PyTorch", "floor", "backward ms", "PyTorch", "floor", "all / PyTorch")]
    for line in read("layers")["lines"]:
        s, floor = line["seconds"], line["floor"]
        ratio = (s["forward"] + s["backward"]) / (s["their forward"] + s["their backward"])
        rows.append((line["layer"], *(f"{1e3 * value:.3f}" for value in (
            s["forward"], s["their forward"], floor[0], s["backward"], s["their backward"], floor[1])), f"{ratio:.2f}"))
    return markdown(rows) + "\n"


def scale():
    """Of scale.py: clients sampled and clients in a call."""
    rows = [("clients in a round", "in a call", "ms per round", "ms per client", "peak MB", "same bits")]
    for line in read("scale")["lines"]:
        rows.append((f"{line['clients']:,}", str(line["per_call"]), f"{1e3 * line['seconds_per_round']:.0f}",
                     f"{1e3 * line['seconds_per_client']:.2f}", f"{line['peak_bytes'] / 1e6:.1f}",
                     "yes" if line["same_bits"] else "NO"))
    return markdown(rows) + "\n"


def around():
    """Of around.py: what a run does besides its rounds."""
    record = read("around")
    rows = [("what", "side", "ms")]
    for what, taken in record["seconds"].items():
        rows += [(what, side, f"{1e3 * times['median']:.1f}") for side, times in taken.items()]
    return markdown(rows) + "\n"


def federate():
    """Of federate.py: the same rounds in this process and on Flower."""
    rows = [("nodes", "clients", "algorithm", "local steps", "s per round in process", "on Flower", "overhead s",
             "ratio", "kB down per round", "/ floor", "kB up", "/ floor", "same bits")]
    for line in read("federate")["lines"]:
        rows.append((str(line["nodes"]), str(line["clients"]), line["algorithm"], str(line["local_steps"]),
                     f"{line['in_process_seconds']:.2f}", f"{line['federated_seconds']:.1f}",
                     f"{line['overhead_seconds']:.1f}", f"{line['ratio']:.1f}", f"{line['down_bytes'] / 1e3:.0f}",
                     f"{line['down_to_floor']:.2f}", f"{line['up_bytes'] / 1e3:.0f}", f"{line['up_to_floor']:.2f}",
                     "yes" if line["same_bits"] else "NO"))
    return markdown(rows) + "\n"


TABLES = {"clients": clients, "speed": speed, "round: cnn": lambda: round_of("round_cpu"),
          "round: resnet18": lambda: round_of("round_cpu_resnet18"), "layers": layers, "scale": scale, "around": around,
          "federate": federate}
