"""Tables of label counts: complete, reproducible; every feasible setting succeeds, every other says why not."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minifl.data.counts import apportion, check_counts, top_up
from minifl.data.splits import PAPER_2CLASS, PAPER_DIR, label_counts, of_domain
from minifl.errors import InputError
from minifl.rng import PARTITION, address

CIFAR = np.full(10, 5000)
seeds = st.integers(0, 2**40)
class_sizes = st.lists(st.integers(0, 60), min_size=1, max_size=8).map(np.array)


@settings(deadline=None)
@given(st.data(), class_sizes)
def test_apportion_is_complete_and_within_one_of_the_exact_share(data, totals):
    clients = data.draw(st.integers(1, 9))
    cells = st.lists(st.integers(0, 1000), min_size=len(totals), max_size=len(totals))
    shares = np.array(data.draw(st.lists(cells, min_size=clients, max_size=clients)))
    counts = apportion(shares, totals)
    whole = shares.sum(axis=0)
    np.testing.assert_array_equal(counts.sum(axis=0), np.where(whole > 0, totals, 0))
    assert np.all(np.abs(counts - shares * totals / np.maximum(whole, 1)) < 1)
    assert np.all(counts[shares == 0] == 0)


def test_apportion_by_hand():
    # 7 by 3:2:2 is exact; 5 is 2.14 1.43 1.43, where the last one goes to the first .43 in turn
    shares = np.array([[3, 3], [2, 2], [2, 2]])
    np.testing.assert_array_equal(apportion(shares, [7, 5]), [[3, 2], [2, 2], [2, 1]])


def test_iid_by_hand():
    # class 0 is 5 = 2+2+1, class 1 goes on with client 2: 4 = 1+1+2
    np.testing.assert_array_equal(label_counts("iid", [5, 4], 3, 0), [[2, 1], [2, 1], [1, 2]])


@settings(deadline=None)
@given(class_sizes, st.integers(1, 30))
def test_iid_is_even_in_every_class_and_in_total(sizes, clients):
    counts = label_counts("iid", sizes, clients, 0)
    np.testing.assert_array_equal(counts.sum(axis=0), sizes)
    assert np.all(np.ptp(counts, axis=0) <= 1)
    assert np.ptp(counts.sum(axis=1)) <= 1


def test_iid_with_more_clients_than_examples():
    counts = label_counts("iid", CIFAR, 100_000, 0)
    np.testing.assert_array_equal(counts.sum(axis=0), CIFAR)
    assert counts.sum(axis=1).max() == 1


@settings(deadline=None)
@given(st.integers(1, 8), st.integers(0, 20))
def test_oneclass(num_classes, more):
    sizes = np.arange(num_classes) + 40
    counts = label_counts("oneclass", sizes, num_classes + more, 0)
    np.testing.assert_array_equal(counts.sum(axis=0), sizes)
    np.testing.assert_array_equal((counts > 0).sum(axis=1), 1)
    np.testing.assert_array_equal(counts.argmax(axis=1), np.arange(len(counts)) % num_classes)
    for column in counts.T:
        assert np.ptp(column[column > 0]) <= 1


def test_oneclass_of_the_paper():
    np.testing.assert_array_equal(label_counts("oneclass", CIFAR, 10, 3), 5000 * np.eye(10))


@settings(max_examples=300, deadline=None)
@given(st.data(), seeds)
def test_nclass_succeeds_for_every_feasible_combination(data, seed):
    num_classes = data.draw(st.integers(1, 12))
    n = data.draw(st.integers(1, num_classes))
    clients = data.draw(st.integers(-(-num_classes // n), 40))
    least, extra = divmod(clients * n, num_classes)     # the tightest feasible sizes: no example to spare
    sizes = np.array(data.draw(st.permutations([least + (c < extra) for c in range(num_classes)])))
    sizes += data.draw(st.sampled_from([0, 1, 50]))
    counts = label_counts("nclass", sizes, clients, seed, classes_per_client=n)
    np.testing.assert_array_equal(counts.sum(axis=0), sizes)
    np.testing.assert_array_equal((counts > 0).sum(axis=1), n)
    assert np.ptp((counts > 0).sum(axis=0)) <= 1
    for column in counts.T:
        assert np.ptp(column[column > 0]) <= 1


@pytest.mark.parametrize("setting, clients", [("nclass", 3), ("disjoint", 2)])
def test_tables_are_uniform_over_the_valid_ones(setting, clients):
    """Of 3 classes 3 clients with 2 each lack one each, 3! tables; of 2 clients either has two and lacks any of them, 6
    tables, too. 300 draws, 50 +- 6.5 of each."""
    tables = [label_counts(setting, [10, 10, 10], clients, seed).tobytes() for seed in range(300)]
    frequency = np.unique(tables, return_counts=True)[1]
    assert len(frequency) == 6 and frequency.min() > 25 and frequency.max() < 80


def test_nclass_with_many_clients():
    counts = label_counts("nclass", np.full(10, 50_000), 100_000, 0)
    np.testing.assert_array_equal((counts > 0).sum(axis=1), 2)
    np.testing.assert_array_equal((counts > 0).sum(axis=0), 20_000)
    pairs = (counts > 0) @ (1 << np.arange(10))
    assert len(np.unique(pairs)) == 45      # all pairs of classes occur, not only those of the cyclic start


@settings(deadline=None)
@given(st.lists(st.integers(0, 60), min_size=1, max_size=12), st.data(), seeds)
def test_disjoint_gives_each_class_to_one_client_and_each_client_as_many(sizes, data, seed):
    clients = data.draw(st.integers(1, len(sizes)))
    counts = label_counts("disjoint", np.array(sizes) + 1, clients, seed)
    assert len(counts) == clients
    np.testing.assert_array_equal(counts.max(axis=0), np.array(sizes) + 1)
    np.testing.assert_array_equal((counts > 0).sum(axis=0), 1)
    assert np.ptp((counts > 0).sum(axis=1)) <= 1


def test_disjoint_of_the_paper():
    counts = label_counts("disjoint", np.full(7, 200), 3, 0)
    assert sorted((counts > 0).sum(axis=1)) == [2, 2, 3]


def test_a_class_without_examples_leaves_its_client_empty():
    counts = label_counts("disjoint", [4, 0, 5], 3, 0)
    assert sorted(counts.sum(axis=1)) == [0, 4, 5]


@pytest.mark.parametrize("setting", ["nclass", "disjoint", "dirichlet"])
def test_domains_are_drawn_apart(setting):
    drawn = [label_counts(setting, np.full(9, 100), 9, 0, domain=d).tobytes() for d in (None, 0, 1, 2)]
    assert len(set(drawn)) == 4
    assert drawn[1] == label_counts(setting, np.full(9, 100), 9, 0, domain=0).tobytes()


def test_a_zero_at_the_end_of_an_address_changes_nothing():
    # so domains count from 1 there
    assert np.random.default_rng([5, 3]).random() == np.random.default_rng([5, 3, 0]).random()
    assert of_domain(None) == () and of_domain(0) == (1,)


@settings(max_examples=150, deadline=None)
@given(class_sizes, st.integers(1, 40), st.floats(-3, 3), st.data(), seeds)
def test_dirichlet_is_complete_and_keeps_the_minimum_size(sizes, clients, exponent, data, seed):
    most = int(sizes.sum()) // clients
    min_size = data.draw(st.one_of(st.just(most), st.integers(0, most)))
    counts = label_counts("dirichlet", sizes, clients, seed, dirichlet_alpha=10**exponent, min_size=min_size)
    np.testing.assert_array_equal(counts.sum(axis=0), sizes)
    assert counts.min() >= 0 and counts.sum(axis=1).min() >= min_size


@pytest.mark.parametrize("alpha", [5e-324, 1e-300, 1e-3, 1e3, 1e308])
def test_dirichlet_with_heavy_load(alpha):
    counts = label_counts("dirichlet", CIFAR, 5000, 1, dirichlet_alpha=alpha)     # 10 each: nothing to spare
    np.testing.assert_array_equal(counts.sum(axis=0), CIFAR)
    np.testing.assert_array_equal(counts.sum(axis=1), 10)


@pytest.mark.parametrize("alpha", [0.001, 0.1, 1.0, 100.0])
def test_dirichlet_moments(alpha):
    # 3000 classes are 3000 draws: E p = 1/K and E sum(p*p) = (alpha + 1)/(K*alpha + 1)
    clients = 5
    counts = label_counts("dirichlet", np.full(3000, 10**6), clients, 7, dirichlet_alpha=alpha, min_size=0)
    shares = counts / 10**6
    np.testing.assert_allclose(shares.mean(axis=1), 1 / clients, atol=0.03)
    np.testing.assert_allclose((shares**2).sum(axis=0).mean(), (alpha + 1) / (clients * alpha + 1), rtol=0.03)


def test_dirichlet_tops_up_by_hand():
    counts = np.array([[10, 0], [1, 7], [0, 0], [0, 1]])
    # client 2 takes 3 of 10; client 3 lacks 2, then (0, 0) and (1, 1) hold 7 each: the lower client gives
    np.testing.assert_array_equal(top_up(counts, 3), [[5, 0], [1, 7], [3, 0], [2, 1]])


def test_presets_are_the_tables_of_the_paper():
    np.testing.assert_array_equal(label_counts("paper-dir0.1", CIFAR, 10, 0), PAPER_DIR)
    np.testing.assert_array_equal(np.sum(PAPER_DIR, axis=0), CIFAR)
    assert PAPER_DIR[0] == (10, 5, 4315, 0, 0, 3950, 0, 0, 0, 2135)
    counts = label_counts("paper-2class", CIFAR, 10, 0)
    assert [tuple(np.flatnonzero(row)) for row in counts] == list(PAPER_2CLASS)
    assert set(counts.ravel()) == {0, 2500}


@pytest.mark.parametrize("setting", ["paper-2class", "paper-dir0.1"])
def test_presets_scale_to_other_class_sizes(setting):
    sizes = np.arange(10) * 37 + 5
    counts, printed = label_counts(setting, sizes, 10, 0), label_counts(setting, CIFAR, 10, 0)
    np.testing.assert_array_equal(counts.sum(axis=0), sizes)
    assert np.all(np.abs(counts - printed * sizes / 5000) < 1)


# ---- errors

@pytest.mark.parametrize("setting, options, message", [
    ("foo", {}, r"--setting 'foo' is unknown; valid are iid, oneclass, .*paper-dir0\.1"),
    ("iid", dict(num_clients=0), r"--num-clients 0: must be a whole number from 1 to "),
    ("iid", dict(num_clients=-3), r"--num-clients -3: "),
    ("iid", dict(num_clients=2.5), r"--num-clients 2\.5: must be a whole number"),
    ("iid", dict(num_clients=True), r"--num-clients True: must be a whole number"),
    ("iid", dict(num_clients=10**15), r"--num-clients 10+: .* from 1 to 10000000"),
    ("iid", dict(seed=-1), r"--data-seed -1: must be a whole number of at least 0"),
    ("oneclass", dict(num_clients=9), r"--num-clients 9: --setting oneclass .* at least 10"),
    ("oneclass", dict(num_clients=50_001),
     r"--num-clients 50001: class 0 has 5000 .* 5001 clients .* at most 50000 "),
    ("disjoint", dict(num_clients=11), r"--num-clients 11: --setting disjoint .* at most 10"),
    ("nclass", dict(classes_per_client=0), r"--classes-per-client 0 is invalid; it must be a whole number of at least 1"),
    ("nclass", dict(classes_per_client=11), r"--classes-per-client 11: .* from 1 to 10"),
    ("nclass", dict(num_clients=4), r"--num-clients 4 with --classes-per-client 2: .* at least 10"),
    ("nclass", dict(num_clients=9, classes_per_client=1), r"--num-clients 9 with --classes-per-client 1: "),
    ("nclass", dict(num_clients=25_003),
     r"--num-clients x --classes-per-client = 50006: class .* at most 50000"),
    ("dirichlet", dict(dirichlet_alpha=0), r"--dirichlet-alpha 0 is invalid; it must be a finite number above 0"),
    ("dirichlet", dict(dirichlet_alpha=-0.1), r"--dirichlet-alpha -0\.1 is"),
    ("dirichlet", dict(dirichlet_alpha=float("nan")), r"--dirichlet-alpha nan is"),
    ("dirichlet", dict(dirichlet_alpha=float("inf")), r"--dirichlet-alpha inf is"),
    ("dirichlet", dict(dirichlet_alpha="0.1"), r"--dirichlet-alpha '0\.1' is"),
    ("dirichlet", dict(min_size=-1), r"--min-size -1 is"),
    ("dirichlet", dict(num_clients=5001),
     r"--min-size 10: too many for 5001 .* at most 9 with --num-clients 5001"),
    ("paper-2class", dict(num_clients=20), r"--setting paper-2class: .* --num-clients 10; found .* 20"),
    ("paper-dir0.1", dict(num_clients=9), r"--setting paper-dir0\.1: .* --num-clients 10; found .* 9"),
    ("paper-2class", dict(labels_per_class=[5, 5, 5]), "needs data of 10 classes .* found 3 classes"),
    ("nclass", dict(labels_per_class=[9, 2, 9], num_clients=9, classes_per_client=1),
     "class 1 has 2 examples, too few for the 3 clients"),
    ("quantity", dict(labels_per_class=[5, 5], num_clients=3, min_size=4), "--min-size 4.* at most 3 with --num-clients 3"),
])
def test_errors_name_option_value_and_what_is_valid(setting, options, message):
    with pytest.raises(InputError, match=message):
        label_counts(setting, **{"labels_per_class": CIFAR, "num_clients": 10, "seed": 0, **options})


def test_options_of_other_settings_need_not_fit_the_data():
    assert label_counts("iid", [4], 2, 0, classes_per_client=2).tolist() == [[2], [2]]


def test_counts_that_the_data_do_not_hold():
    check_counts(np.array([[3, 4], [0, 0]]), [3, 5])
    with pytest.raises(InputError, match="--partition: class 1: 6 examples asked for, at most 5 available"):
        check_counts(np.array([[3, 4], [0, 2]]), [3, 5])
    for table in (np.ones((2, 3), int), np.ones((0, 2), int), np.ones(2, int)):
        with pytest.raises(InputError, match="need a row for each client and 2 columns"):
            check_counts(table, [3, 5])
    for table in (np.array([[1, -1]]), np.array([[1, 0.5]])):
        with pytest.raises(InputError, match="whole numbers"):
            check_counts(table, [3, 5])


def plain_quantity(sizes, clients, alpha, min_size, seed):
    """`quantity` in plain loops, from the same draws: gamma variates, then a shuffle of the labels."""
    rng, total = address(seed, PARTITION), int(sum(sizes))
    gammas, exponentials = rng.standard_gamma(alpha + 1, (1, clients))[0], rng.standard_exponential((1, clients))[0]
    logs = [math.log(g) - e / alpha for g, e in zip(gammas, exponentials)]
    shares = [math.exp(x - max(logs)) for x in logs]
    whole = [int(share / sum(shares) * 2**32) for share in shares]      # 32 bits of each share, as in `dirichlet`
    own = [total * share // sum(whole) for share in whole]
    for k in sorted(range(clients), key=lambda k: -(total * whole[k] % sum(whole)))[:total - sum(own)]:
        own[k] += 1
    for k in range(clients):
        while own[k] < min_size:
            giver = max(range(clients), key=lambda j: own[j])
            given = min(own[giver] - min_size, min_size - own[k])
            own[giver], own[k] = own[giver] - given, own[k] + given
    labels = rng.permutation([c for c, size in enumerate(sizes) for _ in range(size)]).tolist()
    counts = []
    for size in own:
        mine, labels = labels[:size], labels[size:]
        counts.append([mine.count(c) for c in range(len(sizes))])
    return counts


@pytest.mark.parametrize("sizes, clients, alpha, min_size", [
    ([50, 60, 70], 6, 0.5, 10), ([50, 60, 70], 6, 0.1, 0), ([500, 1, 0, 99], 9, 3.0, 30), ([7], 3, 1e-3, 2),
    ([200] * 10, 10, 0.5, 10)])
def test_quantity_is_the_plain_loop(sizes, clients, alpha, min_size):
    for seed in range(5):
        counts = label_counts("quantity", sizes, clients, seed, dirichlet_alpha=alpha, min_size=min_size)
        assert counts.tolist() == plain_quantity(sizes, clients, alpha, min_size, seed)
        assert counts.dtype == np.int64


def test_quantity_has_sizes_of_dir_and_labels_alike():
    """Variance of a share of Dir(a): (K-1)/(K^2 (K a + 1)); and the labels of a client are a sample of all."""
    clients, alpha, sizes = 10, 0.5, np.array([3000, 5000, 2000])
    tables = np.array([label_counts("quantity", sizes, clients, seed, dirichlet_alpha=alpha, min_size=0)
                       for seed in range(300)])
    own = tables.sum(axis=2)
    assert np.all(own.sum(axis=1) == 10000) and np.all(tables.sum(axis=1) == sizes)
    variance = (clients - 1) / (clients**2 * (clients * alpha + 1)) * 10000**2
    assert abs(own.var() / variance - 1) < 0.1
    large = tables[own > 500]
    expected = large.sum(axis=1, keepdims=True) * sizes / 10000
    chi2 = ((large - expected) ** 2 / expected).sum(axis=1).mean()
    assert 1.5 < chi2 < 2.1        # 2 degrees of freedom, a little less for samples without replacement


# ---- the Dirichlet partition of NIID-Bench and Flower

def by_the_sources(sizes, clients, alpha, rng):
    """NIID-Bench's partition_data in plain loops, without its retries: sizes of the cells, (K, C)."""
    table = [[0] * len(sizes) for _ in range(clients)]
    for c, n in enumerate(sizes):
        shares = rng.dirichlet([alpha] * clients)
        shares = [p if sum(row) < sum(sizes) / clients else 0 for p, row in zip(shares, table)]
        cut, before = 0.0, 0
        for k, p in enumerate(shares):
            cut += p / sum(shares) * n
            table[k][c], before = int(cut) - before, int(cut)
        table[-1][c] += n - before
    return np.array(table)


def spread(table):
    """Standard deviation of the clients' sizes, and the mean entropy of their labels."""
    shares = table / table.sum(axis=1, keepdims=True)
    return table.sum(axis=1).std(), -(shares * np.log(np.where(shares > 0, shares, 1))).sum(axis=1).mean()


def test_dirichlet_balanced_has_the_statistics_of_its_sources():
    """Means over 300 draws of 10 clients, alpha 0.1, classes of 5000; two standard errors are 55 and 0.014."""
    sizes, rng = [5000] * 10, np.random.default_rng(0)
    drawn = (by_the_sources(sizes, 10, 0.1, rng) for _ in range(1000))
    theirs = np.mean([spread(t) for t in drawn if t.sum(axis=1).min() >= 10][:300], axis=0)
    ours, plain = (np.mean([spread(label_counts(setting, sizes, 10, seed)) for seed in range(300)], axis=0)
                   for setting in ("dirichlet-balanced", "dirichlet"))
    assert abs(ours[0] / theirs[0] - 1) < 0.04 and abs(ours[1] / theirs[1] - 1) < 0.03
    assert plain[0] > 1.35 * ours[0] and plain[1] > 1.12 * ours[1]       # what the two would be taken for


def test_who_holds_its_part_gets_nothing_of_the_classes_that_follow():
    reached = 0
    for seed in range(20):
        table = label_counts("dirichlet-balanced", [300, 500, 40, 0, 700], 6, seed, dirichlet_alpha=0.3, min_size=0)
        assert table.sum(axis=0).tolist() == [300, 500, 40, 0, 700]
        held = table.cumsum(axis=1)
        full = held * 6 >= 1540
        assert not table[:, 1:][full[:, :-1]].any()
        reached += full[:, :-1].sum()
    assert reached > 20


@pytest.mark.parametrize("alpha", [1e-300, 1e-3, 1e300])
def test_dirichlet_balanced_neither_hangs_nor_divides_by_0(alpha):
    for seed in range(5):
        table = label_counts("dirichlet-balanced", [50] * 4, 7, seed, dirichlet_alpha=alpha, min_size=3)
        assert table.sum() == 200 and table.sum(axis=1).min() >= 3
