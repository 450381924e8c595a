"""What the tests of assignment 3 are made of: inputs with your shapes, and what should come out.

Convolutions are compared with scipy.signal, pooling with plain loops over windows. Gradients are compared with the
derivative of your own forward pass: convolution and average are linear, so along a unit vector e it is f(e) itself; for
max-pooling one pixel after the other is raised. Then, along a random direction u, they are compared with the derivative of
what should come out. For the residual block it is the complex step Im f(x + ih e)/h of what should come out. The copies of
the input that differ in one number are the clients of one call.
"""

import numpy as np
from scipy import signal

from minifl.course.running import expect

VALUE, GRADIENT = 1e-12, 1e-11   # of the largest entry
STEP = 1e-100                    # of the complex step
WINS = 1                         # what y of max-pooling grows by if its winner grows by 1
MAP = ("client", "example", "row", "column", "channel")


def units(shape):
    """All unit vectors of that shape: (size, *shape)."""
    size = int(np.prod(shape))
    return np.eye(size).reshape(size, *shape)


def repeated(one, times):
    """(...) -> (times, ...): the same for so many clients."""
    return np.repeat(one[None], times, axis=0)


def along(dy, y):
    """<dy, y> for each of the clients of y (S, ...); dy (...) is that of one client."""
    return (dy * y).reshape(len(y), -1).sum(axis=1)


def check_direction(what, dy, moved, gradient, u):
    """<gradient, u> is what <dy, y> changes by along u; moved: what y changes by."""
    expect(dy.shape == moved.shape, f"y has the shape {dy.shape}, it should have {moved.shape}")
    yours, right = (gradient * u).sum(), (dy * moved).sum()
    expect(abs(yours - right) <= GRADIENT * np.abs(dy * moved).sum(), f"{what} is the derivative of your own forward pass, "
           f"which is not what it should be: along a random direction it is {yours:.6g} where {right:.6g} is right")


def stored(weight, given):
    """A kernel (K, kh, kw, C, F) as conv2d takes it."""
    return np.moveaxis(weight, (4, 3), (1, 2)).copy() if given.variant["kernel"] == "pytorch" else weight


def conv_problems(given):
    """(in words, x, weight as conv2d takes it, bias, options, weight as (K, kh, kw, C, F)) of several convolutions."""
    rng = given.rng("convolution")
    k, n, c, f = 2, 2, given.size("channels in", 1, 3), given.size("channels out", 2, 3)
    h, kh = given.size("map height", 5, 7), given.size("kernel height", 2, 3)
    w = h + given.size("wider", 1, 2)
    for (rows, columns), stride, padding in (((kh, 5 - kh), 1, 0), ((3, 3), 1, 1), ((5 - kh, kh), 2, 1), ((3, 3), 2, 0),
                                             ((1, 1), 2, 0), ((2, 2), 3, 2)):
        weight = rng.standard_normal((k, rows, columns, c, f))
        yield (f"kernel {rows}x{columns}, stride {stride}, padding {padding}, map {h}x{w}",
               rng.standard_normal((k, n, h, w, c)), stored(weight, given),
               rng.standard_normal((k, f)), {"stride": stride, "padding": padding}, weight)


def correlation(x, weight, bias, given, *, stride, padding):
    """What conv2d should return, one pair of channels after the other; weight (K, kh, kw, C, F)."""
    slide = signal.convolve if given.variant["kernel"] == "flipped" else signal.correlate
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding), (0, 0)))
    clients = []
    for one, kernel, b in zip(x, weight, np.zeros((len(x), weight.shape[4])) if bias is None else bias):
        clients.append([[b[f] + sum(slide(example[:, :, c], kernel[:, :, c, f], mode="valid", method="direct")
                                    for c in range(x.shape[4]))[::stride, ::stride]
                         for f in range(weight.shape[4])] for example in one])
    return np.moveaxis(np.array(clients), 2, 4)


def pool_problems(given):
    """(in words, x with all numbers of an example different, options): windows that touch, overlap and lie apart."""
    rng = given.rng("pooling")
    h, c = given.size("pool height", 5, 7), given.size("pool channels", 1, 3)
    w = h + given.size("pool wider", 1, 2)
    for size, stride in ((2, None), (3, None), (3, 2), (3, 1), (2, 1), (2, 3)):
        x = np.stack([rng.permutation(2 * h * w * c).reshape(2, h, w, c) for _ in range(2)]).astype(float)
        options = {"size": size} | ({"stride": stride} if stride else {})
        yield f"size {size}, stride {stride or 'not given'}, map {h}x{w}", x, options


def pooled(x, function, *, size, stride=None):
    """function(window) for each window and channel, in plain loops."""
    stride = stride or size
    rows, columns = (range(0, side - size + 1, stride) for side in x.shape[2:4])
    return np.array([[[[[function(example[a:a + size, b:b + size, c]) for c in range(x.shape[4])] for b in columns]
                       for a in rows] for example in client] for client in x])


def winner(window):
    """The number with the largest real part."""
    return window.flat[window.real.argmax()]


def preferred(shape, given):
    """Numbers (H, W, 1), smaller than 1/2, that make who wins a tie larger than those with whom it is equal."""
    h, w = shape[2:4]
    order = np.arange(h * w).reshape(h, w, 1) / (2 * h * w)
    return order if given.variant["ties"] == "last" else -order


def average(window):
    """What average pooling makes of a window."""
    return window.mean()


def global_average(x):
    """(K, N, H, W, C) -> (K, N, C): what global_avg_pool makes of whole maps."""
    return x.mean(axis=(2, 3))


def block_problems(given):
    """(in words, x, parameters by name, options of drivers.block): shortcuts of both kinds, norms, gains, biases."""
    rng = given.rng("block")   # with a norm no ReLU: a map that is 0 everywhere has no direction
    n, h, c = 2, given.size("block height", 3, 4), given.size("block channels", 2, 3)
    w, f = h + 1, c + given.size("block wider", 1, 2)
    for projected, stride, end, arrangement in (
            (False, 1, "identity", {"norm": "none"}),
            (True, 2, "identity", {"norm": "none", "activation": "leaky-relu", "bias": "hidden"}),
            (True, 1, "n", {"norm": "fn-inside", "activation": "leaky-relu"}),
            (False, 1, "n", {"norm": "fn-mv-inside", "activation": "leaky-relu"}),
            (False, 1, "mv", {"norm": "ln", "activation": "leaky-relu", "learnable": True, "bias": "hidden"}),
            (True, 2, "mv", {"norm": "ln", "activation": "leaky-relu", "position": "before"})):
        out = f if projected else c
        shapes = {"conv1": (c, out), "conv2": (out, out)} | ({"shortcut": (c, out)} if projected else {})
        p = {f"block.{layer}.weight": rng.standard_normal((2, *shape)) for layer, shape in shapes.items()}
        if "bias" in arrangement:
            p |= {f"block.{layer}.bias": rng.standard_normal((2, out)) for layer in shapes}
        if "learnable" in arrangement:
            p |= {f"block.{norm}.{what}": rng.standard_normal((2, out)) for norm in ("norm1", "norm2")
                  for what in ("gain", "bias")}
        choices = ", ".join(f"{name} {value}" for name, value in arrangement.items())
        words = f"{'projected' if projected else 'plain'} shortcut, stride {stride}, norm at the end: {end}, {choices}"
        yield words, rng.standard_normal((2, n, h, w, c)), p, {"stride": stride, "projected": projected, "end": end,
                                                              "arrangement": arrangement}


def layers_of_block(stride, projected):
    """(name, stride, padding) of the block's convolutions."""
    asked = [("block.conv1", stride, 1), ("block.conv2", 1, 1)]
    return asked + [("block.shortcut", stride, 0)] if projected else asked


def block_by_hand(x, p, given, *, stride, projected, end, arrangement):
    """What the block should return, with the maps that stand in for its convolutions."""
    def convolution(x, layer, stride=1):
        bias = p.get(f"block.{layer}.bias", np.zeros((1, 1)))
        return np.einsum("knhwc,kcf->knhwf", x[:, :, ::stride, ::stride], p[f"block.{layer}.weight"]) + over(bias)

    def unit(x, layer, kind):
        ordered = (activation, norm) if arrangement.get("position") != "before" else (norm, activation)
        return ordered[1](ordered[0](x, layer, kind), layer, kind)

    def activation(x, layer, kind):
        return np.where(x.real > 0, x, (0.01 if "activation" in arrangement else 0) * x)

    def norm(x, layer, kind):
        axes = (2, 3, 4)
        if kind == "mv":
            x = x - x.mean(axis=axes, keepdims=True)
        if kind in ("n", "mv"):
            x = x / np.sqrt((x**2).mean(axis=axes, keepdims=True))
        gain, bias = (p.get(f"block.{layer}.{what}") for what in ("gain", "bias"))
        return x if gain is None else x * over(gain) + over(bias)

    def over(channels):
        return channels[:, None, None, None, :]

    inside = {"none": "identity", "fn-inside": "n", "fn-mv-inside": "mv", "ln": "mv"}[arrangement["norm"]]
    branch = convolution(unit(convolution(x, "conv1", stride), "norm1", inside), "conv2")
    shortcut = convolution(x, "shortcut", stride) if projected else x
    if given.variant["block"] == "inside":
        return shortcut + unit(branch, "norm2", end)
    return unit(shortcut + (branch / 2 if given.variant["block"] == "halved" else branch), "norm2", end)
