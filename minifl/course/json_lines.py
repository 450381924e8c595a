"""Messages between the grader and the process of a submission: one JSON line each, nothing is ever unpickled.

Plain data pass exactly: None, bool, whole numbers, floats, strings, NumPy arrays and scalars of numbers (as base64 of .npy),
tuples, lists, and dicts with string keys. Anything else stays where it is and travels as a Handle.

This file imports no other of the package: the worker loads it alone, beside the student's own minifl.
"""

import base64
import io
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_BYTES = 64 * 2**20   # of a message
KINDS = "biufc"           # of arrays: numbers, no text and no objects
LARGEST = 16              # bytes of one number: no extended precision, whose bytes may stand for nothing


class Handle:
    """Something that the other side keeps: it can be given to a later call, and is of no other use."""

    def __init__(self, number, type):
        self.number, self.type = number, type

    def __repr__(self):
        return f"<{self.type} of the student's>"

    def _opaque(self, *_, **__):
        raise TypeError(f"a function returned an object of type {self.type}, where numbers, arrays, or tuples, lists or "
                        "dicts of these are expected")

    __array__ = __iter__ = __len__ = __getitem__ = __bool__ = __float__ = __int__ = __index__ = __call__ = _opaque
    __add__ = __radd__ = __sub__ = __rsub__ = __mul__ = __rmul__ = __truediv__ = __rtruediv__ = __matmul__ = _opaque
    __lt__ = __le__ = __gt__ = __ge__ = __neg__ = __abs__ = __contains__ = _opaque


class Malformed(ValueError):
    """A message that is not of this form."""


def dumps(value: Any, keep: Callable[[Any], int] | None = None) -> str:
    """value as one line of JSON. keep: object -> its number, for what is no plain data; None: TypeError for that."""
    line = json.dumps(_encode(value, keep), allow_nan=False)
    if len(line) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES >> 20} MB of data")
    return line


def loads(line: str, kept: Callable[[int], Any] | None = None) -> Any:
    """The value of a line. kept: number -> the object that a handle stands for; None: handles stay Handles."""
    if len(line) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES >> 20} MB of data")
    try:
        return _decode(json.loads(line), kept)
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, RecursionError, EOFError, AttributeError,
            MemoryError, OverflowError) as error:
        raise Malformed(f"not a message: {type(error).__name__}") from None


def _encode(value, keep):
    if value is None or type(value) in (bool, str, int):    # a subclass may behave in any way
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic) and type(value).__module__ == "numpy" and _passes(value.dtype):
        return {"scalar": _npy(np.asarray(value))}
    if type(value) is np.ndarray and _passes(value.dtype) and value.nbytes < MOST_BYTES:
        return {"array": _npy(value)}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_encode(item, keep) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _encode(item, keep) for key, item in value.items()}}
    if isinstance(value, Handle):
        return {"handle": value.number, "type": value.type}
    if keep is None:
        raise TypeError(f"{type(value).__name__} is no plain data")
    return {"handle": keep(value), "type": type(value).__name__[:80]}


def _decode(value, kept):
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    kind = next(iter(value))
    content = value[kind]
    if kind == "float":
        return float(content)
    if kind in ("array", "scalar"):
        array = _array(base64.b64decode(content, validate=True))
        return array if kind == "array" else array[()]
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_decode(item, kept) for item in content)
    if kind == "dict":
        return {str(key): _decode(item, kept) for key, item in content.items()}
    if kind == "handle":
        return Handle(int(content), str(value["type"])[:80]) if kept is None else kept(int(content))
    raise ValueError(kind)


def _passes(dtype):
    """Whether arrays of a dtype pass."""
    return dtype.kind in KINDS and dtype.itemsize <= (8 if dtype.kind != "c" else LARGEST) and dtype.fields is None


def _array(data):
    """The array of .npy bytes. No memory is taken for what its header promises: the bytes have to be there."""
    file = io.BytesIO(data)
    version = np.lib.format.read_magic(file)
    shape, fortran, dtype = np.lib.format.read_array_header_1_0(file) if version == (1, 0) else (None, None, None)
    if shape is None or not _passes(dtype):
        raise ValueError("array")
    flat = np.frombuffer(data, np.uint8 if dtype.kind == "b" else dtype, offset=file.tell())
    flat = flat != 0 if dtype.kind == "b" else flat.copy()    # a bool of another byte than 0 and 1 compares in odd ways
    return flat.reshape(shape, order="F" if fortran else "C")


def _npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()
