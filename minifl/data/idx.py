"""MNIST and Fashion-MNIST as they are distributed: four files in the idx format, compressed with gzip or not.

Format (Y. LeCun, C. Cortes, C. Burges, "The MNIST database of handwritten digits"): two zero bytes, the type of the
elements (8: unsigned byte), the number of axes, the length of each axis as four bytes, high byte first; the elements.
"""

import hashlib
import math
import os
import struct
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.backend import Array
from minifl.data.dataset import Dataset, make_dataset
from minifl.errors import InputError

FILES = ("train-images-idx3-ubyte", "train-labels-idx1-ubyte", "t10k-images-idx3-ubyte", "t10k-labels-idx1-ubyte")


CLASS_NAMES = {
    "mnist": tuple("0123456789"),
    "fashionmnist": ("T-shirt/top", "Trouser", "Pullover", "Dress", "Coat", "Sandal", "Shirt", "Sneaker", "Bag",
                     "Ankle boot"),
}


def find(folder: str | Path) -> list:
    """The paths of the four files in `folder`, in the order of FILES: as .gz or as they are. Raises InputError."""
    found, missing = [], []
    for name in FILES:
        spellings = [name, name.replace("-idx", ".idx")]    # the second: how some programs unpack them
        paths = [Path(folder) / f"{spelling}{end}" for spelling in spellings for end in (".gz", "")]
        found += [path for path in paths if os.path.lexists(path)][:1]
        missing += [] if any(map(os.path.lexists, paths)) else [name]
    if missing:
        raise InputError(f"{folder}: {', '.join(missing)} missing, as .gz or unpacked; needed are {', '.join(FILES)}")
    return found


def read(path: str | Path) -> bytes:
    """The bytes of the idx file at `path`, unpacked if it begins as gzip does. Raises InputError."""
    try:
        with reading.opened(path) as f:
            packed = f.read(2) == b"\x1f\x8b"
            f.seek(0)
            return reading.rest(reading.Unpacking(f) if packed else f, path=path)
    except OSError as error:
        raise InputError(f"{path}: cannot be read as a whole ({getattr(error, 'strerror', None) or error})") from error


def parse(raw: bytes, axes: int, where: object) -> Array:
    """The uint8 array of `axes` axes in the bytes `raw`. Raises InputError, naming `where`."""
    begin = 4 + 4 * axes
    if len(raw) < begin or raw[:4] != bytes([0, 0, 8, axes]):
        raise InputError(f"{where}: begins with {raw[:4].hex(' ') or 'nothing'}, an idx file of bytes on {axes} axes "
                         f"with 00 00 08 0{axes}")
    shape = struct.unpack(f">{axes}I", raw[4:begin])
    if len(raw) - begin != math.prod(shape):
        raise InputError(f"{where}: {len(raw) - begin} bytes of elements, its header says {shape}")
    return np.frombuffer(raw, np.uint8, offset=begin).reshape(shape)


def contents_hash(contents: Sequence[bytes]) -> str:
    """sha256 (hexadecimal) of the four files, unpacked, one after another."""
    return hashlib.sha256(b"".join(contents)).hexdigest()


def convert(name: str, contents: Sequence[bytes], where: object, source: str) -> Dataset:
    """`Dataset` called `name`, of CLASS_NAMES, of the unpacked bytes of the four files in the order of FILES.

    Images are (N, 28, 28, 1).
    """
    x_train, y_train, x_test, y_test = (parse(raw, axes, f"{where}: {file}")
                                        for raw, axes, file in zip(contents, (3, 1, 3, 1), FILES))
    for images, labels, file in ((x_train, y_train, FILES[1]), (x_test, y_test, FILES[3])):
        if len(images) != len(labels) or not len(labels):
            raise InputError(f"{where}: {file} has {len(labels)} labels for {len(images)} images")
        if labels.max() >= len(CLASS_NAMES[name]):
            raise InputError(f"{where}: {file} has the label {labels.max()}, must be 0..{len(CLASS_NAMES[name]) - 1}")
    return make_dataset(name, x_train[..., None], y_train.astype(np.int64), x_test[..., None],
                        y_test.astype(np.int64), CLASS_NAMES[name], source)
