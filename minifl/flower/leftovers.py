"""Processes of a federation whose `federate` was killed: found, and ended before the run goes on. (Linux)

A SuperLink and SuperNodes end with the process that started them (loopback.py). What Flower starts, in sessions of its
own, does not: the ServerApp looks for its SuperLink for minutes, and holds the lock of the run meanwhile. Every process of a
federation has in its environment the folder of its run, as FLWR_HOME, and which process began it, as OWNER. Only what has
both, belongs to the same user and was begun by a process that is gone is ended.
"""

import contextlib
import os
import signal
import time
from pathlib import Path

from minifl.errors import InputError
from minifl.runs.locking import PROC, born, described

OWNER = "MINIFL_FEDERATE"       # id of a process and when it began
LONGEST = 10                    # seconds for killed processes to go


def this_process() -> str:
    """What OWNER is for processes that this one begins."""
    return f"{os.getpid()} {born(os.getpid())}"


def of_folder(folder: str | Path) -> list:
    """Ids of the processes whose FLWR_HOME is below a folder. (Linux; elsewhere they end by themselves, some seconds or
    minutes after the process that started them.)"""
    return [int(entry.parent.name) for entry in PROC.glob("[0-9]*/environ") if _is_below(folder, _environment(entry))]


def end(folder: str | Path) -> list:
    """End what a `federate` that is gone left in a run's folder of the federation; a sentence about each process.

    Raises InputError, and ends nothing, if a `federate` of the run is at work.
    """
    left = {pid: owner for pid in of_folder(folder) if (owner := _owner(folder, pid))}
    for pid, began in set(left.values()):
        if born(pid) == began:
            raise InputError(f"{Path(folder).parent} is being done by {described(pid)}; wait for it, or end it.")
    ended = {pid: described(pid) for pid in left}
    for pid in left:
        with contextlib.suppress(ProcessLookupError):
            if _owner(folder, pid) == left[pid]:        # still the same process
                os.kill(pid, signal.SIGKILL)
    give_up = time.monotonic() + LONGEST
    while any(map(_running, left)) and time.monotonic() < give_up:
        time.sleep(0.05)        # its environment goes before its lock does
    return [f"Ended {ended[pid]}: it was left by process {left[pid][0]}, which is gone." for pid in sorted(left)]


def _running(pid):
    """Whether a thread of a process still runs: its first one may have ended before the others, and files and locks are
    the process's until the last one has."""
    try:
        return any(born(int(thread.name)) is not None for thread in (PROC / str(pid) / "task").iterdir())
    except OSError:
        return False


def _owner(folder, pid):
    """(id, when it began) of the process that began a process of this user in this folder; None for any other process."""
    environment = _environment(PROC / str(pid) / "environ")
    with contextlib.suppress(OSError, ValueError):
        if _is_below(folder, environment) and (PROC / str(pid)).stat().st_uid == os.getuid():
            owner, began = environment.get(OWNER.encode(), b"").split()
            return int(owner), int(began)
    return None


def _is_below(folder, environment):
    return environment.get(b"FLWR_HOME", b"").startswith(f"{Path(folder).resolve()}/".encode())


def _environment(file):
    """name -> value, as bytes; nothing of a process of another user, or that is gone."""
    try:
        entries = (entry.partition(b"=") for entry in file.read_bytes().split(b"\0"))
        return {name: value for name, _, value in entries}
    except OSError:
        return {}
