"""Reading files that a user named: regular files only, and no more of them than a limit; atomic.py writes.

A pipe or device would be waited for without end, a small archive may unpack to more than there is memory. Whatever
cannot be read is an OSError whose `strerror` says why: who calls names the file or option, and what would be valid.
"""

import contextlib
import errno
import json
import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import numpy as np

LARGEST = 1 << 30       # bytes of a file that is read as a whole
SETTINGS = 1 << 24      # bytes of a JSON text of settings: more than anybody writes
KINDS = ((stat.S_ISDIR, "a directory"), (stat.S_ISFIFO, "a named pipe"), (stat.S_ISSOCK, "a socket"),
         (stat.S_ISCHR, "a device"), (stat.S_ISBLK, "a device"))
WITHOUT_WAITING = getattr(os, "O_NONBLOCK", 0)


def other_kind(mode: int) -> str | None:
    """What the mode of a file (os.stat) says that it is, in words; None for a regular file."""
    return next((words for is_kind, words in KINDS if is_kind(mode)), None if stat.S_ISREG(mode) else "no file")


def check_regular(path: str | Path) -> None:
    """OSError unless `path` is, maybe through links, a regular file. Nothing is opened: that alone may wait or act."""
    with _names(path):
        _refuse(os.stat(path).st_mode, path)


@contextlib.contextmanager
def opened(path: str | Path) -> Iterator[IO[bytes]]:
    """A regular file, open for reading bytes. OSError for anything else."""
    check_regular(path)
    with _names(path):
        file = open(path, "rb", opener=lambda name, flags: os.open(name, flags | WITHOUT_WAITING))
    with file:
        _refuse(os.fstat(file.fileno()).st_mode, path)      # it may have been replaced meanwhile
        yield file


def whole(path: str | Path, limit: int = LARGEST) -> bytes:
    """The bytes of a file; OSError for one of more than `limit` bytes, before it is read."""
    with opened(path) as file:
        if os.fstat(file.fileno()).st_size > limit:
            raise _too_large(limit, path)
        return file.read()


def rest(file: IO[bytes], limit: int = LARGEST, path: str | Path | None = None) -> bytes:
    """What is left in an open file, maybe one that unpacks; OSError as soon as it is more than `limit` bytes."""
    content = bytearray()
    while part := file.read(1 << 20):
        content += part
        if len(content) > limit:
            raise _too_large(limit, path)
    return bytes(content)


class Unpacking:
    """What an open gzip file holds, read in parts. Raises OSError for what is none, damaged or no whole one.

    As Python's own reader it takes several archives one after another and zeros behind them; but that one looks at those
    zeros one by one, which takes minutes for a gigabyte of them.
    """

    def __init__(self, file):
        self.file, self.packed, self.unpacker, self.ended = file, b"", None, False

    def read(self, size: int) -> bytes:
        """At most `size` bytes; none at the end."""
        while True:
            self.packed = self.packed or self.file.read(1 << 16)
            if not self.packed and self.unpacker is None:
                return b""
            if not self.packed:
                raise OSError(errno.EINVAL, "it ends too early")
            if self.unpacker is None:
                self.packed = self.packed.lstrip(b"\0") if self.ended else self.packed
                self.unpacker = zlib.decompressobj(zlib.MAX_WBITS | 16) if self.packed else None     # 16: gzip's frame
                continue
            try:
                content, self.packed = self.unpacker.decompress(self.packed, size), self.unpacker.unconsumed_tail
            except zlib.error as error:
                raise OSError(errno.EINVAL, "it is not packed by gzip, or damaged") from error
            if self.unpacker.eof:
                self.packed, self.unpacker, self.ended = self.unpacker.unused_data, None, True
            if content:
                return content


def json_file(path: str | Path, limit: int = SETTINGS) -> Any:
    """What a JSON file holds, in UTF-8. OSError if it cannot be read, ValueError if it is something else."""
    return parsed(whole(path, limit).decode("utf-8-sig"))


def parsed(text: str | bytes) -> Any:
    """What a JSON text says. ValueError for anything else, brackets without end among it."""
    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("brackets are nested too deeply") from None


def arrays(file: IO[bytes], limit: int | None = None) -> dict[str, np.ndarray]:
    """name -> array of an open npz that NumPy saved uncompressed. Raises what zipfile and NumPy do, or ValueError.

    limit  bytes that an npz of somebody else, which may be compressed, may have when it is unpacked
    Nothing is unpacked beyond the size of the file, or the limit; every checksum is looked at, and nothing is unpickled.
    """
    size = file.seek(0, os.SEEK_END)
    with zipfile.ZipFile(file) as archive:
        infos = archive.infolist()
        unpacked = sum(info.file_size for info in infos)
        if limit is not None:
            if unpacked > limit:
                raise ValueError(f"it has {unpacked:,} bytes unpacked, at most {limit:,} are read")
        elif any(info.compress_type != zipfile.ZIP_STORED for info in infos) or unpacked > size:
            raise ValueError("its members are compressed, which minifl does not write")
        if damaged := archive.testzip():
            raise ValueError(f"the checksum of {damaged} does not fit")
    file.seek(0)
    with np.load(file, allow_pickle=False) as saved:
        return {name: saved[name] for name in saved.files}


@contextlib.contextmanager
def _names(path):
    """What no file can be called is an OSError, too."""
    try:
        yield
    except ValueError as error:     # a NUL, or half of a surrogate pair
        raise OSError(errno.EINVAL, f"no file can be called so ({error})", ascii(path)) from error


def _too_large(limit, path):
    return OSError(errno.EFBIG, f"it holds more than {limit:,} bytes", path and os.fspath(path))


def _refuse(mode, path):
    kind = other_kind(mode)
    if stat.S_ISDIR(mode):      # in the words of the system, as for everything else that it refuses
        raise OSError(errno.EISDIR, os.strerror(errno.EISDIR), os.fspath(path))
    if kind:
        raise OSError(errno.EINVAL, f"it is {kind}, and only regular files are read", os.fspath(path))
