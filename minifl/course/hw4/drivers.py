"""Calls of what you write, with plain numbers in and plain numbers out, for the tests."""

import numpy as np

from minifl.course.running import expect, with_arguments
from minifl.models import MLP, Arrangement, loss_and_grad

FEDAVG = "minifl.fl.algorithms.fedavg"


def local_steps(student, w, x, y, **options):
    """Your local_sgd on F(theta) = mean_n y_n/2 ||theta - x_n||^2.

    x, y     (K, E, N, D) and (K, E, N)
    returns  dict: theta, losses, running; w as it is afterwards; began, (K, D) where the steps began
    Its third answer, what a batch norm would have seen, is mean_n x_n (K, D).
    """
    visited = []

    def gradient(theta, x, y):
        visited.append(theta.copy())
        gap = theta[:, None] - x
        return (y * (gap * gap).sum(axis=2)).mean(axis=1) / 2, (y[:, :, None] * gap).mean(axis=1), x.mean(axis=1)

    (theta, losses, running), (_, w, *_), _ = with_arguments(
        student("minifl.fl.local").local_sgd, gradient, w, x, y, **options)
    expect(visited, "the gradient was not asked for")
    return {"theta": theta, "losses": losses, "running": running, "w": w, "began": visited[0], "calls": len(visited)}


def message(student, w, theta):
    """Your FedAvg.message, for w and theta (K, P): what is sent, and what is kept."""
    none, fedavg = np.zeros((len(theta), 0)), student(FEDAVG)
    return fedavg.FedAvg().message(fedavg.Work(None, w, {}, {}, none, none, none, none, none, 0.1), theta)


def server(student, w, mean, state, share):
    """Your FedAvg.server: next w (P,) and state."""
    return student(FEDAVG).FedAvg().server(None, w, mean, state, share)


def rounds(student, w, centers, curvatures, sizes, answering, lr, steps):
    """Rounds of your FedAvg, with given local steps, on F_k(theta) = a_k/2 ||theta - x_k||^2.

    centers, curvatures, sizes   of each client x_k (P,), a_k, n_k
    answering   for each round the numbers of the clients that answer
    returns     w (P,) after each round
    """
    way, state = [], {}
    for clients in answering:
        sent = []
        for k in clients:
            theta = np.array(w)
            for _ in range(steps):
                theta = theta - lr * curvatures[k] * (theta - centers[k])
            sent.append({name: array[0] for name, array in message(student, np.array(w)[None], theta[None])[0].items()})
        mean = student("minifl.course.hw4.averaging").mean_message(sent, [sizes[k] for k in clients])
        w, state = server(student, w, mean, state, sum(sizes[k] for k in clients) / sum(sizes))
        way.append(np.array(w))
    return way


def top_up(student, table, least):
    """Your counts.top_up, and the table as it is afterwards."""
    found, (handed, _), _ = with_arguments(student("minifl.data.counts").top_up, np.array(table), least)
    return found, handed


def one_class(norm, x, labels, k, *, hidden, radius, steps, lr, seed):
    """A network of one hidden layer that learns class k alone, as a client with one class does.

    norm     "none" or "fn"
    x        (N, D) examples, labels (N,)
    hidden   its number of features
    radius   after each step no weight vector of a class is longer: a longer one is scaled down
    returns  dict of what there is at 0, 1 .. `steps` steps: losses, of class k's examples; lengths, of the longest
             feature of class k; says (steps + 1, N), which class it says
    """
    model = MLP(int(labels.max()) + 1, x.shape[1:], (hidden,), Arrangement(norm))
    theta, own, found = model.spec.init(seed)[None], labels == k, {"losses": [], "lengths": [], "says": []}
    for _ in range(steps + 1):
        p = model.spec.views(theta)
        classifier = p["classifier.weight"]
        classifier /= np.maximum(1, np.linalg.norm(classifier, axis=1, keepdims=True) / radius)
        logits, cache = model.forward(p, x[None])
        loss, slope, _ = loss_and_grad(model, theta, x[None, own], labels[None, own])
        found["losses"].append(loss[0])
        found["lengths"].append(np.linalg.norm(model.feature(cache)[0, own], axis=1).max())
        found["says"].append(logits[0].argmax(axis=1))
        theta = theta - lr * slope
    return {name: np.array(values) for name, values in found.items()}
