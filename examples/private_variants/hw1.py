"""Private variants of assignment 1: a linear layer of centred inputs, a loss with temperature, margin and its own reduction,
and a gradient checker for another objective, by differences of another order, with its own error and Jacobian.

`hw1` at the end says what is drawn. The functions are written out as that student's reference solution has them.
"""

from minifl.course.assignments import Choice, Patch
from minifl.course.rewriting import rewritten

LAYER, LOSS, CHECKER = "minifl/layers/linear.py", "minifl/layers/loss.py", "minifl/gradcheck/instruments.py"
EXPECTED, TESTS, SHEET = (f"minifl/course/hw1/{file}" for file in ("expected.py", "tests.py", "sheet.md"))


def linear_layer(factor, bias_factor, part, layout):
    """y = factor (x - part mean(x)) W + bias_factor b, mean(x) over the features, W stored as (K, D, F) or (K, F, D)."""
    swapped = layout == "(K, F, D)"
    w, at = ("W'", "W_fd") if swapped else ("W", "W_df")
    weight = "xp.swapaxes(weight, 1, 2)"
    return (*rewritten(LAYER, f'''
def linear(x: Array, weight: Array, bias: Array | None = None) -> tuple:
    """Map each example's D features to F: y = {factor} u {w} + {bias_factor} b with u = x - {part} mean(x), mean(x)
    being the mean of the example's features.

    x       (K, N, D)
    weight  {layout}
    bias    (K, F) or None
    returns y (K, N, F), cache
    """
    xp = get_xp(x)
    u = x - {part} * x.mean(axis=2, keepdims=True)
    y = {factor} * u @ {weight if swapped else "xp.asarray(weight)"}
    if bias is not None:
        y = y + {bias_factor} * bias[:, None, :]
    return y, (u, weight, bias is not None)

def linear_backward(dy: Array, cache: tuple) -> tuple:
    """Map dL/dy (K, N, F) to (dL/dx, dL/dweight, dL/dbias); the last is None for a layer without bias.

    Derivation, one client, examples n: y_nf = {factor} sum_d u_nd {at} + {bias_factor} b_f, so
        du_nd  = {factor} sum_f dy_nf {at}
        dL/d{at} = {factor} sum_n u_nd dy_nf        dL/db_f = {bias_factor} sum_n dy_nf
    and u = (I - {part} 11'/D) x with a symmetric matrix: dx = du - {part} mean(du).
    """
    xp = get_xp(dy)
    u, weight, has_bias = cache
    du = {factor} * dy @ {"weight" if swapped else weight}
    dx = du - {part} * du.mean(axis=2, keepdims=True)
    dweight = {factor} * xp.swapaxes({"dy, 1, 2) @ u" if swapped else "u, 1, 2) @ dy"}
    dbias = {bias_factor} * dy.sum(axis=1) if has_bias else None
    return dx, dweight, dbias
'''), *rewritten(EXPECTED, f'''
def stored(weight, given):
    """A weight (K, D, F) as your layer takes it, and back again."""
    return {"weight.transpose(0, 2, 1).copy()" if swapped else "weight"}

def mapped(features, weight, bias):
    """y of one example by one client's weight (D, F) and bias, number by number."""
    y, mean = [], sum(features) / len(features)
    for f, number in enumerate(bias):
        number = {bias_factor} * number
        for d, feature in enumerate(features):
            number = number + {factor} * (feature - {part} * mean) * weight[d][f]
        y.append(number)
    return np.array(y)
'''))


# reduction -> (in words, formula, d loss/d loss_n, code of the loss, code of this derivative, by hand)
REDUCTIONS = {
    "sum": ("the sum over its examples", "sum_n loss_n", "1", "losses.sum(axis=1)", "1", "losses.sum(axis=1)"),
    "squares": ("half the mean of its examples' squares", "mean_n loss_n^2 / 2", "loss_n/N",
                "(losses * losses).mean(axis=1) / 2", "losses[:, :, None] / p.shape[1]",
                "np.array([sum(one * one for one in client) for client in losses]) / (2 * losses.shape[1])"),
    "positions": ("the mean over its examples, of which the n-th, from 1, counts n times", "sum_n n loss_n / N", "n/N",
                  "(losses * xp.arange(1, losses.shape[1] + 1, dtype=losses.real.dtype)).mean(axis=1)",
                  "xp.arange(1, p.shape[1] + 1, dtype=p.real.dtype)[:, None] / p.shape[1]",
                  "np.array([sum(n * one for n, one in enumerate(client, 1)) for client in losses]) / losses.shape[1]")}


def loss(heat, margin, smoothing, reduction):
    """Cross-entropy of u = z/heat - margin [c = label], labels smoothed, reduced in another way."""
    words, formula, slope, code, code_of_slope, by_hand = REDUCTIONS[reduction]
    return (*rewritten(LOSS, f'''
def softmax_cross_entropy(logits: Array, labels: Array) -> tuple:
    """Each client's cross-entropy between softmax(u) and its labels, smoothed by {smoothing}; u is made of the logits z by
    the temperature {heat} and the margin {margin}.
    A client's loss is {words}.

    logits   (K, N, C)
    labels   (K, N) integers in 0..C-1
    returns  loss (K,), cache
    Raises ValueError for a label outside of 0..C-1 (`check_labels`).

        u_nc = z_nc/{heat} - {margin} [c = label_n]      q_nc = {1 - smoothing:g} [c = label_n] + {smoothing}/C
        loss_n = log(sum_c exp(u_nc)) - sum_c q_nc u_nc      loss = {formula}

    Derivation: exp overflows. A number that is subtracted from all u of an example is subtracted from both terms, as
    the q_nc sum to 1; with the largest one exp is at most 1, and for one of the classes 1.
    """
    check_labels(labels, logits.shape[2])
    xp = get_xp(logits)
    right = (xp.arange(logits.shape[2]) == labels[:, :, None]).astype(logits.real.dtype)
    q = {1 - smoothing:g} * right + {smoothing} / logits.shape[2]
    u = logits / {heat} - {margin} * right
    u = u - u.real.max(axis=2, keepdims=True)
    e = xp.exp(u)
    total = e.sum(axis=2)
    losses = xp.log(total) - (q * u).sum(axis=2)
    loss = {code}
    return loss, (e / total[:, :, None], q, losses)

def softmax_cross_entropy_backward(dloss: Array, cache: tuple) -> Array:
    """Map dL/dloss (K,) to dL/dlogits (K, N, C).

    Derivation, one example, p = softmax(u): d loss_n/du_nc = p_nc - q_nc as for plain cross-entropy, du_nc/dz_nc is
    1/{heat}, and d loss/d loss_n = {slope}:
        dz_nc = dloss {slope} (p_nc - q_nc) / {heat}
    """
    xp = get_xp(dloss)
    p, q, losses = cache
    return (p - q) / {heat} * {code_of_slope} * dloss[:, None, None]
'''), *rewritten(EXPECTED, f'''
def reduced(losses, given):
    """Each client's loss from those of its examples (K, N)."""
    return {by_hand}

def loss_of_one(z, label, given):
    """The loss of an example with the logits z; of differences, so that a small loss is not hidden by large logits."""
    u = [number / {heat} - ({margin} if c == label else 0) for c, number in enumerate(z)]
    shares = [{smoothing} / len(z) + (1 - {smoothing} if c == label else 0) for c in range(len(z))]
    return sum(share * log_sum(np.array(u) - number) for share, number in zip(shares, u))
'''), Patch(SHEET, "your answer, and why must it be that? loss", "your answer? loss"))


# order -> (step, accuracy, where S is taken, code of a mean of D(h), D(2h), ... with D(h) = (S(x + h e) - S(x - h e))/2h)
ORDERS = {2: ("1e-5", "1e-8", "at x ± h e", "D(h)"),
          4: ("5e-4", "1e-10", "at x ± h e and x ± 2h e", "(4 * D(h) - D(2 * h)) / 3"),
          6: ("2e-3", "1e-11", "at x ± h e, x ± 2h e and x ± 3h e", "(15 * D(h) - 6 * D(2 * h) + D(3 * h)) / 10")}
# norm -> (in words, code, by hand)
NORMS = {"max": ("max|.|", "np.abs({}).max()", "max(abs(number) for number in np.ravel({}))"),
         "sum": ("sum|.|", "np.abs({}).sum()", "sum(abs(number) for number in np.ravel({}))"),
         "length": ("the root of the sum of squares", "np.sqrt(({} ** 2).sum())",
                    "sum(number * number for number in np.ravel({})) ** 0.5")}
SIZES = {"numeric": ("|n|", "n"), "both": ("(|a| + |n|)", "a + n"), "mean": ("((|a| + |n|)/2)", "(a + n) / 2")}
LAYOUTS = {"columns": ("(numbers of x, numbers of y)", "np.array(rows).T", "matrix.T", "a column"),
           "of x and y": ("(*shape of x, *shape of y)", "np.array(rows).T.reshape(*np.shape(x), *y.shape)",
                          "matrix.T.reshape(*x_shape, *y_shape)", "one entry of the last axes"),
           "of y and x": ("(*shape of y, *shape of x)", "np.array(rows).reshape(*y.shape, *np.shape(x))",
                          "matrix.reshape(*y_shape, *x_shape)", "one entry of the first axes")}


def checker(factor, power, order, norm, size, layout):
    """Instruments for S = factor sum(v*y^power)/power, an error in another norm, and a Jacobian in another layout."""
    objective = f"{factor} sum(v*y^{power})/{power}"
    step, accuracy, values, combination = ORDERS[order]
    (words, code, by_hand), (relative_to, sum_) = NORMS[norm], SIZES[size]
    shape, laid_out, by_matrix, what = LAYOUTS[layout]
    return (*rewritten(CHECKER, f'''
"""How a backward pass is compared with the derivative of its forward pass.

Everywhere f(*inputs) returns (y, cache) and backward(dy, cache) returns the gradients of a function of y whose
derivative is dy. The instruments differentiate S = {objective} for a random v; so a backward pass
is asked with dy = dS/dy.

Error of a block: |a - n| / {relative_to}, a analytic, n numeric, where |.| is {words}.
A block whose true gradient vanishes, |n| < FLOOR, would pass with any backward that returns zeros, so it counts as
failed.
"""

def complex_step(f, inputs, v, wanted):
    """Gradient of S = {objective} with y = f(x), by Im S(x + ih e)/h, one coordinate at a time.

    inputs   name -> float64 array, in the order of f's arguments; wanted: the names to differentiate
    returns  name -> gradient, for the wanted names
    """
    def derivative(name, index):
        moved = dict(inputs)
        moved[name] = inputs[name].astype(complex)
        moved[name][index] += 1j * STEP
        return float({factor} / {power} * (v * f(*moved.values())[0] ** {power}).sum().imag) / STEP

    return each_coordinate(derivative, inputs, wanted)

def central_difference(f, inputs, v, wanted):
    """The same by central differences of order {order}, from values {values}."""
    def raised(*moved):
        return {factor} / {power} * f(*moved)[0] ** {power}, None

    def derivative(name, index):
        def D(h):
            return sides(raised, inputs, v, name, index, h)[0]

        h = CENTRAL_STEP
        return {combination}

    return each_coordinate(derivative, inputs, wanted)

def jacobian(f, backward, x):
    """J {shape} of f at x, from a unit cotangent for each number of y.

    f(x) returns (y, cache), backward(dy, cache) returns dx, or a tuple of gradients that begins with it.
    """
    y, cache = f(x)
    rows = []
    for i in range(y.size):
        unit = np.zeros(y.size)
        unit[i] = 1
        dx = backward(unit.reshape(y.shape), cache)
        rows.append((dx[0] if isinstance(dx, tuple) else dx).ravel())
    return {laid_out}

def block_error(analytic, numeric):
    """The error of one block; inf if analytic is None, shapes differ, a number of analytic is not finite, or the true
    gradient vanishes: |n| stays below FLOOR."""
    if analytic is None or np.shape(analytic) != np.shape(numeric) or not np.all(np.isfinite(analytic)):
        return np.inf
    difference = {code.format("(analytic - numeric)")}
    a, n = {code.format("analytic")}, {code.format("numeric")}
    return np.inf if n < FLOOR else float(difference / ({sum_}))
'''), *rewritten(EXPECTED, f'''
def cotangent(v, y):
    """How the objective moves with each number of y."""
    return {factor} * v * y ** {power - 1}

def error_by_hand(a, n):
    """The error of a block where all is finite and does not vanish, number by number."""
    difference = {by_hand.format("a - n")}
    a, n = {by_hand.format("a")}, {by_hand.format("n")}
    return difference / ({sum_})

def laid_out(matrix, y_shape, x_shape):
    """A Jacobian, a row for each number of y and a column for each of x, as yours should be."""
    return {by_matrix}
'''), Patch(EXPECTED, 'OBJECTIVE = "sum(v*y)"', f'OBJECTIVE = "{objective}"'),
        *((Patch(CHECKER, "CENTRAL_STEP = 1e-5 ", f"CENTRAL_STEP = {step} "),) if order != 2 else ()),
        Patch(TESTS, 'CENTRAL = {"published": 1e-9,', f'CENTRAL = {{"published": {accuracy},'),
        Patch(SHEET, "at most 1e-9 of the largest entry", f"at most {accuracy} of the largest entry"),
        Patch(SHEET, "Which dy has one row of J as its answer?", f"Which dy has {what} of J as its answer?"))


def hw1(draw):
    """The variant of one student."""
    layer = (draw("factor", [2, 3, 4, 5, 0.5, -2]), draw("factor of bias", [2, 3, 4, -1, -2, 0.5]),
             draw("part of the mean", [0.25, 0.5, 0.75, 1, 1.5, 2]), draw("weight stored as", ["(K, D, F)", "(K, F, D)"]))
    heat, margin, smoothing, reduction = (
        draw("temperature", [1.5, 2, 3, 4]), draw("margin", [0.25, 0.5, 1, 1.5, 2]), draw("smoothing", [0.1, 0.2, 0.3]),
        draw("reduction", list(REDUCTIONS)))
    factor, power, order = draw("factor of S", [2, 3, 4, 5]), draw("power in S", [2, 3]), draw("order", list(ORDERS))
    norm, size = draw("norm of an error", list(NORMS)), draw("relative to", list(SIZES))
    shape = draw("Jacobian", list(LAYOUTS))
    return {
        "weight": Choice(
            f"linear layer: y = {layer[0]} u W + {layer[1]} b with u = x - {layer[2]} mean(x), and weights stored as "
            f"{layer[3]}.", linear_layer(*layer)),
        "loss": Choice(
            f"softmax cross-entropy: of u = z/{heat} - {margin} [c = label], labels smoothed by {smoothing}; a "
            f"client's loss is {REDUCTIONS[reduction][0]}.", loss(heat, margin, smoothing, reduction)),
        "difference": Choice(
            f"gradient checker: of S = {factor} sum(v*y^{power})/{power}, by differences of order {order}; an error is "
            f"in {NORMS[norm][0]}, relative to {SIZES[size][0]}; a Jacobian is {LAYOUTS[shape][0]}.",
            checker(factor, power, order, norm, size, shape))}
