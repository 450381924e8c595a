"""What the theory says of training: scale invariance under FN, FedAvg with one local step; and attention."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product

import numpy as np

from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition, make_partition
from minifl.fl.rounds import federated_rounds, start
from minifl.gradcheck.networks import train
from minifl.layers.attention import attention
from minifl.models import Arrangement, ViT, loss_and_grad
from minifl.paper.theory_norms import SEQUENTIAL
from minifl.paper.theory_rows import Row, apart, control, difference, holds, living, logits
from minifl.runs.settings import settings_for

EXACT = 1e-12     # relative, in float64
EACH = 4          # networks of each kind
CLIENTS, OWN = 4, 6   # of the federation, and examples of each
ROUNDS = 3
RATE = 0.2


def scale_invariance(rng: np.random.Generator) -> Iterator[Row]:
    """Under FN the loss does not change when a layer is scaled: L(t U_j) = L(U_j) for t > 0, so d/dt at t = 1 gives
    <U_j, grad U_j> = 0. A step of SGD is then orthogonal to U_j, and by Pythagoras
        ||U_j+||² = ||U_j||² + lr² ||grad U_j||²
    The weights only grow, and as gradients of a scale-invariant loss shrink like 1/||U_j||, so does the effect of a too
    large learning rate: why it matters less. The same holds for LN's networks.

    Without a norm the network is positively homogeneous in each layer, z(t U_j) = t z = z(t W), so d/dt gives
    <U_j, grad U_j> = <z, dL/dz> = <W, grad W> for every j: a growth in which all layers share alike. It is not 0
    where labels are the classes with the smallest logit: <z, dL/dz> = mean(sum_c p_c z_c - z_min) is then at least 1/C
    of mean(z_max - z_min), as the largest logit has p >= 1/C.
    """
    angles, grown = [], []
    for network, kind, position, activation in product(SEQUENTIAL, ("fn", "fn-all", "ln", "ln-reduced"),
                                                       ("after", "before"), ("relu", "leaky-relu")):
        model = replace(network, arrangement=Arrangement(kind, position, activation=activation))
        theta, x, labels = living(model, rng, EACH)
        gradient = loss_and_grad(model, theta, x, labels)[1]
        # a step as long as theta itself: then the gradient's part of ||U_j+||² is seen
        rate = np.linalg.norm(theta, axis=1, keepdims=True) / np.linalg.norm(gradient, axis=1, keepdims=True)
        after = train(model, theta, x, labels, steps=1, lr=rate)
        for name, part in model.spec.slices.items():
            if not name.startswith("classifier"):
                u, g, moved = theta[:, part], gradient[:, part], after[:, part]
                square = (u * u).sum(axis=1) + rate[:, 0] ** 2 * (g * g).sum(axis=1)
                angles.append(np.abs((u * g).sum(axis=1)) / np.linalg.norm(u, axis=1) / np.linalg.norm(g, axis=1))
                grown.append(np.abs((moved * moved).sum(axis=1) / square - 1))
    yield holds("FN, LN: cosine of U_j and grad U_j, hidden layers", angles, EXACT)
    yield holds("FN, LN: |U_j|^2 + lr^2 |grad U_j|^2 = |U_j|^2 after a step", grown, EXACT)

    alike, shares = [], []
    for network, activation in product(SEQUENTIAL, ("relu", "leaky-relu")):
        model = replace(network, arrangement=Arrangement(activation=activation))
        theta, x, _ = living(model, rng, EACH)
        z = logits(model, theta, x)
        gradient = loss_and_grad(model, theta, x, z.argmin(axis=2))[1]
        products = np.stack([(theta[:, part] * gradient[:, part]).sum(axis=1)
                             for part in model.spec.slices.values()], axis=1)      # (K, layers), the classifier last
        alike.append(np.abs(products[:, :-1] / products[:, -1:] - 1))
        shares.append(np.abs(products).min(axis=1) / np.ptp(z, axis=2).mean(axis=1))
    yield holds("plain: <U_j, grad U_j> / <W, grad W> - 1, all layers", np.concatenate(alike, axis=None), EXACT)
    yield control("plain: <U_j, grad U_j> over the logits' range", shares)


def fedavg_one_step(rng: np.random.Generator) -> Iterator[Row]:
    """FedAvg with E = 1 is one centralized step on the union batch, where all batches are of equal size.

    Client k sends w - lr grad F_k(w), F_k being the mean loss of its batch, and the mean of these over clients of equal
    size is w - lr grad (1/K) sum_k F_k(w): (1/K) sum_k F_k is the mean loss of all batches together. The norms must not
    mix examples: batch norm's statistics are a client's batch's on one side, the union's on the other. And from the
    second local step on gradients are taken at different points.

    Both sides are the package's own rounds, in float64: K clients with one class each and batches of all that they
    have, against one client that has everything.
    """
    data = _noise(rng)
    equal = {norm: _movements(data, norm) for norm in ("none", "fn", "ln", "gn")}
    yield holds(f"w after {ROUNDS} rounds of K = {CLIENTS} - {ROUNDS} centralized steps: plain, FN, LN, GN",
                [difference(*pair) for pair in equal.values()], EXACT)
    yield control("batch norm", difference(*_movements(data, "bn")))
    yield control("E = 2 against two centralized steps", [difference(*_movements(data, norm, local_steps=2))
                                                          for norm in ("none", "fn", "ln", "gn")])


def _noise(rng):
    """A Dataset of CLIENTS classes, each OWN training images that are brighter at a place of its own."""
    labels = np.repeat(np.arange(CLIENTS), OWN)
    images = rng.integers(0, 128, (labels.size, 16, 16, 1))
    images[np.arange(labels.size), :, 3 * labels + 1] += 127
    order = rng.permutation(labels.size)
    images, labels = images[order].astype(np.uint8), labels[order].astype(np.int64)
    return make_dataset("noise", images, labels, images, labels, [str(c) for c in range(CLIENTS)], "noise")


def _movements(data, norm, local_steps=1):
    """w - w_0 (1, P) after ROUNDS rounds of CLIENTS clients, and of one client that does each round local_steps steps
    on all examples."""
    def moved(clients):
        own = data.y_train.size // clients
        settings = settings_for(data.name, {
            "model": "cnn", "width": 1 / 16, "norm": norm, "rounds": ROUNDS, "lr": RATE, "num_clients": clients,
            "local_steps": local_steps, "batch_size": own, "augment": "none", "setting": "oneclass",
            "eval_every": ROUNDS, "local_eval_every": 0, "bn_stats": "global" if norm == "bn" else None})
        model, method = settings.network(data.num_classes, data.image_shape), settings.method()
        w = model.spec.init(0)
        everything = np.arange(data.y_train.size)
        counts = np.full((1, data.num_classes), OWN)
        partition = (Partition(counts, counts, [everything], [everything]) if clients == 1 else
                     make_partition("oneclass", data.y_train, data.y_test, data.num_classes, clients, 0))
        state = start(method, w, model.statistics.init(0))
        for state, _ in federated_rounds(settings, model, method, state, data, partition):
            pass
        return (state.w - w)[None]

    return moved(CLIENTS), moved(1)


def vit(rng: np.random.Generator) -> Iterator[Row]:
    """Attention is not scale equivariant: softmax(q k'/sqrt(d)) v is linear in v, but twice the input gives scores four
    times as large, which sharpens the weights. So Propositions 1 and 2 do not speak of transformers, and in a ViT n
    after every sum is another network than n at the end.
    """
    q, k, v = rng.standard_normal((3, EACH, 5, 7, 6))
    once = attention(q, k, v, heads=2)[0]
    yield holds("attention is linear in its values: attention(q, k, 3v) = 3 attention(q, k, v)",
                difference(attention(q, k, 3 * v, heads=2)[0], 3 * once), EXACT)
    twice = attention(2 * q, 2 * k, 2 * v, heads=2)[0]
    yield control("attention(2x) against 2 attention(x)", difference(twice, 2 * once))
    values = []
    for activation, token in product(("relu", "leaky-relu"), ("class", "mean")):
        full, reduced = (ViT(3, (6, 4, 2), patch=2, dim=6, depth=2, heads=2, token=token,
                             arrangement=Arrangement(kind, activation=activation)) for kind in ("fn-all", "fn"))
        theta, x, _ = living(full, rng, EACH, 20)
        values.append(apart(full, reduced, theta, x))
    yield control("ViT, n after every sum against n at the end: output minus its mean over the examples", values)
