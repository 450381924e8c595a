"""CIFAR-10 and CIFAR-100 as their author distributes them: the binary and the Python versions, in an archive or unpacked.

Format (A. Krizhevsky, https://www.cs.toronto.edu/~kriz/cifar.html, "Binary version"): files of records, each one
label byte (CIFAR-10) or two (CIFAR-100: coarse, then fine), then the 32x32 red, the green and the blue plane, row
by row; and text files with a class name per line. The Python version has the same in other files (cifar_python.py).
"""

import hashlib
import os
import posixpath
import tarfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.data.cifar_python import PIXELS, to_binary
from minifl.data.dataset import Dataset, make_dataset
from minifl.data.known import DATASETS, Known
from minifl.errors import InputError

LARGEST = 1 << 30      # bytes of a file of records; the largest that was published has a seventh of it
HEADER = 1 << 20       # bytes of what a tar archive says of a member beside its name
ABOUT_THE_NEXT = (tarfile.XHDTYPE, tarfile.XGLTYPE, tarfile.SOLARIS_XHDTYPE, tarfile.GNUTYPE_LONGNAME,
                  tarfile.GNUTYPE_LONGLINK)     # entries that tarfile reads as a whole, of whatever size they are


@dataclass(frozen=True)
class Labels:
    """One way to label the images: the set's `name` here, the label's byte in a record, file of the names, their number;
    what labels and names are called in the Python version."""
    name: str
    byte: int
    names: str
    classes: int
    pickled: str
    pickled_names: str


@dataclass(frozen=True)
class Version:
    """One of the two sets, by its name in DATASETS."""
    name: str
    archive_bytes: int
    folder: str
    train: tuple
    test: str
    labels: dict
    python_md5: str
    python_folder: str
    python_meta: str

    @property
    def known(self) -> Known:
        """What is declared of it; the md5 is that of the binary version's archive."""
        return DATASETS[self.name]

    @property
    def record(self) -> int:
        """Bytes of a record."""
        return len(self.labels) + PIXELS

    @property
    def genuine_of(self) -> dict[str, int]:
        """Images in each of the published files of records: name -> number."""
        train, test = self.known.images
        return dict.fromkeys(self.train, train // len(self.train)) | {self.test: test}

    @property
    def files(self) -> tuple:
        return (*self.train, self.test, *(labels.names for labels in self.labels.values()))

    @property
    def python_records(self) -> tuple:
        return tuple(name.removesuffix(".bin") for name in (*self.train, self.test))

    def wanted(self, folder: str | Path, name: str) -> bool:
        """Whether the file `name` in the folder of that name is one of the set's."""
        return folder == self.folder and name in self.files or \
            folder == self.python_folder and name in (*self.python_records, self.python_meta)


CIFAR10 = Version(
    "cifar10", 170_052_171, "cifar-10-batches-bin", tuple(f"data_batch_{i}.bin" for i in range(1, 6)),
    "test_batch.bin", {"fine": Labels("cifar10", 0, "batches.meta.txt", 10, "labels", "label_names")},
    "c58f30108f718f92721af3b95e74349a", "cifar-10-batches-py", "batches.meta")
CIFAR100 = Version(
    "cifar100", 168_513_733, "cifar-100-binary", ("train.bin",), "test.bin",
    {"coarse": Labels("cifar100-coarse", 0, "coarse_label_names.txt", 20, "coarse_labels", "coarse_label_names"),
     "fine": Labels("cifar100", 1, "fine_label_names.txt", 100, "fine_labels", "fine_label_names")},
    "eb9058c3a382ffc7106e4002c42a8d85", "cifar-100-python", "meta")


class _Entry(tarfile.TarInfo):
    """An entry of a tar archive that is not read where what it says of the next one is out of all proportion."""

    def _proc_member(self, archive):    # where tarfile wants subclasses to decide on what is in the archive
        if self.type in ABOUT_THE_NEXT and self.size > HEADER:
            raise tarfile.ReadError(f"a header of {self.size:,} bytes, at most {HEADER:,} are read")
        return super()._proc_member(archive)


def read_archive(version: Version, path: str | Path) -> dict[str, bytes]:
    """{file name: bytes} of the binary version's data files in the .tar.gz at `path`.

    Those of the Python version are made into these; then python_meta is there, too.

    Only the wanted members are read and nothing is extracted to disk, so that no name in the archive can
    write anywhere. Read to the end, because gzip's own checksum comes last. Raises InputError.
    """
    files, seen = {}, []
    try:
        with reading.opened(path) as packed:
            stream = reading.Unpacking(packed)
            with tarfile.open(fileobj=stream, mode="r|", tarinfo=_Entry) as tar:
                for member in tar:
                    folder, name = posixpath.split(posixpath.normpath(member.name))
                    seen.append(member.name)
                    if version.wanted(folder, name) and member.isfile():
                        files[name] = reading.rest(tar.extractfile(member), LARGEST)
            while stream.read(1 << 20):
                pass
    except (tarfile.TarError, EOFError, OSError, ValueError) as error:
        raise InputError(f"{path}: not a whole .tar.gz archive ({getattr(error, 'strerror', None) or error}); the official "
                         f"one is {version.known.url} ({version.archive_bytes:,} bytes)") from error
    return _complete(version, files, path, seen)


def read_folder(version: Version, path: str | Path) -> dict[str, bytes]:
    """As `read_archive`, of the folder `path`, or the archive's folder inside it."""
    path = Path(path)
    inside = [path / name for name in (version.folder, version.python_folder) if os.path.isdir(path / name)]
    folder = inside[0] if inside else path
    try:
        seen = sorted(os.listdir(folder))
        files = {name: reading.whole(folder / name, LARGEST) for name in seen
                 if version.wanted(version.folder, name) or version.wanted(version.python_folder, name)}
    except OSError as error:
        raise InputError(f"{error.filename or folder}: cannot be read ({error.strerror or error})") from error
    return _complete(version, files, folder, seen)


def _complete(version, files, path, seen):
    missing = [name for name in version.files if name not in files]
    if not missing:
        return {name: files[name] for name in version.files}
    if all(name in files for name in (*version.python_records, version.python_meta)):
        return to_binary(version, files, path) | {version.python_meta: files[version.python_meta]}
    raise InputError(f"{path}: {', '.join(missing)} missing; found {', '.join(seen[:8]) or 'nothing'}. Needed is the binary "
                     f"version of {version.known.title}, {version.folder} with {', '.join(version.files)}; or the Python "
                     f"version, {version.python_folder} with {', '.join((*version.python_records, version.python_meta))}")


def other_counts(version: Version, files: dict[str, bytes]) -> list[str]:
    """A phrase for each file of records that has another number of images than the published one."""
    found = {name: len(files[name]) // version.record for name in version.genuine_of}
    return [f"{name} has {found[name]:,} images instead of {genuine:,}" for name, genuine in version.genuine_of.items()
            if found[name] != genuine]


def records_hash(version: Version, files: dict[str, bytes]) -> str:
    """sha256 (hexadecimal) of the record files one after another, training files first."""
    digest = hashlib.sha256()
    for name in (*version.train, version.test):
        digest.update(files[name])
    return digest.hexdigest()


def convert(version: Version, files: dict[str, bytes], path: str | Path, source: str, labels: str = "fine") -> Dataset:
    """`Dataset` of {file name: bytes}, with labels "fine" or "coarse"; `path` names their place in messages.

    Raises InputError for a file that is not a whole number of records, a label that is too large, or a wrong
    number of class names. The number of records is free: see `other_counts`.
    """
    chosen = version.labels[labels]
    train = [parse_records(version, chosen, files[name], f"{path}: {name}") for name in version.train]
    x_test, y_test = parse_records(version, chosen, files[version.test], f"{path}: {version.test}")
    x_train, y_train = (np.concatenate(parts) for parts in zip(*train))
    class_names = parse_names(files[chosen.names], chosen.classes, f"{path}: {chosen.names}")
    return make_dataset(chosen.name, x_train, y_train, x_test, y_test, class_names, source)


def parse_records(version: Version, chosen: Labels, raw: bytes, where: object) -> tuple:
    """Images (N, 32, 32, 3) uint8, red first, and the chosen labels (N,) int64 of N records in the bytes `raw`."""
    if len(raw) == 0 or len(raw) % version.record:
        raise InputError(f"{where}: {len(raw)} bytes, must be a multiple of {version.record} "
                         f"({len(version.labels)} for the label, {PIXELS} for the image)")
    records = np.frombuffer(raw, np.uint8).reshape(-1, version.record)
    for labels in version.labels.values():    # all of them: a label out of range is the sign of another format
        y = records[:, labels.byte]
        if y.max() >= labels.classes:
            raise InputError(f"{where}: record {y.argmax()} has the label {y.max()}, must be 0..{labels.classes - 1}")
    planes = records[:, len(version.labels):].reshape(-1, 3, 32, 32)
    return np.ascontiguousarray(planes.transpose(0, 2, 3, 1)), records[:, chosen.byte].astype(np.int64)


def parse_names(raw: bytes, classes: int, where: object) -> tuple:
    """The class names in the bytes of a text file, one per line."""
    try:
        class_names = raw.decode("utf-8").split()
    except UnicodeDecodeError as error:
        raise InputError(f"{where}: not a text ({error})") from error
    if len(class_names) != classes or len(set(class_names)) != classes:
        raise InputError(f"{where}: {len(class_names)} class names, must be {classes} different ones, one per line")
    return tuple(class_names)
