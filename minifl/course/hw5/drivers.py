"""Calls of what you write, with plain numbers in and plain numbers out, for the tests.

The model is softmax regression: theta (K, P) are the weights (D, C) of a linear classifier without bias, row after row.
A method is named by "fedavg", "fedprox", "scaffold", "fedyogi" or "squares", a server optimizer with v <- D^2.
"""

import numpy as np

from minifl.course.running import instead

FEDAVG, FEDOPT = "minifl.fl.algorithms.fedavg", "minifl.fl.algorithms.fedopt"
CLASSES = {"fedavg": "FedAvg", "fedprox": "FedProx", "scaffold": "Scaffold", "fedyogi": "FedYogi"}


def gradient(student, method, options, classes, w, theta, server, own, x, y):
    """Loss (K,) and gradient (K, P) of a local step at theta; x (K, N, D), y (K, N)."""
    work, batch = _work(student, classes, w, server, own, x[:, None], y[:, None], 1, 0.1), (x, y)
    found = _method(student, method, options).gradient(work, theta, *batch)
    return found[0], found[1]


def message(student, method, options, classes, w, theta, server, own, x, y, active, steps, lr):
    """What the clients send and what they keep, after their steps ended at theta; x (K, E, N, D), y (K, E, N)."""
    work = _work(student, classes, w, server, own, x, y, steps, lr, active)
    return _method(student, method, options).message(work, theta)


def gradient_at_the_server(student, classes, w, x, y, active):
    """What _mean_gradient_at_server says (K, P) of the batches x (K, E, N, D), y (K, E, N) of the steps that are done."""
    work = _work(student, classes, w, {}, {}, x, y, active.sum(axis=1), 0.1, active)
    return student("minifl.fl.algorithms.scaffold")._mean_gradient_at_server(work)


def server(student, method, options, w, mean, state, share):
    """The server's step: next w (P,) and state."""
    if method == "squares":
        opt = student(FEDOPT).FedOpt
        with instead(opt, second_moment=lambda self, v, update: update * update):
            return opt(**options).server(None, w, mean, state, share)
    return _method(student, method, options).server(None, w, mean, state, share)


def start(student, method, options, w):
    """The server's state before the first round."""
    if method == "squares":
        return student(FEDOPT).FedOpt(**options).server_state(w)
    return _method(student, method, options).server_state(w)


def second_moment(student, options, v, update):
    """FedYogi's v after an update."""
    return _method(student, "fedyogi", options).second_moment(v, update)


def rounds(student, method, options, classes, w, x, y, answering, *, lr, steps, state=None, own=None):
    """Rounds in which every client takes `steps` steps with all its examples.

    x, y       of each client (n_k, D) and (n_k,)
    answering  for each round the numbers of the clients that answer
    state      what the server keeps, at the start; own: of each client what it keeps, name -> (P,)
    returns    list, for each round a dict: w, state, own
    """
    method, found, total = _method(student, method, options), [], sum(len(labels) for labels in y)
    state = method.server_state(w) if state is None else state
    own = [{name: np.zeros_like(w) for name in method.kept} for _ in x] if own is None else [dict(kept) for kept in own]
    for clients in answering:
        held, mean = sum(len(y[k]) for k in clients), {}
        for k in clients:
            batch, theta = (x[k][None], y[k][None]), w[None]
            work = _work(student, classes, theta, state, {name: kept[None] for name, kept in own[k].items()},
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


def _method(student, name, options):
    """A method of yours; fedavg is given."""
    return getattr(student(f"minifl.fl.algorithms.{name}"), CLASSES[name])(**options)


def _work(student, classes, w, server, own, x, y, steps, lr, active=None):
    """A Work of softmax regression."""
    model, clients = student("minifl.models").MLP(classes, x.shape[3:], ()), len(x)
    counts = np.stack([np.bincount(labels.ravel(), minlength=classes) for labels in y]).astype(float)
    steps = np.broadcast_to(np.asarray(steps, dtype=float).reshape(-1, 1), (clients, 1))
    active = np.ones(x.shape[:2], bool) if active is None else active
    return student(FEDAVG).Work(model, w, server, own, counts, x, y, active, steps, lr)
