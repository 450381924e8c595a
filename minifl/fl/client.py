"""What clients do in a round: batches, local steps, message. A client needs nothing of any other."""

from functools import partial
from typing import Any

import numpy as np

from minifl.backend import Array, get_xp, on_cpu, to_host
from minifl.data.dataset import Dataset
from minifl.data.noise import deviation
from minifl.data.partition import Partition
from minifl.fl import statistics
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.batches import joint_batches, local_batches
from minifl.fl.graph import Graphs
from minifl.fl.local import clipped, learning_rate, local_sgd, weight_of_steps
from minifl.fl.participation import batch_sizes
from minifl.models.network import Network


class Diverged(ArithmeticError):
    """A client's loss or parameters are not finite: says which client, round and step."""


def local_work(settings: Any, model: Network, algorithm: FedAvg, data: Dataset, partition: Partition, state: Any,
               clients: list[int], graphs: Graphs | None = None) -> tuple:
    """The local work of K clients in round state.round, together along axis 0.

    data     Dataset whose arrays lie on the device of state.w
    clients  their K numbers
    graphs   Graphs that do the local steps (graph.py); None: step by step
    returns  theta (K, P), running statistics (K, S), message: name -> (K, ...), kept: name -> (K, ...), mean losses
             (K,) on the host
    Raises Diverged when a loss or a parameter is not finite.

    A step goes along the method's gradient, with the method's terms in it, clipped to clip_norm; weight decay and momentum
    come after that (local.py), so the step may be longer.

    Steps are done together, so that clients with other sizes of batches (--last-batch partial) are called one group after
    the other; with full batches those with fewer steps wait for the others.
    """
    groups = _alike(settings, partition, clients)
    if len(groups) > 1:
        return _in_order(clients, groups, [local_work(settings, model, algorithm, data, partition, state, group, graphs)
                                           for group in groups])
    xp, dtype = get_xp(state.w), state.w.dtype.type
    sizes = [batch_sizes(settings, len(partition.train[k])) for k in clients]
    steps = np.array([len(own) for own in sizes])
    sizes = max(sizes, key=len)
    active = np.arange(steps.max()) < steps[:, None]
    x, y = round_batches(settings, data, partition, state, clients, steps, sizes, dtype)
    lr = learning_rate(settings, state.round)
    w, running = statistics.begin(settings, model, state, clients)
    first = algorithm.client_state(w, running)
    work = Work(
        model=model, w=w, server={name: state.server[name] for name in algorithm.broadcast},
        own={name: xp.stack([state.own[k][name] if k in state.own else first[name][i] for i, k in enumerate(clients)])
             for name in algorithm.kept},
        counts=xp.asarray(np.stack([partition.counts[k] for k in clients]).astype(dtype)),
        x=x, y=y, active=xp.asarray(active), lr=lr, sizes=sizes, smoothing=settings.label_smoothing,
        steps=xp.asarray(weight_of_steps(steps, settings.momentum).astype(dtype)[:, None]))

    def descend(work, gradient, begin, running):
        sizes, memory = iter(work.sizes), None     # local_sgd asks once for each step, in their order

        def along(theta, x, y):
            nonlocal memory
            n = next(sizes)
            loss, g, seen = gradient(theta, x[:, :n], y[:, :n])
            if settings.clip_norm is not None:
                g = clipped(g, settings.clip_norm)
            g, memory = algorithm.direction(g, memory)
            return loss, g, seen

        return local_sgd(along, begin, work.x, work.y, lr=work.lr, running=running,
                         active=None if active.all() else work.active, momentum=settings.momentum,
                         weight_decay=settings.weight_decay)

    def local_steps(work, running):
        return descend(work, partial(algorithm.gradient, work), work.w, running)

    with np.errstate(over="ignore", invalid="ignore"):   # what comes of it is found below
        if graphs is None:
            theta, losses, running = local_steps(work, running)
        else:
            key = (algorithm, model, bool(active.all()), settings.momentum, settings.weight_decay, settings.clip_norm,
                   work.smoothing, sizes)
            theta, losses, running = graphs(local_steps, key, work, running)
        work = work._replace(descend=partial(descend, work))
        message, kept = statistics.send(settings, model, algorithm, work, theta, running)
        losses = _finite_losses(losses, theta, steps, clients, state.round + 1)
    # each over its own steps: zeros after them would change how NumPy pairs the numbers that it adds
    return theta, running, message, kept, np.array([own[:n].sum() for own, n in zip(losses, steps)]) / steps


def _alike(settings, partition, clients):
    """The clients, in their order, in groups whose batches have the same sizes in every step that they do."""
    if settings.last_batch == "full":
        return [clients]
    groups = {}
    for k in clients:
        groups.setdefault(batch_sizes(settings, len(partition.train[k])), []).append(k)
    return list(groups.values())


def _in_order(clients, groups, results):
    """What `local_work` returned for each of the groups, as one result in the order of the clients."""
    members = [k for group in groups for k in group]
    order = [members.index(k) for k in clients]

    def joined(parts):
        return get_xp(parts[0]).concatenate(parts)[order]

    theta, running, message, kept, losses = zip(*results)
    return (joined(theta), joined(running), *({name: joined([part[name] for part in parts]) for name in parts[0]}
                                              for parts in (message, kept)), joined(losses))


def round_batches(settings: Any, data: Dataset, partition: Partition, state: Any, clients: list[int], steps: Array,
                  sizes: tuple, dtype: type) -> tuple[Array, ...]:
    """x (K, E, N, H, W, C) and y (K, E, N), E the most steps of any client; zeros where a client has fewer."""
    xp = get_xp(state.w)
    options = {"augment": settings.augment, "dtype": dtype}

    def noise(*clients):
        if not settings.feature_noise:
            return None
        return [deviation(settings.feature_noise, k, len(partition.train)) for k in clients], settings.data_seed

    if not on_cpu(state.w) and (steps == steps[0]).all():
        return joint_batches(data.x_train, data.y_train, [partition.train[k] for k in clients], settings.seed,
                             state.round, clients, sizes=sizes, noise=noise(*clients), **options)
    batches = [local_batches(data.x_train, data.y_train, partition.train[k], settings.seed, state.round, k,
                             sizes=sizes[:n], noise=noise(k), **options) for k, n in zip(clients, steps)]

    def padded(array):
        missing = int(steps.max()) - array.shape[0]
        if not missing:
            return array
        return xp.concatenate([array, xp.zeros((missing, *array.shape[1:]), dtype=array.dtype)])

    if len(batches) == 1:     # nothing to pad, nothing to copy
        return tuple(array[None] for array in batches[0])
    return xp.stack([padded(x) for x, _ in batches]), xp.stack([padded(y) for _, y in batches])


def _finite_losses(losses, theta, steps, clients, round_):
    """losses (K, E) on the host, if they and the clients' parameters theta (K, P) in this round (from 1) are finite.

    This waits for the device: all of it in one copy, after all else was asked of it.
    """
    xp = get_xp(theta)
    finite = xp.isfinite(theta).all(axis=1, keepdims=True).astype(losses.dtype)
    found = to_host(xp.concatenate([losses, finite], axis=1))
    losses, finite = found[:, :-1], found[:, -1]
    for k, own, good, n in zip(clients, losses, finite, steps):
        bad = np.flatnonzero(~np.isfinite(own))
        if len(bad):
            raise Diverged(f"the loss of client {k} is {own[bad[0]]} at local step {bad[0] + 1} of round {round_}; a "
                           f"smaller --lr may help")
        if not good:
            raise Diverged(f"the parameters of client {k} are not finite after local step {n} of round {round_}; a "
                           f"smaller --lr may help")
    return losses
