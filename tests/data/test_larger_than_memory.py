"""A set larger than memory: converting, opening, training and testing take the memory of what they use.

Images are mapped from the file; tracemalloc counts what is allocated besides, and knows nothing of maps.
"""

import tracemalloc
from contextlib import contextmanager

import numpy as np
import pytest

from minifl.data import images
from minifl.data.files import read_dataset, write_dataset
from minifl.data.plan import Plan, assemble
from minifl.fl.batches import local_batches
from minifl.fl.evaluate import predict
from minifl.models import build

TRAIN, TEST = 8_000, 2_000
SHAPE = (32, 64, 3)
BYTES = (TRAIN + TEST) * 32 * 64 * 3    # 61 MB
LITTLE = BYTES // 10
WRITING = BYTES // 3                    # NumPy writes an array in pieces of 16 MB


@contextmanager
def peak(limit):
    """Fails if more than `limit` bytes are allocated at once in its block."""
    tracemalloc.start()
    try:
        yield
        assert tracemalloc.get_traced_memory()[1] < limit
    finally:
        tracemalloc.stop()


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    """The file, converted as image sets are, the decoder replaced by one that costs nothing."""
    folder = tmp_path_factory.mktemp("large")
    image, entries = np.zeros(SHAPE, np.uint8), [(str(i), i % 10, None) for i in range(TRAIN + TEST)]
    plan = Plan(entries[:TRAIN], entries[TRAIN:], tuple("abcdefghij"))

    def to_array(content, size, gray):
        image[:] = int(content) % 10
        return image, False

    with pytest.MonkeyPatch.context() as patch, peak(WRITING):
        patch.setattr(images, "to_array", to_array)
        decoded = images.decode(plan.names, str.encode, folder)
        write_dataset(folder / "large.npz", assemble("large", plan, decoded, "A test."))
    assert [p.name for p in folder.iterdir()] == ["large.npz"]
    assert (folder / "large.npz").stat().st_size > BYTES
    return folder / "large.npz"


def test_the_instrument_sees_a_copy_of_the_images(path):
    dataset = read_dataset(path)
    with pytest.raises(AssertionError), peak(LITTLE):
        np.array(dataset.x_train)


def test_opening_takes_little(path):
    with peak(LITTLE):
        read_dataset(path)


@pytest.mark.parametrize("augment", ["none", "crop-flip"])
def test_batches_take_what_they_hold(path, augment):
    with peak(LITTLE):
        d = read_dataset(path)
        for round_ in range(3):
            x, y = local_batches(d.x_train, d.y_train, np.arange(0, TRAIN, 7), 0, round_, 3, steps=2, batch_size=16,
                                 augment=augment)
    assert x.shape == (2, 16, *SHAPE)
    if augment == "none":
        assert np.array_equal(np.rint(x[..., 0, 0, 0] * 255), y)


def test_testing_takes_a_chunk_at_a_time(path):
    model = build("mlp", num_classes=10, image_shape=SHAPE, width=0.02)
    p = model.spec.views(np.zeros((1, model.spec.size), np.float32))
    with peak(LITTLE):
        d = read_dataset(path)
        predicted, loss = predict(model, p, d.x_test, d.y_test, chunk=20)
    assert len(predicted) == TEST and np.isclose(loss / TEST, np.log(10))
