"""Noise that differs by client: the plain loop, its size, and that it is always the same."""

import math

import numpy as np
import pytest

from minifl.data.noise import add_noise, deviation
from minifl.fl.batches import joint_batches, local_batches, stream
from minifl.rng import NOISE, address

SHAPE = (6, 5, 3)
RNG = np.random.default_rng(0)
IMAGES, LABELS = RNG.integers(0, 256, (80, *SHAPE), np.uint8), RNG.integers(0, 4, 80)
EXAMPLES = [np.arange(0, 40), np.arange(40, 47), np.arange(50, 80)]
OPTIONS = dict(steps=5, batch_size=9, augment="crop-flip")


def plain(x, examples, sigma, client, clients, seed):
    """x + sqrt(sigma i/K) z, one image after the other, i from 1."""
    std = math.sqrt(sigma * (client + 1) / clients)
    return np.stack([image + np.float32(std) * address(seed, NOISE, int(example)).standard_normal(SHAPE, np.float32)
                     for image, example in zip(x, examples)])


@pytest.mark.parametrize("count", [1, 31, 32, 33, 80])
def test_is_the_plain_loop(count):
    x, examples = RNG.random((count, *SHAPE), np.float32), RNG.permutation(80)[:count]
    noisy = x.copy()
    add_noise(noisy, examples, np.full(count, deviation(0.3, 1, 4)), 7)
    np.testing.assert_array_equal(noisy, plain(x, examples, 0.3, 1, 4, 7))


def test_the_last_client_has_variance_sigma_and_the_others_their_share():
    for client in range(4):
        noise = np.zeros((600, *SHAPE), np.float32)
        add_noise(noise, np.arange(600), np.full(600, deviation(0.2, client, 4)), 0)
        assert abs(noise.var() / (0.2 * (client + 1) / 4) - 1) < 0.02 and abs(noise.mean()) < 0.01


def test_batches_with_noise_are_those_without_and_the_noise_of_their_examples():
    noise = [deviation(0.1, k, 3) for k in range(3)], 5
    quiet, labels = joint_batches(IMAGES, LABELS, EXAMPLES, 1, 2, [0, 1, 2], **OPTIONS)
    noisy, same = joint_batches(IMAGES, LABELS, EXAMPLES, 1, 2, [0, 1, 2], noise=noise, **OPTIONS)
    np.testing.assert_array_equal(labels, same)
    for k in range(3):
        alone, _ = local_batches(IMAGES, LABELS, EXAMPLES[k], 1, 2, k, noise=([noise[0][k]], 5), **OPTIONS)
        np.testing.assert_array_equal(alone, noisy[k])
    # client 1 has 7 examples and sees each several times, always with the same noise
    added, chosen = (noisy - quiet)[1].reshape(45, -1), stream(EXAMPLES[1], 1, 1, 2 * 45, 45)
    for example in EXAMPLES[1]:
        assert (chosen == example).sum() > 1 and np.ptp(added[chosen == example], axis=0).max() < 1e-6
    assert np.ptp(added, axis=0).min() > 0.1
    assert noisy.dtype == np.float32 and noisy.max() > 1 and noisy.min() < 0     # not cut off
