"""The process of a submission: how worker.py is started, what it is told, and how it and what it started ends."""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path

from minifl.course import installed

FOLDER = Path(__file__).parent
USERS = 1_000_000_000     # the worker's id as a user is this and its id as a process: nobody else has it
ENDING = 5                # seconds for what a worker has left behind to end
PASSED_ON = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")

_workers: set[int] = set()       # that have not ended
_changing = threading.RLock()    # held while one starts or ends
_adopted = False


def adopt() -> None:
    """From here on what loses its parent below this process becomes its child, and `end` finds it, in whatever session it
    is. For a process that has no children besides workers, or none in other sessions."""
    global _adopted
    if sys.platform == "linux":
        _adopted = ctypes.CDLL(None).prctl(36, 1, 0, 0, 0) == 0     # PR_SET_CHILD_SUBREAPER


def start(tree: Path, program: str = "worker.py") -> tuple[subprocess.Popen, socket.socket]:
    """Start worker.py, or another file beside it, in a tree. Returns it, and the judge's end of the socket that is its
    standard input."""
    channel, theirs = socket.socketpair()
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **dict.fromkeys(PASSED_ON, "1"),
                   **{key: os.environ[key] for key in ("LD_LIBRARY_PATH", "OPENBLAS_CORETYPE") if key in os.environ}}
    with theirs, _changing:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(FOLDER / program)], cwd=tree, env=environment,
            stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
        _workers.add(process.pid)
    return process, channel


def end(process: subprocess.Popen, channel: socket.socket) -> int:
    """End a worker and all that it started; its exit code.

    That is its process group, what has it as an ancestor, and, as these are left easily, what has its id as a user, which
    it cannot change, and what this process has adopted.
    """
    channel.close()
    with _changing:
        left, ends = _left(process.pid, {process.pid}), time.monotonic() + ENDING
        with suppress(OSError):
            os.killpg(process.pid, signal.SIGKILL)
        process.kill()
        code = process.wait()
        _workers.discard(process.pid)
        left |= _left(process.pid, left)      # what it started meanwhile
        while left and time.monotonic() < ends:
            for pid in left:
                with suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
                with suppress(OSError):
                    os.waitpid(pid, os.WNOHANG)     # where it is a child of ours by now
            left = _left(process.pid, left)
        return code


def _left(worker, roots):
    """The processes that a worker started and that live. roots: it, or such processes, as long as these had not ended."""
    parents, users, children = {}, {}, set()
    for entry in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, KeyError):      # it has ended meanwhile
            lines = (entry / "status").read_text(encoding="utf-8", errors="replace").splitlines()
            said = dict(line.split(":\t", 1) for line in lines if ":\t" in line)
            pid, parent = int(entry.name), int(said["PPid"])
            if parent == os.getpid() and pid not in _workers and _adopted and os.getsid(pid) != os.getsid(0):
                children.add(pid)
            elif not said["State"].startswith(("Z", "X")):
                parents[pid], users[pid] = parent, int(said["Uid"].split()[0])
    below = roots & {*parents, worker}
    while more := {pid for pid, parent in parents.items() if parent in below} - below:
        below |= more
    return (below | children | {pid for pid, user in users.items() if user == USERS + worker}) - {worker}


def config(tree: Path, secret: list[str], megabytes: int, seconds: float, first: int) -> dict:
    """What the worker is told first. secret: paths that it cannot read; first: the number of its first handle."""
    packages, (folders, libraries) = installed.packages(), installed.files()
    return {"tree": str(tree), "packages": list(map(str, folders)), "libraries": list(map(str, libraries)),
            "sites": {name: str(folder.parent) for name, folder in packages.items()}, "secret": secret,
            "first": first, "megabytes": megabytes, "seconds": int(seconds) + 60,
            "user": USERS if os.geteuid() == 0 else 0, "search": not _open_to_all([tree, *folders, Path(os.__file__)])}


def _open_to_all(paths):
    """Whether a user that owns nothing can read these paths."""
    return all(path.stat().st_mode & 0o004 and all(folder.stat().st_mode & 0o001 for folder in path.parents)
               for path in map(Path.resolve, paths))
