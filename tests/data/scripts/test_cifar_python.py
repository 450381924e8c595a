"""The Python version of CIFAR: the same set as from the binary one, and no pickle runs anything."""

import dataclasses
import functools
import importlib
import os
import pickle
import struct

import numpy as np
import pytest

from scripting import COUNTS, NAMES, archive, fails, listing, md5, members, put, records, run, targz

from minifl.data import cifar, cifar_python, registry
from minifl.errors import InputError

cifar10 = functools.partial(run, "cifar10")


def py2_text(text):
    """The opcode of a short text of Python 2."""
    return b"U" + struct.pack("<B", len(text)) + text.encode() if len(text) < 256 else \
        b"T" + struct.pack("<i", len(text)) + text.encode()


def py2_pickle(data, **lists):
    """A pickle as NumPy and cPickle of Python 2 wrote them, protocol 2, by hand: texts are bytes."""
    rows, width = data.shape
    out = b"\x80\x02}q\x01(" + py2_text("data") + b"cnumpy.core.multiarray\n_reconstruct\ncnumpy\nndarray\nK\x00\x85"
    out += b"U\x01b\x87R(K\x01" + b"M" + struct.pack("<H", rows) + b"M" + struct.pack("<H", width) + b"\x86"
    out += b"cnumpy\ndtype\nU\x02u1K\x00K\x01\x87R(K\x03U\x01|NNNJ\xff\xff\xff\xffJ\xff\xff\xff\xffK\x00tb\x89"
    out += b"T" + struct.pack("<i", data.size) + data.tobytes() + b"tb"
    for name, values in lists.items():
        out += py2_text(name) + b"](" + b"".join(
            b"K" + bytes([value]) if isinstance(value, int) else py2_text(value) for value in values) + b"e"
    return out + b"u."


def rows(name):
    return np.frombuffer(records(name), np.uint8).reshape(COUNTS[name], 3073)


def python_members(dump=py2_pickle, **changes):
    """{file name: bytes} of CIFAR-10's Python version, with the images of `members`."""
    files = {name.removesuffix(".bin"): dump(rows(name)[:, 1:], labels=rows(name)[:, 0].tolist(),
                                             filenames=["x.png"] * COUNTS[name]) for name in COUNTS}
    files["batches.meta"] = pickle.dumps({b"label_names": [name.encode() for name in NAMES], b"num_vis": 3072}, 2)
    files["readme.html"] = b""
    return {name: raw for name, raw in (files | changes).items() if raw is not None}


def py3_pickle(protocol):
    return lambda data, **lists: pickle.dumps({"data": data, **lists}, protocol)


def py3_bytes(data, **lists):
    return pickle.dumps({b"data": data, **{name.encode(): values for name, values in lists.items()}}, 2)


def test_by_hand_it_is_what_pickle_reads():
    raw = py2_pickle(rows("test_batch.bin")[:, 1:], labels=[3, 1], filenames=["a.png", "b" * 300])
    theirs = pickle.loads(raw, encoding="bytes")
    ours = cifar_python.unpickled(raw, "here")
    assert theirs.keys() == {name.encode() for name in ours} and theirs[b"labels"] == ours["labels"] == [3, 1]
    np.testing.assert_array_equal(theirs[b"data"], ours["data"])
    assert ours["data"].dtype == np.uint8 and theirs[b"filenames"] == ours["filenames"]


@pytest.mark.parametrize("dump", [py2_pickle, py3_pickle(2), py3_pickle(4), py3_bytes])
def test_the_same_set_as_from_the_binary_version(out, dump):
    put(out.parent, {"binary": archive(members()), "python": archive(python_members(dump), "cifar-10-batches-py/")})
    put(out.parent / "folder" / "cifar-10-batches-py", python_members(dump))
    assert cifar10("--data-dir", out / "a", "--from", out.parent / "binary").exit_code == 0
    for name, origin in (("b", "python"), ("c", "folder"), ("d", "folder/cifar-10-batches-py")):
        result = cifar10("--data-dir", out / name, "--from", out.parent / origin)
        assert result.exit_code == 0, result.output
    a, *others = (registry.load("cifar10", out / name) for name in "abcd")
    for other in others:
        assert other.sha256 == a.sha256 and other.class_names == a.class_names
        assert "Python version" in other.source and "binary" not in other.source
    assert "which is not the official archive" in others[0].source


def test_the_official_archive_is_known_by_its_checksum(out, monkeypatch):
    content = archive(python_members(), "cifar-10-batches-py/")
    put(out.parent, {"cifar-10-python.tar.gz": content})
    assert cifar.CIFAR10.python_md5 == "c58f30108f718f92721af3b95e74349a"
    assert cifar.CIFAR100.python_md5 == "eb9058c3a382ffc7106e4002c42a8d85"
    script = importlib.import_module("cifar10")
    monkeypatch.setattr(script, "CIFAR10", dataclasses.replace(cifar.CIFAR10, python_md5=md5(content)))
    result = cifar10("--data-dir", out, "--from", out.parent / "cifar-10-python.tar.gz")
    assert result.exit_code == 0 and "not the official" not in result.output
    assert f"official archive, md5 {md5(content)}" in registry.load("cifar10", out).source


def test_cifar100_has_both_labels(out):
    rng = np.random.default_rng(0)
    data, fine = rng.integers(0, 256, (200, 3072), np.uint8), [i % 100 for i in range(200)]
    coarse = [y // 5 for y in fine]
    both = {name: py2_pickle(data[part], fine_labels=fine[part], coarse_labels=coarse[part])
            for name, part in (("train", slice(0, 150)), ("test", slice(150, 200)))}
    names = {f"{kind}_label_names": [f"{kind}{i}" for i in range(n)] for kind, n in (("fine", 100), ("coarse", 20))}
    put(out.parent, {"z": targz(both | {"meta": pickle.dumps(names, 2)}, "cifar-100-python/")})
    for labels, wanted in (("fine", fine), ("coarse", coarse)):
        assert run("cifar100", "--data-dir", out, "--from", out.parent / "z", "--labels", labels).exit_code == 0
        d = registry.load({"fine": "cifar100", "coarse": "cifar100-coarse"}[labels], out)
        assert d.y_train.tolist() == wanted[:150] and d.y_test.tolist() == wanted[150:] and d.class_names[1] == f"{labels}1"
        np.testing.assert_array_equal(d.x_test[3], data[153].reshape(3, 32, 32).transpose(1, 2, 0))


class Calls:
    def __init__(self, function, *arguments):
        self.reduced = function, arguments

    def __reduce__(self):
        return self.reduced


@pytest.mark.parametrize("value", [
    Calls(print, "run"), Calls(os.system, "echo run"), Calls(eval, "print('run')"), Calls(getattr, "a", "b"), print,
    np.float64(3), np.zeros(3), np.zeros(3, np.int16), np.array([print], dtype=object), np.zeros((3, 2), np.uint8, "F"),
    np.zeros(3, [("a", np.uint8)]), slice(3), 3j, range(3), bytearray(3),
])
@pytest.mark.parametrize("protocol", [0, 2, 4])
def test_nothing_else_is_called_or_looked_up(value, protocol, capfd):
    raw = pickle.dumps({"data": value, "labels": []}, protocol)
    with pytest.raises(InputError, match="^here: not a file of the Python version of CIFAR"):
        cifar_python.unpickled(raw, "here")
    assert capfd.readouterr().out == ""


@pytest.mark.parametrize("raw, words", [
    (b"", "not a file of the Python version"),
    (b"\x80\x02}q\x01.", "data must be images"),
    (b"\x80\x02]q\x01.", "holds list, must be a dict"),
    (pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2]}), "labels must be 3 whole numbers"),
    (pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, 10]}), "from 0 to 9"),
    (pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "labels": [1, 2, True]}), "labels must be 3 whole numbers"),
    (pickle.dumps({"data": np.zeros((3, 3072), np.uint8), "fine_labels": [1, 2, 3]}), "labels must be 3 whole numbers"),
    (pickle.dumps({"data": np.zeros((3, 3071), np.uint8), "labels": [1, 2, 3]}), "data must be images"),
    (b"\x80\x04\x8d" + b"\xff" * 8 + b".", "not a file of the Python version"),      # a text of 2**64 bytes
    (b"\x80\x04\x96\xff\xff\xff\xff\xff\xff\xff\x7f.", "not a file of the Python version"),      # bytes of 2**63
    (b"\x80\x02}r\xff\xff\xff\x7f.", "data must be images"),      # a memo with 2**31 places
])
def test_what_does_not_fit(out, raw, words):
    put(out.parent / "in", python_members(data_batch_2=raw))
    fails(cifar10("--data-dir", out, "--from", out.parent / "in"), "data_batch_2", words)
    assert listing(out) == []


def test_a_missing_file_and_names_that_are_none(out):
    put(out.parent / "in", python_members(test_batch=None))
    fails(cifar10("--data-dir", out, "--from", out.parent / "in"), "cifar-10-batches-py", "test_batch")
    put(out.parent / "b", python_members() | {"batches.meta": pickle.dumps({"label_names": [1]})})
    fails(cifar10("--data-dir", out, "--from", out.parent / "b"), "batches.meta", "class names")
