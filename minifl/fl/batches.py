"""A client's batches: always full, from its own endlessly reshuffled stream.

The stream is pass 0, pass 1, ... over the client's examples, each pass in an order of its own; position t of
the stream is defined without having read positions 0..t-1. A client with fewer examples than a batch simply
runs through several passes in it, so it neither hangs nor vanishes.
"""

import numpy as np

from minifl.backend import get_xp, on_cpu
from minifl.data.augment import augment as augmented
from minifl.data.augment import to_float
from minifl.rng import SHUFFLE, address


def stream(examples, seed, client, start, count):
    """Positions start..start+count-1 of the client's stream: `count` entries of its example indices."""
    n = len(examples)
    passes = range(start // n, (start + count - 1) // n + 1)
    order = np.concatenate([address(seed, SHUFFLE, client, i).permutation(n) for i in passes])
    first = start - passes[0] * n
    return examples[order[first:first + count]]


def local_batches(images, labels, examples, seed, round_, client, *, steps, batch_size, augment, dtype=np.float32):
    """The batches of one client in one round.

    images    (M, H, W, C) uint8 of the whole training set, on the device or, where they are too many for it, on the
              host: then the chosen ones are moved
    labels    (M,) of the same, on the device; they say which that is
    examples  (n,) the client's indices into it, on the host
    augment   a name in AUGMENTATIONS
    returns   x (steps, batch_size, H, W, C) in [0, 1] and y (steps, batch_size), on the device
    """
    xp = get_xp(labels)
    count = steps * batch_size
    chosen = stream(examples, seed, client, round_ * count, count)
    x = xp.asarray(images[chosen]) if on_cpu(images) else images[xp.asarray(chosen)]
    x = to_float(augmented(augment, x, seed, round_, client), dtype)
    return x.reshape(steps, batch_size, *images.shape[1:]), labels[xp.asarray(chosen)].reshape(steps, batch_size)
