"""The paper's Theorem 1, what must grow beyond all bounds for a one-class client's loss to fall to 0; FN's floor.

The loss, the bounds (1) and (2), the ways in which it can fall and FN's floor are functions of one_class.py, with their
derivations. Here they are held against the package's own loss, networks in training and feature norm.
"""

from collections.abc import Iterator

import numpy as np

from minifl.backend import Array
from minifl.layers import norm
from minifl.layers.linear import linear
from minifl.layers.loss import softmax_cross_entropy
from minifl.models import MLP, Arrangement, loss_and_grad
from minifl.paper.one_class import at_the_floor, bounds, escape, floor_with_fn, one_class_loss, one_margin
from minifl.paper.theory_rows import Row, control, counterexample, holds, living

DRAWS = 4000
ROUNDING = 1e-12
FLOOR = 1e-10        # between FN's floor and the loss that should be there
SMALL = 1e-20        # a loss that has fallen
STEPS = 300
MOST = 600.0         # of a product of lengths: exp(-600) is still a normal number


def three(w: Array, g: Array) -> Array:
    """What can escape: min_{c != k} ||w_c||, ||w_k||, min_i ||g_i||."""
    lengths = np.linalg.norm(w, axis=1)
    return np.array([lengths[1:].min(), lengths[0], np.linalg.norm(g, axis=1).min()])


def theorem_1(rng: np.random.Generator) -> Iterator[Row]:
    """(1) and (2) in random draws, half of them near the minimum, and in training; f_k -> 0 by each of the three ways
    alone; and what does not suffice (`bounds`)."""
    loss, first, second, tight = [], [], [], []
    for draw in range(DRAWS):
        w, g = _draw(rng, aligned=draw % 2)
        f, (floor, grown, needed) = one_class_loss(w, g), bounds(w, g)
        real = softmax_cross_entropy(linear(g[None], w.T[None])[0], np.zeros((1, len(g)), dtype=int))[0][0]
        loss.append(abs(real - f) / max(1, f))
        first.append(floor / f - 1)
        second.append((needed - grown) / max(1, grown))
        tight.append(f / floor - 1)
    yield holds(f"f_k as derived against softmax cross-entropy, {DRAWS} draws", loss, ROUNDING)
    yield holds("(1) f_k >= mean log(1 + sum exp(-(|w_c|+|w_k|)|g_i|)): largest excess of the bound", first, ROUNDING)
    yield holds("(2) (min |w_c| + |w_k|) min |g_i| >= -log(e^(m f_k) - 1): largest excess", second, ROUNDING)
    yield holds("(1) is tight: closest draw, |f_k over the bound - 1|", np.min(np.abs(tight)), ROUNDING)

    violated, fallen = _in_training(rng)
    yield holds(f"(1) and (2) at {STEPS} SGD steps of a one-class MLP, plain and FN (f_k falls to {fallen:.1e})",
                violated, ROUNDING)

    times = np.geomspace(1, 200, 40)
    for way, name in enumerate(("|w_c| of all c != k", "|w_k|", "|g_i| of all i")):
        path = [escape(t, way) for t in times]
        kept = np.array([np.delete(three(*at), way) for at in path])
        ends = [one_class_loss(*path[-1]), np.ptp(kept, axis=0).max() if kept.max() <= 1 else np.inf]
        yield holds(f"only {name} grows, the others stay as they are: last f_k", max(ends), SMALL)
    for name, way, grown in (("all |w_c| but one grow", 0, 0), ("all |g_i| but one grow", 2, 1)):
        at = escape(1e4, way)
        at[grown][-1] = escape(1, way)[grown][-1] * (way == 2)         # as it was: 0, or of length 1
        yield control(f"{name}: f_k", one_class_loss(*at))

    path = [escape(t, step % 3) for step, t in enumerate(times)]
    returns = max(np.min([three(*at) for at in path[-3:]], axis=0))
    needed = min(np.sqrt(max(bounds(*at)[2], 0) / 2) for at in path[-3:])
    yield holds("largest of the three >= sqrt(-log(e^(m f_k) - 1)/2) on these paths: shortfall",
                max(np.sqrt(max(bounds(*at)[2], 0) / 2) - three(*at).max() for at in path), ROUNDING)
    yield counterexample(f"taking turns: f_k <= {max(one_class_loss(*at) for at in path[-3:]):.0e}, but each of the "
                         f"three returns to {returns:.0f}: needed/seen - 1", needed / returns - 1)


def _draw(rng, aligned):
    """w (C, d), g (m, d) at scales from 0.01 to 10; aligned: all of them near a line, where (1) is an equality."""
    classes, m, d = rng.integers(2, 20), rng.integers(1, 8), rng.integers(1, 12)
    w, g = rng.standard_normal((classes, d)), rng.standard_normal((m, d))
    if aligned:
        line, off = rng.standard_normal(d), rng.choice([0, 1e-3, 0.1])
        w = np.where(np.arange(classes)[:, None] == 0, 1, -1) * rng.random((classes, 1)) * line + off * w
        g = rng.random((m, 1)) * line + off * g
    w, g = w * 10 ** rng.uniform(-2, 1), g * 10 ** rng.uniform(-2, 1)
    largest = 2 * np.linalg.norm(w, axis=1).max() * np.linalg.norm(g, axis=1).max()
    return w * min(1, MOST / largest), g


def _in_training(rng):
    """(largest excess of a bound over what it bounds, last loss of the plain MLP) along one-class training."""
    excess, last = [], None
    for kind in ("fn", "none"):
        model = MLP(4, (6,), (8, 7), Arrangement(kind))
        theta, x, labels = living(model, rng, 1, batch=4)
        for _ in range(STEPS):
            p = model.spec.views(theta)
            _, cache = model.forward(p, x)
            w, g = p["classifier.weight"][0].T, model.feature(cache)[0]
            last = one_class_loss(w, g)
            floor, grown, needed = bounds(w, g)
            excess += [floor / last - 1, (needed - grown) / max(1, grown)]
            theta = theta - 0.1 * loss_and_grad(model, theta, x, labels * 0)[1]
    return max(excess), last


def theorem_1_constant(rng: np.random.Generator) -> Iterator[Row]:
    """If one margin (w_c - w_k).g does not fall, the loss stays above log 2, not log C as the paper's proof has it
    (`one_margin`)."""
    f = one_class_loss(*one_margin(10))
    yield counterexample(f"C = 10, one margin 0, eight at -100: f_k = {f:.4f} < log 10 = {np.log(10):.4f}: "
                         f"1 - f_k/log C", 1 - f / np.log(10))
    yield holds("its distance from log 2", abs(f - np.log(2)), ROUNDING)
    excess = []
    for _ in range(DRAWS):
        w, g = _draw(rng, aligned=False)
        other = rng.integers(1, len(w))
        lift = np.maximum(0, (w[0] - w[other]) @ g[0])                    # then this margin of g_0 is not negative
        w[other] += lift * g[0] / (g[0] @ g[0])
        excess.append(np.log(2) / one_class_loss(w, g[:1]) - 1)
    yield holds(f"one margin >= 0 keeps f_k >= log 2, {DRAWS} draws: largest excess", excess, ROUNDING)


def fn_floor(rng: np.random.Generator) -> Iterator[Row]:
    """With ||w_c|| <= R, FN keeps f_k above a floor > 0 that is reached (`at_the_floor`)."""
    excess, tight, below = [], [], []
    for draw in range(DRAWS):
        classes, m, d = rng.integers(2, 20), rng.integers(1, 8), rng.integers(2, 12)
        radius = rng.uniform(0.1, 1.5) / np.sqrt(d)
        floor = floor_with_fn(classes, d, radius)
        u = rng.standard_normal(d)
        if draw % 10 == 0:
            w, g = at_the_floor(u, classes, radius)[0], rng.uniform(0.1, 10, (m, 1)) * u
        else:
            w, g = rng.standard_normal((classes, d)), rng.standard_normal((m, d))
            w *= radius / np.linalg.norm(w, axis=1, keepdims=True) * rng.random((classes, 1))
        f = _real_loss(w, norm.feature_norm(g[None])[0])
        (tight if draw % 10 == 0 else excess).append(floor / f - 1)
        if draw % 10 == 0:
            below.append(1 - _real_loss(w, 100 / radius * u / np.linalg.norm(u) + np.zeros((1, m, d))) / floor)
    yield holds(f"f_k >= log(1 + (C-1) exp(-2 R sqrt(d))), {len(excess)} draws: largest excess", excess, FLOOR)
    yield holds(f"tight at w_k = R u, w_c = -R u, g along u, {len(tight)} draws: |floor/f_k - 1|", np.abs(tight), FLOOR)
    yield control("plain at the same w, large ||g||: 1 - f_k/floor", below)


def _real_loss(w, g):
    """The package's loss of class 0; w (C, d), g (1, m, d)."""
    return softmax_cross_entropy(linear(g, w.T[None])[0], np.zeros(g.shape[:2], dtype=int))[0][0]
