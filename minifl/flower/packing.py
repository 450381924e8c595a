"""Arrays and texts in Flower's messages. Nothing is unpickled: an array is in .npy format, and of the form expected."""

import io
from typing import Any

import numpy as np
from flwr.app import Array, ArrayRecord, ConfigRecord, Message

from minifl.data.partition import Partition
from minifl.flower.node import Job, Task
from minifl.flower.replies import Refused
from minifl.runs.settings import LISTS, TABLE, Settings

ARRAYS, TASK, JOB, PARTITION = "arrays", "task", "job", "partition"     # records of a message to a node
LOSSES, TROUBLE, DIVERGED, NODE = "losses", "trouble", "diverged", "node"        # and of its reply
FORMAT = "numpy.ndarray"    # Flower's name for .npy


def pack(arrays: Any) -> ArrayRecord:
    """An ArrayRecord of numpy arrays by name."""
    return ArrayRecord({name: Array(np.array(array, order="C")) for name, array in arrays.items()})


def unpack(record: Any, form: dict) -> dict[str, np.ndarray]:
    """name -> numpy array of an ArrayRecord; Refused unless it has these names, shapes and formats.

    form  name -> (shape, dtype)
    What the bytes say of themselves is compared before anything is allocated for them.
    """
    if not isinstance(record, ArrayRecord):
        raise Refused("there are no arrays in it")
    if set(record) != set(form):
        raise Refused(f"it has the arrays {_listed(record)}, and must have {_listed(form)}")
    return {name: _array(name, record[name], *form[name]) for name in form}


def _array(name, sent, shape, dtype):
    wanted = f"{np.dtype(dtype)} {tuple(shape)}"
    if sent.stype != FORMAT or not isinstance(sent.data, bytes):
        raise Refused(f"{name} is in the format {sent.stype!r:.40}, and must be {FORMAT}")
    content = io.BytesIO(sent.data)
    try:
        if np.lib.format.read_magic(content) != (1, 0):
            raise ValueError("version")
        found = np.lib.format.read_array_header_1_0(content)
    except ValueError as error:
        raise Refused(f"{name} is no .npy file of version 1.0 ({error!s:.80})") from None
    if found != (tuple(shape), False, np.dtype(dtype)):
        raise Refused(f"{name} is {found[2]} {found[0]}{' in columns' * found[1]}, and must be {wanted}")
    start, size = content.tell(), int(np.prod(shape, dtype=np.int64)) * np.dtype(dtype).itemsize
    if len(sent.data) != start + size:
        raise Refused(f"{name} has {len(sent.data) - start} bytes, and must have {size}")
    return np.frombuffer(sent.data, dtype=dtype, offset=start).reshape(shape)[()]


def pack_partition(settings: Settings, partition: Partition) -> dict:
    """The record, by its name, of what a partition was given by: a table of label counts, lists of examples; else none."""
    if settings.setting == TABLE:
        return {PARTITION: pack({"counts": partition.counts})}
    if settings.setting == LISTS:
        return {PARTITION: pack({f"{part}/{what}": array for part in ("train", "test") for what, array in
                                 (("sizes", [len(own) for own in getattr(partition, part)]),
                                  ("examples", np.concatenate(getattr(partition, part))))})}
    return {}


def unpack_partition(record: Any) -> Any:
    """The label counts (K, C), or the lists (train, test) of a server's record; None if there is none."""
    if record is None:
        return None
    arrays = {name: array.numpy() for name, array in record.items()}
    if "counts" in arrays:
        return arrays["counts"]
    return tuple(np.split(arrays[f"{part}/examples"], np.cumsum(arrays[f"{part}/sizes"])[:-1])
                 for part in ("train", "test"))


def pack_fields(fields: Any) -> ConfigRecord:
    """A ConfigRecord of a NamedTuple of numbers, texts and lists of whole numbers."""
    return ConfigRecord(fields._asdict())


def unpack_task(record: Any) -> Task:
    """The Task of a message."""
    return Task(**{name: str(record[name]) for name in Task._fields})


def unpack_job(record: Any) -> Job:
    """The Job of a message."""
    return Job(*(list(record[name]) if name in ("clients", "since", "test_own") else record[name] for name in Job._fields))


def own(message: Message, name: str, kind: Any) -> Any:
    """The record of that name of a reply, of that kind; Refused otherwise."""
    record = message.content.get(name)
    if not isinstance(record, kind):
        raise Refused(f"a reply without the record {name!r}")
    return record


def _listed(names):
    shown = ", ".join(sorted(map(str, names))[:6])
    return (shown[:120] or "none") + (", ..." if len(names) > 6 else "")
