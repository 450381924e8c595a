"""What the tests of the networks look at, shared by them."""

import numpy as np


def shapes(model):
    return {entry.name: entry.shape for entry in model.spec.entries}


def logits(model, theta, x):
    return model.forward(model.spec.views(theta), x)[0]


def difference(a, b):
    """Relative to the largest number."""
    return np.abs(a - b).max() / np.abs(b).max()
