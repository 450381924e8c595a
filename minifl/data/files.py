"""One file per data set: an uncompressed .npz that any NumPy can read, opened without reading its images.

Members: x_train, y_train, x_test, y_test, where there are domains domain_train and domain_test, and
`metadata`, a JSON text with name, class names, domain names, source and sha256. np.load ignores mmap_mode
for .npz; but the members are stored as they are, so that the images can be mapped straight out of the zip.
"""

import json
import math
import os
import struct
import zipfile
import zlib
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.atomic import replacing
from minifl.data.dataset import Dataset, check
from minifl.data.known import command
from minifl.errors import InputError

CRC_LIMIT = 10**9    # bytes; a larger file would take seconds to check each time that it is opened
IMAGES = ("x_train", "x_test")
LABELS = ("y_train", "y_test", "domain_train", "domain_test")
TEXTS = ("name", "class_names", "domain_names", "source", "sha256")

# What zipfile, struct, json and np.lib.format raise on bytes that are not what they should be.
DAMAGE = (zipfile.BadZipFile, zlib.error, struct.error, EOFError, KeyError, TypeError, ValueError,
          NotImplementedError, RuntimeError, OverflowError, SyntaxError)


def write_dataset(path: str | Path, dataset: Dataset) -> None:
    """Write `dataset` (checked first) to one .npz at `path`, whole or not at all. Raises InputError."""
    check(dataset)
    metadata = {key: getattr(dataset, key) for key in TEXTS}
    arrays = {key: getattr(dataset, key) for key in IMAGES + LABELS if getattr(dataset, key) is not None}
    with replacing(path) as f:
        np.savez(f, metadata=np.array(json.dumps(metadata)), **arrays)


def read_dataset(path: str | Path) -> Dataset:
    """`Dataset` of a file that `write_dataset` wrote; images are memory-mapped, labels are in memory.

    Raises InputError, naming the file and the script that makes a valid one, for a file that is missing,
    truncated, damaged (by the zip's checksums, below CRC_LIMIT bytes) or of another kind.
    """
    path = Path(path)
    remedy = f"make it anew with: {command(path.stem, path.parent)} --force"
    try:
        with reading.opened(path) as f, zipfile.ZipFile(f) as archive:
            _check_members(archive, os.fstat(f.fileno()).st_size)
            labels = {key: np.array(_mapped(f, archive, key))
                      for key in LABELS if f"{key}.npy" in archive.namelist()}
            images = {key: _mapped(f, archive, key) for key in IMAGES}
            metadata = reading.parsed(str(_mapped(f, archive, "metadata")))
        dataset = Dataset(name=metadata["name"], class_names=tuple(metadata["class_names"]),
                          domain_names=tuple(metadata["domain_names"]), source=metadata["source"],
                          sha256=metadata["sha256"], **images, **labels)
        check(dataset)
    except InputError as error:
        raise InputError(f"{path}: not a data set of minifl: {error}; {remedy}") from error
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); {remedy}") from error
    except DAMAGE as error:
        raise InputError(f"{path}: damaged, or not a data set of minifl ({error}); {remedy}") from error
    return dataset


def _check_members(archive, size):
    present = {info.filename: info for info in archive.infolist()}
    needed = [f"{key}.npy" for key in ("metadata", "x_train", "y_train", "x_test", "y_test")]
    missing = [name for name in needed if name not in present]
    if missing:
        raise InputError(f"{', '.join(missing)} missing, found {', '.join(sorted(present)[:8]) or 'nothing'}")
    for info in present.values():
        if info.compress_type != zipfile.ZIP_STORED or info.compress_size != info.file_size:
            raise InputError(f"{info.filename} is compressed, it must be stored")
    damaged = archive.testzip() if size < CRC_LIMIT else None
    if damaged:
        raise InputError(f"the checksum of {damaged} does not fit its content, the file is damaged")


def _mapped(f, archive, key):
    """Read-only memory map of member `key`.npy: its data lie one after another in the zip file.

    A member begins with a local header of 30 bytes, of which the last four are the lengths of the name and
    of the extra field that follow it (APPNOTE.TXT of PKWARE, 4.3.7); then comes the .npy header, then data.
    """
    info = archive.getinfo(f"{key}.npy")
    f.seek(info.header_offset + 26)
    begin = info.header_offset + 30 + sum(struct.unpack("<HH", f.read(4)))
    f.seek(begin)
    version = np.lib.format.read_magic(f)
    header = {(1, 0): np.lib.format.read_array_header_1_0, (2, 0): np.lib.format.read_array_header_2_0}
    shape, fortran, dtype = header[version](f)
    bytes_of_data = dtype.itemsize * math.prod(shape)
    if dtype.hasobject or f.tell() + bytes_of_data != begin + info.file_size:
        raise InputError(f"{info.filename} says {dtype} {shape}, which is not what it holds")
    order = "F" if fortran else "C"
    return np.memmap(f, dtype, "r", f.tell(), shape, order).view(np.ndarray)    # .base is the memmap
