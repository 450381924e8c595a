"""The paper's Proposition 3 and Corollary 1, what norms do to the 0-1 error a network can reach.

An error depends on a network's largest logit only, so it is the same for logits that are c(x) > 0 times each other.
"""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from minifl.backend import Array
from minifl.layers import norm
from minifl.layers.activations import relu
from minifl.layers.conv import conv2d
from minifl.layers.linear import linear
from minifl.models import CNN, MLP, Arrangement, ResNet, ViT
from minifl.models.network import Network
from minifl.paper.theory_rows import Row
from minifl.paper.theory_rows import (control, counterexample, holds, living, logits, only_first_bias, proportion)

SPREAD = 1e-9     # of logits that should be proportional
NETWORKS, EXAMPLES = 20, 30
MEAN = 0.3        # added to weights, whose size is about 1/sqrt(inputs)
ANY = (MLP(4, (3, 4, 2), (12, 10, 8)), CNN(4, (16, 18, 2), (4, 6), (12, 8)), ResNet(4, (8, 8, 2), (4, 4), (1, 1), 2),
       ViT(4, (6, 4, 2), patch=2, dim=6, depth=1, heads=2))


def proposition_3a(rng: np.random.Generator) -> Iterator[Row]:
    """For g != 0 the plain network and FN have the same 0-1 error at the same parameters.

    W n(g) = (sqrt(d)/||g||) W g, so logits are proportional, whatever made g: any architecture, activation and hidden
    biases. (Below the clamp n is linear, too, and at g = 0 both give zeros: the condition g != 0 is not needed.)

    With a classifier bias it is false: W g + b and (sqrt(d)/||g||) W g + b weigh the bias differently. For a small
    ||g|| the plain network answers with the largest b, FN does not.
    """
    wrong, spreads = 0, []
    for network, activation in product(ANY, ("relu", "gelu")):
        plain, fn = (replace(network, arrangement=Arrangement(kind, activation=activation, bias="hidden"))
                     for kind in ("none", "fn"))
        theta, x, _ = living(plain, rng, NETWORKS, EXAMPLES)
        one, other = (logits(model, theta, x) for model in (plain, fn))
        c, spread = proportion(one, other)
        wrong += (one.argmax(axis=2) != other.argmax(axis=2)).sum() + (c <= 0).sum()
        spreads.append(spread)
    count = NETWORKS * EXAMPLES * 2 * len(ANY)
    yield holds(f"predictions of plain and FN that differ, of {count} (MLP, CNN, ResNet, ViT)", wrong, 0)
    yield holds("logits of plain = c(x) logits of FN, c > 0", spreads, SPREAD)

    g, weight, bias = np.array([[[0.1, 0.0]]]), np.eye(2)[None], np.array([[0.0, 0.5]])
    plain, fn = linear(g, weight, bias)[0][0, 0], linear(norm.feature_norm(g)[0], weight, bias)[0][0, 0]
    yield counterexample(f"classifier bias, g = (0.1, 0), W = I, b = (0, 0.5): plain ({plain[0]:.2f}, {plain[1]:.2f}), "
                         f"FN ({fn[0]:.2f}, {fn[1]:.2f})", float(plain.argmax() != fn.argmax()))
    yield counterexample("classifier bias, small ||g|| in an MLP: part of predictions that differ",
                         _with_classifier_bias(rng))


def _with_classifier_bias(rng):
    """(K,) of MLPs the part of examples with another prediction, features 1/1000 of what FN makes of them: the bias is
    minus half of FN's mean logits, so that it speaks against the class that FN prefers."""
    plain, fn = (replace(ANY[0], arrangement=Arrangement(kind, bias="all")) for kind in ("none", "fn"))
    theta, x, _ = living(fn, rng, NETWORKS, EXAMPLES)
    p = fn.spec.views(theta)
    p["classifier.bias"][...] = 0
    p["classifier.bias"][...] = -logits(fn, theta, x).mean(axis=1) / 2
    for block in ("dense3.weight", "dense3.bias"):      # n does not see the scale of the last hidden layer
        p[block] *= 1e-3
    return (logits(plain, theta, x).argmax(axis=2) != logits(fn, theta, x).argmax(axis=2)).mean(axis=1)


def proposition_3b(rng: np.random.Generator) -> Iterator[Row]:
    """Every LN network has a plain twin with the same 0-1 error, P = I - 11'/d being the matrix of s.

    By Proposition 2 the LN network is the one with s inside and n_MV = n s at the end, and n does not change the
    error. What is left of the norms are the linear maps s = P, and linear layers take them in:
        norms after activations    s then U_i  =  U_i P:    U'_1 = U_1, U'_i = U_i P_(i-1), W' = W P_L
        norms before activations   U_i then s  =  P U_i:    U'_i = P_i U_i, b'_1 = P_1 b_1, W' = W
    For convolutions P is about the whole map: P U and U P are linear, but no convolutions (and where a pool stands
    between s and U, U P is not a map of what the pool returns). A centred map's corner depends on pixels outside the
    corner's window, which no convolution sees. So the twin of a CNN with LN is a plain network, but not a plain CNN.
    """
    for position, twin in (("after", twin_after), ("before", twin_before)):
        wrong, count, spreads, without = 0, 0, [], []
        for hidden, activation in product(((9,), (12, 10, 8), (10, 9, 8, 7)), ("relu", "leaky-relu")):
            choices = {"activation": activation, "bias": "hidden"}
            ln, plain = (MLP(4, (3, 4, 2), hidden, Arrangement(kind, position, **choices)) for kind in ("ln", "none"))
            theta, x, _ = living(ln, rng, NETWORKS, EXAMPLES, _with_mean)
            normed, other = logits(ln, theta, x), logits(plain, twin(plain, theta), x)
            c, spread = proportion(normed, other)
            wrong += (normed.argmax(axis=2) != other.argmax(axis=2)).sum() + (c <= 0).sum()
            count += c.size
            spreads.append(spread)
            without.append(proportion(normed, logits(plain, theta, x))[1])
        yield holds(f"LN {position} activations, plain twin: predictions that differ, of {count}", wrong, 0)
        yield holds("logits of LN = c(x) logits of the twin, c > 0: spread", spreads, SPREAD)
        yield control("the same without the P's: spread", without)
    yield counterexample("an LN-CNN's twin is no CNN: centred map's corner, pixels outside its window changed",
                         _outside_window(rng))


def _with_mean(model, theta):
    """theta with a bias in the first layer only, and with what P takes out added to weights, so that P matters: all
    the same number, or for norms before activations 1 and -1 in turn from each of the inputs to all outputs."""
    theta = only_first_bias(model, theta)
    for name, view in model.spec.views(theta).items():
        if name.endswith(".weight"):
            view += MEAN if model.arrangement.position == "after" else (-1.0) ** np.arange(view.shape[1])[:, None]
    return theta


def twin_after(plain: Network, theta: Array) -> Array:
    """theta of the plain twin of an MLP with n_MV after its activations: U_i P_(i-1), W P_L."""
    theta = theta.copy()
    weights = [view for name, view in plain.spec.views(theta).items() if name.endswith(".weight")]
    for weight in weights[1:]:                           # (K, inputs, outputs): P acts on the inputs
        weight -= weight.mean(axis=1, keepdims=True)
    return theta


def twin_before(plain: Network, theta: Array) -> Array:
    """theta of the plain twin of an MLP with n_MV before its activations: P_i U_i, P_1 b_1."""
    theta = theta.copy()
    for name, view in plain.spec.views(theta).items():
        if not name.startswith("classifier"):            # (K, inputs, outputs) and (K, outputs): P acts on the outputs
            view -= view.mean(axis=-1, keepdims=True)
    return theta


def _outside_window(rng):
    """(K,) how much the corner of a centred 5x5 convolution's map changes when all pixels but the corner's 25 do."""
    x, weight = rng.random((NETWORKS, 1, 12, 12, 2)), rng.random((NETWORKS, 5, 5, 2, 4))
    other = -x
    other[:, :, :5, :5] = x[:, :, :5, :5]
    corners = [norm.shift(conv2d(image, weight, None)[0])[0][:, 0, 0, 0] for image in (x, other)]
    return np.abs(corners[0] - corners[1]).max(axis=1) / np.abs(corners[0]).max(axis=1)


def corollary_1(rng: np.random.Generator) -> Iterator[Row]:
    """The best reachable errors: eps* = eps*_F <= eps*_L.

    Over any family of parameters plain and FN reach the same errors (3A); over a family with the LN networks' twins
    the plain network reaches every error of LN (3B). The best errors, minima over all parameters, inherit that. The
    inequality can be strict: vectors of d = 2 numbers have only the MV norms (1, -1), (-1, 1) and 0, so with 4 classes
    of equal size LN errs in a quarter of the cases at least, where a plain network with g(x) = x need not err at all.
    """
    networks, examples = 300, 200
    plain, fn, ln = (MLP(3, (4,), (7, 6), Arrangement(kind)) for kind in ("none", "fn", "ln"))
    x = rng.standard_normal((1, examples, 4))

    def draw():
        return np.stack([plain.spec.init(int(seed)) for seed in rng.integers(0, 2**31, networks)])

    labels = logits(plain, draw()[:1], x).argmax(axis=2)     # what one of them says: errors from 0 on are possible
    theta, x = draw(), np.repeat(x, networks, axis=0)
    errors, errors_fn, errors_ln, errors_twin = (
        (logits(model, parameters, x).argmax(axis=2) != labels).mean(axis=1) for model, parameters in
        ((plain, theta), (fn, theta), (ln, theta), (plain, twin_after(plain, theta))))
    yield holds(f"error of plain - error of FN, {networks} MLPs, and their minima "
                f"{errors.min():.3f}, {errors_fn.min():.3f}", np.abs(errors - errors_fn), 0)
    yield holds("error of LN - error of its twin", np.abs(errors_ln - errors_twin), 0)
    best = min(errors.min(), errors_twin.min())
    yield holds(f"best error of plain over parameters and twins {best:.3f} <= best of LN {errors_ln.min():.3f}: excess",
                max(0.0, best - errors_ln.min()), 0)
    yield control("equality eps* = eps*_L: 4 classes, d = 2, best LN error - plain error", _only_two_features(rng))


def _only_two_features(rng):
    """(K,) errors of random LN networks with two hidden units less the plain network's with U = I, W = directions."""
    angles = np.deg2rad([10.0, 35.0, 55.0, 80.0])
    directions = np.stack([np.cos(angles), np.sin(angles)])                             # (2, 4)
    labels = np.arange(200) % 4
    x = (directions[:, labels] * rng.uniform(0.5, 2, 200)).T[None]                      # (1, 200, 2)
    plain = (linear(relu(x)[0], directions[None])[0].argmax(axis=2) != labels).mean()
    ln, networks = MLP(4, (2,), (2,), Arrangement("ln")), 1000
    theta = rng.standard_normal((networks, ln.spec.size))
    predicted = logits(ln, theta, np.repeat(x, networks, axis=0)).argmax(axis=2)
    return (predicted != labels).mean(axis=1) - plain
