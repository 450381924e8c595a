"""Private variants of assignment 3: a convolution with weights by place, another frame and another layout of its kernel;
pooling (hw3_pool.py); the residual block (hw3_block.py).

`hw3` at the end says what is drawn. The functions are written out as that student's reference solution has them.
"""

from hw3_block import block, combined
from hw3_pool import DIVISORS, GLOBAL, RANKS, TIES, WEIGHTS, largest, means

from minifl.course.assignments import Choice, Patch
from minifl.course.rewriting import rewritten

CONV, BLOCKS = "minifl/layers/conv.py", "minifl/models/blocks.py"
EXPECTED, SHEET, KEY = (f"minifl/course/hw3/{file}" for file in ("expected.py", "sheet.md", "answers_key.md"))

# a kernel's axes as they are stored, after that of the clients -> (transposed to (K, kh, kw, C, F), and back)
LAYOUTS = {"F, C, kh, kw": ("0, 3, 4, 2, 1", "0, 4, 3, 1, 2"), "kh, kw, F, C": ("0, 1, 2, 4, 3", "0, 1, 2, 4, 3"),
           "C, kh, kw, F": ("0, 2, 3, 1, 4", "0, 3, 1, 2, 4"), "F, kh, kw, C": ("0, 2, 3, 4, 1", "0, 4, 1, 2, 3"),
           "C, F, kh, kw": ("0, 3, 4, 1, 2", "0, 3, 4, 1, 2")}
# what is outside of a map -> (in words, rows of the map that a frame's rows `at` are, mode of np.pad)
FRAMES = {"around": ("goes on at the other side: row -1 is the last row, and row H the first", "at % side", "wrap"),
          "nearest": ("has the number of the nearest pixel", "xp.clip(at, 0, side - 1)", "edge"),
          "mirrored": ("mirrors the map at its border: row -1 is row 0, row -2 row 1, and row H row H-1",
                       "xp.minimum(xp.maximum(at, -1 - at), 2 * side - 1 - at)", "symmetric"),
          "mirrored at pixels": ("mirrors the map at its outermost pixels: row -1 is row 1, row -2 row 2, and row H row H-2",
                                 "side - 1 - abs(side - 1 - abs(at))", "reflect")}
# how much a kernel's number counts, by its place
COUNTS = ("1", "(1 + i)", "(1 + j)", "(1 + i + j)", "(-1)**(i + j)", "(-1)**i")


def convolution(factor, bias_factor, counts, layout, flipped, frame, from_end):
    """y = factor sum of (counts x W) + bias_factor b."""
    (to, back), (words, rows, mode) = LAYOUTS[layout], FRAMES[frame]
    turned_rows, turned_columns = flipped in ("rows", "both"), flipped in ("columns", "both")
    flips = f"{'::-1' if turned_rows else ':'}, {'::-1' if turned_columns else ':'}"
    index = {"kh": "kh-1-i" if turned_rows else "i", "kw": "kw-1-j" if turned_columns else "j", "C": "c", "F": "f"}
    w = f"W[{', '.join(index[axis] for axis in layout.split(', '))}]"
    bias = ("- " if bias_factor < 0 else "+ ") + f"{abs(bias_factor):g} b[f]"
    r, s = (" + r", " + s") if from_end else ("", "")
    ends = ("\n    r = (H + 2*padding - kh) mod stride, s = (W + 2*padding - kw) mod stride: "
            "the last kernel ends with the frame" if from_end else "")
    scale = (f"i, j = xp.ogrid[:kh, :kw]\n    scale = ({factor} * {counts})[..., None, None].astype(weight.real.dtype)"
             if counts != "1" else f"scale = {factor}")
    frames = f"({rows}\n                     for side in (h, w) for at in [xp.arange(-padding, side + padding)])"
    return (*rewritten(CONV, f'''
"""2-d convolution, NHWC, with a frame that is made of the map: a map unfolded, and one product."""

def conv2d(x: Array, weight: Array, bias: Array | None = None, *, stride: int = 1, padding: int = 0) -> tuple:
    """Slide a kernel over each example's map.

        y[o, q, f] = {factor} sum_{{i, j, c}} {"" if counts == "1" else f"{counts} "}x[u, v, c] {w} {bias}

    with u = o*stride + i - padding{r} and v = q*stride + j - padding{s}{ends}

    x       (K, N, H, W, C)   the frame of `padding` pixels around it, columns as rows,
            {words}
    weight  (K, {layout})
    bias    (K, F) or None
    returns y (K, N, OH, OW, F) with OH = (H + 2*padding - kh)//stride + 1, OW likewise; cache
    Raises ValueError if the kernel is larger than the padded map.

    Derivation: E, the unfolded map, has a row for each output pixel (o, q), the kh*kw*C numbers under the kernel there.
    V is the kernel as (K, kh, kw, C, F), turned and weighed: y = E V + {bias_factor} b.
    """
    xp = get_xp(x)
    weight = xp.transpose(weight, ({to}))[:, {flips}]
    k, kh, kw, c, f = weight.shape
    oh, ow = output_size(x.shape, weight.shape, stride, padding)
    {scale}
    v = (scale * weight).reshape(k, -1, f)
    unfolded = _unfold(x, kh, kw, stride, padding)
    y = (unfolded @ v).reshape(k, x.shape[1], oh, ow, f)
    y = y if bias is None else y + {bias_factor} * bias[:, None, None, None, :]
    return y, (unfolded, v, scale, weight.shape, x.shape, bias is not None, stride, padding)

def conv2d_backward(dy: Array, cache: tuple, *, input_gradient: bool = True) -> tuple:
    """Map dL/dy (K, N, OH, OW, F) to (dL/dx, dL/dweight, dL/dbias).

    dL/dbias is None without bias; dL/dx is None if input_gradient is False (a network's first layer, whose
    input is data).

    Derivation: y = E V + {bias_factor} b, hence dV = E' dy, of which a number of W receives what it was weighed by, at the
    place where it is stored; and dE = dy V', of which a pixel of x receives the sum over all places where E holds it,
    those in the frame among them.
    """
    unfolded, v, scale, (k, kh, kw, c, f), shape, has_bias, stride, padding = cache
    xp, rows = get_xp(dy), dy.reshape(k, -1, f)
    dbias = {bias_factor} * rows.sum(axis=1) if has_bias else None
    dweight = scale * (xp.swapaxes(unfolded, 1, 2) @ rows).reshape(k, kh, kw, c, f)
    dweight = xp.transpose(dweight[:, {flips}], ({back}))
    if not input_gradient:
        return None, dweight, dbias
    return _unfold_transposed(rows @ xp.swapaxes(v, 1, 2), shape, kh, kw, stride, padding), dweight, dbias

def _unfold(x, kh, kw, stride, padding):
    """E: (K, N, H, W, C) -> (K, N*OH*OW, kh*kw*C)."""
    xp, (k, n, h, w, c) = get_xp(x), x.shape
    rows, columns = {frames}
    padded = x[:, :, rows][:, :, :, columns]
    seen = [padded[place] for place in _places(padded.shape, kh, kw, stride)]
    return xp.stack(seen, axis=4).reshape(k, -1, kh * kw * c)

def _unfold_transposed(d, shape, kh, kw, stride, padding):
    """The transpose, (K, N*OH*OW, kh*kw*C) -> `shape`: each number is added to where it came from."""
    xp, (k, n, h, w, c) = get_xp(d), shape
    padded = xp.zeros((k, n, h + 2 * padding, w + 2 * padding, c), dtype=d.dtype)
    for position, place in enumerate(_places(padded.shape, kh, kw, stride)):
        padded[place] += d[:, :, position * c:(position + 1) * c].reshape(padded[place].shape)
    narrow, dx = xp.zeros((k, n, h, w + 2 * padding, c), dtype=d.dtype), xp.zeros(shape, dtype=d.dtype)
    rows, columns = {frames}
    for framed, row in enumerate(rows.tolist()):
        narrow[:, :, row] += padded[:, :, framed]
    for framed, column in enumerate(columns.tolist()):
        dx[:, :, :, column] += narrow[:, :, :, framed]
    return dx

def _places(shape, kh, kw, stride):
    """For each place (i, j) in the kernel, row by row, the slice of a padded map that it meets, over all (o, q)."""
    r, s = {"(shape[2] - kh) % stride, (shape[3] - kw) % stride" if from_end else "0, 0"}
    for i in range(kh):
        for j in range(kw):
            yield (slice(None), slice(None),
                   slice(r + i, shape[2] - kh + i + 1, stride), slice(s + j, shape[3] - kw + j + 1, stride))
'''), *rewritten(EXPECTED, f'''
def stored(weight, given):
    """A kernel (K, kh, kw, C, F) as conv2d takes it."""
    return weight.transpose({back}).copy()

def correlation(x, weight, bias, given, *, stride, padding):
    """What conv2d should return, one pair of channels after the other; weight (K, kh, kw, C, F)."""
    x = np.pad(x, ((0, 0), (0, 0), (padding, padding), (padding, padding), (0, 0)), mode="{mode}")
    i, j = np.indices(weight.shape[1:3])
    counts = {counts} + 0 * i
    begin = [(side - kernel) % stride if {from_end} else 0 for side, kernel in zip(x.shape[2:4], weight.shape[1:3])]
    clients = []
    for one, kernel, b in zip(x, weight, np.zeros((len(x), weight.shape[4])) if bias is None else bias):
        kernel = kernel[{flips}]
        clients.append([[{bias_factor} * b[f] + {factor} * sum(
            signal.correlate(example[:, :, c], counts * kernel[:, :, c, f], mode="valid", method="direct")
            for c in range(x.shape[4]))[begin[0]::stride, begin[1]::stride]
                         for f in range(weight.shape[4])] for example in one])
    return np.moveaxis(np.array(clients), 2, 4)
'''), Patch(SHEET, "of the padded map with W[i, j];", "of the padded map with the weights of this position;"),
        Patch(SHEET, "for one weight W[i, j, c, f] (at", "for one weight of W (at"),
        Patch(SHEET, "What has to happen to the frame of zeros?", "Whose gradient is that of a pixel in the frame?"),
        Patch(SHEET, "**padding** a frame of zeros around the map", "**padding** a frame of further pixels around the map"),
        Patch(KEY, "hold the same weights at shifted places.",
              "hold the same weights at shifted\nplaces; where the frame repeats a pixel they add up."),
        Patch(KEY, "of which 576 in a row", "of which at most 576 in a row"),
        Patch(BLOCKS, "conv2d(x, weight, p.get", f"conv2d(x, weight.transpose({back}), p.get"),
        Patch(BLOCKS, "conv2d_backward(dy, cache, **options)\n",
              f"conv2d_backward(dy, cache, **options)\n    dweight = dweight.transpose({to})\n"))


def hw3(draw):
    """The variant of one student."""
    factor, bias_factor = draw("factor of the sum", [2, 3, 0.5, -2]), draw("factor of the bias", [2, 0.5, -1, -2])
    kernel = (draw("weighed by", list(COUNTS)), draw("kernel stored as", list(LAYOUTS)),
              draw("kernel turned", ["nothing", "rows", "columns", "both"]), draw("frame", list(FRAMES)),
              draw("strides from the end", [0, 1]))
    windows_from_end = draw("windows from the end", [0, 1])
    winner, rank, tie = (
        draw("factor of the winner", [2, 3, 0.5, -1, -2]), draw("winner", list(RANKS)), draw("of equals", list(TIES)))
    mean = (draw("weights of a window", list(WEIGHTS)), draw("divided by", list(DIVISORS)),
            draw("map divided by", list(GLOBAL)))
    shortcut, after = draw("shortcut before and after norm2", [(1, -1), (2, 1), (-1, 2), (0.5, 1), (0, 1), (0, 2), (2, 0),
                                                               (-1, 0)])
    factors = (draw("branch", [0.5, 2, -1, 3]), after, draw("norm2", [2, -1, 0.5]), draw("inner way", [1, 2, -1, 0.5]))
    kernels = draw("conv1", [3, 5, 1]), draw("conv2", [5, 1, 7]), draw("shortcut's kernel", [1, 3])
    weighed = "" if kernel[0] == "1" else f" {kernel[0]}"
    sum_ = combined((shortcut, "s"), (factors[0], "b"))
    return {
        "kernel": Choice(
            f"convolution: {factor} times the sum of{weighed} x W, plus {bias_factor} b; the kernel is stored as "
            f"(K, {kernel[1]}), with {kernel[2]} turned; the frame {FRAMES[kernel[3]][0]}.",
            convolution(factor, bias_factor, *kernel)),
        "ties": Choice(
            f"max-pooling: {winner} times {rank} of a window in descending order, of equals {tie}, before the others.",
            largest(winner, rank, tie, windows_from_end)),
        "means": Choice(
            f"average pooling: the sum of ({mean[0]}) x_ij divided by {mean[1]}; global: the sum divided by {mean[2]}.",
            means(*mean, windows_from_end)),
        "block": Choice(
            f"residual block: y = {combined((after, 's'), (factors[2], f'norm2({sum_})'))} with "
            f"b = {combined((1, 'conv2(t)'), (factors[3], 't'))}, t = norm1(conv1(x)), s = shortcut(x).",
            block(shortcut, *factors, *kernels))}
