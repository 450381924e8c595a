"""Partitions: disjoint, complete, reproducible; with domains each client has examples of its own domain only."""

import hashlib

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minifl.data.partition import TEST, TRAIN, assign, clients_of_domains, make_partition
from minifl.data.splits import TABLES, asked_for, label_counts
from minifl.errors import InputError

DRAWN = [name for name in TABLES if not name.startswith("paper")]      # these two are for 10 clients and classes
seeds = st.integers(0, 2**40)
class_sizes = st.lists(st.integers(0, 60), min_size=1, max_size=8).map(np.array)


def labels_of(sizes, seed=0):
    """Labels with these class sizes, in a random order."""
    return np.random.default_rng(seed).permutation(np.repeat(np.arange(len(sizes)), sizes)).astype(np.uint8)


def assert_split(indices, counts, labels):
    """The index lists hold what the counts say and share no example."""
    assert len(indices) == len(counts)
    for mine, row in zip(indices, counts):
        assert mine.dtype == np.int64
        np.testing.assert_array_equal(np.bincount(labels[mine], minlength=len(row)), row)
    every = np.concatenate(indices)
    assert len(np.unique(every)) == len(every)


# ---- the whole set

def test_assign_by_hand():
    labels = np.array([1, 0, 1, 0, 1])
    every = assign(np.array([[2, 0], [0, 3]]), labels, 0, TRAIN)
    assert [mine.tolist() for mine in every] == [[1, 3], [0, 2, 4]]
    some = assign(np.array([[1, 0], [0, 2], [0, 0]]), labels, 0, TRAIN)
    assert [len(mine) for mine in some] == [1, 2, 0]
    assert set(some[0]) < {1, 3} and set(some[1]) < {0, 2, 4} and some[1][0] < some[1][1]
    with pytest.raises(InputError, match="class 0: 6 examples asked for"):
        assign(np.array([[6, 0]]), np.zeros(5, int), 0, TRAIN)


def test_assign_to_more_clients_than_examples():
    sizes = np.full(10, 5000)
    indices = assign(label_counts("iid", sizes, 100_000, 0), labels_of(sizes), 0, TRAIN)
    assert len(indices) == 100_000 and len(np.unique(np.concatenate(indices))) == 50_000


def digest(split):
    parts = [split.counts.ravel(), split.test_counts.ravel(), *split.train, *split.test]
    return hashlib.sha256(np.concatenate(parts).tobytes()).hexdigest()[:16]


def test_partitions_of_the_records_stay_what_they_are():
    y_train, y_test = np.arange(600) % 10, np.arange(100) % 10
    assert digest(make_partition("oneclass", y_train, y_test, 10, 20, 0)) == "631207e6722b6341"
    assert digest(make_partition("nclass", y_train, y_test, 10, 10, 3)) == "57533d989456b8f5"


@settings(max_examples=150, deadline=None)
@given(class_sizes, st.integers(1, 12), seeds, st.sampled_from(DRAWN))
def test_partitions_are_disjoint_complete_and_reproducible(sizes, clients, seed, setting):
    if setting == "disjoint":
        clients = min(clients, len(sizes))
    if setting in ("nclass", "oneclass"):
        sizes, clients = sizes + 13, clients + len(sizes)     # up to 13 holders of one class
    y_train, y_test = labels_of(sizes, 1), labels_of(sizes // 5, 2)
    options = dict(dirichlet_alpha=0.3, min_size=0, classes_per_client=min(2, len(sizes)))
    if setting == "nclass" and clients * 2 > sizes.min() * len(sizes):
        clients = len(sizes)
    args = setting, y_train, y_test, len(sizes), clients, seed
    counts, tests, train, test = make_partition(*args, **options)
    assert_split(train, counts, y_train)
    assert_split(test, tests, y_test)
    assert sum(map(len, train)) == len(y_train)
    assert np.all(np.abs(tests - counts * (sizes // 5) / np.maximum(sizes, 1)) < 1)
    np.testing.assert_array_equal(tests.sum(axis=0), np.where(sizes > 0, sizes // 5, 0))
    again = make_partition(*args, **options)
    np.testing.assert_array_equal(counts, again.counts)
    for mine, same in zip(train + test, again.train + again.test):
        np.testing.assert_array_equal(mine, same)


@pytest.mark.parametrize("setting", TABLES)
def test_another_seed_draws_other_examples(setting):
    y = labels_of(np.full(10, 50))
    drawn = [make_partition(setting, y, y, 10, 10, seed, min_size=5) for seed in (0, 1)]
    changes = not np.array_equal(drawn[0].counts, drawn[1].counts)
    assert changes == ("rng" in asked_for(TABLES[setting]))
    if setting != "oneclass":       # there each client holds the whole class, whatever the seed
        assert any(not np.array_equal(a, b) for a, b in zip(drawn[0].train, drawn[1].train))


def test_train_and_test_are_drawn_apart():
    y = labels_of(np.full(3, 40))
    counts = label_counts("iid", np.full(3, 40), 4, 0)
    _, _, train, test = make_partition("iid", y, y, 3, 4, 0)
    np.testing.assert_array_equal(train, assign(counts, y, 0, TRAIN))
    np.testing.assert_array_equal(test, assign(counts, y, 0, TEST))
    assert not np.array_equal(train[0], test[0])


def test_a_class_is_drawn_alike_whatever_the_order_and_the_other_classes():
    y = np.repeat([0, 1, 2], 20)
    counts = np.full((4, 3), 5)
    with_all = assign(counts, y, 5, TRAIN)
    alone = assign(counts[:, :1], y[:20], 5, TRAIN)
    swapped = assign(counts, y[::-1], 5, TRAIN)         # the same examples of class 1, counted from its first
    for a, b, c in zip(with_all, alone, swapped):
        np.testing.assert_array_equal(a[a < 20], b)
        np.testing.assert_array_equal(a[(a >= 20) & (a < 40)], c[(c >= 20) & (c < 40)])
        assert np.all(y[::-1][c][:5] == 2)


def test_a_partial_table_leaves_examples_out_but_no_test_example():
    y_train, y_test = labels_of([10, 10, 10]), labels_of([4, 4, 4])
    table = np.array([[3, 0, 0], [1, 10, 0]])
    split = make_partition(table, y_train, y_test, 3, None, 0)
    assert_split(split.train, table, y_train)
    np.testing.assert_array_equal(split.test_counts, [[3, 0, 0], [1, 4, 0]])     # no client has class 2
    assert_split(split.test, split.test_counts, y_test)


# ---- by domain

def assert_same(one, other):
    np.testing.assert_array_equal(one.counts, other.counts)
    np.testing.assert_array_equal(one.test_counts, other.test_counts)
    for a, b in zip(one.train + one.test, other.train + other.test, strict=True):
        np.testing.assert_array_equal(a, b)


def labels_and_domains(num_classes, names, n, seed=0):
    """n training and n // 4 test examples: (y_train, y_test, domains), classes and domains drawn at random."""
    rng = np.random.default_rng(seed)
    y, domain = rng.integers(0, num_classes, 2 * n), rng.integers(0, len(names), 2 * n)
    return y[:n], y[n:n + n // 4], (domain[:n], domain[n:n + n // 4], names)


OPTIONS = dict(dirichlet_alpha=0.3, min_size=1, classes_per_client=2)


@settings(max_examples=60, deadline=None)
@given(st.integers(1, 4), st.integers(1, 5), seeds, st.sampled_from(DRAWN))
def test_each_client_holds_and_is_tested_on_examples_of_its_domain(domains, each, seed, setting):
    each = {"oneclass": each + 4, "nclass": each + 3}.get(setting, each)
    y_train, y_test, of = labels_and_domains(5, "abcd"[:domains], 600, seed)
    args = y_train, y_test, 5, domains * each, seed
    split = make_partition(setting, *args, domains=of, by_domain=True, **OPTIONS)
    assert_split(split.train, split.counts, y_train)
    assert_split(split.test, split.test_counts, y_test)
    assert sum(map(len, split.train)) == 600 and sum(map(len, split.test)) == 150
    for k, (train, test) in enumerate(zip(split.train, split.test)):
        assert set(of[0][train]) | set(of[1][test]) <= {k // each}
    # within a domain the test examples of a class are shared as the training examples are
    for d in range(domains):
        rows = slice(d * each, (d + 1) * each)
        sizes, tests = split.counts[rows].sum(axis=0), split.test_counts[rows].sum(axis=0)
        assert np.all(np.abs(split.test_counts[rows] - split.counts[rows] * tests / sizes) < 1)
    # its table gives the same partition, as the records need
    assert_same(make_partition(split.counts, *args, domains=of, by_domain=True, **OPTIONS), split)
    assert_same(make_partition(split.counts, *args[:3], None, seed, domains=of, by_domain=True), split)


@pytest.mark.parametrize("setting", TABLES)
def test_a_domain_is_split_as_if_it_were_alone_but_by_its_own_draws(setting):
    y_train, y_test, of = labels_and_domains(10, ("a", "b"), 3000)
    split = make_partition(setting, y_train, y_test, 10, 20, 7, domains=of, by_domain=True)
    draws = []
    for d in (0, 1):
        train, test = np.flatnonzero(of[0] == d), np.flatnonzero(of[1] == d)
        counts = label_counts(setting, np.bincount(y_train[train]), 10, 7, domain=d)
        np.testing.assert_array_equal(split.counts[10 * d:10 * d + 10], counts)
        for k, mine in enumerate(assign(counts, y_train[train], 7, TRAIN, d)):
            np.testing.assert_array_equal(split.train[10 * d + k], train[mine])
        for k, mine in enumerate(assign(split.test_counts[10 * d:10 * d + 10], y_test[test], 7, TEST, d)):
            np.testing.assert_array_equal(split.test[10 * d + k], test[mine])
        draws.append([mine.tolist() for mine in assign(counts, y_train[train], 7, TRAIN)])
        assert draws[d] != [mine.tolist() for mine in assign(counts, y_train[train], 7, TRAIN, d)] or setting in (
            "oneclass", "disjoint")      # where a client holds all of a class, whatever is drawn


def test_a_domain_is_drawn_alike_whatever_the_others_hold():
    y_train, y_test, of = labels_and_domains(7, ("a", "b", "c"), 900)
    kept = of[0] != 0
    kept[np.flatnonzero(~kept)[:80]] = True       # fewer examples of a
    fewer = make_partition("dirichlet", y_train[kept], y_test, 7, 9, 0, domains=(of[0][kept], *of[1:]), by_domain=True)
    split = make_partition("dirichlet", y_train, y_test, 7, 9, 0, domains=of, by_domain=True)
    np.testing.assert_array_equal(fewer.counts[3:], split.counts[3:])
    for a, b in zip(fewer.train[3:], split.train[3:]):
        np.testing.assert_array_equal(np.flatnonzero(kept)[a], b)
    assert fewer.counts[:3].sum() < split.counts[:3].sum()


def test_the_protocol_of_pacs():
    y_train, y_test, of = labels_and_domains(7, ("art_painting", "cartoon", "photo", "sketch"), 8000)
    counts = make_partition("disjoint", y_train, y_test, 7, 12, 0, domains=of, by_domain=True).counts.reshape(4, 3, 7)
    assert all(sorted((domain > 0).sum(axis=1)) == [2, 2, 3] for domain in counts)
    assert np.all((counts > 0).sum(axis=1) == 1)
    assert len({(domain > 0).tobytes() for domain in counts}) == 4      # each domain divides its classes anew


def test_clients_of_domains():
    assert clients_of_domains(6, "ab") == [range(3), range(3, 6)]
    for clients in (1, 5, 7):
        with pytest.raises(InputError, match=f"--num-clients {clients}: --by-domain .* multiple of 2 .a, b."):
            clients_of_domains(clients, "ab")
    for clients in (0, -2, 2.0, True):
        with pytest.raises(InputError, match=f"--num-clients {clients}: must be a whole number"):
            clients_of_domains(clients, "ab")


# ---- errors

def test_tables_and_labels_that_contradict_the_arguments():
    y = labels_of([5, 5])
    with pytest.raises(InputError, match="--num-clients 3: the table of --partition has 2 clients"):
        make_partition(np.array([[1, 2], [3, 3]]), y, y, 2, 3, 0)
    with pytest.raises(InputError, match="--data-seed -1"):
        make_partition(np.array([[1, 2], [3, 3]]), y, y, 2, 2, -1)
    with pytest.raises(InputError, match="labels from 0 to 1; with 1 classes"):
        make_partition("iid", y, y, 1, 2, 0)
    with pytest.raises(InputError, match="labels from -1 to 3; with 4 classes"):
        make_partition("iid", np.array([-1, 3]), y, 4, 2, 0)


@pytest.mark.parametrize("indices", [[[0, 1], [2, 3]], [np.array([0, 1]), np.array([2, 3])], [np.arange(3), np.arange(2)],
                                     (np.arange(2), np.arange(2))])
def test_lists_of_examples_are_no_label_counts(indices):
    """Two clients with two examples each, of two classes, would be a table of 2 x 2 counts."""
    y = labels_of([5, 5])
    with pytest.raises(InputError, match=r"--partition: a (list|tuple); label counts are an array \(K, C\)"):
        make_partition(indices, y, y, 2, 2, 0)


def test_what_a_domain_cannot_do_names_it():
    y_train, y_test, of = labels_and_domains(5, ("ink", "oil"), 60)
    with pytest.raises(InputError, match="--num-clients 4: .* at least 5 .in domain ink, .* 4 of the 8 clients."):
        make_partition("oneclass", y_train, y_test, 5, 8, 0, domains=of, by_domain=True)
    table = np.zeros((2, 5), int)
    table[1] = np.bincount(y_train[of[0] == 1], minlength=5)
    make_partition(table, y_train, y_test, 5, 2, 0, domains=of, by_domain=True)
    table[1, 2] += 1        # there are more of class 2, but not in this domain
    with pytest.raises(InputError, match="class 2: .* examples asked for, .* available .in domain oil, "):
        make_partition(table, y_train, y_test, 5, 2, 0, domains=of, by_domain=True)
    with pytest.raises(InputError, match="--num-clients 3: --by-domain .* multiple of 2"):
        make_partition(np.ones((3, 5), int), y_train, y_test, 5, None, 0, domains=of, by_domain=True)


# ---- by user

def test_natural_is_a_loop_over_users():
    y_train, y_test, of = labels_and_domains(4, ["ann", "bob", "cy", "dan", "eve"], 200)
    of = (of[0], np.where(of[1] == 3, 0, of[1]), of[2])     # dan has no test examples
    split = make_partition("natural", y_train, y_test, 4, 5, 0, domains=of)
    for user in range(5):
        for examples, counts, labels, owners in ((split.train, split.counts, y_train, of[0]),
                                                 (split.test, split.test_counts, y_test, of[1])):
            mine = [i for i, owner in enumerate(owners) if owner == user]
            assert examples[user].tolist() == mine and examples[user].dtype == np.int64
            assert counts[user].tolist() == [sum(labels[i] == c for i in mine) for c in range(4)]
    assert len(split.test[3]) == 0


def test_some_of_the_users_are_drawn_by_the_data_seed():
    y_train, y_test, of = labels_and_domains(4, [f"user{i}" for i in range(30)], 900)
    everybody = make_partition("natural", y_train, y_test, 4, 30, 0, domains=of)
    of_user = {tuple(mine.tolist()): user for user, mine in enumerate(everybody.train)}
    drawn = []
    for seed in range(40):
        split = make_partition("natural", y_train, y_test, 4, 3, seed, domains=of)
        users = [of_user[tuple(mine.tolist())] for mine in split.train]
        assert users == sorted(set(users)) and len(users) == 3
        for k, user in enumerate(users):
            np.testing.assert_array_equal(split.test[k], everybody.test[user])
        drawn += users
    assert set(drawn) == set(range(30))
    with pytest.raises(InputError, match="--num-clients 31.* at most 30"):
        make_partition("natural", y_train, y_test, 4, 31, 0, domains=of)
