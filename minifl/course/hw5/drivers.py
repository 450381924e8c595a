"""Calls of what you write, with plain numbers in and plain numbers out, for the tests.

The model is softmax regression: theta (K, P) are the weights (D, C) of a linear classifier without bias, row after row.
A method is named by "fedavg", "fedprox", "scaffold", "fedyogi" or "squares", a server optimizer with v <- D^2.
"""

import numpy as np

from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.algorithms.fedopt import FedOpt
from minifl.fl.algorithms.fedprox import FedProx
from minifl.fl.algorithms.fedyogi import FedYogi
from minifl.fl.algorithms.scaffold import Scaffold
from minifl.models import MLP


class Squares(FedOpt):
    """The simplest server optimizer: it forgets v every time."""

    def second_moment(self, v, update):
        return update * update


METHODS = {"fedavg": FedAvg, "fedprox": FedProx, "scaffold": Scaffold, "fedyogi": FedYogi, "squares": Squares}


def gradient(method, options, classes, w, theta, server, own, x, y):
    """Loss (K,) and gradient (K, P) of a local step at theta; x (K, N, D), y (K, N)."""
    work, batch = _work(classes, w, server, own, x[:, None], y[:, None], 1, 0.1), (x, y)
    found = METHODS[method](**options).gradient(work, theta, *batch)
    return found[0], found[1]


def message(method, options, classes, w, theta, server, own, x, y, active, steps, lr):
    """What the clients send and what they keep, after their steps ended at theta; x (K, E, N, D), y (K, E, N)."""
    return METHODS[method](**options).message(_work(classes, w, server, own, x, y, steps, lr, active), theta)


def server(method, options, w, mean, state, share):
    """The server's step: next w (P,) and state."""
    return METHODS[method](**options).server(None, w, mean, state, share)


def start(method, options, w):
    """The server's state before the first round."""
    return METHODS[method](**options).server_state(w)


def second_moment(options, v, update):
    """FedYogi's v after an update."""
    return FedYogi(**options).second_moment(v, update)


def rounds(method, options, classes, w, x, y, answering, *, lr, steps, state=None, own=None):
    """Rounds in which every client takes `steps` steps with all its examples.

    x, y       of each client (n_k, D) and (n_k,)
    answering  for each round the numbers of the clients that answer
    state      what the server keeps, at the start; own: of each client what it keeps, name -> (P,)
    returns    list, for each round a dict: w, state, own
    """
    method, found, total = METHODS[method](**options), [], sum(len(labels) for labels in y)
    state = method.server_state(w) if state is None else state
    own = [{name: np.zeros_like(w) for name in method.kept} for _ in x] if own is None else [dict(kept) for kept in own]
    for clients in answering:
        held, mean = sum(len(y[k]) for k in clients), {}
        for k in clients:
            batch, theta = (x[k][None], y[k][None]), w[None]
            work = _work(classes, theta, state, {name: kept[None] for name, kept in own[k].items()},
                         *(np.stack([array] * steps, axis=1) for array in batch), steps, lr)
            for _ in range(steps):
                theta = theta - lr * method.gradient(work, theta, *batch)[1]
            sent, kept = method.message(work, theta)
            for name, array in sent.items():
                mean[name] = mean.get(name, 0) + len(y[k]) / held * array[0]
            own[k] = {name: array[0].copy() for name, array in kept.items()}
        w, state = method.server(None, w, mean, state, held / total)
        found.append({"w": w, "state": state, "own": [dict(kept) for kept in own]})
    return found


def _work(classes, w, server, own, x, y, steps, lr, active=None):
    """A Work of softmax regression."""
    model, clients = MLP(classes, x.shape[3:], ()), len(x)
    counts = np.stack([np.bincount(labels.ravel(), minlength=classes) for labels in y]).astype(float)
    steps = np.broadcast_to(np.asarray(steps, dtype=float).reshape(-1, 1), (clients, 1))
    active = np.ones(x.shape[:2], bool) if active is None else active
    return Work(model, w, server, own, counts, x, y, active, steps, lr)
