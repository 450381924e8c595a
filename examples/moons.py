"""A data set of one's own: two interleaved half circles, each point drawn as a picture of it; users are its domains.

    python cli.py train --data examples/moons.py:load --setting natural --norm fn --lr 0.1 --rounds 50

The function returns arrays: images (N, H, W, C), whole numbers from 0 to 255 or real ones from 0 to 1, and labels. Names of
classes and domains (users, places, ...) may be left out.
"""

import numpy as np

SIDE, USERS = 16, 5
GRID = np.linspace(-1.5, 2.5, SIDE)


def load():
    x_train, y_train, of_train = moons(np.random.default_rng(0), 1000)
    x_test, y_test, of_test = moons(np.random.default_rng(1), 200)
    return {"x_train": x_train, "y_train": y_train, "domain_train": of_train,
            "x_test": x_test, "y_test": y_test, "domain_test": of_test,
            "class_names": ("upper", "lower"), "domain_names": [f"user {k}" for k in range(USERS)]}


def moons(rng, count):
    """Images (N, 16, 16, 1) in 0..1, labels (N,), and users (N,), of whom each has a part of the arc."""
    label, angle = rng.integers(0, 2, count), rng.uniform(0, np.pi, count)
    x = np.where(label, 1 - np.cos(angle), np.cos(angle)) + rng.normal(0, 0.1, count)
    y = np.where(label, 0.5 - np.sin(angle), np.sin(angle)) + rng.normal(0, 0.1, count)
    distance = (GRID - x[:, None])[:, None, :] ** 2 + (GRID - y[:, None])[:, :, None] ** 2
    return np.exp(-8 * distance)[..., None], label, (angle / np.pi * USERS).astype(int)
