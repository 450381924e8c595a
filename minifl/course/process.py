"""The process of a submission: how worker.py is started, what it is told, and how it and what it started ends."""

import os
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from minifl.course import installed

PASSED_ON = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS")


def start(tree: Path) -> tuple[subprocess.Popen, socket.socket]:
    """Start worker.py in a tree. Returns it, and the judge's end of the socket that is its standard input."""
    channel, theirs = socket.socketpair()
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", **dict.fromkeys(PASSED_ON, "1"),
                   **{key: os.environ[key] for key in ("LD_LIBRARY_PATH",) if key in os.environ}}
    with theirs:
        process = subprocess.Popen(
            [sys.executable, "-I", "-S", "-B", str(Path(__file__).parent / "worker.py")], cwd=tree, env=environment,
            stdin=theirs, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, start_new_session=True)
    return process, channel


def end(process: subprocess.Popen, channel: socket.socket) -> int:
    """End a worker and what it started; its exit code."""
    with suppress(OSError):
        os.killpg(process.pid, signal.SIGKILL)
    process.kill()
    channel.close()
    return process.wait()


def config(tree: Path, secret: list[str], megabytes: int, seconds: float, first: int) -> dict:
    """What the worker is told first. secret: paths that it cannot read; first: the number of its first handle."""
    packages, (folders, libraries) = installed.packages(), installed.files()
    return {"tree": str(tree), "packages": list(map(str, folders)), "libraries": list(map(str, libraries)),
            "sites": {name: str(folder.parent) for name, folder in packages.items()}, "secret": secret,
            "first": first, "megabytes": megabytes, "seconds": int(seconds) + 60,
            "user": _nobody([tree, *folders, Path(os.__file__)]) if os.geteuid() == 0 else 0}


def _nobody(paths):
    """The id of a user that owns nothing, 0 if that user could not read one of the paths."""
    for path in map(Path.resolve, paths):
        if not path.stat().st_mode & 0o004 or not all(folder.stat().st_mode & 0o001 for folder in path.parents):
            return 0
    return 1_000_000_000 + os.getpid()
