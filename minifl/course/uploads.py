"""Archives of submissions, as learning platforms hand them out: one of a student, or one of many.

    norm.py  or  minifl/layers/norm.py               one submission, in a folder of its own or not
    Ada Lovelace_123_assignsubmission_file_/norm.py  Moodle: a folder for each student
    .../hw2.zip  or  lovelaceada_123_456_hw2.zip     an archive for each student, in a folder (Moodle) or not (Canvas)

An archive is what a stranger made: only files that grading may read are taken from it, each at most as large as grading
reads, the whole of a bounded size however it is packed, none outside of the new folder, and no links.
"""

import os
import stat
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory

from minifl import reading
from minifl.course.submission import LARGEST
from minifl.errors import InputError

SUFFIXES = {".py": LARGEST, ".json": LARGEST, ".zip": 64 << 20}    # what is taken, and bytes of the largest
MOST_FILES, MOST_BYTES = 20_000, 512 << 20                         # of an archive with those inside it
DEEPEST = 4                                                        # folders or archives around a submission
JUNK = ("__MACOSX", "__pycache__", ".")                                 # how names begin that systems leave behind


class Broken(Exception):
    """An archive that cannot be unpacked; its text says why."""


@contextmanager
def submissions(path: str | Path) -> Iterator[list[tuple]]:
    """[(name, folder)] of what was handed in at `path`, a folder as carved or a zip of one or many; those of a zip last
    as long as the context. InputError for what is neither."""
    if not os.path.isfile(path):
        yield [(str(path), path)]
        return
    if not zipfile.is_zipfile(path):
        raise InputError(f"submission {path}: is not a folder, and no zip archive either; unpack it, or give the student's "
                         "folder, as carved.")
    with TemporaryDirectory(prefix="minifl-unpacked-") as folder:
        left = {"files": MOST_FILES, "bytes": MOST_BYTES}
        try:
            _unpack(path, Path(folder), left, path)
        except Broken as error:
            raise InputError(f"submission {path}: {error}; give the student's folder.") from None
        yield list(_found(Path(folder), str(path), left, path, DEEPEST)) or [(str(path), Path(folder))]


def _found(folder, name, left, path, depth):
    """(name, folder) of each submission in a folder; archives in it are unpacked beside themselves, and one that cannot be
    is a submission of nothing, whose name says why: it does not keep others from their marks."""
    entries = sorted(entry for entry in folder.iterdir() if not entry.name.startswith(JUNK))
    archives = [entry for entry in entries if entry.suffix.lower() == ".zip"]
    inner = [entry for entry in entries if entry.is_dir()]
    if any(entry.suffix == ".py" or entry.name == "minifl" for entry in entries) or not (archives or inner) or not depth:
        yield name, folder
        return
    for archive in archives:
        unpacked, inside = archive.with_name(f"{archive.name}.unpacked"), f"{name}/{_printable(archive.name)}"
        try:
            _unpack(archive, unpacked, left, path)
        except Broken as error:
            inside += f" ({error})"
        archive.unlink()
        yield from _found(unpacked, inside, left, path, depth - 1)
    for entry in inner:
        yield from _found(entry, f"{name}/{_printable(entry.name)}", left, path, depth - 1)


def _unpack(archive, folder, left, path):
    """Write what is taken from an archive into a new folder. left: files and bytes that `path` may still have; InputError
    beyond. Broken for what cannot be read."""
    folder.mkdir(exist_ok=True)
    try:
        with reading.opened(archive) as file, zipfile.ZipFile(file) as zipped:
            members = zipped.infolist()
            left["files"] -= len(members)
            for member in members if left["files"] >= 0 else ():
                target = _target(folder, member)
                if target is None:
                    continue
                most = SUFFIXES.get(target.suffix.lower(), 0)
                with zipped.open(member) as opened:
                    data = opened.read(min(most, max(0, left["bytes"])) + 1)     # what its header promises does not count
                left["bytes"] -= len(data)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError,
            MemoryError) as error:     # RuntimeError: it is encrypted; NotImplementedError: packed in another way
        raise Broken(f"cannot be unpacked: {_printable(str(error))}") from None
    if min(left.values()) < 0:
        raise InputError(f"submission {path}: unpacks to more than {MOST_FILES:,} files or {MOST_BYTES >> 20} MB of "
                         f"{', '.join(SUFFIXES)}; give folders.")


def _target(folder, member):
    """Where a member of an archive is written to; None for what is not taken: folders, links, junk, paths that lead out
    of the archive, and files of other kinds, of which only the folder is made."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if (not parts or parts[0] == "/" or ".." in parts or any(part.startswith(JUNK) for part in parts)
            or stat.S_ISLNK(member.external_attr >> 16)):
        return None
    target = folder.joinpath(*parts)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return None
    if target.suffix.lower() not in SUFFIXES:
        target.parent.mkdir(parents=True, exist_ok=True)     # a student who handed in something else is there, too
        return None
    return target


def _printable(text):
    return "".join(c if c.isprintable() else "?" for c in text)
