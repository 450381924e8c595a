"""Image files to arrays of uint8, one by one: a set of any size is converted in the memory of one image.

Reading takes Pillow (the extra `data`). An image that cannot be decoded, for whatever reason, is a bad image, and
the caller hears of all of them at once.
"""

import hashlib
import io
import tempfile
import warnings
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minifl.data.tree import shown
from minifl.errors import InputError

LISTED = 20    # bad images named in a message; the others are counted
FORMATS = ("JPEG", "PNG", "BMP", "GIF", "TIFF", "WEBP", "PPM", "AVIF")    # no others: Pillow runs programs for some
AVIF = b"ftypavif", b"ftypavis"     # how such a file begins, after four bytes
DEEP = ("I;16", "I;16L", "I;16B", "I;16N")      # Pillow's modes of 16 bits; it has PNG and PGM as "I", too


@dataclass(frozen=True)
class Decoded:
    """pixels (N, H, W, C) uint8 of the readable images, in order, memory-mapped from a file without a name.

    kept     (number of names,) bool: which names `pixels` are of
    bad      [(name, reason)] of the others
    resized  how many of the N had another size
    sha256   hexadecimal, over length and bytes of every readable file, in order
    """
    pixels: np.ndarray
    kept: np.ndarray
    bad: list
    resized: int
    sha256: str


def pillow() -> tuple:
    """The modules PIL.Image and PIL.ImageOps. Raises InputError where Pillow is not installed."""
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise InputError("images are decoded by Pillow, which is not installed: pip install 'minifl[data]'") from error
    return Image, ImageOps


def decode(names: Iterable[str], read: Callable[[str], bytes], folder: str | Path, *, size: int | None = None,
           gray: bool = False) -> Decoded:
    """`Decoded` of the images `names` (any iterable of str, not empty), where `read(name)` gives the bytes of one.

    folder  is where the pixels are put, in a temporary file that vanishes by itself, also if the process is killed
    size    side of the square that all images are brought to, see `to_array`; None: all must be of one size
    Raises InputError if that file cannot be written, if sizes differ without `size`, and if no image is readable.
    """
    pillow()
    kept, bad, resized, shape, first = [], [], 0, None, None
    digest = hashlib.sha256()
    with _scratch(folder) as file:
        for name in names:
            try:
                content = read(name)
                pixels, changed = to_array(content, size, gray)
            except MemoryError:
                raise
            except Exception as error:    # Pillow's decoders raise nearly anything on bytes that are no image
                bad.append((name, f"{error}" or type(error).__name__))
                kept.append(False)
                continue
            if shape is not None and pixels.shape != shape:
                raise InputError(f"images of different sizes: {shown(first)} has {shape[1]}x{shape[0]} pixels, "
                                 f"{shown(name)} {pixels.shape[1]}x{pixels.shape[0]}; --size brings all to one")
            first, shape = first or name, pixels.shape
            _write(file, pixels, folder)
            digest.update(f"{len(content)}\n".encode() + content)
            kept.append(True)
            resized += changed
        if not any(kept):
            raise InputError(bad_images(bad))
        file.flush()
        pixels = np.memmap(file, np.uint8, "r", shape=(sum(kept), *shape)).view(np.ndarray)    # .base is the memmap
    return Decoded(pixels, np.array(kept), bad, resized, digest.hexdigest())


def to_array(content: bytes, size: int | None = None, gray: bool = False) -> tuple:
    """(pixels (H, W, 3 or 1) uint8, whether they were resized) of the bytes of an image file.

    An image is turned as its EXIF orientation says; transparency falls on white; grey and palette images become
    RGB, or all become grey (ITU-R 601-2 luma). Of 16 bits grey, 0..65535 becomes 0..255, rounded.
    With `size`: the largest square in the middle, resized to (size, size) by Pillow's antialiased bilinear filter, which
    is the shorter side to `size`, then a centre crop.
    Raises whatever Pillow does; ValueError for more than 16 bits or real numbers; what Pillow takes for a decompression
    bomb (above 89 megapixels) is an error.
    """
    Image, ImageOps = pillow()
    with warnings.catch_warnings():
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        try:
            image = Image.open(io.BytesIO(content), formats=formats())
        except Image.UnidentifiedImageError as error:
            if content[4:12] in AVIF:
                raise ValueError("AVIF, which Pillow 11.3 and later can read, and this one cannot: pip install -U pillow"
                                 ) from error
            raise ValueError("not an image of any of the formats " + ", ".join(formats())) from error
        image.load()
    deep = image.mode in DEEP or image.mode == "I" and image.format in ("PNG", "PPM")
    image = ImageOps.exif_transpose(image)
    if deep:
        image = Image.fromarray(_eight_bits(np.asarray(image)))
    if image.mode.startswith(("I", "F")):
        raise ValueError("more than 16 bits a channel, or real numbers, whose range nobody knows; convert it to 8 bits")
    if "A" in image.getbands() or "transparency" in image.info:
        image = image.convert("RGBA")
        image = Image.alpha_composite(Image.new("RGBA", image.size, "white"), image)
    image = image.convert("L" if gray else "RGB")
    changed = size is not None and image.size != (size, size)
    if changed:
        side = min(image.size)
        left, top = ((length - side) / 2 for length in image.size)
        image = image.resize((size, size), Image.Resampling.BILINEAR, box=(left, top, left + side, top + side))
    pixels = np.asarray(image)
    return pixels.reshape(*pixels.shape[:2], -1), changed


def formats() -> tuple:
    """FORMATS, as far as this Pillow has heard of them."""
    Image, _ = pillow()
    Image.init()
    return tuple(form for form in FORMATS if form in Image.OPEN)


def _eight_bits(deep):
    """Numbers 0..65535 as 0..255, rounded: 257 apart. uint8."""
    return ((deep.astype(np.int64) + 128) // 257).astype(np.uint8)


def bad_images(bad: list) -> str:
    """The message about [(name, reason)], of several lines."""
    lines = [f"{len(bad)} image{'s' * (len(bad) > 1)} cannot be read:"]
    lines += [f"  {shown(name)}: {shown(reason)[:200]}" for name, reason in sorted(bad)[:LISTED]]
    lines += [f"  ... and {len(bad) - LISTED} more"] if len(bad) > LISTED else []
    return "\n".join(lines)


def _scratch(folder):
    """A temporary file in `folder` (made if need be) that has no name where the system can do so."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        return tempfile.TemporaryFile(dir=folder)
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _write(file, pixels, folder):
    try:
        file.write(pixels.tobytes())
    except OSError as error:
        raise _cannot_write(folder, error) from error


def _cannot_write(folder, error):
    return InputError(f"{folder}: cannot be written ({error.strerror or error}); choose a folder that is writable "
                      "and has space for the images twice")
