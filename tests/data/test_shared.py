"""Images that are in training and test are found, the rest is not."""

import numpy as np

from minifl.data import shared
from minifl.data.dataset import make_dataset


def test_is_the_plain_loop():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 2, (60, 2, 3, 1), np.uint8), rng.integers(0, 2, (20, 2, 3, 1), np.uint8)
    found = shared.find(make_dataset("noise", train, np.zeros(60, np.int64), test, np.zeros(20, np.int64), "ab", "noise"))
    pairs = [(i, j) for j in range(20) for i in range(60) if (train[i] == test[j]).all()]
    assert found == (len({j for _, j in pairs}), *pairs[0]) and 0 < found.count < 20


def test_nothing_is_found_where_nothing_is():
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    twice = np.concatenate([images[:5], images[:5]])     # twice in training alone
    labels = np.zeros(10, np.int64)
    assert shared.find(make_dataset("x", twice, labels, images[5:], labels[:5], "ab", "noise")) is None
