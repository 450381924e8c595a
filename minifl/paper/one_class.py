"""The loss of a client that has examples of one class alone: what its fall to 0 takes (Theorem 1), and FN's floor.

The client has m examples of class k = 0, with features g_i, and the classifier has a vector w_c for each of C classes:
w (C, d), g (m, d). A margin is a number (w_c - w_k).g_i, c != k. The client's loss is softmax cross-entropy,
    f_k = mean_i [log(sum_c exp(w_c.g_i)) - w_k.g_i]
"""

import numpy as np


def one_class_loss(w, g):
    """f_k for k = 0; w (C, d), g (m, d). Exact to rounding however small it is, and without overflow.

    Derivation. Subtracting w_k.g_i is dividing the sum in the logarithm by exp(w_k.g_i); it has a 1 then, for c = k:
        f_k = mean_i log(1 + sum_{c != k} exp((w_c - w_k).g_i))
    log1p keeps small sums, and a largest margin above 0 is taken out of the logarithm.
    """
    return float(_log_1_plus_sum_exp((w[1:] - w[0]) @ g.T).mean())


def bounds(w, g):
    """Three numbers from lengths: what f_k is at least, and the two sides of what the lengths are at least.

    w (C, d), g (m, d), k = 0. Returns
    floor   what f_k is at least, given the lengths ||w_c|| and ||g_i|| alone; some directions reach it
    grown   (min_{c != k} ||w_c|| + ||w_k||) min_i ||g_i||
    needed  what `grown` is at least, given f_k and m alone; it goes to infinity as f_k -> 0

    Derivation. By Cauchy-Schwarz (w_c - w_k).g_i >= -(||w_c|| + ||w_k||) ||g_i||, and log(1 + sum exp) grows with
    each margin:
        f_k >= mean_i log(1 + sum_{c != k} exp(-(||w_c|| + ||w_k||) ||g_i||))                                  (1)
    No term of the mean exceeds m f_k, and no summand of a sum of positive numbers the sum: for each i and c != k
        m f_k >= log(1 + exp(-(||w_c|| + ||w_k||) ||g_i||)), that is
        (||w_c|| + ||w_k||) ||g_i|| >= -log(e^(m f_k) - 1)                                                     (2)
    for the smallest of these lengths, too. As f_k -> 0 the right side goes to infinity. With M the largest of
    min_{c != k} ||w_c||, ||w_k|| and min_i ||g_i|| the left side is at most 2 M², so M -> infinity: at every time one
    of the three is large. Which one may change: "one of the three tends to infinity" is true along a subsequence only.
    """
    lengths, features = np.linalg.norm(w, axis=1), np.linalg.norm(g, axis=1)
    margins = -(lengths[1:, None] + lengths[0]) * features
    largest = len(g) * one_class_loss(w, g)
    with np.errstate(over="ignore", divide="ignore"):
        needed = -np.log(np.expm1(largest))
    return float(_log_1_plus_sum_exp(margins).mean()), (lengths[1:].min() + lengths[0]) * features.min(), needed


def escape(t, way, classes=5, m=4, d=3):
    """w (C, d), g (m, d), k = 0, with f_k -> 0 as t grows, in one of three ways. The vectors that grow have length t,
    those that do not grow at most 1, and each summand exp(margin) of f_k is at most exp(-t).

    way  0: of all lengths only those of the w_c, c != k, grow; 1: only ||w_k||; 2: only those of the g_i

    Derivation. With all along one u, ||u|| = 1, the margins are minus the product of lengths in (2) of `bounds`:
        way 0   w_k = 0,    w_c = -t u,  g_i = u      margin -t
        way 1   w_k = t u,  w_c = 0,     g_i = u      margin -t
        way 2   w_k = u,    w_c = -u,    g_i = t u    margin -2 t
    """
    u = np.eye(d)[0]
    lengths = [np.zeros(classes - 1), 0.0, np.ones(m)]
    if way == 2:
        lengths[:2] = np.ones(classes - 1), 1.0
    lengths[way] = lengths[way] * 0 + t
    others, own, features = lengths
    return np.concatenate([[own], -others])[:, None] * u, features[:, None] * u


def one_margin(classes):
    """w (C, d), g (1, d) of one example, C >= 3, k = 0, with (w_1 - w_0).g = 0 and a loss that is, but for 1e-12, the
    least that is possible then; any d. The paper's proof says that it is log C.

    Derivation. The other C - 2 margins may be as negative as one likes, and their terms vanish:
        f_k > log(1 + exp(0)) = log 2,   and here f_k = log(2 + (C - 2) exp(-100)), log 2 in float64
    With C = 10 that is 0.693, and log 10 = 2.303.
    """
    w = np.concatenate([np.zeros((2, 3)), -np.eye(3)[[0] * (classes - 2)]]) + np.array([0, 1.0, 0])
    return w, 100 * np.eye(3)[:1]


def floor_with_fn(classes, d, radius):
    """What the loss of one example of class k is above, whatever the network does, if its feature has been through FN,
    n(x) = sqrt(d) x/||x||, and ||w_c|| <= radius for all C classes: the best such number, which can be reached.

    Derivation. FN fixes ||g_i|| = sqrt(d). With ||w_c|| <= R each margin is -2 R sqrt(d) at least, by Cauchy-Schwarz:
        loss_i >= log(1 + (C - 1) exp(-2 R sqrt(d)))                                                           (*)
    """
    return np.log1p((classes - 1) * np.exp(-2 * radius * np.sqrt(d)))


def at_the_floor(u, classes, radius):
    """Where floor_with_fn is reached by an example whose feature has the direction of u (d,), which is not 0.

    Returns w (C, d) with ||w_c|| <= radius, k = 0, and g (d,), the feature as FN gives it.

    Derivation. Each margin is -2 R sqrt(d) if Cauchy-Schwarz is an equality in both of its products and the lengths are
    the largest: with e = u/||u||
        w_k = R e,   w_c = -R e for all c != k,   g = sqrt(d) e
    """
    length = np.sqrt((u * u).sum())
    own = np.arange(classes)[:, None] == 0
    return np.where(own, u, -u) * (radius / length), u * (np.sqrt(len(u)) / length)


def _log_1_plus_sum_exp(z):
    """log(1 + sum_c exp(z_c)) for z (C, m)."""
    top = np.maximum(z.max(axis=0), 0)
    others = np.exp(z - top).sum(axis=0)
    return np.where(top > 0, top + np.log(np.exp(-top) + others), np.log1p(others))
