"""What the tests of assignment 4 are made of: problems in your shapes, and what should come out, by plain loops."""

from fractions import Fraction

import numpy as np

from minifl.course.running import expect
from minifl.layers.batchnorm import MOMENTUM

SMALL = 1e-12     # of rounding


def near(what, found, expected, tolerance=SMALL):
    """Say where an array is off, unless it is what it should be."""
    try:
        found = np.asarray(found, dtype=float)
    except (TypeError, ValueError):
        expect(False, f"{what} is not an array of numbers but {type(found).__name__}")
    expected = np.asarray(expected, dtype=float)
    expect(found.shape == expected.shape, f"{what} has the shape {found.shape}, it should be {expected.shape}")
    expect(np.isfinite(found).all(), f"{what} has numbers that are not finite")
    expect(np.isfinite(expected).all(), f"{what} cannot be compared: what it should be is not finite with your numbers")
    error = np.abs(found - expected)
    if error.size and error.max() > tolerance * max(1, np.abs(expected).max()):
        worst = np.unravel_index(error.argmax(), error.shape)
        where = f" at {tuple(int(i) for i in worst)}" if worst else ""
        expect(False, f"{what} is off by {error.max():.1e}{where}")


def whole(what, found, expected):
    """Say where a table of whole numbers is off, unless it is what it should be."""
    found, expected = np.asarray(found), np.asarray(expected)
    expect(found.dtype.kind in "iu", f"{what} should hold whole numbers (int64), found {found.dtype}")
    expect(found.shape == expected.shape, f"{what} has the shape {found.shape}, it should be {expected.shape}")
    if (found != expected).any():
        where = tuple(int(i) for i in np.argwhere(found != expected)[0])
        expect(False, f"{what} is wrong in {(found != expected).sum()} of {found.size} places, first at {where}")


def a_problem(given):
    """w (D,), x (K, E, N, D), y (K, E, N) of drivers.local_steps, in the student's shapes."""
    rng = given.rng("local steps")
    k, e = given.size("clients", 3, 5), given.size("steps", 4, 6)
    n, d = given.size("batch", 2, 4), given.size("d", 2, 5)
    return rng.standard_normal(d), rng.standard_normal((k, e, n, d)), rng.uniform(0.5, 1.5, (k, e, n))


def moved(velocity, g, momentum, rule):
    """(next velocity, what lr is multiplied with) of one number: the rule of your variant."""
    if rule == "averaged":
        velocity += (1 - momentum) * (g - velocity)
        return velocity, velocity
    velocity = momentum * velocity + g
    return velocity, (g + momentum * velocity if rule == "nesterov" else velocity)


def way(w, x, y, rule, *, lr, steps=None, running=None, momentum=0.0, weight_decay=0.0):
    """(theta, losses, running) of one client, number by number."""
    theta, velocity, losses, seen = list(w), [0.0] * len(w), [], running
    for batch, scales in list(zip(x, y))[:steps]:
        n = len(batch)
        squares = [sum((t - q) ** 2 for t, q in zip(theta, point)) for point in batch]
        losses.append(sum(a * square for a, square in zip(scales, squares)) / 2 / n)
        slope = [sum(a * (theta[i] - point[i]) for point, a in zip(batch, scales)) / n for i in range(len(w))]
        for i in range(len(w)):
            velocity[i], direction = moved(velocity[i], slope[i] + weight_decay * theta[i], momentum, rule)
            theta[i] -= lr * direction
        if running is not None:
            seen = [s + MOMENTUM * (sum(point[i] for point in batch) / n - s) for i, s in enumerate(seen)]
    return theta, losses + [0.0] * (len(x) - len(losses)), seen


def step_weights(steps, momentum, rule):
    """The weight of each step's gradient in w - theta over lr: one run with the gradient 1 at that step only."""
    weights = []
    for s in range(steps):
        velocity = total = 0.0
        for t in range(steps):
            velocity, direction = moved(velocity, float(t == s), momentum, rule)
            total += direction
        weights.append(total)
    return weights


def p(sizes, given):
    """The weights of those that answered."""
    return [1 / len(sizes) if given.variant["weights"] == "equal" else n / sum(sizes) for n in sizes]


def check_apportioned(found, shares, totals, given):
    """That a table (K, C) is the one of the largest remainder: who was rounded up comes before who was rounded down."""
    found, turn = np.asarray(found), 0
    expect(found.shape == shares.shape and found.dtype.kind in "iu",
           f"the table should hold whole numbers (int64) of shape {shares.shape}, found {found.dtype} of {found.shape}")
    for c, total in enumerate(totals):
        column, whole_class = found[:, c].tolist(), sum(shares[:, c].tolist())
        expect(sum(column) == (total if whole_class else 0),
               f"column {c} sums to {sum(column)}, its total is {total} and its shares sum to {whole_class}")
        place = {}      # of who was rounded up or down: smaller is first
        for k, (share, count) in enumerate(zip(shares[:, c].tolist(), column)):
            exact = Fraction(share * int(total), whole_class or 1)
            above = count - exact
            expect(-1 < above < 1, f"client {k} has {count} of class {c}, its exact share is {float(exact):.3f}")
            begin = turn if given.variant["counts"] == "published" else 0
            if above:
                place[k] = -(exact - int(exact)), (k - begin) % len(column), above > 0
        up, down = [place[k] for k in place if place[k][2]], [place[k] for k in place if not place[k][2]]
        if up and down:
            expect(max(up)[0] <= min(down)[0], f"class {c}: somebody with a smaller remainder was served first")
            expect(max(up) < min(down), f"class {c}: of equal remainders another one should have been served")
        turn += len(up)


def check_one_taker(after, before, least, taker):
    """That one client alone took what it lacked, from the largest cells (of equal ones the first)."""
    after = np.asarray(after)
    whole("sizes of classes: they", after.sum(axis=0), before.sum(axis=0))
    expect(after[taker].sum() == least, f"client {taker} lacked something and has {after[taker].sum()}, not {least}")
    can_give = [k for k in range(len(before)) if before[k].sum() > least]
    order = sorted((-before[k, c], k, c) for k in can_give for c in range(before.shape[1]))
    over = False        # nothing may come from cells after the first that had more to spare
    for _, k, c in order:
        gave = before[k, c] - after[k, c]
        expect(gave >= 0 and not (over and gave), f"client {k} gave {gave} of class {c}, where larger cells had "
               "something to spare")
        over = over or (after[k, c] > 0 and after[k].sum() > least)


def a_table(given):
    """counts (K, C) and labels (N,), with some examples that nobody gets, and a client that gets nothing of a class."""
    rng = given.rng("table")
    table = rng.integers(0, 6, (given.size("holders", 4, 7), given.size("classes", 3, 6)))
    table[rng.integers(len(table))] = rng.integers(1, 4, table.shape[1])
    table[:, 0] += 1
    table[0, 1] = 0
    labels = np.repeat(np.arange(table.shape[1]), table.sum(axis=0) + rng.integers(0, 3, table.shape[1]))
    return table, rng.permutation(labels)


def length_of(d, given):
    """Of a feature with d numbers."""
    return 1.0 if given.variant["length"] == "one" else d ** 0.5


def plain_loss(w, g, k):
    """Softmax cross-entropy of class k at logits w.g, in the order that loses no digits."""
    logits = [sum(a * b for a, b in zip(row, g)) for row in w]
    return np.log1p(sum(np.exp(z - logits[k]) for c, z in enumerate(logits) if c != k))


def lowest(rng, classes, d, radius, length, steps=1500):
    """The lowest loss of class 0 that gradient descent from a random place finds, with lengths put right all along."""
    w, g = rng.standard_normal((classes, d)), rng.standard_normal(d)
    found = np.inf
    for _ in range(steps):
        w = w * np.minimum(1, radius / np.linalg.norm(w, axis=1, keepdims=True))
        g = g * length / np.linalg.norm(g)
        found = min(found, plain_loss(w, g, 0))
        slope = np.exp(w @ g - (w @ g).max())
        slope = slope / slope.sum() - (np.arange(classes) == 0)
        w, g = w - 0.3 * radius / length * np.outer(slope, g), g - 0.3 * length / radius * slope @ w
    return found
