"""Private variants of assignment 4: other lengths at the floor of a one-class client's loss, and another effective rank."""

from minifl.course.assignments import Patch
from minifl.course.rewriting import rewritten

DIAGNOSTICS = "minifl/fl/diagnostics.py"
COLLAPSE, EXPECTED, TESTS, SHEET = (f"minifl/course/hw4/{file}" for file in (
    "collapse.py", "expected.py", "tests.py", "sheet.md"))

# length of a feature -> (code, by hand)
LENGTHS = {"2 sqrt(d)": ("2 * np.sqrt(features)", "2 * d ** 0.5"), "3 sqrt(d)": ("3 * np.sqrt(features)", "3 * d ** 0.5"),
           "d": ("features", "1.0 * d"), "d/2": ("features / 2", "0.5 * d"), "3": ("3.0", "3.0"), "5": ("5.0", "5.0")}


def collapse(length, others):
    """Features of another length, and a bound on the other classes' vectors that is a multiple of that on the own one."""
    code, by_hand = LENGTHS[length]
    return (*rewritten(COLLAPSE, f'''
def lowest_loss(classes, features, radius):
    """The floor under the loss of a client with one class.

    classes   C
    features  d: of a feature, which has length {length}
    radius    R: ||w_k|| <= R for the client's class k, and ||w_c|| <= {others} R for all c != k
    returns   the lowest loss that there is, over all such features and weights

    Derivation. With m_c = (w_c - w_k).g the loss is log(1 + sum_(c != k) exp(m_c)), which rises with each m_c. By
    Cauchy-Schwarz m_c >= -(||w_c|| + ||w_k||) ||g|| >= -{1 + others} R ||g||, with equality in both where w_k points
    along g and all others against it, each as long as it may be. So the floor is
        log(1 + (C - 1) exp(-{1 + others} R ||g||))
    """
    return float(np.log1p((classes - 1) * np.exp(-{1 + others} * radius * {code})))

def at_the_floor(classes, features, radius, k):
    """A classifier and a feature with which the loss of class k is `lowest_loss`.

    classes, features, radius   as in lowest_loss
    returns   w (C, d), of which row k is no longer than R and the others no longer than {others} R, and g (d,) of
              length {length}

    Derivation. Along any unit vector u: g is a multiple of u, w_k = R u, and the others are -{others} R u.
    """
    u = np.eye(features)[0]
    w = -{others} * radius * np.ones((classes, 1)) * u
    w[k] = radius * u
    return w, {code} * u
'''), *rewritten(EXPECTED, f'''
def length_of(d, given):
    """Of a feature with d numbers."""
    return {by_hand}
'''), Patch(COLLAPSE, "Feature norm gives all\nfeatures one length;",
              f"Feature norm gives all\nfeatures one length, here {length};"),
        Patch(EXPECTED, "w = w * np.minimum(1, radius / np.linalg.norm(w, axis=1, keepdims=True))",
              f"longest = radius * np.array([[1.0]] + [[{others}]] * (classes - 1))\n"
              "        w = w * np.minimum(1, longest / np.linalg.norm(w, axis=1, keepdims=True))"),
        Patch(TESTS, "radius = product / length_of(d, given)",
              f"radius = product / {(1 + others) / 2} / length_of(d, given)"),
        Patch(TESTS, "radius = product / length\n", f"radius = product / {(1 + others) / 2} / length\n"),
        Patch(TESTS, "classes, d, 0.6 / length, length)", f"classes, d, 0.6 / {(1 + others) / 2} / length, length)"),
        Patch(TESTS, "longest = max(np.sqrt((row * row).sum()) for row in w)",
              f"longest = max(np.sqrt((row * row).sum()) / (1 if c == k else {others}) for c, row in enumerate(w))"),
        Patch(TESTS, "features sqrt(d) long. If yours have length 1, weights that are so much longer make the same logits\n",
              "features sqrt(d) long, and all w_c have one bound there: what yours is for the same margins\n"),
        Patch(TESTS, "scale = hidden**0.5 / length_of(hidden, given)",
              f"scale = 2 * hidden**0.5 / ({1 + others} * length_of(hidden, given))"))


SCALES = {"as they are": ("as they are", "", "values"), "largest": ("divided by the largest", " / values.max()",
                                                                    "[value / max(values) for value in values]"),
          "sum": ("divided by their sum", " / values.sum()", "[value / sum(values) for value in values]")}
# effective rank, of shares that sum to 1 -> (in words, code, by hand)
RANKS = {"entropy": ("exp of the entropy", "np.exp(-(share * np.log(share)).sum())",
                     "np.exp(sum(part * np.log(1 / part) for part in parts))"),
         "squares": ("1 divided by the sum of the squares", "1 / (share * share).sum()",
                     "1 / sum(part**2 for part in parts)"),
         "largest": ("1 divided by the largest", "1 / share.max()", "1 / max(parts)")}
MISSING = {"0": ("0", "np.zeros((classes, *values.shape[1:]))", "np.zeros(shape[1:])"),
           "-1": ("-1", "-np.ones((classes, *values.shape[1:]))", "-np.ones(shape[1:])"),
           "mean of all": ("the mean over all images", "np.zeros((classes, *values.shape[1:])) + values.mean(axis=0)",
                           "np.array(values, dtype=float).mean(axis=0)")}
NOT_FINITE = {"inf": "np.inf", "-1": "-1.0", "0": "0.0"}


def rank(order, scale, measure, zeros, bad, missing):
    """Another effective rank, other singular values, and other answers where there are none."""
    (scaled, code_scaled, hand_scaled), (kind, power) = SCALES[scale], measure.split()
    words, code, by_hand = RANKS[kind]
    none, code_none, hand_none = MISSING[missing]
    reverse = "[::-1]" if order == "ascending" else ""
    powers = "" if power == "1" else f"**{power}"
    of_power = "" if power == "1" else f" to the power of {power}"
    return (*rewritten(DIAGNOSTICS, f'''
def spectrum(rows):
    """Singular values of rows (n, D) on the host, {order}, {scaled}, and the effective rank.

    If all rows are 0 the values are 0 and the rank is {zeros}; if a number is not finite, all values and the rank are {bad}.
    """
    if not np.isfinite(rows).all():     # LAPACK would not come to an end
        return np.full(min(rows.shape), {NOT_FINITE[bad]}), {NOT_FINITE[bad]}
    values = np.linalg.svd(rows, compute_uv=False){reverse}
    if not values.any():
        return values, {float(zeros)}
    share = values[values > 0]{powers} / (values{powers}).sum()
    return values{code_scaled}, {code}

def class_means(values, labels, classes):
    """Means (C, ...) of values (n, ...) over the images of each class.

    For a class without images it is {none}.
    """
    means = {code_none}
    for c in np.unique(labels):
        means[c] = values[labels == c].mean(axis=0)
    return means
'''), Patch(EXPECTED, "def plain_loss(w, g, k):", f'''def listed(values):
    """Singular values, the largest first, as yours should be."""
    return {hand_scaled}{reverse}

def directions(values):
    """The effective rank of positive singular values."""
    parts = [value{powers} / sum(other{powers} for other in values) for value in values]
    return {by_hand}


def plain_loss(w, g, k):'''), Patch(DIAGNOSTICS, """of the features (n, D), descending, at most MOST_VALUES of them
    effective_rank                 exp of the entropy of all singular values divided by their sum: 1 where all features
                                   lie on a line, n or D where they fill all directions alike (Roy & Vetterli 2007, "The
                                   effective rank"); 0 where all features are 0
""", f"""of the features (n, D), {order}, {scaled}, the first MOST_VALUES
    effective_rank                 {words} of shares that sum to 1, the shares
                                   proportional to the singular values{of_power}: 1 where all features lie
                                   on a line, n or D where they fill all directions alike; {zeros} where all features are 0
"""), Patch(DIAGNOSTICS, "a class without test images, the angle", "the angle"),
        Patch(TESTS, "[*values, *[0] * (d - len(values))])", "listed([*values, *[0] * (d - len(values))]))"),
        Patch(TESTS, """        entropy = 0.0
        for value in values:
            entropy -= value / sum(values) * np.log(value / sum(values))
        near(f"the effective rank ({name})", rank, np.exp(entropy), 1e-10)
""", """        near(f"the effective rank ({name})", rank, directions(values), 1e-10)
"""), Patch(TESTS, "effective_rank at the top of diagnostics.py: the entropy of which shares?",
            "spectrum's docstring, and effective_rank at the top of diagnostics.py: which shares?"),
        Patch(TESTS, "the task of spectrum, and effective_rank at the top of diagnostics.py", "the docstring of spectrum"),
        Patch(TESTS, "that are all 0 have the rank 0; numbers that are not finite have none.",
              "that are all 0, and some that are not finite, have the values and the rank that they should."),
        Patch(TESTS, 'near("the effective rank of zeros", rank, 0)', f'near("the effective rank of zeros", rank, {zeros})'),
        Patch(TESTS, """(min(n, d),) and np.isnan(values).all() and np.isnan(rank),
               f"with {bad} among the features the {min(n, d)} values and the rank should be NaN")""",
              f"""(min(n, d),) and (np.asarray(values) == {NOT_FINITE[bad]}).all() and rank == {NOT_FINITE[bad]},
               f"with {{bad}} among the features the {{min(n, d)}} values and the rank should be {bad}")"""),
        Patch(TESTS, 'expect(np.isnan(found[-1]).all(), "the mean of a class without images should be NaN")',
              f'near("the mean of a class without images", found[-1], {hand_none})'),
        Patch(TESTS, "check_one_taker, length_of,\n                                        lowest,",
              "check_one_taker, directions,\n                                        length_of, listed, lowest,"),
        Patch(SHEET, "What are the values, and the rank, of rows that\nare all 0? Which values have no place in the "
                     "entropy?", "Which values have no place in the\nshares?"))
