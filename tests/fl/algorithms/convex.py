"""A convex problem of three unequal clients: F_k(theta) = mean_n a_n/2 ||theta - x_n||^2 over client k's images, a_n by label.

The fixture `convex` (conftest.py) puts it in the place of the network's loss.
"""

from types import SimpleNamespace

import numpy as np
from small_problem import settings_of

from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.params import Entry, Spec

SIZES = (1, 2, 4)
CURVATURES = np.array([1.0, 0.6, 2.0, 0.5])
LABELS = np.array([0, 1, 2, 3, 3, 1, 2])
QUADRATIC = SimpleNamespace(spec=Spec((Entry("theta", (3,)),)), statistics=Spec(()), num_classes=4,
                            forward=lambda p, x: (np.zeros((*x.shape[:2], 4)), None))


def quadratic(model, theta, x, y, smoothing=0.0):
    """In place of loss_and_grad."""
    a, gap = CURVATURES[y][:, :, None], theta[:, None] - x.reshape(*x.shape[:2], -1)
    return (a * gap * gap).sum(axis=2).mean(axis=1) / 2, (a * gap).mean(axis=1), theta[:, :0]


def made():
    """The problem, gradients (3, P) of all F_k at w and at the minimum of sum_k n_k/n F_k, that, and that of sum_k F_k/N."""
    images = np.random.default_rng(8).integers(0, 256, (7, 1, 1, 3), dtype=np.uint8)
    data = make_dataset("points", images, LABELS, images, LABELS, "abcd", "seven points")
    train = np.split(np.arange(7), np.cumsum(SIZES)[:-1])
    counts = np.array([np.bincount(LABELS[part], minlength=4) for part in train])
    points, a = images.reshape(7, 3) / 255, CURVATURES[LABELS][:, None]

    def slopes_at(w):
        return np.array([(a[part] * (w - points[part])).mean(axis=0) for part in train])

    minimum = (a * points).sum(axis=0) / a.sum()
    slopes = slopes_at(minimum)
    assert np.abs(np.array(SIZES) @ slopes).max() < 1e-14 and np.abs(slopes).max() > 0.1
    unweighted = (sum((a[part] * points[part]).mean(axis=0) for part in train)
                  / sum(a[part].mean(axis=0) for part in train))
    return SimpleNamespace(problem=(data, Partition(counts, counts, train, train)), slopes_at=slopes_at, slopes=slopes,
                           minimum=minimum, unweighted=unweighted)


def convex_settings(algorithm, **options):
    """A batch of 4 holds each client's examples equally often: gradients are exact."""
    return settings_of(algorithm, **{"augment": "none", "batch_size": 4, "local_steps": 5, "lr": 0.2} | options)
