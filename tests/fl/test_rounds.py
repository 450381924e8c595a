"""The federated loop against an independent one, what it records, and what must not change a bit of it."""

import itertools
from dataclasses import dataclass, replace
from types import SimpleNamespace

import numpy as np
import pytest

from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.fl import client as client_module
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.batches import local_batches
from minifl.fl.client import Diverged, local_work
from minifl.fl.local import local_sgd
from minifl.fl.rounds import federated_rounds, start
from minifl.fl.settings import settings_for
from minifl.models import MLP, Arrangement, build, loss_and_grad
from minifl.params import Entry, Spec

SHAPE = (5, 4, 2)
UNEQUAL = (1, 17, 4, 9, 3)    # examples of each client: one alone, one with fewer than a batch
NONE = np.zeros(0, np.int64)


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)

    def images(n):
        return rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)

    return make_dataset("noise", images(60), rng.integers(0, 4, 60), images(23), rng.integers(0, 4, 23),
                        "abcd", "random numbers")


def partition_of(data, train, test=()):
    def counts(labels, parts):
        return np.array([np.bincount(labels[part], minlength=4) for part in parts]).reshape(-1, 4)
    return Partition(counts(data.y_train, train), counts(data.y_test, test), list(train), list(test))


def consecutive(sizes, total):
    """Clients of these sizes, from shuffled examples."""
    order = np.random.default_rng(1).permutation(total)
    return [np.sort(part) for part in np.split(order, np.cumsum(sizes))[:len(sizes)]]


@pytest.fixture(scope="module")
def partition(data):
    return partition_of(data, consecutive(UNEQUAL, 60), consecutive((5, 0, 6, 2, 10), 23))


@pytest.fixture(scope="module")
def model():
    return MLP(4, SHAPE, (7, 6), Arrangement("ln", learnable=True, bias="all"))


@pytest.fixture
def w(model):
    return model.spec.init(3)


OPTIONS = dict(rounds=6, local_steps=3, batch_size=4, lr=0.1, seed=11, eval_every=2, local_eval_every=1000)


def settings(**options):
    if "local_epochs" in options:
        options["local_steps"] = None
    return settings_for("cifar10", OPTIONS | options)


def rounds(chosen, model, state, data, partition, *, method=None, **place):
    """All (State, record) of the rounds after `state`, the records without their times."""
    results = list(federated_rounds(chosen, model, method or chosen.method(), state, data, partition, **place))
    for _, record in results:
        assert record.pop("seconds") > 0
    return results


def run(model, w, data, partition, *, workers=1, clients_per_call=None, **options):
    chosen = settings(**options)
    return rounds(chosen, model, start(chosen.method(), w), data, partition, workers=workers,
                  clients_per_call=clients_per_call)


def arrays(state):
    """name -> array, of everything in a State."""
    own = {f"own {k} {name}": array for k, kept in state.own.items() for name, array in kept.items()}
    return {"w": state.w, **state.server, **own}


def assert_same_bits(one, other):
    for (state_a, a), (state_b, b) in zip(one, other, strict=True):
        assert state_a.round == state_b.round and a == b
        arrays_a, arrays_b = arrays(state_a), arrays(state_b)
        assert arrays_a.keys() == arrays_b.keys()
        for name, array in arrays_a.items():
            assert array.dtype == arrays_b[name].dtype == state_a.w.dtype, name
            np.testing.assert_array_equal(array, arrays_b[name], err_msg=name)


def plain_fedavg(model, w, data, clients, *, rounds, steps, batch_size, lr, seed):
    """McMahan et al., Algorithm 1, a client and a step at a time; yields (w, mean losses of the clients).

    steps is a number for each client, lr one for each round
    """
    total = sum(len(examples) for examples in clients)
    for t in range(rounds):
        average, losses = np.zeros_like(w), []
        for k, examples in enumerate(clients):
            x, y = local_batches(data.x_train, data.y_train, examples, seed, t, k, steps=steps[k],
                                 batch_size=batch_size, augment="crop-flip", dtype=w.dtype.type)
            theta, sum_of_losses = w.copy(), 0.0
            for e in range(steps[k]):
                loss, gradient, _ = loss_and_grad(model, theta[None], x[e][None], y[e][None])
                theta = theta - lr[t] * gradient[0]
                sum_of_losses += loss[0]
            average += len(examples) / total * theta
            losses.append(sum_of_losses / steps[k])
        w = average
        yield w, losses


@pytest.mark.parametrize("options, steps, lr", [
    ({}, [3] * 5, [0.1] * 20),
    ({"local_epochs": 2, "clients_per_call": 5}, [1, 9, 2, 5, 2], [0.1] * 20),
    ({"lr_schedule": "step", "lr_step_rounds": 8, "lr_decay": 0.5}, [3] * 5, [0.1] * 8 + [0.05] * 8 + [0.025] * 4),
], ids=["steps", "epochs", "schedule"])
def test_agrees_with_a_plain_implementation_over_20_rounds(model, w, data, partition, options, steps, lr):
    ours = run(model, w, data, partition, rounds=20, **options)
    plain = list(plain_fedavg(model, w, data, partition.train, rounds=20, steps=steps, batch_size=4, lr=lr,
                              seed=11))
    assert np.abs(ours[-1][0].w - w).max() > 0.1      # it went somewhere
    for (state, record), (plain_w, losses), rate in zip(ours, plain, lr, strict=True):
        assert record.get("lr", 0.1) == rate
        np.testing.assert_allclose(state.w, plain_w, rtol=0, atol=1e-10)
        expected = sum(n * loss for n, loss in zip(UNEQUAL, losses)) / sum(UNEQUAL)
        assert record["train_loss"] == pytest.approx(expected, rel=1e-10)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_neither_workers_nor_evaluations_change_a_bit(model, w, data, partition, dtype):
    w = w.astype(dtype)
    reference = run(model, w, data, partition, eval_every=1, local_eval_every=1)
    for options in ({"workers": 2}, {"workers": 5}, {"eval_every": 7}, {"eval_every": 4, "workers": 3},
                    {"local_eval_every": 0}, {"local_eval_every": 4, "clients_per_call": 2, "workers": 2}):
        other = run(model, w, data, partition, **{"eval_every": 1, "local_eval_every": 1} | options)
        for (state_a, a), (state_b, b) in zip(reference, other, strict=True):
            assert state_b.w.dtype == dtype
            np.testing.assert_array_equal(state_a.w, state_b.w)
            assert {name: a[name] for name in b} == b    # the reference has all that any has


# For each number of clients: norms and methods change what is computed of a client, networks how.
NORMS = [("none", "static"), ("fn", "static"), ("ln", "static"), ("gn", "static"), ("ln", "learnable")]
METHODS = ("fedavg", "scaffold", "fedyogi", "feddecorr", "fedlc", "fedaws")


def place_cases():
    """The MLP in float32 with every method and norm; float64, and the CNN, which is slow, with each once or more."""
    every = list(itertools.product(METHODS, NORMS))
    some = [(method, norm) for method, norm in every if (NORMS.index(norm) - METHODS.index(method)) % len(NORMS) == 0]
    return [(network, dtype, method, *norm) for network, dtype, cases in (
        ("mlp", "float32", every), ("mlp", "float64", some), ("cnn", "float32", some), ("cnn", "float64", some))
        for method, norm in cases]


@pytest.fixture(scope="module")
def pictures():
    """Images that the CNN takes, and three clients of 8, 12 and 4 examples with all classes or some."""
    rng = np.random.default_rng(2)
    images = rng.integers(0, 256, (36, 16, 17, 3), dtype=np.uint8)
    data = SimpleNamespace(x_train=images[:24], y_train=np.arange(24) % 4, x_test=images[24:],
                           y_test=np.arange(12) % 4)
    train = [np.arange(8), np.arange(8, 20), np.array([20, 21, 22, 22])]
    return data, partition_of(data, train, [np.arange(6), np.arange(6, 12), NONE])


@pytest.mark.parametrize("network, dtype, method, norm, affine", place_cases())
def test_who_computes_with_whom_changes_no_bit(pictures, network, dtype, method, norm, affine):
    """With 3, 5 and 2 local steps: clients together are masked, clients alone are not."""
    data, partition = pictures
    options = dict(algorithm=method, rounds=2, local_epochs=1, batch_size=3, local_eval_every=1,
                   lr=1.0 if method == "fedaws" else 0.1)
    model = build(network, 4, (16, 17, 3), Arrangement(norm, learnable=affine == "learnable"), width=1 / 16)
    w = model.spec.init(0).astype(dtype)
    reference = run(model, w, data, partition, **options)
    assert (reference[-1][0].w != w).mean() > 0.5
    for workers, clients_per_call in ((1, 2), (2, 3), (3, 100), (3, 1)):
        assert_same_bits(reference, run(model, w, data, partition, workers=workers,
                                        clients_per_call=clients_per_call, **options))


@pytest.mark.parametrize("method", ALGORITHMS)
def test_clients_of_different_steps_together_are_clients_alone(model, w, data, partition, method):
    """Steps 1, 17, 4, 9 and 3: enough that NumPy would add up the losses of a padded client in another order."""
    options = dict(algorithm=method, local_epochs=2, batch_size=2, rounds=2, momentum=0.5, weight_decay=0.01)
    alone = run(model, w.astype(np.float32), data, partition, **options)
    assert_same_bits(alone, run(model, w.astype(np.float32), data, partition, clients_per_call=5, **options))


@pytest.mark.parametrize("method", ["fedavg", "scaffold", "fedyogi"])
def test_a_state_from_the_middle_continues_to_the_same_bits(model, w, data, partition, method):
    chosen = settings(algorithm=method, participation=0.6, dropout_rate=0.2, lr_schedule="cosine", eval_every=1)
    whole = rounds(chosen, model, start(chosen.method(), w), data, partition)
    assert len(whole) == 6
    for done in range(6):
        assert_same_bits(whole[done + 1:], rounds(chosen, model, whole[done][0], data, partition))
    for rewritten in (replace(chosen, seed=12), replace(chosen, lr=0.11)):   # the comparison can fail
        with pytest.raises(AssertionError):
            assert_same_bits(whole[3:], rounds(rewritten, model, whole[2][0], data, partition))


@pytest.mark.parametrize("method", ALGORITHMS)
def test_states_are_never_written_to(model, w, data, partition, method):
    chosen = settings(algorithm=method, momentum=0.5, participation=0.8, augment="none")
    plain = rounds(chosen, model, start(chosen.method(), w), data, partition)
    state = start(chosen.method(), w.copy())
    frozen, done = state, []
    for array in arrays(frozen).values():
        array.flags.writeable = False
    for state, record in federated_rounds(chosen, model, chosen.method(), frozen, data, partition):
        record.pop("seconds")
        done.append((state, record))
        for array in arrays(state).values():
            array.flags.writeable = False
    assert_same_bits(plain, done)
    assert frozen.round == 0 and frozen.own == {}      # neither are its dicts


def test_evaluates_every_so_often_and_at_the_end(model, w, data, partition):
    def tested(name, **options):
        records = [record for _, record in run(model, w, data, partition, rounds=7, **options)]
        assert [record["round"] for record in records] == [1, 2, 3, 4, 5, 6, 7]
        return [record["round"] for record in records if name in record]

    assert tested("accuracy", eval_every=3) == [3, 6, 7]
    assert tested("local_accuracy", local_eval_every=3) == tested("local_own_accuracy", local_eval_every=3) == [3, 6, 7]
    assert tested("local_accuracy", local_eval_every=0) == []
    assert tested("local_accuracy", local_eval_every=100) == [7]
    assert tested("accuracy", eval_every=100, local_eval_every=1) == [7]


def test_one_client_is_plain_sgd(model, w, data):
    examples = np.arange(60)
    ours = run(model, w, data, partition_of(data, [examples], [np.arange(23)]), augment="none")[-1][0].w
    for t in range(6):
        x, y = local_batches(data.x_train, data.y_train, examples, 11, t, 0, steps=3, batch_size=4,
                             augment="none", dtype=float)
        for e in range(3):
            w = w - 0.1 * loss_and_grad(model, w[None], x[e][None], y[e][None])[1][0]
    np.testing.assert_allclose(ours, w, rtol=0, atol=1e-12)


def test_one_local_step_of_equal_clients_is_one_step_on_the_union(model, w, data):
    clients = np.arange(60).reshape(5, 12)
    ours = run(model, w, data, partition_of(data, clients, [np.arange(23)] * 5), rounds=1, local_steps=1)[-1][0].w
    batches = [local_batches(data.x_train, data.y_train, part, 11, 0, k, steps=1, batch_size=4, augment="crop-flip",
                             dtype=float) for k, part in enumerate(clients)]
    x, y = (np.concatenate([batch[i][0] for batch in batches])[None] for i in (0, 1))
    assert x.shape[:2] == (1, 20)
    central = w - 0.1 * loss_and_grad(model, w[None], x, y)[1][0]
    np.testing.assert_allclose(ours, central, rtol=0, atol=1e-12)


def test_the_order_of_the_clients_changes_rounding_only(model, w, data, partition):
    """Local work in another order than the server adds it up; clients draw by their number, so they keep that."""
    chosen, order = settings(rounds=1), [3, 0, 4, 2, 1]
    state = start(chosen.method(), w)
    theta, _, message, kept, losses = local_work(chosen, model, chosen.method(), data, partition, state, order)
    assert theta.shape == message["update"].shape == (5, model.spec.size) and losses.shape == (5,) and kept == {}
    weights = np.array(UNEQUAL)[order] / sum(UNEQUAL)
    (after, record), = run(model, w, data, partition, rounds=1)
    np.testing.assert_allclose(w + weights @ (theta - w), after.w, rtol=0, atol=1e-12)
    assert record["train_loss"] == pytest.approx(weights @ losses, rel=1e-12)


def test_fedavgs_message_and_server_by_hand():
    w, theta = np.array([1.0, 2.0]), np.array([[3.0, 2.0], [1.0, -2.0]])
    method = FedAvg()
    message, kept = method.message(SimpleNamespace(w=w), theta)
    np.testing.assert_array_equal(message["update"], [[2, 0], [0, -4]])
    mean = {"update": 0.75 * message["update"][0] + 0.25 * message["update"][1]}
    np.testing.assert_array_equal(method.server(None, w, mean, {}, 1.0)[0], [2.5, 1.0])
    assert kept == method.server_state(w) == {}


def test_clients_without_examples_are_left_out_and_the_others_keep_their_numbers(model, w, data, partition):
    train, test = partition.train, partition.test
    with_empty = partition_of(data, [*train[:2], NONE, *train[2:], NONE], [*test[:2], NONE, *test[2:], NONE])
    ours = run(model, w, data, with_empty, rounds=3)
    clients = [(k, part) for k, part in enumerate(with_empty.train) if len(part)]
    for t in range(3):
        after = np.zeros_like(w)
        for k, part in clients:
            x, y = local_batches(data.x_train, data.y_train, part, 11, t, k, steps=3, batch_size=4,
                                 augment="crop-flip", dtype=float)
            theta, *_ = local_sgd(lambda *batch: loss_and_grad(model, *batch), w, x[None], y[None], lr=0.1)
            after += len(part) / sum(UNEQUAL) * theta[0]
        w = after
        np.testing.assert_allclose(ours[t][0].w, w, rtol=0, atol=1e-12)
        assert ours[t][1]["clients"] == 5 and "sampled" not in ours[t][1]
    assert len(ours[-1][1]["local_accuracy"]) == 5
    sampled = [record["sampled"] for _, record in run(model, w, data, with_empty, clients_per_round=4, rounds=40)]
    assert {k for chosen in sampled for k in chosen} == {0, 1, 3, 4, 5}      # never 2 or 6


@dataclass(frozen=True)
class Contrary(FedAvg):
    """A method whose server moves without any message, and keeps state: what happens if it is asked must show."""
    kept = ("count",)

    def server_state(self, w):
        return {"moves": np.zeros_like(w)}

    def message(self, work, theta):
        return {"update": theta - work.w}, {"count": work.own["count"] + 1}

    def server(self, model, w, mean, state, share):
        return w + 1, {"moves": state["moves"] + share}


def test_a_round_without_answers_leaves_everything_as_it_was(model, w, data, partition):
    chosen = settings(rounds=12, clients_per_round=2, dropout_rate=0.5, eval_every=1, local_eval_every=1)
    state, alone, answered = start(Contrary(), w), 0, {k: 0 for k in range(5)}
    for after, record in federated_rounds(chosen, model, Contrary(), state, data, partition):
        answers = sorted(set(record["sampled"]) - set(record["failed"]))
        assert record["clients"] == len(answers) and len(record["sampled"]) == 2
        assert len(record["local_accuracy"]) == len(record["local_own_accuracy"]) == len(answers)
        if answers:
            np.testing.assert_array_equal(after.w, state.w + 1)
            held = sum(UNEQUAL[k] for k in answers) / sum(UNEQUAL)
            np.testing.assert_allclose(after.server["moves"] - state.server["moves"], held, rtol=1e-12)
        else:
            alone += 1
            assert record["train_loss"] is None and record["failed"] == record["sampled"]
            assert after == state._replace(round=state.round + 1)
            assert after.w is state.w and after.server is state.server and after.own is state.own
        for k in answers:
            answered[k] += 1
        assert {k: kept["count"][0] for k, kept in after.own.items()} == {k: n for k, n in answered.items() if n}
        assert "accuracy" in record and after.round == record["round"] == state.round + 1
        state = after
    assert 0 < alone < 12 and 0 < len(state.own) and max(answered.values()) > 1


def test_nobody_ever_answers(model, w, data, partition):
    for method in ("fedavg", "scaffold", "fedyogi"):
        results = run(model, w, data, partition, rounds=2, dropout_rate=1, algorithm=method)
        for state, record in results:
            np.testing.assert_array_equal(state.w, w)
            assert record["failed"] == [0, 1, 2, 3, 4] and record["clients"] == 0 and state.own == {}
        np.testing.assert_array_equal(results[-1][0].server.get("control", 0), 0)
        np.testing.assert_array_equal(results[-1][0].server.get("v", 1e-6), 1e-6)


def test_only_clients_that_took_part_have_a_state(model, w, data, partition):
    seen = set()
    for state, record in run(model, w, data, partition, algorithm="scaffold", clients_per_round=1, rounds=5):
        seen |= set(record["sampled"])
        assert state.own.keys() == seen
        assert all(kept["control"].base is None for kept in state.own.values())   # holds no other client's alive
    assert 1 < len(seen) < 5


ALWAYS = {"round", "clients", "train_loss"}
TESTED = {"accuracy", "client_mean_accuracy", "client_accuracy", "class_accuracy", "test_loss"}
LOCAL = {"local_accuracy", "local_own_accuracy"}


@pytest.mark.parametrize("options, extra", [
    ({}, set()),
    ({"participation": 0.95}, set()),                       # 4.75 of 5 clients are 5
    ({"participation": 0.4}, {"sampled"}),
    ({"clients_per_round": 5}, set()),
    ({"clients_per_round": 4}, {"sampled"}),
    ({"dropout_rate": 0.5}, {"failed"}),
    ({"lr_schedule": "cosine"}, {"lr"}),
    ({"lr_schedule": "step", "participation": 0.4, "dropout_rate": 0.1}, {"lr", "sampled", "failed"}),
    ({"momentum": 0.5, "local_epochs": 1, "algorithm": "scaffold"}, set()),
])
def test_what_a_record_holds(model, w, data, partition, options, extra):
    records = [record for _, record in run(model, w, data, partition, **options)]
    for record in records[:-1]:
        assert record.keys() == ALWAYS | extra | (TESTED if record["round"] % 2 == 0 else set())
    assert records[-1].keys() == ALWAYS | extra | TESTED | LOCAL
    for record in records:
        who = record.get("sampled", [0, 1, 2, 3, 4])
        assert who == sorted(set(who)) and set(record.get("failed", [])) <= set(who)
        assert record["clients"] == len(who) - len(record.get("failed", []))
        assert type(record["train_loss"]) is float or record["clients"] == 0
    assert len(records[-1]["local_accuracy"]) == records[-1]["clients"]
    if "lr" in extra:
        assert [type(record["lr"]) for record in records] == [float] * len(records) and records[0]["lr"] == 0.1


class Brightness:
    """Logits are the image's channels, 0 to 255, plus one parameter for each class."""
    num_classes, spec, statistics = 3, Spec((Entry("offset", (3,)),)), Spec(())

    def forward(self, p, x):
        return x[:, :, 0, 0, :] * 255 + p["offset"][:, None], None


class TowardsOwnClass(FedAvg):
    """One step of lr 1 adds 100 to the logit of the first label of the batch."""
    def gradient(self, work, theta, x, y):
        g = np.zeros_like(theta)
        g[np.arange(len(y)), y[:, 0]] = -100
        return np.zeros(len(y)), g, theta[:, :0]


def test_local_accuracies_by_hand():
    """Test images: a bright one of each class, which all see, and dark ones, which a client takes for its class."""
    bright = (np.eye(3) * 200).astype(np.uint8)
    x_test = np.concatenate([bright, np.zeros((5, 3), np.uint8)])[:, None, None]
    y_test = np.array([0, 1, 2, 0, 0, 0, 1, 1])                        # dark: three of class 0, two of class 1
    data = SimpleNamespace(x_train=np.zeros((6, 1, 1, 3), np.uint8), y_train=np.array([2, 2, 0, 0, 1, 1]),
                           x_test=x_test, y_test=y_test)
    train = [np.array([2, 3]), np.array([4, 5]), NONE, np.array([0, 1])]      # of classes 0, 1, -, 2
    test = [np.array([0, 3, 7]), np.array([1, 6]), np.array([4, 5]), NONE]
    chosen = settings(rounds=1, local_steps=1, lr=1, augment="none", local_eval_every=1)
    for place in ({}, {"workers": 3}, {"clients_per_call": 2}, {"clients_per_call": 3, "workers": 2}):
        (state, record), = rounds(chosen, Brightness(), start(TowardsOwnClass(), np.zeros(3)), data,
                                  partition_of(data, train, test), method=TowardsOwnClass(), **place)
        assert record["clients"] == 3 and "sampled" not in record
        assert record["local_accuracy"] == [6 / 8, 5 / 8, 3 / 8]
        assert record["local_own_accuracy"] == [2 / 3, 2 / 2, None]    # all but the dark one of class 1; all
        np.testing.assert_allclose(state.w, 100 / 3, rtol=1e-14)
        assert record["accuracy"] == 6 / 8 and record["client_accuracy"] == [2 / 3, 1 / 2, 1, None]   # a tie is class 0


def break_client(monkeypatch, broken, round_, how):
    """Client number `broken` gets what `how` makes of (theta, losses) in a 1-based round."""
    calls = []

    def batches(images, labels, examples, seed, t, client, **options):
        calls.append((t + 1, client))
        return local_batches(images, labels, examples, seed, t, client, **options)

    def local(*arguments, **options):
        theta, losses, running = local_sgd(*arguments, **options)
        return *(how(theta, losses) if calls[-1] == (round_, broken) else (theta, losses)), running

    monkeypatch.setattr(client_module, "local_batches", batches)
    monkeypatch.setattr(client_module, "local_sgd", local)


def _loss_at_step_2(value):
    def how(theta, losses):
        losses[-1, 1:] = value
        return theta, losses
    return how


def _one_parameter(theta, losses):
    theta[-1, 5] = np.inf
    return theta, losses


@pytest.mark.parametrize("clients_per_call", [1, 2, 4])    # with clients 0, 1, 3, 4: the last of its call
@pytest.mark.parametrize("how, text", [
    (_loss_at_step_2(np.nan), "loss of client 4 is nan at local step 2 of round 3"),
    (_loss_at_step_2(np.inf), "loss of client 4 is inf at local step 2 of round 3"),
    (_one_parameter, "parameters of client 4 are not finite after local step 3 of round 3"),
])
def test_a_client_that_diverges_is_named_and_the_server_keeps_w(model, w, data, partition, monkeypatch, how, text,
                                                                clients_per_call):
    train = [*partition.train[:2], NONE, *partition.train[2:4]]    # client 2 takes no part
    partition = partition_of(data, train, partition.test)
    good = run(model, w, data, partition, rounds=2)
    break_client(monkeypatch, 4, 3, how)
    reached, chosen = [], settings()
    with pytest.raises(Diverged, match=text):
        for result in federated_rounds(chosen, model, chosen.method(), start(chosen.method(), w), data, partition,
                                       clients_per_call=clients_per_call):
            reached.append(result)
    assert [record["round"] for _, record in reached] == [1, 2]
    np.testing.assert_array_equal(reached[-1][0].w, good[-1][0].w)
    assert np.isfinite(reached[-1][0].w).all()


def test_the_step_after_which_parameters_are_not_finite_is_the_clients_own_last(model, w, data, partition,
                                                                                monkeypatch):
    break_client(monkeypatch, 4, 1, _one_parameter)
    with pytest.raises(Diverged, match="client 4 are not finite after local step 2 of round 1"):
        run(model, w, data, partition, local_epochs=2, clients_per_call=5)


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("clients_per_call", [1, 5])
def test_a_much_too_large_learning_rate_diverges_without_warnings(model, w, data, partition, clients_per_call):
    with pytest.raises(Diverged, match="client 0 .* of round 1; a smaller --lr may help"):
        run(model, w.astype(np.float32), data, partition, lr=1e38, workers=2, clients_per_call=clients_per_call)


@pytest.mark.filterwarnings("error")
def test_a_server_that_diverges_ends_the_rounds(model, w, data, partition):
    chosen, reached = settings(algorithm="fedavgm", server_lr=1e38, lr=100), []
    with pytest.raises(Diverged, match="server's state is not finite after round 1; .*--server-lr"):
        for result in federated_rounds(chosen, model, chosen.method(), start(chosen.method(), w.astype(np.float32)),
                                       data, partition):
            reached.append(result)
    assert reached == []


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("method", ALGORITHMS)
def test_steps_that_a_client_does_not_do_warn_of_nothing(model, w, data, partition, method):
    """Their batches are zeros of class 0: FedLC's loss of a class that is not held is infinite there."""
    one_class = partition_of(data, [np.flatnonzero(data.y_train == c)[:n] for c, n in enumerate((1, 6, 3, 9))],
                             partition.test[:4])
    run(model, w.astype(np.float32), data, one_class, algorithm=method, local_epochs=3, clients_per_call=4, rounds=2,
        momentum=0.9)


class Stop(Exception):
    pass


@pytest.mark.parametrize("place, calls_a_round", [({}, 5), ({"workers": 3}, 5), ({"clients_per_call": 2}, 3)])
def test_check_is_called_between_pieces_of_work_and_ends_the_rounds(model, w, data, partition, place, calls_a_round):
    chosen, calls, done = settings(eval_every=100), itertools.count(1), []

    def check():
        if next(calls) == 2 * calls_a_round + 2:    # in the third round, after the first piece
            raise Stop

    with pytest.raises(Stop):
        for state, _ in federated_rounds(chosen, model, chosen.method(), start(chosen.method(), w), data, partition,
                                         check=check, **place):
            done.append(state.round)
    assert done == [1, 2] and next(calls) == 2 * calls_a_round + 3


def test_the_rounds_of_a_finished_state_are_none(model, w, data, partition):
    chosen = settings()
    state = start(chosen.method(), w)._replace(round=6)
    assert rounds(chosen, model, state, data, partition) == []
