"""Private variants of assignment 2: norms of another power, mean, size and place of eps, and another affine map.

One student has shift(x) = x - 1.5 mean(x), feature norm with the length (sum of x^4)^(1/4), and so on: see `hw2` at the end
for what is drawn. The functions are written out as that student's reference solution has them.
"""

from minifl.course.assignments import Choice, Patch
from minifl.course.rewriting import rewritten

NORM, JACOBIANS = "minifl/layers/norm.py", "minifl/gradcheck/jacobians.py"
EXPECTED, SHEET = "minifl/course/hw2/expected.py", "minifl/course/hw2/sheet.md"

# place of eps -> the root of a sum of p-th powers, in a formula and in code
FORMULA = {"root": "({sum} + eps)^(1/{p})", "added": "{sum}^(1/{p}) + eps"}
CODE = {"root": "({sum} + eps) ** (1 / {p})", "added": "{sum} ** (1 / {p}) + eps"}


def shift(kappa):
    """s(x) = x - kappa mean(x)."""
    return (*rewritten(NORM, f'''
def shift(x: Array) -> tuple:
    """s(x) = x - {kappa} mean(x) over each VECTOR. x (K, N, ...). Returns y, cache."""
    v = _vectors(x)
    return (v - {kappa} * _mean(v)).reshape(x.shape), None

def shift_backward(dy: Array, cache: None) -> Array:
    """Map dL/dy to dL/dx.

    Derivation: s is the matrix P = I - {kappa} 11'/d, which is symmetric, so dx = P dy = s(dy). It is no projection.
    """
    return shift(dy)[0]
'''), *rewritten(JACOBIANS, f'''
def shift_jacobian(x: Any) -> np.ndarray:
    """J of s(x) = x - {kappa} mean(x).

    Derivation: dy_i/dx_j = delta_ij - {kappa}/d, so J = P = I - {kappa} 11'/d whatever x is.
    """
    return np.eye(len(x)) - {kappa} / len(x)
'''), *rewritten(EXPECTED, f'''
def shift_by_hand(v, given, eps=None):
    """s(v) for one vector."""
    mean = sum(v) / len(v)
    return np.array([number - {kappa} * mean for number in v])
'''))


def feature_norm(kappa, p, size, eps):
    """n(x) = (size d)^(1/p) x / l, and MV norm with it."""
    less = p - 1
    length, code = FORMULA[eps].format(sum=f"sum_i(x_i^{p})", p=p), CODE[eps].format(sum="sum", p=p)
    stated = {"root": "s = 1", "added": f"s = (l/sum_i(x_i^{p})^(1/{p}))^{less}, at x = 0 any number"}[eps]
    s = {"root": "1", "added": f"(length / SUM ** (1 / {p})) ** {less}"}[eps]
    return (*rewritten(NORM, f'''
def feature_norm(x: Array, *, eps: float = EPS) -> tuple:
    """n(x) = c x / l with l = {length} and c = ({size} d)^(1/{p}): but for eps the
    powers y_i^{p} sum to {size} d.

    x        (K, N, ...)   d numbers in each VECTOR
    returns  y of x's shape, cache
    """
    v = _vectors(x)
    y, cache = _to_sphere(v, eps)
    return y.reshape(x.shape), cache

def feature_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx.

    Derivation, a vector x of d entries, r = c/l, y = r x, z_j = y_j^{less}/c^{p},
    {stated}:
        dl/dx_j = s x_j^{less}/l^{less}
        dy_i/dx_j = r delta_ij - c x_i s x_j^{less}/l^{p + 1} = r (delta_ij - s y_i z_j)
    J = r (I - s yz') is not symmetric, hence with m = y'dy
        dx = r (dy - s m z)                                                       (*)
    """
    v = _vectors(dy)
    return _to_sphere_backward(v, cache).reshape(dy.shape)

def mv_norm(x: Array, *, eps: float = EPS) -> tuple:
    """n_MV(x) = n(x - {kappa} mean(x)).

    x        (K, N, ...)   d numbers in each VECTOR
    returns  y of x's shape, cache
    """
    centred, _ = shift(x)
    return feature_norm(centred, eps=eps)

def mv_norm_backward(dy: Array, cache: tuple) -> Array:
    """Map dL/dy to dL/dx.

    Derivation: n_MV = n ∘ s, so J = r (I - s yz') P with feature norm's r, s and z at x - {kappa} mean(x), and the
    symmetric P = I - {kappa} 11'/d of the shift: dx = P r (dy - s m z). The two do not commute.
    """
    return shift_backward(feature_norm_backward(dy, cache), None)

def _to_sphere(v, eps):
    """Feature norm along the last axis of v (K, N, d); cache = (y, r, s)."""
    sum = (v**{p}).sum(axis=2, keepdims=True)
    length = {code}
    r = ({size} * v.shape[2]) ** (1 / {p}) / length
    y = v * r
    return y, (y, r, {s.replace("SUM", "(sum + (sum == 0))")})

def _to_sphere_backward(dv, cache):
    """Equation (*) of feature_norm_backward on vectors (K, N, d)."""
    y, r, s = cache
    z = y**{less} / ({size} * dv.shape[2])
    return r * (dv - s * z * (dv * y).sum(axis=2, keepdims=True))
'''), *rewritten(JACOBIANS, f'''
def feature_norm_jacobian(x: Any, eps: float) -> np.ndarray:
    """J of n(x) = c x / l with l = {length} and c = ({size} d)^(1/{p}).

    Derivation: with {stated}, J_ij = c/l (delta_ij - s x_i x_j^{less}/l^{p}).
    """
    sum = (x**{p}).sum()
    length, c = {code}, ({size} * len(x)) ** (1 / {p})
    s = {s.replace("SUM", "(sum or 1)")}
    return c / length * (np.eye(len(x)) - s * np.outer(x, x**{less}) / length**{p})

def mv_norm_jacobian(x: Any, eps: float) -> np.ndarray:
    """J of n_MV(x) = n(x - {kappa} mean(x)).

    Derivation: by the chain rule J = J_n(x - {kappa} mean(x)) P.
    """
    return feature_norm_jacobian(x - {kappa} * x.mean(), eps) @ shift_jacobian(x)
'''), *rewritten(EXPECTED, f'''
def feature_norm_by_hand(v, given, eps):
    """n(v) for one vector."""
    powers = sum(number**{p} for number in v)
    divisor = {CODE[eps].format(sum="powers", p=p)}
    return np.array([({size} * len(v)) ** (1 / {p}) * number / divisor for number in v])
'''))


def layer_norm(kappa, p, eps, affine):
    """h = (x - kappa mean(x)) / sigma with the mean of the p-th powers, then the affine map."""
    less, (one, gain_factor, bias_factor) = p - 1, affine
    sigma, code = FORMULA[eps].format(sum="q", p=p), CODE[eps].format(sum="q", p=p)
    s = {"root": "1", "added": f"(sigma / (q + (q == 0)) ** (1 / {p})) ** {less}"}[eps]
    stated = {"root": "", "added": f", s = (sigma/q^(1/{p}))^{less}, at q = 0 any number"}[eps]
    by = {"root": "", "added": "s "}[eps]
    scale = f"({one} + {gain_factor} gain)"
    return (*rewritten(NORM, f'''
def layer_norm(x: Array, gain: Array, bias: Array, *, eps: float = EPS) -> tuple:
    """Normalize each VECTOR, then scale and shift channels.

    x           (K, N, ..., C)   d numbers in each VECTOR
    gain, bias  (K, C)           one for each channel (for vectors: for each feature)
    returns     y of x's shape, cache

        xc = x - {kappa} mean(x)    q = mean(xc^{p})    sigma = {sigma}    h = xc/sigma
        y = {scale} h + {bias_factor} bias
    """
    v = _vectors(x)
    xc = v - {kappa} * v.mean(axis=2, keepdims=True)
    q = (xc**{p}).mean(axis=2, keepdims=True)
    sigma = {code}
    h = xc / sigma
    y, affine_cache = affine(h.reshape(x.shape), gain, bias)
    return y, (h, sigma, {s}, affine_cache)

def layer_norm_backward(dy: Array, cache: tuple) -> tuple:
    """Map dL/dy to (dL/dx, dL/dgain, dL/dbias).

    Derivation, a vector x of d entries, dh = {scale} dy{stated}:
        d sigma/dxc_j = {by}h_j^{less}/d
        dh_i/dxc_j = (delta_ij - {by}h_i h_j^{less}/d)/sigma         dxc_j/dx_k = delta_jk - {kappa}/d
    so with m = mean(dh*h) and e = (dh - {by}m h^{less})/sigma
        dx = e - {kappa} mean(e)                                                  (*)
    """
    h, sigma, s, affine_cache = cache
    dh, dgain, dbias = affine_backward(dy, affine_cache)
    g = dh.reshape(h.shape)
    e = (g - s * h**{less} * (g * h).mean(axis=2, keepdims=True)) / sigma
    return (e - {kappa} * e.mean(axis=2, keepdims=True)).reshape(dy.shape), dgain, dbias

def affine(x: Array, gain: Array, bias: Array) -> tuple:
    """y = {scale} x + {bias_factor} bias for each channel: the learnable part of a norm.

    x           (K, N, ..., C)
    gain, bias  (K, C)
    returns     y of x's shape, cache
    """
    scale = {one} + {gain_factor} * _per_channel(gain, x.ndim)
    return x * scale + {bias_factor} * _per_channel(bias, x.ndim), (x, scale)

def affine_backward(dy: Array, cache: tuple) -> tuple:
    """Map dL/dy to (dL/dx, dL/dgain, dL/dbias).

    Derivation, one client, at example n, place s, channel c:
        y_nsc = ({one} + {gain_factor} gain_c) x_nsc + {bias_factor} bias_c
    so
        dx = {scale} dy    dgain_c = {gain_factor} sum_ns dy_nsc x_nsc    dbias_c = {bias_factor} sum_ns dy_nsc
    """
    x, scale = cache
    places = tuple(range(1, dy.ndim - 1))
    return dy * scale, {gain_factor} * (dy * x).sum(axis=places), {bias_factor} * dy.sum(axis=places)
'''), *rewritten(JACOBIANS, f'''
def layer_norm_jacobian(x: Any, gain: np.ndarray, eps: float) -> np.ndarray:
    """J of {scale} h + {bias_factor} bias, gain (d,), where xc = x - {kappa} mean(x), q = mean(xc^{p}),
    sigma = {sigma}, h = xc/sigma.

    Derivation: dh_i/dx_k is (delta_ij - {by}h_i h_j^{less}/d)/sigma times delta_jk - {kappa}/d, row i times its scale.
    """
    d = len(x)
    centred = x - {kappa} * x.mean()
    q = (centred**{p}).mean()
    sigma = {code}
    h, s = centred / sigma, {s}
    inner = (np.eye(d) - s * np.outer(h, h**{less}) / d) / sigma
    return ({one} + {gain_factor} * gain)[:, None] * (inner @ (np.eye(d) - {kappa} / d))
'''), *rewritten(EXPECTED, f'''
def layer_norm_by_hand(v, given, eps):
    """h, which is y of layer norm before gain and bias, for one vector."""
    centred = shift_by_hand(v, given)
    powers = sum(number**{p} for number in centred) / len(v)
    divisor = {CODE[eps].format(sum="powers", p=p)}
    return np.array([number / divisor for number in centred])

def affine_by_hand(x, gain, bias):
    """y of the affine map."""
    return ({one} + {gain_factor} * each(gain, x)) * x + {bias_factor} * each(bias, x)
'''))


def vectors(places):
    """What a vector is: an example, or the channels of one place."""
    if not places:
        return ()
    return (*rewritten(NORM, '''
def _vectors(x):
    """(K, N, ..., C) -> (K, N*places, C): the channels of each place as a vector that is normalized."""
    return x.reshape(x.shape[0], -1, x.shape[-1])
'''), *rewritten(EXPECTED, '''
def vectors(x, given):
    """(K, N, ..., C) -> (V, C): the vectors that are normalized, one a row."""
    return x.reshape(-1, x.shape[-1])
'''))


HEAD = '''
"""Normalizations, each of one VECTOR: shift s, feature norm n, MV norm and layer norm; and the affine map.

A VECTOR is IS.
No statistic mixes two of them, or clients.
"""
'''
TASKS = tuple(Patch(SHEET, old, new) for old, new in (
    ("Multiply their Jacobians in the right order, and simplify with sum(y) = 0: is the\n"
     "product symmetric? Which directions of dy does it remove? You may",
     "Multiply their Jacobians in the right order: is the product symmetric?\nYou may"),
    ("take\nx*x in the length, not |x|²,",
     "take\npowers of x in the length, not of |x|,"),
    ("start with the derivative of ||x|| by x_j, and mind eps and\n"
     "x = 0. Write the result as a matrix J made of the identity, yy' and numbers. Which direction does J shrink\n"
     "most, and by how much?",
     "start with the derivative of l by x_j, and mind eps and\n"
     "x = 0. Write the result as a matrix J made of the identity, a column times a row, and numbers. Is J\n"
     "symmetric?"),
    ("What is dh_i/dx_k as a matrix made of the identity, 11', hh' and numbers? What does it leave of a gradient\n"
     "that is constant, or a multiple of h?",
     "What is dh_i/dx_k as a product of two matrices,\nand what is its transpose?"),
    ("and write J with the unit vector\nu = x/||x||. Check",
     "and write J.\nCheck"),
    ("Which vectors does J map to 0, and what rank is left?",
     "In which order do they stand?")))


def hw2(draw):
    """The variant of one student."""
    kappa = draw("mean", ["0.25", "0.5", "0.75", "1.25", "1.5", "2", "3", "-0.5", "-1", "-2"])
    p, size, eps = draw("power", [2, 4, 6]), draw("size", [2, 3, 4, 5, 6, 7, 8, 9]), draw("place of eps", ["root", "added"])
    q, eps_of_layer = draw("power of layer norm", [2, 4, 6]), draw("eps of layer norm", ["root", "added"])
    affine = draw("affine", ["1 1 2", "1 2 3", "2 1 3", "2 3 2", "3 2 4", "0 2 3", "0 3 2", "3 1 2"]).split()
    places = draw("vector", ["example", "place"]) == "place"
    name = "place" if places else "example"
    what = ("the C channels at one place of an example; a map (H, W, C) holds H*W of them" if places else
            "an example's numbers, of a map (H, W, C) all d = H*W*C")
    length, sigma = FORMULA[eps].format(sum=f"sum_i(x_i^{p})", p=p), FORMULA[eps_of_layer].format(sum="q", p=q)
    patches = (*rewritten(NORM, HEAD), *shift(kappa), *feature_norm(kappa, p, size, eps),
               *layer_norm(kappa, q, eps_of_layer, affine))
    named = tuple(patch._replace(new=patch.new.replace("VECTOR", name).replace(" IS.", f" {what}.")) for patch in patches)
    return {
        "eps": Choice(f"feature norm and MV norm divide by l = {length}, layer norm by sigma = {sigma} with "
                      f"q = mean(xc^{q}).", named),
        "scale": Choice(f"feature norm's powers y_i^{p} sum to {size} d, but for eps; the shift, also that of MV norm and "
                        f"layer norm, takes {kappa} mean(x) away; the affine map is ({affine[0]} + {affine[1]} gain) x + "
                        f"{affine[2]} bias.", TASKS),
        "axes": Choice(f"a vector is {what}.", vectors(places))}
