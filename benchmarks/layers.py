"""Each layer, forward and backward, against PyTorch's and against its floor, on one core.

    python benchmarks/layers.py [--repetitions N] [--only TEXT] [--json FILE]

The shapes are those of the paper's CNN and of a ResNet-18 with 16 channels, a batch of 32 of one client, float32. PyTorch
runs its own functions on one thread with channels_last maps, its best layout on a CPU; its backward is
torch.autograd.grad of the same arguments. Both sides must give the same outputs and gradients (1e-4 of the largest number).

The floor of a layer is the larger of two times: its multiply-adds at the speed of the fastest BLAS product measured here,
and its bytes, every input read once and every output written once, at the speed of copying. Forward: y from x and the
parameters; backward: the gradients from dy and what they need (for convolutions twice the multiply-adds, for the first one,
whose input is data, once). Convolutions that filter (minifl/fast/filtering.py) do fewer multiply-adds than these, and
can be faster than their floor; caches make small layers faster than theirs.
"""

import argparse
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import numpy as np

import measure
from minifl.backend import keep_freed_memory
from minifl.blas import one_thread
from minifl.fast import conv2d, conv2d_backward, max_pool2d, max_pool2d_backward
from minifl.layers import activations, linear, norm, pool

TOLERANCE = 1e-4
N = 32   # examples


class Layer(NamedTuple):
    name: str
    forward: Callable     # of minifl: (x, *parameters) -> y, cache
    backward: Callable    # of minifl: (dy, cache) -> gradients, a tuple
    theirs: Callable      # of PyTorch: (x, *parameters) -> y, maps NCHW
    shapes: tuple         # of x (N, ...) and of the parameters, in minifl's layout
    flops: int = 0        # forward; 2 for each multiply-add
    data: bool = False    # x is data and gets no gradient


def conv_layer(name, side, channels, kernel, outputs, data=False, **options):
    import torch.nn.functional as F
    out = (side + 2 * options.get("padding", 0) - kernel) // options.get("stride", 1) + 1
    return Layer(name, lambda x, w: conv2d(x, w, **options),
                 lambda dy, cache: conv2d_backward(dy, cache, input_gradient=not data)[:2],
                 lambda x, w: F.conv2d(x, w, **options),
                 ((N, side, side, channels), (kernel, kernel, channels, outputs)),
                 2 * N * out * out * kernel * kernel * channels * outputs, data)


def linear_layer(name, inputs, outputs):
    import torch.nn.functional as F
    return Layer(name, linear.linear, lambda dy, cache: linear.linear_backward(dy, cache)[:2], F.linear,
                 ((N, inputs), (inputs, outputs)), 2 * N * inputs * outputs)


def plain_layer(name, forward, backward, theirs, *shape):
    return Layer(name, forward, lambda dy, cache: (backward(dy, cache),), theirs, ((N, *shape),))


def layers():
    """All of them. The functions of PyTorch are looked up here, so that --help needs no torch."""
    import torch.nn.functional as F

    def mv(x):
        return F.layer_norm(x, x.shape[1:])

    def n(x):
        return x.shape[1] ** 0.5 * F.normalize(x, dim=1)

    return [
        conv_layer("conv1 5x5, 32x32x3 -> 64", 32, 3, 5, 64, data=True),
        conv_layer("conv2 5x5, 14x14x64 -> 64", 14, 64, 5, 64),
        linear_layer("dense1 1600 -> 384", 1600, 384),
        linear_layer("dense2 384 -> 192", 384, 192),
        linear_layer("classifier 192 -> 10", 192, 10),
        plain_layer("max_pool2d 28x28x64", max_pool2d, max_pool2d_backward,
                    lambda x: F.max_pool2d(x, 2), 28, 28, 64),
        plain_layer("max_pool2d 10x10x64", max_pool2d, max_pool2d_backward,
                    lambda x: F.max_pool2d(x, 2), 10, 10, 64),
        plain_layer("relu 14x14x64", activations.relu, activations.relu_backward, F.relu, 14, 14, 64),
        plain_layer("feature_norm 192", norm.feature_norm, norm.feature_norm_backward, n, 192),
        plain_layer("mv_norm 28x28x64", norm.mv_norm, norm.mv_norm_backward, mv, 28, 28, 64),
        plain_layer("mv_norm 384", norm.mv_norm, norm.mv_norm_backward, mv, 384),
        plain_layer("group_norm 2, 28x28x64", lambda x: norm.group_norm(x, groups=2), norm.group_norm_backward,
                    lambda x: F.group_norm(x, 2), 28, 28, 64),
        conv_layer("conv 3x3, 32x32x3 -> 16", 32, 3, 3, 16, data=True, padding=1),
        conv_layer("conv 3x3, 32x32x16 -> 16", 32, 16, 3, 16, padding=1),
        conv_layer("conv 3x3 stride 2, 32x32x16 -> 32", 32, 16, 3, 32, padding=1, stride=2),
        conv_layer("conv 3x3, 16x16x32 -> 32", 16, 32, 3, 32, padding=1),
        conv_layer("conv 3x3, 8x8x64 -> 64", 8, 64, 3, 64, padding=1),
        conv_layer("conv 3x3, 4x4x128 -> 128", 4, 128, 3, 128, padding=1),
        conv_layer("conv 1x1 stride 2, 32x32x16 -> 32", 32, 16, 1, 32, stride=2),
        plain_layer("avg_pool2d 4, 4x4x128", lambda x: pool.avg_pool2d(x, size=4), pool.avg_pool2d_backward,
                    lambda x: F.avg_pool2d(x, 4), 4, 4, 128),
    ]


def compared(layer, repetitions):
    """The line of one layer: seconds of both sides, forward and backward, and how far they are apart."""
    import torch
    rng = np.random.default_rng(0)
    inputs = [rng.standard_normal(shape).astype(np.float32) for shape in layer.shapes]
    inputs[1:] = [0.1 * w for w in inputs[1:]]
    ours = [array[None] for array in inputs]
    y, cache = layer.forward(*ours)
    dy = rng.standard_normal(y.shape).astype(np.float32)
    gradients = [g for g in layer.backward(dy, cache) if g is not None]

    tensors = [to_torch(array, i == 0).requires_grad_(not (layer.data and i == 0)) for i, array in enumerate(inputs)]
    asked = [t for t in tensors if t.requires_grad]
    their_y, their_dy = layer.theirs(*tensors), to_torch(dy[0], True)
    their_gradients = torch.autograd.grad(their_y, asked, their_dy, retain_graph=True)
    found = [from_torch(their_y, True), *(from_torch(g, t is tensors[0]) for g, t in zip(their_gradients, asked))]
    difference = max(np.abs(a[0] - b).max() / np.abs(a).max() for a, b in zip([y, *gradients], found, strict=True))

    taken = measure.alternating({
        "forward": lambda: layer.forward(*ours), "their forward": lambda: layer.theirs(*tensors),
        "backward": lambda: layer.backward(dy, cache),
        "their backward": lambda: torch.autograd.grad(their_y, asked, their_dy, retain_graph=True)}, repetitions)
    moved = sum(a.nbytes for a in (*ours, y)), sum(a.nbytes for a in (*ours, dy, *gradients))
    return {"layer": layer.name, "difference": float(difference),
            "flops": [layer.flops, layer.flops * (1 if layer.data else 2)], "bytes": moved,
            "seconds": {name: t["median"] for name, t in taken.items()}}


def to_torch(array, example):
    """minifl's array as PyTorch has it: examples (an input, y, dy) NHWC -> NCHW in channels_last, kernels (kh, kw, C, F) ->
    (F, C, kh, kw) in channels_last, matrices transposed."""
    import torch
    tensor = torch.from_numpy(array)
    if array.ndim == 4:
        return tensor.permute(0, 3, 1, 2) if example else tensor.permute(3, 2, 0, 1).contiguous(
            memory_format=torch.channels_last)
    return tensor if example else tensor.T.contiguous()


def from_torch(tensor, example):
    """The inverse of to_torch."""
    array = tensor.detach().numpy()
    if array.ndim == 4:
        return array.transpose(0, 2, 3, 1) if example else array.transpose(2, 3, 1, 0)
    return array if example else array.T


def speeds(repetitions):
    """The fastest product (FLOP/s) and copy (bytes/s) measured on one core."""
    a, b = np.ones((1600, 320), np.float32), np.ones((320, 64), np.float32)
    square, source = np.ones((1024, 1024), np.float32), np.ones(1 << 21, np.float32)    # 8 MB: beyond the caches of a core
    out, small, big = np.empty_like(source), np.empty((1600, 64), np.float32), np.empty_like(square)
    taken = measure.alternating({"small": lambda: np.matmul(a, b, out=small),
                                 "square": lambda: np.matmul(square, square, out=big),
                                 "copy": lambda: np.copyto(out, source)}, 5 * repetitions)
    fastest = {name: min(t["all"]) for name, t in taken.items()}
    return (max(2 * a.size * 64 / fastest["small"], 2 * 1024 ** 3 / fastest["square"]),
            2 * source.nbytes / fastest["copy"])


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repetitions", type=int, default=30)
    parser.add_argument("--only", default="", help="Layers with this in their name.")
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    import torch
    torch.set_num_threads(1)
    keep_freed_memory()
    machine = measure.machine() | {"torch": torch.__version__}
    print(measure.in_words(machine) + f", PyTorch {torch.__version__}, one thread each")
    lines = []
    with one_thread():
        flop_speed, byte_speed = speeds(arguments.repetitions)
        print(f"fastest product {flop_speed / 1e9:.0f} GFLOP/s, copy {byte_speed / 1e9:.1f} GB/s (read + written)")
        print(f"{'':36} {'forward ms':^27} {'backward ms':^27}")
        print(f"{'layer':36} {'minifl':>8} {'PyTorch':>9} {'floor':>8} {'minifl':>8} {'PyTorch':>9} {'floor':>8}  "
              "difference")
        for layer in layers():
            if arguments.only not in layer.name:
                continue
            line = compared(layer, arguments.repetitions)
            line["floor"] = [max(flops / flop_speed, moved / byte_speed)
                             for flops, moved in zip(line["flops"], line["bytes"])]
            ms = {name: 1e3 * s for name, s in line["seconds"].items()}
            print(f"{layer.name:36} {ms['forward']:8.3f} {ms['their forward']:9.3f} {1e3 * line['floor'][0]:8.3f} "
                  f"{ms['backward']:8.3f} {ms['their backward']:9.3f} {1e3 * line['floor'][1]:8.3f}  "
                  f"{line['difference']:.0e}", flush=True)
            lines.append(line)
    wrong = [line["layer"] for line in lines if not line["difference"] <= TOLERANCE]
    print("\n".join(f"NOT THE SAME: {name}" for name in wrong) or "Both sides gave the same outputs and gradients.")
    if arguments.json:
        measure.write(arguments.json, {"command": measure.command(), "machine": machine, "flops_per_second": flop_speed,
                                       "bytes_per_second": byte_speed, "lines": lines})
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
