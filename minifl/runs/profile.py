"""Where the time of a run's rounds goes, on the CPU: each layer forward and backward, and what is around the layers.

Nothing of this is in the layers. While a Profile is active, the names that the network's module, the objectives and the
federated loop look up stand for functions that look at the clock and call what was there before; at its end these are
back. No number of the run is touched, so no bit of it changes.

Each thread adds up its own seconds. A call inside a timed call is not counted twice: inside a layer nothing is timed,
and of what goes on around the layers (a client's work, its steps, a gradient) a row has the seconds that are in none of
the calls inside. The forward passes of tests are no part of a client's work and go by untimed.
"""

import sys
import threading
from collections import Counter, defaultdict
from contextlib import ExitStack, closing
from dataclasses import dataclass
from functools import wraps
from inspect import isfunction, signature
from time import perf_counter
from typing import Any

import numpy as np

from minifl import models
from minifl.fl import client, rounds
from minifl.fl.algorithms import ALGORITHMS
from minifl.runs import run

FORWARD, BACKWARD = "forward", "backward"
LOSS = "loss"
BATCHES, BETWEEN, FLAT, UPDATE = "batches", "between layers", "flat gradient", "update"
MESSAGE, SERVER = "message", "aggregation"
AROUND = {        # rows that are no layer -> what is in them
    BATCHES: "drawing, augmentation, conversion to float",
    BETWEEN: "views, sums, freeing of caches, terms of the method",
    FLAT: "the blocks' gradients into one array",
    UPDATE: "SGD, momentum, weight decay",
    MESSAGE: "start of a client, its message, checks",
    SERVER: "sum of the messages, server step",
}
OWN_TESTS, _WAITING = "tests of the clients' own models", "waiting"
_END = object()


@dataclass
class Spent:
    """What the calls of one row in one direction took, of all threads and clients."""
    seconds: float = 0.0
    calls: int = 0
    passes: int = 0    # products of the size of one client's forward pass: 2 in a backward pass with both gradients
    nbytes: int = 0    # of first arguments and results: each read or written once; 0 for a result that is a view

    def add(self, other: Any) -> None:
        for name, value in vars(other).items():
            setattr(self, name, getattr(self, name) + value)


class _Thread(threading.local):
    """Of one thread: `spent` since the last round ended, the timed calls that it is in, how often it called what."""

    def __init__(self, every):
        self.spent, self.stack, self.turns = defaultdict(Spent), [], Counter()
        every.append(self.spent)


class Profile:
    """`with Profile(model, workers) as profile:` around a run of minifl.runs.run; then, of the rounds that ended:

    spent       (row, FORWARD or BACKWARD) -> Spent of the layers, (row, None) -> Spent of AROUND and OWN_TESTS
    rounds      how many they were
    seconds     of these rounds, without the tests of the global model
    evaluation  seconds of those tests
    workers     threads over clients

    A row is one of the network's plan, LOSS, or the name of a layer function that belongs to no row of it.
    """

    def __init__(self, model, workers):
        self.model, self.workers = model, workers
        self.spent, self.rounds, self.seconds, self.evaluation = defaultdict(Spent), 0, 0.0, 0.0
        self._every, self._tested = [], 0.0
        self._thread = _Thread(self._every)
        self._rows = defaultdict(list)      # the function that computes them -> names
        for row in model.plan:
            self._rows[row.kind].append(row.name)
        self._names = {row.name for row in model.plan}

    @property
    def steps(self) -> int:
        """How many gradients of one client's batch were computed: its local steps (SCAFFOLD's option I takes more)."""
        return self.spent["classifier", FORWARD].passes

    @property
    def thread_seconds(self) -> float:
        """Seconds that the threads over clients had for these rounds, without the tests of the clients' own models."""
        return self.seconds * self.workers - self.spent[OWN_TESTS, None].seconds

    def __enter__(self):
        objectives = {name: sys.modules[name] for name in (models.__name__, *(method.__module__ for method in
                                                                               ALGORITHMS.values()))}
        network = sys.modules[type(self.model).__module__]
        with ExitStack() as undo:
            def replace(module, name, wrapper):
                undo.callback(setattr, module, name, getattr(module, name))
                setattr(module, name, wrapper)

            for name, function in _functions(network, "minifl.layers.", "minifl.fast.", "minifl.models.blocks"):
                replace(network, name, self._layer(function))
            for module in objectives.values():
                for name, function in _functions(module, "minifl.layers."):
                    replace(module, name, self._layer(function, LOSS))
                if "flat_gradient" in vars(module):
                    replace(module, "flat_gradient", self._around(module.flat_gradient, FLAT))
            replace(client, "round_batches", self._around(client.round_batches, BATCHES))
            replace(client, "local_sgd", self._local_sgd(client.local_sgd))
            replace(rounds, "local_work", self._around(rounds.local_work, MESSAGE, leaf=False))
            replace(rounds, "collect", self._collect(rounds.collect))
            replace(rounds, "server_step", self._around(rounds.server_step, SERVER))
            replace(rounds, "own_accuracies", self._around(rounds.own_accuracies, OWN_TESTS))
            replace(rounds, "evaluate", self._evaluate(rounds.evaluate))
            replace(run, "federated_rounds", self._federated_rounds(run.federated_rounds))
            self._undo = undo.pop_all()
        return self

    def __exit__(self, *_):
        self._undo.close()

    def _call(self, key, leaf, function, args, kwargs):
        """function(*args, **kwargs), its seconds without those of timed calls inside it added to those of key."""
        stack = self._thread.stack
        frame = [0.0, leaf]
        stack.append(frame)
        begin = perf_counter()
        try:
            return function(*args, **kwargs)
        finally:
            elapsed = perf_counter() - begin
            stack.pop()
            if stack:
                stack[-1][0] += elapsed
            spent = self._thread.spent[key]
            spent.seconds += elapsed - frame[0]
            spent.calls += 1

    def _around(self, function, row, leaf=True):
        """What is no layer; leaf: nothing is timed inside it."""
        @wraps(function)
        def timed(*args, **kwargs):
            stack = self._thread.stack
            if stack and stack[-1][1]:
                return function(*args, **kwargs)
            return self._call((row, None), leaf, function, args, kwargs)
        return timed

    def _layer(self, function, row=None):
        """A layer in a client's work. Its row is the given one, or has the name that the layer is called with, or is
        found by the order of calls: networks go through their plan forward, and then back."""
        base = function.__name__.removesuffix("_backward")
        direction = FORWARD if base == function.__name__ else BACKWARD
        parameters = list(signature(function).parameters)
        named = parameters.index("name") if "name" in parameters else None
        known = self._rows[base]
        known = known if direction == FORWARD else known[::-1]

        @wraps(function)
        def timed(*args, **kwargs):
            thread = self._thread
            if not thread.stack or thread.stack[-1][1]:
                return function(*args, **kwargs)
            if row is not None:
                key = row
            elif named is not None:
                key = args[named] if len(args) > named else kwargs["name"]
                if key not in self._names:     # the identity where another arrangement has a norm
                    return function(*args, **kwargs)
            elif known:
                key = known[thread.turns[function] % len(known)]
                thread.turns[function] += 1
            else:
                key = base
            result = self._call((key, direction), True, function, args, kwargs)
            x, y = next(a for a in args if hasattr(a, "shape")), result[0] if isinstance(result, tuple) else result
            spent = thread.spent[key, direction]
            spent.passes += len(x) * (1 if direction == FORWARD or kwargs.get("input_gradient") is False else 2)
            spent.nbytes += x.nbytes + y.nbytes if y is not None and not np.may_share_memory(x, y) else 0
            return result
        return timed

    def _local_sgd(self, function):
        """The steps, and in them the gradients; what is left of either are two rows."""
        timed = self._around(function, UPDATE, leaf=False)
        return wraps(function)(lambda gradient, *args, **kwargs: timed(self._around(gradient, BETWEEN, leaf=False),
                                                                       *args, **kwargs))

    def _collect(self, function):
        """The sum of the messages, without waiting for them."""
        def waited(replies):
            replies = iter(replies)
            while (result := self._call((_WAITING, None), False, next, (replies, _END), {})) is not _END:
                yield result

        timed = self._around(function, SERVER, leaf=False)
        return wraps(function)(lambda clients, replies, weights: timed(clients, waited(replies), weights))

    def _evaluate(self, function):
        @wraps(function)
        def timed(*args, **kwargs):
            begin = perf_counter()
            result = function(*args, **kwargs)
            self._tested += perf_counter() - begin
            return result
        return timed

    def _federated_rounds(self, function):
        """What was timed counts when its round has ended: an interrupted one has no seconds. No thread works then."""
        @wraps(function)
        def timed(*args, **kwargs):
            with closing(function(*args, **kwargs)) as lines:
                for state, line in lines:
                    for spent in self._every:
                        for key, value in spent.items():
                            self.spent[key].add(value)
                        spent.clear()
                    self.rounds += 1
                    self.seconds += line["seconds"]
                    self.evaluation, self._tested = self.evaluation + self._tested, 0.0
                    yield state, line
        return timed


def _functions(module, *origins):
    """(name, function) of the functions that a module has from modules whose names begin so."""
    return [(name, value) for name, value in vars(module).items()
            if isfunction(value) and value.__module__.startswith(origins)]
