"""The one-file format: what is written comes back, and what is damaged or foreign is refused."""

import dataclasses
import errno
import io
import zipfile

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from minifl.data.dataset import Dataset, content_hash, make_dataset, shared_images
from minifl.data.files import read_dataset, write_dataset
from minifl.errors import InputError

ARRAYS = ("x_train", "y_train", "x_test", "y_test", "domain_train", "domain_test")


def small(domains=False, seed=0):
    rng = np.random.default_rng(seed)
    x_train, y_train = rng.integers(0, 256, (7, 5, 4, 3), np.uint8), rng.integers(0, 4, 7)
    x_test, y_test = rng.integers(0, 256, (3, 5, 4, 3), np.uint8), rng.integers(0, 4, 3)
    extra = (rng.integers(0, 2, 7), rng.integers(0, 2, 3), ("photo", "sketch")) if domains else ()
    return make_dataset("cifar10", x_train, y_train, x_test, y_test, "abcd", "A test in Ünicode.", *extra)


def same(a, b):
    for field in dataclasses.fields(Dataset):
        u, v = getattr(a, field.name), getattr(b, field.name)
        if type(u) is not type(v):
            return False
        if field.name not in ARRAYS and u != v:
            return False
        if field.name in ARRAYS and u is not None and not (u.dtype == v.dtype and np.array_equal(u, v)):
            return False
    return True


def refused(path, *words):
    with pytest.raises(InputError) as caught:
        read_dataset(path)
    message = str(caught.value)
    for word in (str(path), "make it anew with: python data_scripts/", *words):
        assert word in message
    assert "\n" not in message


# The format

@pytest.mark.parametrize("domains", [False, True])
def test_round_trip(tmp_path, domains):
    written = small(domains=domains)
    write_dataset(tmp_path / "new" / "cifar10.npz", written)
    read = read_dataset(tmp_path / "new" / "cifar10.npz")
    assert same(written, read)
    assert (read.num_classes, read.image_shape) == (4, (5, 4, 3))
    assert [p.name for p in (tmp_path / "new").iterdir()] == ["cifar10.npz"]


def test_same_arrays_make_the_same_bytes(tmp_path):
    for name in "ab":
        write_dataset(tmp_path / name, small())
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()


def test_images_are_memory_mapped_read_only(tmp_path):
    write_dataset(tmp_path / "d.npz", small())
    read = read_dataset(tmp_path / "d.npz")
    for x in (read.x_train, read.x_test):
        assert isinstance(x.base, np.memmap) and not x.flags.writeable


def test_plain_numpy_opens_the_file(tmp_path):
    write_dataset(tmp_path / "d.npz", small())
    with np.load(tmp_path / "d.npz", allow_pickle=False) as z:
        assert np.array_equal(z["x_train"], small().x_train)


def test_a_large_file_is_opened_without_reading_its_images(tmp_path, monkeypatch):
    path = tmp_path / "d.npz"
    write_dataset(path, small())
    raw = bytearray(path.read_bytes())
    raw[raw.index(small().x_train.tobytes())] ^= 1
    path.write_bytes(raw)
    monkeypatch.setattr("minifl.data.files.CRC_LIMIT", 0)
    assert np.sum(read_dataset(path).x_train != small().x_train) == 1


def test_hash_tells_content_shape_and_order_apart():
    a, b = np.arange(6), np.arange(6)[::-1]
    hashes = {content_hash(a, b), content_hash(b, a), content_hash(a.reshape(2, 3), b),
              content_hash(a.astype(np.int32), b), content_hash(a)}
    assert len(hashes) == 5
    assert content_hash(a, None, b) == content_hash(a.copy(), b.copy())


@pytest.mark.parametrize("change, word", [
    (dict(x_train=np.zeros((7, 5, 4, 3))), "uint8"),
    (dict(x_test=np.zeros((3, 5, 4), np.uint8)), "(N, H, W, C)"),
    (dict(x_test=np.zeros((3, 4, 4, 3), np.uint8)), "test images"),
    (dict(x_test=np.zeros((0, 5, 4, 3), np.uint8), y_test=np.zeros(0, np.int64)), "(0, 5, 4, 3)"),
    (dict(y_train=np.zeros(6, np.int64)), "(6,)"),
    (dict(y_train=np.zeros(7, np.int32)), "int32"),
    (dict(y_test=np.array([0, 4, 1])), "0..3"),
    (dict(y_test=np.array([0, -1, 1])), "0..3"),
    (dict(domain_train=np.zeros(7, np.int64)), "domain_test"),
    (dict(domain_names=("a", "b")), "domain_names"),
    (dict(domain_train=np.full(7, 2), domain_test=np.zeros(3, np.int64), domain_names=("a", "b")), "0..1"),
])
def test_arrays_that_do_not_fit_are_neither_written_nor_read(tmp_path, monkeypatch, change, word):
    wrong = dataclasses.replace(small(), **change)
    with pytest.raises(InputError) as caught:
        write_dataset(tmp_path / "d.npz", wrong)
    assert word in str(caught.value) and not list(tmp_path.iterdir())
    with monkeypatch.context() as patch:
        patch.setattr("minifl.data.files.check", lambda dataset: None)
        write_dataset(tmp_path / "d.npz", wrong)
    refused(tmp_path / "d.npz", word)


# Writing is all or nothing

@pytest.mark.parametrize("error, raised", [(KeyboardInterrupt(), KeyboardInterrupt),
                                           (OSError(errno.ENOSPC, "No space left on device"), InputError)])
def test_interrupted_writing_leaves_the_old_file_and_nothing_else(tmp_path, monkeypatch, error, raised):
    write_dataset(tmp_path / "d.npz", small())

    def half(f, **arrays):
        f.write(b"half")
        raise error
    monkeypatch.setattr("numpy.savez", half)
    with pytest.raises(raised):
        write_dataset(tmp_path / "d.npz", small(seed=1))
    assert [p.name for p in tmp_path.iterdir()] == ["d.npz"]
    assert same(read_dataset(tmp_path / "d.npz"), small())


def test_folder_that_cannot_be_written(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        write_dataset(tmp_path / "file" / "d.npz", small())
    (tmp_path / "d.npz").mkdir()
    with pytest.raises(InputError, match="cannot be written"):
        write_dataset(tmp_path / "d.npz", small())
    assert sorted(p.name for p in tmp_path.iterdir()) == ["d.npz", "file"]


# Damaged and foreign files

def test_missing_file_and_folder_instead_of_file(tmp_path):
    refused(tmp_path / "d.npz", "No such file")
    refused(tmp_path, "directory")


@pytest.mark.parametrize("content", [b"", b"not a data set\n", b"PK\x03\x04" + bytes(100), bytes(5000)])
def test_foreign_file(tmp_path, content):
    (tmp_path / "cifar10.npz").write_bytes(content)
    refused(tmp_path / "cifar10.npz", "not a data set of minifl")


def test_foreign_zips(tmp_path):
    path = tmp_path / "cifar10.npz"
    with zipfile.ZipFile(path, "w") as z:
        z.writestr("letter.txt", "hello")
    refused(path, "x_train.npy", "letter.txt")
    with zipfile.ZipFile(path, "w"):
        pass
    refused(path, "found nothing")
    members = {key: getattr(small(), key) for key in ARRAYS[:4]}
    np.savez(path, **members)
    refused(path, "metadata.npy missing")
    np.savez(path, metadata=np.array("no json"), **members)
    refused(path)
    np.savez(path, metadata=np.array('{"name": "cifar10"}'), **members)
    refused(path, "class_names")
    np.savez_compressed(path, metadata=np.array("{}"), **members)
    refused(path, "compressed")
    with zipfile.ZipFile(path, "w") as z:
        for name in ("metadata", "x_train", "y_train", "x_test", "y_test"):
            z.writestr(f"{name}.npy", "hello")
    refused(path)


def test_a_pickle_is_not_opened(tmp_path):
    path = tmp_path / "cifar10.npz"
    arrays = {key: getattr(small(), key) for key in ARRAYS[:4]}
    np.savez(path, metadata=np.array([{"name": "cifar10"}], dtype=object), **arrays)
    refused(path, "object")


@pytest.mark.parametrize("key, size, descr, shape", [
    ("x_train", 7 * 60, "|u1", (10**6, 5, 4, 3)), ("x_train", 7 * 60, "|u1", (6, 5, 4, 3)),
    ("y_train", 7 * 8, "|O", (7,))])
def test_header_that_says_what_the_member_does_not_hold(tmp_path, key, size, descr, shape):
    path = tmp_path / "cifar10.npz"
    write_dataset(path, small())
    with zipfile.ZipFile(path) as z:
        members = {name: z.read(name) for name in z.namelist()}
    header = io.BytesIO()
    np.lib.format.write_array_header_1_0(header, dict(descr=descr, fortran_order=False, shape=shape))
    members[f"{key}.npy"] = header.getvalue() + members[f"{key}.npy"][-size:]
    with zipfile.ZipFile(path, "w") as z:
        for name, content in members.items():
            z.writestr(name, content)
    refused(path, f"{key}.npy says {np.dtype(descr)} {shape}")


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("written") / "cifar10.npz"
    write_dataset(path, small(domains=True))
    return path, path.read_bytes()


@given(data=st.data())
@settings(max_examples=150, deadline=None)
def test_truncated_anywhere_is_refused(written, data):
    path, raw = written
    path.write_bytes(raw[:data.draw(st.integers(0, len(raw) - 1))])
    refused(path)


@given(data=st.data())
@settings(max_examples=400, deadline=None)
def test_a_changed_byte_is_refused_or_harmless(written, data):
    path, raw = written
    changed = bytearray(raw)
    changed[data.draw(st.integers(0, len(raw) - 1))] ^= data.draw(st.integers(1, 255))
    path.write_bytes(changed)
    try:
        read = read_dataset(path)
    except InputError:
        return
    assert same(read, small(domains=True))    # it was one of zip's dates and the like


def test_a_changed_pixel_is_refused(written):
    path, raw = written
    at = raw.index(small(domains=True).x_test.tobytes())
    path.write_bytes(raw[:at] + bytes([raw[at] ^ 1]) + raw[at + 1:])
    refused(path, "x_test.npy", "checksum")


# ---- images that are in training and test

def test_shared_images_are_the_plain_loop():
    rng = np.random.default_rng(0)
    train, test = rng.integers(0, 2, (60, 2, 3, 1), np.uint8), rng.integers(0, 2, (20, 2, 3, 1), np.uint8)
    found = shared_images(make_dataset("noise", train, np.zeros(60, np.int64), test, np.zeros(20, np.int64), "ab", "noise"))
    pairs = [(i, j) for j in range(20) for i in range(60) if (train[i] == test[j]).all()]
    assert found == (len({j for _, j in pairs}), *pairs[0]) and 0 < found.count < 20


def test_no_images_are_shared_where_none_are():
    images = np.arange(40, dtype=np.uint8).reshape(10, 2, 2, 1)
    twice = np.concatenate([images[:5], images[:5]])     # twice in training alone
    labels = np.zeros(10, np.int64)
    assert shared_images(make_dataset("x", twice, labels, images[5:], labels[:5], "ab", "noise")) is None
