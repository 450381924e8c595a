"""What two processes say to each other, the grader and that of a submission: one JSON line each, nothing is ever unpickled.

Plain data pass exactly: None, bool, whole numbers, floats, strings, NumPy arrays and scalars of numbers (as base64 of .npy),
tuples, lists, and dicts with string keys. Anything else stays where it is: its number travels, and on the other side
something stands for it.

This file imports no other of the package: the worker loads it alone, beside the student's own minifl.
"""

import base64
import io
import itertools
import json
import math
from collections.abc import Callable
from typing import Any

import numpy as np

MOST_BYTES = 64 * 2**20   # of a message
KINDS = "biufc"           # of arrays: numbers, no text and no objects
LARGEST = 16              # bytes of one number: no extended precision, whose bytes may stand for nothing


class Malformed(ValueError):
    """A message that is not of this form."""


class Gone(Exception):
    """A message names an object that is not kept any more."""


class Objects:
    """What one side has told the other of by number, and what stands here for the other's.

    stand_in   (number, name of the type) -> what stands here for an object of the other side's
    first      the first number that is given; none is given twice
    """

    def __init__(self, stand_in: Callable[[int, str], Any], first: int = 0) -> None:
        self.stand_in, self.numbers = stand_in, itertools.count(first)
        self.mine, self.known, self.theirs, self.standing = {}, {}, {}, {}

    def clear(self) -> None:
        """Forget all: what is asked for afterwards by an old number is not there."""
        for table in (self.mine, self.known, self.theirs, self.standing):
            table.clear()

    def told(self, value: Any) -> dict:
        """The message that stands for an object: the other side's own, or one of this side's."""
        if id(value) in self.theirs:
            return {"yours": self.theirs[id(value)]}
        if id(value) not in self.known:
            number = next(self.numbers)
            self.mine[number], self.known[id(value)] = value, number
        return {"object": self.known[id(value)], "type": type(value).__name__[:80]}

    def meant(self, content: dict) -> Any:
        """The object that such a message stands for; Gone."""
        if "yours" in content:
            if int(content["yours"]) not in self.mine:
                raise Gone("what an earlier call returned went with its process")
            return self.mine[int(content["yours"])]
        number = int(content["object"])
        if number not in self.standing:
            self.standing[number] = self.stand_in(number, str(content["type"])[:80])
            self.theirs[id(self.standing[number])] = number
        return self.standing[number]


def dumps(value: Any, objects: Objects | None = None) -> str:
    """value as one line of JSON. Without objects TypeError for what is no plain data."""
    line = json.dumps(_encode(value, objects), allow_nan=False)
    if len(line) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES >> 20} MB of data")
    return line


def loads(line: str, objects: Objects | None = None) -> Any:
    """The value of a line. Gone for an object that is not kept any more, Malformed for what is no message."""
    if len(line) > MOST_BYTES:
        raise Malformed(f"more than {MOST_BYTES >> 20} MB of data")
    try:
        return _decode(json.loads(line), objects)
    except Gone:
        raise
    except Exception as error:      # of whatever kind: NumPy's reader of headers raises nine
        raise Malformed(f"not a message: {type(error).__name__}") from None


def written_back(before: Any, after: Any) -> None:
    """Change arrays, lists and dicts as a call on the other side has changed its copies of them."""
    if type(before) is type(after) is np.ndarray and before.shape == after.shape:
        before[...] = after
    elif type(before) is type(after) is dict:
        for name in before.keys() - after.keys():
            del before[name]
        for name, value in after.items():
            before[name] = _changed(before.get(name), value)
    elif type(before) is type(after) is list:
        before[:] = [_changed(*pair) for pair in zip(before, after)] + after[len(before):]


def _changed(before, after):
    """What stands in a list or dict afterwards: the same array, list or dict with what is new in it, or another one."""
    if type(before) is type(after) is tuple and len(before) == len(after):
        return tuple(_changed(*pair) for pair in zip(before, after))
    same = type(before) is type(after) in (np.ndarray, list, dict)
    if not same or (type(before) is np.ndarray and (before.shape, before.dtype) != (after.shape, after.dtype)):
        return after
    written_back(before, after)
    return before


def _encode(value, objects):
    if value is None or type(value) in (bool, str, int):    # a subclass may behave in any way
        return value
    if type(value) is float:
        return value if math.isfinite(value) else {"float": repr(value)}
    if isinstance(value, np.generic) and type(value).__module__ == "numpy" and _passes(value.dtype):
        return {"scalar": _npy(np.asarray(value))}
    if type(value) is np.ndarray and _passes(value.dtype) and value.nbytes < MOST_BYTES:
        return {"array": _npy(value)}
    if type(value) in (tuple, list):
        return {type(value).__name__: [_encode(item, objects) for item in value]}
    if type(value) is dict and all(type(key) is str for key in value):
        return {"dict": {key: _encode(item, objects) for key, item in value.items()}}
    if objects is None:
        raise TypeError(f"{type(value).__name__} is no plain data")
    return {"kept": objects.told(value)}


def _decode(value, objects):
    if value is None or isinstance(value, (bool, str, int, float)):
        return value
    kind, content = next(iter(value.items()))
    if kind == "float":
        return float(content)
    if kind in ("array", "scalar"):
        array = _array(base64.b64decode(content, validate=True))
        return array if kind == "array" else array[()]
    if kind in ("tuple", "list"):
        return {"tuple": tuple, "list": list}[kind](_decode(item, objects) for item in content)
    if kind == "dict":
        return {str(key): _decode(item, objects) for key, item in content.items()}
    if kind == "kept" and objects is not None:
        return objects.meant(content)
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
