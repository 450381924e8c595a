"""What the tests of the check are tried on: numbers, and the plainest pair."""

import numpy as np


def normal(*shape, seed=0):
    return np.random.default_rng(seed).standard_normal(shape)


def square(x):
    return x * x, x


def square_backward(dy, x):
    return 2 * x * dy
