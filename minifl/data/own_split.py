"""A split that is a function of somebody's own: what it gets, and whether what it says is one."""

import inspect
from collections.abc import Callable

import numpy as np

from minifl.backend import Array
from minifl.data.counts import check_counts, check_whole, class_sizes
from minifl.data.splits import OPTIONS, asked_for, called, of_domain
from minifl.errors import InputError
from minifl.rng import PARTITION, address

OFFERED = "labels", "domains", "sizes", "num_classes", "num_clients", "rng", *OPTIONS


def check(function: object) -> None:
    """Raises InputError for what is no function that can be asked for a split; the message goes on after its name."""
    if not callable(function) or isinstance(function, type):
        what = "a class" if isinstance(function, type) else type(function).__name__
        raise InputError(f"is {what}; it must be a function of {', '.join(OFFERED)}, as many of them as it needs")
    for name, parameter in inspect.signature(function).parameters.items():
        if parameter.kind is parameter.POSITIONAL_ONLY or parameter.default is parameter.empty and name not in OFFERED \
                and parameter.kind not in (parameter.VAR_POSITIONAL, parameter.VAR_KEYWORD):
            raise InputError(f"asks for {name}; a split can ask by name for {', '.join(OFFERED)}")


def of_function(function: Callable, setting: str, labels: Array, domains: Array | None, num_classes: int,
                num_clients: int, seed: int, domain: int | None, options: dict) -> list | Array:
    """What the function of --setting `setting` says: K ascending arrays of indices into labels (N,), or counts (K, C).

    By name the function asks for what it needs: labels (N,), domains (N,), sizes (C,) the examples of each class,
    num_classes, num_clients, rng, and splits.OPTIONS. It returns an array (K, C) of label counts, or for each client
    the indices of its examples. Raises InputError for what is neither, an example that comes twice, a client with less
    than --min-size, and for draws that are not the rng's.
    """
    sizes = class_sizes(labels, num_classes)
    if "domains" in asked_for(function) and domains is None:
        raise InputError(f"--setting {setting}: asks for domains, and these data have none")
    check_whole("--num-clients", num_clients, 1)
    check_whole("--data-seed", seed, 0)

    def once():
        made = called(function, options, labels=labels.copy(), domains=None if domains is None else domains.copy(),
                      sizes=sizes.copy(), num_classes=num_classes, num_clients=num_clients,
                      rng=address(seed, PARTITION, *of_domain(domain)))
        if isinstance(made, np.ndarray):
            check_counts(made, sizes, f"--setting {setting}")
            made = made.astype(np.int64)
        elif isinstance(made, (list, tuple)):
            made = checked_lists(made, len(labels), lambda k, found: _refuse(setting, f"client {k} {found}"))
        else:
            _refuse(setting, f"returns {type(made).__name__}; valid are an array (K, C) of label counts, or a list "
                             f"with the indices of each client's examples")
        if len(made) != num_clients:
            _refuse(setting, f"returns {len(made)} clients, and --num-clients is {num_clients}")
        return made

    made, again = once(), once()
    if any(not np.array_equal(a, b) for a, b in zip(made, again)):
        _refuse(setting, "makes another split each time; all that it draws has to come from the rng that it is given")
    held = [int(own.sum()) if isinstance(made, np.ndarray) else len(own) for own in made]
    least = options.get("min_size", 1)
    if min(held) < least:
        _refuse(setting, f"client {np.argmin(held)} has {min(held)} examples, fewer than --min-size {least}")
    return made


def _refuse(setting, found):
    raise InputError(f"--setting {setting}: {found}")


def checked_lists(lists: list, size: int, fail: Callable) -> list:
    """K ascending int64 arrays of K lists of indices into `size` examples, each of which comes once at most.

    fail(k, found) raises the error: what was found at client k.
    """
    owner, checked = np.full(size, -1), []
    for k, indices in enumerate(lists):
        try:
            own = np.asarray(indices)
        except ValueError:
            fail(k, "has no row of indices")
        if own.ndim != 1 or own.size and own.dtype.kind not in "iu":
            fail(k, f"has indices of shape {own.shape} and type {own.dtype}, and they must be whole numbers in a row")
        own = np.sort(own.astype(np.int64))
        outside = own[(own < 0) | (own >= size)]
        if len(outside):
            fail(k, f"has the index {outside[0]}, and the examples are 0 to {size - 1}")
        twice = own[1:][own[1:] == own[:-1]]
        if len(twice):
            fail(k, f"has the index {twice[0]} twice")
        shared = own[owner[own] >= 0]
        if len(shared):
            fail(k, f"has the index {shared[0]}, which client {owner[shared[0]]} has, too")
        owner[own] = k
        checked.append(own)
    return checked
