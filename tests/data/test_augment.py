"""Augmentation: equal to plain loops over pixels, drawn evenly, uint8 to uint8."""

import math

import numpy as np
import pytest
from hypothesis import given, settings, strategies as st
from scipy.ndimage import map_coordinates

from minifl.data.augment import (AREA, AUGMENTATIONS, BITS, CHUNK, PADDING, RATIO, augment, bilinear, crop_and_flip,
                                 draw, draw_boxes, resized_crop, to_float)
from minifl.rng import AUGMENT, address


def crop_and_flip_loops(images, offsets, flips, padding):
    """One pixel at a time: pixel (i, j) of a crop at (a, b) is (i+a-padding, j+b-padding), else black."""
    m, h, w, c = images.shape
    out = np.zeros_like(images)
    for n in range(m):
        a, b = offsets[n]
        for i in range(h):
            for j in range(w):
                row, col = i + a - padding, j + b - padding
                if 0 <= row < h and 0 <= col < w:
                    out[n, i, w - 1 - j if flips[n] else j] = images[n, row, col]
    return out


@settings(deadline=None, max_examples=50)
@given(st.integers(1, 5), st.integers(1, 7), st.integers(1, 7), st.integers(1, 3), st.integers(0, 5),
       st.integers(0, 2**32))
def test_equals_plain_loops(m, h, w, c, padding, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(1, 256, (m, h, w, c), dtype=np.uint8)
    offsets, flips = rng.integers(0, 2 * padding + 1, (m, 2)), rng.random(m) < 0.5
    out = crop_and_flip(images, offsets, flips, padding)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, crop_and_flip_loops(images, offsets, flips, padding))


@pytest.fixture
def images():
    return np.random.default_rng(1).integers(1, 256, (9, 32, 32, 3), dtype=np.uint8)    # none is black


def test_the_middle_crop_without_flip_changes_nothing(images):
    offsets = np.full((9, 2), PADDING)
    np.testing.assert_array_equal(crop_and_flip(images, offsets, np.zeros(9, bool)), images)


def test_flip_mirrors_columns(images):
    offsets = np.full((9, 2), PADDING)
    np.testing.assert_array_equal(crop_and_flip(images, offsets, np.ones(9, bool)), images[:, :, ::-1])


def test_padding_is_black(images):
    out = crop_and_flip(images, np.array([[0, 8]] * 9), np.zeros(9, bool))
    assert not out[:, :4].any() and not out[:, :, 28:].any()    # moved down by 4 and left by 4
    np.testing.assert_array_equal(out[:, 4:, :28], images[:, :28, 4:])


def test_the_images_themselves_stay(images):
    before = images.copy()
    crop_and_flip(images, np.zeros((9, 2), int), np.ones(9, bool))
    np.testing.assert_array_equal(images, before)


def test_offsets_and_flips_are_uniform_and_independent():
    count = 81_000
    offsets, flips = draw(0, 3, 5, count)
    assert offsets.shape == (count, 2) and flips.dtype == bool and offsets.min() == 0 and offsets.max() == 8
    # 9 x 9 crops, flipped or not: 162 cells of 500 +- 22
    cells = np.bincount(offsets[:, 0] * 18 + offsets[:, 1] * 2 + flips, minlength=162)
    assert len(cells) == 162 and np.abs(cells - 500).max() < 5 * 22


def test_draws_differ_by_seed_round_and_client_and_repeat_at_the_same_address():
    places = [(seed, round_, client) for seed in range(3) for round_ in range(3) for client in range(3)]
    assert len({draw(*place, 20)[0].tobytes() for place in places}) == 27
    for a, b in zip(draw(1, 2, 0, 20), draw(1, 2, 0, 20)):
        np.testing.assert_array_equal(a, b)


# ---- resized crop

def bilinear_loops(images, rows, cols):
    """One pixel at a time, in whole numbers of Python."""
    m, h, w, c = images.shape
    out = np.zeros((m, rows.shape[1], cols.shape[1], c), int)
    for n, i, j, channel in np.ndindex(out.shape):
        total = 0
        y, x = min(max(rows[n, i], 0), h - 1), min(max(cols[n, j], 0), w - 1)
        for row in range(h):
            for col in range(w):
                a, b = (max(0, round((1 - abs(distance)) * 2**BITS)) for distance in (y - row, x - col))
                total += a * b * int(images[n, row, col, channel])
        out[n, i, j, channel] = (total + 2**(2 * BITS - 1)) >> 2 * BITS
    return out


@settings(deadline=None, max_examples=30)
@given(st.integers(1, 3), st.integers(1, 5), st.integers(1, 5), st.integers(1, 3), st.integers(0, 2**32))
def test_bilinear_equals_plain_loops(m, h, w, c, seed):
    rng = np.random.default_rng(seed)
    images = rng.integers(0, 256, (m, h, w, c), dtype=np.uint8)
    rows, cols = rng.uniform(-1, h, (m, 4)), rng.uniform(-1, w, (m, 3))
    out = bilinear(images, rows, cols)
    assert out.dtype == np.uint8
    np.testing.assert_array_equal(out, bilinear_loops(images, rows, cols))


def test_resized_crop_equals_interpolation_by_scipy(images):
    boxes, flips = draw_boxes(0, 1, 2, 9, (32, 32))
    out = resized_crop(images, boxes, flips)
    assert out.dtype == np.uint8 and out.shape == images.shape and 0 < flips.sum() < 9
    for n, (top, left, height, width) in enumerate(boxes):
        rows = top + (np.arange(32) + 0.5) * height / 32 - 0.5
        cols = left + (np.arange(32) + 0.5) * width / 32 - 0.5
        for channel in range(3):
            exact = map_coordinates(images[n, :, :, channel].astype(float), np.meshgrid(rows, cols, indexing="ij"),
                                    order=1, mode="nearest")
            found = out[n, :, ::-1, channel] if flips[n] else out[n, :, :, channel]
            assert np.abs(found - exact).max() < 0.5 + 255 * 2.0**-BITS      # rounded once, weights of BITS bits


def test_the_whole_image_as_a_box_changes_nothing(images):
    boxes, flips = np.tile([0.0, 0.0, 32.0, 32.0], (9, 1)), np.arange(9) % 2 == 1
    out = resized_crop(images, boxes, flips)
    np.testing.assert_array_equal(out[::2], images[::2])
    np.testing.assert_array_equal(out[1::2], images[1::2, :, ::-1])


def test_a_quarter_by_hand():
    image = np.array([[0, 40], [80, 120]], np.uint8)[None, :, :, None]
    # the left upper quarter of 2x2 pixels, half a pixel apart: -0.25 and 0.25, the first clamped to 0
    out = resized_crop(image, np.array([[0.0, 0.0, 1.0, 1.0]]), np.array([False]))
    np.testing.assert_array_equal(out[0, :, :, 0], [[0, 10], [20, 30]])
    out = resized_crop(image, np.array([[0.0, 1.0, 1.0, 1.0]]), np.array([True]))     # the right one, mirrored
    np.testing.assert_array_equal(out[0, :, :, 0], [[40, 30], [60, 50]])


def test_a_constant_image_stays(images):
    for level in (0, 1, 254, 255):
        out = augment("resized-crop", np.full((40, 7, 6, 3), level, np.uint8), 0, 0, 0)
        assert (out == level).all()


def test_boxes_lie_in_the_image_and_have_the_areas_and_ratios_that_they_should():
    count, (h, w) = 20_000, (60, 50)
    boxes, flips = draw_boxes(3, 1, 4, count, (h, w))
    top, left, height, width = boxes.T
    assert boxes.dtype == float and min(top.min(), left.min()) >= 0
    assert (top + height).max() <= h * (1 + 1e-15) and (left + width).max() <= w * (1 + 1e-15)
    whole = (height < h) & (width < w)      # not cut
    ratio, area = width / height, height * width / (h * w)
    assert RATIO[0] <= ratio[whole].min() and ratio[whole].max() <= RATIO[1]
    assert AREA[0] * 0.999 <= area.min() < 0.09 and 0.95 < area.max() <= 1
    # boxes of up to half the area are never cut: there both are uniform, the ratio in its logarithm
    small = area < 0.5
    assert whole[small].all() and small.mean() == pytest.approx((0.5 - 0.08) / 0.92, abs=0.02)
    quarters = np.histogram(area[small], np.linspace(0.08, 0.5, 5))[0] / small.sum()
    np.testing.assert_allclose(quarters, 0.25, atol=0.025)
    quarters = np.histogram(np.log(ratio[small]), np.linspace(*np.log(RATIO), 5))[0] / small.sum()
    np.testing.assert_allclose(quarters, 0.25, atol=0.025)
    places = [(place[small] / (side - size[small])) for place, side, size in ((top, h, height), (left, w, width))]
    for place in places:
        quarters = np.histogram(place, np.linspace(0, 1, 5))[0] / small.sum()
        np.testing.assert_allclose(quarters, 0.25, atol=0.025)
    assert flips.mean() == pytest.approx(0.5, abs=0.02)
    correlations = np.corrcoef([*places, area[small], np.log(ratio[small]), flips[small]])
    assert np.abs(correlations - np.eye(5)).max() < 0.06


def test_boxes_are_drawn_at_the_address_in_this_order():
    boxes, flips = draw_boxes(3, 1, 4, 5, (60, 50))
    rng = address(3, AUGMENT, 1, 4)
    areas, ratios = rng.uniform(0.08, 1, 5) * 3000, np.exp(rng.uniform(math.log(3 / 4), math.log(4 / 3), 5))
    places = rng.random((5, 2))
    for (top, left, height, width), area, ratio, (a, b) in zip(boxes, areas, ratios, places, strict=True):
        assert height == pytest.approx(min(60, math.sqrt(area / ratio)))    # the ratio is width to height
        assert width == pytest.approx(min(50, math.sqrt(area * ratio)))
        assert (top, left) == pytest.approx((a * (60 - height), b * (50 - width)))
    np.testing.assert_array_equal(flips, rng.random(5) < 0.5)


# ---- by name

def test_augmentations_by_name(images):
    offsets, flips = draw(5, 2, 3, 9)
    expected = {"none": images, "crop": crop_and_flip(images, offsets, np.zeros(9, bool)),
                "crop-flip": crop_and_flip(images, offsets, flips),
                "resized-crop": resized_crop(images, *draw_boxes(5, 2, 3, 9, (32, 32)))}
    assert tuple(expected) == AUGMENTATIONS and len({out.tobytes() for out in expected.values()}) == 4
    for name, out in expected.items():
        before = images.copy()
        np.testing.assert_array_equal(augment(name, images, 5, 2, 3), out)
        np.testing.assert_array_equal(images, before)


def test_crop_and_flip_draws_what_it_drew_in_the_records():
    offsets, flips = draw(0, 7, 3, 4)
    assert (offsets.tolist(), flips.tolist()) == ([[4, 3], [1, 8], [2, 8], [6, 4]], [False, True, False, True])


def test_many_images_are_stretched_as_few_are():
    many = np.random.default_rng(2).integers(0, 256, (2 * CHUNK + 3, 6, 5, 1), dtype=np.uint8)
    boxes, flips = draw_boxes(0, 0, 0, len(many), (6, 5))
    one_by_one = [resized_crop(many[n:n + 1], boxes[n:n + 1], flips[n:n + 1]) for n in range(len(many))]
    np.testing.assert_array_equal(resized_crop(many, boxes, flips), np.concatenate(one_by_one))


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_to_float(dtype):
    x = to_float(np.array([0, 51, 255], np.uint8), dtype)
    assert x.dtype == dtype
    np.testing.assert_array_equal(x, np.array([0, 51, 255], dtype) / dtype(255))
    assert x[0] == 0 and x[2] == 1
