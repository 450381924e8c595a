"""What every method must be equal to under --last-batch, --client-weights, --label-smoothing and --clip-norm; trajectories:
test_trajectories.py."""

import numpy as np
import pytest

from of_methods import of
from small_problem import network, problem, run, settings_of

from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.batches import stream
from minifl.fl.client import local_work
from minifl.fl.local import clipped
from minifl.fl.rounds import federated_rounds, start
from minifl.models import loss_and_grad

MOMENTUM = {"momentum": 0.6, "weight_decay": 0.02}
SAMPLED = {"clients_per_round": 3, "dropout_rate": 0.3, "seed": 2} | MOMENTUM
UNEQUAL = np.array([[1, 1, 1, 1], [0, 2, 0, 0], [3, 0, 4, 1], [0, 0, 0, 1]])    # sizes 4, 2, 8, 1
EPOCHS = {"local_epochs": 2, "last_batch": "partial", "rounds": 3, "lr": 0.05} | MOMENTUM


@pytest.mark.parametrize("norm", ["ln", "bn"])
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_clients_with_smaller_last_batches_do_not_see_each_other(algorithm, norm):
    """Of 17, 3, 10, 8 and 5 examples in batches of 4: whoever goes through the network with whom, not a bit changes."""
    settings = settings_of(algorithm, norm=norm, **EPOCHS)
    model = network(norm)
    runs = [run(settings, model, *problem(), clients_per_call=n, workers=workers) for n, workers in
            ((1, 0), (2, 2), (5, 0))]
    for other in runs[1:]:
        for (a, line), (b, again) in zip(runs[0], other):
            assert a.w.tobytes() == b.w.tobytes() and line["train_loss"] == again["train_loss"]
            assert a.statistics.tobytes() == b.statistics.tobytes()
            for k, kept in a.own.items():
                assert all(array.tobytes() == b.own[k][name].tobytes() for name, array in kept.items())


def test_rounds_with_smaller_last_batches_go_on_from_any_of_them():
    settings, model = settings_of("scaffold", client_weights="uniform", **EPOCHS), network()
    data, partition = problem()
    whole = run(settings, model, data, partition)
    rest = federated_rounds(settings, model, settings.method(), whole[0][0], data, partition)
    assert [s.w.tobytes() for s, _ in rest] == [s.w.tobytes() for s, _ in whole[1:]]


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_where_batches_divide_the_examples_the_last_one_is_full(algorithm):
    data, partition = problem([[3, 2, 3, 0], [0, 0, 0, 4], [4, 2, 3, 3]])
    full, partial = (run(settings_of(algorithm, **EPOCHS | {"last_batch": last}), network(), data, partition)
                     for last in ("full", "partial"))
    assert [(s.w.tobytes(), line["train_loss"]) for s, line in full] == \
           [(s.w.tobytes(), line["train_loss"]) for s, line in partial]


def test_an_epoch_of_one_smaller_batch_is_a_step_on_all_examples():
    """Whose mean over clients, by examples, is the gradient of the union: FedSGD (McMahan et al. 2017)."""
    data, partition = problem(UNEQUAL)
    settings = settings_of("fedavg", local_epochs=1, last_batch="partial", batch_size=100, augment="none", rounds=4)
    model, w = network("none"), network("none").spec.init(3)
    held = np.concatenate(partition.train)
    x, y = data.x_train[held][None] / 255, data.y_train[held][None]
    for state, _ in run(settings, model, data, partition):
        w = w - 0.1 * loss_and_grad(model, w[None], x, y)[1][0]
        np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-12)


def test_a_batch_norm_sees_the_examples_of_a_smaller_batch_alone():
    """Of one client with 5 examples in batches of 4, the second batch is one: batch norm makes 0 of it."""
    data, partition = problem([[5, 0, 0, 0]])
    settings = settings_of("fedavg", norm="bn", local_epochs=1, last_batch="partial", augment="none", rounds=1)
    model, w = network("bn"), network("bn").spec.init(3)
    running = model.statistics.init(3)
    order = stream(partition.train[0], settings.seed, 0, 0, 5)
    for part in (order[:4], order[4:]):
        _, g, seen = loss_and_grad(model, w[None], data.x_train[part][None] / 255, data.y_train[part][None])
        w, running = w - 0.1 * g[0], running + 0.1 * (seen[0] - running)
    state, _ = run(settings, model, data, partition)[0]
    np.testing.assert_allclose(state.w, w, rtol=0, atol=1e-13)


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_equal_clients_are_weighted_alike_by_examples(algorithm):
    data, partition = problem([[3, 2, 1, 0], [0, 0, 0, 6], [1, 2, 3, 0]])
    a, b = (run(settings_of(algorithm, client_weights=weights, **SAMPLED), network(), data, partition)
            for weights in ("examples", "uniform"))
    for (ours, line), (theirs, again) in zip(a, b):
        np.testing.assert_allclose(theirs.w, ours.w, rtol=0, atol=1e-13)
        assert again["train_loss"] == (line["train_loss"] and pytest.approx(line["train_loss"], rel=1e-12))


def test_uniform_weights_are_the_plain_mean_of_the_models():
    """And the training loss is that of the clients, too."""
    data, partition = problem()
    settings = settings_of("fedavg", client_weights="uniform", rounds=1)
    model = network()
    state, record = run(settings, model, data, partition)[0]
    work = [local_work(settings, model, settings.method(), data, partition, start(settings.method(), model.spec.init(3)),
                       [k]) for k in range(5)]
    np.testing.assert_allclose(state.w, np.mean([theta[0] for theta, *_ in work], axis=0), rtol=0, atol=1e-14)
    assert record["train_loss"] == pytest.approx(np.mean([losses[0] for *_, losses in work]), rel=1e-14)


# --- clipped gradients, smoothed labels --------------------------------------------------------------------

@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_a_clip_that_no_gradient_reaches_changes_no_bit_and_another_one_does(algorithm):
    data, partition = problem()
    plain, long, short = (run(settings_of(algorithm, clip_norm=clip, rounds=3), network(), data, partition)[-1][0]
                          for clip in (None, 1e6, 0.05))
    assert long.w.tobytes() == plain.w.tobytes() != short.w.tobytes()
    assert all(long.server[name].tobytes() == array.tobytes() for name, array in plain.server.items())


def test_a_clipped_step_is_as_long_as_it_may_be_and_weight_decay_is_not_cut():
    """One step of one client: lr times a gradient of length 0.01 along grad F, then lr times the decay of w."""
    data, partition = problem([[3, 2, 3, 0]])
    model, w = network(), network().spec.init(3)
    one = {"rounds": 1, "local_steps": 1}
    free, clipped, decayed = (run(settings_of("fedavg", **one | own), model, data, partition)[-1][0].w - w
                              for own in ({}, {"clip_norm": 0.01}, {"clip_norm": 0.01, "weight_decay": 0.5}))
    np.testing.assert_allclose(clipped, free * 0.1 * 0.01 / np.linalg.norm(free), rtol=0, atol=1e-15)
    np.testing.assert_allclose(decayed, clipped - 0.1 * 0.5 * w, rtol=0, atol=1e-15)


def test_each_client_is_clipped_by_its_own_length_together_or_alone():
    settings, model = settings_of("fedavg", clip_norm=1.0, **EPOCHS | {"last_batch": "full"}), network()
    data, partition = problem()
    begin = start(settings.method(), model.spec.init(3))
    together, *_ = local_work(settings, model, settings.method(), data, partition, begin, [0, 1, 2, 3, 4])
    for k in range(5):
        alone, *_ = local_work(settings, model, settings.method(), data, partition, begin, [k])
        assert alone[0].tobytes() == together[k].tobytes()


def test_a_clipped_gradient_that_overflows_is_noticed():
    """1/inf must not make a step of 0 of it."""
    g = np.array([[3.0, 4.0], [np.nan, 1.0], [0.3, 0.4]], np.float32)
    found = clipped(g, 1.0)
    np.testing.assert_allclose(found[0], [0.6, 0.8], rtol=1e-6)
    assert np.isnan(found[1]).any() and found[2].tobytes() == g[2].tobytes() and found.dtype == np.float32
    with np.errstate(over="ignore", invalid="ignore"):
        assert not np.isfinite(clipped(np.array([[np.inf, 1.0]], np.float32), 1.0)).all()


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_smoothed_labels_are_in_the_loss_of_every_method_or_refused(algorithm):
    if hasattr(of(algorithm), "NO_SMOOTHING"):
        with pytest.raises(InputError, match=f"--label-smoothing 0.1 with --algorithm {algorithm}"):
            settings_of(algorithm, label_smoothing=0.1)
        return
    data, partition = problem()
    plain, smooth = (run(settings_of(algorithm, label_smoothing=part, rounds=2), network(), data, partition)
                     for part in (0.0, 0.1))
    assert np.abs(plain[-1][0].w - smooth[-1][0].w).max() > 1e-5
    assert plain[0][1]["train_loss"] != smooth[0][1]["train_loss"]
