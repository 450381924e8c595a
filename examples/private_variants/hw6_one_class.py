"""Private variants of assignment 6: a one-class loss that weights other classes and stretches margins."""

from minifl.course.assignments import Patch
from minifl.course.rewriting import rewritten

ONE_CLASS = "minifl/paper/one_class.py"
EXPECTED, TESTS, SHEET, KEY = (f"minifl/course/hw6/{file}" for file in (
    "expected.py", "tests.py", "sheet.md", "answers_key.md"))

# reduction -> (in words, formula, code, what one term is at most, code and by hand of that, by hand)
REDUCTIONS = {
    "sum": ("the sum over its examples", "sum_i", "{}.sum()", "f_k", "{}", "1", "math.fsum(losses)"),
    "twice the mean": ("twice the mean over its examples", "2 mean_i", "2 * {}.mean()", "m f_k/2", "len(g) / 2 * {}",
                       "len(g) / 2", "2 * math.fsum(losses) / len(losses)"),
    "half the sum": ("half the sum over its examples", "1/2 sum_i", "{}.sum() / 2", "2 f_k", "2 * {}", "2",
                     "math.fsum(losses) / 2")}


def one_class(heavy, steep, reduction, bound, rest, margin, length, code):
    """f_k of log(1 + heavy sum exp(steep margin)); rest: what does not grow is no longer; ||w_c|| <= bound radius."""
    words, red, by_code, most, by_most, hand_most, by_hand = REDUCTIONS[reduction]
    of_d, of_u = code.format("d"), code.format("len(u)")
    least = f"log(1 + {heavy} exp({steep * margin:g}))"
    return (*rewritten(ONE_CLASS, f'''
"""The loss of a client that has examples of one class alone: what its fall to 0 takes (Theorem 1), and FN's floor.

The client has m examples of class k = 0, with features g_i, and the classifier has a vector w_c for each of C classes:
w (C, d), g (m, d). A margin is a number (w_c - w_k).g_i, c != k. The loss of an example g is softmax cross-entropy of
{steep} w_c.g in which every other class counts as if it were there {heavy} times:
    loss(g) = log(exp({steep} w_k.g) + {heavy} sum_(c != k) exp({steep} w_c.g)) - {steep} w_k.g
The client's loss f_k is {words}:  f_k = {red} loss(g_i).
"""

def one_class_loss(w, g):
    """f_k for k = 0; w (C, d), g (m, d). Exact to rounding however small it is, and without overflow.

    Derivation. Subtracting is dividing the sum in the logarithm by exp({steep} w_k.g); it has a 1 then, for c = k:
        loss(g) = log(1 + sum_(c != k) exp({steep} (w_c - w_k).g + log {heavy}))
    log1p keeps small sums, and a largest exponent above 0 is taken out of the logarithm.
    """
    return float({by_code.format(f"_log_1_plus_sum_exp({steep} * (w[1:] - w[0]) @ g.T + np.log({heavy}))")})

def bounds(w, g):
    """Three numbers from lengths: what f_k is at least, and the two sides of what the lengths are at least.

    w (C, d), g (m, d), k = 0. Returns
    floor   what f_k is at least, given the lengths ||w_c|| and ||g_i|| alone; some directions reach it
    grown   (min_(c != k) ||w_c|| + ||w_k||) min_i ||g_i||
    needed  what `grown` is at least, given f_k and m alone; it goes to infinity as f_k -> 0

    Derivation. By Cauchy-Schwarz a margin is at least -(||w_c|| + ||w_k||) ||g_i||, and the loss grows with each:
        f_k >= {red} log(1 + {heavy} sum_(c != k) exp(-{steep} (||w_c|| + ||w_k||) ||g_i||))                      (1)
    The loss of an example is at most {most}, and a summand of positive numbers at most their sum: for each i and c
        {most} >= log(1 + {heavy} exp(-{steep} (||w_c|| + ||w_k||) ||g_i||)), that is
        (||w_c|| + ||w_k||) ||g_i|| >= [log {heavy} - log(e^({most}) - 1)]/{steep}                                (2)
    for the smallest of these lengths, too. As f_k -> 0 the right side goes to infinity.
    """
    lengths, features = np.linalg.norm(w, axis=1), np.linalg.norm(g, axis=1)
    exponents = -{steep} * (lengths[1:, None] + lengths[0]) * features + np.log({heavy})
    largest = {by_most.format("one_class_loss(w, g)")}
    with np.errstate(over="ignore", divide="ignore"):
        needed = (np.log({heavy}) - np.log(np.expm1(largest))) / {steep}
    floor = float({by_code.format("_log_1_plus_sum_exp(exponents)")})
    return floor, (lengths[1:].min() + lengths[0]) * features.min(), needed

def escape(t, way, classes=5, m=4, d=3):
    """w (C, d), g (m, d), k = 0, with f_k -> 0 as t grows, in one of three ways. The vectors that grow have length t,
    those that do not grow at most {rest}, and each margin is at most -{rest} t.

    way  0: of all lengths only those of the w_c, c != k, grow; 1: only ||w_k||; 2: only those of the g_i

    Derivation. With all along one u, ||u|| = 1, the margins are minus the product of lengths in (2) of `bounds`:
        way 0   w_k = 0,    w_c = -t u,        g_i = {rest} u
        way 1   w_k = t u,  w_c = 0,           g_i = {rest} u
        way 2   w_k = 0,    w_c = -{rest} u,   g_i = t u
    """
    u = np.eye(d)[0]
    others, own, features = (({rest} if way == 2 else 0.0), 0.0, {rest})
    others, own, features = (t if way == grown else kept for grown, kept in enumerate((others, own, features)))
    return np.array([own] + [-others] * (classes - 1))[:, None] * u, np.full((m, 1), features) * u

def one_margin(classes):
    """w (C, d), g (1, d) of one example, C >= 3, k = 0, with (w_1 - w_0).g = {margin}, but for 1e-12, and a loss that is,
    but for 1e-12, the least that is possible then; any d. The paper's proof says log C, of a margin 0 in its loss.

    Derivation. The other C - 2 margins may be as negative as one likes, and their terms vanish: the loss comes down to
        {least}
    """
    w = -np.ones((classes, 1))
    w[0], w[1] = 0, {margin} / 128
    return w, np.array([[128.0]])

def floor_with_fn(classes, d, radius):
    """What the loss of one example of class k is above, whatever the network does, if its feature has been through FN,
    here ||n(x)|| = {length}, ||w_k|| <= radius, and ||w_c|| <= {bound} radius for the C - 1 others: the best such
    number, which can be reached.

    Derivation. By Cauchy-Schwarz each margin is -{1 + bound} R ||n(x)|| at least, with R the radius:
        loss >= log(1 + {heavy} (C - 1) exp(-{steep * (1 + bound):g} R ||n(x)||))
    """
    return np.log1p({heavy} * (classes - 1) * np.exp(-{steep * (1 + bound):g} * radius * {of_d}))

def at_the_floor(u, classes, radius):
    """Where floor_with_fn is reached by an example whose feature has the direction of u (d,), which is not 0.

    Returns w (C, d) with k = 0, ||w_k|| <= radius and ||w_c|| <= {bound} radius, and g (d,), the feature as FN gives it.

    Derivation. Each margin is the least if Cauchy-Schwarz is an equality in both of its products and the lengths are
    the largest: with e = u/||u||, w_k = R e,   w_c = -{bound} R e for all c != k,   g = ||n(x)|| e
    """
    e = u / np.sqrt((u * u).sum())
    own = np.arange(classes)[:, None] == 0
    return np.where(own, e, -{bound} * e) * radius, e * {of_u}
'''), Patch(EXPECTED, "    largest = max([0.0, *margins])\n",
            f"    margins = [{steep} * margin + math.log({heavy}) for margin in margins]\n"
            "    largest = max([0.0, *margins])\n"),
        Patch(EXPECTED, 'math.fsum(losses) / {"mean": len(losses), "sum": 1}[given.variant["loss"]]', by_hand),
        Patch(EXPECTED, "log(1 + sum exp(margin)) of one example's margins", "The loss of one example's margins"),
        Patch(TESTS, 'loss * {"mean": len(g), "sum": 1}[given.variant["loss"]]', f"loss * {hand_most}"),
        Patch(TESTS, "-math.log(math.expm1(most))", f"(math.log({heavy}) - math.log(math.expm1(most))) / {steep}"),
        Patch(TESTS, 'expect(max(of) <= 1 + 1e-12, f"{found}, they should be 1 at most")',
              f'expect(max(of) <= {rest} + 1e-12, f"{{found}}, they should be {rest} at most")'),
        Patch(TESTS, """largest <= -t * (1 - 1e-12), f"way {way}, t = {t:g}: a summand of f_k is exp({largest:.3g}), it "
                   "should be at most exp(-t)")""",
              f"""largest <= -{rest} * t * (1 - 1e-12), f"way {{way}}, t = {{t:g}}: a margin is {{largest:.3g}}, it "
                   "should be at most -{rest} t")"""),
        Patch(TESTS, """expect(margins[0] == 0, f"(w_1 - w_0).g should be 0, it is""",
              f"""expect(abs(margins[0] - {margin}) <= 1e-12, f"(w_1 - w_0).g should be {margin}, it is"""),
        Patch(TESTS, "loss <= loss_of([0.0]) + 1e-12", f"loss <= loss_of([{margin}]) + 1e-12"),
        Patch(TESTS, "one_margin is an example with one margin 0 and",
              f"one_margin is an example with one margin {margin} and"),
        Patch(TESTS, "least = [-2 * size * radius(d, given)] * (classes - 1)",
              f"least = [-{1 + bound} * size * radius(d, given)] * (classes - 1)"),
        Patch(TESTS, "all(length(row) <= size * (1 + 1e-12) for row in w), f\"a w_c is longer than the radius {size}\")",
              f"all(length(row) <= size * ({bound} if c else 1) * (1 + 1e-12) for c, row in enumerate(w)),\n"
              '               f"a w_c is longer than it may be, at the radius {size}")'),
        Patch(TESTS, "loss_of([-2 * size * radius(d, given)] * (classes - 1))",
              f"loss_of([-{1 + bound} * size * radius(d, given)] * (classes - 1))"),
        Patch(SHEET, "One margin is 0; what", f"Yours is {margin}, in your loss; what"),
        Patch(SHEET, """Its loss f_k is **cross-entropy**: minus the logarithm of the probability exp(z_k) / sum_c
  exp(z_c)""", """Its loss f_k is a form of **cross-entropy**, minus the logarithm of a probability: yours is
  at the top of one_class.py"""),
        Patch(KEY, "log(1 + (C - 1) exp(-2 R r)), above 0, of",
              f"log(1 + {heavy} (C - 1) exp(-{steep * (1 + bound):g} R r)), of"),
        Patch(KEY, "(sqrt(d) or 1)", f"({length})"))
