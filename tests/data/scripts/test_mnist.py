"""data_scripts/mnist.py and fashionmnist.py on small idx files, compressed or not, from disk and from a server."""

import dataclasses
import functools
import gzip
import struct

import numpy as np
import pytest

from minifl.data import idx, registry
from minifl.data.known import DATASETS

from scripting import fails, flipped, listing, md5, put, run

COUNTS = (23, 11)


@functools.cache
def arrays(seed=0):
    rng = np.random.default_rng(seed)
    return [a for n in COUNTS for a in (rng.integers(0, 256, (n, 28, 28), np.uint8), np.arange(n, dtype=np.uint8) % 10)]


def encoded(array):
    return bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + array.tobytes()


def files(**changes):
    """{name: bytes} of the four files, unpacked; changes by t10k_labels and the like."""
    contents = dict(zip(idx.FILES, map(encoded, arrays())))
    for key, content in changes.items():
        contents[next(name for name in contents if name.replace("-", "_").startswith(key))] = content
    return contents


def packed(contents):
    return {f"{name}.gz": gzip.compress(content, mtime=0) for name, content in contents.items()}


def is_right(dataset):
    x_train, y_train, x_test, y_test = arrays()
    assert dataset.image_shape == (28, 28, 1) and dataset.num_classes == 10
    assert np.array_equal(dataset.x_train[..., 0], x_train) and np.array_equal(dataset.x_test[..., 0], x_test)
    assert np.array_equal(dataset.y_train, y_train) and np.array_equal(dataset.y_test, y_test)


@pytest.mark.parametrize("name, first, title", [("mnist", "0", "MNIST ("), ("fashionmnist", "T-shirt/top", "Fashion")])
@pytest.mark.parametrize("form", ["gz", "plain", "dots"])
def test_from_a_folder(out, name, first, title, form):
    contents = packed(files()) if form == "gz" else files()
    contents = {file.replace("-idx", ".idx") if form == "dots" else file: raw for file, raw in contents.items()}
    result = run(name, "--data-dir", out, "--from", put(out.parent / "in", contents))
    assert result.exit_code == 0, result.output
    assert "not the four official" in result.output and "warning: 23 training and 11 test images" in result.output
    dataset = registry.load(name, out)
    is_right(dataset)
    assert dataset.class_names[0] == first and dataset.source.startswith(title)
    assert idx.contents_hash(files().values()) in dataset.source


@pytest.fixture
def official(monkeypatch, serve):
    """MNIST whose official files are these, at the server."""
    serve.files |= packed(files())
    monkeypatch.setitem(DATASETS, "mnist", dataclasses.replace(
        DATASETS["mnist"], url=f"{serve.url}/mnist/", md5=tuple(map(md5, packed(files()).values()))))
    return serve


def test_download_of_the_four_files(out, official):
    result = run("mnist", "--data-dir", out)
    assert result.exit_code == 0, result.output
    assert listing(out) == ["mnist.npz"] and "note:" not in result.output
    dataset = registry.load("mnist", out)
    is_right(dataset)
    assert "official files" in dataset.source


def test_download_goes_on_where_it_stopped(out, official):
    official.files["t10k-labels-idx1-ubyte.gz"] = flipped(official.files["t10k-labels-idx1-ubyte.gz"])
    fails(run("mnist", "--data-dir", out), "t10k-labels-idx1-ubyte.gz", "removed")
    assert listing(out) == [f"mnist-{name}.gz.part" for name in sorted(idx.FILES) if "t10k-labels" not in name]
    official.files |= packed(files())
    official.asked.clear()
    assert run("mnist", "--data-dir", out, "--url", f"{official.url}/mirror").exit_code == 0
    assert [asked is None for asked in official.asked] == [False, False, False, True]
    assert listing(out) == ["mnist.npz"]


def test_official_files_are_recognized_in_a_folder(out, official):
    folder = put(out.parent / "in", packed(files()))
    result = run("mnist", "--data-dir", out, "--from", folder)
    assert result.exit_code == 0 and "note:" not in result.output


@pytest.mark.parametrize("changes, words", [
    (dict(train_images=b""), "train-images-idx3-ubyte: begins with nothing"),
    (dict(train_images=b"<html>" * 9), "begins with 3c 68 74 6d, an idx file of bytes on 3 axes with 00 00 08 03"),
    (dict(train_images=encoded(arrays()[1])), "begins with 00 00 08 01"),
    (dict(t10k_images=encoded(arrays()[2])[:-1]), "t10k-images-idx3-ubyte: 8623 bytes of elements, its header says"),
    (dict(t10k_labels=encoded(arrays()[1])), "t10k-labels-idx1-ubyte has 23 labels for 11 images"),
    (dict(train_labels=encoded(arrays()[1] + 1)), "train-labels-idx1-ubyte has the label 10, must be 0..9"),
])
def test_what_does_not_fit(out, changes, words):
    fails(run("mnist", "--data-dir", out, "--from", put(out.parent / "in", files(**changes))), out.parent / "in", words)
    assert listing(out) == []


def test_missing_and_damaged_files(out):
    folder = put(out.parent / "in", packed(files()))
    name = f"{idx.FILES[0]}.gz"
    (folder / name).write_bytes((folder / name).read_bytes()[:-5])
    fails(run("mnist", "--data-dir", out, "--from", folder), name, "cannot be read as a whole")
    (folder / name).unlink()
    fails(run("mnist", "--data-dir", out, "--from", folder), f"{idx.FILES[0]} missing")
    fails(run("mnist", "--data-dir", out, "--from", folder / f"{idx.FILES[1]}.gz"), "must be the folder")
    assert listing(out) == []
