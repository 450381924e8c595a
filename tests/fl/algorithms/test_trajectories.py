"""20 rounds of every method against its Oracle, an independent implementation in plain loops."""

from dataclasses import replace
from functools import cache

import numpy as np
import pytest

from of_methods import HARD, ROUNDS, of, trajectories, trajectory_of
from plain import trajectory
from small_problem import COUNTS, network, problem, run, settings_of

from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.participation import failed, sample

TOLERANCE = 1e-10
CASES = [(name, which) for name in ALGORITHMS for which in trajectories(name)]


@cache
def ours(name, which):
    settings, norm = trajectory_of(name, which)
    return run(settings, network(norm), *problem())


@cache
def fedavg(kind, norm, lr):
    """w after FedAvg in such a setting."""
    settings, _ = trajectory_of("fedavg", kind)
    return run(replace(settings, lr=lr), network(norm), *problem())[-1][0].w


@pytest.mark.parametrize("name, which", CASES)
def test_agrees_with_the_oracle_over_20_rounds(name, which):
    settings, norm = trajectory_of(name, which)
    model = network(norm)
    w = model.spec.init(3)
    plain = trajectory(of(name).Oracle(), settings, model, *problem(), w)
    for (state, record), other in zip(ours(name, which), plain, strict=True):
        plain_w, plain_server, plain_own, plain_loss = other
        np.testing.assert_allclose(state.w, plain_w, rtol=0, atol=TOLERANCE)
        assert set(state.server) == set(plain_server) and set(state.own) == set(plain_own)
        for key, array in state.server.items():
            np.testing.assert_allclose(array, plain_server[key], rtol=0, atol=TOLERANCE)
        for k, kept in state.own.items():
            assert set(kept) == set(plain_own[k])
            for key, array in kept.items():
                np.testing.assert_allclose(array, plain_own[k][key], rtol=0, atol=TOLERANCE)
        assert (record["train_loss"] is None) == (plain_loss is None)
        if plain_loss is not None:
            assert record["train_loss"] == pytest.approx(plain_loss, rel=TOLERANCE)
    assert record["round"] == ROUNDS
    assert np.abs(state.w - w).max() > 0.05      # it went somewhere
    assert all(np.abs(array).max() > 1e-4 for array in state.server.values())


@pytest.mark.parametrize("name, which", [case for case in CASES if case[0] != "fedavg"])
def test_differs_from_fedavg(name, which):
    """What agrees here is no evidence: each method must do something, in every setting."""
    kind, _, norm = trajectories(name)[which]
    difference = np.abs(ours(name, which)[-1][0].w - fedavg(kind, norm, trajectory_of(name, which)[0].lr)).max()
    if which in getattr(of(name), "IS_FEDAVG", ()):
        assert difference < 1e-12
    else:
        assert difference > 1e-3


def test_the_hard_setting_is_hard():
    """Rounds in which nobody answers, somebody fails, a class has no holder; clients with 1 to 5 steps."""
    settings, clients = settings_of("fedavg", **HARD), list(range(len(COUNTS)))
    answered = []
    for t in range(ROUNDS):
        sampled = sample(settings, clients, t)
        missing = failed(settings, sampled, t)
        assert len(sampled) == 3 and set(missing) <= set(sampled)
        answered.append([k for k in sampled if k not in missing])
    assert {len(some) for some in answered} == {0, 1, 2, 3}
    assert any(some and (COUNTS[some].sum(axis=0) == 0).any() for some in answered)
    assert set(sum(answered, [])) == set(clients)
    assert [record["clients"] for _, record in ours("fedavg", "hard")] == [len(some) for some in answered]
    assert sorted(-(-n // 4) for n in COUNTS.sum(axis=1)) == [1, 2, 2, 3, 5]
