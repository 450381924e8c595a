"""Augmentation: random crops and flips, all images of a call at once, on the array's own device.

    none
    crop          random crop of the image within a black frame of 4 pixels
    crop-flip     the same crops, mirrored or not
    resized-crop  a random box of the image, stretched to the image's size, mirrored or not

All of them map uint8 to uint8. They are drawn on the CPU, by the address of the client and round.
"""

import math

import numpy as np

from minifl.backend import Array, get_xp, on_cpu
from minifl.errors import unknown
from minifl.rng import AUGMENT, address

AUGMENTATIONS = ("none", "crop", "crop-flip", "resized-crop")
PADDING = 4             # pixels, the paper's random crop
AREA = 0.08, 1.0        # of a box, relative to the image (Szegedy et al. 2015, section 6)
RATIO = 3 / 4, 4 / 3    # of a box, width to height
BITS = 11               # of a bilinear weight: two of them and a byte fill 30 bits of an int32
CHUNK = 32              # images stretched at a time: bounds the temporaries, 80 MB at 224x224x3


def augment(name: str, images: Array, seed: int, round_: int, *clients: int) -> Array:
    """Images (M, H, W, C) uint8 of one round, augmented as `name` in AUGMENTATIONS says.

    They belong to these clients, as many to each, one client after the other; no client's depend on another one.
    """
    xp, count = get_xp(images), len(images) // len(clients)
    if name == "none":
        return images
    if name == "resized-crop":
        return resized_crop(images, *_join(draw_boxes(seed, round_, k, count, images.shape[1:3]) for k in clients))
    offsets, flips = _join(draw(seed, round_, k, count) for k in clients)
    if name == "crop":
        flips = np.zeros_like(flips)
    elif name != "crop-flip":
        raise unknown("--augment", name, AUGMENTATIONS)
    return crop_and_flip(images, xp.asarray(offsets), xp.asarray(flips))


def _join(draws):
    """What each client drew, one client after the other."""
    return [np.concatenate(parts) for parts in zip(*draws)]


def draw(seed: int, round_: int, client: int, count: int, padding: int = PADDING) -> tuple:
    """The crop offsets (count, 2) in 0..2*padding and flips (count,) of a client's images in one round."""
    rng = address(seed, AUGMENT, round_, client)
    return rng.integers(0, 2 * padding + 1, (count, 2)), rng.random(count) < 0.5


def crop_and_flip(images: Array, offsets: Array, flips: Array, padding: int = PADDING) -> Array:
    """Shift each image within a black frame of `padding` pixels, and mirror some.

    images   (M, H, W, C)
    offsets  (M, 2) row and column of the crop in the framed image; (padding, padding) changes nothing
    flips    (M,) bool
    returns  (M, H, W, C), same dtype
    """
    xp = get_xp(images)
    m, h, w, c = images.shape
    framed = xp.pad(images, ((0, 0), (padding, padding), (padding, padding), (0, 0)))
    steps = 2 * padding + 1
    s0, s1, s2, s3 = framed.strides
    crops = xp.lib.stride_tricks.as_strided(framed, shape=(m, steps, steps, h, w, c),
                                            strides=(s0, s1, s2, s1, s2, s3))
    out = crops[xp.arange(m), offsets[:, 0], offsets[:, 1]]
    if not on_cpu(out):     # a GPU would have to count them first, and wait for that
        return xp.where(flips[:, None, None, None], out[:, :, ::-1], out)
    out[flips] = out[flips][:, :, ::-1]
    return out


def draw_boxes(seed: int, round_: int, client: int, count: int, shape: tuple) -> tuple:
    """Random boxes of a client's images in one round, within images of shape (H, W), and which are mirrored.

    The area is uniform in AREA and the ratio log-uniform in RATIO; a box that is then taller or wider than the image
    is cut to it. Its place is uniform among those inside the image.
    returns  boxes (count, 4) float64: top, left, height, width in pixels, real numbers; flips (count,) bool
    """
    rng = address(seed, AUGMENT, round_, client)
    area = rng.uniform(*AREA, count) * math.prod(shape)
    ratio = np.exp(rng.uniform(*np.log(RATIO), count))
    size = np.minimum(np.sqrt(np.stack([area / ratio, area * ratio], axis=1)), shape)
    corner = rng.random((count, 2)) * (np.array(shape) - size)
    return np.concatenate([corner, size], axis=1), rng.random(count) < 0.5


def resized_crop(images: Array, boxes: Array, flips: Array) -> Array:
    """Stretch a box of each image to the image's size, bilinearly, and mirror some.

    images  (M, H, W, C) uint8
    boxes   (M, 4) float64 on the host: top, left, height, width in pixels, inside the image
    flips   (M,) bool on the host
    returns (M, H, W, C) uint8, rounded

    torchvision's RandomResizedCrop differs in three ways: it rounds the box to whole pixels and does not look beyond
    its edge, where here the samples next to the edge may take up to half a pixel from outside; it draws a box that
    does not fit anew, up to ten times, instead of cutting it; and it may average over several pixels (antialias),
    which here has no place, since a box is never larger than its picture.
    """
    h, w = images.shape[1:3]
    top, left, height, width = boxes.T[:, :, None]
    rows = top + (np.arange(h) + 0.5) / h * height - 0.5        # centres of pixels are at 0, 1, ..., H - 1
    cols = left + (np.arange(w) + 0.5) / w * width - 0.5
    cols = np.where(flips[:, None], cols[:, ::-1], cols)
    out = get_xp(images).empty_like(images)
    for start in range(0, len(images), CHUNK):
        part = slice(start, start + CHUNK)
        out[part] = bilinear(images[part], rows[part], cols[part])
    return out


def bilinear(images: Array, rows: Array, cols: Array) -> Array:
    """Each image at a grid of its own: pixel (i, j) of image n is interpolated at (rows[n, i], cols[n, j]).

    images      (M, H, W, C) uint8
    rows, cols  (M, H'), (M, W') float64 on the host, in pixels; beyond the first and last pixel centre these count
    returns     (M, H', W', C) uint8, rounded

    The weights are whole numbers of 1/2**BITS, so that the sums are exact and every device gives the same bytes.
    """
    xp = get_xp(images)
    r0, r1, r = (xp.asarray(a) for a in _neighbours(rows, images.shape[1]))
    c0, c1, c = (xp.asarray(a) for a in _neighbours(cols, images.shape[2]))
    one = 1 << BITS
    n = xp.arange(len(images))[:, None]
    r, c = r[:, :, None, None], c[:, None, :, None]
    lines = images[n, r0] * (one - r) + images[n, r1] * r                  # (M, H', W, C) int32
    n, i = n[:, :, None], xp.arange(rows.shape[1])[:, None]
    c0, c1 = c0[:, None], c1[:, None]
    sums = lines[n, i, c0] * (one - c) + lines[n, i, c1] * c
    return ((sums + one * one // 2) // (one * one)).astype(images.dtype)


def _neighbours(positions, size):
    """The pixels before and after each position, and the weight of the latter in 1/2**BITS, all int32."""
    positions = np.clip(positions, 0, size - 1)
    before = np.floor(positions).astype(np.int32)
    weight = np.rint((positions - before) * (1 << BITS)).astype(np.int32)
    return before, np.minimum(before + 1, size - 1), weight


def to_float(images: Array, dtype: type = np.float32) -> Array:
    """uint8 0..255 -> [0, 1]; the paper standardizes no further."""
    return images.astype(dtype) / dtype(255)
