"""Data, partition and network of the small rounds."""

import numpy as np
import pytest

from looping import SHAPE, UNEQUAL, consecutive, partition_of

from minifl.data.dataset import make_dataset
from minifl.models import MLP, Arrangement


@pytest.fixture(scope="module")
def data():
    rng = np.random.default_rng(0)

    def images(n):
        return rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8)

    return make_dataset("noise", images(60), rng.integers(0, 4, 60), images(23), rng.integers(0, 4, 23),
                        "abcd", "random numbers")


@pytest.fixture(scope="module")
def partition(data):
    return partition_of(data, consecutive(UNEQUAL, 60), consecutive((5, 0, 6, 2, 10), 23))


@pytest.fixture(scope="module")
def model():
    return MLP(4, SHAPE, (7, 6), Arrangement("ln", learnable=True, bias="all"))


@pytest.fixture
def w(model):
    return model.spec.init(3)
