"""Public tests of assignment 6; expected.py says how they find out."""

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from minifl.course.comparing import compare
from minifl.course.hw6.expected import (GELU, LEAKY, SHORTEST, a_client, a_network, after_steps, apart, inside, length,
                                        loss_of, margins_of, more_examples, near, network, no_biases, number,
                                        pair, radius, slopes, total, unshifted, vectors)
from minifl.course.running import Given, Student, expect, graded

FN, MV, THEOREM, FLOOR = "proposition 1", "proposition 2", "theorem 1", "floor"
EQUIVALENCE, ONE_CLASS = "minifl.paper.equivalence", "minifl.paper.one_class"
OUTPUT, GRADIENT, TRAINED = 1e-12, 1e-11, 1e-9   # what equal networks may differ by
MEASURED = 1e-6                                  # to which a difference is right
NORMS = {True: "n", False: ""}
HOLD, CONTROLS = ("no biases", "b_1 alone"), ("all biases", "GELU")
ROWS = ("example", "class")


# ---- proposition 1

@graded(FN, 2, "the lines a_i = ... at the top of equivalence.py: at which layers does which network have n?")
def fn_networks(student: Student, given: Given) -> None:
    """fn_network computes both networks, with biases and without, with leaky ReLU and GELU, each example on its own."""
    x, _, weights, biases = a_network(given, "networks")
    for bias, words in ((no_biases(biases), "no biases"), (biases, "with biases")):
        for everywhere, inner in NORMS.items():
            for activation in (LEAKY, GELU):
                found = student(EQUIVALENCE).fn_network(x, weights, bias, everywhere, activation)
                right, _ = network(given, x, weights, bias, inside(bias, inner, "n"), activation)
                compare(f"logits ({words}, {activation}, everywhere={everywhere})", found, right, OUTPUT, ROWS)


@graded(FN, 2, "fn_factor's docstring: what does each n inside multiply an example's vector by?")
def fn_factors(student: Student, given: Given) -> None:
    """fn_factor is what the n's inside have done to each example's vector when the last n is reached."""
    x, _, weights, biases = a_network(given, "factors")
    found = student(EQUIVALENCE).fn_factor(x, weights)
    (_, everywhere), (_, alone) = (network(given, x, weights, no_biases(biases), inside(biases, inner, "n"))
                                   for inner in ("n", ""))
    right = np.array([length(a) / length(b) for a, b in zip(everywhere[-1], alone[-1])])
    compare("c", found, right, OUTPUT, ("example",))


def measured(student: Student, given: Given, purpose: str, steps: int, cases: tuple) -> Iterator[tuple]:
    """For where the proposition holds and where it does not: (in words, what fn_compare says, the pair of networks)."""
    x, labels, weights, biases = a_network(given, purpose)
    first, none = [biases[0], *no_biases(biases[1:])], no_biases(biases)
    known = {"no biases": (none, LEAKY), "b_1 alone": (first, LEAKY), "all biases": (biases, LEAKY),
             "GELU": (none, GELU)}
    for words in cases:
        bias, activation = known[words]
        found = student(EQUIVALENCE).fn_compare(x, labels, weights, bias, steps, 0.01, activation)
        expect(isinstance(found, dict) and set(found) == {"output", "gradient", "trained"},
               "fn_compare should return a dict with output, gradient and trained")
        for name in ("gradient", "trained"):
            expect(isinstance(found[name], (list, tuple)) and len(found[name]) == len(weights),
                   f"{name} should be a list of {len(weights)} numbers, one for each matrix")
        nets = [(x, labels, weights, bias, inside(bias, inner, "n"), activation) for inner in NORMS.values()]
        yield words, found, nets


def judge(what: str, found: Any, right: float, same: bool, tolerance: float) -> None:
    """A difference is rounding where the networks are the same, and elsewhere what the tests measure."""
    found = number(what, found)
    if same:
        expect(0 <= found <= tolerance, f"{what} is {found:.1e}; the proposition holds there: at most {tolerance:.0e}")
    else:
        near(what, found, right, MEASURED)


@graded(FN, 1, "fn_compare's docstring, its `output` and `gradient`: differences of what, relative to what?")
def fn_differences(student: Student, given: Given) -> None:
    """fn_compare measures how far logits and gradients of the two are apart: not at all, or (control) by this much."""
    for words, found, nets in measured(student, given, "differences", 1, (*HOLD, *CONTROLS)):
        same = words in HOLD
        logits = [network(given, net[0], *net[2:])[0] for net in nets]
        judge(f"output ({words})", found["output"], apart(*logits), same, OUTPUT)
        for layer, both in enumerate(zip(*(slopes(given, *net) for net in nets))):
            judge(f"gradient of matrix {layer + 1} ({words})", found["gradient"][layer], apart(*both), same, GRADIENT)


@graded(FN, 1, "fn_compare's docstring, its `trained`: which network takes which gradient, and from where?")
def fn_training(student: Student, given: Given) -> None:
    """fn_compare trains each network on its own for 50 steps and measures how far their matrices are apart then."""
    for words, found, nets in measured(student, given, "training", 50, ("b_1 alone", "all biases")):
        ends = [after_steps(given, *net, 50, 0.01) for net in nets]
        for layer, (one, other) in enumerate(zip(*ends)):
            judge(f"matrix {layer + 1} after 50 steps ({words})", found["trained"][layer], apart(one, other),
                  words in HOLD, TRAINED)


@graded(FN, 2, "the definition of n in chains.py for short vectors, and fn_least_scale's task: which example is first?")
def fn_scale_that_is_needed(student: Student, given: Given) -> None:
    """fn_least_scale is where Proposition 1 ends: above it the networks agree, below it they do not."""
    x, _, weights, biases = a_network(given, "least scale")
    found = number("t", student(EQUIVALENCE).fn_least_scale(x, weights))
    expect(found > 0, f"t is {found:.3g}, it should be positive")

    def distance(t):
        scaled = [t * weights[0], *weights[1:]]
        pair_ = (network(given, x, scaled, no_biases(biases), inside(biases, inner, "n"))[0] for inner in ("n", ""))
        return max(apart(*rows) for rows in zip(*pair_))

    above, below = distance(found * 1.0001), distance(found * 0.9)
    expect(above <= OUTPUT, f"a little above your t = {found:.3g} the logits of an example differ by {above:.1e}")
    expect(below > 0.05, f"at 0.9 of your t = {found:.3g} the logits of no example differ by more than {below:.1e}")
    _, got = network(given, x, weights, no_biases(biases), inside(biases, "", "n"))
    near("t", found, SHORTEST / min(length(v) for v in got[-1]))


# ---- proposition 2

@graded(MV, 2, "mv_network's docstring: what is n_MV made of, and which part does the last one undo?")
def mv_networks(student: Student, given: Given) -> None:
    """mv_network computes both networks, and they are the same."""
    x, _, weights, biases = a_network(given, "mv")
    right, got = network(given, x, weights, no_biases(biases), inside(biases, "mv", "mv"))
    bare, _ = network(given, x, weights, no_biases(biases), inside(biases, "", "mv"))
    expect(apart(right, bare) > 1e-3, "these weights show nothing: tell your instructor")
    for everywhere in (True, False):
        found = student(EQUIVALENCE).mv_network(x, weights, everywhere)
        compare(f"logits (everywhere={everywhere})", found, right, 1e-11, ROWS)
    for scale in (1e-7, 1e7):     # last vectors shorter than eps tell the two networks apart
        scaled = [scale * weights[0], *weights[1:]]
        for everywhere, inner in ((True, "mv"), (False, "s")):
            found = student(EQUIVALENCE).mv_network(x, scaled, everywhere)
            right, _ = network(given, x, scaled, no_biases(biases), inside(biases, inner, "mv"))
            compare(f"logits (everywhere={everywhere}, U_1 times {scale:g})", found, right, 1e-11, ROWS)


@graded(MV, 3, "absorb_shift's task: s as a matrix, and the order of the factors where rows are examples")
def mv_shift_absorbed(student: Student, given: Given) -> None:
    """absorb_shift's matrices do without s what the given ones do with it, for any examples."""
    for purpose in ("absorb", "again"):
        x, _, weights, biases = a_network(given, purpose)
        before = [weight.copy() for weight in weights]
        found = student(EQUIVALENCE).absorb_shift(weights)
        expect(all(np.array_equal(*both) for both in zip(weights, before)), "the given weights were written to")
        pair("absorb_shift", found, len(weights))
        found = [vectors(f"matrix {layer}", matrix, *weight.shape)
                 for layer, (matrix, weight) in enumerate(zip(found, weights), 1)]
        for images in (x, more_examples(given, f"{purpose}, other", weights, biases, 7)):
            right, _ = network(given, images, weights, no_biases(biases), inside(biases, "mv", "mv"))
            logits, _ = network(given, images, found, no_biases(biases), inside(biases, "", "mv"))
            compare("what comes out of your matrices with n_MV at the end alone", logits, right, 1e-10, ROWS)


@graded(MV, 2, "length_ratio's task: how long is y as a function of v? Of v far above eps, and far below?")
def mv_eps_in_the_root(student: Student, given: Given) -> None:
    """length_ratio is the ratio of the lengths of what layer norm makes of two vectors."""
    rng, d = given.rng("ratio"), given.size("width 1", 4, 6)
    for eps in (1e-5, 1e-3):
        x = rng.standard_normal((6, d))
        sizes = 10 ** rng.uniform(-4, 2, (2, 6, 1))
        lengths, variances = [], []
        for v in (unshifted(x) * size + rng.standard_normal((6, 1)) for size in sizes):
            variances.append(np.array([math.fsum(row * row) / d for row in unshifted(v)]))
            lengths.append([length(row) / math.sqrt(var + eps) for row, var in zip(unshifted(v), variances[-1])])
        found = student(EQUIVALENCE).length_ratio(*variances, eps)
        expect(isinstance(found, np.ndarray) and found.shape == (6,), "the ratio should be an array like v_a")
        for place, (one, other) in enumerate(zip(*lengths)):
            near(f"the ratio at v_a = {variances[0][place]:.0e}, v_b = {variances[1][place]:.0e}, eps = {eps}",
                 found[place], one / other, 1e-9)


# ---- theorem 1

@graded(THEOREM, 2, "f_k at the top of one_class.py, and one_class_loss' task on small and large margins")
def loss_of_one_class(student: Student, given: Given) -> None:
    """one_class_loss is f_k, also where it is 1e-100, and where a margin is in the thousands."""
    for size in (0.1, 1, 3, 300):
        w, g = a_client(given, f"loss {size}", size)
        near("f_k", student(ONE_CLASS).one_class_loss(w, g), total(w, g, given), 1e-11)
    for t in (1, 20, 50):
        w, g = a_client(given, "small", 1)
        w, g = np.abs(w) * np.where(np.arange(len(w)) == 0, 1, -1)[:, None] * t ** 0.5, np.abs(g) * t ** 0.5
        near("f_k", student(ONE_CLASS).one_class_loss(w, g), total(w, g, given), 1e-11)


@graded(THEOREM, 1, "bounds' docstring on `floor`, and (1) in its task")
def loss_is_at_least(student: Student, given: Given) -> None:
    """The first of bounds is what lengths alone say of the loss: never above it, and equal to it in some directions."""
    for size in (0.1, 1, 3):
        w, g = a_client(given, f"bounds {size}", size)
        aligned = np.eye(w.shape[1])[0] * np.array([[length(row) * (1 if c == 0 else -1)] for c, row in enumerate(w)])
        features = np.eye(w.shape[1])[0] * np.array([[length(row)] for row in g])
        for words, at in (("", (w, g)), (" of vectors along one line", (aligned, features))):
            right = total(aligned, features, given)
            found, _, _ = pair("bounds", student(ONE_CLASS).bounds(*at), 3)
            loss = total(*at, given)
            found = number("floor", found)
            expect(found <= loss * (1 + 1e-11), f"floor{words} is {found:.6g}, but the loss there is {loss:.6g}")
            near(f"floor{words}", found, right, 1e-11)


@graded(THEOREM, 2, "bounds' docstring on `grown` and `needed`, and (2) in its task: one example, one class, solve")
def lengths_are_at_least(student: Student, given: Given) -> None:
    """The other two of bounds are the product of lengths, and what the loss says that it is at least."""
    for size in (0.1, 0.5, 1, 3, 5):
        w, g = a_client(given, f"needed {size}", size)
        if size >= 1:     # else the loss is large, and nothing is needed of the lengths
            w, g = np.abs(w) * np.where(np.arange(len(w)) == 0, 1, -1)[:, None], np.abs(g)
        _, found, needed = pair("bounds", student(ONE_CLASS).bounds(w, g), 3)
        others = min(length(row) for row in w[1:])
        near("grown", found, (others + length(w[0])) * min(length(row) for row in g), 1e-12)
        loss = total(w, g, given)
        most = loss * {"mean": len(g), "sum": 1}[given.variant["loss"]]
        near(f"needed, at a loss of {loss:.1e},", needed, -math.log(math.expm1(most)), 1e-9)
        expect(needed <= found * (1 + 1e-9), f"needed {needed:.6g} is more than grown {found:.6g}: it is no bound")


@graded(THEOREM, 3, "escape's docstring: which lengths are t, which at most 1; and its task on directions")
def ways_of_escape(student: Student, given: Given) -> None:
    """Each of the three grows alone, and the loss falls to 0 as fast as it should."""
    names = "the w_c, c != k", "w_k", "the g_i"
    c, m, d = given.size("C", 4, 7), given.size("m", 2, 5), given.size("d", 3, 6)
    for way in range(3):
        for t in (2.0, 30.0, 200.0):
            w, g = pair("escape", student(ONE_CLASS).escape(t, way, c, m, d))
            w, g = vectors("w", w, c, d), vectors("g", g, m, d)
            lengths = [[length(row) for row in rows] for rows in (w[1:], w[:1], g)]
            for place, (name, of) in enumerate(zip(names, lengths)):
                found = f"way {way}, t = {t:g}: the lengths of {name} are {min(of):.3g} to {max(of):.3g}"
                if place == way:
                    expect(all(abs(one - t) <= 1e-9 * t for one in of), f"{found}, they should be t")
                else:
                    expect(max(of) <= 1 + 1e-12, f"{found}, they should be 1 at most")
            largest = max(map(max, margins_of(w, g)))
            expect(largest <= -t * (1 - 1e-12), f"way {way}, t = {t:g}: a summand of f_k is exp({largest:.3g}), it "
                   "should be at most exp(-t)")


@graded(THEOREM, 2, "one_margin's task: what may the other margins be, and which constant remains?")
def constant_of_the_proof(student: Student, given: Given) -> None:
    """one_margin is an example with one margin 0 and the least loss that is possible then."""
    for classes in (3, given.size("C", 4, 7), 10):
        w, g = pair("one_margin", student(ONE_CLASS).one_margin(classes))
        w, g = vectors("w", w, classes, None), vectors("g", g, 1, None)
        expect(w.shape[1] == g.shape[1], f"w and g should have the same d, they have {w.shape[1]} and {g.shape[1]}")
        (margins,) = margins_of(w, g)
        expect(margins[0] == 0, f"(w_1 - w_0).g should be 0, it is {margins[0]:.3g}")
        loss = loss_of(margins)
        expect(loss <= loss_of([0.0]) + 1e-12,
               f"with {classes} classes your loss is {loss:.4f}; a smaller is possible")


# ---- floor

@graded(FLOOR, 2, "floor_with_fn's task: the smallest margin, and how often it is there")
def floor_of_fn(student: Student, given: Given) -> None:
    """floor_with_fn is the least loss that FN leaves possible with weights of bounded length."""
    rng = given.rng("floor")
    for classes in (2, given.size("C", 4, 7), 100):
        for d in (2, given.size("d", 3, 6), 512):
            size = float(rng.uniform(0.1, 6)) / math.sqrt(d)
            least = [-2 * size * radius(d, given)] * (classes - 1)
            near(f"the floor of C = {classes}, d = {d}, radius {size:.3f}",
                 student(ONE_CLASS).floor_with_fn(classes, d, size), loss_of(least), 1e-11)


@graded(FLOOR, 3, "at_the_floor's task: equality in Cauchy-Schwarz, for all classes at once")
def floor_is_reached(student: Student, given: Given) -> None:
    """at_the_floor's w and g are allowed, and have the least loss."""
    rng, classes = given.rng("reached"), given.size("C", 4, 7)
    for size in (0.1, 0.7, 2):
        d = given.size("d", 3, 6)
        u = 4 * rng.standard_normal(d)
        w, g = pair("at_the_floor", student(ONE_CLASS).at_the_floor(u, classes, size))
        w = vectors("w", w, classes, d)
        (g,) = vectors("g, as one row,", g[None] if isinstance(g, np.ndarray) else g, 1, d)
        expect(all(length(row) <= size * (1 + 1e-12) for row in w), f"a w_c is longer than the radius {size}")
        compare("g", g, u * (radius(d, given) / length(u)), 1e-12, ("entry",))
        (margins,) = margins_of(w, [g])
        loss, least = loss_of(margins), loss_of([-2 * size * radius(d, given)] * (classes - 1))
        expect(abs(loss / least - 1) <= 1e-11, f"your loss at radius {size} is {loss:.6g}, and it can be smaller")
