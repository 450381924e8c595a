"""What the record of a round holds, and when."""

from types import SimpleNamespace

import numpy as np
import pytest

from looping import NONE, partition_of, rounds, run, settings

from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.rounds import start
from minifl.params import Entry, Spec


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
