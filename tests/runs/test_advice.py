"""Every sentence of advice is said where it holds, and only there; what it claims is tried out."""

from types import SimpleNamespace

import numpy as np
import pytest

from minifl.data.partition import make_partition
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.rounds import federated_rounds, start
from minifl.models import MLP
from minifl.runs.advice import advice
from minifl.runs.settings import settings_for

C, TRAIN, TEST = 4, np.arange(160) % 4, np.arange(40) % 4        # 40 and 10 of each class

ONE_CLASS = [[40, 0, 0, 0], [0, 40, 0, 0], [0, 0, 40, 0], [0, 0, 0, 40]]
MIXED = [[40, 0, 0, 0], [0, 20, 20, 0], [0, 20, 20, 40]]         # one client of a single class
EQUAL = [[10, 10, 10, 10], [25, 25, 25, 25]]                     # as many of each class, but clients of two sizes
ALL = [[10, 20, 10, 10], [30, 20, 30, 30]]                       # every class, unequally


def settings(**options):
    return settings_for("cifar10", {"batch_size": 10} | options)


def split(partition, **options):
    """A partition by the name of its setting or by its table."""
    clients = 4 if isinstance(partition, str) else None
    table = partition if isinstance(partition, str) else np.array(partition)
    return make_partition(table, TRAIN, TEST, C, clients, 0, **options)


def said(partition, **options):
    """All advice as one text."""
    return " ".join(advice(settings(**options), split(partition)))


def train(partition, **options):
    """w before and after three rounds."""
    rng = np.random.default_rng(0)
    data = SimpleNamespace(x_train=rng.integers(0, 256, (160, 4, 3, 1), dtype=np.uint8), y_train=TRAIN,
                           x_test=rng.integers(0, 256, (40, 4, 3, 1), dtype=np.uint8), y_test=TEST)
    model, chosen = MLP(C, (4, 3, 1), (8, 6)), settings(rounds=3, lr=0.3, local_eval_every=0, **options)
    first = start(chosen.method(), model.spec.init(0))
    *_, (last, _) = federated_rounds(chosen, model, chosen.method(), first, data, split(partition))
    return first.w, last.w


@pytest.mark.parametrize("algorithm", sorted(set(ALGORITHMS) - {"fednova", "ditto"}))
def test_an_ordinary_run_needs_no_advice(algorithm):
    ordinary = {"algorithm": algorithm, "lr": 0.001 if algorithm == "localadam" else 0.01}
    assert said([[0, 40, 0, 10], [40, 0, 40, 30]], **ordinary) == ""
    if algorithm not in ("fedlc", "fedrs"):       # what is said of these is below
        for partition in ("iid", "oneclass", "nclass"):
            assert said(partition, **ordinary) == ""


def test_ditto_and_local_adam():
    always = said("iid", algorithm="ditto")
    assert always.startswith("Ditto's global model is FedAvg's") and "overshoot" not in always
    assert "overshoot" in said("iid", algorithm="ditto", ditto_lambda=1, lr=2.1)
    assert "Adam's usual rate is 0.001" in said("iid", algorithm="localadam")


@pytest.mark.parametrize("options", [
    {"algorithm": "fednova", "local_epochs": 2, "participation": 0.5},
    {"algorithm": "fedyogi", "norm": "fn", "participation": 0.5, "dropout_rate": 0.5},
    {"momentum": 0.9, "weight_decay": 0.1, "local_epochs": 3, "lr_schedule": "cosine"},
    {"lr_schedule": "step", "lr_step_rounds": 399, "rounds": 400},
    {"lr_step_rounds": 1000, "lr_decay": 1.0},    # of a schedule that is not in use
    {"clients_per_round": 1, "local_steps": 1},
])
def test_nor_does_one_with_other_ordinary_choices(options):
    assert said([[0, 40, 0, 10], [40, 0, 40, 15], [0, 0, 0, 15]], **options) == ""


def test_batch_norm_with_few_classes_per_client():
    for policy in ("global", "local", "batch"):
        everyone = said(ONE_CLASS, norm="bn", bn_stats=policy)
        assert everyone.startswith("Batch norm, and 4 of 4 clients hold one class only") and "Table 4" in everyone
        assert ("a model for each client" in everyone) == (policy == "local")
    assert said(MIXED, norm="bn").startswith("Batch norm, and 1 of 3 clients hold one class only")
    assert said(ALL, norm="bn") == "" and "Batch norm" not in said(ONE_CLASS, norm="gn")
    assert said(ALL, norm="bn", bn_stats="local").startswith("--bn-stats local: there is a model for each client")
    assert "of one vector it leaves 0" in said(ALL, norm="bn", batch_size=1)


def test_fedlc_with_one_class_per_client():
    for tau in (0.0, 1.0):
        nothing = said(ONE_CLASS, algorithm="fedlc", fedlc_tau=tau)
        assert nothing.startswith("All clients hold one class only. FedLC") and "nothing will be learned" in nothing
        before, after = train(ONE_CLASS, algorithm="fedlc", fedlc_tau=tau)
        np.testing.assert_array_equal(before, after)       # and so it is
    some = said(MIXED, algorithm="fedlc")
    assert some.startswith("1 of 3 clients hold one class only. FedLC") and "they learn nothing" in some
    assert "1 of 3 clients" in said([*MIXED, [0, 0, 0, 0]], algorithm="fedlc")      # of those with examples
    assert "class only" not in said(ALL, algorithm="fedlc") + said(MIXED, algorithm="fedavg")


def test_fedrs_with_one_class_per_client():
    assert "the paper reports 10 %" in said(ONE_CLASS, algorithm="fedrs")
    assert "10 %" in said([*ONE_CLASS, [0, 0, 0, 0]], algorithm="fedrs")
    assert "10 %" not in said(ONE_CLASS, algorithm="fedrs", fedrs_alpha=1)      # there it is FedAvg
    assert "10 %" not in said(MIXED, algorithm="fedrs") + said(ONE_CLASS, algorithm="fedavg")


def test_feddecorr_with_tiny_batches():
    for size, told in ((1, True), (2, True), (3, False), (10, False)):
        assert ("FedDecorr with batches" in said(ALL, algorithm="feddecorr", batch_size=size)) is told
    assert said(ALL, batch_size=2) == ""


# (partition, settings, words of the reason): this method is FedAvg here
IS_FEDAVG = [
    (ALL, dict(algorithm="fedprox", mu=0), "--mu 0"),
    (ALL, dict(algorithm="fedprox", mu=3, local_steps=1), "only local step"),
    ([[5, 5, 0, 0], [0, 0, 10, 0]], dict(algorithm="fedprox", mu=3, local_epochs=1), "only local step"),
    ([[40, 40, 40, 40]], dict(algorithm="scaffold"), "one client in all"),
    ([[40, 40, 40, 0], [0] * 4], dict(algorithm="scaffold", scaffold_option="I"), "one client in all"),
    (ALL, dict(algorithm="feddecorr", decorr_weight=0), "--decorr-weight 0"),
    (ALL, dict(algorithm="fedlc", fedlc_tau=0), "--fedlc-tau 0"),
    ("iid", dict(algorithm="fedlc"), "as many examples of every class"),
    (EQUAL, dict(algorithm="fedlc", fedlc_tau=7.5), "as many examples of every class"),
    (MIXED, dict(algorithm="fedrs", fedrs_alpha=1), "--fedrs-alpha 1"),
    (ONE_CLASS, dict(algorithm="fedrs", fedrs_alpha=1), "--fedrs-alpha 1"),
    (ALL, dict(algorithm="fedrs"), "holds every class"),
    (ALL, dict(algorithm="fedavgm", beta1=0), "--beta1 0"),
    (ALL, dict(algorithm="fednova"), "same number of steps"),
    (MIXED, dict(algorithm="fednova", local_steps=3, momentum=0.9, participation=0.5), "same number of steps"),
    (ONE_CLASS, dict(algorithm="fednova", local_epochs=2), "same number of steps"),                      # 8 each
    ([[0, 21, 0, 0], [0, 0, 29, 0]], dict(algorithm="fednova", local_epochs=1), "same number of steps"),   # 3 each
    (EQUAL, dict(algorithm="fednova", local_epochs=2, clients_per_round=1), "one client only"),
    (MIXED, dict(algorithm="fedexp", participation=0.1), "one client only"),
]
# and here it is close to that, but not
IS_NOT = [
    (ALL, dict(algorithm="fedprox", mu=3)),
    ([[5, 5, 0, 0], [0, 0, 11, 0]], dict(algorithm="fedprox", mu=3, local_epochs=1)),     # 1 and 2 steps
    ([[40, 40, 40, 40]], dict(algorithm="scaffold", server_lr=0.5)),
    (ALL, dict(algorithm="scaffold", clients_per_round=1)),
    (ALL, dict(algorithm="feddecorr")),
    (ALL, dict(algorithm="fedlc")),
    (MIXED, dict(algorithm="fedlc", fedlc_tau=0)),                                        # absent classes still leave
    (MIXED, dict(algorithm="fedrs")),
    (MIXED, dict(algorithm="fedrs", fedrs_alpha=0)),
    (ALL, dict(algorithm="fedavgm")),
    (ALL, dict(algorithm="fedavgm", beta1=0, server_lr=0.5)),
    (EQUAL, dict(algorithm="fednova", local_epochs=1)),
    ([[0, 20, 0, 0], [0, 0, 29, 0]], dict(algorithm="fednova", local_epochs=1)),          # 2 and 3 steps
    (ONE_CLASS, dict(algorithm="fedexp", fedexp_epsilon=1e-12, clients_per_round=3)),
    (ALL, dict(algorithm="fedadam", beta1=0, server_lr=1)),
]
NOT_OF_THE_METHOD = ("local_steps", "local_epochs", "participation", "clients_per_round", "momentum")


def difference_from_fedavg(partition, options):
    """How far the method and FedAvg end apart, relative to how far FedAvg came."""
    _, method = train(partition, **options)
    w, fedavg = train(partition, **{name: options[name] for name in NOT_OF_THE_METHOD if name in options})
    return np.abs(method - fedavg).max() / np.abs(fedavg - w).max()


@pytest.mark.parametrize("partition, options, reason", IS_FEDAVG)
def test_it_says_which_method_equals_fedavg_and_that_is_so(partition, options, reason):
    text = said(partition, **options)
    assert text.count("equals FedAvg") == 1 and f"This {options['algorithm']} equals FedAvg: " in text
    assert reason in text
    assert difference_from_fedavg(partition, options) < 1e-12


@pytest.mark.parametrize("partition, options", IS_NOT)
def test_and_not_of_one_that_does_not(partition, options):
    assert "equals FedAvg" not in said(partition, **options)
    assert difference_from_fedavg(partition, options) > 1e-5


def test_clients_smaller_than_a_batch():
    sizes = [[9, 0, 0, 0], [0, 4, 0, 2], [0, 0, 10, 0], [0, 0, 0, 0], [31, 36, 30, 38]]
    assert ("2 of 5 clients hold fewer training examples than a batch of 10 (the smallest 6): their batches repeat "
            "examples.") in said(sizes)
    assert "2 of 5" in said(sizes, local_epochs=1) and "1 of 5" in said(sizes, batch_size=9)
    assert "batch" not in said(sizes, batch_size=6)
    dirichlet = split("dirichlet", dirichlet_alpha=0.05, min_size=1)
    assert 0 < dirichlet.counts.sum(axis=1).min() < 10
    assert any("fewer training examples than a batch of 10" in sentence for sentence in advice(settings(), dirichlet))


def test_clients_without_examples():
    text = said([[40, 0, 0, 0], [0, 0, 0, 0], [0, 40, 40, 40]])
    assert "1 of 3 clients hold no training examples and never take part." in text
    assert "1 of 3 clients have no test examples: the mean over clients leaves them out." in text
    none_to_test = said([[1, 0, 0, 0], [39, 40, 40, 40]], batch_size=1)     # of the 10 test examples its share is 0
    assert none_to_test == "1 of 2 clients have no test examples: the mean over clients leaves them out."
    assert said([[4, 0, 0, 0], [36, 40, 40, 40]], batch_size=1) == ""       # here it is 1


def test_classes_that_nobody_holds():
    text = said([[40, 0, 30, 0], [0, 0, 10, 0]])
    assert "No client holds training examples of class 1, 3: nobody learns them." in text
    partition = split([[40, 0, 30, 0], [0, 0, 10, 0]])
    assert partition.test_counts.sum(axis=0).tolist() == [10, 0, 10, 0]     # belong to no client, as it says
    assert said([[40, 0, 1, 40], [0, 40, 0, 0]]) == ""      # one example is little, but not none


def test_schedules_that_change_nothing():
    never = said(ALL, lr_schedule="step", lr_step_rounds=50, rounds=50)
    assert never == "--lr-step-rounds 50 with 50 rounds: the learning rate never changes."
    assert said(ALL, lr_schedule="step", lr_step_rounds=49, rounds=50) == ""
    never = said(ALL, lr_schedule="step", lr_step_rounds=10, lr_decay=1.0)
    assert never == "--lr-decay 1: the learning rate never changes."
    assert said(ALL, lr_schedule="step", lr_step_rounds=900, rounds=50, lr_decay=1.0).count("never changes") == 1


def test_all_clients_fail():
    assert "no client ever answers" in said(ALL, dropout_rate=1) and said(ALL, dropout_rate=0.99) == ""
    before, after = train(ALL, dropout_rate=1)
    np.testing.assert_array_equal(before, after)


def test_each_sentence_is_one_line_and_said_once():
    everything = advice(settings(algorithm="fedlc", dropout_rate=1, lr_schedule="step", lr_step_rounds=999),
                        split([[1, 0, 0, 0], [0, 0, 0, 0], [0, 0, 40, 0]]))
    assert len(everything) == len(set(everything)) == 7
    assert all(sentence.endswith(".") and "\n" not in sentence for sentence in everything)
