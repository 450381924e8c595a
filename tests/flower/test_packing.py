"""Arrays in messages: what was packed comes out to the bit, nothing of another form does, least of all a pickle."""

import io
import tracemalloc

import numpy as np
import pytest

from inprocess import Array, ArrayRecord

from minifl.flower import packing
from minifl.flower.node import Job, Task
from minifl.flower.replies import Refused

FORM = {"a": ((2, 3), np.float32)}
RIGHT = np.arange(6, dtype=np.float32).reshape(2, 3)


def sent(data=None, stype="numpy.ndarray", dtype="float32", shape=(2, 3)):
    """A record with one array, of whatever bytes."""
    return ArrayRecord({"a": Array(dtype=dtype, shape=shape, stype=stype, data=data)})


def npy(array, **options):
    content = io.BytesIO()
    np.save(content, array, **options)
    return content.getvalue()


@pytest.mark.parametrize("array", [RIGHT, np.float32(3.5), np.zeros(0, np.float32), np.arange(3), np.zeros((2, 0, 3)),
                                   RIGHT.T, RIGHT[:, ::2], np.array([np.nan, -0.0, 1e-45], np.float32)],
                         ids=lambda a: f"{a.dtype}{a.shape}")
def test_what_was_packed_comes_out_to_the_bit(array):
    found = packing.unpack(packing.pack({"a": array}), {"a": (array.shape, array.dtype)})["a"]
    assert found.shape == array.shape and found.dtype == array.dtype and found.tobytes() == array.tobytes()


@pytest.mark.parametrize("record, reason", [
    (sent(npy(RIGHT.astype(np.float64))), "a is float64"), (sent(npy(RIGHT.T.copy())), r"a is float32 \(3, 2\)"),
    (sent(npy(np.asfortranarray(RIGHT))), "in columns"), (sent(npy(RIGHT.astype(">f4"))), "a is >f4"),
    (sent(npy(RIGHT)[:-1]), "a has 23 bytes, and must have 24"), (sent(npy(RIGHT) + b"x"), "a has 25 bytes"),
    (sent(b""), "no .npy file"), (sent(b"\x93NUMPY\x02\x00" + npy(RIGHT)[8:]), "no .npy file of version 1.0"),
    (sent(b"PK\x03\x04"), "no .npy file"), (sent(npy(RIGHT), stype="pickle"), "in the format 'pickle'"),
    (packing.pack({"b": RIGHT}), "it has the arrays b, and must have a"),
    (packing.pack({"a": RIGHT, "b": RIGHT}), "it has the arrays a, b, and must have a"),
    (packing.pack({}), "it has the arrays none"), ({}, "there are no arrays"), (None, "there are no arrays"),
])
def test_what_is_of_another_form_is_refused(record, reason):
    with pytest.raises(Refused, match=reason):
        packing.unpack(record, FORM)


class Trap:
    sprung = False

    def __reduce__(self):
        return setattr, (Trap, "sprung", True)


def test_nothing_is_unpickled():
    pickled = npy(np.array([Trap()], dtype=object), allow_pickle=True)
    for form in (FORM, {"a": ((1,), np.dtype(object))}):
        with pytest.raises((Refused, ValueError)):
            packing.unpack(sent(pickled), form)
    assert not Trap.sprung
    np.load(io.BytesIO(pickled), allow_pickle=True)
    assert Trap.sprung      # it is one


def test_a_header_that_claims_terabytes_costs_nothing():
    huge = b"\x93NUMPY\x01\x00" + len(header := b"{'descr': '<f4', 'fortran_order': False, 'shape': (1000000000000,), }"
                                      .ljust(117) + b"\n").to_bytes(2, "little") + header
    tracemalloc.start()
    with pytest.raises(Refused, match=r"a is float32 \(1000000000000,\)"):
        packing.unpack(sent(huge), FORM)
    assert tracemalloc.get_traced_memory()[1] < 1e6
    tracemalloc.stop()


def test_fields_come_back():
    job, task = Job(3, [1, 2], [0, 3], 2, [2]), Task("{}", "run", "data", "partition")
    assert packing.unpack_job(packing.pack_fields(job)) == job
    assert packing.unpack_job(packing.pack_fields(Job(0, [], [], 0, []))) == Job(0, [], [], 0, [])
    assert packing.unpack_task(packing.pack_fields(task)) == task
