"""--diagnose: every number against a plain slow computation, and what there is not."""

import json
import math
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.linalg

from diagnosing import KEYS, diagnosed, network, run, seen
from small_problem import CLASSES, COUNTS, SHAPE, problem

from minifl.fl import diagnostics
from minifl.fl.client import local_work
from minifl.fl.diagnostics import class_means, features, moved, of_features, probe, spectrum
from minifl.fl.rounds import federated_rounds, start
from minifl.fl.statistics import POLICIES
from minifl.params import Entry, Spec


# ---- plain computations: one image, one class, one pair at a time

def plain_feature(p, image, norm):
    """The network written out, for one image."""
    a = image.reshape(-1) / 255
    for layer in ("dense1", "dense2"):
        a = np.maximum(a @ p[f"{layer}.weight"] + p[f"{layer}.bias"], 0)
    return a * math.sqrt(len(a)) / np.linalg.norm(a) if norm == "fn" else a


def plain_classifier(p, head):
    w = p["classifier.weight"]
    return np.stack([w[:, c] / (np.linalg.norm(w[:, c]) if head == "cosine" else 1) for c in range(CLASSES)])


def plain_rank(values):
    entropy = 0.0
    for value in values:
        share = value / sum(values)
        entropy -= share * math.log(share)
    return math.exp(entropy)


def plain_blocks(model, w):
    """name -> block of one flat w (P,), counted along it."""
    blocks, at = {}, 0
    for entry in model.spec.entries:
        blocks[entry.name] = w[at:at + math.prod(entry.shape)].reshape(entry.shape)
        at += math.prod(entry.shape)
    return blocks


def plain_quantile(values, q):
    values, at = sorted(values), q * (len(values) - 1)
    low = math.floor(at)
    return values[low] + (at - low) * (values[min(low + 1, len(values) - 1)] - values[low])


def plain_accuracy(model, w, images, labels, norm, head):
    p = plain_blocks(model, w)
    classifier, correct = plain_classifier(p, head), [[] for _ in range(CLASSES)]
    for image, label in zip(images, labels):
        feature = plain_feature(p, image, norm)
        correct[label].append(np.argmax([w_c @ feature for w_c in classifier]) == label)
    return [sum(own) / len(own) if own else None for own in correct]


@pytest.mark.parametrize("norm, head, method, options", [
    ("none", "linear", "fedavg", {}),
    ("fn", "linear", "scaffold", {"momentum": 0.5}),
    ("none", "cosine", "fedyogi", {"participation": 0.6}),
    ("fn", "cosine", "fednova", {"local_epochs": 1}),
    ("none", "linear", "fedavg", {"dropout_rate": 0.7, "rounds": 12}),
], ids=str)
def test_every_number_by_plain_loops(norm, head, method, options):
    model, settings = network(norm, head), diagnosed(method, **options)
    data, partition = problem()
    before, results = run(model, settings)
    images, labels = data.x_test, data.y_test       # 15, fewer than 20 of each class: the probe is all of them
    nobody = 0
    for (state, line), last in zip(results, [False] * (settings.rounds - 1) + [True]):
        assert ("diagnostics" in line) == (state.round % 2 == 0 or last)
        if "diagnostics" in line:
            found = line["diagnostics"]
            assert found.keys() == KEYS and found["round"] == state.round

            # the global model
            p = plain_blocks(model, state.w)
            g, w = [plain_feature(p, image, norm) for image in images], plain_classifier(p, head)
            lengths = [math.sqrt(sum(v * v for v in feature)) for feature in g]
            close(found["classifier_norms"], [math.sqrt(sum(v * v for v in w_c)) for w_c in w])
            close(found["feature_norms"], [plain_quantile(lengths, q) for q in (0, 0.25, 0.5, 0.75, 1)])
            of_class = [[i for i, label in enumerate(labels) if label == c] for c in range(CLASSES)]
            close(found["feature_norms_of_class"], [sum(lengths[i] for i in own) / len(own) for own in of_class])
            close(found["margins"], [[sum((w[c] - w[k]) @ g[i] for i in of_class[k]) / len(of_class[k])
                                      for c in range(CLASSES)] for k in range(CLASSES)])
            for name, rows in (("", np.stack(g)), ("direction_", np.stack([f / n for f, n in zip(g, lengths)]))):
                values = scipy.linalg.svd(rows.T, lapack_driver="gesvd")[1]
                close(found[f"{name}singular_values"], values)
                close(found[f"{name}effective_rank"], plain_rank(values[values > 1e-12 * values[0]]))

            # the clients
            sampled = set(line.get("sampled", range(5))) - set(line.get("failed", ()))
            assert found["clients"] == sorted(sampled)
            assert found["local_before"] == plain_accuracy(model, before.w, images, labels, norm, head)
            theta = [local_work(settings, model, settings.method(), data, partition, before, [k])[0][0]
                     for k in found["clients"]]
            assert found["local_after"] == [plain_accuracy(model, own, images, labels, norm, head) for own in theta]
            updates = [own - before.w for own in theta]
            blocks = [plain_blocks(model, update) for update in updates]
            assert list(found["drift"]) == (list(model.spec.slices) if sampled else [])
            for name, drift in found["drift"].items():
                close(drift, [math.sqrt((own[name] ** 2).sum()) for own in blocks])
            close(found["cosines"], [[a @ b / math.sqrt((a @ a) * (b @ b)) for b in updates] for a in updates])
            nobody += not sampled
        before = state
    assert (nobody > 0) == (options.get("dropout_rate") is not None)
    assert len({json.dumps(found["local_after"]) for found in seen(results)}) > 1       # rounds, and clients, differ


def close(found, expected):
    np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-11)
    assert np.shape(found) == np.shape(expected)


@pytest.mark.parametrize("policy", POLICIES)
def test_batch_norm_is_tested_as_the_policy_says(policy):
    """Each image by itself, with the statistics of whose model it is; all 15 at once where the batch's own count."""
    model, settings = network("bn"), diagnosed(bn_stats=policy, participation=0.6, norm="bn")
    data, partition = problem()
    before, results = run(model, settings)
    x, y = data.x_test / 255, data.y_test
    affine = [name for name in model.spec.slices if ".gain" in name or ".norm.bias" in name]

    def network_of(w, running):
        p = model.spec.views(w[None])
        return p if policy == "batch" else p | model.statistics.views(running[None])

    def logits_and_features(p):
        if policy == "batch":
            logits, cache = model.forward(p, x[None])
            return logits[0], cache[-1][0][0]
        pairs = [model.forward(p, image[None, None]) for image in x]
        return np.concatenate([logits[0] for logits, _ in pairs]), np.concatenate([c[-1][0][0] for _, c in pairs])

    def accuracy(p):
        correct = logits_and_features(p)[0].argmax(axis=1) == y
        return [correct[y == c].sum() / (y == c).sum() for c in range(CLASSES)]

    def with_own(state, k):
        """The parameters and statistics that client k has in a state."""
        w, running = state.w.copy(), state.statistics
        if policy == "local" and k in state.own:
            at, running = 0, state.own[k]["statistics"]
            for name in affine:
                part = model.spec.slices[name]
                w[part] = state.own[k]["affine"][at:at + part.stop - part.start]
                at += part.stop - part.start
        return w, running

    moved_affine = 0
    for state, line in results:
        if "diagnostics" in line:
            found = line["diagnostics"]
            _, g = logits_and_features(network_of(*with_own(state, 0)))
            close(found["feature_norms_of_class"],
                  [np.linalg.norm(g[y == c], axis=1).mean() for c in range(CLASSES)])
            assert found["local_before"] == accuracy(network_of(*with_own(before, 0)))
            assert found["clients"] == line["sampled"] and len(found["clients"]) == 3
            for i, k in enumerate(found["clients"]):
                theta, running, *_ = local_work(settings, model, settings.method(), data, partition, before, [k])
                assert found["local_after"][i] == accuracy(network_of(theta[0], running[0]))
                update = theta[0] - with_own(before, k)[0]
                for name, part in model.spec.slices.items():
                    close(found["drift"][name][i], np.linalg.norm(update[part]))
                moved_affine += sum(found["drift"][name][i] for name in affine)
        before = state
    assert moved_affine > 0.1 and all(own for own in before.own.values())


# ---- the parts

def test_the_probe_takes_twenty_of_each_class_and_only_its_seed_changes_it():
    labels = np.random.default_rng(0).choice(5, 400, p=[0.5, 0.32, 0.15, 0.03, 0])
    chosen = probe(labels, 6, 7)
    assert np.bincount(labels[chosen], minlength=6).tolist() == [20, 20, 20, np.sum(labels == 3), 0, 0]
    assert (labels == 3).sum() < 20
    assert chosen.tolist() == sorted(set(chosen), key=lambda i: (labels[i], i))      # by class, none twice
    np.testing.assert_array_equal(probe(labels, 6, 7), chosen)
    others = probe(labels, 6, 8)
    assert len(set(others) & set(chosen)) < 60 and np.bincount(labels[others])[0] == 20
    assert not np.array_equal(chosen[:20], np.flatnonzero(labels == 0)[:20])     # drawn, not the first
    fewer = np.where(labels == 1, 2, labels)        # another class's images are others, class 0's are not
    np.testing.assert_array_equal(probe(fewer, 6, 7)[:20], chosen[:20])


def test_the_probe_of_a_run_is_of_its_seed(monkeypatch):
    """Of 200 test images 80 are looked at, in every round the same ones, and no others."""
    data, partition = problem()
    rng = np.random.default_rng(1)
    data = SimpleNamespace(x_train=data.x_train, y_train=data.y_train, y_test=np.arange(200) % CLASSES,
                           x_test=rng.integers(0, 256, (200, *SHAPE), dtype=np.uint8))
    shown, original = [], diagnostics.predict

    def predict(model, p, images, labels):
        shown.append((images.tobytes(), labels.tolist()))
        return original(model, p, images, labels)

    monkeypatch.setattr(diagnostics, "predict", predict)
    run(network(), diagnosed(), of=(data, partition))
    chosen = probe(data.y_test, CLASSES, 11)
    assert {(images, tuple(labels)) for images, labels in shown} == \
        {(data.x_test[chosen].tobytes(), tuple(np.repeat(range(CLASSES), 20)))}
    assert len(shown) == 3 * (1 + 5)


@pytest.mark.parametrize("images", [1, 25, 26, 83])
def test_features_come_back_in_the_order_of_the_images(images):
    """On the CPU 25 go through the network at a time."""
    model, x = network(), np.random.default_rng(2).integers(0, 256, (images, *SHAPE), dtype=np.uint8)
    w = model.spec.init(3)
    p = plain_blocks(model, w)
    close(features(model, model.spec.views(w[None]), x), [plain_feature(p, image, "none") for image in x])


def test_effective_rank_of_known_matrices():
    rng = np.random.default_rng(0)
    line = rng.standard_normal((9, 1)) @ rng.standard_normal((1, 5))
    assert spectrum(line)[1] == pytest.approx(1, abs=1e-12)
    for rows in (np.eye(5), np.linalg.qr(rng.standard_normal((8, 5)))[0].T, 3 * np.eye(5, 12)):
        assert spectrum(rows)[1] == pytest.approx(5, rel=1e-14)
    assert spectrum(np.diag([2.0, 1.0, 1.0]))[1] == pytest.approx(math.exp(1.5 * math.log(2)), rel=1e-14)
    assert spectrum(np.zeros((4, 3)))[1] == 0


def test_at_most_a_hundred_singular_values_are_written_and_the_rank_is_of_all():
    labels, weight = np.arange(150) % 3, np.ones((150, 3))
    found = of_features(np.diag(np.arange(150.0, 0, -1)), labels, weight)
    np.testing.assert_allclose(found["singular_values"], np.arange(150, 50, -1), rtol=1e-14)
    assert found["effective_rank"] == pytest.approx(plain_rank(np.arange(1.0, 151)), rel=1e-13)
    assert found["direction_singular_values"].tolist() == [1.0] * 100
    assert found["direction_effective_rank"] == pytest.approx(150, rel=1e-13)


def test_margins_by_hand():
    """Two images of class 0, one of class 1, none of class 2."""
    g, weight = np.array([[1.0, 0], [3, 0], [0, 2]]), np.array([[1.0, -1, 0], [0, 5, 2]])
    margins = of_features(g, np.array([0, 0, 1]), weight)["margins"]
    np.testing.assert_array_equal(margins, [[0, -4, -2], [-10, 0, -6], [np.nan] * 3])


def test_class_means_by_hand():
    means = class_means(np.array([1.0, 2, 6]), np.array([0, 2, 2]), 4)
    np.testing.assert_array_equal(means, [1, np.nan, 4, np.nan])


def test_updates_by_hand(monkeypatch):
    spec = Spec((Entry("a", (2,)), Entry("b", (3, 1))))
    updates = [np.array([row], dtype=float) for row in ([3, 4, 0, 0, 0], [0, 0, 1, 2, 2], [-6, -8, 0, 0, 0],
                                                        [3, 4, 4, 0, -3])]
    for slab in (2 ** 16, 2, 1):
        monkeypatch.setattr(diagnostics, "SLAB", slab)
        drift, cosines = moved(updates, spec)
        np.testing.assert_array_equal(drift["a"], [5, 0, 10, 5])
        np.testing.assert_array_equal(drift["b"], [0, 3, 0, 5])
        r, s = 1 / math.sqrt(2), -2 / 3 / math.sqrt(50)
        np.testing.assert_allclose(cosines, [[1, 0, -1, r], [0, 1, 0, s], [-1, 0, 1, -r], [r, s, -r, 1]], atol=1e-15)
        assert np.abs(cosines).max() <= 1


def test_updates_are_multiplied_in_float64():
    """Two float32 updates whose angle float32 sums would not show."""
    size = 200_000
    a, b = np.ones((1, size), np.float32), np.ones((1, size), np.float32)
    b[0, 0] = 1 - 1000
    drift, cosines = moved([a, b], Spec((Entry("all", (size,)),)))
    np.testing.assert_allclose(drift["all"], [math.sqrt(size), math.sqrt(size - 1 + 999 ** 2)], rtol=1e-14)
    assert cosines[0, 1] == pytest.approx((size - 1000) / math.sqrt(size * (size - 1 + 999 ** 2)), rel=1e-14)


# ---- what there is not

def no_constant(name):
    raise AssertionError(f"{name} is no JSON")


def test_features_of_length_zero_and_clients_that_stay_give_no_nan():
    """All weights 0: every feature is 0, every gradient too."""
    model, settings = network(), diagnosed(rounds=1)
    data, partition = problem()
    first = start(settings.method(), np.zeros(model.spec.size))
    (_, line), = federated_rounds(settings, model, settings.method(), first, data, partition)
    found = json.loads(json.dumps(line["diagnostics"], allow_nan=False))
    assert found["feature_norms"] == [0] * 5 and found["effective_rank"] == found["direction_effective_rank"] == 0
    assert found["singular_values"] == found["direction_singular_values"] == [0] * 6
    assert found["margins"] == [[0] * CLASSES] * CLASSES and found["local_after"] == [[1, 0, 0, 0]] * 5
    assert set(found["drift"]["dense1.weight"]) == {0}
    assert found["cosines"] == [[None] * 5] * 5


def test_one_feature_of_length_zero_has_no_direction_and_no_nan():
    found = of_features(np.array([[3.0, 4], [0, 0], [0, 2]]), np.array([0, 1, 1]), np.eye(2))
    np.testing.assert_allclose(found["direction_singular_values"], np.sqrt([1.8, 0.2]), rtol=1e-14)
    assert all(np.isfinite(value).all() for value in found.values())


def test_a_network_that_overflows_is_written_as_null_and_ends_no_run():
    """Features of 1e300 and their squares: the run without --diagnose goes on, so this one does."""
    model = network()
    w = model.spec.init(3)
    p = model.spec.views(w[None])
    p["dense1.weight"][...], p["dense2.weight"][...], p["classifier.weight"][...] = 1e200, 1e200, 0
    data, partition = problem()
    settings = diagnosed(rounds=1, lr=1e-300, mu=0.0, algorithm="fedprox")
    before = start(settings.method(), w)
    with np.errstate(all="ignore"):
        found = diagnostics.diagnose(settings, model, before, before._replace(round=1), data, [])
    found = json.loads(json.dumps(found, allow_nan=False), parse_constant=no_constant)
    assert found["effective_rank"] is None and found["singular_values"] == [None] * 6
    assert found["feature_norms"] == [None] * 5


def test_classes_without_test_images_are_null():
    data, partition = problem()
    data = SimpleNamespace(x_train=data.x_train, y_train=data.y_train, x_test=data.x_test, y_test=data.y_test % 2)
    found = seen(run(network(), diagnosed(rounds=1), of=(data, partition))[1])[0]
    assert found["feature_norms_of_class"][2:] == found["local_before"][2:] == [None] * 2
    assert found["margins"][2:] == [[None] * 4] * 2 and None not in found["margins"][0]
    assert [accuracy[2:] for accuracy in found["local_after"]] == [[None] * 2] * 5


def test_a_round_with_nobody():
    found = seen(run(network(), diagnosed(dropout_rate=1.0, rounds=2))[1])
    assert [line["round"] for line in found] == [2]
    assert (found[0]["clients"], found[0]["local_after"], found[0]["drift"], found[0]["cosines"]) == ([], [], {}, [])
    assert found[0]["effective_rank"] > 1 and len(found[0]["local_before"]) == CLASSES


def test_of_many_clients_the_first_twenty_that_answered():
    of = problem(np.tile(COUNTS, (5, 1)))
    chosen = dict(num_clients=25, eval_every=1, rounds=3)
    for options in ({}, {"dropout_rate": 0.1}):
        results = run(network(), diagnosed(**chosen, **options), of=of)[1]
        for _, line in results:
            answered = [k for k in range(25) if k not in line.get("failed", ())]
            found = line["diagnostics"]
            assert len(answered) > 20 and found["clients"] == answered[:20]
            assert np.shape(found["local_after"]) == (20, CLASSES) and np.shape(found["cosines"]) == (20, 20)
            assert {len(drift) for drift in found["drift"].values()} == {20}
        for per_call in (7, 25):
            assert seen(run(network(), diagnosed(**chosen, **options), of=of, clients_per_call=per_call)[1]) == \
                seen(results)
