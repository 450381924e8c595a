"""The federated loop, in the open.

    for each round:
        the server samples clients; some of them may fail
        every other one takes the server's w, does its local steps on its own batches and sends a message
        the server adds up the messages, one client after the other, and makes its step from their mean
        every eval_every rounds the global model is tested, every local_eval_every rounds the clients' own models

On the CPU each client is one piece of work for a thread; on a GPU all clients go through the layers together,
along axis 0. `clients_per_call` says how many go together and so bounds the memory. It changes no bit, and neither
does the number of workers: no client sees another one, and the messages are added in the order of the clients.

`line_up` and `take` are what the server does before and after the clients' work. minifl/flower/ has the same two around
clients in other processes and on other machines.
"""

from collections.abc import Callable, Collection, Iterable, Iterator
from itertools import chain
from time import perf_counter
from typing import Any, NamedTuple

import numpy as np

from minifl.backend import Array, get_xp, to_host
from minifl.data.dataset import Dataset
from minifl.data.partition import Partition
from minifl.fl import statistics
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.client import Diverged, local_work
from minifl.fl.diagnostics import MOST_CLIENTS, Ended, diagnose
from minifl.fl.evaluate import evaluate, predict
from minifl.fl.graph import Graphs
from minifl.fl.local import learning_rate
from minifl.fl.parallel import in_order
from minifl.fl.participation import client_weights, failed, looked_at, sample, whose_models
from minifl.models.network import Network


class Reply(NamedTuple):
    """What the server gets of one client in a round."""
    message: dict      # name -> (...,): what the method's server step takes the mean of
    loss: float        # mean over its local steps
    kept: dict         # name -> (...,): what it keeps until its next round
    tested: tuple | None = None    # accuracies of its own model on all test examples and on its own, where they are due
    ended: object = None    # Ended, where the round is diagnosed


class State(NamedTuple):
    """All that a run carries from one round to the next. Its arrays are never written to."""
    round: int     # rounds done
    w: Array       # (P,) the server's parameters
    server: dict   # name -> (P,): what else the method keeps at the server, e.g. moments
    own: dict      # client -> name -> (...,): what the clients keep; clients that never took part are not in it
    statistics: Array = np.zeros(0)   # (S,) the server's running statistics of batch norm


def start(algorithm: FedAvg, w: Array, statistics: Array | None = None) -> State:
    """The state before the first round; statistics (S,), None without batch norm."""
    return State(0, w, algorithm.server_state(w), {}, w[:0] if statistics is None else statistics)


def federated_rounds(settings: Any, model: Network, algorithm: FedAvg, state: State, data: Dataset, partition: Partition, *,
                     workers: int = 1, clients_per_call: int | None = None, cuda_graphs: bool = True,
                     check: Callable[[], Any] = lambda: None, absent: dict | None = None) -> Iterator[tuple[State, dict]]:
    """Train from `state` to the last of settings.rounds and yield after every round (state, record).

    state      array module and dtype of its w are those of the whole run
    data       Dataset whose arrays lie on w's device
    partition  Partition: counts, and for each client its train and test indices, on the host
    record     round (from 1); clients: how many answered; train_loss: mean over the clients that answered weighted
               as their messages, None if none did; sampled: their numbers, unless it is always all; failed: the numbers
               of those that did not answer, if dropouts are simulated; lr, unless it is constant; absent, if any were:
               client and reason of each that was asked in vain;
               in rounds divisible by eval_every and in the last one the entries of `evaluate`, in those divisible by
               local_eval_every and in the last one (0: in none) local_accuracy and local_own_accuracy, a number for
               each client that answered or for local_clients, those of them that are looked at; with
               settings.diagnose, where the global model is tested, diagnostics (diagnostics.py);
               seconds, with the tests of the clients' models, without that of the global one and without diagnostics
    cuda_graphs  whether the local steps of a call run as a CUDA graph (graph.py); on the CPU there are none
    check      called between two pieces of work; what it raises ends the rounds
    absent     round (from 1) -> {client: reason}, those that do not answer: a federation's rounds done again

    Raises Diverged when a loss, a client's result or the server's is not finite, before that round counts.
    """
    trained, weights = trained_on(settings, partition)
    on_cpu = get_xp(state.w) is np
    graphs = Graphs() if cuda_graphs and not on_cpu else None
    with in_order(workers if on_cpu else 0, check) as pool_map:
        while state.round < settings.rounds:
            begin = perf_counter()
            test, test_locals = due(settings, state.round)
            asked, record = line_up(settings, trained, state.round)
            missing = (absent or {}).get(state.round + 1, {})
            answered = [k for k in asked if k not in missing]
            diagnosed = answered[:MOST_CLIENTS] if settings.diagnose and test else []
            looked = looked_at(settings, asked) if test_locals else []

            def work(clients, state=state, looked=frozenset(looked), diagnosed=diagnosed):
                theta, running, message, kept, losses = local_work(settings, model, algorithm, data, partition, state,
                                                                   clients, graphs)
                own = algorithm.own_model(theta, running, kept)
                return [Reply({name: sent[i] for name, sent in message.items()}, losses[i].item(),
                              {name: array[i] for name, array in kept.items()},
                              own_accuracies(settings, model, *(a[i:i + 1] for a in own), data, partition.test[k])
                              if k in looked else None,
                              Ended(k, theta[i:i + 1].copy(), running[i:i + 1].copy()) if k in diagnosed else None)
                        for i, k in enumerate(clients)]

            per_call = clients_per_call or (1 if on_cpu else max(1, len(answered)))
            groups = [answered[i:i + per_call] for i in range(0, len(answered), per_call)]
            before, replies = state, chain.from_iterable(pool_map(work, groups))
            state, tested, ended = take(algorithm, model, state, weights, answered, replies, record,
                                        {k: missing[k] for k in asked if k in missing})
            record["seconds"] = perf_counter() - begin

            if test:
                clients = len(partition.test)
                models = statistics.global_models(settings, model, state, clients, looked_at(settings, range(clients)))
                record |= finite(evaluate(model, models, data.x_test, data.y_test, partition.test, pool_map=pool_map),
                                 state.round)
                record |= whose_models(settings, clients)
                if settings.diagnose:
                    record["diagnostics"] = diagnose(settings, model, before, state, data, ended, pool_map=pool_map)
            if test_locals:
                record |= of_own_models(tested, asked, looked, answered)
            yield state, record


def trained_on(settings: Any, partition: Partition) -> tuple[list[int], Array]:
    """The clients that hold training examples, and what each of all clients counts in means over them (K,)."""
    weights = client_weights(settings, [len(part) for part in partition.train])
    return np.flatnonzero(weights).tolist(), weights


def due(settings: Any, round_: int) -> tuple[bool, bool]:
    """Whether the global model is tested after a round (from 0), and whether the clients' own models are in it."""
    last = round_ + 1 == settings.rounds
    return (last or _due(round_ + 1, settings.eval_every),
            settings.local_eval_every > 0 and (last or _due(round_ + 1, settings.local_eval_every)))


def line_up(settings: Any, trained: list[int], round_: int) -> tuple[list[int], dict]:
    """The clients that the server asks in a round (from 0), ascending, and the record of the round so far."""
    sampled = sample(settings, trained, round_)
    missing = failed(settings, sampled, round_)
    record = {"round": round_ + 1, "clients": 0, "train_loss": None}
    if len(sampled) < len(trained):
        record["sampled"] = sampled
    if settings.dropout_rate:
        record["failed"] = missing
    if settings.lr_schedule != "constant":
        record["lr"] = learning_rate(settings, round_)
    return sorted(set(sampled) - set(missing)), record


def take(algorithm: FedAvg, model: Network, state: State, weights: Array, answered: list[int], replies: Iterable[Reply],
         record: dict, absent: dict) -> tuple[State, list, list]:
    """What the server does with the replies of a round: the State after it, their `tested` and `ended`.

    The record is completed but for the tests.

    weights   what each client counts (K,): p_k is its part of those of the clients that answered
    answered  the clients that answered, ascending
    replies   an iterator of the Reply of each, in this order: the messages are added one after the other
    absent    client -> reason, of those that were asked in vain
    If nobody answered the model stays as it is. Raises Diverged if something of the server's is not finite.
    """
    record["clients"] = len(answered)
    if absent:
        record["absent"] = [{"client": k, "reason": absent[k]} for k in sorted(absent)]
    if not answered:
        return state._replace(round=state.round + 1), [], []
    held = weights[answered].sum()
    mean, own, record["train_loss"], tested, ended = collect(answered, replies, weights[answered] / held)
    return server_step(algorithm, model, state, mean, own, (held / weights.sum()).item()), tested, ended


def of_own_models(tested: list, asked: list[int], looked: Collection[int], answered: list[int]) -> dict:
    """The record's entries of the clients' own models: [(accuracy on all test examples, on its own)] of those that were
    to be looked at, of those that were asked, and answered."""
    whose = {"local_clients": [k for k in answered if k in set(looked)]} if len(looked) < len(asked) else {}
    return whose | {"local_accuracy": [both[0] for both in tested], "local_own_accuracy": [both[1] for both in tested]}


def collect(clients: list[int], replies: Iterable[Reply], weights: Array) -> tuple[dict, dict, float, list, list]:
    """Add up what the clients sent, one after the other: mean message, what each keeps, mean loss, tests, Ended."""
    mean, own, train_loss, tested, ended = {}, {}, 0.0, [], []
    for k, reply, weight in zip(clients, replies, weights.tolist(), strict=True):
        for name, sent in reply.message.items():
            mean[name] = mean.get(name, 0) + weight * sent
        if reply.kept:
            own[k] = {name: array.copy() for name, array in reply.kept.items()}     # not a part of all clients' arrays
        train_loss += weight * reply.loss
        tested += [reply.tested] if reply.tested else []
        ended += [reply.ended] if reply.ended else []
    return mean, own, train_loss, tested, ended


def server_step(algorithm: FedAvg, model: Network, state: State, mean: dict, own: dict, share: float) -> State:
    """The State after the server took the mean of the messages; Diverged if something in it is not finite.

    own   client -> what it keeps: name -> array
    """
    gathered = mean.pop("statistics", state.statistics)
    with np.errstate(over="ignore", invalid="ignore"):
        w, server = algorithm.server(model, state.w, mean, state.server, share)
    xp = get_xp(w)
    if not xp.stack([xp.isfinite(array).all() for array in (w, gathered, *server.values())]).all().item():
        raise Diverged(f"the server's state is not finite after round {state.round + 1}; a smaller --server-lr or "
                       f"--lr may help")
    kept = [(k, name, array) for k, arrays in own.items() for name, array in arrays.items()]
    if kept and not xp.stack([xp.isfinite(array).all() for _, _, array in kept]).all().item():
        k, name = next((k, name) for k, name, array in kept if not xp.isfinite(array).all())
        raise Diverged(f"what client {k} keeps, {name}, is not finite after round {state.round + 1}; a smaller --lr or "
                       f"weight of the method's term may help")
    return State(state.round + 1, w, server, {**state.own, **own}, gathered)


def finite(tested: dict, round_: int) -> dict:
    """The entries of `evaluate` after round round_ (from 1), if its loss is a number. Raises Diverged if it is not: finite
    parameters may be so large that logits are not."""
    if not np.isfinite(tested["test_loss"]):
        raise Diverged(f"the loss on the test images is {tested['test_loss']} after round {round_}: the parameters are too "
                       f"large; a smaller --lr may help")
    return tested


def _due(round_, every):
    return every > 0 and round_ % every == 0


def own_accuracies(settings: Any, model: Network, theta: Array, running: Array, data: Dataset,
                   own_test: Array) -> tuple[float, float | None]:
    """Accuracy of one client's model, before averaging, on all test examples and on its own (None without any)."""
    p = statistics.tested(settings, model, theta, running)
    correct = predict(model, p, data.x_test, data.y_test)[0] == to_host(data.y_test)
    return float(correct.mean()), float(correct[own_test].mean()) if len(own_test) else None
