"""What was handed in, as instructors have it: a folder or archive of one student, or of a class as platforms hand it out.

    norm.py  or  minifl/layers/norm.py               one submission, in a folder of its own or not
    Ada Lovelace_123_assignsubmission_file_/norm.py  Moodle: a folder for each student, or only files of such names
    lovelaceada_123_456_norm.py                      Canvas: files of such names
    .../hw2.zip  or  lovelaceada_123_456_hw2.zip     an archive for each student, in a folder or not

An archive is what a stranger made: only files that grading may read are taken from it, each at most as large as grading
reads, the whole of a bounded size however it is packed, none outside of the new folder, and no links. It is opened in a
process with limits: `unpack` starts one, and a student's own archive is opened in the process that grades it.
"""

import os
import re
import stat
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from tempfile import TemporaryDirectory
from typing import NamedTuple

from minifl import processes, reading
from minifl.course import roster
from minifl.course.submission import LARGEST
from minifl.errors import InputError

SUFFIXES = {".py": LARGEST, ".json": LARGEST, ".md": LARGEST, ".zip": 64 << 20}     # what is taken, and bytes of the largest
MOST_FILES, MOST_BYTES = 20_000, 2 << 30      # of a class
OWN_FILES, OWN_BYTES = 5_000, 128 << 20       # of a student's archive with those inside it
DEEPEST = 4                                   # folders or archives around a submission
JUNK = ("__MACOSX", "__pycache__", ".")       # how names begin that systems leave behind
HANDED_IN = {".py", ".zip", ".tar", ".gz", ".tgz", ".xz", ".7z", ".rar", ".ipynb"}    # of files beside each other
SECONDS, MEGABYTES = 300, 2048                # to unpack a class
BROKEN = 3                                    # exit code of a process that found an archive broken


class Broken(Exception):
    """A submission that is none; its text says why."""


class Entry(NamedTuple):
    """One student's submission as it was handed in."""
    names: tuple     # what it is called: the outermost name that can be a student's comes first
    paths: tuple     # a folder, or files
    why: str = ""    # why it cannot be graded


@contextmanager
def entries(path: str | Path, one: bool = False) -> Iterator[list[Entry]]:
    """The Entries at `path`, a folder or an archive of one student or of a class; one: it is one student's. Those of an
    archive last as long as the context. Nothing of a student's own archive is opened. InputError where nothing is."""
    path = Path(path)
    name = os.path.basename(os.path.abspath(path)) or "submission"      # of a link its own
    if not os.path.lexists(path):
        raise InputError(f"submission {path}: is not there; give a folder, as carved, a zip archive, or those of a class.")
    if os.path.isdir(path):
        yield [Entry((name,), (path,))] if one or _is_one(path) else _listed(path, name)
    elif one or not path.name.lower().endswith(".zip"):
        yield [Entry((name,), (path,))]
    else:
        with TemporaryDirectory(prefix="minifl-class-") as folder:
            why, folder = unpack(path, folder), Path(folder)
            yield [Entry((name,), (folder,), why)] if why or _is_one(folder) else _listed(folder, name)


def unpack(archive: str | Path, folder: str | Path) -> str:
    """Unpack an archive into a folder, in a process with limits. Returns "" or why that failed."""
    try:
        done = subprocess.run([*processes.command("minifl.course.uploads"), str(archive), str(folder)],
                              stdin=subprocess.DEVNULL, capture_output=True, timeout=SECONDS)
    except subprocess.TimeoutExpired:
        return f"takes more than {SECONDS} s to unpack"
    said = done.stdout.decode(errors="replace").strip()[:300]
    return said if done.returncode in (0, BROKEN) else f"cannot be unpacked in {MEGABYTES} MB of memory"


def gathered(paths: tuple[Path, ...], folder: Path) -> Path:
    """The folder that holds one student's submission: that which was handed in, or `folder`, with files and archives
    unpacked. Raises Broken for what is none, or more than one. For a process with limits."""
    left, root = {"files": OWN_FILES, "bytes": OWN_BYTES}, folder
    if len(paths) == 1 and paths[0].is_dir():
        root = paths[0]
    else:
        for path in paths:
            _, _, own = roster.platform(path.name)
            target = folder / _plain(own or path.name)
            if path.suffix.lower() == ".zip":
                _unpack(path, folder / f"{target.name}.unpacked", left)
            elif path.suffix.lower() in SUFFIXES:
                _copy(path, target)
            elif len(paths) == 1:
                raise Broken("is not a folder, and no zip archive either")
    found = list(_found(root, folder, left, DEEPEST))
    found = [one for one in found if (one / "minifl").is_dir()] or found     # beside a virtual environment, say
    if len(found) > 1:
        shown = ", ".join(_printable(one.name) for one in found[:5])
        raise Broken(f"holds {len(found)} submissions ({shown}); one is needed")
    return found[0] if found else root


def _is_one(folder):
    """Whether a folder is a student's own, not one of a class."""
    names = [entry.name for entry in _entries(folder)]
    return "minifl" in names or any(name.endswith(".py") and not roster.platform(name)[1] for name in names)


def _listed(folder, name):
    """The Entries of a class in a folder."""
    grouped = {}
    for entry in _entries(folder, links=True):
        who, number, _ = roster.platform(entry.name)
        if entry.is_dir() or entry.is_symlink() or number or entry.suffix.lower() in HANDED_IN:
            grouped.setdefault((who, number) if number else entry.name, []).append(entry)
    outer = (name,) if len(grouped) == 1 else ()
    return [Entry((*outer, _printable(paths[0].name)), tuple(paths), "is a link" if paths[0].is_symlink() else "")
            for paths in grouped.values()]


def _entries(folder, links=False):
    """What lies in a folder, without junk, and links only if they are asked for."""
    return sorted(entry for entry in folder.iterdir()
                  if not entry.name.startswith(JUNK) and (links or not entry.is_symlink()))


def _found(folder, new, left, depth):
    """The folders in a folder that hold a submission; archives are unpacked into `new`."""
    entries = _entries(folder)
    archives = [entry for entry in entries if entry.suffix.lower() == ".zip" and entry.is_file()]
    inner = [entry for entry in entries if entry.is_dir()]
    if any(entry.suffix == ".py" or entry.name == "minifl" for entry in entries):
        yield folder
    elif depth:
        for archive in archives:
            unpacked = new / f"{archive.name}.unpacked"
            while unpacked.exists():
                unpacked = unpacked.with_name(f"{unpacked.name}.again")
            _unpack(archive, unpacked, left)
            yield from _found(unpacked, unpacked, left, depth - 1)
        for entry in inner:
            yield from _found(entry, new, left, depth - 1)
    elif archives or inner:
        raise Broken(f"holds archives or folders more than {DEEPEST} deep")


def _unpack(archive, folder, left):
    """Write what is taken from an archive into a new folder. left: files and bytes that may still come. Raises Broken."""
    most = dict(left)
    folder.mkdir(exist_ok=True)
    try:
        if not zipfile.is_zipfile(archive):
            raise Broken("is not a folder, and no zip archive either")
        with reading.opened(archive) as file, zipfile.ZipFile(file) as zipped:
            for member in zipped.infolist():
                target = _target(folder, member)
                if target is None:
                    continue
                left["files"] -= 1
                largest = SUFFIXES.get(target.suffix.lower(), 0)
                with zipped.open(member) as opened:       # what its header promises does not count
                    data = opened.read(min(largest + 1, max(0, left["bytes"]) + 1) if largest else 0)
                left["bytes"] -= len(data)
                if min(left.values()) < 0:
                    raise Broken(f"unpacks to more than {most['files']:,} files or {most['bytes'] >> 20} MB")
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, RuntimeError, NotImplementedError, ValueError,
            MemoryError) as error:     # RuntimeError: it is encrypted; NotImplementedError: packed in another way
        raise Broken(f"cannot be unpacked: {_printable(str(error)) or type(error).__name__}") from None


def _target(folder, member):
    """Where a member of an archive is written to; None for what is not taken: folders, which are made, links, junk and
    paths that lead out of the archive. Of files of other kinds only the name is kept: who handed in one is there, too."""
    parts = PurePosixPath(member.filename.replace("\\", "/")).parts
    if (not parts or parts[0] == "/" or ".." in parts or any(part.startswith(JUNK) for part in parts)
            or stat.S_ISLNK(member.external_attr >> 16)):
        return None
    target = folder.joinpath(*parts)
    if member.is_dir():
        target.mkdir(parents=True, exist_ok=True)
        return None
    return target


def _copy(path, target):
    """A file of a student under its own name; no link, and no more of it than grading reads."""
    with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as opened:
        target.write_bytes(opened.read(LARGEST + 1))


def _plain(name):
    """A file's name as the student had it: Canvas makes norm-1.py of what is handed in again."""
    return re.sub(r"-\d+(?=\.(?:py|json|md)$)", "", PurePosixPath(name).name)


def _printable(text):
    return "".join(c if c.isprintable() else "?" for c in text)


def main() -> None:
    """Unpack an archive into a folder, within limits."""
    import resource
    resource.setrlimit(resource.RLIMIT_AS, (MEGABYTES << 20, MEGABYTES << 20))
    try:
        _unpack(Path(sys.argv[1]), Path(sys.argv[2]), {"files": MOST_FILES, "bytes": MOST_BYTES})
    except Broken as error:
        print(error)
        sys.exit(BROKEN)


if __name__ == "__main__":
    main()
