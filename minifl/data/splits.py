"""The settings that are tables of label counts: how many training examples of each class each client holds.

A setting is a function that asks by name for what it needs: sizes (C,), the examples of each class, num_clients, rng,
and OPTIONS. It returns counts (K, C) int64 whose column c sums to sizes[c]. The first sentence of its docstring is what
the documentation says of it. All but `quantity` are tables of shares, made whole by the largest remainder: ones (iid),
who holds what (oneclass, nclass, disjoint), Dirichlet draws, or the paper's own numbers. A table is a pure function of
the data seed.
"""

import inspect
import re
from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np

from minifl.backend import Array
from minifl.data.counts import apportion, check_holders, check_whole, top_up
from minifl.declared import choices_of, declared
from minifl.errors import InputError, unknown
from minifl.rng import PARTITION, address

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


@dataclass
class Options:
    """What some settings ask for by name."""
    classes_per_client: int = declared(2, at_least=1, help="Number of classes of a client.")
    dirichlet_alpha: float = declared(0.1, above=0, help="Concentration: the smaller, the more clients differ.")
    min_size: int = declared(10, at_least=0, help="Fewest training examples of a client.")


def of_domain(domain: int | None) -> tuple:
    """What the addresses of a domain's draws end with. They count from 1: a 0 at the end changes no address."""
    return () if domain is None else (domain + 1,)


def label_counts(setting: str, labels_per_class: Array, num_clients: int, seed: int, *, domain: int | None = None,
                 **options: dict) -> Array:
    """How many training examples of each class each client holds.

    setting          a name in TABLES
    labels_per_class (C,)  examples of each class
    domain           number of the domain that these examples and clients are of; it draws by addresses of its own
    options          name -> value of OPTIONS; those that the setting does not take have no effect
    returns          (K, C) int64; column c sums to labels_per_class[c]
    Raises InputError for bad or infeasible arguments, and for no other reason: any feasible one succeeds.
    """
    sizes = np.asarray(labels_per_class, dtype=np.int64)
    if setting not in TABLES:
        raise unknown("--setting", setting, TABLES)
    check_whole("--num-clients", num_clients, 1, MAX_CELLS // len(sizes))
    check_whole("--data-seed", seed, 0)
    rng = address(seed, PARTITION, *of_domain(domain))
    return called(TABLES[setting], options, sizes=sizes, num_clients=num_clients, rng=rng)


def called(setting: Callable, options: dict, **given: object) -> object:
    """What the function of a setting makes of those of `given`, and of the options, that it asks for by name."""
    options = vars(Options(**options))
    for name, value in options.items():
        OPTIONS[name].check(value.item() if isinstance(value, np.generic) else value)
    return setting(**{name: (given | options)[name] for name in asked_for(setting) if name in given | options})


def asked_for(setting: Callable) -> tuple:
    """The names of what the function of a setting takes."""
    return tuple(inspect.signature(setting).parameters)


def told(setting: Callable) -> str:
    """What the documentation says of the function of a setting: the first sentence of its docstring."""
    return re.split(r"\.\s", f"{inspect.getdoc(setting) or ''} ")[0].replace("\n", " ").replace("`", "").strip()


def iid(sizes: Array, num_clients: int) -> Array:
    """Every class is split evenly. The sizes of two clients differ by at most 1."""
    return apportion(np.ones((num_clients, len(sizes)), np.int64), sizes)


def oneclass(sizes: Array, num_clients: int) -> Array:
    """Client k holds class k mod C, shared evenly with the other holders of that class."""
    if num_clients < len(sizes):
        raise InputError(f"--num-clients {num_clients}: --setting oneclass needs a client for each class, "
                         f"at least {len(sizes)}")
    held = np.arange(num_clients)[:, None] % len(sizes) == np.arange(len(sizes))
    check_holders(held.sum(axis=0), sizes, "--num-clients")
    return apportion(held, sizes)


def nclass(sizes: Array, num_clients: int, rng: np.random.Generator, classes_per_client: int) -> Array:
    """Each client holds exactly `classes_per_client` classes, drawn at random.

    Each class has the same number of holders (to within 1) and is shared evenly by them. Dealing the classes out
    in turn, each as often as it has holders, is always valid: no class has more holders than there are clients,
    so none comes twice to one client. Then pairs of clients repeatedly pool the classes that only one of them
    holds and draw them anew: many switches of two at once. That keeps all row and column sums and converges to
    the uniform distribution over the tables that have them ("curveball trades": Strona et al. 2014, Carstens 2015).
    """
    num_classes, n = len(sizes), classes_per_client
    check_whole("--classes-per-client", n, 1, num_classes)
    if num_clients * n < num_classes:
        raise InputError(f"--num-clients {num_clients} with --classes-per-client {n}: some of the "
                         f"{num_classes} classes would have no client; the product must be at least "
                         f"{num_classes}")
    order = rng.permutation(num_classes)
    least, extra = divmod(num_clients * n, num_classes)
    order = order[np.argsort(sizes[order] <= least, kind="stable")]     # too small for one more holder: last
    holders = np.full(num_classes, least)
    holders[order[:extra]] += 1
    check_holders(holders, sizes, "--num-clients x --classes-per-client =")

    held = np.zeros((num_clients, num_classes), bool)
    held[np.arange(num_clients * n) % num_clients, np.repeat(order, holders[order])] = True
    for _ in range(TRADES):
        first, second = rng.permutation(num_clients)[:num_clients // 2 * 2].reshape(2, -1)
        both, pool = held[first] & held[second], held[first] ^ held[second]
        lots = np.where(pool, rng.random(pool.shape), 2.0).argsort(axis=1).argsort(axis=1)
        drawn = lots < pool.sum(axis=1, keepdims=True) // 2
        held[first], held[second] = both | drawn, both | (pool & ~drawn)
    return apportion(held, sizes)


def disjoint(sizes: Array, num_clients: int, rng: np.random.Generator) -> Array:
    """The classes are divided over the clients at random, as equal in number as possible.

    Every class has one holder, which holds all of it.
    """
    num_classes = len(sizes)
    if num_clients > num_classes:
        raise InputError(f"--num-clients {num_clients}: --setting disjoint needs a class for each client, so at most "
                         f"{num_classes}")
    holder = rng.permutation(num_clients)[rng.permutation(num_classes) % num_clients]
    return apportion(np.arange(num_clients)[:, None] == holder, sizes)


def dirichlet(sizes: Array, num_clients: int, rng: np.random.Generator, dirichlet_alpha: float, min_size: int) -> Array:
    """Each class is split by one symmetric Dir(`dirichlet_alpha`) draw over the clients.

    Then clients below `min_size` examples are topped up from the largest cells.
    """
    return _dirichlet(sizes, num_clients, rng, dirichlet_alpha, min_size)


def dirichlet_balanced(sizes: Array, num_clients: int, rng: np.random.Generator,
                       dirichlet_alpha: float, min_size: int) -> Array:
    """The same, but a client that holds its even part of all examples gets no more: as NIID-Bench and Flower do it.

    Who has that part, or more, gets nothing of the classes that follow: the Dirichlet partition of NIID-Bench (Li et
    al. 2022), and Flower's with its default self_balancing. Sizes differ less, and clients hold fewer classes. Those
    draw until every client has min_size examples, where here they are topped up.
    """
    return _dirichlet(sizes, num_clients, rng, dirichlet_alpha, min_size, balanced=True)


def quantity(sizes: Array, num_clients: int, rng: np.random.Generator, dirichlet_alpha: float, min_size: int) -> Array:
    """Sizes differ, by one symmetric Dir(`dirichlet_alpha`) draw over the clients, and labels do not.

    The number of all examples is split by the draw and topped up likewise; then the examples, whatever their class,
    are dealt out at random (Li et al. 2022, "Federated Learning on Non-IID Data Silos", quantity skew).
    """
    own = _dirichlet(sizes.sum(keepdims=True), num_clients, rng, dirichlet_alpha, min_size)[:, 0]   # as if of one class
    labels = rng.permutation(np.repeat(np.arange(len(sizes)), sizes))
    cells = np.repeat(np.arange(num_clients), own) * len(sizes) + labels
    return np.bincount(cells, minlength=num_clients * len(sizes)).reshape(num_clients, len(sizes))


def _dirichlet(sizes, num_clients, rng, alpha, min_size, balanced=False):
    if num_clients * min_size > sizes.sum():
        raise InputError(f"--min-size {min_size}: too many for {num_clients} clients and {sizes.sum()} "
                         f"examples; at most {sizes.sum() // num_clients} with --num-clients {num_clients}")
    # Dir = normalized Gamma(alpha) draws, in logarithms: as Gamma(a) = Gamma(a+1) * U^(1/a), they cannot all
    # vanish however small alpha is. Beyond the clip the shares no longer change.
    alpha = min(max(alpha, 1e-300), 1e300)
    shape = len(sizes), num_clients
    logs = np.log(rng.standard_gamma(alpha + 1, shape)) - rng.standard_exponential(shape) / alpha
    if not balanced:
        return top_up(_shared(logs, sizes), min_size)
    counts = np.zeros((num_clients, len(sizes)), np.int64)
    for c in np.flatnonzero(sizes):
        below = counts.sum(axis=1) * num_clients < sizes.sum()      # somebody is, as long as examples are left
        counts[below, c] = _shared(logs[c:c + 1, below], sizes[c:c + 1])[:, 0]
    return top_up(counts, min_size)


def _shared(logs, sizes):
    """Counts (K, C) by the logarithms (C, K) of what each client's part of each class is proportional to."""
    shares = np.exp(logs - logs.max(axis=1, keepdims=True))
    shares /= shares.sum(axis=1, keepdims=True)
    return apportion(np.floor(shares.T * 2.0**32), sizes)      # 32 bits: exact arithmetic from here on


def paper_2class(sizes: Array, num_clients: int) -> Array:
    """The two classes of each client in the paper's Figure 8, for 10 clients and classes."""
    _check_ten("paper-2class", sizes, num_clients)
    return apportion((np.array(PAPER_2CLASS)[:, :, None] == np.arange(10)).any(axis=1), sizes)


def paper_dir(sizes: Array, num_clients: int) -> Array:
    """The Dir(0.1) of the paper's Figure 8, scaled where classes have other sizes than 5000."""
    _check_ten("paper-dir0.1", sizes, num_clients)
    return apportion(PAPER_DIR, sizes)


def _check_ten(setting, sizes, num_clients):
    if (num_clients, len(sizes)) != (10, 10):
        raise InputError(f"--setting {setting}: needs data of 10 classes and --num-clients 10; "
                         f"found {len(sizes)} classes and --num-clients {num_clients}")


TABLES = {
    "iid": iid,
    "oneclass": oneclass,
    "nclass": nclass,
    "disjoint": disjoint,
    "dirichlet": dirichlet,
    "dirichlet-balanced": dirichlet_balanced,
    "quantity": quantity,
    "paper-2class": paper_2class,
    "paper-dir0.1": paper_dir,
}


def _of(name):
    return ", ".join(setting for setting, function in TABLES.items() if name in asked_for(function))


OPTIONS = {name: replace(choice, help=f"{choice.help} Of --setting {_of(name)}.")
           for name, choice in choices_of(Options).items()}
