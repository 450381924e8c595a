"""Addressed randomness: a draw is named by (seed, purpose, round, client), never taken from a stream.

Evaluating more often, resuming, changing the number of workers or the order of the clients therefore
changes no bit of a run: whoever asks for the batches of client 7 in round 12 gets the same ones.
"""

import numpy as np

# Purposes. The numbers are part of every run's identity: append, never renumber.
INIT = 0        # initial parameters
SHUFFLE = 1     # a client's order of its examples, one address per pass over them
AUGMENT = 2     # crops and flips of a client's batches in one round
PARTITION = 3   # which client gets which label counts
ASSIGN = 4      # which examples fill these counts
CHECK = 5       # gradient checks
SAMPLE = 6      # which clients take part in a round
DROPOUT = 7     # whether a client fails in a round
SPLIT = 8       # which images of an undivided set are for testing
PROBE = 9       # which test images of a class are looked at closely
NOISE = 10      # noise of a training image
LOOK = 11       # in which order clients are chosen whose own models are tested


def address(seed: int, purpose: int, *place: int) -> np.random.Generator:
    """numpy Generator at the address (seed, purpose, *place); all are integers >= 0, e.g. round and client."""
    return np.random.default_rng([seed, purpose, *place])
