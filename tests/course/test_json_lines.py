"""Messages to and from a submission: plain data pass exactly, nothing else passes."""

import base64
import io
import json

import numpy as np
import pytest

from minifl.course.json_lines import Gone, Malformed, Objects, dumps, loads, written_back
from minifl.course.remote import Handle


class Stands:
    """For an object of the other side's."""

    def __init__(self, number, kind):
        self.number, self.kind = number, kind


def same(a, b):
    if isinstance(a, np.ndarray):
        return type(b) is np.ndarray and a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()
    if isinstance(a, (tuple, list)):
        return type(a) is type(b) and len(a) == len(b) and all(map(same, a, b))
    if isinstance(a, dict):
        return a.keys() == b.keys() and all(same(a[key], b[key]) for key in a)
    return type(a) is type(b) and (a == b or a != a)


@pytest.mark.parametrize("value", [
    None, True, 3, -2**70, 0.1, float("inf"), float("nan"), "text\n", (), [], {}, (1, [2, (3,)], {"a": None}), {"float": "x"},
    np.arange(6.0).reshape(2, 3), np.array(2.5), np.zeros((0, 3), dtype=np.float32), np.array([True, False]),
    np.array([1 + 2e-30j]), np.arange(4, dtype=np.uint8), np.float32(0.1), np.int64(5), np.bool_(True), np.complex128(1j),
    {"x": np.array([np.nan, -0.0, np.inf])}, ({"handle": 3}, {"tuple": [1]}),
])
def test_plain_data_pass_exactly(value):
    line = dumps(value)
    assert "\n" not in line and same(value, loads(line))


def test_what_is_no_plain_data_stays_and_comes_back():
    here, there = (Objects(lambda number, kind: Stands(number, kind), first) for first in (0, 100))
    things = [object(), {1: 2}, np.array([object()], dtype=object), np.ma.array([1.0]), Malformed, {3}]
    back = loads(dumps((np.ones(2), things, things[0]), here), there)
    assert [type(thing) for thing in back[1]] == [Stands] * len(things) and back[2] is back[1][0]
    assert [thing.kind for thing in back[1]] == ["object", "dict", "ndarray", "MaskedArray", "type", "set"]
    again = loads(dumps(back, there), here)
    assert all(a is b for a, b in zip(again[1], things))
    here.clear()
    with pytest.raises(Gone, match="went with its process"):
        loads(dumps(back, there), here)
    with pytest.raises(TypeError, match="object is no plain data"):
        dumps(object())


@pytest.mark.parametrize("line", [
    "", "x", "[1]", '{"pickle": "gASVAAA="}', '{"array": "AAAA"}', '{"array": "not base64!"}', '{"array": 3}', "{}", '{"tuple": 3}',
    '{"kept": {"yours": 3}}', '{"kept": {"object": "x", "type": "A"}}', '{"float": "x"}', "[" * 100_000, '{"list": ' * 3000,
])
def test_anything_else_is_malformed(line):
    with pytest.raises(Malformed):
        loads(line)


def test_a_pickled_array_is_not_loaded():
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(Malformed):
        loads(json.dumps({"array": base64.b64encode(file.getvalue()).decode()}))


def test_messages_are_limited():
    with pytest.raises(Malformed, match="more than 64 MB"):
        dumps("x" * 2**27)
    with pytest.raises(Malformed, match="more than 64 MB"):
        loads('"' + "x" * 2**27 + '"')


def test_an_array_is_made_only_if_its_bytes_are_there():
    def line(shape, dtype, data):
        file = io.BytesIO()
        np.lib.format.write_array_header_1_0(file, {"shape": shape, "fortran_order": False, "descr": dtype})
        return json.dumps({"array": base64.b64encode(file.getvalue() + data).decode()})

    assert same(loads(line((2,), "<i2", b"\1\0\2\0")), np.array([1, 2], dtype=np.int16))
    for shape, dtype, data in (((10**9,), "<f8", b""), ((2,), "<f8", bytes(17)), ((0, 10**30), "<f8", b""), ((1,), "<U1", bytes(4)),
                               ((1,), np.dtype(np.longdouble).str, bytes(16)), ((-1, -2), "<f8", bytes(16)), ((1,), "|O", bytes(8))):
        with pytest.raises(Malformed):
            loads(line(shape, dtype, data))
    odd = loads(line((3,), "|b1", b"\2\0\1"))
    assert odd.tobytes() == b"\1\0\1"      # 2 is True, and equal to it


def test_the_order_of_an_array_in_memory_passes_and_it_can_be_written():
    back = loads(dumps(np.asfortranarray(np.arange(6.0).reshape(2, 3))))
    assert back.flags.f_contiguous and not back.flags.c_contiguous and same(back, np.arange(6.0).reshape(2, 3))
    back[0, 0] = 5


def test_a_subclass_is_no_plain_data():
    class Text(str):
        pass

    class Number(float):
        pass

    for value in (Text("a"), Number(1), np.str_("a"), np.longdouble(1), np.array(["a"]), np.matrix([1])):
        objects = Objects(Stands)
        assert type(loads(dumps(value, objects), Objects(Stands))) is Stands


def test_what_a_call_has_changed_is_changed_in_place():
    x, inner, gone = np.zeros(3), [1, 2], np.zeros(2)
    before = [x, {"a": x, "inner": inner, "gone": gone, "whole": 1}, (inner, x)]
    kept = before[1]
    written_back(before, [np.ones(3), {"a": np.full(3, 5.0), "inner": [1, 2, 3], "new": np.ones(1), "whole": 2.0}, ([7], np.full(3, 6.0))])
    assert before[0] is x and before[1] is kept and kept["a"] is x and kept["inner"] is inner and before[2][0] is inner
    assert x.tolist() == [6, 6, 6] and inner == [7] and list(kept) == ["a", "inner", "whole", "new"] and kept["whole"] == 2.0
    written_back(before, [np.zeros((2, 2)), kept, before[2]])     # another shape: another array
    assert before[0].shape == (2, 2) and x.tolist() == [6, 6, 6]


def test_a_handle_is_of_no_use():
    handle = Handle(None, None, "Cache")
    for use in (np.asarray, list, bool, float, len, abs, lambda h: h[0], lambda h: h - 1, lambda h: np.ones(2) * h, lambda h: h < 1):
        with pytest.raises(TypeError, match="object of type Cache, where"):
            use(handle)
    assert "Cache" in repr(handle)
