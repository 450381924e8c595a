"""Writing files that a user named: they appear whole or not at all, and only as regular files; reading.py reads.

What is in the way and is no regular file (a folder, a pipe, a device) stays: to replace it would destroy it. A symbolic
link is followed, so that the file behind it is replaced and the link stays. To "-" and /dev/stdout is written as
they are.
"""

import contextlib
import errno
import io
import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from minifl.errors import InputError
from minifl.reading import WITHOUT_WAITING, other_kind

STREAMS = {"-": "stdout", "/dev/stdout": "stdout", "/dev/fd/1": "stdout", "/proc/self/fd/1": "stdout",
           "/dev/stderr": "stderr", "/dev/fd/2": "stderr", "/proc/self/fd/2": "stderr"}
BEGINNING = 50      # characters of a name that stay in that of its temporary file: names of 255 bytes are the longest


@contextlib.contextmanager
def replacing(path: str | Path) -> Iterator[IO[bytes]]:
    """Open a temporary binary file beside `path`, moved to `path` only when all of it is written.

    On any failure, Ctrl-C included, nothing is left behind. A file that was there keeps its permissions and, where that
    is allowed, its owner. Raises InputError where the folder of `path` cannot be made or written, and as `check` does.
    """
    if is_stream(path):
        with _stream(path) as f:
            yield f
        return
    target, there = check(path)
    temporary = temporary_beside(target)
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        temporary.unlink(missing_ok=True)       # of a process of this number that was killed
        with open(temporary, "xb") as f:
            yield f
            if there:
                _keep_permissions(f.fileno(), there)
        os.replace(temporary, target)
    except OSError as error:
        raise _cannot_write(path, error) from error
    finally:
        with contextlib.suppress(OSError):
            temporary.unlink()


def write(path: str | Path, content: bytes) -> None:
    """Write a file of these bytes, as `replacing` does."""
    with replacing(path) as f:
        f.write(content)


@contextlib.contextmanager
def appending(path: str | Path) -> Iterator[IO[bytes]]:
    """A file, open for adding bytes at its end; made if need be.

    Raises InputError where it cannot be opened, as `replacing` does. What goes wrong later is an OSError.
    """
    target, _ = check(path)
    try:
        f = open(target, "ab", opener=lambda name, flags: os.open(name, flags | WITHOUT_WAITING, 0o666))
    except OSError as error:
        raise _cannot_write(path, error) from error
    with f:
        yield f


def check(path: str | os.PathLike[str]) -> tuple[Path, os.stat_result | None]:
    """(the path that a write to `path` means, behind all links; its os.stat, None where nothing is there yet).

    Raises InputError where something else than a regular file is in the way, and for what no file can be called.
    """
    try:
        there = os.stat(path)
        if kind := other_kind(there.st_mode):
            raise InputError(f"{path} exists and cannot be written: it is {kind}, and only regular files are; choose "
                             f"another name")
    except FileNotFoundError:
        there = None
    except InputError:
        raise
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error
    return Path(os.path.realpath(path)), there


def make_folder(path: str | Path) -> None:
    """Make a folder and those above it, where they are not there. Raises InputError."""
    try:
        Path(path).mkdir(parents=True, exist_ok=True)
    except (OSError, ValueError) as error:
        raise _cannot_write(path, error) from error


def is_stream(path: str | os.PathLike[str]) -> bool:
    """Whether `path` names what the program prints to, and no file."""
    return os.fspath(path) in STREAMS


def temporary_beside(path: str | Path) -> Path:
    """A hidden name in the folder of `path` for what is not complete yet; also where `path` has the longest of names."""
    path = Path(path)
    return path.parent / f".{path.name[:BEGINNING]}.{os.getpid()}.tmp"


@contextlib.contextmanager
def _stream(path):
    name, content = STREAMS[os.fspath(path)], io.BytesIO()
    yield content
    stream = getattr(sys, name)
    if getattr(stream, "buffer", None) is None:
        raise InputError(f"{path}: {name} is closed, or takes no bytes; name a file")
    try:
        stream.flush()
        stream.buffer.write(content.getbuffer())
        stream.buffer.flush()
    except OSError as error:
        if error.errno == errno.EPIPE:      # nobody reads any more: the command line ends quietly
            raise
        raise _cannot_write(path, error) from error


def _keep_permissions(handle, there):
    if hasattr(os, "fchown"):
        with contextlib.suppress(OSError):      # only an administrator may give files away
            os.fchown(handle, there.st_uid, there.st_gid)
        os.fchmod(handle, stat.S_IMODE(there.st_mode))


def _cannot_write(path, error):
    return InputError(f"{path}: cannot be written ({getattr(error, 'strerror', None) or error}); "
                      "choose a folder that is writable and has space")
