"""A client's batches, from its own endlessly reshuffled stream.

The stream is pass 0, pass 1, ... over the client's examples, each pass in an order of its own; position t of
the stream is defined without having read positions 0..t-1. With full batches a client with fewer examples than one
simply runs through several passes in it, so it neither hangs nor vanishes. With `--last-batch partial` a round's batches
are its epochs, and each of these is one pass: the last batch of a pass has what is left of it.
"""

from typing import Any

import numpy as np

from minifl.backend import Array, get_xp, on_cpu
from minifl.data.augment import augment as augmented
from minifl.data.augment import to_float
from minifl.data.noise import add_noise
from minifl.rng import SHUFFLE, address


def stream(examples: Array, seed: int, client: int, start: int, count: int) -> Array:
    """Positions start..start+count-1 of the client's stream: `count` entries of its example indices."""
    n = len(examples)
    passes = range(start // n, (start + count - 1) // n + 1)
    order = np.concatenate([address(seed, SHUFFLE, client, i).permutation(n) for i in passes])
    first = start - passes[0] * n
    return examples[order[first:first + count]]


def local_batches(images: Array, labels: Array, examples: Array, seed: int, round_: int, client: int,
                  **options: Any) -> tuple[Array, Array]:
    """The batches of one client in a round: x (E, B, H, W, C), y (E, B); see joint_batches."""
    x, y = joint_batches(images, labels, [examples], seed, round_, [client], **options)
    return x[0], y[0]


def joint_batches(images: Array, labels: Array, examples: list, seed: int, round_: int, clients: list[int], *, augment: str,
                  steps: int | None = None, batch_size: int | None = None, sizes: tuple | None = None,
                  dtype: type = np.float32, noise: tuple | None = None) -> tuple[Array, Array]:
    """The batches of K clients with as many steps each in one round, all at once: for a GPU few calls are fast.

    images    (M, H, W, C) uint8 of the whole training set, on the device or, where they are too many for it, on the
              host: then the chosen ones are moved
    labels    (M,) of the same, on the device; they say which that is
    examples  for each client (n,), its indices into it, on the host
    clients   their K numbers
    steps     E, each with a batch of batch_size
    sizes     instead of both: of the batches of the E steps
    augment   a name in AUGMENTATIONS
    noise     (standard deviation for each client, data seed) of what is added to the images (data/noise.py); None: none
    returns   x (K, E, B, H, W, C) in [0, 1], without noise, and y (K, E, B), on the device; B is the largest size, and
              smaller batches have zeros behind their examples
    """
    xp, sizes = get_xp(labels), sizes or (batch_size,) * steps
    count, shape = sum(sizes), (len(clients), len(sizes), max(sizes))
    chosen = np.concatenate([stream(own, seed, k, round_ * count, count) for k, own in zip(clients, examples)])
    there = xp.asarray(chosen)
    x = xp.asarray(images[chosen]) if on_cpu(images) else images[there]
    x, y = to_float(augmented(augment, x, seed, round_, *clients), dtype), labels[there]
    if noise is not None:
        add_noise(x, chosen, np.repeat(noise[0], count), noise[1])
    if min(sizes) < max(sizes):
        x, y = _behind(x, sizes, len(clients)), _behind(y, sizes, len(clients))
    return x.reshape(*shape, *images.shape[1:]), y.reshape(shape)


def _behind(array, sizes, clients):
    """(K * sum(sizes), ...) -> (K, E * B, ...): every batch at its place, zeros behind the smaller ones."""
    xp, longest = get_xp(array), max(sizes)
    places = np.concatenate([step * longest + np.arange(size) for step, size in enumerate(sizes)])
    out = xp.zeros((clients, len(sizes) * longest, *array.shape[1:]), dtype=array.dtype)
    out[:, xp.asarray(places)] = array.reshape(clients, -1, *array.shape[1:])
    return out
