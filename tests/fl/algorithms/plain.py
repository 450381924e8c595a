"""Federated averaging once more, as its paper writes it: plain loops, one client and one step at a time.

The Oracle of a method, in its test file, is a Plain with what the method changes. Of the code under test they use the network
with its backward pass, the gradient of the cross-entropy, the clients' batches, and the draw of who is sampled and who fails.
"""

import math
from typing import NamedTuple

import numpy as np

from minifl.fl.batches import local_batches
from minifl.fl.participation import failed, sample
from minifl.models import loss_and_grad


class Answer(NamedTuple):
    """What one client did in a round."""
    client: int
    weight: int          # n_k, or 1 for everyone
    counts: list         # n_kc
    theta: np.ndarray    # (P,)
    gradients: list      # (P,) of each step: of the objective, with weight decay, without the method's correction
    batches: list        # (x, y) of each step
    lr: float            # of the round


class Plain:
    """FedAvg. settings are the run's; state is the server's, own a client's: name -> (P,), empty before its first round."""

    def first_state(self, settings, size):
        """The server's state before the first round."""
        return {}

    def begin(self, settings, model, w, own):
        """Where the steps of a client begin; also the place to remember what its objective needs of what it keeps."""
        return w

    def objective(self, settings, model, theta, x, y, counts, w):
        """Loss and gradient (P,) of one client: theta and the server's w (P,), a batch x, y, its examples of each class."""
        return cross_entropy(settings, model, theta, x, y)

    def correction(self, settings, theta, w, state, own):
        """What is added to the gradient of the objective in a local step."""
        return 0 * w

    def direction(self, settings, along):
        """What a step goes along; along: the gradients (P,) of the round's steps so far, with correction and clipped."""
        return along[-1]

    def kept(self, settings, model, w, answer, state, own):
        """What a client keeps after its Answer."""
        return {}

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        """Next w and state. own and new: client -> what it kept before and keeps now; total: the weight of all clients."""
        return average(answers), state


def trajectory(oracle, settings, model, data, partition, w):
    """Yield after each round: w (P,), server state, own state of each client, mean training loss or None."""
    state, own = oracle.first_state(settings, len(w)), {}
    for t in range(settings.rounds):
        lr = settings.lr
        if settings.lr_schedule == "cosine":
            lr = 0.5 * settings.lr * (1 + math.cos(math.pi * t / settings.rounds))
        sampled = sample(settings, list(range(len(partition.train))), t)
        missing = failed(settings, sampled, t)
        answers, losses, new = [], [], {}
        for k in sampled:
            if k not in missing:
                answer, loss = client(oracle, settings, model, data, partition, w, state, own.get(k, {}), lr, t, k)
                answers.append(answer)
                losses.append(loss)
                kept = oracle.kept(settings, model, w, answer, state, own.get(k, {}))
                if kept:
                    new[k] = kept
        if answers:
            total = sum(weight(settings, part) for part in partition.train)
            w, state = oracle.server(settings, model, w, state, answers, lr, own, new, total)
            own = own | new
            n = sum(answer.weight for answer in answers)
            yield w, state, own, sum(a.weight / n * loss for a, loss in zip(answers, losses, strict=True))
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
                                  batch_size=size, augment=settings.augment, dtype=float), strict=True)


def client(oracle, settings, model, data, partition, w, state, own, lr, t, k):
    """The Answer of client k in round t, and its mean loss."""
    examples, counts = partition.train[k], list(partition.counts[k])
    steps = list(batches(settings, data, examples, t, k))
    theta, velocity, gradients, along, losses = oracle.begin(settings, model, w, own).copy(), np.zeros_like(w), [], [], []
    for x, y in steps:
        loss, gradient = oracle.objective(settings, model, theta, x, y, counts, w)
        correction = oracle.correction(settings, theta, w, state, own)
        along.append(clipped(settings, gradient + correction))
        gradient = oracle.direction(settings, along) - correction + settings.weight_decay * theta
        velocity = settings.momentum * velocity + gradient + correction
        theta = theta - lr * velocity
        gradients.append(gradient)
        losses.append(loss)
    return Answer(k, weight(settings, examples), counts, theta, gradients, steps, lr), sum(losses) / len(steps)


def clipped(settings, g):
    return g * min(1, settings.clip_norm / math.sqrt(sum(g ** 2))) if settings.clip_norm else g


def average(answers):
    """The mean of the clients' models, by their examples or as many alike."""
    n = sum(answer.weight for answer in answers)
    return sum(answer.weight / n * answer.theta for answer in answers)


def step_weights(steps, momentum):
    """How often the gradient of each step is in the last theta: once in its own velocity, then ever less."""
    return [sum(momentum ** (t - s) for t in range(s, steps)) for s in range(steps)]


def weighted_mean(gradients, momentum):
    weights = step_weights(len(gradients), momentum)
    return sum(a * g for a, g in zip(weights, gradients, strict=True)) / sum(weights)


# --- objectives ---------------------------------------------------------------------------------------------

def cross_entropy(settings, model, theta, x, y):
    loss, gradient, _ = loss_and_grad(model, theta[None], x[None], y[None], settings.label_smoothing)
    return loss[0], gradient[0]


def through_network(model, theta, x, of_outputs):
    """Gradient of a loss whose value and derivatives by logits, features, embeddings `of_outputs` returns."""
    p = model.spec.views(theta[None])
    logits, cache = model.forward(p, x[None])
    features, embeddings = model.feature(cache)[0], p["classifier.weight"][0]
    loss, dlogits, dfeature, dembeddings = of_outputs(logits[0], features, embeddings)
    blocks = model.backward(dlogits[None], cache, dfeature=dfeature[None])
    blocks["classifier.weight"] = blocks["classifier.weight"] + dembeddings[None]
    return loss, np.concatenate([blocks[entry.name].ravel() for entry in model.spec.entries])


def softmax_loss(logits, y, smoothing=0.0):
    """Mean cross-entropy and its derivative; logits of -inf are no part of the softmax."""
    loss, d = 0.0, np.zeros(logits.shape)
    for n, z in enumerate(logits):
        total = sum(math.exp(value) for value in z)
        loss += math.log(total) / len(logits)
        for c, value in enumerate(z):
            q = (1 - smoothing) * (c == y[n]) + smoothing / len(z)      # of the label
            loss -= q * value / len(logits) if q else 0
            d[n, c] = (math.exp(value) / total - q) / len(logits)
    return loss, d


def cosine(a, b):
    """cos(a, b) and its derivatives by a and b; 0 for a vector of zeros."""
    length_a, length_b = math.sqrt(a @ a), math.sqrt(b @ b)
    if length_a * length_b == 0:
        return 0.0, 0 * a, 0 * b
    value = a @ b / (length_a * length_b)
    return (value, b / (length_a * length_b) - value * a / length_a ** 2,
            a / (length_a * length_b) - value * b / length_b ** 2)
