"""Feature skew: noise in the training images that differs from client to client.

Of K clients the images of client i = 1, ..., K have Gaussian noise of mean 0 and variance sigma i/K added to every pixel
and channel, pixels being 0 to 1; what leaves that range stays (Li et al. 2022, "Federated Learning on Non-IID Data
Silos", noise-based feature imbalance). The noise of an image is drawn at the address of its index and never changes: it
is in the data, whatever their augmentation, which comes before it. Test images have none.
"""

import math

import numpy as np

from minifl.backend import Array, get_xp
from minifl.rng import NOISE, address

CHUNK = 32              # images at a time: bounds the temporaries


def deviation(sigma: float, client: int, num_clients: int) -> float:
    """Standard deviation of the noise of a client (from 0)."""
    return math.sqrt(sigma * (client + 1) / num_clients)


def add_noise(x: Array, examples: Array, deviations: Array, seed: int) -> None:
    """Add to the images x (M, H, W, C), of any float type and device, in place, the noise of their examples.

    examples (M,), deviations (M,)  on the host: indices into the training set, standard deviations
    """
    xp = get_xp(x)
    for start in range(0, len(x), CHUNK):
        part = slice(start, start + CHUNK)
        noise = np.stack([address(seed, NOISE, example).standard_normal(x.shape[1:], np.float32) * np.float32(deviation)
                          for example, deviation in zip(examples[part], deviations[part])])
        x[part] += xp.asarray(noise)
