"""Tables of label counts: how many training examples of each class each client holds.

Every setting but `quantity` is a table of shares, made whole by the largest remainder: ones (iid), who holds what
(oneclass, nclass, disjoint), Dirichlet draws, or the paper's own numbers. A table is a pure function of the data seed.
"""

import heapq
import math

import numpy as np

from minifl.errors import InputError, unknown
from minifl.rng import PARTITION, address

SETTINGS = ("iid", "oneclass", "nclass", "disjoint", "dirichlet", "dirichlet-balanced", "quantity", "paper-2class",
            "paper-dir0.1")
MAX_CELLS = 10**8       # of a table of counts: 800 MB
TRADES = 20             # rounds of trades in `nclass`; in each, every client meets one other

# The paper's Figure 8 (CIFAR-10, 10 clients): the classes of each client, and the counts of its Dir(0.1).
PAPER_2CLASS = ((2, 8), (3, 5), (2, 3), (7, 9), (6, 7), (1, 6), (4, 8), (1, 5), (0, 4), (0, 9))
PAPER_DIR = (
    (10, 5, 4315, 0, 0, 3950, 0, 0, 0, 2135),
    (25, 20, 0, 35, 2255, 0, 5, 340, 2120, 0),
    (0, 470, 205, 530, 2225, 5, 4340, 0, 5, 0),
    (5, 25, 0, 0, 0, 95, 0, 80, 35, 2675),
    (4205, 0, 35, 0, 0, 530, 0, 115, 0, 5),
    (400, 0, 55, 3430, 0, 20, 0, 4335, 30, 90),
    (15, 0, 0, 5, 375, 260, 0, 0, 25, 35),
    (0, 0, 30, 540, 0, 140, 0, 125, 0, 60),
    (0, 0, 70, 0, 0, 0, 650, 5, 0, 0),
    (340, 4480, 290, 460, 145, 0, 5, 0, 2785, 0),
)


def of_domain(domain):
    """What the addresses of a domain's draws end with. They count from 1: a 0 at the end changes no address."""
    return () if domain is None else (domain + 1,)


def label_counts(setting, labels_per_class, num_clients, seed, *,
                 classes_per_client=2, dirichlet_alpha=0.1, min_size=10, domain=None):
    """How many training examples of each class each client holds.

    labels_per_class (C,)  examples of each class
    domain           number of the domain that these examples and clients are of; it draws by addresses of its own
    returns          (K, C) int64; column c sums to labels_per_class[c]

    iid           every class split evenly; the sizes of two clients differ by at most 1
    oneclass      client k holds class k mod C, shared evenly with the other holders of that class
    nclass        a random table in which each client holds exactly `classes_per_client` classes, each class
                  has the same number of holders (to within 1) and is shared evenly by them
    disjoint      the classes divided over the clients at random, as equal in number as possible: every class has
                  one holder, which holds all of it
    dirichlet     each class split by one symmetric Dir(dirichlet_alpha) draw over the clients; then clients
                  below `min_size` examples are topped up from the largest cells
    dirichlet-balanced   the same, but a client that already holds its even part of all examples, or more, gets nothing
                  of the classes that follow: the Dirichlet partition of NIID-Bench (Li et al. 2022), and Flower's with
                  its default self_balancing. Sizes differ less, and clients hold fewer classes. Those draw until every
                  client has min_size examples, where here they are topped up
    quantity      clients of unequal size with like labels: the number of all examples split by one symmetric
                  Dir(dirichlet_alpha) draw over the clients, topped up likewise; then the examples, whatever their
                  class, dealt out at random (Li et al. 2022, "Federated Learning on Non-IID Data Silos",
                  quantity skew)
    paper-2class, paper-dir0.1   the paper's Figure 8, scaled if the classes have other sizes than 5000
    Raises InputError for bad or infeasible arguments, and for no other reason: any feasible one succeeds.
    """
    sizes = np.asarray(labels_per_class, dtype=np.int64)
    num_classes = len(sizes)
    if setting not in SETTINGS:
        raise InputError(f"--setting {setting}: unknown; valid are {', '.join(SETTINGS)}")
    check_whole("--num-clients", num_clients, 1, MAX_CELLS // num_classes)
    check_whole("--data-seed", seed, 0)
    check_whole("--classes-per-client", classes_per_client, 1, num_classes if setting == "nclass" else None)
    check_whole("--min-size", min_size, 0)
    if not (_is_number(dirichlet_alpha) and 0 < dirichlet_alpha < math.inf):
        raise InputError(f"--dirichlet-alpha {dirichlet_alpha}: must be a finite number above 0")

    rng = address(seed, PARTITION, *of_domain(domain))
    if setting == "iid":
        return apportion(np.ones((num_clients, num_classes), np.int64), sizes)
    if setting == "oneclass":
        return apportion(_one_class(sizes, num_clients), sizes)
    if setting == "nclass":
        return apportion(_n_classes(sizes, num_clients, classes_per_client, rng), sizes)
    if setting == "disjoint":
        return apportion(_disjoint(num_classes, num_clients, rng), sizes)
    if setting in ("dirichlet", "dirichlet-balanced"):
        return _dirichlet(sizes, num_clients, dirichlet_alpha, min_size, rng, setting == "dirichlet-balanced")
    if setting == "quantity":
        return _quantity(sizes, num_clients, dirichlet_alpha, min_size, rng)
    if setting in ("paper-2class", "paper-dir0.1"):
        return apportion(_preset(setting, num_clients, num_classes), sizes)
    raise unknown("--setting", setting, SETTINGS)


def apportion(shares, totals):
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


def _one_class(sizes, num_clients):
    """held (K, C) of bools, who holds what in `oneclass`; sizes (C,) are the numbers of examples."""
    if num_clients < len(sizes):
        raise InputError(f"--num-clients {num_clients}: --setting oneclass needs a client for each class, "
                         f"at least {len(sizes)}")
    held = np.arange(num_clients)[:, None] % len(sizes) == np.arange(len(sizes))
    _check_holders(held.sum(axis=0), sizes, "--num-clients")
    return held


def _n_classes(sizes, num_clients, n, rng):
    """Random held (K, C) of bools: n true in every row, and nearly equal numbers of them in the columns.

    Dealing the classes out in turn, each as often as it has holders, is always valid: no class has more
    holders than there are clients, so none comes twice to one client. Then pairs of clients repeatedly pool
    the classes that only one of them holds and draw them anew: many switches of two at once. That keeps all
    row and column sums and converges to the uniform distribution over the tables that have them ("curveball
    trades": Strona et al. 2014, Carstens 2015).
    """
    num_classes = len(sizes)
    if num_clients * n < num_classes:
        raise InputError(f"--num-clients {num_clients} with --classes-per-client {n}: some of the "
                         f"{num_classes} classes would have no client; the product must be at least "
                         f"{num_classes}")
    order = rng.permutation(num_classes)
    least, extra = divmod(num_clients * n, num_classes)
    order = order[np.argsort(sizes[order] <= least, kind="stable")]     # too small for one more holder: last
    holders = np.full(num_classes, least)
    holders[order[:extra]] += 1
    _check_holders(holders, sizes, "--num-clients x --classes-per-client =")

    held = np.zeros((num_clients, num_classes), bool)
    held[np.arange(num_clients * n) % num_clients, np.repeat(order, holders[order])] = True
    for _ in range(TRADES):
        first, second = rng.permutation(num_clients)[:num_clients // 2 * 2].reshape(2, -1)
        both, pool = held[first] & held[second], held[first] ^ held[second]
        lots = np.where(pool, rng.random(pool.shape), 2.0).argsort(axis=1).argsort(axis=1)
        drawn = lots < pool.sum(axis=1, keepdims=True) // 2
        held[first], held[second] = both | drawn, both | (pool & ~drawn)
    return held


def _disjoint(num_classes, num_clients, rng):
    """Random held (K, C) of bools: one true in every column, nearly equal numbers of them in the rows."""
    if num_clients > num_classes:
        raise InputError(f"--num-clients {num_clients}: --setting disjoint needs a class for each client, so at most "
                         f"{num_classes}")
    holder = rng.permutation(num_clients)[rng.permutation(num_classes) % num_clients]
    return np.arange(num_clients)[:, None] == holder


def _check_holders(holders, sizes, option):
    """InputError if a class has fewer examples than holders: one of them would hold nothing of it."""
    for c in np.flatnonzero(holders > sizes):
        raise InputError(f"{option} {holders.sum()}: class {c} has {sizes[c]} examples, too few for the "
                         f"{holders[c]} clients that would share it; at most {sizes.min() * len(sizes)} "
                         f"here, or --setting iid or dirichlet")


def _dirichlet(sizes, num_clients, alpha, min_size, rng, balanced=False):
    if num_clients * min_size > sizes.sum():
        raise InputError(f"--min-size {min_size}: too many for {num_clients} clients and {sizes.sum()} "
                         f"examples; at most {sizes.sum() // num_clients} with --num-clients {num_clients}")
    # Dir = normalized Gamma(alpha) draws, in logarithms: as Gamma(a) = Gamma(a+1) * U^(1/a), they cannot all
    # vanish however small alpha is. Beyond the clip the shares no longer change.
    alpha = min(max(alpha, 1e-300), 1e300)
    shape = len(sizes), num_clients
    logs = np.log(rng.standard_gamma(alpha + 1, shape)) - rng.standard_exponential(shape) / alpha
    if not balanced:
        return _top_up(_shared(logs, sizes), min_size)
    counts = np.zeros((num_clients, len(sizes)), np.int64)
    for c in np.flatnonzero(sizes):
        below = counts.sum(axis=1) * num_clients < sizes.sum()      # somebody is, as long as examples are left
        counts[below, c] = _shared(logs[c:c + 1, below], sizes[c:c + 1])[:, 0]
    return _top_up(counts, min_size)


def _shared(logs, sizes):
    """Counts (K, C) by the logarithms (C, K) of what each client's part of each class is proportional to."""
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return apportion(np.floor(shares.T * 2.0**32), sizes)      # 32 bits: exact arithmetic from here on


def _quantity(sizes, num_clients, alpha, min_size, rng):
    own = _dirichlet(sizes.sum(keepdims=True), num_clients, alpha, min_size, rng)[:, 0]     # as if of one class
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    cells = np.repeat(np.arange(num_clients), own) * len(sizes) + labels
    return np.bincount(cells, minlength=num_clients * len(sizes)).reshape(num_clients, len(sizes))


def _top_up(counts, min_size):
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


def _preset(setting, num_clients, num_classes):
    if (num_clients, num_classes) != (10, 10):
        raise InputError(f"--setting {setting}: needs data of 10 classes and --num-clients 10; "
                         f"found {num_classes} classes and --num-clients {num_clients}")
    if setting == "paper-dir0.1":
        return np.array(PAPER_DIR)
    return (np.array(PAPER_2CLASS)[:, :, None] == np.arange(10)).any(axis=1)


def check_counts(counts, labels_per_class, source="--partition", class_names=None):
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


def check_whole(option, value, low, high=None):
    """InputError unless value is a whole number from low to high."""
    whole = isinstance(value, (int, np.integer)) and not isinstance(value, bool)
    if not whole or value < low or (high is not None and value > high):
        valid = f"of at least {low}" if high is None else f"from {low} to {high}"
        raise InputError(f"{option} {value}: must be a whole number {valid}")


def _is_number(value):
    return isinstance(value, (int, float, np.number)) and not isinstance(value, bool)
