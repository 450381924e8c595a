"""Local work: steps of SGD on each client, from the server's parameters."""

import numpy as np

from minifl.backend import get_xp
from minifl.errors import unknown
from minifl.layers.batchnorm import MOMENTUM


def local_sgd(gradient, w, x, y, *, lr, running=None, active=None, momentum=0.0, weight_decay=0.0):
    """Run up to E local steps on K clients at once.

    gradient  (theta (K, P), x (K, N, ...), y (K, N)) -> loss (K,), gradient (K, P), statistics of the batch (K, S)
    w         (P,) the server's parameters, or (K, P) where each client begins
    x, y      (K, E, N, H, W, C) and (K, E, N): a batch of N for each client and step
    lr        learning rate
    running   (K, S) running statistics of batch norm before the first step; None where nobody asks for them
    active    (K, E) bool, True first: a client does not move in steps where it is False; None: all steps of all clients
    returns   theta (K, P) after the last step, losses (K, E) before each step, 0 where not active, running (K, S)

        theta = w, v = 0;  for each step:  v = momentum v + grad(theta) + weight_decay theta
                                           theta -= lr v
                                           running += MOMENTUM (seen - running)
    """
    xp = get_xp(w)
    theta = xp.broadcast_to(w, (x.shape[0], w.shape[-1])).copy()
    losses = xp.zeros(x.shape[:2], dtype=w.dtype)
    velocity = xp.zeros_like(theta) if momentum else 0
    for step in range(x.shape[1]):
        loss, g, seen = gradient(theta, x[:, step], y[:, step])
        if weight_decay:
            g = g + weight_decay * theta
        if momentum:
            g = velocity = momentum * velocity + g
        if active is not None:
            loss = xp.where(active[:, step], loss, xp.zeros_like(loss))
            g = xp.where(active[:, step, None], g, xp.zeros_like(g))
            seen = seen if running is None else xp.where(active[:, step, None], seen, running)
        losses[:, step] = loss
        theta -= lr * g
        if running is not None:
            running = running + MOMENTUM * (seen - running)
    return theta, losses, running


def clipped(g, most):
    """Each client's gradient g (K, P), no longer than `most`: g min(1, most/||g||), its projection onto that ball.

    A gradient that is short enough stays as it is, to the bit. The length is that over all parameters.
    """
    xp = get_xp(g)
    length = xp.sqrt((g * g).sum(axis=1, keepdims=True))
    long = length > most
    return g * xp.where(long, most / xp.where(long, length, xp.ones_like(length)), xp.ones_like(length))


def weight_of_steps(steps, momentum):
    """How many times lr*gradient `steps` steps add up to: a = sum over steps of their weight in theta.

    steps    whole number E >= 1, or an array of them, one for each client
    returns  float or array: `local_sgd` ends at theta = w - lr sum_s weight_s grad_s, without weight decay, where
             grad_s is the gradient of step s, and a = sum_s weight_s

    Derivation. The gradient of step s (1 .. E) enters the velocity of step t >= s with momentum^(t-s), so its weight is
    (1 - momentum^(E-s+1)) / (1 - momentum), and
        a = sum_s weight_s = [E - momentum (1 - momentum^E) / (1 - momentum)] / (1 - momentum)
    which is E for momentum 0 (Wang et al. 2020, section 4.1).
    """
    steps = np.asarray(steps, dtype=float)
    return (steps - momentum * (1 - momentum ** steps) / (1 - momentum)) / (1 - momentum)


def learning_rate(settings, round_):
    """The clients' learning rate in a round (from 0).

    constant  lr
    cosine    lr (1 + cos(pi round/rounds)) / 2: from lr towards 0 after the last round
    step      lr lr_decay^floor(round / lr_step_rounds)
    """
    if settings.lr_schedule == "cosine":
        return settings.lr * (1 + np.cos(np.pi * round_ / settings.rounds).item()) / 2
    if settings.lr_schedule == "step":
        return settings.lr * settings.lr_decay ** (round_ // settings.lr_step_rounds)
    if settings.lr_schedule == "constant":
        return settings.lr
    raise unknown("--lr-schedule", settings.lr_schedule, ("constant", "cosine", "step"))
