"""Assignment 3, with its variants and wrong submissions. Never handed out."""

from minifl.course.assignments import Assignment, Choice, Mistake, Patch

CONV, POOL, RESNET, BLOCKS = ("minifl/layers/conv.py", "minifl/layers/pool.py", "minifl/models/resnet.py",
                              "minifl/models/blocks.py")
SHEET = "minifl/course/hw3/sheet.md"


def _at_the_boundary(entry, exit):
    """Patches of conv2d and conv2d_backward: `entry` puts a kernel into the published form, `exit`
    its gradient back."""
    return (Patch(CONV, "    kh, kw, _, f = weight.shape[1:]\n", f"    {entry}\n    kh, kw, _, f = weight.shape[1:]\n"),
            Patch(CONV, "    if not input_gradient:\n", f"    {exit}\n    if not input_gradient:\n"))


PYTORCH = (
    *_at_the_boundary("weight = get_xp(weight).transpose(weight, (0, 3, 4, 2, 1))   # (K, kh, kw, C, F)",
                      "dweight = get_xp(dy).transpose(dweight, (0, 4, 3, 1, 2))"),
    Patch(CONV, "padding, c] W[i, j, c, f] + b[f]", "padding, c] W[f, c, i, j] + b[f]"),
    Patch(CONV, "weight  (K, kh, kw, C, F)   PyTorch's `Conv2d.weight` (F, C, kh, kw) transposed",
          "weight  (K, F, C, kh, kw)   that of a client is as PyTorch's `Conv2d.weight`"),
    Patch(CONV, "c] W[i, j, c, f] + b[f] in padded", "c] W[f, c, i, j] + b[f] in padded"),
    Patch(CONV, "dL/dW[i, j, c, f] = sum", "dL/dW[f, c, i, j] = sum"),
    Patch(CONV, "sum_{i, j, f} W[i, j, c, f] dy", "sum_{i, j, f} W[f, c, i, j] dy"),
    Patch(SHEET, "of the padded map with W[i, j];", "of the padded map with W[:, :, i, j] transposed;"),
    Patch(SHEET, "for one weight W[i, j, c, f] (at", "for one weight W[f, c, i, j] (at"),
    Patch(BLOCKS, "conv2d(x, weight, p.get", "conv2d(x, weight.transpose(0, 4, 3, 1, 2), p.get"),
    Patch(BLOCKS, "conv2d_backward(dy, cache, **options)\n",
          "conv2d_backward(dy, cache, **options)\n    dweight = dweight.transpose(0, 3, 4, 2, 1)\n"))

FLIPPED = (
    *_at_the_boundary("weight = weight[:, ::-1, ::-1]", "dweight = dweight[:, ::-1, ::-1]"),
    Patch(CONV, "2-d convolution (cross-correlation, as everywhere in deep learning), NHWC:",
          "2-d convolution as mathematics defines it, with the kernel flipped, NHWC:"),
    Patch(CONV, "padding, c] W[i, j, c, f] + b[f]", "padding, c] W[kh-1-i, kw-1-j, c, f] + b[f]"),
    Patch(CONV, "PyTorch's `Conv2d.weight` (F, C, kh, kw) transposed",
          "PyTorch's `Conv2d.weight` (F, C, kh, kw) transposed and flipped"),
    Patch(CONV, "Derivation, one client: y[o, q, f]",
          "Derivation, one client, in V[i, j] = W[kh-1-i, kw-1-j], whose gradient is flipped back:\n    y[o, q, f]"),
    Patch(CONV, "c] W[i, j, c, f] + b[f] in padded", "c] V[i, j, c, f] + b[f] in padded"),
    Patch(CONV, "dL/dW[i, j, c, f] = sum", "dL/dV[i, j, c, f] = sum"),
    Patch(CONV, "sum_{i, j, f} W[i, j, c, f] dy", "sum_{i, j, f} V[i, j, c, f] dy"),
    Patch(SHEET, "of the padded map with W[i, j];", "of the padded map with W[kh-1-i, kw-1-j];"))

LAST = (
    Patch(POOL, "in a tie the first in row-major order wins, as in PyTorch.",
          "in a tie the last in row-major order wins."),
    Patch(POOL, "pixel is larger than the largest one so far.", "pixel is no less than the largest one so far."),
    Patch(POOL, "wins = x[window].real > y.real", "wins = x[window].real >= y.real"))

SHARED = (
    Patch(POOL, "A window's winner is its largest pixel; in a tie the first in row-major order wins, as in PyTorch. "
          "Numbers are\n    compared by their real part.",
          "A window's winner is its largest pixel; in a tie all of the largest win and share the window's gradient\n"
          "    equally. Numbers are compared by their real part."),
    Patch(POOL, """ with all windows at once: a place wins where its
    pixel is larger than the largest one so far. The cache holds the winner of each window as the number of its place.
""", """ with all windows at once. The cache holds x and y:
    the winners are where they agree.
"""),
    Patch(POOL, """    y, winner = x[first], xp.zeros(x[first].shape, dtype=int)
    for position, window in enumerate(others, start=1):
        wins = x[window].real > y.real
        y, winner = xp.where(wins, x[window], y), xp.where(wins, position, winner)
    return y, (x.shape, winner, size, stride)
""", """    y = x[first]
    for window in others:
        y = xp.where(x[window].real > y.real, x[window], y)
    return y, (x, y, size, stride)
"""),
    Patch(POOL, """y = x[winner], so each window hands its gradient to its winner alone. Where windows overlap
    (stride < size) a pixel may win several, and its shares add up.
""", """y = x[winner], so each window hands its gradient to its winner alone, or in equal shares to its
    winners. Where windows overlap (stride < size) a pixel may win several, and its shares add up.
"""),
    Patch(SHEET, "says who is taken for the winner.", "says what is taken for it."),
    Patch(POOL, """    shape, winner, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for position, window in enumerate(_windows(shape, size, stride)):
        dx[window] += dy * (winner == position)
    return dx
""", """    x, y, size, stride = cache
    windows = list(_windows(x.shape, size, stride))
    wins = [x[window].real == y.real for window in windows]
    share = dy / sum(wins).astype(dy.real.dtype)
    dx = get_xp(dy).zeros(x.shape, dtype=dy.dtype)
    for window, won in zip(windows, wins):
        dx[window] += share * won
    return dx
"""))

INSIDE = (
    Patch(RESNET, "y = act(shortcut(x) + conv2(act(conv1(x))))", "y = shortcut(x) + act(conv2(act(conv1(x))))"),
    Patch(RESNET, "y = norm2(shortcut(x) + conv2(norm1(conv1(x))))", "y = shortcut(x) + norm2(conv2(norm1(conv1(x))))"),
    Patch(RESNET, """        y, act2 = unit(arr, a + x, p, f"{name}.norm2", block.end)
        return y, (""", """        a, act2 = unit(arr, a, p, f"{name}.norm2", block.end)
        return x + a, ("""),
    Patch(RESNET, """            s = shortcut(x) + branch(x)    =>    dx = shortcut'(ds) + branch'(ds)
""", """            y = shortcut(x) + branch(x)    =>    dx = shortcut'(dy) + branch'(dy)
"""),
    Patch(RESNET, """        d_sum = unit_backward(arr, dy, act2, g, f"{name}.norm2", block.end)
        d = convolve_backward(arr, d_sum, conv2,""",
          """        d = unit_backward(arr, dy, act2, g, f"{name}.norm2", block.end)
        d = convolve_backward(arr, d, conv2,"""),
    Patch(RESNET, "(arr, d_sum, shortcut, g, f\"{name}.shortcut\") if block.projected else d_sum",
          "(arr, dy, shortcut, g, f\"{name}.shortcut\") if block.projected else dy"))

HALVED = (
    Patch(RESNET, "y = act(shortcut(x) + conv2(act(conv1(x))))", "y = act(shortcut(x) + conv2(act(conv1(x)))/2)"),
    Patch(RESNET, "y = norm2(shortcut(x) + conv2(norm1(conv1(x))))",
          "y = norm2(shortcut(x) + conv2(norm1(conv1(x)))/2)"),
    Patch(RESNET, "unit(arr, a + x, p,", "unit(arr, a / 2 + x, p,"),
    Patch(RESNET, """            s = shortcut(x) + branch(x)    =>    dx = shortcut'(ds) + branch'(ds)
""", """            s = shortcut(x) + branch(x)/2    =>    dx = shortcut'(ds) + branch'(ds/2)
"""),
    Patch(RESNET, "convolve_backward(arr, d_sum, conv2,", "convolve_backward(arr, d_sum / 2, conv2,"))

ASSIGNMENT = Assignment(
    name="hw3",
    files=(CONV, POOL, RESNET),
    given=("minifl/__init__.py", "minifl/backend.py", "minifl/errors.py", "minifl/params.py", "minifl/rng.py",
           "minifl/layers/__init__.py", "minifl/layers/activations.py", "minifl/layers/batchnorm.py",
           "minifl/layers/linear.py", "minifl/layers/norm.py", "minifl/layers/weights.py",
           "minifl/models/arrangement.py", BLOCKS, "minifl/models/network.py", "minifl/models/norms.py",
           "minifl/course/comparing.py", "minifl/course/hw3/drivers.py", "minifl/course/hw3/expected.py"),
    patches=(Patch(BLOCKS, "from minifl.fast import conv2d", "from minifl.layers.conv import conv2d"),),   # the student's
    withheld=(*(f"minifl.layers.conv.{name}" for name in ("output_size", "_unfold", "_unfold_transposed", "_places")),
              "minifl.layers.pool._windows"),
    choices={
        "kernel": {
            "published": Choice("convolution: the kernel is not flipped (cross-correlation) and is stored as "
                                "(K, kh, kw, C, F)."),
            "pytorch": Choice("convolution: the kernel is not flipped (cross-correlation) and is stored as "
                              "(K, F, C, kh, kw), like PyTorch's.", PYTORCH),
            "flipped": Choice("convolution: the kernel is flipped along both axes, as mathematics defines it, and is "
                              "stored as (K, kh, kw, C, F).", FLIPPED)},
        "ties": {
            "published": Choice("max-pooling: of equal largest numbers in a window the first, row by row, wins."),
            "last": Choice("max-pooling: of equal largest numbers in a window the last, row by row, wins.", LAST),
            "shared": Choice("max-pooling: equal largest numbers in a window share its gradient equally.", SHARED)},
        "block": {
            "published": Choice("residual block: the last activation and its norm stand after the sum."),
            "inside": Choice("residual block: the last activation and its norm stand in the branch, before the sum.",
                             INSIDE),
            "halved": Choice("residual block: the branch enters the sum with the factor 1/2.", HALVED)}},
    mistakes=(
        Mistake("convolution", "padding above and on the left only", CONV,
                "padded[:, :, padding:padding + h, padding:padding + w] = x",
                "padded[:, :, 2 * padding:, 2 * padding:] = x"),
        Mistake("convolution", "the stride along the height only", CONV,
                "slice(i, shape[2] - kh + i + 1, stride), slice(j, shape[3] - kw + j + 1, stride)",
                "slice(i, shape[2] - kh + i + 1, stride), slice(j, j + (shape[3] - kw) // stride + 1)"),
        Mistake("convolution", "y is float64 whatever comes in", CONV,
                "return y, (unfolded, weight", "return y.astype(float), (unfolded, weight"),
        Mistake("convolution", "no error for a kernel that does not fit", CONV,
                "    if kh > h or kw > w:\n", "    if False:\n"),
        Mistake("convolution", "the input's gradient also when nobody asks for it", CONV,
                "    if not input_gradient:\n        return None, dweight, dbias\n", ""),
        Mistake("pooling", "in a tie the last wins", POOL,
                "wins = x[window].real > y.real", "wins = x[window].real >= y.real"),
        Mistake("pooling", "the stride is 1 unless given", POOL,
                "    stride = stride or size\n    check_window(x.shape, size)\n    xp",
                "    stride = stride or 1\n    check_window(x.shape, size)\n    xp"),
        Mistake("pooling", "the sum of a window for its mean", POOL,
                "for window in _windows(x.shape, size, stride)) / size**2",
                "for window in _windows(x.shape, size, stride))"),
        Mistake("pooling", "of overlapping windows only the last hands its gradient on", POOL,
                "        dx[window] += dy * (winner == position)", "        dx[window] = dy * (winner == position)"),
        Mistake("residual block", "the shortcut without the last row", RESNET,
                "x, shortcut = convolve(arr, x, p, f\"{name}.shortcut\", stride=block.stride)",
                "x, shortcut = convolve(arr, x[:, :, :-1], p, f\"{name}.shortcut\", stride=block.stride)"),
        Mistake("residual block", "the second convolution has the block's stride, too", RESNET,
                "f\"{name}.conv2\", padding=1)\n        shortcut",
                "f\"{name}.conv2\", stride=block.stride, padding=1)\n        shortcut"),
        Mistake("residual block", "the inner activation is left out on the way back", RESNET,
                "        d = unit_backward(arr, d, act1, g, f\"{name}.norm1\", arr.branch)\n", ""),
        Mistake("residual block", "the sum halves the gradient", RESNET,
                "        return d_main + d_shortcut\n", "        return (d_main + d_shortcut) / 2\n")))
