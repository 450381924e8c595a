"""The federated loop, in the open.

    for each round:
        the server samples clients; some of them may fail
        every other one takes the server's w, does its local steps on its own batches and sends a message
        the server adds up the messages, one client after the other, and makes its step from their mean
        every eval_every rounds the global model is tested, every local_eval_every rounds the clients' own models

On the CPU each client is one piece of work for a thread; on a GPU all clients go through the layers together,
along axis 0. `clients_per_call` says how many go together and so bounds the memory. It changes no bit, and neither
does the number of workers: no client sees another one, and the messages are added in the order of the clients.
"""

from time import perf_counter
from typing import NamedTuple

import numpy as np

from minifl.backend import get_xp, to_host
from minifl.fl import statistics
from minifl.fl.client import Diverged, local_work
from minifl.fl.diagnostics import MOST_CLIENTS, Ended, diagnose
from minifl.fl.evaluate import evaluate, predict
from minifl.fl.graph import Graphs
from minifl.fl.local import learning_rate
from minifl.fl.parallel import in_order
from minifl.fl.participation import failed, sample


class State(NamedTuple):
    """All that a run carries from one round to the next. Its arrays are never written to."""
    round: int     # rounds done
    w: object      # (P,) the server's parameters
    server: dict   # name -> (P,): what else the method keeps at the server, e.g. moments
    own: dict      # client -> name -> (...,): what the clients keep; clients that never took part are not in it
    statistics: object = np.zeros(0)   # (S,) the server's running statistics of batch norm


def start(algorithm, w, statistics=None):
    """The state before the first round; statistics (S,), None without batch norm."""
    return State(0, w, algorithm.server_state(w), {}, w[:0] if statistics is None else statistics)


def federated_rounds(settings, model, algorithm, state, data, partition, *, workers=1, clients_per_call=None,
                     cuda_graphs=True, check=lambda: None):
    """Train from `state` to the last of settings.rounds and yield after every round (state, record).

    state      array module and dtype of its w are those of the whole run
    data       Dataset whose arrays lie on w's device
    partition  Partition: counts, and for each client its train and test indices, on the host
    record     round (from 1); clients: how many answered; sampled: their numbers, unless it is always all;
               failed: the numbers of those that did not answer, if dropouts are simulated; train_loss: mean over
               the clients that answered weighted by samples, None if none did; lr, unless it is constant;
               in rounds divisible by eval_every and in the last one the entries of `evaluate`, in those divisible by
               local_eval_every and in the last one (0: in none) local_accuracy and local_own_accuracy, a number for
               each client that answered; with settings.diagnose, where the global model is tested, diagnostics
               (diagnostics.py); seconds, with the tests of the clients' models, without that of the global one and
               without diagnostics
    cuda_graphs  whether the local steps of a call run as a CUDA graph (graph.py); on the CPU there are none
    check      called between two pieces of work; what it raises ends the rounds

    Raises Diverged when a loss, a client's result or the server's is not finite, before that round counts.
    """
    trained = [k for k, part in enumerate(partition.train) if len(part)]
    sizes = np.array([len(part) for part in partition.train], dtype=float)
    total = sizes.sum()
    on_cpu = get_xp(state.w) is np
    graphs = Graphs() if cuda_graphs and not on_cpu else None
    with in_order(workers if on_cpu else 0, check) as pool_map:
        while state.round < settings.rounds:
            begin = perf_counter()
            last = state.round + 1 == settings.rounds
            test_locals = settings.local_eval_every > 0 and (last or _due(state.round + 1, settings.local_eval_every))
            test = last or _due(state.round + 1, settings.eval_every)
            answered, record = _line_up(settings, trained, state.round)
            diagnosed = answered[:MOST_CLIENTS] if settings.diagnose and test else []

            def work(clients, state=state, test_locals=test_locals, diagnosed=diagnosed):
                theta, running, *results = local_work(settings, model, algorithm, data, partition, state, clients,
                                                      graphs)
                tests = [_local_accuracies(settings, model, theta[i:i + 1], running[i:i + 1], data, partition.test[k])
                         for i, k in enumerate(clients) if test_locals]
                return *results, tests, [Ended(k, theta[i:i + 1].copy(), running[i:i + 1].copy())
                                         for i, k in enumerate(clients) if k in diagnosed]

            per_call = clients_per_call or (1 if on_cpu else max(1, len(answered)))
            groups = [answered[i:i + per_call] for i in range(0, len(answered), per_call)]
            before, tests, ended = state, [], []
            if answered:
                held = sizes[answered].sum()
                weights = dict(zip(answered, (sizes[answered] / held).tolist()))
                mean, own, train_loss, tests, ended = _collect(groups, pool_map(work, groups), weights)
                state = _server_step(algorithm, model, state, mean, own, (held / total).item())
                record["train_loss"] = train_loss
            else:
                state = state._replace(round=state.round + 1)
            record["seconds"] = perf_counter() - begin

            if test:
                models = statistics.global_models(settings, model, state, len(partition.test))
                record |= evaluate(model, models, data.x_test, data.y_test, partition.test, pool_map=pool_map)
                if settings.diagnose:
                    record["diagnostics"] = diagnose(settings, model, before, state, data, ended, pool_map=pool_map)
            if test_locals:
                record["local_accuracy"] = [tested[0] for tested in tests]
                record["local_own_accuracy"] = [tested[1] for tested in tests]
            yield state, record


def _line_up(settings, trained, round_):
    """The clients that answer in a round (from 0), and what the record says of it."""
    sampled = sample(settings, trained, round_)
    missing = failed(settings, sampled, round_)
    answered = sorted(set(sampled) - set(missing))
    record = {"round": round_ + 1, "clients": len(answered), "train_loss": None}
    if len(sampled) < len(trained):
        record["sampled"] = sampled
    if settings.dropout_rate:
        record["failed"] = missing
    if settings.lr_schedule != "constant":
        record["lr"] = learning_rate(settings, round_)
    return answered, record


def _collect(groups, results, weights):
    """Add up what the clients sent, one after the other: mean message, what each keeps, mean loss, tests, Ended."""
    mean, own, train_loss, tests, ended = {}, {}, 0.0, [], []
    for clients, (message, kept, losses, tested, last) in zip(groups, results):
        for i, k in enumerate(clients):
            for name, sent in message.items():
                mean[name] = mean.get(name, 0) + weights[k] * sent[i]
            if kept:
                own[k] = {name: array[i].copy() for name, array in kept.items()}
            train_loss += weights[k] * losses[i].item()
        tests += tested
        ended += last
    return mean, own, train_loss, tests, ended


def _server_step(algorithm, model, state, mean, own, share):
    """The State after the server took the mean of the messages; Diverged if something in it is not finite."""
    gathered = mean.pop("statistics", state.statistics)
    with np.errstate(over="ignore", invalid="ignore"):
        w, server = algorithm.server(model, state.w, mean, state.server, share)
    xp = get_xp(w)
    if not xp.stack([xp.isfinite(array).all() for array in (w, gathered, *server.values())]).all().item():
        raise Diverged(f"the server's state is not finite after round {state.round + 1}; a smaller --server-lr or "
                       f"--lr may help")
    return State(state.round + 1, w, server, {**state.own, **own}, gathered)


def _due(round_, every):
    return every > 0 and round_ % every == 0


def _local_accuracies(settings, model, theta, running, data, own_test):
    """Accuracy of one client's model, before averaging, on all test examples and on its own (None without any)."""
    p = statistics.tested(settings, model, theta, running)
    correct = predict(model, p, data.x_test, data.y_test)[0] == to_host(data.y_test)
    return float(correct.mean()), float(correct[own_test].mean()) if len(own_test) else None
