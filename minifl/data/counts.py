"""Arithmetic with tables of label counts: how many training examples of each class each client holds."""

import heapq

import numpy as np

from minifl.backend import Array
from minifl.errors import InputError


def apportion(shares: Array, totals: Array) -> Array:
    """Whole numbers proportional to the shares of each column, by the largest remainder.

    shares (K, C)  whole numbers >= 0, shares*totals below 2**63;  totals (C,)
    returns (K, C) int64; column c sums to totals[c], or to 0 where nobody has a share

    Equal remainders are served in turn, each class going on where the class before it stopped, so that equal
    shares give clients of equal size (to within 1).
    """
    shares = np.asarray(shares, dtype=np.int64)
    clients, counts, turn = np.arange(len(shares)), np.zeros(shares.shape, np.int64), 0
    for c, total in enumerate(totals):
        whole = shares[:, c].sum()
        if whole == 0:
            continue
        counts[:, c], remainder = np.divmod(shares[:, c] * total, whole)
        short = total - counts[:, c].sum()      # below the number of remainders > 0: no share, no example
        served = np.lexsort(((clients - turn) % len(clients), -remainder))
        counts[served[:short], c] += 1
        turn += short
    return counts


def check_holders(holders: Array, sizes: Array, option: str) -> None:
    """InputError if a class has fewer examples than holders: one of them would hold nothing of it."""
    for c in np.flatnonzero(holders > sizes):
        raise InputError(f"{option} {holders.sum()}: class {c} has {sizes[c]} examples, too few for the "
                         f"{holders[c]} clients that would share it; at most {sizes.min() * len(sizes)} "
                         f"here, or --setting iid or dirichlet")


def top_up(counts: Array, min_size: int) -> Array:
    """Give each client below min_size what it lacks from the largest cells that can spare it.

    counts   (K, C), together at least K*min_size; it stays as it is
    returns  (K, C) with the same sums of columns and no client below min_size

    Those below take in their order, and each as long as it lacks something: from the largest cell of all clients that
    have more than min_size (of equal cells from that of the lowest client, then of the lowest class), into the same
    class, as much as it still lacks and the cell holds, but not so much that the giver falls below min_size.

    Derivation. A giver's other cells do not change when one of them gives, and who received has min_size and never
    gives: a heap of the cells stays in order, and a cell whose giver has nothing to spare any more goes away when it
    comes up. Each step completes a client or uses up a cell or a giver, so there are at most K + K*C of them.
    """
    counts, sizes = counts.copy(), counts.sum(axis=1).tolist()
    cells = [(-int(counts[k, c]), k, c) for k, c in np.argwhere(counts).tolist() if sizes[k] > min_size]
    heapq.heapify(cells)
    for k in (k for k, size in enumerate(sizes) if size < min_size):
        while sizes[k] < min_size:
            count, giver, c = heapq.heappop(cells)
            given = min(-count, sizes[giver] - min_size, min_size - sizes[k])
            counts[giver, c] -= given
            counts[k, c] += given
            sizes[giver] -= given
            sizes[k] += given
            if count + given < 0 and sizes[giver] > min_size:
                heapq.heappush(cells, (count + given, giver, c))
    return counts


def class_sizes(labels: Array, num_classes: int) -> Array:
    """Number of examples (C,) int64 of each class; InputError for a label outside 0..C-1."""
    labels = np.asarray(labels).astype(np.int64)
    if labels.size and not 0 <= labels.min() <= labels.max() < num_classes:
        raise InputError(f"data: labels from {labels.min()} to {labels.max()}; with {num_classes} classes "
                         f"they must be 0 to {num_classes - 1}")
    return np.bincount(labels, minlength=num_classes)


def check_counts(counts: Array, labels_per_class: Array, source: str = "--partition",
                 class_names: tuple | None = None) -> None:
    """InputError if the table counts (K, C) does not fit data with labels_per_class (C,); less is allowed."""
    counts, sizes = np.asarray(counts), np.asarray(labels_per_class)
    if counts.ndim != 2 or len(counts) == 0 or counts.shape[1] != len(sizes):
        raise InputError(f"{source}: a table of shape {counts.shape}; these data need a row for each client "
                         f"and {len(sizes)} columns, one for each class")
    if counts.dtype.kind not in "iu" or counts.min() < 0:
        raise InputError(f"{source}: the counts must be whole numbers of at least 0")
    for c in np.flatnonzero(counts.sum(axis=0) > sizes):
        name = f" ({class_names[c]})" if class_names else ""
        raise InputError(f"{source}: class {c}{name}: {counts[:, c].sum()} examples asked for, at most {sizes[c]} "
                         f"available")


def check_whole(option: str, value: object, low: int, high: int | None = None) -> None:
    """InputError unless value is a whole number from low to high."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        valid = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{option} {value}: must be a whole number {valid}")
