"""CIFAR-10 and CIFAR-100 as most people have them: the Python version, made into the records of the binary one.

Format (A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Python / Matlab versions"): files that are pickles of
a dict with `data`, a uint8 array (N, 3072) whose rows are those of the binary version, and `labels`, or `coarse_labels`
and `fine_labels`, lists of N numbers; and one, meta, with the lists of class names.

A pickle is a program. Here it may build dicts, lists, tuples, numbers, texts and bytes, and arrays of uint8 that are put
together by this file; nothing else is called or looked up, whatever it asks for.
"""

import io
import math
import pickle
from pathlib import Path
from typing import Any

import numpy as np

from minifl.errors import InputError

PIXELS = 3 * 32 * 32


class _Forbidden(pickle.UnpicklingError):
    pass


class _Dtype:
    """What NumPy pickles of a number format; only the name counts."""

    def __init__(self, name="", *_):
        self.name = name

    def __setstate__(self, state):
        pass


class _Array:
    """What NumPy pickles of an array: version, shape, format, order, bytes."""

    def __init__(self, *_):
        self.value = None

    def __setstate__(self, state):
        _, shape, dtype, fortran, raw = state
        if not isinstance(dtype, _Dtype) or dtype.name not in ("u1", b"u1") or fortran or type(raw) is not bytes:
            raise _Forbidden("an array that is not of uint8, row by row")
        if not all(type(length) is int for length in shape) or len(raw) != math.prod(shape):
            raise _Forbidden(f"an array with {len(raw)} bytes, which its shape does not need")
        self.value = np.frombuffer(raw, np.uint8).reshape(shape)


class _Encoded:
    """How Python 3 writes bytes in the old protocols: a text, to be encoded."""

    def __new__(cls, text, encoding):
        if encoding != "latin1":
            raise _Forbidden("another encoding than latin1")
        return text.encode("latin-1")

    def __setstate__(self, state):
        pass


ALLOWED = {("numpy.core.multiarray", "_reconstruct"): _Array, ("numpy._core.multiarray", "_reconstruct"): _Array,
           ("numpy", "ndarray"): "ndarray", ("numpy", "dtype"): _Dtype, ("_codecs", "encode"): _Encoded}


class _Unpickler(pickle._Unpickler):    # the one in Python: the one in C fills as much memory as a file asks for
    def find_class(self, module: str, name: str) -> object:
        if (module, name) not in ALLOWED:
            raise _Forbidden(f"{module}.{name}, which no file of CIFAR needs")
        return ALLOWED[module, name]


def unpickled(raw: bytes, where: object) -> dict:
    """{text: value} of the dict in such a file. Raises InputError; nothing but what the module names is ever run."""
    try:
        content = _Unpickler(io.BytesIO(raw), encoding="bytes").load()
    except Exception as error:  # bytes that are no pickle make it raise anything
        raise InputError(f"{where}: not a file of the Python version of CIFAR ({error or type(error).__name__})") from error
    if not isinstance(content, dict):
        raise InputError(f"{where}: holds {type(content).__name__}, must be a dict")
    return {_text(key): value.value if isinstance(value, _Array) else value for key, value in content.items()
            if isinstance(key, (str, bytes))}


def to_binary(version: Any, files: dict[str, bytes], path: str | Path) -> dict[str, bytes]:
    """The files of the binary version, {name: bytes}, from those of the Python version; `path`: their place in messages."""
    made = {f"{name}.bin": records(version, files[name], f"{path}: {name}") for name in version.python_records}
    meta = version.python_meta
    return made | {labels.names: names(files[meta], labels.pickled_names, f"{path}: {meta}")
                   for labels in version.labels.values()}


def records(version: Any, raw: bytes, where: object) -> bytes:
    """The bytes of the binary version's file of records. Raises InputError for what is not N images with N labels each."""
    content = unpickled(raw, where)
    data = content.get("data")
    if not isinstance(data, np.ndarray) or data.ndim != 2 or data.shape[1] != PIXELS:
        raise InputError(f"{where}: data must be images (N, {PIXELS}) of uint8, found {getattr(data, 'shape', 'none')}")
    columns = []
    for label in sorted(version.labels.values(), key=lambda label: label.byte):
        labels = content.get(label.pickled)
        if not isinstance(labels, list) or len(labels) != len(data) or \
                not all(type(y) is int and 0 <= y < label.classes for y in labels):
            raise InputError(f"{where}: {label.pickled} must be {len(data)} whole numbers, one per image, from 0 to "
                             f"{label.classes - 1}")
        columns.append(np.array(labels, np.uint8)[:, None])
    return np.concatenate([*columns, data], axis=1).tobytes()


def names(raw: bytes, pickled: str, where: object) -> bytes:
    """The binary version's text of class names, from the list `pickled` in the file meta."""
    listed = unpickled(raw, where).get(pickled)
    if not isinstance(listed, list) or not all(isinstance(name, (str, bytes)) for name in listed):
        raise InputError(f"{where}: {pickled} must be the class names")
    return "\n".join(map(_text, listed)).encode()


def _text(value):
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)
