"""The scripts on files that are no regular ones, that unpack to more than there is memory, and on names of two forms."""

import gzip
import io
import os
import sys
import tarfile
import unicodedata
import zipfile

import numpy as np
import pytest

from minifl.data import cifar, idx, registry, table
from minifl.data.dataset import make_dataset
from minifl.data.tree import Tree
from minifl.errors import InputError

from scripting import color, fails, listing, picture, put, run, zipped

COMPOSED, APART = (unicodedata.normalize(form, "éclair") for form in ("NFC", "NFD"))


@pytest.mark.parametrize("script, name", [("cifar10", "archive"), ("folder", "archive"), ("mnist", idx.FILES[0]),
                                          ("cifar10", "folder/data_batch_1.bin")])
def test_a_pipe_is_not_waited_for(out, script, name):
    source = out.parent / "in"
    (source / name).parent.mkdir(parents=True)
    if script == "mnist":
        put(source, dict.fromkeys(idx.FILES[1:], b""))
    os.mkfifo(source / name)
    origin = source if script == "mnist" else source / name.partition("/")[0]
    fails(run(script, "--data-dir", out, "--from", origin, *(["--name", "own"] if script == "folder" else [])),
          "named pipe", source)
    assert not out.exists() or listing(out) == []


def test_a_pipe_in_place_of_the_result(out):
    out.mkdir(exist_ok=True)
    os.mkfifo(out / "own.npz")
    source = put(out.parent / "in", {f"{c}/{i}.png": picture("red", (4, 4)) for c in "ab" for i in range(2)})
    fails(run("folder", "--data-dir", out, "--from", source, "--name", "own"), "own.npz: cannot be read", "named pipe")
    fails(run("folder", "--data-dir", out, "--from", source, "--name", "own", "--force"), "own.npz exists", "named pipe")


class Zeros(io.RawIOBase):
    """A file of zeros, as long as it has to be, that is never there as a whole."""

    def __init__(self, size):
        self.left = size

    def read(self, n=-1):
        n = self.left if n < 0 else min(n, self.left)
        self.left -= n
        return bytes(n)


def tar_of(path, size, name="cifar-10-batches-bin/data_batch_1.bin", **entry):
    with gzip.open(path, "wb", compresslevel=1) as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        info = tarfile.TarInfo(name)
        info.size = size
        for key, value in entry.items():
            setattr(info, key, value)
        tar.addfile(info, Zeros(size))


def test_a_member_that_unpacks_to_more_than_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr(cifar, "LARGEST", 10 << 20)
    tar_of(tmp_path / "a.tar.gz", 40 << 20)
    with pytest.raises(InputError, match="a.tar.gz: not a whole .tar.gz archive .it holds more than 10,485,760 bytes"):
        cifar.read_archive(cifar.CIFAR10, tmp_path / "a.tar.gz")


@pytest.mark.parametrize("kind", [tarfile.XHDTYPE, tarfile.GNUTYPE_LONGNAME])
def test_a_header_that_unpacks_to_more_than_a_limit(tmp_path, kind):
    tar_of(tmp_path / "a.tar.gz", 40 << 20, name="x", type=kind)
    with pytest.raises(InputError, match="a header of 41,943,040 bytes, at most 1,048,576 are read"):
        cifar.read_archive(cifar.CIFAR10, tmp_path / "a.tar.gz")


def test_images_that_unpack_to_more_than_a_limit(tmp_path, monkeypatch):
    monkeypatch.setattr("minifl.reading.LARGEST", 1 << 20)
    monkeypatch.setattr("minifl.reading.rest.__defaults__", (1 << 20, None))
    with gzip.open(tmp_path / "images.gz", "wb", compresslevel=1) as f:
        f.write(bytes(8 << 20))
    with pytest.raises(InputError, match="images.gz: cannot be read as a whole .it holds more than 1,048,576 bytes"):
        idx.read(tmp_path / "images.gz")


def test_a_member_of_a_zip_of_three_gigabytes(tmp_path):
    with zipfile.ZipFile(tmp_path / "z.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a/0.png", bytes(1 << 20))
    raw = bytearray((tmp_path / "z.zip").read_bytes())
    at = raw.rindex(b"PK\1\2") + 24
    raw[at:at + 4] = (3 << 30).to_bytes(4, "little")
    (tmp_path / "z.zip").write_bytes(raw)
    with pytest.raises(ValueError, match="3,221,225,472 bytes, at most 268,435,456 are read"):
        Tree(tmp_path / "z.zip").read("a/0.png")


# ---- one name in two forms of Unicode

def source_of(out, *folders):
    names = [f"{folder}/{i}.png" for folder in folders for i in range(3)]
    return put(out.parent / "in", {name: picture(color(name), (4, 4)) for name in names})


@pytest.mark.parametrize("form", ["folder", "zip"])
@pytest.mark.parametrize("folders", [
    (f"train/{COMPOSED}", "train/tarte", f"test/{APART}", "test/tarte"),
    (f"train/{APART}", "train/tarte", f"test/{COMPOSED}", "test/tarte"), (APART, "tarte")])
def test_a_class_in_two_forms_is_one_class(out, form, folders):
    source = source_of(out, *folders)
    if form == "zip":
        files = {str(path.relative_to(source)): path.read_bytes() for path in source.rglob("*.png")}
        source = put(out.parent, {"z.zip": zipped(files)}) / "z.zip"
    result = run("folder", "--data-dir", out, "--from", source, "--name", "own")
    assert result.exit_code == 0, result.output
    assert registry.load("own", out).class_names == ("tarte", COMPOSED)


def test_two_folders_of_one_name_are_named(out):
    result = run("folder", "--data-dir", out, "--from", source_of(out, COMPOSED, APART, "tarte"), "--name", "own")
    assert result.exit_code == 0 and f"note: {COMPOSED} is there in 2 forms of Unicode" in result.output
    dataset = registry.load("own", out)
    assert dataset.class_names == ("tarte", COMPOSED) and np.bincount(dataset.y_train).tolist() == [2, 5]


def test_a_table_may_have_the_names_in_the_other_form(tmp_path):
    table.write_csv(tmp_path / "a.csv", np.array([[1, 2]]), (APART, "tarte"))
    assert table.read_csv(tmp_path / "a.csv", (COMPOSED, "tarte")).tolist() == [[1, 2]]


@pytest.mark.parametrize("names, text", [((COMPOSED, APART), "class_names must differ"), (("a", "a"), "must differ"),
                                         (("a", 7), "must be texts"), (("a", "b\n"), "that can be printed"),
                                         (("a", "\udcff"), "that can be printed")])
def test_names_that_are_not_names(names, text):
    with pytest.raises(InputError, match=text):
        x, y = np.zeros((2, 4, 4, 1), np.uint8), np.arange(2)
        make_dataset("own", x, y, x, y, names, "a test")


def test_notes_on_names_that_the_output_lacks(out, monkeypatch):
    source = source_of(out, "日本語", "tarte")
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="cp1252"))
    monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(io.BytesIO(), encoding="cp1252"))
    import folder
    with pytest.raises(SystemExit) as end:
        folder.main(["--data-dir", str(out), "--from", str(source), "--name", "own"])
    sys.stdout.flush()
    assert end.value.code == 0 and b"2 classes" in raw.getvalue()
