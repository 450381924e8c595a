"""Calling the scripts of data_scripts/, and small archives in the genuine formats."""

import functools
import gzip
import hashlib
import importlib
import io
import tarfile
import zipfile
from pathlib import Path

import numpy as np
from click.testing import CliRunner
from PIL import Image

SCRIPTS = Path(__file__).resolve().parents[3] / "data_scripts"


def run(script, *args):
    return CliRunner().invoke(importlib.import_module(script).main, [str(a) for a in args])


def fails(result, *words):
    """Exit code 2, one error at the end of the output that has these words, no traceback."""
    assert isinstance(result.exception, SystemExit) and result.exit_code == 2, result.output
    before, *error = result.output.split("error: ")
    assert len(error) == 1 and (not before or before.endswith("\n"))
    for word in words:
        assert str(word) in error[0]
    return error[0]


def listing(folder):
    return sorted(p.name for p in folder.iterdir())


def md5(content):
    return hashlib.md5(content).hexdigest()


def flipped(content):
    """With one byte in the middle changed."""
    middle = len(content) // 2
    return content[:middle] + bytes([content[middle] ^ 255]) + content[middle + 1:]


def put(folder, files):
    """Write {name: bytes} below a folder."""
    for name, content in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return folder


# Archives

def targz(files, folder=""):
    """Bytes of a .tar.gz of {name: bytes}."""
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb") as zipped, tarfile.open(fileobj=zipped, mode="w") as tar:
        for name, content in files.items():
            info = tarfile.TarInfo(folder + name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    return out.getvalue()


def zipped(files, folder=""):
    """Bytes of a .zip of {name: bytes}."""
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        for name, content in files.items():
            archive.writestr(folder + name, content)
    return out.getvalue()


# CIFAR-10

COUNTS = {"data_batch_1.bin": 12, "data_batch_2.bin": 10, "data_batch_3.bin": 11, "data_batch_4.bin": 10,
          "data_batch_5.bin": 10, "test_batch.bin": 13}
NAMES = "airplane automobile bird cat deer dog frog horse ship truck".split()


@functools.cache
def records(name):
    """The bytes of one record file of CIFAR-10; every class occurs."""
    n = COUNTS[name]
    raw = np.random.default_rng(list(name.encode())).integers(0, 256, (n, 3073), np.uint8)
    raw[:, 0] = np.arange(n) % 10
    return raw.tobytes()


def members(**changes):
    """{file name: bytes} of a genuine CIFAR-10; `changes` replace files (None removes), "." written as "_"."""
    files = {name: records(name) for name in COUNTS}
    files["batches.meta.txt"] = ("\n".join(NAMES) + "\n\n").encode()
    files["readme.html"] = b"<meta HTTP-EQUIV='REFRESH'>"
    for key, content in changes.items():
        name = next(name for name in files if name.replace(".", "_") == key)
        files[name] = content
    return {name: content for name, content in files.items() if content is not None}


def archive(files, folder="cifar-10-batches-bin/"):
    return targz(files, folder)


@functools.cache
def genuine():
    return archive(members())


# Images

def picture(color, size=(8, 8), form="PNG", mode="RGB", **options):
    """Bytes of an image file of one color."""
    out = io.BytesIO()
    Image.new(mode, size, color).save(out, form, **options)
    return out.getvalue()


def color(*key):
    """A color that tells images apart, from anything with a repr."""
    return tuple(hashlib.md5(repr(key).encode()).digest()[:3])
