"""Rounds and losses small enough for paper: two clients and two parameters, or a linear classifier and one example.

Unless said otherwise clients A and B hold 3 and 1 of 4 training examples and the server starts at w = (1, 2). Their steps end
at w + (2, 0) and w + (2, -4) in round 1, at w + (0, 2) and w + (4, 2) in round 2. So the mean updates are
    round 1:  D = 3/4 (2, 0) + 1/4 (2, -4) = (2, -1)
    round 2:  D = 3/4 (0, 2) + 1/4 (4, 2)  = (1, 2)
"""

from typing import NamedTuple

import numpy as np

from minifl.fl.algorithms.fedavg import Work
from minifl.models import MLP

W = np.array([1.0, 2.0])
FIRST, SECOND = [(2, 0), (2, -4)], [(0, 2), (4, 2)]
LINEAR = MLP(num_classes=3, image_shape=(2,), hidden=())     # weight (2, 3)


class Server(NamedTuple):
    w: np.ndarray
    state: dict
    own: dict    # name -> (2, P)


def begin(method, w=W):
    return Server(w, method.server_state(w), {name: np.zeros((2, len(w))) for name in method.kept})


def a_round(method, server, updates, *, examples=(3, 1), total=None, steps=(1, 1), lr=1.0, model=None,
            counts=((3,), (1,))):
    """The server after one round in which the clients' steps ended at w + updates."""
    n, counts, steps = (np.array(numbers, dtype=float) for numbers in (examples, counts, steps))
    work = Work(model=model, w=server.w, server=server.state, own=server.own, counts=counts, x=None, y=None,
                active=None, steps=steps[:, None], lr=lr)
    message, own = method.message(work, server.w + np.array(updates, dtype=float))
    mean = {name: n[0] / n.sum() * sent[0] + n[1] / n.sum() * sent[1] for name, sent in message.items()}
    before = server.w.copy()
    w, state = method.server(model, server.w, mean, server.state, n.sum() / (total or n.sum()))
    np.testing.assert_array_equal(server.w, before)    # states are never written to
    return Server(w, state, own)


def close(array, expected):
    np.testing.assert_allclose(array, expected, rtol=1e-14, atol=1e-14)


def loss_and_gradient(method, theta, x, y, counts=(1, 1, 1)):
    """Of one client of LINEAR that holds these counts and sees examples x (N, 2) with labels y."""
    theta, x, counts = (np.array([numbers], dtype=float) for numbers in (theta, x, counts))
    work = Work(model=LINEAR, w=np.zeros(6), server={}, own={}, counts=counts, x=None, y=None, active=None,
                steps=None, lr=None)
    loss, gradient, _ = method.gradient(work, theta, x, np.array([y]))
    return loss[0], gradient[0]


def one_example(method, logits, label, counts):
    """Loss, and gradient of the logits, of the single example (1, 0): its logits are the first row."""
    loss, gradient = loss_and_gradient(method, [*logits, 0, 0, 0], [(1, 0)], [label], counts)
    np.testing.assert_array_equal(gradient[3:], 0)
    return loss, gradient[:3]
