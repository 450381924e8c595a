"""One process at a time writes a run directory, and whoever does is named to the others."""

import contextlib
import os
import shlex
import time
from collections.abc import Iterator
from datetime import datetime
from pathlib import Path

from minifl.errors import InputError

try:
    import fcntl
except ImportError:     # Windows: directories are not locked there
    fcntl = None

PROC = Path("/proc")


@contextlib.contextmanager
def locked(path: str | Path) -> Iterator[Path]:
    """Hold the run directory `path`, made if it does not exist, for this process alone.

    The lock is the system's: it ends with the process, however that ends. Raises InputError if another process
    holds it, which it names, or if the directory cannot be made.
    """
    path = Path(path)
    try:
        if os.path.lexists(path) and not os.path.isdir(path):
            raise InputError(f"--out {path} exists and is not a run directory; choose another name.")
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise InputError(f"--out {path} cannot be written: {error.strerror}.") from error
    try:
        if fcntl:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{path} is being written by another process{_named(holders(path))}; wait for it, or "
                                 f"choose another name with --out.") from None
            except OSError:     # a file system without locks
                pass
        yield path
    finally:
        if handle is not None:
            os.close(handle)


def holders(path: str | Path) -> list[int]:
    """Ids of the processes that hold the lock of a directory, as far as the system says (Linux: those of this user)."""
    found, path = [], str(Path(path).resolve())
    for folder in PROC.glob("[0-9]*/fd"):
        with contextlib.suppress(OSError):
            for handle in folder.iterdir():
                if os.readlink(handle) == path and b"FLOCK" in (folder.parent / "fdinfo" / handle.name).read_bytes():
                    found.append(int(folder.parent.name))
                    break
    return found


def described(pid: int) -> str:
    """A process in words: its id, its command and since when it runs; the id alone where the system does not say."""
    with contextlib.suppress(OSError, ValueError, IndexError):
        command = (PROC / str(pid) / "cmdline").read_bytes().rstrip(b"\0").decode(errors="replace").split("\0")
        since = datetime.fromtimestamp(time.time() - _age(pid)).isoformat(" ", "seconds")
        return f"process {pid}, {' '.join(shlex.join(command).split()):.300}, since {since}"
    return f"process {pid}"


def born(pid: int) -> int | None:
    """When a process began, in the system's ticks since it was started: with the id it names a process for good. None if
    there is no such process, or the system does not say."""
    try:
        said = (PROC / str(pid) / "stat").read_text(encoding="utf-8", errors="replace")     # its name is in it, of any bytes
        state, *others = said.rpartition(")")[2].split()
        return int(others[18]) if state not in "ZX" else None       # it has ended, but nobody asked for its exit code
    except (OSError, ValueError, IndexError):
        return None


def _age(pid):
    """Seconds for which a process has been running."""
    return float((PROC / "uptime").read_bytes().split()[0]) - born(pid) / os.sysconf("SC_CLK_TCK")


def _named(pids):
    return f" ({'; '.join(map(described, pids))})" if pids else ""
