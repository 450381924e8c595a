"""Pooling of private variants of assignment 3: another winner, weights in a mean, windows laid out from the other end."""

from minifl.course.assignments import Patch
from minifl.course.rewriting import rewritten

POOL = "minifl/layers/pool.py"
EXPECTED, TESTS, SHEET, KEY = (f"minifl/course/hw3/{file}" for file in (
    "expected.py", "tests.py", "sheet.md", "answers_key.md"))

# the winner -> its place in descending order
RANKS = {"the second": 1, "the third": 2, "the last but one": -2, "the last": -1}
# which of equals stands before the others -> (code of a stack of windows in this order, what is added to make it larger)
TIES = {"the first, row by row": ("windows", "-", ""), "the last, row by row": ("windows[::-1]", "", ""),
        "the first, column by column": ("[each for j in range(size) for each in windows[j::size]]", "-", ".T"),
        "the last, column by column": ("[each for j in range(size) for each in windows[j::size]][::-1]", "", ".T")}
WEIGHTS = ("1 + i", "1 + j", "size - i", "size - j", "1 + i + j", "1 + 2*i - j", "1 - 2*i", "1 - i + j")
DIVISORS = {"size": "size", "2 size": "2 * size", "size^2 + 1": "(size * size + 1)"}
GLOBAL = {"H": ("h", "x.shape[2]"), "W": ("w", "x.shape[3]"), "H + W": ("(h + w)", "sum(x.shape[2:4])"),
          "2HW": ("(2 * h * w)", "2 * x[0, 0, ..., 0].size"), "-HW": ("(-h * w)", "-x[0, 0, ..., 0].size")}
TEXTS = tuple(Patch(SHEET, old, new) for old, new in (
    ("one number (largest, mean) for each", "one number for each"),
    ("is a window with equal\n  largest numbers", "is a window with equal\n  numbers, of which one is picked"),
    ("the gradient of a maximum goes", "the gradient of a number that is picked goes"),
    ("equal the largest one has no derivative. Why is it wrong to give each of them\nthe whole gradient of the window?",
     "equal the winner may have no derivative. Why is it wrong to give each of\nthem all that a winner gets?")))


def largest(factor, rank, tie, from_end):
    """y = factor x[winner], the winner in another place of the descending order, other ties."""
    stack, sign, transposed = TIES[tie]
    left_out = ("counted from the last row and column on: those at the beginning that\n"
                "             fill no whole window are left out" if from_end else
                "rows and columns that fill no whole window are left out")
    return (*rewritten(POOL, f'''
def max_pool2d(x: Array, *, size: int = 2, stride: int | None = None) -> tuple:
    """{factor} times the winner of each size x size window, channel by channel.

    x        (K, N, H, W, C)
    size     at least 2
    stride   distance of the windows, default size; {left_out}
    returns  y (K, N, OH, OW, C) with OH = (H - size)//stride + 1; cache

    A window's pixels are put into descending order, compared by their real part; of equal ones
    {tie}, stands before the others. The winner is {rank} in this order.
    Raises ValueError if size exceeds H or W.

    Derivation: a stack of the size² places, in the order of ties, is sorted stably by -x with all windows at once. The
    cache holds the winner of each window as its number in this stack.
    """
    stride = stride or size
    check_window(x.shape, size)
    xp = get_xp(x)
    windows = list(_windows(x.shape, size, stride))
    stack = xp.stack([x[window] for window in
                      {stack}])
    winner = xp.argsort(-stack.real, axis=0, kind="stable")[{RANKS[rank]}]
    return {factor} * xp.take_along_axis(stack, winner[None], axis=0)[0], (x.shape, winner, size, stride)

def max_pool2d_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, OH, OW, C) to dL/dx (K, N, H, W, C).

    Derivation: y = {factor} x[winner], so each window hands {factor} times its gradient to its winner alone. Where
    windows overlap (stride < size) a pixel may win several, and its shares add up.
    """
    shape, winner, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    windows = list(_windows(shape, size, stride))
    windows = {stack}
    for position, window in enumerate(windows):
        dx[window] += {factor} * dy * (winner == position)
    return dx
'''), *rewritten(EXPECTED, f'''
def winner(window):
    """What your max-pooling makes of a window, by its real parts; where there are ties, of their real numbers."""
    return {factor} * sorted(window.ravel(), key=lambda number: -number.real)[{RANKS[rank]}]

def preferred(shape, given):
    """Numbers (H, W, 1), smaller than 1/2, that make who stands first of equals larger than the others."""
    h, w = shape[2:4]
    return {sign}np.arange(h * w).reshape({"w, h" if transposed else "h, w"}){transposed}[:, :, None] / (2 * h * w)
'''), Patch(EXPECTED, "WINS = 1  ", f"WINS = {factor}  "),
        Patch(SHEET, "says who is taken for the winner.", "says who stands before whom."),
        *TEXTS, Patch(KEY, "y grows by t: the gradients", f"y grows by {factor} t: the gradients"),
        Patch(KEY, """
window's, not to m times it. (Any shares that are at least 0 and add up to 1 are a subgradient: first, last and shared
all are.)""", f"""
window's times {factor}, not to m times that."""))


def means(weights, divisor, size_of_map, from_end):
    """avg_pool2d with weights by place, and another divisor; global_avg_pool with another one."""
    by, (of_map, by_hand) = DIVISORS[divisor], GLOBAL[size_of_map]
    return (*rewritten(POOL, f'''
def avg_pool2d(x: Array, *, size: int = 2, stride: int | None = None) -> tuple:
    """Of each size x size window ({weights}) x_ij, summed over rows i and columns j, from 0, and divided by
    {divisor}; channel by channel, with windows, arguments, shapes and ValueError as max_pool2d, and size 1 allowed."""
    stride = stride or size
    check_window(x.shape, size)
    y = 0
    for position, window in enumerate(_windows(x.shape, size, stride)):
        i, j = divmod(position, size)
        y = y + ({weights}) * x[window]
    return y / {by}, (x.shape, size, stride)

def avg_pool2d_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, OH, OW, C) to dL/dx (K, N, H, W, C).

    Derivation: y is linear with coefficient ({weights})/({divisor}) for pixel (i, j) of the window.
    """
    shape, size, stride = cache
    dx = get_xp(dy).zeros(shape, dtype=dy.dtype)
    for position, window in enumerate(_windows(shape, size, stride)):
        i, j = divmod(position, size)
        dx[window] += ({weights}) * dy / {by}
    return dx

def global_avg_pool(x: Array) -> tuple:
    """The sum over the whole map divided by {size_of_map}: (K, N, H, W, C) -> (K, N, C). Returns y, cache."""
    h, w = x.shape[2:4]
    return x.sum(axis=(2, 3)) / {of_map}, x.shape

def global_avg_pool_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy (K, N, C) to dL/dx (K, N, H, W, C).

    Derivation: each of the pixels has coefficient 1/({size_of_map}).
    """
    xp = get_xp(dy)
    _, _, h, w, _ = cache
    return xp.broadcast_to((dy / {of_map})[:, :, None, None, :], cache)
'''), *(rewritten(POOL, '''
def _windows(shape, size, stride):
    """For each place in the window, row by row, the slice of x that holds that pixel of every window."""
    h, w = ((side - size) % stride for side in shape[2:4])
    for i in range(size):
        for j in range(size):
            yield (slice(None), slice(None),
                   slice(h + i, shape[2] - size + i + 1, stride), slice(w + j, shape[3] - size + j + 1, stride))
''') if from_end else ()), *rewritten(EXPECTED, f'''
def average(window):
    """What your average pooling makes of a window."""
    size = len(window)
    return sum(({weights}) * window[i, j] for i, j in np.ndindex(size, size)) / {by}

def global_average(x):
    """(K, N, H, W, C) -> (K, N, C): what your global_avg_pool, which is given, makes of whole maps."""
    return np.einsum("knhwc->knc", x) / ({by_hand})
'''), *((Patch(EXPECTED, "range(0, side - size + 1, stride)", "range((side - size) % stride, side - size + 1, stride)"),)
        if from_end else ()),
        Patch(SHEET, "As max_pool2d, with the mean.", "As max_pool2d, with the sum of the docstring."),
        Patch(TESTS, "global average pooling is the derivative of the mean by each pixel.",
              "global average pooling is the derivative of yours, which is given, by each pixel."),
        Patch(TESTS, "the task of global_avg_pool_backward: what is the mean divided by?",
              "the task of global_avg_pool_backward: what is the sum divided by?"))
