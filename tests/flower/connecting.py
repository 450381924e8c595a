"""Federations over real connections: runs of a few rounds, and the processes that they start."""

import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install -e '.[flower]'")

from minifl.flower.leftovers import of_folder

OPTIONS = ("--data", "cifar10", "--num-clients", "3", "--setting", "disjoint", "--norm", "fn", "--local-steps", "2",
           "--width", "0.1", "--batch-size", "8", "--eval-every", "1", "--local-eval-every", "2")
LONGEST = 240       # seconds that a federation of a test may take


def command(*arguments):
    """The command line in a process of its own."""
    return [sys.executable, "-m", "minifl", *map(str, arguments)]


def run(*arguments, cwd):
    """Run the command line to its end: (exit code, stdout, stderr)."""
    done = subprocess.run(command(*arguments), cwd=cwd, capture_output=True, encoding="utf-8", timeout=LONGEST)
    return done.returncode, done.stdout, done.stderr


def started(*arguments, cwd):
    """Start the command line; its output is in cwd/output."""
    with open(Path(cwd) / "output", "wb") as output:
        return subprocess.Popen(command(*arguments), cwd=cwd, stdout=output, stderr=output, start_new_session=True)


def wait_for(condition, what, seconds=LONGEST):
    """Wait until condition() holds; returns what it returned."""
    end = time.monotonic() + seconds
    while not (found := condition()):
        assert time.monotonic() < end, f"{what} did not happen within {seconds} s"
        time.sleep(0.1)
    return found


def processes(*words):
    """Ids of the processes whose command lines have all of these words (Linux)."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
            if all(str(word) in line for word in words) and int(folder.name) != os.getpid():
                found.append(int(folder.name))
    return found


def of_run(out):
    """Ids of all processes of Flower of a run directory's federation."""
    return of_folder(Path(out) / "federation")


def kill_session(pid):
    """End a process and those that it started, at once."""
    with suppress(ProcessLookupError):
        os.killpg(pid, signal.SIGKILL)


def log(out, name):
    """The log of a process of Flower."""
    file = Path(out) / "federation" / f"{name}.log"
    return file.read_text(encoding="utf-8", errors="replace") if file.exists() else ""
