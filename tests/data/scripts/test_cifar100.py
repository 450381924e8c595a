"""data_scripts/cifar100.py on small archives in the genuine format: two label bytes, two files of names."""

import dataclasses
import functools

import numpy as np
import pytest

from minifl.data import cifar, registry
from minifl.data.known import DATASETS
from minifl.data.files import read_dataset

from scripting import fails, listing, md5, put, run, targz

cifar100 = functools.partial(run, "cifar100")
FOLDER = "cifar-100-binary/"
COUNTS = {"train.bin": 110, "test.bin": 105}
FINE, COARSE = [f"fine_{i}" for i in range(100)], [f"coarse{i}" for i in range(20)]


@functools.cache
def records(name):
    """The bytes of one record file; every class occurs, the coarse one is not a function of the fine one."""
    n = COUNTS[name]
    raw = np.random.default_rng(n).integers(0, 256, (n, 3074), np.uint8)
    raw[:, 0], raw[:, 1] = np.arange(n) * 7 % 20, np.arange(n) * 3 % 100
    return raw.tobytes()


def members():
    names = {"fine_label_names.txt": FINE, "coarse_label_names.txt": COARSE}
    return {name: records(name) for name in COUNTS} | {
        name: ("\n".join(lines) + "\n").encode() for name, lines in names.items()}


def is_right(dataset, byte, names):
    assert dataset.class_names == tuple(names)
    for x, y, name in [(dataset.x_train, dataset.y_train, "train.bin"), (dataset.x_test, dataset.y_test, "test.bin")]:
        raw = records(name)
        assert y.tolist() == list(raw[byte::3074])
        n, i, j, c = np.indices(x.shape)
        assert x.shape == (COUNTS[name], 32, 32, 3)
        assert np.array_equal(x, np.frombuffer(raw, np.uint8)[n * 3074 + 2 + c * 1024 + i * 32 + j])


@pytest.mark.parametrize("labels, name, byte, names", [("fine", "cifar100", 1, FINE),
                                                       ("coarse", "cifar100-coarse", 0, COARSE)])
@pytest.mark.parametrize("way", ["archive", "folder", "server"])
def test_both_labels_from_everywhere(out, serve, way, labels, name, byte, names):
    content = targz(members(), FOLDER)
    put(out.parent, {"archive.tar.gz": content} | {FOLDER + file: raw for file, raw in members().items()})
    serve.files["c100"] = content
    options = {"archive": ["--from", out.parent / "archive.tar.gz"], "folder": ["--from", out.parent],
               "server": ["--url", f"{serve.url}/c100?key=secret", "--md5", md5(content)]}[way]
    result = cifar100("--data-dir", out, "--labels", labels, *options)
    assert result.exit_code == 0, result.output
    assert f"--data {name} --data-dir" in result.output and "warning: 110 training" in result.output
    assert listing(out) == [f"{name}.npz"]
    dataset = registry.load(name, out)
    is_right(dataset, byte, names)
    assert "secret" not in dataset.source
    expected = cifar.records_hash(cifar.CIFAR100, members()) if way == "folder" else md5(content)
    assert dataset.source.startswith("CIFAR-100 ") and expected in dataset.source


def test_fine_is_the_default_and_the_official_archive_is_recognized(out, monkeypatch):
    content = targz(members(), FOLDER)
    put(out.parent, {"a": content})
    monkeypatch.setitem(DATASETS, "cifar100", dataclasses.replace(DATASETS["cifar100"], md5=md5(content)))
    result = cifar100("--data-dir", out, "--from", out.parent / "a")
    assert result.exit_code == 0 and "note:" not in result.output
    assert "official archive" in read_dataset(out / "cifar100.npz").source


@pytest.mark.parametrize("change, words", [
    ({"train.bin": bytes(3073)}, "train.bin: 3073 bytes, must be a multiple of 3074"),
    ({"test.bin": b"\x14" + bytes(3073)}, "test.bin: record 0 has the label 20, must be 0..19"),
    ({"test.bin": bytes(3074) + b"\x00\x64" + bytes(3072)}, "test.bin: record 1 has the label 100, must be 0..99"),
    ({"fine_label_names.txt": b"one two"}, "fine_label_names.txt: 2 class names, must be 100"),
])
def test_what_does_not_fit(out, change, words):
    fails(cifar100("--data-dir", out, "--from", put(out.parent / "in", members() | change)), words)
    assert listing(out) == []


def test_cifar10_is_not_taken_for_it(out):
    put(out.parent, {"a": targz({"data_batch_1.bin": bytes(3073)}, "cifar-10-batches-bin/")})
    fails(cifar100("--data-dir", out, "--from", out.parent / "a"), "train.bin, test.bin", "binary version of CIFAR-100")
