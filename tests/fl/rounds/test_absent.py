"""Clients that were asked and did not answer: what `federated_rounds` makes of `absent`."""

import numpy as np

from looping import arrays, rounds, settings

from minifl.fl.rounds import start

OPTIONS = {"algorithm": "scaffold", "rounds": 3, "eval_every": 1}


def run(model, w, data, partition, absent, **options):
    chosen = settings(**OPTIONS | options)
    return rounds(chosen, model, start(chosen.method(), w), data, partition, absent=absent)


def test_who_is_absent_does_not_count_and_keeps_what_it_had(model, w, data, partition):
    found = run(model, w, data, partition, {2: {1: "asleep", 3: "away"}})
    everyone = len(partition.train)
    assert [record["clients"] for _, record in found] == [everyone, everyone - 2, everyone]
    assert found[1][1]["absent"] == [{"client": 1, "reason": "asleep"}, {"client": 3, "reason": "away"}]
    assert "absent" not in found[0][1] and "absent" not in found[2][1]
    before, after = found[0][0].own, found[1][0].own
    for k in range(everyone):
        assert (before[k]["control"] is after[k]["control"]) == (k in (1, 3))


def test_absent_is_as_failed(model, w, data, partition):
    """The same clients missing by a simulated dropout: the same bits."""
    dropped = run(model, w, data, partition, None, dropout_rate=0.4)
    missing = {record["round"]: dict.fromkeys(record["failed"], "") for _, record in dropped}
    assert any(missing.values()) and not all(len(m) == len(partition.train) for m in missing.values())
    for (one, _), (other, _) in zip(dropped, run(model, w, data, partition, missing), strict=True):
        for name, array in arrays(one).items():
            np.testing.assert_array_equal(array, arrays(other)[name], err_msg=name)


def test_nobody_is_there(model, w, data, partition):
    found = run(model, w, data, partition, {1: dict.fromkeys(range(len(partition.train)), "gone")})
    state, record = found[0]
    assert state.round == 1 and state.w is w and not state.own
    assert record["clients"] == 0 and record["train_loss"] is None and len(record["absent"]) == len(partition.train)


def test_who_was_not_asked_is_not_absent(model, w, data, partition):
    every = {r: dict.fromkeys(range(len(partition.train)), "gone") for r in (1, 2, 3)}
    for _, record in run(model, w, data, partition, every, clients_per_round=2):
        assert [missing["client"] for missing in record["absent"]] == record["sampled"]
