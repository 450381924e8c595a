"""Bytes that a network takes on its way forward and back, from the shapes of its plan alone: nothing is allocated.

The numbers are those of minifl/layers, minifl/fast and minifl/models as they are written, with arrays of float32;
tests/runs/test_memory.py measures them. The most of it are the caches: the columns of convolutions, kh times their input
or, filtered, points/m times. On top of all caches comes what the hungriest row of the plan has besides while it computes.
"""

from math import prod
from typing import NamedTuple

from minifl.fast import filtering
from minifl.models.arrangement import ACTIVATIONS
from minifl.models.network import Network
from minifl.models.norms import KINDS

FLOAT = 4          # bytes of a float32
LIGHT = ("avg_pool2d", "global_avg_pool", "first_token", "prepend_token", "add_position")     # keep next to nothing
MARGIN = 23, 20    # 23/20, in whole numbers: for what is small, and for what is not quite as counted here


class Part(NamedTuple):
    """Bytes that one row of a plan takes."""
    kept: int = 0        # for each example until its backward pass is over
    forward: int = 0     # for each example while it goes forward
    backward: int = 0    # for each example while it goes backward
    client: int = 0      # for each client while it goes backward
    parts: int = 0       # and that, of its kernel's gradient,
    copied: int = 0      # or for each example instead, if these are at most
    most: int = 0        # so many


def parts(model: Network, *, on_gpu: bool = False) -> list[Part]:
    """The Part of each row of the plan.

    on_gpu: matrices that overlap are copied before a product (fast/conv.py)
    """
    shapes = [model.image_shape, *(row.shape for row in model.plan)]
    found = []
    for i, row in enumerate(model.plan):
        pooled = model.arrangement.pool_first and i + 1 < len(model.plan) and model.plan[i + 1].kind == "max_pool2d"
        found.append(_part(model, row, shapes[i], shapes[i + 2] if pooled else row.shape, on_gpu, first=i == 0))
    return found


def _part(model, row, before, shape, on_gpu, first):
    """The Part of one row, from its kind, the shape of its input (on a shortcut: of the row before) and the shape at
    which it is computed."""
    y, x = FLOAT * prod(row.shape), FLOAT * prod(before)
    if row.kind == "convolve":
        return _convolution(row, row.entries[0].shape, y, on_gpu, first)
    if row.kind in ("dense", "classify"):
        return Part(x, 2 * y, x + 2 * y)
    if row.kind == "flatten":     # a view, or the copy that the linear layer behind it keeps
        return Part(0, x, x)
    if row.kind == "max_pool2d":
        return Part(x // 8 + x // 16, 2 * x, 2 * x)
    if row.kind == "attention":
        scores = FLOAT * model.heads * row.shape[0] ** 2
        return Part(3 * y + scores, 3 * y + 2 * scores, 6 * y + 3 * scores)
    if row.steps:
        kept, forward, backward = zip(*((ACTIVATIONS.get(step) or KINDS[step]).nbytes for step in row.steps))
        affine = 4 * any(entry.name.endswith(".gain") for entry in row.entries)
        return Part(*(prod(shape) * size for size in
                      (sum(kept) + affine, max(forward) + affine + FLOAT, max(backward) + affine + FLOAT)))
    kept = 0 if row.kind in LIGHT else x + y      # of a kind of one's own nothing is known
    return Part(kept, 2 * (x + y), 2 * (x + y))


def _convolution(row, kernel, y, on_gpu, first):
    """The Part of a convolution (fast/conv.py); the first of a network gives its input no gradient."""
    kh, kw, c, f = kernel
    oh, ow = row.shape[:2]
    height, width = ((side - 1) * row.stride + max(k, row.stride) for side, k in ((oh, kh), (ow, kw)))
    tile = filtering.outputs_of_tile(kh, oh, c) if row.stride == 1 else 0
    points = len(filtering.TILES[kh][1]) if tile else 1
    lines = -(-oh // tile) * points if tile else oh     # of products: `points` for every `tile` of the outputs
    columns = FLOAT * lines * (1 if tile else kh) * width * c
    products = FLOAT * lines * ow * f
    windows = FLOAT * lines * ow * kw * (1 if tile else kh) * c if on_gpu else 0
    padded = FLOAT * height * width * c
    window = FLOAT * ow * (1 if tile else kh) * kw * c      # the windows of one line
    partial = window * points * f                           # of the kernel's gradient, one per output column
    transposed = columns if tile else 0                               # before the tiles are added where they overlap
    back = 0 if first else columns + transposed + padded + windows
    return Part(columns, 2 * padded + products + y + windows,     # x is there as well; back, the gradient of a shortcut
                3 * y + products + max(windows, back), partial // ow * (2 if tile else 1),
                partial * (2 if tile else 1), window * lines // points,
                f * points // lines)                                  # slide_kernel_gradient copies where R <= F


def cached(parts: list[Part]) -> int:
    """Bytes that one example's caches take after its forward pass."""
    return sum(part.kept for part in parts)


def forward(parts: list[Part]) -> int:
    """The most bytes of an example on its way forward: what is kept so far, and the row at work."""
    most = kept = 0
    for part in parts:
        kept += part.kept
        most = max(most, kept + part.forward)
    return _with_margin(most)


def backward(parts: list[Part], n: int) -> int:
    """The most bytes of n examples of a client on their way forward and back; all caches live until the end."""
    back = max(n * part.backward + part.client + (n * part.copied if n <= part.most else part.parts) for part in parts)
    return max(n * forward(parts), _with_margin(n * cached(parts) + back))


def _with_margin(size):
    return size * MARGIN[0] // MARGIN[1]
