"""data_scripts/cifar10.py on a small archive in the genuine format, and what all scripts share."""

import dataclasses
import functools
import gzip
import io
import os
import subprocess
import sys
import tarfile

import numpy as np
import pytest

from minifl.data import cifar
from minifl.data.known import DATASETS
from minifl.data.download import md5_of
from minifl.data.files import read_dataset

from scripting import NAMES, SCRIPTS, archive, fails, flipped, genuine, listing
from scripting import md5, members, put, records, run

cifar10 = functools.partial(run, "cifar10")
PART = "cifar-10-binary.tar.gz.part"


def is_right(path):
    """Every pixel and label of cifar10.npz at `path` is where the format says that it is."""
    d = read_dataset(path)
    assert d.class_names == tuple(NAMES) and d.image_shape == (32, 32, 3)
    train = b"".join(records(name) for name in cifar.CIFAR10.train)
    for x, y, raw in [(d.x_train, d.y_train, train), (d.x_test, d.y_test, records("test_batch.bin"))]:
        assert len(x) == len(y) == len(raw) // 3073
        assert y.tolist() == list(raw[::3073])
        n, i, j, c = np.indices(x.shape)
        assert np.array_equal(x, np.frombuffer(raw, np.uint8)[n * 3073 + 1 + c * 1024 + i * 32 + j])
    return d


def process(out, path):
    command = [sys.executable, SCRIPTS / "cifar10.py", "--data-dir", out, "--from", path]
    return subprocess.run(command, capture_output=True, text=True)


def on_disk(out, content):
    path = out.parent / "cifar-10-binary.tar.gz"
    path.write_bytes(content)
    return path


# From disk

def test_archive_from_disk_in_a_process_of_its_own(out):
    path = on_disk(out, genuine())
    done = process(out, path)
    assert done.returncode == 0, done.stderr
    assert listing(out) == ["cifar10.npz"]
    d = is_right(out / "cifar10.npz")
    for words in (d.sha256, d.source, str(out / "cifar10.npz"), "53 training and 13 test images",
                  f"python cli.py train --norm fn --data cifar10 --data-dir {out}"):
        assert words in done.stdout
    assert "warning: 53 training" in done.stderr
    assert f"not the official archive (md5 found {md5_of(path)}, official {cifar.CIFAR10.known.md5})" in done.stderr
    assert md5_of(path) in d.source and "not the official archive" in d.source


def test_error_in_a_process_of_its_own(out):
    path = on_disk(out, genuine()[:-1000])
    done = process(out, path)
    assert done.returncode == 2 and done.stdout == ""
    assert done.stderr.splitlines()[-1].startswith(f"error: {path}: not a whole .tar.gz archive")
    assert "Traceback" not in done.stderr and listing(out) == []


@pytest.mark.parametrize("inside", [True, False])
def test_folder_from_disk(out, inside):
    folder = out.parent / "cifar-10-batches-bin"
    folder.mkdir()
    put(folder, members())
    assert cifar10("--data-dir", out, "--from", folder if inside else out.parent).exit_code == 0
    d = is_right(out / "cifar10.npz")
    assert cifar.records_hash(cifar.CIFAR10, cifar.read_folder(cifar.CIFAR10, folder)) in d.source
    (folder / "data_batch_4.bin").unlink()
    fails(cifar10("--data-dir", out, "--from", folder, "--force"), folder, "data_batch_4.bin missing")
    is_right(out / "cifar10.npz")


def test_files_cut_at_a_record_are_named_with_their_counts(out, monkeypatch):
    whole = {f"data_batch_{i}.bin": len(records(f"data_batch_{i}.bin")) // 3073 for i in range(1, 6)}
    monkeypatch.setattr(cifar.Version, "genuine_of", property(lambda version: whole | {"test_batch.bin": 13}))
    folder = out.parent / "cifar-10-batches-bin"
    folder.mkdir()
    put(folder, members())
    assert "WARNING" not in cifar10("--data-dir", out, "--from", folder, "--force").stderr
    put(folder, members(test_batch_bin=records("test_batch.bin")[:-2 * 3073]))
    done = cifar10("--data-dir", out, "--from", folder, "--force")
    assert done.exit_code == 0 and "WARNING" not in done.stdout
    assert (f"WARNING: {folder} is not CIFAR-10 as published: test_batch.bin has 11 images instead of 13.\n"
            in done.stderr)
    assert "data_batch" not in done.stderr and "--force" in done.stderr


def test_published_counts():
    raw = dict.fromkeys(cifar.CIFAR10.genuine_of, bytes(3073 * 10_000))
    assert len(raw) == 6 and cifar.other_counts(cifar.CIFAR10, raw) == []
    raw["data_batch_4.bin"] = bytes(3073 * 1_000)
    assert cifar.other_counts(cifar.CIFAR10, raw) == ["data_batch_4.bin has 1,000 images instead of 10,000"]
    assert cifar.CIFAR100.genuine_of == {"train.bin": 50_000, "test.bin": 10_000}


def test_folder_by_environment_and_by_default(out, monkeypatch):
    path = on_disk(out, genuine())
    assert cifar10("--from", path).exit_code == 0
    is_right(out.parent / "data" / "cifar10.npz")
    monkeypatch.setenv("MINIFL_DATA", "elsewhere")
    assert cifar10("--from", path).exit_code == 0
    is_right(out.parent / "elsewhere" / "cifar10.npz")


def test_official_archive_is_recognized_by_its_checksum(out, monkeypatch):
    monkeypatch.setitem(DATASETS, "cifar10", dataclasses.replace(DATASETS["cifar10"], md5=md5(genuine())))
    result = cifar10("--data-dir", out, "--from", on_disk(out, genuine()))
    assert result.exit_code == 0 and "note:" not in result.output
    assert "official archive" in is_right(out / "cifar10.npz").source


def test_md5_given_must_fit(out):
    path = on_disk(out, genuine())
    fails(cifar10("--data-dir", out, "--from", path, "--md5", "0" * 32), md5_of(path), "0" * 32)
    assert listing(out) == []
    assert cifar10("--data-dir", out, "--from", path, "--md5", md5_of(path).upper()).exit_code == 0
    is_right(out / "cifar10.npz")


BROKEN = {
    "empty": (lambda: b"", "not a whole"),
    "text": (lambda: b"<html>404</html>\n" * 100, "not a whole"),
    "truncated": (lambda: genuine()[:len(genuine()) // 2], "not a whole"),
    "truncated by a byte": (lambda: genuine()[:-1], "not a whole"),
    "corrupted": (lambda: flipped(genuine()), "not a whole"),
    "no tar": (lambda: gzip.compress(os.urandom(5000)), "not a whole"),
    "python version": (lambda: archive(members(), "cifar-10-batches-py/"), "found cifar-10-batches-py/data"),
    "member missing": (lambda: archive(members(data_batch_3_bin=None)), "data_batch_3.bin missing"),
    "member too short": (lambda: archive(members(test_batch_bin=records("test_batch.bin")[:-1])),
                         "test_batch.bin: 39948 bytes"),
    "member empty": (lambda: archive(members(data_batch_2_bin=b"")), "data_batch_2.bin: 0 bytes"),
    "label": (lambda: archive(members(data_batch_5_bin=records("data_batch_5.bin") + b"\n" + bytes(3072))),
              "data_batch_5.bin: record 10 has the label 10"),
    "nine names": (lambda: archive(members(batches_meta_txt="\n".join(NAMES[:9]).encode())), "9 class names"),
    "names are no text": (lambda: archive(members(batches_meta_txt=b"\xff" * 10)), "meta.txt: not a text"),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("way", ["disk", "server"])
def test_broken_archive_is_an_error_and_writes_nothing(out, serve, case, way):
    make, words = BROKEN[case]
    content, words = make(), words if way == "disk" or case != "empty" else "stopped after 0 of"
    if way == "disk":
        fails(cifar10("--data-dir", out, "--from", on_disk(out, content)), "cifar-10-binary.tar.gz", words)
    else:    # the checksum is right, as of an archive that was published like that, so the download is kept
        serve.files["a"] = content
        fails(cifar10("--data-dir", out, "--url", f"{serve.url}/a", "--md5", md5(content)), words)
    assert listing(out) == ([PART] if way == "server" and content else [])


def test_nothing_is_extracted(out):
    evil = {"../../evil": b"x", "/evil": b"x", **members()}
    result = cifar10("--data-dir", out, "--from", on_disk(out, archive(evil, "cifar-10-batches-bin/")))
    assert result.exit_code == 0
    assert not list(out.parent.rglob("evil")) and listing(out) == ["cifar10.npz"]


def test_link_is_no_data_file(out):
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w:gz") as tar:
        info = tarfile.TarInfo("cifar-10-batches-bin/test_batch.bin")
        info.type, info.linkname = tarfile.SYMTYPE, "/etc/passwd"
        tar.addfile(info)
    fails(cifar10("--data-dir", out, "--from", on_disk(out, raw.getvalue())), "test_batch.bin")


def test_existing_file_is_kept_without_force(out):
    path = on_disk(out, genuine())
    cifar10("--data-dir", out, "--from", path)
    before = (out / "cifar10.npz").stat()
    result = cifar10("--data-dir", out, "--from", path)
    assert result.exit_code == 0 and "is there already and valid" in result.output
    assert (out / "cifar10.npz").stat() == before
    assert cifar10("--data-dir", out, "--from", path, "--force").exit_code == 0
    assert (out / "cifar10.npz").stat().st_ino != before.st_ino
    (out / "cifar10.npz").write_bytes(b"damaged")
    fails(cifar10("--data-dir", out, "--from", path), out / "cifar10.npz", "--force")
    assert (out / "cifar10.npz").read_bytes() == b"damaged"
    assert cifar10("--data-dir", out, "--from", path, "--force").exit_code == 0
    is_right(out / "cifar10.npz")


def test_options_that_cannot_be_used(out):
    path = on_disk(out, genuine())
    (out / "file").write_text("")
    for args, word in [(["--from", "nowhere"], "--from nowhere: no such file or folder"),
                       (["--from", out, "--url", "http://127.0.0.1"], "--from and --url"),
                       (["--from", out, "--md5", "0" * 32], "--md5"),
                       (["--md5", "xyz"], "--md5 xyz: must be 32 hexadecimal digits"),
                       (["--url", "ftp://host/file"], "must begin with http"),
                       (["--url", "https://"], "https://"),
                       (["--data-dir", out / "file", "--url", "http://127.0.0.1"], "cannot be written"),
                       (["--data-dir", out / "file", "--from", path], "cannot be written")]:
        fails(cifar10(*([] if "--data-dir" in args else ["--data-dir", out]), *args), word)
    assert listing(out) == ["file"]
