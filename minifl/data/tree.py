"""The files below a folder or in a zip archive, by name. Nothing is ever extracted: names are looked up, not opened."""

import os
import stat
import zipfile
import zlib
from pathlib import Path

from minifl import reading
from minifl.errors import InputError

SUFFIXES = (".jpg", ".jpeg", ".jfif", ".jpe", ".png", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".avif", ".ppm",
            ".pgm")     # in any case
LIMIT = 1 << 28    # bytes of one file; a larger one is no image that anybody wants here


class Tree:
    """`names`: the files' paths with "/", sorted, hidden ones left out; `read(name)`: the bytes of one.

    `read` raises OSError (a zip: also ValueError, zipfile's and zlib's exceptions) for what cannot be read and for a
    file above LIMIT, before reading it.
    """

    def __init__(self, path):
        self.path = Path(path)
        self.zip, self.sizes = (None, {}) if os.path.isdir(self.path) else _open_zip(self.path)
        self.names = sorted(self.sizes if self.zip else _files(self.path, "", (os.path.realpath(self.path),)))

    def read(self, name: str) -> bytes:
        if self.zip is None:
            return reading.whole(self.path / name, LIMIT)
        if self.sizes[name] > LIMIT:        # no more than that comes out, whatever the archive holds
            raise ValueError(f"{self.sizes[name]:,} bytes, at most {LIMIT:,} are read")
        return self.zip.read(name)

    def text(self, name: str) -> str:
        """The file as UTF-8 text. Raises InputError."""
        try:
            return self.read(name).decode("utf-8")
        except (OSError, ValueError, RuntimeError, zipfile.BadZipFile, zlib.error, EOFError) as error:
            raise InputError(f"{self.path}: {name} cannot be read as a text ({error})") from error

    def images(self) -> list[str]:
        """The names that end like those of images."""
        return [name for name in self.names if name.lower().endswith(SUFFIXES)]

    def others(self) -> tuple:
        """A remark on the files that are not among `images`, in a tuple; an empty one where there are none."""
        rest = [name for name in self.names if not name.lower().endswith(SUFFIXES)]
        listed = ", ".join(map(shown, rest[:3])) + ", ..." * (len(rest) > 3)
        return (f"{len(rest)} files that are no images by their names are left out: {listed}",) if rest else ()


def hidden(name: str) -> bool:
    return any(part.startswith(".") and part not in (".", "..") or part == "__MACOSX" for part in name.split("/"))


def shown(name: str) -> str:
    """A name for people: control characters and bytes that are no text cannot reach the terminal."""
    return name if name.isprintable() else ascii(name)


def _files(folder, prefix, above):
    """Paths of the files below `folder`; links are followed, but not into a folder in which they lie."""
    try:
        entries = list(os.scandir(folder))
    except OSError as error:
        raise InputError(f"{folder}: cannot be read ({error.strerror or error})") from error
    for entry in entries:
        name = prefix + entry.name
        if hidden(entry.name):
            continue
        if entry.is_file():
            yield name
        elif entry.is_dir() and (real := os.path.realpath(entry.path)) not in above:
            yield from _files(entry.path, f"{name}/", (*above, real))


def _open_zip(path):
    """The open archive and {name: bytes unpacked} of its plain files: no folders, links or hidden files."""
    try:
        reading.check_regular(path)
        archive = zipfile.ZipFile(path)
    except (zipfile.BadZipFile, OSError, ValueError, NotImplementedError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(f"{path}: neither a folder nor a whole zip archive ({reason})") from error
    infos = archive.NameToInfo.values()
    return archive, {info.filename: info.file_size for info in infos
                     if not info.is_dir() and not stat.S_ISLNK(info.external_attr >> 16) and not hidden(info.filename)}
