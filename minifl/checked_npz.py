"""Named arrays in a file that is known to be whole: an npz behind its checksum.

    64 hexadecimal digits, the sha256 of the rest; a newline; the npz
"""

import hashlib
import io
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.atomic import replacing
from minifl.backend import Array
from minifl.errors import InputError

LARGEST = 1 << 36     # bytes


def write(path: str | Path, arrays: dict[str, Array]) -> None:
    """Write arrays, name -> numpy array, whole or not at all."""
    content = io.BytesIO()
    np.savez(content, **arrays)    # type: ignore[arg-type]     # its stub takes one for allow_pickle
    with replacing(path) as f:
        f.write(hashlib.sha256(content.getbuffer()).hexdigest().encode() + b"\n")
        f.write(content.getbuffer())


def read(path: str | Path, what: str) -> dict[str, Array]:
    """name -> array; InputError if the file cannot be read, is damaged or holds anything else than arrays.

    what  in words, what the file should be
    """
    try:
        digest, _, content = reading.whole(path, LARGEST).partition(b"\n")
    except OSError as error:
        raise InputError(f"{path} cannot be read: {error.strerror}.") from error
    if hashlib.sha256(content).hexdigest().encode() != digest:
        raise InputError(f"{path} is damaged: its checksum does not fit.")
    try:
        return reading.arrays(io.BytesIO(content))
    except Exception as error:  # the checksum fits whatever somebody computed it of
        raise InputError(f"{path} is not {what}: {error}.") from error
