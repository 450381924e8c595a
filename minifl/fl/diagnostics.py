"""What rounds do to the network and to its clients, seen on a few test images: `--diagnose`.

At each evaluation one JSON object. It looks at a probe, the same test images all the time: up to PROBE_IMAGES of each
class, sorted by class. g is the feature that the classifier sees, w_c its weight vector of class c as it is used (of
length 1 with --head cosine), C, D, n the numbers of classes, features and images of the probe, K of clients looked at.

Of the global model after the round:
    round
    classifier_norms               C: ||w_c||
    feature_norms                  5: smallest, lower quartile, median, upper quartile, largest ||g|| of the probe
    feature_norms_of_class         C: mean ||g|| of the class
    singular_values                of the features (n, D), descending, at most MOST_VALUES of them
    effective_rank                 exp of the entropy of all singular values divided by their sum: 1 where all features
                                   lie on a line, n or D where they fill all directions alike (Roy & Vetterli 2007, "The
                                   effective rank"); 0 where all features are 0
    direction_singular_values, direction_effective_rank     the same of the features divided by their lengths
    margins                        C x C: row k, column c: mean (w_c - w_k)'g over the images of class k, without
                                   biases; below 0 class k is ahead of c
Of the first MOST_CLIENTS clients that answered in the round:
    clients                        K: their numbers
    local_before                   C: accuracy on each class of the global model before the round
    local_after                    K x C: of each client's model after its local steps, before averaging
    drift                          parameter block -> K: how far it moved, ||theta_k - w||, w where the client began
    cosines                        K x K: of the angles between the updates theta_k - w, all parameters together

null stands for what there is not: a class without test images, the angle of an update that is 0, a number that is not
finite. Where nobody answered, the clients' entries are empty. With batch norms kept by the clients (--bn-stats local)
the global model is that with the batch norms of client 0, the first that `evaluate` tests.

One line of C = 100 classes has 250 kB, most of it margins; the clients' parameters are kept until the end of the round.
"""

from typing import NamedTuple

import numpy as np

from minifl.backend import get_xp, on_cpu, to_host
from minifl.data.augment import to_float
from minifl.fl import statistics
from minifl.fl.evaluate import chunk_count, predict
from minifl.layers.weights import unit_columns
from minifl.rng import PROBE, address

PROBE_IMAGES = 20    # of each class, as many as in the paper's Figure 3
MOST_CLIENTS = 20    # bounds the memory, by so many times the parameters
MOST_VALUES = 100    # singular values in a line
SLAB = 2 ** 16       # parameters at a time in float64


class Ended(NamedTuple):
    """Where a client's local steps ended."""
    client: int
    theta: object      # (1, P), nobody else's: `diagnose` overwrites it
    running: object    # (1, S) running statistics


def diagnose(settings, model, before, after, data, ended, *, pool_map=map):
    """The object described above, of plain Python numbers.

    before, after  State at the begin and at the end of the round
    data           Dataset whose arrays lie on the device of the state
    ended          list of Ended, at most MOST_CLIENTS of them; their theta becomes theta - w
    pool_map       maps a function over models or chunks of images, possibly in threads; changes no bit
    """
    labels, classes = to_host(data.y_test), model.num_classes
    chosen = probe(labels, classes, settings.seed)
    labels, there = labels[chosen], get_xp(data.y_test).asarray(chosen)
    images = data.x_test[chosen] if on_cpu(data.x_test) else data.x_test[there]

    def accuracies(p):
        return class_means(predict(model, p, images, data.y_test[there])[0] == labels, labels, classes)

    begun, final = (statistics.global_models(settings, model, state, 1)[0] for state in (before, after))
    local_before, *local_after = pool_map(accuracies, [
        begun, *(statistics.tested(settings, model, end.theta, end.running) for end in ended)])
    g = features(model, final, images, pool_map=pool_map)
    updates = []
    for end in ended:
        theta = end.theta
        theta -= statistics.begin(settings, model, before, [end.client])[0]
        updates.append(theta)
    with np.errstate(over="ignore", invalid="ignore"):      # null in what is written
        drift, cosines = moved(updates, model.spec)
        found = {**of_features(g, labels, classifier(model, final)), "clients": [end.client for end in ended],
                 "local_before": local_before, "local_after": local_after, "drift": drift, "cosines": cosines}
    return {"round": after.round, **_plain(found)}


def probe(labels, classes, seed):
    """Indices of the probe into the test set, sorted by class: of labels (M,) up to PROBE_IMAGES of each class.

    Each class is drawn at an address of its own, so it does not depend on the others.
    """
    def of_class(c):
        members = np.flatnonzero(labels == c)
        return np.sort(address(seed, PROBE, c).permutation(members)[:PROBE_IMAGES])
    return np.concatenate([of_class(c) for c in range(classes)])


def features(model, p, images, *, pool_map=map):
    """The features (n, D) of images (n, H, W, C) for the network with the named views p, in float64 on the host.

    In chunks as in `evaluate.predict`: a batch norm without running statistics normalizes by these.
    """
    weight = p["classifier.weight"]
    xp, dtype = get_xp(weight), weight.dtype.type
    chunks = chunk_count(model, p, len(images))

    def run(first):
        _, cache = model.forward(p, to_float(xp.asarray(images[first::chunks])[None], dtype))
        return to_host(model.feature(cache)[0])

    found = np.empty((len(images), weight.shape[1]))
    for first, part in enumerate(pool_map(run, range(chunks))):
        found[first::chunks] = part
    return found


def classifier(model, p):
    """The classifier's weights as they are used, (D, C) in float64 on the host."""
    weight = p["classifier.weight"]
    if model.arrangement.head == "cosine":
        weight, _ = unit_columns(weight)
    return to_host(weight[0]).astype(float)


def of_features(g, labels, weight):
    """The global model's entries: name -> array or number. g (n, D), labels (n,), weight (D, C), all float64."""
    classes = weight.shape[1]
    lengths = np.sqrt((g * g).sum(axis=1))
    logits = class_means(g @ weight, labels, classes)      # (C, C): row k, the means over class k
    values, rank = spectrum(g)
    direction_values, direction_rank = spectrum(g / np.where(lengths > 0, lengths, 1)[:, None])
    return {
        "classifier_norms": np.sqrt((weight * weight).sum(axis=0)),
        "feature_norms": np.quantile(lengths, (0, 0.25, 0.5, 0.75, 1)),
        "feature_norms_of_class": class_means(lengths, labels, classes),
        "singular_values": values[:MOST_VALUES],
        "effective_rank": rank,
        "direction_singular_values": direction_values[:MOST_VALUES],
        "direction_effective_rank": direction_rank,
        "margins": logits - logits.diagonal()[:, None],
    }


def spectrum(rows):
    """Singular values of rows (n, D) on the host, descending, and the effective rank; NaN if a number is not finite."""
    if not np.isfinite(rows).all():     # LAPACK would not come to an end
        return np.full(min(rows.shape), np.nan), np.nan
    values = np.linalg.svd(rows, compute_uv=False)
    if not values.any():
        return values, 0.0
    share = values[values > 0] / values.sum()
    return values, np.exp(-(share * np.log(share)).sum())


def class_means(values, labels, classes):
    """Means (C, ...) of values (n, ...) over the images of each class; NaN for a class without any."""
    means = np.full((classes, *values.shape[1:]), np.nan)
    for c in np.unique(labels):
        means[c] = values[labels == c].mean(axis=0)
    return means


def moved(updates, spec):
    """Lengths and angles of K updates, each (1, P): drift, block -> (K,), and cosines (K, K), on the host.

    Both are in the products of the updates with one another: of a block they have the squared lengths on the diagonal,
    summed over all blocks they are the cosines' numerators. In float64, SLAB parameters at a time.
    """
    if not updates:
        return {}, np.zeros((0, 0))
    xp, drift, total = get_xp(updates[0]), {}, 0
    for name, block in spec.slices.items():
        products = 0
        for first in range(block.start, block.stop, SLAB):
            part = slice(first, min(first + SLAB, block.stop))
            rows = xp.concatenate([update[:, part] for update in updates]).astype(float)
            products = products + rows @ rows.T
        products = to_host(products)
        drift[name] = np.sqrt(products.diagonal())
        total = total + products
    lengths = np.sqrt(total.diagonal())     # type: ignore[attr-defined]
    lengths = np.where(lengths > 0, lengths, np.nan)
    return drift, np.clip(total / lengths / lengths[:, None], -1, 1)


def _plain(value):
    """Arrays and numbers as Python's, whole numbers as they are, None for what is not finite; in dicts, too."""
    if isinstance(value, dict):
        return {name: _plain(part) for name, part in value.items()}
    array = np.asarray(value)
    if array.dtype.kind == "i":
        return array.tolist()
    return np.where(np.isfinite(array), array.astype(object), None).tolist()
