"""The numbers that go into the golden cases, drawn by name, and what is kept of the answers.

make_golden.py and test_golden.py draw the same, so the npz files hold PyTorch's answers only. The draws use
PCG64's raw output, which NumPy promises never to change.
"""

import math
import zlib

import numpy as np

STORED_IN_FULL = 200   # entries of one client's tensor; of a larger one SAMPLE_SIZE are stored
SAMPLE_SIZE = 50


def raw(name, count):
    """`count` whole numbers 0..2^64-1 that belong to a name."""
    return np.random.PCG64(zlib.crc32(name.encode())).random_raw(count)


def uniform(name, shape, scale=1.0):
    """float64 in [-scale, scale) that belong to a name."""
    return scale * ((raw(name, math.prod(shape)) >> 11) * 2.0**-52 - 1).reshape(shape)


def labels(name, shape, classes):
    return (raw(name, math.prod(shape)) % classes).astype(np.int64).reshape(shape)


def condensed(tensors):
    """Tensors by name (K, ...) -> the numbers that are stored and compared.

    A large tensor becomes a drawn sample of its entries, the same for each client, and its Euclidean norm.
    """
    out = {}
    for name, tensor in tensors.items():
        rows = np.reshape(tensor, (len(tensor), -1))
        if rows.shape[1] <= STORED_IN_FULL:
            out[name] = tensor
        else:
            chosen = raw(f"{name}.sample", SAMPLE_SIZE) % rows.shape[1]
            out[f"{name}.sample"] = rows[:, chosen.astype(np.int64)]
            out[f"{name}.norm"] = np.sqrt((rows * rows).sum(axis=1))
    return out


def joined(tensors):
    """Tensors by name -> (all their numbers in one array, an array of "name|shape"): far less room in an npz."""
    numbers = np.concatenate([np.ravel(tensor) for tensor in tensors.values()])
    return numbers, np.array([f"{name}|{','.join(map(str, tensor.shape))}" for name, tensor in tensors.items()])


def split(numbers, layout):
    """The inverse of joined."""
    tensors = {}
    for entry in layout:
        name, _, shape = str(entry).partition("|")
        shape = tuple(map(int, shape.split(",")))
        tensors[name], numbers = numbers[:math.prod(shape)].reshape(shape), numbers[math.prod(shape):]
    return tensors
