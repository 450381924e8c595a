"""The residual block of private variants of assignment 3: ways around its convolutions with factors, and other kernels."""

from minifl.course.assignments import Patch
from minifl.course.rewriting import rewritten

RESNET = "minifl/models/resnet.py"
EXPECTED, KEY = "minifl/course/hw3/expected.py", "minifl/course/hw3/answers_key.md"


def combined(*terms, times=" "):
    """"2 s - 3 b" of (2, "s"), (-3, "b"); no factor 1, and nothing times 0."""
    text = ""
    for factor, what in terms:
        sign = (" - " if factor < 0 else " + ") if text else ("-" if factor < 0 else "")
        text += (sign + (f"{abs(factor):g}{times}" if abs(factor) != 1 else "") + what) if factor else ""
    return text


def block(shortcut, branch, after, last, inner, conv1, conv2, projection):
    """y = after s + last norm2(shortcut s + branch b) with t = norm1(conv1(x)), b = conv2(t) + inner t, s = shortcut(x)."""
    sum_ = combined((shortcut, "s"), (branch, "b"))
    whole = combined((after, "s"), (last, f"norm2({sum_})"))
    b = combined((1, "conv2(t)"), (inner, "t"))
    step = {"s": combined((shortcut, "s"), (branch, "b"), times=" * "),
            "y": combined((after, "s"), (last, "y"), times=" * "),
            "ds": combined((after, "dy"), (shortcut, "d"), times=" * ")}
    pad1, pad2, pad = conv1 // 2, conv2 // 2, projection // 2
    ways = " + ".join([f"{shortcut:g} S'd"] * bool(shortcut) + [f"{after:g} S'dy"] * bool(after))
    return (*rewritten(RESNET, f'''
def _block(self, block, x, p):
    """One basic block.

        t = norm1(conv1(x))      b = {b}      s = shortcut(x)
        y = {whole}

    block    Block; its layers have the names f"{{block.name}}.conv1" and so on
    x        (K, N, H, W, C)
    p        the named views of theta
    returns  y (K, N, OH, OW, block.channels), cache

    conv1 is {conv1}x{conv1} with padding {pad1} and block.stride, conv2 {conv2}x{conv2} with padding {pad2}.
    The shortcut is x itself, or, if block.projected, a {projection}x{projection} convolution with padding {pad} and
    block.stride named "shortcut". norm1 and norm2 are units, an activation with its norm: norm1 of kind
    arrangement.branch, norm2 of kind block.end.
    """
    arr, name = self.arrangement, block.name
    t, conv1 = convolve(arr, x, p, f"{{name}}.conv1", stride=block.stride, padding={pad1})
    t, act1 = unit(arr, t, p, f"{{name}}.norm1", arr.branch)
    b, conv2 = convolve(arr, t, p, f"{{name}}.conv2", padding={pad2})
    b = b + {inner} * t
    s, shortcut = x, None
    if block.projected:
        s, shortcut = convolve(arr, x, p, f"{{name}}.shortcut", stride=block.stride, padding={pad})
    y, act2 = unit(arr, {step["s"]}, p, f"{{name}}.norm2", block.end)
    return {step["y"]}, (conv1, act1, conv2, shortcut, act2)

def _block_backward(self, block, dy, cache, g):
    """Map dL/dy (K, N, OH, OW, block.channels) to dL/dx (K, N, H, W, C).

    The gradients of the block's parameters go into the dict g, by name.

    Derivation, with d the gradient that comes back through {last:g} norm2: a sum hands its gradient to each of its
    terms, times the term's factor, and what is used twice receives the sum of what comes back:

        ds = {combined((after, "dy"), (shortcut, "d"))}    db = {branch:g} d    dt = conv2'(db) + {inner:g} db
        dx = shortcut'(ds) + conv1'(norm1'(dt))
    """
    arr, name = self.arrangement, block.name
    conv1, act1, conv2, shortcut, act2 = cache
    d = unit_backward(arr, {last:g} * dy, act2, g, f"{{name}}.norm2", block.end)
    ds, db = {step["ds"]}, {branch:g} * d
    dt = {inner:g} * db + convolve_backward(arr, db, conv2, g, f"{{name}}.conv2")
    dt = unit_backward(arr, dt, act1, g, f"{{name}}.norm1", arr.branch)
    if block.projected:
        ds = convolve_backward(arr, ds, shortcut, g, f"{{name}}.shortcut")
    return ds + convolve_backward(arr, dt, conv1, g, f"{{name}}.conv1")
''', of="ResNet"), *rewritten(EXPECTED, f'''
def layers_of_block(stride, projected):
    """(name, stride, padding) of the block's convolutions."""
    asked = [("block.conv1", stride, {pad1}), ("block.conv2", 1, {pad2})]
    return asked + [("block.shortcut", stride, {pad})] if projected else asked
'''), Patch(EXPECTED, '''    branch = convolution(unit(convolution(x, "conv1", stride), "norm1", inside), "conv2")
''', f'''    within = unit(convolution(x, "conv1", stride), "norm1", inside)
    branch = convolution(within, "conv2") + {inner:g} * within
'''), Patch(EXPECTED, '''    if given.variant["block"] == "inside":
        return shortcut + unit(branch, "norm2", end)
    return unit(shortcut + (branch / 2 if given.variant["block"] == "halved" else branch), "norm2", end)
''', f'''    return {after:g} * shortcut + {last:g} * unit({branch:g} * branch + {shortcut:g} * shortcut, "norm2", end)
'''), Patch(RESNET, '''    basic block   y = act(shortcut(x) + conv2(act(conv1(x)))),   \
both 3x3; the shortcut is x itself, or a 1x1
                  convolution without norm where the shape changes
''', f'''    basic block   y = {whole.replace("norm2", "act")} with t = act(conv1(x)), b = {b},
                  s = shortcut(x), kernels of {conv1}x{conv1} and {conv2}x{conv2}; the shortcut is x itself, or a
                  {projection}x{projection} convolution without norm where the shape changes
'''), Patch(RESNET, 'before, 3, channels, stride=stride, padding=1))',
            f'before, {conv1}, channels, stride=stride, padding={pad1}))'),
        Patch(RESNET, 'rows[-1].shape, 3, channels, padding=1))',
              f'rows[-1].shape, {conv2}, channels, padding={pad2}))'),
        Patch(RESNET, 'before, 1, channels, stride=stride))',
              f'before, {projection}, channels, stride=stride, padding={pad}))'),
        Patch(KEY, '''dx = S'd + B'd, with S the shortcut's derivative, the identity or the projection, \
B the branch's, where d = N'dy
with the last activation and norm N (published), d = dy where these are in the branch (inside), or dx = S'd + B'd/2
(halved).''', f'''dx = {ways} + {branch:g} B'd, with S the shortcut's derivative, the identity or the projection, B the
branch's, x to b, and d = {last:g} N'dy with the last activation and norm N.'''),
        Patch(KEY, "the product of (I + B)' contains the identity: the gradient arrives unchanged, plus",
              "the product of these sums contains the shortcuts', a factor for each:\nthe gradient arrives, plus"))
