"""The methods once more, as their papers write them: plain loops, one client and one step at a time.

Of the code under test they use the network with its backward pass, the gradient of the cross-entropy, the
clients' batches, and the draw of who is sampled and who fails.
"""

import math
from typing import NamedTuple

import numpy as np

from minifl.fl.batches import local_batches
from minifl.fl.participation import failed, sample
from plain_objectives import OBJECTIVES, cosine, cross_entropy


class Answer(NamedTuple):
    """What one client did in a round."""
    client: int
    weight: int          # n_k, or 1 for everyone
    counts: list         # n_kc
    theta: np.ndarray    # (P,)
    gradients: list      # (P,) of each step: of the objective, with weight decay, without control variates
    control: np.ndarray  # (P,) SCAFFOLD's new c_k


def trajectory(settings, model, data, partition, w):
    """Yield after each round: w (P,), server state, own state of each client, mean training loss or None."""
    state, own = first_state(settings, len(w)), {}
    for t in range(settings.rounds):
        lr = settings.lr
        if settings.lr_schedule == "cosine":
            lr = 0.5 * settings.lr * (1 + math.cos(math.pi * t / settings.rounds))
        sampled = sample(settings, list(range(len(partition.train))), t)
        missing = failed(settings, sampled, t)
        answers, losses = [], []
        for k in sampled:
            if k not in missing:
                answer, loss = client(settings, model, data, partition, w, state, own, lr, t, k)
                answers.append(answer)
                losses.append(loss)
        if answers:
            total = sum(weight(settings, part) for part in partition.train)
            server = SERVERS.get(settings.algorithm, fedavg)
            w, state = server(settings, model, w, state, answers, lr, own, total)
            if settings.algorithm == "scaffold":
                own = own | {answer.client: {"control": answer.control} for answer in answers}
            n = sum(answer.weight for answer in answers)
            yield w, state, own, sum(a.weight / n * loss for a, loss in zip(answers, losses))
        else:
            yield w, state, own, None


def weight(settings, examples):
    """What a client with these examples counts."""
    return {"examples": len(examples), "uniform": 1}[settings.client_weights]


def batches(settings, data, examples, t, k):
    """The batches (x, y) of client k in round t, one after the other."""
    steps, size = settings.local_steps, settings.batch_size
    if settings.last_batch == "partial":
        n = len(examples)        # the round's epochs, image after image
        x, y = local_batches(data.x_train, data.y_train, examples, settings.seed, t, k, steps=1,
                             batch_size=settings.local_epochs * n, augment=settings.augment, dtype=float)
        for epoch in range(settings.local_epochs):
            for start in range(0, n, size):
                part = slice(epoch * n + start, epoch * n + min(start + size, n))
                yield x[0, part], y[0, part]
        return
    if steps is None:
        steps = 0
        while steps * size < settings.local_epochs * len(examples):
            steps += 1
    yield from zip(*local_batches(data.x_train, data.y_train, examples, settings.seed, t, k, steps=steps,
                                  batch_size=size, augment=settings.augment, dtype=float))


def first_state(settings, size):
    if settings.algorithm in ("fedyogi", "fedadam", "fedadagrad"):
        return {"m": np.zeros(size), "v": np.zeros(size) + settings.server_v0}
    names = {"fedavgm": "m", "scaffold": "control"}
    return {names[settings.algorithm]: np.zeros(size)} if settings.algorithm in names else {}


def client(settings, model, data, partition, w, state, own, lr, t, k):
    """The Answer of client k in round t, and its mean loss."""
    examples, counts = partition.train[k], list(partition.counts[k])
    steps = list(batches(settings, data, examples, t, k))
    objective = OBJECTIVES.get(settings.algorithm, cross_entropy)
    correction = np.zeros_like(w)
    if settings.algorithm == "scaffold":
        correction = state["control"] - (own[k]["control"] if k in own else 0)

    theta, velocity, gradients, losses = w.copy(), np.zeros_like(w), [], []
    for x, y in steps:
        loss, gradient = objective(settings, model, theta, x, y, counts, w)
        if settings.clip_norm:
            whole = gradient + correction
            gradient = whole * min(1, settings.clip_norm / math.sqrt(sum(whole ** 2))) - correction
        gradient = gradient + settings.weight_decay * theta
        velocity = settings.momentum * velocity + gradient + correction
        theta = theta - lr * velocity
        gradients.append(gradient)
        losses.append(loss)

    control = weighted_mean(gradients, settings.momentum)
    if settings.algorithm == "scaffold" and settings.scaffold_option == "I":
        control = sum(cross_entropy(settings, model, w, x, y, counts, w)[1] for x, y in steps) / len(steps)
    return Answer(k, weight(settings, examples), counts, theta, gradients, control), sum(losses) / len(steps)


def step_weights(steps, momentum):
    """How often the gradient of each step is in the last theta: once in its own velocity, then ever less."""
    return [sum(momentum ** (t - s) for t in range(s, steps)) for s in range(steps)]


def weighted_mean(gradients, momentum):
    weights = step_weights(len(gradients), momentum)
    return sum(a * g for a, g in zip(weights, gradients)) / sum(weights)


# --- the server's step: (settings, model, w, state, answers, lr, own, total) -> w, state -------------------

def average(answers):
    """The mean of the clients' models, by their examples or as many alike."""
    n = sum(answer.weight for answer in answers)
    return sum(answer.weight / n * answer.theta for answer in answers)


def fedavg(settings, model, w, state, answers, lr, own, total):
    return average(answers), state


def fedavgm(settings, model, w, state, answers, lr, own, total):
    m = settings.beta1 * state["m"] + average(answers) - w
    return w + settings.server_lr * m, {"m": m}


def adaptive(settings, model, w, state, answers, lr, own, total):
    """Reddi et al., Algorithm 2, a parameter at a time."""
    update, new, m, v = average(answers) - w, w.copy(), state["m"].copy(), state["v"].copy()
    for i, d in enumerate(update):
        m[i] = settings.beta1 * m[i] + (1 - settings.beta1) * d
        if settings.algorithm == "fedadagrad":
            v[i] = v[i] + d ** 2
        elif settings.algorithm == "fedadam":
            v[i] = settings.beta2 * v[i] + (1 - settings.beta2) * d ** 2
        elif v[i] > d ** 2:
            v[i] = v[i] - (1 - settings.beta2) * d ** 2
        else:
            v[i] = v[i] + (1 - settings.beta2) * d ** 2
        new[i] = w[i] + settings.server_lr * m[i] / (math.sqrt(v[i]) + settings.server_tau)
    return new, {"m": m, "v": v}


def fednova(settings, model, w, state, answers, lr, own, total):
    """Wang et al., eq. 9: from the gradients of the steps, not from the models."""
    n, effective, direction = sum(answer.weight for answer in answers), 0.0, np.zeros_like(w)
    for answer in answers:
        effective += answer.weight / n * sum(step_weights(len(answer.gradients), settings.momentum))
        direction += answer.weight / n * weighted_mean(answer.gradients, settings.momentum)
    return w - lr * effective * direction, state


def fedexp(settings, model, w, state, answers, lr, own, total):
    n, update = sum(answer.weight for answer in answers), average(answers) - w
    squares = sum(answer.weight / n * sum((answer.theta - w) ** 2) for answer in answers)
    return w + max(1.0, squares / (2 * (sum(update ** 2) + settings.fedexp_epsilon))) * update, state


def scaffold(settings, model, w, state, answers, lr, own, total):
    control = state["control"]
    for answer in answers:
        before = own[answer.client]["control"] if answer.client in own else 0
        control = control + answer.weight / total * (answer.control - before)
    return w + settings.server_lr * (average(answers) - w), {"control": control}


def fedaws(settings, model, w, state, answers, lr, own, total):
    new = average(answers)
    matrix = model.spec.views(new[None])["classifier.weight"][0]
    columns = []
    for c in range(matrix.shape[1]):
        holders = [answer.counts[c] * answer.weight / sum(answer.counts) for answer in answers]    # n_kc, if n_k weighs
        held = sum(holders)
        column = model.spec.views(w[None])["classifier.weight"][0, :, c]
        if held:
            theirs = [model.spec.views(a.theta[None])["classifier.weight"][0, :, c] for a in answers]
            column = sum(part / held * own_column for part, own_column in zip(holders, theirs))
        columns.append(column)
    for c, column in enumerate(columns):
        slope = np.zeros_like(column)
        for other, neighbour in enumerate(columns):
            value, by_column, _ = cosine(column, neighbour)
            gap = settings.spreadout_margin - (1 - value)
            if other != c and gap > 0:
                slope += 2 * 2 * gap * by_column     # as the pair (c, c') and as (c', c)
        moved = column - settings.spreadout_lr * slope
        matrix[:, c] = moved / math.sqrt(moved @ moved)
    return new, state


SERVERS = {"fedavgm": fedavgm, "fedyogi": adaptive, "fedadam": adaptive, "fedadagrad": adaptive,
           "fednova": fednova, "fedexp": fedexp, "scaffold": scaffold, "fedaws": fedaws}
