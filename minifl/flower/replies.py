"""What a client may send, and nothing else: names, shapes, number formats, finite values, and a length if one is set.

A reply that fails is refused: the server goes on as if the client had been absent, and the record says why. This keeps
broken and clumsily poisoned messages out of the model. It is no robust aggregation: a client that sends a wrong update
of a plausible length is believed.
"""

import math
from typing import Any

import numpy as np

from minifl.fl import statistics
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.rounds import Reply, State
from minifl.models.network import Network
from minifl.runs.settings import Settings


class Refused(ValueError):
    """What was sent cannot be used: says what it is."""


def expected(settings: Settings, model: Network, method: FedAvg, state: State, num_classes: int) -> dict:
    """name -> (shape, dtype) of the message of one client: that of a client which has done no step at all."""
    w, running = state.w, state.statistics[None]
    work = Work(model=model, w=w[None], server=state.server, own=method.client_state(w[None], running),
                counts=np.ones((1, num_classes), w.dtype), descend=lambda gradient, begin, running: (begin, None, running),
                x=np.zeros((1, 0, 0), w.dtype), y=np.zeros((1, 0, 0), np.int64), active=np.zeros((1, 0), dtype=bool),
                steps=np.ones((1, 1), w.dtype), lr=1.0)
    with np.errstate(all="ignore"):     # a mean over no steps
        message, _ = statistics.send(settings, model, method, work, w[None].copy(), running)
    return {name: (sent[0].shape, sent[0].dtype) for name, sent in message.items()}


def checked(message: dict, form: dict, loss: Any, tested: Any, *, method: FedAvg, test_own: bool,
            clip_update: float | None = None) -> Reply:
    """The Reply of a client, if it is one; Refused otherwise.

    message      name -> array, of this form already (packing.unpack)
    form         name -> (shape, dtype), of `expected`
    loss         its mean loss; tested: accuracies of its own model, None or a pair of which the second may be None
    clip_update  the longest theta - w that is believed; None: any
    """
    if not isinstance(loss, float) or not math.isfinite(loss):
        raise Refused(f"its loss is {loss!r}, and must be a finite number")
    for name in form:
        bad = np.flatnonzero(~np.isfinite(message[name]))
        if bad.size:
            raise Refused(f"{bad.size} of the {message[name].size} numbers of {name} are not finite")
    if clip_update is not None:
        length = np.linalg.norm(method.moved(message).astype(np.float64)).item()
        if not length <= clip_update:
            raise Refused(f"its update has the length {length:.4g}, more than --clip-update {clip_update:g}")
    if test_own:
        if not isinstance(tested, tuple) or len(tested) != 2 or \
                not all(value is None or isinstance(value, float) and 0 <= value <= 1 for value in tested):
            raise Refused(f"the accuracies of its own model are {tested!r}, and must be two numbers from 0 to 1")
    return Reply(message, loss, {}, tested if test_own else None)
