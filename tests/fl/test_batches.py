"""Batches: always full, from streams whose every position is defined by its address."""

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

from minifl.data.augment import AUGMENTATIONS, crop_and_flip, draw, draw_boxes, resized_crop, to_float
from minifl.fl.batches import joint_batches, local_batches, stream
from minifl.fl.participation import batch_sizes
from minifl.runs.settings import settings_for

sizes = st.integers(1, 40)
seeds = st.integers(0, 2**40)
clients = st.integers(0, 1000)


@settings(deadline=None)
@given(sizes, seeds, clients)
def test_each_pass_visits_each_example_once(n, seed, client):
    examples = np.arange(100, 100 + n)
    passes = stream(examples, seed, client, 0, 5 * n).reshape(5, n)
    np.testing.assert_array_equal(np.sort(passes, axis=1), np.tile(examples, (5, 1)))


@settings(deadline=None)
@given(sizes, seeds, clients, st.integers(0, 200), st.integers(1, 60))
def test_a_position_needs_no_history(n, seed, client, start, count):
    examples = np.arange(n) * 3
    whole = stream(examples, seed, client, 0, start + count)
    np.testing.assert_array_equal(stream(examples, seed, client, start, count), whole[start:])


def test_passes_have_orders_of_their_own():
    first, second = stream(np.arange(50), 0, 0, 0, 100).reshape(2, 50)
    assert (first != second).any() and (first != np.arange(50)).any()


def test_streams_differ_by_seed_and_client_and_repeat_at_the_same_address():
    def draw(seed, client):
        return stream(np.arange(50), seed, client, 0, 50)

    assert len({draw(seed, client).tobytes() for seed in range(5) for client in range(5)}) == 25
    np.testing.assert_array_equal(draw(3, 4), draw(3, 4))


def test_first_positions_are_uniform():
    # 2000 clients of 5 examples: each stands first in 400 +- 18 of them
    first = [stream(np.arange(5), 0, client, 0, 1)[0] for client in range(2000)]
    assert np.abs(np.bincount(first) - 400).max() < 5 * 18


@pytest.fixture(scope="module")
def images():
    rng = np.random.default_rng(0)
    return rng.integers(0, 256, (30, 6, 5, 3), dtype=np.uint8), rng.integers(0, 4, 30)


@pytest.mark.parametrize("examples", [np.array([7]), np.arange(3), np.arange(4, 11), np.arange(30)])
@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_batches_are_full_in_range_and_of_the_clients_own(images, examples, augment):
    x, y = local_batches(*images, examples, 0, 2, 5, steps=3, batch_size=8, augment=augment)
    assert x.shape == (3, 8, 6, 5, 3) and x.dtype == np.float32
    assert y.shape == (3, 8)
    assert x.min() >= 0 and x.max() <= 1
    assert set(y.ravel()) <= set(images[1][examples])


def test_without_augmentation_a_batch_holds_the_images_themselves(images):
    examples = np.array([2, 9, 11, 20, 29])
    x, y = local_batches(*images, examples, 4, 3, 1, steps=2, batch_size=4, augment="none", dtype=np.float64)
    chosen = stream(examples, 4, 1, 3 * 8, 8)     # round 3 comes after three rounds of 2 x 4 examples
    assert x.dtype == np.float64
    np.testing.assert_array_equal(x, (images[0][chosen] / 255).reshape(2, 4, 6, 5, 3))
    np.testing.assert_array_equal(y, images[1][chosen].reshape(2, 4))


def test_with_augmentation_they_are_cropped_and_flipped_by_the_draw_of_the_round(images):
    examples = np.array([2, 9, 11, 20, 29])
    x, y = local_batches(*images, examples, 4, 3, 1, steps=2, batch_size=4, augment="crop-flip")
    chosen = stream(examples, 4, 1, 3 * 8, 8)
    expected = to_float(crop_and_flip(images[0][chosen], *draw(4, 3, 1, 8)))
    np.testing.assert_array_equal(x, expected.reshape(2, 4, 6, 5, 3))
    np.testing.assert_array_equal(y, images[1][chosen].reshape(2, 4))
    x, y = local_batches(*images, examples, 4, 3, 1, steps=2, batch_size=4, augment="resized-crop")
    expected = to_float(resized_crop(images[0][chosen], *draw_boxes(4, 3, 1, 8, (6, 5))))
    np.testing.assert_array_equal(x, expected.reshape(2, 4, 6, 5, 3))


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_images_in_a_file_give_the_same_batches(images, augment, tmp_path):
    np.save(tmp_path / "images.npy", images[0])
    mapped = np.load(tmp_path / "images.npy", mmap_mode="r").view(np.ndarray)
    results = [local_batches(source, images[1], np.arange(9), 0, 1, 2, steps=2, batch_size=4, augment=augment)
               for source in (images[0], mapped)]
    for a, b in zip(*results):
        np.testing.assert_array_equal(a, b)


def test_rounds_go_on_where_the_last_one_stopped(images):
    examples = np.arange(12)
    labels = np.arange(30)    # each example is its own label
    rounds = [local_batches(images[0], labels, examples, 0, t, 0, steps=3, batch_size=2, augment="none")[1]
              for t in range(4)]
    passes = np.sort(np.concatenate(rounds).reshape(2, 12), axis=1)
    np.testing.assert_array_equal(passes, [examples, examples])


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_batches_differ_by_round_client_and_seed_and_repeat_at_the_same_address(images, augment):
    def draw(seed, round_, client):
        return local_batches(*images, np.arange(30), seed, round_, client, steps=1, batch_size=8,
                             augment=augment)[0]

    places = [(seed, round_, client) for seed in range(2) for round_ in range(3) for client in range(3)]
    assert len({draw(*place).tobytes() for place in places}) == len(places)
    np.testing.assert_array_equal(draw(1, 2, 0), draw(1, 2, 0))


# ---- a smaller last batch in every epoch

def test_every_epoch_is_one_pass_whose_last_batch_has_what_is_left(images):
    examples, labels = np.array([2, 9, 11, 20, 29, 4, 7]), np.arange(30)
    seen = []
    for t in range(3):
        x, y = local_batches(images[0], labels, examples, 4, t, 1, sizes=(3, 3, 1, 3, 3, 1), augment="none")
        assert x.shape == (6, 3, 6, 5, 3) and y.shape == (6, 3)
        seen += [y[e, :n] for e, n in enumerate((3, 3, 1, 3, 3, 1))]
        assert not x[2::3, 1:].any() and not y[2::3, 1:].any()
        np.testing.assert_allclose(x[2, 0], images[0][y[2, 0]] / 255, rtol=1e-6)
    for epoch in np.concatenate(seen).reshape(6, 7):
        assert sorted(epoch) == sorted(examples)
    np.testing.assert_array_equal(np.concatenate(seen), stream(examples, 4, 1, 0, 42))


@pytest.mark.parametrize("augment", AUGMENTATIONS)
def test_several_clients_with_smaller_batches_at_once(images, augment):
    examples, sizes = [np.arange(7), np.arange(10, 17)], (4, 3)
    x, y = joint_batches(*images, examples, 0, 2, [5, 3], sizes=sizes, augment=augment)
    for i, k in enumerate([5, 3]):
        alone = local_batches(*images, examples[i], 0, 2, k, sizes=sizes, augment=augment)
        np.testing.assert_array_equal(x[i], alone[0])
        np.testing.assert_array_equal(y[i], alone[1])


def of(examples, **options):
    return batch_sizes(settings_for("cifar10", {"batch_size": 32} | options), examples)


def test_sizes_of_batches():
    """33 examples in batches of 32: two full ones are 1.94 passes over them."""
    assert of(33, local_epochs=1) == (32, 32)
    assert of(33, local_epochs=1, last_batch="partial") == (32, 1)
    assert of(33, local_epochs=3) == (32,) * 4 and of(33, local_epochs=3, last_batch="partial") == (32, 1) * 3
    assert of(5, local_epochs=2, last_batch="partial") == (5, 5) and of(5, local_epochs=2) == (32,)
    assert of(64, local_epochs=2) == of(64, local_epochs=2, last_batch="partial") == (32,) * 4
    assert of(5, local_steps=2) == (32, 32)
    for n in range(1, 100):
        assert sum(of(n, local_epochs=3, last_batch="partial")) == 3 * n
