"""All that you wrote, at work: one-class FedAvg on generated data, the plain network against feature norm.

    python -m minifl.course.hw4.experiment

It deals generated examples to one client for each class, trains round by round, and shows for some rounds
    global    accuracy of the server's model on the test set
    local     of client 0's model after its local steps: accuracy on its own class, and on all others
    length    mean length of the server's features on the test set
    rank      effective rank of these features
"""

import numpy as np

from minifl.course.hw4.averaging import mean_message
from minifl.data.partition import TRAIN, assign
from minifl.data.splits import label_counts
from minifl.fl.algorithms.fedavg import FedAvg, Work
from minifl.fl.diagnostics import class_means, spectrum
from minifl.fl.local import local_sgd
from minifl.models import MLP, Arrangement

CLASSES, FEATURES, EACH, HIDDEN = 6, 20, 40, (40, 24)
ROUNDS, SHOWN, STEPS, BATCH, LR = 60, (1, 2, 5, 10, 20, 40, 60), 10, 20, 0.1


def examples(rng, centers):
    """x (N, FEATURES) around the centers of the classes, labels (N,)."""
    labels = np.repeat(np.arange(CLASSES), EACH)
    return centers[labels] + 0.5 * rng.standard_normal((len(labels), FEATURES)), labels


def main():
    """Print the table."""
    rng = np.random.default_rng(4)
    centers = 0.35 * rng.standard_normal((CLASSES, FEATURES))
    (x, labels), (x_test, labels_test) = examples(rng, centers), examples(rng, centers)
    counts = label_counts("oneclass", np.bincount(labels), CLASSES, 0)
    mine = assign(counts, labels, 0, TRAIN)
    print(f"{'':<6}{'round':>5}{'global':>8}{'local: own':>12}{'others':>8}{'length':>8}{'rank':>6}")
    for norm in ("none", "fn"):
        train(MLP(CLASSES, (FEATURES,), HIDDEN, Arrangement(norm)), x, labels, x_test, labels_test, mine, counts)


def train(model, x, labels, x_test, labels_test, mine, counts):
    """FedAvg over the clients whose examples are mine[k], with a line of the table for each round of SHOWN."""
    method, w, rng, state = FedAvg(), model.spec.init(0), np.random.default_rng(1), {}
    none = np.zeros((1, 0))
    for round_ in range(1, ROUNDS + 1):
        sent, ends = [], []
        for k, own in enumerate(mine):
            chosen = rng.choice(own, (1, STEPS, BATCH))
            work = Work(model, w[None], {}, {}, counts[k:k + 1], x[chosen], labels[chosen], none, none, LR)
            theta, *_ = local_sgd(lambda theta, x, y: method.gradient(work, theta, x, y), w, work.x, work.y, lr=LR)
            sent.append({name: array[0] for name, array in method.message(work, theta)[0].items()})
            ends.append(theta)
        w, state = method.server(model, w, mean_message(sent, [len(own) for own in mine]), state, 1.0)
        if round_ in SHOWN:
            right, features = tested(model, w[None], x_test, labels_test)
            local = class_means(tested(model, ends[0], x_test, labels_test)[0], labels_test, CLASSES)
            own = int(np.argmax(counts[0]))
            print(f"{model.arrangement.norm:<6}{round_:>5}{right.mean():>8.1%}{local[own]:>12.1%}"
                  f"{np.delete(local, own).mean():>8.1%}{np.linalg.norm(features, axis=1).mean():>8.1f}"
                  f"{spectrum(features)[1]:>6.1f}")


def tested(model, theta, x, labels):
    """Whether each example is right (N,), and its feature (N, D); theta (1, P)."""
    logits, cache = model.forward(model.spec.views(theta), x[None])
    return logits[0].argmax(axis=1) == labels, model.feature(cache)[0]


if __name__ == "__main__":
    main()
