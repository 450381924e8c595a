"""Public tests of assignment 3; expected.py says how they find out."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minifl.backend import Array
from minifl.course.comparing import compare
from minifl.course.hw3 import drivers
from minifl.course.hw3.expected import (GRADIENT, MAP, STEP, VALUE, WINS, along, average, block_by_hand,
                                        block_problems, check_direction, conv_problems, correlation, global_average,
                                        layers_of_block, pool_problems, pooled, preferred, repeated, stored, units,
                                        winner)
from minifl.course.running import Given, Student, expect, graded

SINGLE = 1e-4       # of numbers in float32
CONV, POOL, BLOCK = "convolution", "pooling", "residual block"


def raises_value_error(function: Callable, *arguments: Any, **options: Any) -> bool:
    """Whether the call raises ValueError."""
    try:
        function(*arguments, **options)
    except ValueError:
        return True
    return False


# ---- convolution

@graded(CONV, 2, "the sum in the docstring of conv2d: which pixel of x meets which number of the kernel?")
def conv_values(student: Student, given: Given) -> None:
    """The convolution has the values of scipy.signal, for stride 1, without padding and bias."""
    conv = student("minifl.layers.conv")
    rng = given.rng("plain")
    kh, kw, k, c, f = (given.size(f"plain {axis}", 2, 4) for axis in ("height", "width", "clients", "in", "out"))
    for h, w in ((kh + 3, kw + 1), (kh, kw + 4), (kh, kw)):
        x, weight = rng.standard_normal((k, 3, h, w, c)), rng.standard_normal((k, kh, kw, c, f))
        y, _ = conv.conv2d(x, stored(weight, given))
        expected = correlation(x, weight, None, given, stride=1, padding=0)
        compare(f"y (kernel {kh}x{kw}, map {h}x{w})", y, expected, VALUE, MAP)


@graded(CONV, 1, "the sum in the docstring of conv2d: where do stride and padding stand, and where the bias?")
def conv_options(student: Student, given: Given) -> None:
    """Stride, padding and bias do what the docstring says."""
    conv = student("minifl.layers.conv")
    for words, x, stored_weight, bias, options, weight in conv_problems(given):
        y, _ = conv.conv2d(x, stored_weight, bias, **options)
        compare(f"y ({words})", y, correlation(x, weight, bias, given, **options), VALUE, MAP)


@graded(CONV, 1, "'returns' and 'Raises' in the docstring of conv2d, and its task on types")
def conv_types_and_errors(student: Student, given: Given) -> None:
    """float32 in gives float32 out, the inputs stay as they are, and a kernel that does not fit is an error."""
    conv = student("minifl.layers.conv")
    for words, x, weight, bias, options, kernel in conv_problems(given):
        single = [array.astype(np.float32) for array in (x, weight, bias)]
        before = [array.copy() for array in single]
        y, _ = conv.conv2d(*single, **options)
        expect(y.dtype == np.float32, f"y of float32 inputs is {y.dtype}, it should be float32 ({words})")
        compare(f"y of float32 inputs ({words})", y, correlation(x, kernel, bias, given, **options), SINGLE, MAP)
        expect(all(np.array_equal(*pair) for pair in zip(single, before)), f"an input was written to ({words})")
    h, w = given.size("map height", 5, 7), given.size("narrow map", 3, 4)
    for padding in (0, 1):
        for kernel in ((h + 2 * padding + 1, 1), (1, w + 2 * padding + 1)):
            weight = stored(np.ones((1, *kernel, 2, 3)), given)
            expect(raises_value_error(conv.conv2d, np.ones((1, 1, h, w, 2)), weight, padding=padding),
                   f"no ValueError for a kernel {kernel[0]}x{kernel[1]}, a map {h}x{w} and padding {padding}")


@graded(CONV, 2, "your answer to the task of conv2d_backward for one pixel of the padded map")
def conv_input_gradient(student: Student, given: Given) -> None:
    """dx is the derivative of your convolution by each pixel."""
    conv = student("minifl.layers.conv")
    for words, x, weight, bias, options, kernel in conv_problems(given):
        y, cache = conv.conv2d(x, weight, bias, **options)
        dy = given.rng("dy").standard_normal(y.shape)
        dx, _, _ = conv.conv2d_backward(dy, cache)
        e = units(x.shape[1:])
        slopes = [along(dy[k], conv.conv2d(e, repeated(weight[k], len(e)), **options)[0]) for k in range(len(x))]
        compare(f"dx ({words})", dx, np.reshape(slopes, x.shape), GRADIENT, MAP)
        u = given.rng("direction", words).standard_normal(x.shape)
        check_direction(f"dx ({words})", dy, correlation(u, kernel, None, given, **options), dx, u)


@graded(CONV, 2, "your answer to the task of conv2d_backward for one weight: what is summed over, what is not?")
def conv_weight_gradient(student: Student, given: Given) -> None:
    """dweight is the derivative of your convolution by each number of the kernel."""
    conv = student("minifl.layers.conv")
    for words, x, weight, bias, options, kernel in conv_problems(given):
        y, cache = conv.conv2d(x, weight, bias, **options)
        dy = given.rng("dy").standard_normal(y.shape)
        _, dweight, _ = conv.conv2d_backward(dy, cache)
        e = units(weight.shape[1:])
        slopes = [along(dy[k], conv.conv2d(repeated(x[k], len(e)), e, **options)[0]) for k in range(len(x))]
        compare(f"dweight ({words})", dweight, np.reshape(slopes, weight.shape), GRADIENT,
                ("client", *(f"axis {axis} of the kernel" for axis in range(4))))
        u = given.rng("direction", words).standard_normal(kernel.shape)
        moved = correlation(x, u, None, given, **options)
        check_direction(f"dweight ({words})", dy, moved, dweight, stored(u, given))


@graded(CONV, 1, "your answer to the task of conv2d_backward for one b[f]; 'is None' in its docstring")
def conv_bias_gradient(student: Student, given: Given) -> None:
    """dbias is right, it is None without a bias, and dx is None where nobody asked for it."""
    conv = student("minifl.layers.conv")
    for words, x, weight, bias, options, kernel in conv_problems(given):
        y, cache = conv.conv2d(x, weight, bias, **options)
        dy = given.rng("dy").standard_normal(y.shape)
        _, dweight, dbias = conv.conv2d_backward(dy, cache)
        e = units(bias.shape[1:])
        slopes = [along(dy[k], conv.conv2d(repeated(x[k], len(e)), repeated(0 * weight[k], len(e)), e, **options)[0])
                  for k in range(len(x))]
        compare(f"dbias ({words})", dbias, np.array(slopes), GRADIENT, ("client", "channel"))
        u = given.rng("direction", words).standard_normal(bias.shape)
        check_direction(f"dbias ({words})", dy, correlation(0 * x, kernel, u, given, **options), dbias, u)
        _, cache = conv.conv2d(x, weight, **options)
        dx, alone, dbias = conv.conv2d_backward(dy, cache, input_gradient=False)
        expect(dbias is None, f"dbias of a convolution without bias should be None ({words})")
        expect(dx is None, f"dx should be None if input_gradient is False ({words})")
        compare(f"dweight with input_gradient=False ({words})", alone, dweight, GRADIENT)


@graded(CONV, 1, "your answers to the task of conv2d_backward: does anything in your code depend on the sizes?")
def conv_many_channels(student: Student, given: Given) -> None:
    """With many channels, on maps of many rows, the gradients along random directions are right, too."""
    conv = student("minifl.layers.conv")
    rng, directions = given.rng("many channels"), 4
    for kh, padding in ((3, 1), (5, 0)):
        rows = given.size(f"rows out {kh}", 6, 10)
        x = rng.standard_normal((2, 2, rows + kh - 1 - 2 * padding, given.size("columns", 4, 6), 16))
        kernel = rng.standard_normal((2, kh, given.size("kernel width", 2, 3), 16, 2))
        y, cache = conv.conv2d(x, stored(kernel, given), padding=padding)
        compare(f"y with 16 channels and a kernel of {kh} rows", y, correlation(
            x, kernel, None, given, stride=1, padding=padding), VALUE, MAP)
        dy = rng.standard_normal(y.shape)
        dx, dweight, _ = conv.conv2d_backward(dy, cache)
        for what, gradient, at in (("dx", dx, x), ("dweight", dweight, stored(kernel, given))):
            expect(np.shape(gradient) == at.shape,
                   f"{what} has the shape {np.shape(gradient)}, it should have {at.shape}")
            for k in range(2):
                moves_x, others = what == "dx", (x if what == "dweight" else kernel)[k]
                u = rng.standard_normal((directions, *(x if moves_x else kernel).shape[1:]))
                other = repeated(others, directions)
                moved = correlation(*((u, other) if moves_x else (other, u)), None, given, stride=1, padding=padding)
                slope, yours = along(dy[k], moved), along(gradient[k], u if moves_x else stored(u, given))
                size = np.abs(dy[k] * moved).reshape(directions, -1).sum(axis=1)
                expect((np.abs(yours - slope) <= VALUE * size).all(), f"{what} is wrong with 16 channels, a kernel of "
                       f"{kh} rows and {rows} rows of outputs, along each of {directions} random directions "
                       f"by up to {np.max(np.abs(yours - slope) / size):.1e} of the terms")


# ---- pooling

def check_values(forward: Callable, function: Callable, given: Given) -> None:
    """Values, types and the error of a pooling."""
    for words, x, options in pool_problems(given):
        y, _ = forward(x, **options)
        compare(f"y ({words})", y, pooled(x, function, **options), VALUE, MAP)
        y, _ = forward(x.astype(np.float32), **options)
        expect(y.dtype == np.float32, f"y of float32 inputs is {y.dtype}, it should be float32 ({words})")
    compare("y with neither size nor stride", forward(x)[0], pooled(x, function, size=2), VALUE, MAP)
    for shape in ((4, 6), (6, 4)):
        expect(raises_value_error(forward, np.ones((1, 1, *shape, 1)), size=5),
               f"no ValueError for a window 5x5 and a map {shape[0]}x{shape[1]}")


@graded(POOL, 2, "the docstring of max_pool2d: what is compared, and what about rows and columns that are left over?")
def max_values(student: Student, given: Given) -> None:
    """Max-pooling has the values of plain loops."""
    pool = student("minifl.layers.pool")
    check_values(pool.max_pool2d, winner, given)
    for words, x, options in pool_problems(given):
        imaginary = given.rng("imaginary").standard_normal(x.shape)
        y, _ = pool.max_pool2d(x + 1j * imaginary, **options)
        winners = pooled(x + 1j * imaginary, winner, **options)
        compare(f"y of complex numbers ({words})", y, winners, VALUE, MAP)


def check_max_gradient(student: Student, given: Given, overlapping: bool) -> None:
    """dx of max-pooling, without ties: numbers are whole and different, so raising one by 1/2 changes no winner."""
    pool = student("minifl.layers.pool")
    for words, x, options in pool_problems(given):
        if (options.get("stride", options["size"]) < options["size"]) != overlapping:
            continue
        y, cache = pool.max_pool2d(x, **options)
        dy = given.rng("dy").standard_normal(y.shape)
        dx = pool.max_pool2d_backward(dy, cache)
        e = units(x.shape[1:])
        slopes = [along(dy[k], (pool.max_pool2d(x[k] + e / 2, **options)[0] - y[k]) * 2) for k in range(len(x))]
        compare(f"dx ({words})", dx, np.reshape(slopes, x.shape), GRADIENT, MAP)
        u = given.rng("direction").standard_normal(x.shape)
        check_direction(f"dx ({words})", dy, pooled(x + 1j * u, winner, **options).imag, dx, u)


@graded(POOL, 1, "the task of max_pool2d_backward: which pixels receive the gradient of one window?")
def max_gradient(student: Student, given: Given) -> None:
    """dx of max-pooling is right where windows touch or lie apart."""
    check_max_gradient(student, given, overlapping=False)


@graded(POOL, 1, "the task of max_pool2d_backward: which gradients does one pixel receive?")
def max_gradient_overlapping(student: Student, given: Given) -> None:
    """dx of max-pooling is right where windows overlap."""
    check_max_gradient(student, given, overlapping=True)


@graded(POOL, 1, "the sentence on ties in the docstring of max_pool2d")
def max_ties(student: Student, given: Given) -> None:
    """Where a window has several largest numbers, its gradient goes where the docstring says."""
    pool = student("minifl.layers.pool")
    for words, x, options in pool_problems(given):
        x = given.rng("ties").integers(0, 2, x.shape).astype(float)
        x[0, 0] = 1
        y, cache = pool.max_pool2d(x, **options)
        compare(f"y with ties ({words})", y, pooled(x, winner, **options), VALUE, MAP)
        dy = given.rng("dy").standard_normal(y.shape)
        dx = pool.max_pool2d_backward(dy, cache)
        expect(np.shape(dx) == x.shape, f"dx has the shape {np.shape(dx)}, it should have {x.shape}")
        expect(np.abs(dx.sum(axis=(2, 3)) - WINS * dy.sum(axis=(2, 3))).max() <= 1e-12 * np.abs(dy).sum(),
               f"in a channel dx does not sum to what it should, so a gradient is lost or handed out twice ({words})")
        if given.variant["ties"] == "shared":
            check_shares(pool, x[0, :1], words, **options)
            check_shares(pool, x[1, 1:], words, **options)
        else:   # whoever comes earlier in the map is made smaller, or larger, by next to nothing: no ties are left
            _, cache = pool.max_pool2d(x + preferred(x.shape, given), **options)
            compare(f"dx with ties ({words}), against dx once the one that should win is made larger by a little, ", dx,
                    pool.max_pool2d_backward(dy, cache), GRADIENT, MAP)


def check_shares(pool: Any, x: Array, words: str, *, size: int, stride: int | None = None) -> None:
    """The gradient of each window alone, one a client: equal for all its largest numbers, and 0 elsewhere."""
    stride = stride or size
    y, _ = pool.max_pool2d(x[None], size=size, stride=stride)
    dy = units(y.shape[1:])
    _, cache = pool.max_pool2d(repeated(x, len(dy)), size=size, stride=stride)
    dx = pool.max_pool2d_backward(dy, cache)
    for client, (_, o, q, c) in enumerate(np.ndindex(y.shape[1:])):
        window = np.s_[0, o * stride:o * stride + size, q * stride:q * stride + size, c]
        largest = np.zeros(x.shape, bool)
        largest[window] = x[window] == x[window].max()
        expect(not dx[client][~largest].any(), f"a pixel that is not among the largest receives a gradient ({words})")
        expect(np.ptp(dx[client][largest]) <= 1e-12, f"the largest of a window receive unequal shares ({words})")


@graded(POOL, 1, "the first line of avg_pool2d")
def avg_values(student: Student, given: Given) -> None:
    """Average pooling has the values of plain loops."""
    check_values(student("minifl.layers.pool").avg_pool2d, average, given)


@graded(POOL, 1, "the task of avg_pool2d_backward: the coefficient, and where windows overlap their number")
def avg_gradient(student: Student, given: Given) -> None:
    """dx of average pooling is the derivative of yours by each pixel."""
    pool = student("minifl.layers.pool")
    for words, x, options in pool_problems(given):
        y, cache = pool.avg_pool2d(x, **options)
        dy = given.rng("dy").standard_normal(y.shape)
        slopes = [along(d, pool.avg_pool2d(units(x.shape[1:]), **options)[0]) for d in dy]
        dx, u = pool.avg_pool2d_backward(dy, cache), given.rng("direction").standard_normal(x.shape)
        compare(f"dx ({words})", dx, np.reshape(slopes, x.shape), GRADIENT, MAP)
        check_direction(f"dx ({words})", dy, pooled(u, average, **options), dx, u)


@graded(POOL, 1, "the task of global_avg_pool_backward: what is the mean divided by?")
def global_gradient(student: Student, given: Given) -> None:
    """dx of global average pooling is the derivative of the mean by each pixel."""
    pool = student("minifl.layers.pool")
    for _, x, _ in pool_problems(given):
        y, cache = pool.global_avg_pool(x)
        compare("y of global_avg_pool, which is given,", y, global_average(x), VALUE)
        dy = given.rng("dy").standard_normal(y.shape)
        slopes = [along(d, pool.global_avg_pool(units(x.shape[1:]))[0]) for d in dy]
        compare("dx", pool.global_avg_pool_backward(dy, cache), np.reshape(slopes, x.shape), GRADIENT, MAP)


# ---- the residual block

@graded(BLOCK, 1, "the paragraph on conv1, conv2 and the shortcut in the docstring of ResNet._block")
def block_layers(student: Student, given: Given) -> None:
    """The block has the convolutions that it should have, with their strides and paddings."""
    for words, x, p, options in block_problems(given):
        expected = layers_of_block(options["stride"], options["projected"])
        asked = [tuple(call) for call in drivers.block(student, x, p, **options)["asked"]]
        for name, *_ in asked:
            expect(name in [layer for layer, _, _ in expected], f"a convolution {name!r} was asked for ({words})")
        for layer in expected:
            found = [call for call in asked if call[0] == layer[0]]
            expect(len(found) == 1, f"the convolution {layer[0]!r} was asked for {len(found)} times ({words})")
            expect(found[0] == layer, f"{layer[0]!r} has stride {found[0][1]} and padding {found[0][2]}, it should "
                   f"have {layer[1]} and {layer[2]} ({words})")


@graded(BLOCK, 1, "the equation in the docstring of ResNet._block: where does the sum stand?")
def block_values(student: Student, given: Given) -> None:
    """The block has the values of its equation."""
    for words, x, p, options in block_problems(given):
        y = drivers.block(student, x, p, **options)["y"]
        compare(f"y ({words})", y, block_by_hand(x, p, given, **options), VALUE, MAP)


def slopes_of_block(given: Given, x: Array, p: dict, dy: Array, options: dict, name: str) -> Array:
    """d<dy, y>/d(x or a parameter), one client after the other, by the complex step."""
    clients = []
    for k in range(len(x)):
        inputs = {"x": x[k]} | {layer: value[k] for layer, value in p.items()}
        e = units(inputs[name].shape)
        moved = {layer: repeated(value, len(e)).astype(complex) for layer, value in inputs.items()}
        moved[name] = moved[name] + 1j * STEP * e
        y = block_by_hand(moved.pop("x"), moved, given, **options)
        clients.append(along(dy[k], y.imag / STEP).reshape(inputs[name].shape))
    return np.array(clients)


@graded(BLOCK, 2, "the two questions in the task of ResNet._block_backward: what does x receive, and from where?")
def block_input_gradient(student: Student, given: Given) -> None:
    """dx of the block is the derivative of its equation by each pixel, for shortcuts of both kinds."""
    for words, x, p, options in block_problems(given):
        y = drivers.block(student, x, p, **options)["y"]
        dy = given.rng("dy").standard_normal(y.shape)
        dx = drivers.block(student, x, p, dy, **options)["dx"]
        compare(f"dx ({words})", dx, slopes_of_block(given, x, p, dy, options, "x"), GRADIENT, MAP)


@graded(BLOCK, 2, "the task of ResNet._block_backward: which gradient arrives at each of the layers?")
def block_parameter_gradients(student: Student, given: Given) -> None:
    """The gradients of all the block's weights, gains and biases are the derivatives of its equation."""
    for words, x, p, options in block_problems(given):
        y = drivers.block(student, x, p, **options)["y"]
        dy = given.rng("dy").standard_normal(y.shape)
        g = drivers.block(student, x, p, dy, **options)["g"]
        for name in p:
            expect(name in g, f"there is no gradient {name!r} in g ({words})")
            compare(f"the gradient of {name} ({words})", g[name], slopes_of_block(given, x, p, dy, options, name),
                    GRADIENT, ("client",))
