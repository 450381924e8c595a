"""Messages to and from a submission: plain data pass exactly, nothing else passes."""

import json

import numpy as np
import pytest

from minifl.course.wire import Handle, Malformed, dumps, loads


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
    kept = []

    def keep(value):
        kept.append(value)
        return len(kept) - 1

    things = [object(), {1: 2}, np.array([object()], dtype=object), np.ma.array([1.0]), Malformed, {3}]
    back = loads(dumps((np.ones(2), things), keep))
    assert [type(thing) for thing in back[1]] == [Handle] * len(things) and len(kept) == len(things)
    again = loads(dumps(back), kept.__getitem__)
    assert all(a is b for a, b in zip(again[1], things))
    with pytest.raises(TypeError, match="object is no plain data"):
        dumps(object())


@pytest.mark.parametrize("line", [
    "", "x", "[1]", '{"pickle": "gASVAAA="}', '{"array": "AAAA"}', '{"array": "not base64!"}', '{"array": 3}', "{}", '{"tuple": 3}',
    '{"handle": "x"}', '{"float": "x"}', "[" * 100_000, '{"list": ' * 3000,
])
def test_anything_else_is_malformed(line):
    with pytest.raises(Malformed):
        loads(line)


def test_a_pickled_array_is_not_loaded():
    import base64
    import io
    file = io.BytesIO()
    np.save(file, np.array([print], dtype=object), allow_pickle=True)
    with pytest.raises(Malformed):
        loads(json.dumps({"array": base64.b64encode(file.getvalue()).decode()}))


def test_messages_are_limited():
    with pytest.raises(Malformed, match="more than 64 MB"):
        dumps("x" * 2**27)
    with pytest.raises(Malformed, match="more than 64 MB"):
        loads('"' + "x" * 2**27 + '"')
