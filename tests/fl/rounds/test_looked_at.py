"""Of many clients the own models of a sample are tested: which, when it is the same, and that nothing else changes."""

import numpy as np
import pytest

from looping import assert_same_bits, rounds, run, settings

import minifl.fl.rounds
from minifl.data.registry import load
from minifl.fl import statistics
from minifl.fl.evaluate import evaluate, predict
from minifl.fl.participation import looked_at
from minifl.fl.rounds import start
from minifl.models import MLP, Arrangement
from minifl.runs.advice import advice
from minifl.runs.run import reevaluate, split, train
from minifl.runs.settings import settings_for


def chosen(clients=1000, **options):
    return settings_for("embedded", {"num_clients": clients, "setting": "iid"} | options)


def test_all_clients_up_to_the_number():
    assert chosen().local_eval_clients == 50
    assert looked_at(chosen(), range(50)) == list(range(50)) and len(looked_at(chosen(), range(51))) == 50
    assert looked_at(chosen(local_eval_clients=3), [7, 9, 1000]) == [7, 9, 1000] and looked_at(chosen(), []) == []


def test_the_sample_is_of_the_seed_and_of_nothing_else():
    sample = looked_at(chosen(), range(1000))
    assert sample == sorted(set(sample)) and len(sample) == 50
    assert looked_at(chosen(lr=0.1, rounds=7, clients_per_round=300), range(1000)) == sample
    assert looked_at(chosen(seed=1), range(1000)) != sample
    some = [k for k in range(1000) if k % 2]      # who is first stays first, whoever else is there
    kept = [k for k in sample if k % 2]
    assert set(kept) <= set(looked_at(chosen(), some)) and len(looked_at(chosen(), some)) == 50
    assert set(looked_at(chosen(2000), range(2000))) & set(range(1000)) <= set(sample)


def test_every_client_is_as_likely():
    often = np.zeros(20)
    for seed in range(2000):
        often[looked_at(chosen(20, seed=seed, local_eval_clients=5), range(20))] += 1
    assert often.sum() == 10_000 and np.abs(often - 500).max() < 5 * np.sqrt(2000 * 0.25 * 0.75)


def test_numbers_are_those_of_these_clients_where_all_are_tested(model, w, data, partition, monkeypatch):
    tested = []

    def counting(*arguments, **options):
        tested.append(1)
        return predict(*arguments, **options)

    options = dict(local_eval_every=2, eval_every=1000, clients_per_round=4, dropout_rate=0.2)
    whole = run(model, w, data, partition, **options)
    monkeypatch.setattr(minifl.fl.rounds, "predict", counting)
    some = run(model, w, data, partition, local_eval_clients=2, **options)
    looked = {k for _, record in some for k in record.get("local_clients", ())}
    assert len(looked) >= 2
    for (state, record), (other, all_) in zip(some, whole):
        np.testing.assert_array_equal(state.w, other.w)
        asked = all_["sampled"]
        answered = [k for k in asked if k not in all_["failed"]]
        if "local_accuracy" not in all_:
            assert record == all_
            continue
        whose = list(looked_at(settings(local_eval_clients=2, **options), answered))
        assert record.pop("local_clients", answered) == whose
        for name in ("local_accuracy", "local_own_accuracy"):
            assert record.pop(name) == [value for k, value in zip(answered, all_.pop(name)) if k in whose]
        assert record == all_
    assert len(tested) == sum(min(2, record["clients"]) for _, record in whole if record["round"] % 2 == 0)


@pytest.mark.parametrize("place", [{"workers": 2}, {"clients_per_call": 2}, {"clients_per_call": 5, "workers": 2}])
def test_place_changes_no_bit(model, w, data, partition, place):
    options = dict(local_eval_every=2, local_eval_clients=2)
    assert_same_bits(run(model, w, data, partition, **options), run(model, w, data, partition, **options, **place))


BATCH_NORM = MLP(4, (5, 4, 2), (7, 6), Arrangement("bn", learnable=True, bias="all"))


def test_models_that_stay_with_their_clients(data, partition):
    """Those of the sample are tested, as if there were no others; what is tested again is the same."""
    options = dict(norm="bn", bn_stats="local", rounds=3, eval_every=1, local_eval_every=0)
    few, every = settings(local_eval_clients=2, **options), settings(**options)
    begin = start(few.method(), BATCH_NORM.spec.init(3), BATCH_NORM.statistics.init(3))
    of_few, of_all = (rounds(one, BATCH_NORM, begin, data, partition) for one in (few, every))
    sample = looked_at(few, range(5))
    for (state, record), (other, whole) in zip(of_few, of_all):
        np.testing.assert_array_equal(state.w, other.w)
        assert record["tested_clients"] == sample and len(sample) == 2 and "tested_clients" not in whole
        assert record["client_accuracy"] == [value if k in sample else None for k, value in enumerate(whole["client_accuracy"])]
        models = statistics.global_models(few, BATCH_NORM, state, 5, sample)
        assert [p is not None for p in models] == [k in sample for k in range(5)]
        alone = [evaluate(BATCH_NORM, [models[k]], data.x_test, data.y_test, [partition.test[k]])["accuracy"] for k in sample]
        assert record["accuracy"] == pytest.approx(np.mean(alone), rel=1e-15)


def test_a_saved_run_is_tested_again_as_it_was(tmp_path, data_dir):
    chosen = settings_for("cifar10", dict(num_clients=4, setting="iid", norm="bn", bn_stats="local", local_eval_clients=2,
                                          model="mlp", width=0.05, rounds=1, local_steps=1, batch_size=4))
    dataset = load("cifar10", data_dir)
    *_, line = train(chosen, dataset, split(chosen, dataset), tmp_path / "run")
    again = reevaluate(tmp_path / "run", data_dir=data_dir)[2]
    assert len(again["tested_clients"]) == 2 and again == {name: line[name] for name in again}


def test_it_is_said(partition):
    def said(**options):
        return " ".join(advice(settings(**options), partition))

    assert "--local-eval-clients" not in said() + said(norm="bn", bn_stats="local") + said(local_eval_clients=5)
    assert "A round has 5 clients" in said(local_eval_clients=4) and "local_clients are their numbers" in said(local_eval_clients=4)
    assert "--local-eval-clients" not in said(local_eval_clients=4, local_eval_every=0) + said(local_eval_clients=4,
                                                                                             clients_per_round=4)
    assert "There are 5 models, too many" in said(norm="bn", bn_stats="local", local_eval_clients=4, local_eval_every=0)
