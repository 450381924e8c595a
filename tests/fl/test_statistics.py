"""Batch norm's statistics: gathered, averaged, kept or not used, as --bn-stats says; by hand and by plain loops."""

import numpy as np
import pytest

from small_problem import CLASSES, SHAPE, problem, settings_of

from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.batches import local_batches
from minifl.fl.client import local_work
from minifl.fl.evaluate import chunk_size, evaluate, predict
from minifl.fl.local import local_sgd
from minifl.fl.participation import failed, sample
from minifl.fl.rounds import federated_rounds, start
from minifl.models import MLP, Arrangement, ResNet, loss_and_grad
from minifl.params import Entry, Spec

MODEL = MLP(CLASSES, SHAPE, (5, 3), Arrangement("bn", "before", learnable=True))
BN = ("dense1.norm.gain", "dense1.norm.bias", "dense2.norm.gain", "dense2.norm.bias")


def run(settings, model=MODEL, **call):
    """All (state, record) of a run in float64."""
    data, partition = problem()
    begin = start(settings.method(), model.spec.init(3), model.statistics.init(3))
    return list(federated_rounds(settings, model, settings.method(), begin, data, partition, **{"workers": 0} | call))


def settings(policy, algorithm="fedavg", **options):
    return settings_of(algorithm, **{"norm": "bn", "bn_stats": policy, "lr": 0.3, "augment": "none"} | options)


# ---- gathering

def test_running_statistics_by_hand():
    """Weight 0.1 for the newest; a step that a client does not do leaves them alone."""
    seen = iter([[[10.0], [20.0]], [[0.0], [7.0]]])

    def gradient(theta, x, y):
        return np.zeros(2), np.zeros_like(theta), np.array(next(seen))

    *_, running = local_sgd(gradient, np.zeros(3), np.zeros((2, 2, 1)), np.zeros((2, 2, 1), int), lr=1.0,
                            running=np.array([[1.0], [0.0]]), active=np.array([[True, True], [True, False]]))
    np.testing.assert_allclose(running, [[(1 + 0.1 * 9) * 0.9], [2.0]], rtol=1e-15)


def test_what_a_batch_shows_is_its_mean_and_its_variance_with_one_less():
    """By NumPy from the first layer's outputs, for each client its own."""
    rng = np.random.default_rng(0)
    theta = rng.standard_normal((2, MODEL.spec.size))
    x, y = rng.random((2, 6, *SHAPE)), rng.integers(0, CLASSES, (2, 6))
    *_, seen = loss_and_grad(MODEL, theta, x, y)
    views = MODEL.statistics.views(seen)
    for k in range(2):
        a = x[k].reshape(6, -1) @ MODEL.spec.views(theta)["dense1.weight"][k]
        np.testing.assert_allclose(views["dense1.norm.mean"][k], a.mean(axis=0), rtol=1e-12)
        np.testing.assert_allclose(views["dense1.norm.variance"][k], a.var(axis=0, ddof=1), rtol=1e-12)


# ---- plain loops over clients and steps

def plain_steps(settings, theta, running, data, partition, k, round_, pull=None):
    """SGD of one client, and the running statistics of its batches. pull: FedProx's point."""
    x, y = local_batches(data.x_train, data.y_train, partition.train[k], settings.seed, round_, k,
                         steps=settings.local_steps, batch_size=settings.batch_size, augment="none", dtype=np.float64)
    for batch, labels in zip(x, y):
        _, g, seen = loss_and_grad(MODEL, theta[None], batch[None], labels[None])
        theta = theta - settings.lr * (g[0] + (settings.mu * (theta - pull) if pull is not None else 0))
        running = 0.9 * running + 0.1 * seen[0]
    return theta, running


def plain_run(settings, local):
    """w, the server's statistics, and what the clients keep: client -> (theta, statistics)."""
    data, partition = problem()
    w, s, own = MODEL.spec.init(3), MODEL.statistics.init(3), {}
    mine = np.zeros(MODEL.spec.size, bool)
    for name in BN if local else ():
        mine[MODEL.spec.slices[name]] = True
    for round_ in range(settings.rounds):
        chosen = sample(settings, range(5), round_)
        answered = [k for k in chosen if k not in failed(settings, chosen, round_)]
        total, results = sum(len(partition.train[k]) for k in answered), {}
        for k in answered:
            theta, running = own.get(k, (w, MODEL.statistics.init(3))) if local else (w, s)
            begin = np.where(mine, theta, w)
            pull = begin if settings.algorithm == "fedprox" else None
            results[k] = plain_steps(settings, begin, running, data, partition, k, round_, pull)
        if not answered:
            continue
        shares = {k: len(partition.train[k]) / total for k in answered}
        mean = sum(shares[k] * results[k][0] for k in answered)
        w = np.where(mine, w, mean)
        if local:
            own |= results
        else:
            s = sum(shares[k] * results[k][1] for k in answered)
    return w, s, own


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox"])
@pytest.mark.parametrize("options", [{}, {"participation": 0.6, "dropout_rate": 0.4, "rounds": 9}])
def test_global_statistics_are_averaged_by_examples(algorithm, options):
    chosen = settings("global", algorithm, **options)
    w, s, _ = plain_run(chosen, local=False)
    state, _ = run(chosen)[-1]
    np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-11)
    np.testing.assert_allclose(state.statistics, s, rtol=0, atol=1e-11)
    assert np.abs(s - MODEL.statistics.init(3)).max() > 0.1


@pytest.mark.parametrize("algorithm", ["fedavg", "fedprox"])
@pytest.mark.parametrize("options", [{}, {"participation": 0.6, "dropout_rate": 0.4, "rounds": 9}])
def test_local_batch_norms_stay_with_their_client(algorithm, options):
    """FedBN: the clients keep statistics, gain and bias; FedProx's pull is towards where the client began."""
    chosen = settings("local", algorithm, **options | ({"mu": 0.5} if algorithm == "fedprox" else {}))
    w, _, own = plain_run(chosen, local=True)
    state, _ = run(chosen)[-1]
    np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-11)
    assert state.own.keys() == own.keys()
    for k, (theta, running) in own.items():
        affine = np.concatenate([theta[MODEL.spec.slices[name]] for name in BN])
        np.testing.assert_allclose(state.own[k]["affine"], affine, rtol=0, atol=1e-11)
        np.testing.assert_allclose(state.own[k]["statistics"], running, rtol=0, atol=1e-11)
    assert np.ptp([state.own[k]["affine"] for k in own], axis=0).max() > 0.05    # the clients' are not alike
    np.testing.assert_array_equal(state.statistics, MODEL.statistics.init(3))
    for name in BN:     # the server never moved its own
        np.testing.assert_array_equal(state.w[MODEL.spec.slices[name]], float("gain" in name))


@pytest.mark.parametrize("method", [dict(algorithm="scaffold"), dict(algorithm="scaffold", scaffold_option="I"),
                                    dict(algorithm="fedyogi"), dict(algorithm="fedavgm"), dict(algorithm="fedexp"),
                                    dict(algorithm="fednova"), dict(algorithm="feddecorr")],
                         ids=lambda method: "-".join(method.values()))
def test_what_stays_local_is_nothing_to_the_server(method):
    state, _ = run(settings("local", **method))[-1]
    for array in (*state.server.values(), *(own["control"] for own in state.own.values() if "control" in own)):
        for name in BN:
            np.testing.assert_array_equal(array[MODEL.spec.slices[name]], array[MODEL.spec.slices[name]][0])
            if method["algorithm"] == "scaffold":
                assert not array[MODEL.spec.slices[name]].any()
    for name in BN:
        np.testing.assert_array_equal(state.w[MODEL.spec.slices[name]], float("gain" in name))


def test_what_stays_local_has_no_part_in_the_lengths_that_fedexp_compares():
    data, partition = problem()
    chosen = settings("local", "fedexp", rounds=1, lr=1.0, fedexp_epsilon=0.0)
    begin = start(chosen.method(), MODEL.spec.init(3), MODEL.statistics.init(3))
    theta = np.stack([local_work(chosen, MODEL, chosen.method(), data, partition, begin, [k])[0][0] for k in range(5)])
    shared = np.ones(MODEL.spec.size, bool)
    for name in BN:
        shared[MODEL.spec.slices[name]] = False
    updates, p = (theta - begin.w) * shared, np.array([len(part) for part in partition.train])
    assert np.abs(theta - begin.w)[:, ~shared].max() > 0.01
    mean = p @ updates / p.sum()
    eta = max(1, (p @ (updates * updates).sum(axis=1) / p.sum()) / (2 * mean @ mean))
    assert eta > 1
    np.testing.assert_allclose(run(chosen)[0][0].w, begin.w + eta * mean, rtol=1e-12, atol=1e-15)


def test_no_server_optimizer_sees_statistics():
    """After one round they are the same mean whatever the method does with the parameters."""
    means = [run(settings("global", name, rounds=1))[0][0] for name in ("fedavg", "fedyogi", "fedavgm", "fednova")]
    for state in means[1:]:
        np.testing.assert_array_equal(state.statistics, means[0].statistics)
    assert np.abs(means[1].w - means[0].w).max() > 1e-3


def test_without_policy_there_is_nothing_to_keep():
    state, _ = run(settings("batch"))[-1]
    np.testing.assert_array_equal(state.statistics, MODEL.statistics.init(3))
    assert state.own == {} and statistics.kept_sizes(settings("batch"), MODEL, settings("batch").method()) == {}


@pytest.mark.parametrize("policy", statistics.POLICIES)
@pytest.mark.parametrize("algorithm", ["fedavg", "scaffold"])
def test_neither_workers_nor_clients_per_call_change_a_bit(policy, algorithm):
    chosen = settings(policy, algorithm, participation=0.6, eval_every=2, local_eval_every=3)
    reference = run(chosen)
    for place in ({"workers": 3}, {"clients_per_call": 2}, {"clients_per_call": 3, "workers": 2}):
        for (a, line_a), (b, line_b) in zip(reference, run(chosen, **place), strict=True):
            assert a.w.tobytes() == b.w.tobytes() and a.statistics.tobytes() == b.statistics.tobytes()
            assert {k: {n: v.tobytes() for n, v in own.items()} for k, own in a.own.items()} == \
                {k: {n: v.tobytes() for n, v in own.items()} for k, own in b.own.items()}
            assert {n: v for n, v in line_a.items() if n != "seconds"} == \
                {n: v for n, v in line_b.items() if n != "seconds"}


# ---- with which a network is tested

class Centred:
    """Batch norm without scale on one pixel: class 1 where it is above the mean, given or the batch's own."""
    num_classes = 2
    statistics = Spec((Entry("norm.mean", (1,), statistic=True),))

    def forward(self, p, x):
        v = x[:, :, 0, 0, :]
        mean = p["norm.mean"][:, None] if "norm.mean" in p else v.mean(axis=1, keepdims=True)
        above = v - mean
        return np.concatenate([-above, above], axis=2) * 255, None


IMAGES = np.array([10, 20, 30, 40, 50, 60], np.uint8).reshape(6, 1, 1, 1)
LABELS = np.array([0, 0, 0, 1, 1, 1])


def test_evaluation_with_running_statistics_by_hand():
    p = {"norm.mean": np.array([[25 / 255]])}
    predicted, _ = predict(Centred(), p, IMAGES, LABELS)
    np.testing.assert_array_equal(predicted, [0, 0, 1, 1, 1, 1])


def test_evaluation_with_the_statistics_of_each_test_batch_by_hand():
    """Three batches of two: images 0 and 3, 1 and 4, 2 and 5: a mixture though the set is sorted by class."""
    p = {"nothing": np.zeros((1, 0))}
    predicted, _ = predict(Centred(), p, IMAGES, LABELS, chunk=2)
    np.testing.assert_array_equal(predicted, [0, 0, 0, 1, 1, 1])
    predicted, _ = predict(Centred(), p, IMAGES[[0, 1, 2, 5]], LABELS[:4], chunk=4)     # mean 30
    np.testing.assert_array_equal(predicted, [0, 0, 0, 1])


def test_only_batch_statistics_need_the_large_chunks():
    """60 images of 10 and 12 and one of 255: in one chunk the mean is 15, in chunks without the bright one 11."""
    images = np.where(np.arange(60) % 2, 12, 10).astype(np.uint8).reshape(60, 1, 1, 1)
    images[0] = 255
    predicted, _ = predict(Centred(), {"nothing": np.zeros((1, 0))}, images, np.zeros(60, int))
    np.testing.assert_array_equal(predicted, np.arange(60) == 0)
    assert chunk_size(on_gpu=False, by_chunk=False) < chunk_size(on_gpu=False, by_chunk=True) == chunk_size(True, False)


def test_local_models_by_hand():
    """Client 0 says class 1 from 25 on, client 1 from 55 on: 5/6 and 4/6 of the set; on their own parts 1/2 and 2/3."""
    models = [{"norm.mean": np.array([[mean / 255]])} for mean in (25, 55)]
    parts = [np.array([0, 2]), np.array([1, 3, 5]), ]
    result = evaluate(Centred(), models, IMAGES, LABELS, parts)
    assert result["accuracy"] == pytest.approx((5 / 6 + 4 / 6) / 2, rel=1e-15)
    assert result["client_accuracy"] == [1 / 2, 2 / 3]
    assert result["client_mean_accuracy"] == pytest.approx((1 / 2 + 2 / 3) / 2, rel=1e-15)
    assert result["class_accuracy"] == pytest.approx([(2 / 3 + 3 / 3) / 2, (3 / 3 + 1 / 3) / 2], rel=1e-15)


def test_a_local_gain_and_bias_can_give_the_class_away():
    """One class per client: each client's own batch norms come to name its class. client_accuracy counts that, accuracy
    does not."""
    data, partition = problem(np.eye(4, dtype=int) * 12)
    tests = [np.flatnonzero(data.y_test == k) for k in range(4)]
    chosen = settings("local", rounds=40, num_clients=4, lr=0.5)
    begin = start(chosen.method(), MODEL.spec.init(3), MODEL.statistics.init(3))
    *_, (_, record) = federated_rounds(chosen, MODEL, chosen.method(), begin, data, partition._replace(test=tests))
    assert record["client_mean_accuracy"] > 0.9 and record["accuracy"] < 0.4


@pytest.mark.parametrize("policy", statistics.POLICIES)
@pytest.mark.parametrize("model", [
    MODEL, ResNet(CLASSES, (8, 8, 2), (2, 3), (1, 1), 2, Arrangement("bn", learnable=True))], ids=["mlp", "resnet"])
def test_a_saved_model_is_tested_the_same(policy, model):
    """What is saved has the promised shapes and gives the models that were tested, to the bit."""
    chosen = settings(policy)
    begin = start(chosen.method(), model.spec.init(3), model.statistics.init(3))
    own = {k: {"statistics": begin.statistics + k, "affine": np.arange(float(statistics.kept_sizes(
        settings("local"), model, chosen.method())["affine"])) + k} for k in (0, 2)} if policy == "local" else {}
    state = begin._replace(own=own)
    blocks = statistics.saved(chosen, model, state, 3)
    assert {name: array.shape for name, array in blocks.items()} == statistics.saved_shapes(chosen, model, 3)
    ours, restored = statistics.global_models(chosen, model, state, 3), statistics.restored(blocks, 3, np)
    assert len(ours) == len(restored) == (3 if policy == "local" else 1)
    for p, q in zip(ours, restored):
        assert {name: view.tobytes() for name, view in p.items()} == {name: view.tobytes() for name, view in q.items()}
    assert any(name.endswith(".mean") for name in ours[0]) == (policy != "batch")


def test_the_policy_belongs_to_batch_norm():
    assert settings_of("fedavg", norm="bn").bn_stats == "global" and settings_of("fedavg", norm="fn").bn_stats is None
    with pytest.raises(InputError, match="--bn-stats belongs to --norm bn; with fn it has no effect"):
        settings_of("fedavg", norm="fn", bn_stats="local")
