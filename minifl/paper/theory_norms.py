"""The paper's Lemma 1, Propositions 1 and 2, eps inside the root, and what becomes of them in residual networks.

Scale equivariance is all that the propositions need. Let the network behind its first pre-activation be
    h(a) = rho(U_L ... rho(U_2 rho(a)))           rho(t) = leaky ReLU, no biases: h(lambda a) = lambda h(a), lambda > 0
n multiplies an example by a positive number, so an n inside h only rescales the output, and the n at the end removes
every scale: n h' = n h whatever n's h' has inside. As the functions are equal, so are their gradients and what they
become in training. With n_MV = n s the n's go the same way and the shifts s stay (s commutes with scales).

That is so while the last norm removes scales, ||x|| >= eps. Below, n is linear, x -> (sqrt(d)/eps) x, and what the
inner norms did to the scale is seen: the paper's statement needs this condition (`_below_the_clamp`). In training it
may end an equality: where ReLUs are about to die, an example's last vector can be shorter than eps in one network only.
"""

from collections.abc import Iterator
from dataclasses import asdict, replace
from itertools import pairwise, product

import numpy as np

from minifl.gradcheck.networks import draw, train
from minifl.layers import activations, norm
from minifl.layers.linear import linear
from minifl.models import CNN, MLP, Arrangement, ResNet, loss_and_grad
from minifl.models.blocks import convolve, unit
from minifl.paper.chains import difference
from minifl.paper.equivalence import length_ratio
from minifl.paper.theory_rows import Row, apart, control, counterexample, holds, living, logits, only_first_bias

OUTPUT, GRADIENT, TRAINED = 1e-12, 1e-11, 1e-9   # in float64
STEPS, RATE = 50, 0.01                           # the paper's rate
CALM = 1e-12                                     # see _trained
MEAN = 0.3                                       # added to weights
SEQUENTIAL = MLP(4, (3, 4, 2), (12, 10, 8)), CNN(4, (16, 18, 2), (4, 6), (12, 8))   # the CNN pools
RESIDUAL = (ResNet(3, (8, 8, 2), (4, 4, 6), (1, 1, 1), 2),)                         # three blocks
STRAIGHT, POSITIONS = ("relu", "leaky-relu"), ("after", "before")
EACH = 4                                         # networks of each kind
SIGNS = np.array([[1], [1], [-1], [-1]])
MANY = 20                                        # examples where networks differ: the largest difference counts


class WithoutShift(Arrangement):
    """Proposition 2 with the s layers dropped: only the last norm of `ln`."""
    main = "identity"


class WithoutInner(Arrangement):
    """No norms inside residual branches."""
    branch = "identity"


class Unnormalized(Arrangement):
    """The feature is the vector whose length the last norm takes: n is left out, and of n_MV = n s only s left."""
    @property
    def last(self) -> str:
        return {"n": "identity", "mv": "s"}[super().last]


def lemma_1(rng: np.random.Generator) -> Iterator[Row]:
    """rho(lambda t) = lambda rho(t) for all lambda > 0 if and only if rho has two straight halves that meet in 0.

    "If" is seen at once. "Only if": put t = 1 and t = -1: rho(lambda) = lambda rho(1), rho(-lambda) = lambda rho(-1),
    and rho(0) = lambda rho(0) for every lambda gives rho(0) = 0: rho is the line with slope rho(1) on the right and the
    one with slope -rho(-1) on the left. So a function scales exactly where it equals these two lines.
    """
    def measure(rho):
        t, scale = rng.uniform(-1.5, 1.5, (EACH, 200)), 10 ** (rng.uniform(1, 2, (EACH, 1)) * SIGNS)
        lines = np.where(t > 0, t * rho(np.ones(())), -t * rho(-np.ones(())))
        return difference(rho(scale * t), scale * rho(t)), difference(rho(t), lines)

    straight = {name: measure(lambda t, f=f: f(t)[0]) for name, f in (("relu", activations.relu),
                                                                      ("leaky-relu", activations.leaky_relu))}
    straight["abs"] = measure(np.abs)
    names = ", ".join(straight)
    yield holds(f"rho(c t) = c rho(t), c from 0.01 to 100: {names}", [one for one, _ in straight.values()], OUTPUT)
    yield holds(f"rho is the lines t rho(1), -t rho(-1): {names}", [other for _, other in straight.values()], OUTPUT)
    for name in ("gelu", "elu", "softplus", "tanh"):
        rho = getattr(activations, name)
        scaled, lines = measure(lambda t: rho(t)[0])
        yield control(f"{name}: rho(c t) against c rho(t), rho against the two lines", [scaled, lines])


def proposition_1(rng: np.random.Generator) -> Iterator[Row]:
    """n after (or before) every activation = n at the last one only (top of this file)."""
    yield from _same(rng, SEQUENTIAL, "fn-all", "fn", "n everywhere = n last")
    yield from _below_the_clamp(rng, "fn-all", "fn")
    yield from _controls(rng, SEQUENTIAL, "fn-all", "fn")


def proposition_2(rng: np.random.Generator) -> Iterator[Row]:
    """n_MV everywhere = s at the inner activations and n_MV at the last (top of this file)."""
    yield from _same(rng, SEQUENTIAL, "ln", "ln-reduced", "n_MV everywhere = s inside, n_MV last")
    yield from _below_the_clamp(rng, "ln", "ln-reduced")
    yield from _controls(rng, SEQUENTIAL, "ln", "ln-reduced")
    values = []
    for network in SEQUENTIAL:
        full, dropped = (replace(network, arrangement=kind("ln")) for kind in (Arrangement, WithoutShift))
        theta, x, _ = living(full, rng, EACH, MANY)
        theta = theta + MEAN   # weights with a mean, which s is there for
        values.append(difference(logits(full, theta, x), logits(dropped, theta, x)))
    yield control("without the s layers: output", values)


def eps_in_the_root(rng: np.random.Generator) -> Iterator[Row]:
    """Layer norm as code has it, y = (x - mean)/sqrt(v + eps), v the variance: Proposition 2 for directions only.

    Its factor 1/sqrt(v + eps) is positive, so the last norm of both networks sees vectors of the same direction; v is
    v_a with layer norm everywhere and v_b with s inside. What their lengths become is derived in `length_ratio`.
    Small weights, which bring v to the size of eps and below, make that visible.
    """
    count, widths, eps = 4 * EACH, (6, 10, 9, 8), norm.EPS
    x = rng.random((count, 5, widths[0]))
    # inner weights of 1/10 to 1/100, last ones of 1/30 to 1/300: v_a is near eps, and v_b far below
    shrink = 10 ** -rng.uniform((1, 1, 1.5), (2, 2, 2.5), (count, 3))
    weights = [rng.standard_normal((count, a, b)) * shrink[:, i, None, None]
               for i, (a, b) in enumerate(pairwise(widths))]

    def layer_norm(a):
        gain, bias = np.ones((count, a.shape[2])), np.zeros((count, a.shape[2]))
        return norm.layer_norm(a, gain, bias)[0]

    def chain(inner):
        a = x
        for weight in weights:
            a = activations.leaky_relu(linear(a, weight)[0])[0]
            variance, a = a.var(axis=2), (layer_norm if weight is weights[-1] else inner)(a)
        return a, variance, np.sqrt((a * a).sum(axis=2))

    (a, v_a, length_a), (b, v_b, length_b) = chain(layer_norm), chain(lambda a: norm.shift(a)[0])
    predicted = length_ratio(v_a, v_b, eps)
    yield holds("layer norm everywhere = s inside, layer norm last: direction",
                difference(a / length_a[..., None], b / length_b[..., None]), OUTPUT)
    yield holds("ratio of the two norms against the formula", difference(length_a / length_b / predicted,
                                                                         np.ones((count, 5))), OUTPUT)
    yield control("but the output itself (small weights)", difference(a, b))


def resnet_fn(rng: np.random.Generator) -> Iterator[Row]:
    """In a residual block shortcut and branch scale alike, so does their sum: Proposition 1 with blocks for layers."""
    yield from _same(rng, RESIDUAL, "fn-all", "fn", "n after every block = n at the end")
    yield from _controls(rng, RESIDUAL, "fn-all", "fn")


def resnet_ln(rng: np.random.Generator) -> Iterator[Row]:
    """The paper's eq. 10, n_MV at every activation, and its eq. 11, which keeps n_MV inside the branches and puts s in
    the place of the outer ones, are different networks.

    In x -> rho(x + V n_MV(rho(U x))) the branch does not change when x is scaled, since its n_MV removes the scale,
    and the shortcut x does. So how much the branch weighs against the shortcut depends on the scale of x, which the
    outer n_MV of eq. 10 fixes and s lets through. With no norm inside the branches the two would be equal.
    """
    (network,) = RESIDUAL
    values, outer = [], []
    for position in POSITIONS:
        eq10, eq11 = (replace(network, arrangement=Arrangement(kind, position)) for kind in ("ln", "ln-reduced"))
        theta, x, _ = living(eq10, rng, EACH, MANY)
        values.append(difference(logits(eq11, theta, x), logits(eq10, theta, x)))
        full, reduced = (replace(network, arrangement=WithoutInner(kind, position)) for kind in ("ln", "ln-reduced"))
        outer.append(difference(logits(reduced, theta, x), logits(full, theta, x)))
    yield counterexample(f"eq. 11 against eq. 10, three blocks: output (mean {np.mean(values):.2f})", values)

    eq10 = replace(network, arrangement=Arrangement("ln"))
    theta, _, _ = draw(eq10, rng, clients=EACH)
    p, x = eq10.spec.views(theta), rng.random((EACH, 5, 8, 8, network.channels[0]))

    def branch(x):
        a, _ = convolve(eq10.arrangement, x, p, "stage1.block1.conv1", padding=1)
        a, _ = unit(eq10.arrangement, a, p, "stage1.block1.norm1", "mv")
        return convolve(eq10.arrangement, a, p, "stage1.block1.conv2", padding=1)[0]

    yield holds("why: branch(3x) = branch(x)", difference(branch(3 * x), branch(x)), OUTPUT)
    yield control("why: 3x + branch(3x) against 3 (x + branch(x))",
                  difference(3 * x + branch(3 * x), 3 * (x + branch(x))))
    yield holds("without n_MV inside the branches eq. 11 = eq. 10", outer, OUTPUT)


def _same(rng, family, full, reduced, equation):
    """Rows: outputs, gradients of every block, parameters after some steps, and outputs with a first layer's bias."""
    outputs, gradients, trained, biased = [], [], [], []
    for network, activation, position in product(family, STRAIGHT, POSITIONS):
        def models(**choices):
            return [replace(network, arrangement=Arrangement(kind, position, activation=activation, **choices))
                    for kind in (full, reduced)]

        pair = models()
        theta, x, labels = living(pair[0], rng, EACH)
        outputs.append(difference(*(logits(model, theta, x) for model in pair)))
        one, other = (loss_and_grad(model, theta, x, labels)[1] for model in pair)
        gradients += [difference(one[:, part], other[:, part]) for part in pair[0].spec.slices.values()]
        trained += _trained(*pair, theta, x, labels)
        pair = models(bias="hidden")
        theta, x, _ = living(pair[0], rng, EACH, adjust=only_first_bias)
        biased.append(difference(*(logits(model, theta, x) for model in pair)))
    count = EACH * len(outputs)
    yield holds(f"{equation}: output ({count} networks)", outputs, OUTPUT)
    yield holds("gradient of every parameter block", gradients, GRADIENT)
    yield holds(f"parameters after {STEPS} SGD steps ({len(trained)} networks)", trained or np.inf, TRAINED)
    yield holds("output with a bias in the first layer", biased, OUTPUT)


def _trained(full, reduced, theta, x, labels):
    """How far apart the two networks are after STEPS steps, a number for each network that can show it. Left out are
    those that make more than CALM of one unit in the last place at the start, as n divides by lengths that a step may
    bring close to 0, and those with a last vector shorter than eps on the way."""
    bare = replace(reduced, arrangement=Unnormalized(**asdict(reduced.arrangement)))
    ends, shortest = [theta, theta, np.nextafter(theta, np.inf)], np.full(len(theta), np.inf)
    for _ in range(STEPS):
        _, cache = bare.forward(bare.spec.views(ends[1]), x)
        lengths = np.linalg.norm(bare.feature(cache), axis=2)      # 0, a dead feature, is 0 in both
        shortest = np.minimum(shortest, np.where(lengths == 0, np.inf, lengths).min(axis=1))
        ends = [train(model, end, x, labels, steps=1, lr=RATE) for model, end in zip((full, reduced, full), ends)]
    able = (difference(ends[2], ends[0]) < CALM) & (shortest > norm.EPS)
    return difference(ends[0], ends[1])[able].tolist()


def _below_the_clamp(rng, full, reduced):
    """Row: first weights so small that the reduced network's last vector is shorter than eps; the full one's is not."""
    values = []
    for network in SEQUENTIAL:
        pair = [replace(network, arrangement=Arrangement(kind)) for kind in (full, reduced)]
        theta, x, _ = living(pair[0], rng, EACH)
        first = next(iter(pair[0].spec.slices.values()))
        theta[:, first] *= 1e-8
        values.append(difference(*(logits(model, theta, x) for model in pair)))
    yield counterexample("where the last vector is shorter than eps: output", values)


def _controls(rng, family, full, reduced):
    """Rows: networks that are not scale equivariant."""
    for what, choices in (("bias at layers >= 2", {"bias": "hidden"}), ("GELU", {"activation": "gelu"}),
                          ("tanh", {"activation": "tanh"}), ("softplus", {"activation": "softplus"})):
        values = []
        for network in family:
            pair = [replace(network, arrangement=Arrangement(kind, **choices)) for kind in (full, reduced)]
            theta, x, _ = living(pair[0], rng, EACH, MANY)
            values.append(apart(*pair, theta, x))
        yield control(f"{what}: output minus its mean over the examples", values)
