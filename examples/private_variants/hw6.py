"""Private variants of assignment 6: networks with factors, another sphere, shift and leaky ReLU, another layer
norm; a one-class loss that weights and stretches, with other bounds on lengths (hw6_one_class.py).

`hw6` at the end says what is drawn. The functions are written out as that student's reference solution has them.
"""

from hw6_one_class import REDUCTIONS, one_class

from minifl.course.assignments import Choice, Patch
from minifl.course.rewriting import rewritten

CHAINS, EQUIVALENCE = "minifl/paper/chains.py", "minifl/paper/equivalence.py"
EXPECTED, TESTS, SHEET = (f"minifl/course/hw6/{file}" for file in ("expected.py", "tests.py", "sheet.md"))

# length of n(x) -> code with the vector's size as {}
LENGTHS = {"2 sqrt(d)": "2 * {} ** 0.5", "3 sqrt(d)/2": "1.5 * {} ** 0.5", "sqrt(d)/2": "0.5 * {} ** 0.5", "d": "1.0 * {}",
           "d/2": "0.5 * {}", "2": "2.0", "3": "3.0"}


def norms(length, kappa, slope):
    """n(x) of another length, s(x) = x - kappa mean(x), leaky ReLU with another slope: what is given."""
    return (*rewritten(CHAINS, f'''
def sphere(x):
    """n(x) = r x / max(EPS, ||x||) for each example, with r = {length}; x (m, d)."""
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return {LENGTHS[length].format("x.shape[-1]")} * x / np.where(length.real > EPS, length, EPS)

def centred(x):
    """s(x) = x - {kappa} mean(x) for each example; x (m, d)."""
    return x - {kappa} * x.mean(axis=-1, keepdims=True)
'''), Patch(CHAINS, "SLOPE = 0.01 ", f"SLOPE = {slope} "), Patch(EXPECTED, "FLAT = 0.01 ", f"FLAT = {slope} "),
        *rewritten(EXPECTED, f'''
def unshifted(v):
    """s of each example."""
    return v - {kappa} / v.shape[-1] * v.sum(axis=-1)[..., None]

def radius(d, given):
    """The length of n(x)."""
    return {LENGTHS[length].format("d")}
'''), Patch(SHEET, "subtracts the\n  mean of", "subtracts a\n  multiple of the mean of"))


def networks(alpha, beta, gamma, position, length, kappa, power):
    """z_i = alpha a U_i + beta b_i, logits = gamma a_L W; layer norm with (v^power + eps)^(1/(2 power))."""
    after = position == "after"
    layer = "a_i = norm_i(rho(z_i))" if after else "a_i = rho(norm_i(z_i))"
    of_norm = "norm({rho}({z}))" if after else "{rho}(norm({z}))"
    got, scaled = (("leaky_relu({z})", "{v}") if after else ("{z}", "leaky_relu({v})"))
    z = f"{alpha} * a @ weight"
    if after:
        centred = f"[weights[0], *(weight - {kappa} * weight.mean(axis=0) for weight in weights[1:-1]), weights[-1]]"
        why = f"""and the matrix that follows takes it in:
        a P U_i = a (P U_i):    U'_i = P U_i for i = 2..L,   U'_1 = U_1,   W' = W                              (*)
    P U_i is U_i minus {kappa} times the mean of each of its columns."""
    else:
        centred = (f"[*(weight - {kappa} * weight.mean(axis=1, keepdims=True) for weight in weights[:-2]), "
                   "*weights[-2:]]")
        why = f"""and the matrix before it takes it in:
        a U_i P = a (U_i P):    U'_i = U_i P for i = 1..L-1,   U'_L = U_L,   W' = W                            (*)
    U_i P is U_i minus {kappa} times the mean of each of its rows."""
    return (*rewritten(EQUIVALENCE, f'''
"""Propositions 1 and 2 as experiments with chains of matrices (chains.py), written out layer by layer.

Matrices U_1..U_L and W, biases b_1..b_L (zero in the propositions), rho leaky ReLU, and for each example, as a row,
    a_0 = x,   z_i = {alpha} a_(i-1) U_i + {beta} b_i
    {layer},   logits = {gamma} a_L W
"Everywhere" means the same norm at every layer. The propositions say what of it is needed inside, at the layers i < L.
"""

def fn_network(x, weights, biases, everywhere, activation="leaky-relu"):
    """Proposition 1's networks: n at every layer, or (everywhere False) at layer L alone and no norm before.

    x        (m, inputs)
    weights  [U_1, ..., U_L, W], of shapes (inputs, outputs)
    biases   [b_1, ..., b_L], of shapes (outputs,)
    returns  logits (m, C); complex ones for complex weights
    """
    rho, a = ACTIVATIONS[activation], x
    for layer, (weight, bias) in enumerate(zip(weights, biases), 1):
        norm = sphere if everywhere or layer == len(biases) else identity
        a = {of_norm.format(rho="rho", z=f"{z} + {beta} * bias")}
    return {gamma} * a @ weights[-1]

def fn_factor(x, weights):
    """c (m,) for the examples x: the vector that the last n gets where n is everywhere is c times the vector that it
    gets where it is the only one. No biases, leaky ReLU, weights as in fn_network; all vectors longer than EPS.

    Derivation. n multiplies an example by r_i = {length.replace("d", "d_i")}/||v_i||, v_i being what it gets at layer i of
    the network that has it everywhere. As rho(t z) = t rho(z) for t > 0 and matrices are linear, what comes after that
    n is r_i times what it would be without it. From layer to layer these numbers multiply:
        c = r_1 r_2 ... r_(L-1)                                                   (*)
    The last n maps v and c v, c > 0, to the same vector: that is Proposition 1.
    """
    a, factor = x, np.ones(len(x))
    for weight in weights[:-2]:
        v = {got.format(z=z)}
        scale = {LENGTHS[length].format("v.shape[1]")} / np.linalg.norm(v, axis=1)
        factor = factor * scale
        a = {scaled.format(v="scale[:, None] * v")}
    return factor

def fn_least_scale(x, weights):
    """What the paper leaves out: the least t > 0 for which Proposition 1 still holds at [t U_1, U_2, ..., U_L, W] and
    all examples x (m, inputs). No biases, leaky ReLU.

    Derivation. n removes the scale of v while ||v|| >= EPS. Below, it is v times a fixed number. The network with n at
    the last layer alone is without norms before that, so what its n gets is t v, v being the vector at t = 1, with all
    factors {alpha}. The proposition holds for all examples from t = EPS / min over examples of ||v|| on.
    """
    a = x
    for weight in weights[:-1]:
        last = {got.format(z=z)}
        a = leaky_relu({z})
    return float(EPS / np.linalg.norm(last, axis=1).min())

def mv_network(x, weights, everywhere):
    """Proposition 2's networks, leaky ReLU, no biases: n_MV at every layer, or (everywhere False) the network that the
    proposition says is the same: n_MV at layer L alone, and inside only what is needed of n_MV.

    x        (m, inputs)
    weights  [U_1, ..., U_L, W], of shapes (inputs, outputs)
    returns  logits (m, C)

    Derivation. n_MV(v) = n(s(v)), and s is linear. As in Proposition 1 each n inside multiplies an example by a
    positive number, which rho, matrices and s let through and the last n removes; so the n's inside may go. The s's
    must stay: they change directions.
    """
    a = x
    for layer, weight in enumerate(weights[:-1], 1):
        norm = mv if everywhere or layer == len(weights) - 1 else centred
        a = {of_norm.format(rho="leaky_relu", z=z)}
    return {gamma} * a @ weights[-1]

def absorb_shift(weights):
    """Weights [U'_1, ..., U'_L, W'] with which a network that has n_MV at layer L and nothing at all inside gives the
    same logits as the network with n_MV everywhere at `weights`, for every x. Leaky ReLU, no biases.

    Derivation. By Proposition 2 s inside is enough. On rows, s(a) = a P with P = I - {kappa} 11'/d, a matrix,
    {why}
    """
    return {centred}

def length_ratio(v_a, v_b, eps):
    """||y_a||/||y_b|| for y = (x - mean(x))/(v^{power} + eps)^(1/{2 * power:g}), v = var(x) = mean of (x - mean(x))²: a
    layer norm of two vectors of d entries whose x - mean(x) have the same direction, and the variances v_a and v_b.

    v_a, v_b  arrays of one shape, positive; any size against eps
    returns   an array of their shape

    Derivation. x - mean(x) has the length sqrt(d v), so y has the length
        sqrt(d) [v^{power}/(v^{power} + eps)]^(1/{2 * power:g})
    and the ratio is that of the brackets. Proposition 2 is true of such a layer norm for directions, not for lengths.
    """
    a, b = (v**{power} / (v**{power} + eps) for v in (v_a, v_b))
    return (a / b) ** (1 / {2 * power:g})
'''), Patch(EXPECTED, 'x = np.einsum("...ea,...ab->...eb", x, weight) + bias',
            f'x = {alpha} * np.einsum("...ea,...ab->...eb", x, weight) + {beta} * bias'),
        Patch(EXPECTED, """    for first in (0, 1):
        bias = [first * biases[0], *no_biases(biases[1:])]
        for name in ("", "s", "n", "mv"):
            _, got = network(given, x, weights, bias, inside(biases, name, name))
            found += [length(row) for v in got for row in (*v, *unshifted(v))]
""", """    none = no_biases(biases)
    cases = [(bias, name, LEAKY) for bias in (none, [biases[0], *none[1:]]) for name in ("", "s", "n", "mv")]
    cases += [(bias, name, GELU) for bias in (none, biases) for name in ("", "n")]
    for bias, name, activation in cases:
        _, got = network(given, x, weights, bias, inside(biases, name, name), activation)
        found += [length(row) for v in got for row in (*v, *unshifted(v))]
"""), Patch(EXPECTED, 'return np.einsum("...ea', f'return {gamma} * np.einsum("...ea'),
        Patch(TESTS, "unshifted(x) * size + rng.standard_normal((6, 1)) for",
              "(x - x.mean(axis=1, keepdims=True)) * size + rng.standard_normal((6, 1)) for"),
        Patch(TESTS, "math.fsum(row * row) / d for row in unshifted(v)]))",
              "math.fsum((row - row.mean()) ** 2) / d for row in v]))"),
        Patch(TESTS, "length(row) / math.sqrt(var + eps) for row, var in zip(unshifted(v), variances[-1])",
              f"length(row - row.mean()) / (var**{power} + eps) ** {1 / (2 * power):.17g}\n"
              "                            for row, var in zip(v, variances[-1])"))


def hw6(draw):
    """The variant of one student."""
    alpha, beta, gamma = (draw("factor of a U", [0.5, 1.5, 2]), draw("factor of b", [0.25, 0.75, 3, -1]),
                          draw("factor of logits", [0.5, 1.5, 2, -1]))
    position, length = draw("position", ["after", "before"]), draw("length of n", list(LENGTHS))
    kappa, slope = draw("part of the mean", [0.5, 0.75, 1.5, 2, 3]), draw("slope", [0.05, 0.1, 0.2, 0.3])
    power = draw("power of v", [1.5, 2, 3, 0.5])
    heavy, steep = draw("weight of other classes", [0.5, 2, 3, 4]), draw("factor of margins", [0.5, 1.5, 2])
    reduction, bound = draw("reduction", list(REDUCTIONS)), draw("bound of the others", [0.5, 2, 3])
    rest, margin = draw("length of what stays", [0.25, 0.5, 2, 3]), draw("the margin that stays", [0.5, 1, -0.5, 2])
    return {
        "position": Choice(
            f"networks: z_i = {alpha} a U_i + {beta} b_i, logits are {gamma} a_L W, and norms stand {position} the "
            f"activation; layer norm divides by (v^{power} + eps)^(1/{2 * power:g}).",
            networks(alpha, beta, gamma, position, length, kappa, power)),
        "scale": Choice(
            f"norms: n(x) has the length {length}, s(x) = x - {kappa} mean(x); leaky ReLU has the slope {slope} below 0.",
            norms(length, kappa, slope)),
        "loss": Choice(
            f"theorem: the client's loss is {REDUCTIONS[reduction][0]} of log(1 + {heavy} sum exp({steep} margin)), lengths "
            f"that stay are {rest} at most, w_c of other classes may be {bound} times as long as w_k.",
            one_class(heavy, steep, reduction, bound, rest, margin, length, LENGTHS[length]))}
