"""Who takes part and who answers: how often, how many, and what that may depend on."""

import math
from collections import Counter
from itertools import combinations, pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from minifl.errors import InputError
from minifl.fl.participation import clients_per_round, failed, sample, steps_of
from minifl.runs.settings import settings_for

SIGMAS = 4.5   # a right program exceeds so many once in 150 000 draws; the seeds are fixed, so these do or do not


def settings(**options):
    return settings_for("cifar10", options)


def rounds(number, clients, **options):
    """The clients of each of that many rounds."""
    chosen = settings(**options)
    return [sample(chosen, clients, t) for t in range(number)]


@pytest.mark.parametrize("participation, available, count", [
    (1.0, 10, 10), (0.5, 10, 5), (0.1, 10, 1), (0.01, 10, 1), (1e-9, 3, 1), (0.3, 1, 1),     # at least one
    (0.29, 100, 29), (0.34, 10, 3), (0.36, 10, 4), (0.999, 100, 100), (2e-4, 100_000, 20),   # rounded
])
def test_participation_is_a_share_of_the_available_clients(participation, available, count):
    chosen = settings(participation=participation)
    assert clients_per_round(chosen, available) == count
    assert len(sample(chosen, list(range(available)), 0)) == count


def test_a_number_of_clients():
    for count in (1, 7, 10):
        assert clients_per_round(settings(clients_per_round=count), 10) == count
    with pytest.raises(InputError, match="--clients-per-round 11 .* 10 clients that hold training examples"):
        clients_per_round(settings(clients_per_round=11), 10)
    with pytest.raises(InputError, match="--clients-per-round 2"):
        sample(settings(clients_per_round=2), [5], 0)


@pytest.mark.parametrize("options", [{}, {"participation": 1.0}, {"participation": 0.99}, {"clients_per_round": 6}])
def test_everybody(options):
    clients = [0, 2, 3, 7, 8, 11]
    assert rounds(3, clients, **options) == [clients] * 3


@given(st.integers(1, 60), st.integers(1, 60), st.integers(0, 2**40), st.integers(0, 10**6))
def test_samples_are_ascending_and_without_repetition(available, count, seed, round_):
    clients = list(range(3, 3 + 2 * available, 2))
    count = min(count, available)
    chosen = sample(settings(clients_per_round=count, seed=seed), clients, round_)
    assert len(chosen) == count and chosen == sorted(set(chosen)) and set(chosen) <= set(clients)
    assert all(type(k) is int for k in chosen)       # they go into the record


def test_every_subset_is_equally_likely():
    """Chi-square over the 10 pairs of 5 clients; with 9 degrees of freedom it exceeds 33.7 once in 10 000 times."""
    n, clients = 4000, [1, 2, 4, 5, 9]
    found = Counter(map(tuple, rounds(n, clients, clients_per_round=2)))
    assert set(found) == set(combinations(clients, 2))
    assert sum((count - n / 10) ** 2 / (n / 10) for count in found.values()) < 33.7


def test_every_client_is_equally_often_in_large_samples_of_many():
    """More than 10 000 clients: NumPy draws in another way there."""
    n, per_round, available = 200, 100, 20_000
    chosen = [k for clients in rounds(n, list(range(available)), clients_per_round=per_round) for k in clients]
    quarters = Counter(k * 4 // available for k in chosen)
    sigma = math.sqrt(len(chosen) * 3 / 16)
    assert all(abs(quarters[q] - len(chosen) / 4) < SIGMAS * sigma for q in range(4))
    assert len(set(chosen)) > 0.6 * available * (1 - math.exp(-n * per_round / available))


def test_rounds_are_independent_of_each_other():
    """A client of one round is in the next one as often as any other."""
    n, p = 3000, 0.3
    chosen = rounds(n + 1, list(range(10)), participation=p)
    again = sum(len(set(a) & set(b)) for a, b in pairwise(chosen))
    # |A & B| is hypergeometric: mean 10 p², variance 10 p (1-p) p (1-p) 10/9
    mean, sigma = 10 * p * p * n, math.sqrt(n * 10 * (p * (1 - p)) ** 2 * 10 / 9)
    assert abs(again - mean) < SIGMAS * sigma


def test_a_sample_is_named_by_seed_and_round_alone():
    clients = list(range(12))
    reference = rounds(20, clients, clients_per_round=4)
    assert rounds(20, clients, clients_per_round=4) == reference
    assert rounds(20, clients, participation=1 / 3) == reference
    other = dict(algorithm="scaffold", lr=0.3, rounds=7, local_epochs=2, dropout_rate=0.5, norm="fn", data_seed=4,
                 batch_size=5, momentum=0.9, eval_every=1, local_eval_every=0, num_clients=12, augment="none")
    assert rounds(20, clients, clients_per_round=4, **other) == reference
    backwards = settings(clients_per_round=4)
    assert [sample(backwards, clients, t) for t in reversed(range(20))] == reference[::-1]
    assert rounds(20, clients, clients_per_round=4, seed=1) != reference
    assert len(set(map(tuple, reference))) > 10


def fates(rate, number, clients, **options):
    """client -> in which of that many rounds it failed."""
    chosen = settings(dropout_rate=rate, **options)
    missing = [failed(chosen, clients, t) for t in range(number)]
    assert all(part == sorted(part) and set(part) <= set(clients) for part in missing)
    return {k: [t for t, part in enumerate(missing) if k in part] for k in clients}


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.9])
def test_dropouts_have_their_rate(rate):
    n, found = 1000, fates(rate, 1000, [0, 1, 2, 5])
    sigma = math.sqrt(n * rate * (1 - rate))
    assert all(abs(len(when) - n * rate) < SIGMAS * sigma for when in found.values())
    together = len(set(found[0]) & set(found[1]))      # one client's failure says nothing of another's
    assert abs(together - n * rate**2) < SIGMAS * math.sqrt(n * rate**2 * (1 - rate**2))


def test_no_and_all_dropouts():
    assert fates(0, 50, [3, 4]) == {3: [], 4: []}
    assert fates(1, 50, [3, 4]) == {3: list(range(50)), 4: list(range(50))}
    assert failed(settings(dropout_rate=0.5), [], 0) == []


def test_the_fate_of_a_client_depends_on_no_other():
    few, many = fates(0.4, 60, [2, 7]), fates(0.4, 60, list(range(9)))
    assert few == {k: many[k] for k in (2, 7)}
    assert few != fates(0.4, 60, [2, 7], seed=1)
    assert few == fates(0.4, 60, [2, 7], lr=0.5, algorithm="fedyogi", clients_per_round=1, rounds=3)
    rarer = fates(0.1, 60, [2, 7])
    assert all(set(rarer[k]) < set(few[k]) for k in (2, 7))     # a lower rate spares some of those that failed


@pytest.mark.parametrize("options, steps", [
    ({}, {1: 10, 32: 10, 5000: 10}),
    ({"local_steps": 7}, {1: 7, 64: 7}),
    ({"local_epochs": 1}, {1: 1, 31: 1, 32: 1, 33: 2, 64: 2, 65: 3, 5000: 157}),
    ({"local_epochs": 3}, {1: 1, 10: 1, 11: 2, 32: 3, 33: 4, 64: 6}),
    ({"local_epochs": 5, "batch_size": 1}, {1: 5, 7: 35}),
])
def test_steps(options, steps):
    chosen = settings(**options)
    assert {n: steps_of(chosen, n) for n in steps} == steps


@given(st.integers(1, 10**6), st.integers(1, 200), st.integers(1, 5000))
def test_epochs_are_the_fewest_full_batches_that_hold_so_many_passes(n, epochs, batch_size):
    steps = steps_of(settings(local_epochs=epochs, batch_size=batch_size), n)
    assert type(steps) is int and (steps - 1) * batch_size < epochs * n <= steps * batch_size


def test_nobody_to_sample_from():
    with pytest.raises(InputError, match="no client holds training examples; --partition"):
        clients_per_round(settings_for("cifar10", {}), 0)
