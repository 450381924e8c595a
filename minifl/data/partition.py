"""Which client holds which examples: those that fill a table of label counts, of the whole set or by domain; or those
of one user of the data set; or what a file lists (lists.py), or a function of somebody's own says.

The table (splits.py), the examples that fill it and the choice of users are pure functions of the data seed.
"""

from typing import NamedTuple

import numpy as np

from minifl.backend import Array
from minifl.data.counts import apportion, check_counts, check_whole, class_sizes
from minifl.data.own_split import of_function
from minifl.data.splits import TABLES, asked_for, label_counts, of_domain
from minifl.errors import InputError
from minifl.rng import ASSIGN, PARTITION, address

TRAIN, TEST = 0, 1      # the splits in the address of an assignment; part of every run's identity
NATURAL = "natural"


class Partition(NamedTuple):
    """counts, test_counts (K, C) int64; train, test: K ascending int64 arrays of indices into the data."""
    counts: np.ndarray
    test_counts: np.ndarray
    train: list
    test: list


class Listed(Partition):
    """A Partition that was given example by example: no table and seed make it."""


def natural(domains: Array, count: int, num_clients: int, seed: int) -> list:
    """A client is a user (domain) of the data.

    If there are less clients than users, which of these take part is drawn, and they keep their order.
    domains (N,) of 0..count-1;  returns K ascending arrays of indices
    """
    order, sizes = np.argsort(domains, kind="stable"), np.bincount(domains, minlength=count)
    ends = np.cumsum(sizes)
    drawn = np.sort(address(seed, PARTITION).permutation(count)[:num_clients])
    return [order[ends[user] - sizes[user]:ends[user]] for user in drawn]


SETTINGS = TABLES | {NATURAL: natural}      # and, under FILE.py:name, functions of somebody's own: see `of_function`


def make_partition(setting: str | Array, y_train: Array, y_test: Array, num_classes: int, num_clients: int | None,
                   seed: int, *, domains: tuple | None = None, by_domain: bool = False, **options: dict) -> Partition:
    """Split labelled train and test examples over the clients.

    setting      a name in SETTINGS, or a table of counts (K, C), e.g. from `table.read_csv`
    y_train/test (N,) class labels 0..C-1 in any order
    num_clients  K; with a table, its number of rows or None
    seed         the data seed
    domains      (domain_train (N,), domain_test (N,), names of the D domains), where the data have them
    by_domain    the examples of each domain are split over K/D clients of their own, those of domain 0 first, so client
                 k holds examples of domain k // (K/D) and is tested on that domain
    options      name -> value of splits.OPTIONS
    Raises InputError for arguments that allow no such partition.
    """
    y_train, y_test = np.asarray(y_train), np.asarray(y_test)
    if not isinstance(setting, str):
        if not isinstance(setting, np.ndarray):     # C lists of indices would pass for counts
            raise InputError(f"--partition: a {type(setting).__name__}; label counts are an array (K, C) of whole "
                             f"numbers: how many examples of each class each client holds, and not which ones")
        check_counts(setting, class_sizes(y_train, num_classes))
        if num_clients is not None and num_clients != len(setting):
            raise InputError(f"--num-clients {num_clients}: the table of --partition has {len(setting)} clients; "
                             f"leave --num-clients out or give {len(setting)}")
        num_clients = len(setting)
    whose = None if domains is None else domains[:2]
    if isinstance(setting, str) and setting == NATURAL:
        check_whole("--num-clients", num_clients, 1)
        if num_clients > len(domains[2]):
            raise InputError(f"--num-clients {num_clients}: --setting {NATURAL} has a client for each user of the "
                             f"data, so at most {len(domains[2])}; leave it out for all of them")
        train, test = (natural(of, len(domains[2]), num_clients, seed) for of in whose)
        return of_lists(train, test, y_train, y_test, num_classes)
    if not by_domain:
        return _split(setting, y_train, y_test, whose, num_classes, num_clients, seed, **options)
    parts, names = [], domains[2]
    for d, rows in enumerate(clients_of_domains(num_clients, names)):
        train, test = (np.flatnonzero(of == d) for of in whose)
        of = whose[0][train], whose[1][test]
        try:
            part = _split(setting if isinstance(setting, str) else setting[rows.start:rows.stop], y_train[train],
                          y_test[test], of, num_classes, len(rows), seed, domain=d, **options)
        except InputError as error:
            raise InputError(f"{error} (in domain {names[d]}, which --by-domain gives {len(rows)} of the "
                             f"{num_clients} clients)") from None
        parts.append(part._replace(train=[train[mine] for mine in part.train], test=[test[mine] for mine in part.test]))
    counts, tests, train, test = zip(*parts)
    kind = Listed if Listed in map(type, parts) else Partition
    return kind(np.concatenate(counts), np.concatenate(tests), sum(train, []), sum(test, []))


def of_lists(train: list, test: list, y_train: Array, y_test: Array, num_classes: int,
             kind: type = Partition) -> Partition:
    """The Partition, or another kind of it, of K ascending arrays of indices each, of disjoint ones."""
    def counts(lists, labels):
        return np.stack([class_sizes(labels[own], num_classes) for own in lists])

    return kind(counts(train, y_train), counts(test, y_test), train, test)


def clients_of_domains(num_clients: int, names: tuple) -> list:
    """For each of the D domains the range of its K/D clients; InputError if D does not divide K."""
    check_whole("--num-clients", num_clients, 1)
    if num_clients % len(names):
        shown = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
        raise InputError(f"--num-clients {num_clients}: --by-domain gives each domain as many clients, so it must be a "
                         f"multiple of {len(names)} ({shown})")
    each = num_clients // len(names)
    return [range(d * each, (d + 1) * each) for d in range(len(names))]


def _split(setting, y_train, y_test, whose, num_classes, num_clients, seed, domain=None, **options):
    """The Partition of the whole set, or of the examples and clients of one domain."""
    train_sizes, test_sizes = class_sizes(y_train, num_classes), class_sizes(y_test, num_classes)
    if not isinstance(setting, str):
        counts = setting.astype(np.int64)
    elif setting in SETTINGS and setting not in TABLES:
        function, of = SETTINGS[setting], whose and whose[0]
        made = of_function(function, setting, y_train, of, num_classes, num_clients, seed, domain, options)
        if isinstance(made, list):
            by = whose if "domains" in asked_for(function) else None
            tests = _alike(made, y_train, y_test, by, seed, domain)
            return of_lists(made, tests, y_train, y_test, num_classes, Listed)
        counts = made
    else:
        counts = label_counts(setting, train_sizes, num_clients, seed, domain=domain, **options)
    tests = test_counts(counts, train_sizes, test_sizes)
    return Partition(counts, tests, assign(counts, y_train, seed, TRAIN, domain),
                     assign(tests, y_test, seed, TEST, domain))


def _alike(train, y_train, y_test, by, seed, domain):
    """Test examples for clients that were given training examples one by one: K ascending arrays of indices.

    Of each class, and where the split was made by domain of each class of each domain, a client gets the share that it
    has of the training examples.
    """
    if by is None:
        cells = np.concatenate([y_train, y_test])
    else:
        cells = np.stack([np.concatenate([y_train, y_test]), np.concatenate(by)])
    _, cells = np.unique(cells, axis=-1, return_inverse=True)
    trained, tested = np.split(cells.reshape(-1), [len(y_train)])
    every = cells.max() + 1
    counts = np.stack([class_sizes(trained[own], every) for own in train])
    tests = test_counts(counts, class_sizes(trained, every), class_sizes(tested, every))
    return assign(tests, tested, seed, TEST, domain)


def test_counts(counts: Array, train_per_class: Array, test_per_class: Array) -> Array:
    """The test examples (K, C) that give each client its share of each class of the training set.

    counts (K, C), train_per_class (C,), test_per_class (C,). Column c sums to test_per_class[c], also where
    counts leave training examples out; a class that no client holds in training, none holds in the test.
    Raises InputError if counts ask for more than train_per_class.
    """
    check_counts(counts, train_per_class)
    return apportion(counts, np.asarray(test_per_class, dtype=np.int64))


test_counts.__test__ = False    # type: ignore[attr-defined]    # a name that pytest would collect


def assign(counts: Array, labels: Array, seed: int, split: int, domain: int | None = None) -> list:
    """Fill a table of counts (K, C) with examples: K ascending int64 arrays of indices into labels (N,).

    The examples of class c are shuffled by the address (seed, ASSIGN, split, c), split TRAIN or TEST, with the domain
    at its end if they are of one (`of_domain`), and dealt to clients 0, 1, ... in turn: disjoint, and complete if the
    counts are. InputError if a class has too few.
    """
    check_whole("--data-seed", seed, 0)
    counts, labels = np.asarray(counts), np.asarray(labels)
    sizes = class_sizes(labels, counts.shape[1])
    check_counts(counts, sizes)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    clients = np.arange(len(counts))
    owner = np.concatenate([np.repeat(clients, column) for column in counts.T])
    dealt = np.concatenate([
        address(seed, ASSIGN, split, c, *of_domain(domain)).permutation(members)[:counts[:, c].sum()]
        for c, members in enumerate(by_class)])
    dealt = dealt[np.lexsort((dealt, owner))]
    return np.split(dealt, np.cumsum(counts.sum(axis=1))[:-1])
