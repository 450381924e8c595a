"""What the tests of assignment 2 are made of: inputs with your shapes, and what should come out.

The norms are written here for one vector, number by number, as the docstrings define them. The derivatives are those
of these few lines, by the complex step: for an analytic f of x_j it is Im f(x_j + ih)/h, with an h so small that its
square is nothing. So your backward passes and Jacobians are compared with what knows no formula for a gradient.
"""

import numpy as np

STEP = 1e-30
VALUE, GRADIENT = 1e-12, 1e-11   # of the largest entry
MAP = ("client", "example", "row", "column", "channel")


def vectors(x, given):
    """(K, N, ...) -> (V, d): the vectors that are normalized, one a row."""
    return x.reshape(-1, x.shape[-1] if given.variant["axes"] == "places" else int(np.prod(x.shape[2:])))


def shift_by_hand(v, given, eps=None):
    """s(v) for one vector."""
    mean = sum(v) / len(v)
    return np.array([number - mean for number in v])


def feature_norm_by_hand(v, given, eps):
    """n(v) for one vector."""
    square = sum(number * number for number in v)
    divisor = _divisor(square, eps, {"published": "clamp", "exchanged": "root"}.get(given.variant["eps"], "added"))
    return np.array([_power(v, given)**0.5 * number / divisor for number in v])


def mv_norm_by_hand(v, given, eps):
    """n_MV(v) for one vector."""
    return feature_norm_by_hand(shift_by_hand(v, given), given, eps)


def layer_norm_by_hand(v, given, eps):
    """h, which is y of layer norm before gain and bias, for one vector."""
    centred = shift_by_hand(v, given)
    square = sum(number * number for number in centred) / _power(v, given)
    divisor = _divisor(square, eps, {"published": "root", "exchanged": "clamp"}.get(given.variant["eps"], "added"))
    return np.array([number / divisor for number in centred])


def by_hand(function, x, given, eps=None):
    """One of these functions on all vectors of x; x's shape."""
    return np.array([function(v, given, eps) for v in vectors(x, given)]).reshape(x.shape)


def matrix(function, v, *arguments):
    """dy_i/dv_j of a function at one vector."""
    steps = 1j * STEP * np.eye(len(v))
    return np.array([function(v + step, *arguments).imag / STEP for step in steps]).T


def pulled_back(function, dy, x, given, eps=None):
    """dL/dx for dL/dy = dy, vector by vector; x's shape."""
    rows = zip(vectors(dy, given), vectors(x, given))
    return np.array([row @ matrix(function, v, given, eps) for row, v in rows]).reshape(x.shape)


def problems(given):
    """(in words, x): vectors, and maps that are not square."""
    rng = given.rng("x")
    k, n, d, h, c = (given.size(name, low, high) for name, low, high in (
        ("clients", 2, 3), ("examples", 2, 4), ("features", 5, 9), ("height", 2, 3), ("channels", 3, 5)))
    yield f"vectors of {d} numbers", 3 * rng.standard_normal((k, n, d)) + 1
    yield f"maps {h}x{h + 1} with {c} channels", rng.standard_normal((k, n, h, h + 1, c)) / 2 - 1


def problems_near_eps(given, function):
    """(in words, x, eps): in one x there are vectors that eps changes much, and others that it changes little."""
    eps = 0.5
    for words, x in problems(given):
        rng, rows = given.rng("near eps", words), vectors(x, given)
        if function is not feature_norm_by_hand:
            rows = rows - rows.mean(axis=1)[:, None]
        size = np.sqrt((rows * rows).sum(axis=1) / (_power(rows[0], given) if function is layer_norm_by_hand else 1))
        wanted = np.where(np.arange(len(rows)) % 2, rng.uniform(0.2, 0.7, len(rows)), rng.uniform(1.5, 4, len(rows)))
        rows = rows * (eps * wanted / size)[:, None] + (function is not feature_norm_by_hand)
        yield f"{words}, eps {eps}", rows.reshape(x.shape), eps


def parameters(x, given):
    """gain and bias (K, C) for x."""
    rng = given.rng("gain and bias", x.shape)
    return rng.standard_normal((x.shape[0], x.shape[-1])) + 1.5, rng.standard_normal((x.shape[0], x.shape[-1]))


def each(p, x):
    """(K, C) -> the shape of x: every channel's parameter at every example and place."""
    return np.array([np.broadcast_to(channels, x.shape[1:]) for channels in p])


def along_channels(terms):
    """(K, C): what one more of each channel's parameter adds to a loss with these terms (K, N, ..., C)."""
    units = np.eye(terms.shape[-1])
    return np.array([[float((client * unit).sum()) for unit in units] for client in terms])


def affine_by_hand(x, gain, bias):
    """y of the affine map."""
    return each(gain, x) * x + each(bias, x)


def slopes_of_affine(x, gain, bias):
    """How y of the affine map moves with x, with the gain and with the bias, at every entry; x's shape, each."""
    moved = (x + 1j * STEP, gain, bias), (x, gain + 1j * STEP, bias), (x, gain, bias + 1j * STEP)
    return [affine_by_hand(*arguments).imag / STEP for arguments in moved]


def _power(v, given):
    """c² of n: what a vector's squares sum to, but for eps."""
    return {"published": len(v), "unit": 1, "unbiased": len(v) - 1}[given.variant["scale"]]


def _divisor(square, eps, place):
    """The root of `square` with eps in its place."""
    if place == "root":
        return np.sqrt(square + eps)
    length = np.sqrt(square)
    if place == "added":
        return length + eps
    return length if length.real > eps else eps
