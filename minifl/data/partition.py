"""Which client holds which examples: those that fill a table of label counts, of the whole set or by domain; or those
of one user of the data set; or what a file lists (lists.py).

The table (counts.py), the examples that fill it and the choice of users are pure functions of the data seed.
"""

from typing import NamedTuple

import numpy as np

from minifl.data.counts import apportion, check_counts, check_whole, label_counts, of_domain
from minifl.errors import InputError
from minifl.rng import ASSIGN, PARTITION, address

TRAIN, TEST = 0, 1      # the splits in the address of an assignment; part of every run's identity
NATURAL = "natural"     # a client for each user: what a data set calls its domains (users, writers, places, ...)


class Partition(NamedTuple):
    """counts, test_counts (K, C) int64; train, test: K ascending int64 arrays of indices into the data."""
    counts: np.ndarray
    test_counts: np.ndarray
    train: list
    test: list


class Listed(Partition):
    """A Partition that was given example by example: no setting, table and seed make it."""


def make_partition(setting, y_train, y_test, num_classes, num_clients, seed, *, domains=None, **options):
    """Split labelled train and test examples over the clients; returns a Partition.

    setting      a name in SETTINGS, NATURAL, or a table of counts (K, C), e.g. from `table.read_csv`
    y_train/test (N,) class labels 0..C-1 in any order
    num_clients  K; with a table, its number of rows or None
    seed         the data seed
    domains      (domain_train (N,), domain_test (N,), names of the D domains): the examples of each domain are split
                 over K/D clients of their own, those of domain 0 first, so client k holds examples of domain k // (K/D)
                 and is tested on that domain. With NATURAL each domain is one client; if K < D, which of them take
                 part is drawn, and they keep their order
    options      of `label_counts`
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
    if domains is None:
        return _split(setting, y_train, y_test, num_classes, num_clients, seed, **options)
    domain_train, domain_test, names = domains
    if isinstance(setting, str) and setting == NATURAL:
        users = _users(num_clients, names, seed)
        train, test = (_members(of, users, len(names)) for of in (domain_train, domain_test))
        return of_lists(train, test, y_train, y_test, num_classes)
    parts = []
    for d, rows in enumerate(clients_of_domains(num_clients, names)):
        train, test = np.flatnonzero(domain_train == d), np.flatnonzero(domain_test == d)
        try:
            part = _split(setting if isinstance(setting, str) else setting[rows.start:rows.stop], y_train[train],
                          y_test[test], num_classes, len(rows), seed, domain=d, **options)
        except InputError as error:
            raise InputError(f"{error} (in domain {names[d]}, which --by-domain gives {len(rows)} of the "
                             f"{num_clients} clients)") from None
        parts.append(part._replace(train=[train[mine] for mine in part.train], test=[test[mine] for mine in part.test]))
    counts, tests, train, test = zip(*parts)
    return Partition(np.concatenate(counts), np.concatenate(tests), sum(train, []), sum(test, []))


def of_lists(train, test, y_train, y_test, num_classes, kind=Partition):
    """The Partition, or another kind of it, of K ascending arrays of indices each, of disjoint ones."""
    def counts(lists, labels):
        return np.stack([class_sizes(labels[own], num_classes) for own in lists])

    return kind(counts(train, y_train), counts(test, y_test), train, test)


def _users(num_clients, names, seed):
    """Which of the D users take part, ascending (K,)."""
    check_whole("--num-clients", num_clients, 1)
    if num_clients > len(names):
        raise InputError(f"--num-clients {num_clients}: --setting {NATURAL} has a client for each user of the data, "
                         f"so at most {len(names)}; leave it out for all of them")
    return np.sort(address(seed, PARTITION).permutation(len(names))[:num_clients])


def _members(owners, users, count):
    """For each of these users the indices of its examples, ascending; owners (N,) of 0..count-1."""
    order, sizes = np.argsort(owners, kind="stable"), np.bincount(owners, minlength=count)
    ends = np.cumsum(sizes)
    return [order[ends[user] - sizes[user]:ends[user]] for user in users]


def clients_of_domains(num_clients, names):
    """For each of the D domains the range of its K/D clients; InputError if D does not divide K."""
    check_whole("--num-clients", num_clients, 1)
    if num_clients % len(names):
        shown = ", ".join(names[:10]) + ", ..." * (len(names) > 10)
        raise InputError(f"--num-clients {num_clients}: --by-domain gives each domain as many clients, so it must be a "
                         f"multiple of {len(names)} ({shown})")
    each = num_clients // len(names)
    return [range(d * each, (d + 1) * each) for d in range(len(names))]


def _split(setting, y_train, y_test, num_classes, num_clients, seed, domain=None, **options):
    """The Partition of the whole set, or of the examples and clients of one domain."""
    train_sizes, test_sizes = class_sizes(y_train, num_classes), class_sizes(y_test, num_classes)
    if isinstance(setting, str):
        counts = label_counts(setting, train_sizes, num_clients, seed, domain=domain, **options)
    else:
        counts = setting.astype(np.int64)
    tests = test_counts(counts, train_sizes, test_sizes)
    return Partition(counts, tests, assign(counts, y_train, seed, TRAIN, domain),
                     assign(tests, y_test, seed, TEST, domain))


def test_counts(counts, train_per_class, test_per_class):
    """The test examples (K, C) that give each client its share of each class of the training set.

    counts (K, C), train_per_class (C,), test_per_class (C,). Column c sums to test_per_class[c], also where
    counts leave training examples out; a class that no client holds in training, none holds in the test.
    Raises InputError if counts ask for more than train_per_class.
    """
    check_counts(counts, train_per_class)
    return apportion(counts, np.asarray(test_per_class, dtype=np.int64))


test_counts.__test__ = False    # a name that pytest would collect


def assign(counts, labels, seed, split, domain=None):
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


def class_sizes(labels, num_classes):
    """Number of examples (C,) int64 of each class; InputError for a label outside 0..C-1."""
    labels = np.asarray(labels).astype(np.int64)
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(f"data: labels from {labels.min()} to {labels.max()}; with {num_classes} classes "
                         f"they must be 0 to {num_classes - 1}")
    return np.bincount(labels, minlength=num_classes)
