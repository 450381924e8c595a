"""A split that is a function of somebody's own: what it is given, what comes of it, and what is refused."""

import numpy as np
import pytest

from minifl.data.partition import SETTINGS, Listed, Partition, make_partition
from minifl.data.splits import OPTIONS, TABLES
from minifl.errors import InputError

RNG = np.random.default_rng(0)
Y_TRAIN, Y_TEST = RNG.integers(0, 4, 400), RNG.integers(0, 4, 100)
DOMAINS = RNG.integers(0, 3, 400), RNG.integers(0, 3, 100), ("ink", "oil", "pen")


@pytest.fixture
def split(monkeypatch):
    """The Partition that a function makes; it is registered as the loading of a file does."""
    def made(function, clients=4, seed=0, **options):
        monkeypatch.setitem(SETTINGS, "own.py:f", function)
        return make_partition("own.py:f", Y_TRAIN, Y_TEST, 4, clients, seed, domains=DOMAINS, **options)
    return made


def shards(labels, num_clients, rng):
    """McMahan et al. 2017: sorted by label, cut, dealt."""
    return np.array_split(np.argsort(labels, kind="stable"), num_clients)


def by_domain(labels, domains, num_clients, rng):
    return [np.flatnonzero(domains % num_clients == k) for k in range(num_clients)]


def test_lists_are_the_partition_and_the_test_examples_follow_the_classes(split):
    found = split(shards)
    assert isinstance(found, Listed)
    for mine, own, tests, tested in zip(found.train, shards(Y_TRAIN, 4, None), found.test_counts, found.test):
        np.testing.assert_array_equal(mine, np.sort(own))
        np.testing.assert_array_equal(np.bincount(Y_TEST[tested], minlength=4), tests)
    assert len(np.unique(np.concatenate(found.test))) == 100
    share = found.counts / found.counts.sum(axis=0)
    assert np.abs(found.test_counts - share * np.bincount(Y_TEST)).max() < 1


def test_test_examples_follow_the_domains_where_the_split_asks_for_them(split):
    found = split(by_domain, clients=3)
    for k in range(3):
        assert set(DOMAINS[0][found.train[k]]) == set(DOMAINS[1][found.test[k]]) == {k}
    assert len(np.unique(np.concatenate(found.test))) == 100


def test_counts_are_filled_as_those_of_our_own_settings(split):
    """A function that makes the table of `dirichlet` gives its partition, by domain too."""
    def same(sizes, num_clients, rng, dirichlet_alpha, min_size):
        return TABLES["dirichlet"](sizes, num_clients, rng, dirichlet_alpha, min_size)
    for chosen in (dict(), dict(by_domain=True, dirichlet_alpha=0.7, min_size=3)):
        found = split(same, clients=6, seed=5, **chosen)
        ours = make_partition("dirichlet", Y_TRAIN, Y_TEST, 4, 6, 5, domains=DOMAINS, **chosen)
        assert type(found) is Partition
        for a, b in zip(found.train + found.test, ours.train + ours.test, strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_split_of_each_domain_is_one_of_its_examples(split):
    found = split(shards, clients=6, by_domain=True)
    for k in range(6):
        of_domain = np.flatnonzero(DOMAINS[0] == k // 2)
        np.testing.assert_array_equal(found.train[k], np.sort(of_domain[shards(Y_TRAIN[of_domain], 2, None)[k % 2]]))
        assert set(DOMAINS[1][found.test[k]]) == {k // 2}


def test_everything_may_be_asked_for_and_nothing_of_it_is_ours_to_lose(split):
    asked = {}

    def everything(labels, domains, sizes, num_classes, num_clients, rng, classes_per_client, dirichlet_alpha, min_size,
                   mine="x"):
        asked.update(locals())
        labels[:], domains[:], sizes[:] = 0, 0, 0
        return np.array_split(rng.permutation(len(labels)), num_clients)

    before = Y_TRAIN.copy(), DOMAINS[0].copy()
    options = dict(classes_per_client=3, dirichlet_alpha=0.5, min_size=1)
    one, other = split(everything, **options), split(everything, seed=1, **options)
    assert {name: asked[name] for name in OPTIONS} == options and asked["mine"] == "x"
    assert (asked["num_classes"], asked["num_clients"]) == (4, 4)
    np.testing.assert_array_equal(before, (Y_TRAIN, DOMAINS[0]))
    assert not np.array_equal(one.train[0], other.train[0])


UNSEEDED = np.random.default_rng()
whole = np.array_split(np.arange(400), 4)


@pytest.mark.parametrize("function, message", [
    (lambda labels: [[0, 1], [2], [3], [1]], "client 3 has the index 1, which client 0 has, too"),
    (lambda labels: [[0, 0], [2], [3], [1]], "client 0 has the index 0 twice"),
    (lambda labels: [[0], [2], [3], [400]], "client 3 has the index 400, and the examples are 0 to 399"),
    (lambda labels: [[0], [2], [3], [-1]], "client 3 has the index -1"),
    (lambda labels: [[0], [2], [3], [2**64 - 1]], "client 3 has the index -1, and"),
    (lambda labels: [[0], [2], [3], [10**30]], "client 3 has indices of shape .* and type object"),
    (lambda labels: [[0], [2], [3], [1.0]], "client 3 has indices of shape .1,. and type float64"),
    (lambda labels: [[0], [2], [3], [True]], "client 3 .* and type bool"),
    (lambda labels: [[0], [2], [3], 4], "client 3 has indices of shape .. "),
    (lambda labels: [[0], [2], [3], ["a"]], "client 3 has indices of .* and type <U1"),
    (lambda labels: [[0], [2], [3], [[1], [4, 5]]], "client 3 has no row of indices"),
    (lambda labels: whole[:3], "returns 3 clients, and --num-clients is 4"),
    (lambda labels: None, "returns NoneType; valid are an array .K, C. of label counts, or a list"),
    (lambda labels: {0: [1]}, "returns dict; valid are"),
    (lambda labels: np.ones((4, 3), int), "a table of shape .4, 3."),
    (lambda labels: np.ones((3, 4), int), "returns 3 clients"),
    (lambda labels: np.ones((4, 4)), "the counts must be whole numbers"),
    (lambda labels: np.full((4, 4), 90), "class 0: 360 examples asked for, at most"),
    (lambda labels: [*whole[:3], []], "client 3 has 0 examples, fewer than --min-size 1"),
    (lambda labels: np.diag([9, 9, 9, 0]), "client 3 has 0 examples"),
    (lambda labels: UNSEEDED.permutation(400).reshape(4, 100).tolist(), "makes another split each time; .* the rng"),
    (lambda labels: UNSEEDED.integers(1, 9, (4, 4)), "makes another split each time"),
])
def test_what_is_no_split_is_refused(split, function, message):
    with pytest.raises(InputError, match=f"--setting own.py:f: {message}"):
        split(function)


def test_the_fewest_examples_are_those_of_the_option(split):
    uneven = [np.arange(395), [395, 396], [397], [398, 399]]
    assert len(split(lambda labels: uneven).train[2]) == 1
    with pytest.raises(InputError, match="client 2 has 1 examples, fewer than --min-size 2"):
        split(lambda labels: uneven, min_size=2)
    assert len(split(lambda labels: [*whole[:3], []], min_size=0).train[3]) == 0


def test_domains_that_the_data_do_not_have(split, monkeypatch):
    monkeypatch.setitem(SETTINGS, "own.py:f", by_domain)
    with pytest.raises(InputError, match="own.py:f: asks for domains, and these data have none"):
        make_partition("own.py:f", Y_TRAIN, Y_TEST, 4, 3, 0)
