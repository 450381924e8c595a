"""Messages between the grader and the process of a submission: one JSON line each, nothing is ever unpickled.

Plain data pass exactly: None, bool, whole numbers, floats, strings, NumPy arrays and scalars of numbers (as base64 of .npy),
tuples, lists, and dicts with string keys. Anything else stays where it is and travels as a Handle.

This file imports no other of the package: the worker runs a copy of it beside the student's own minifl.
"""

import base64
import io
import json
import math
from typing import NamedTuple

import numpy as np

MOST_BYTES = 64 * 2**20   # of a message


class Handle(NamedTuple):
    """Something that the other side keeps."""
    number: int
    type: str


class Malformed(ValueError):
    """A message that is not of this form."""


def dumps(value, keep=None):
    """value as one line of JSON. keep: object -> its number, for what is no plain data; None: TypeError for that."""
    line = json.dumps(_encode(value, keep), allow_nan=False)
    if len(line) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES >> 20} MB of data")
    return line


def loads(line, kept=None):
    """The value of a line. kept: number -> the object that a handle stands for; None: handles stay Handles."""
    if len(line) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES >> 20} MB of data")
    try:
        return _decode(json.loads(line), kept)
    except (ValueError, KeyError, TypeError, IndexError, StopIteration, RecursionError, EOFError, AttributeError) as error:
        raise Malformed(f"not a message: {type(error).__name__}") from None


def _encode(value, keep):
    if value is None or isinstance(value, (bool, str)) or type(value) is int:
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic) and value.dtype.kind in "biufc":
        return {"scalar": _npy(np.asarray(value))}
    if type(value) is np.ndarray and value.dtype.kind in "biufc":
        return {"array": _npy(value)}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_encode(item, keep) for item in value]}
    if type(value) is dict and all(isinstance(key, str) for key in value):
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
        array = np.load(io.BytesIO(base64.b64decode(content, validate=True)), allow_pickle=False)
        return array if kind == "array" else array[()]
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_decode(item, kept) for item in content)
    if kind == "dict":
        return {str(key): _decode(item, kept) for key, item in content.items()}
    if kind == "handle":
        return Handle(int(content), str(value["type"])) if kept is None else kept(int(content))
    raise ValueError(kind)


def _npy(array):
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    return base64.b64encode(file.getvalue()).decode()
