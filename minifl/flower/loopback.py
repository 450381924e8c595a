"""A federation on this machine: a SuperLink and its SuperNodes as processes that talk over the loopback interface.

All of Flower's own is in OUT/federation: the app, logs, FLWR_HOME of each process, keys and certificates. Telemetry,
the search for updates and the installation of dependencies are off. Whatever happens in the block, at its end no
process is left; on Linux neither if this process is killed.
"""

import contextlib
import ctypes
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any, NamedTuple

from minifl import reading
from minifl.atomic import appending
from minifl.errors import InputError
from minifl.flower import certificates
from minifl.flower.app import LINK, write_app, write_connection
from minifl.flower.leftovers import OWNER, of_folder, this_process
from minifl.processes import environment

STARTING = 90           # seconds for a SuperLink to answer; Python and Flower on a busy machine
RESTART_PAUSE = 5       # before a SuperNode that ended is started again
LOOPBACK = "127.0.0.1"
OFF = {"FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
       "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1"}


class Failed(RuntimeError):
    """The federation cannot go on: says what ended, and the last lines of its log."""


class Node(NamedTuple):
    """What a SuperNode of this machine is started with."""
    config: dict            # its --node-config
    key: Path | None        # its private key, None without authentication


class Federation:
    """The processes. folder: OUT/federation; nodes: the Node of each; secure: TLS and authentication of nodes.

    check  called while it starts; what it raises ends it
    """

    def __init__(self, folder, nodes, app_config, *, secure=False, say=print, check=lambda: None):
        self.folder, self.nodes, self.secure, self.say, self.check = Path(folder), nodes, secure, say, check
        self.app_config = app_config
        self.port = free_port()
        self.ports = [free_port() for _ in nodes]
        self.superlink, self.supernodes, self.ended, self.run_id = None, [], {}, None

    def __enter__(self):
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            write_app(self.folder / "app", self.app_config)
            self._start_superlink()
            self.supernodes = [self._supernode(i) for i in range(len(self.nodes))]
            self.check()
            answer = self.flwr("run", str(self.folder / "app"), LINK)
            if not answer.get("success") or not answer.get("run-id"):
                raise Failed(f"the SuperLink did not take the run: {answer}")
            self.run_id = answer["run-id"]
            return self
        except BaseException:
            self.stop()
            raise

    def __exit__(self, *_):
        self.stop()

    def watch(self) -> None:
        """Start SuperNodes again that have ended; Failed if the SuperLink has."""
        if self.superlink.poll() is not None:
            raise Failed(f"the SuperLink ended (exit code {self.superlink.returncode}). {self.tail()}")
        for i, process in enumerate(self.supernodes):
            if process.poll() is None:
                continue
            if i not in self.ended:
                self.ended[i] = time.monotonic()
                kill(process)       # and what it started itself
                self.say(f"Node {i} ended (exit code {process.returncode}); it is started again.")
            elif time.monotonic() - self.ended[i] > RESTART_PAUSE:
                del self.ended[i]
                self.supernodes[i] = self._supernode(i)

    def over(self) -> bool:
        """Whether Flower says that the run has ended, whatever the record says."""
        return str(self.listed().get("status", "")).startswith("finished")

    def listed(self) -> dict:
        """What Flower says of the run, with the bytes that its nodes sent and received."""
        return (self.flwr("list", LINK, "--run-id", str(self.run_id)).get("runs") or [{}])[0]

    def stop(self) -> None:
        """End all processes at once. The run directory is whole at every moment, so nothing is asked to finish."""
        for process in filter(None, [self.superlink, *self.supernodes]):
            kill(process)
        end = time.monotonic() + 10
        while (left := of_folder(self.folder)) and time.monotonic() < end:
            for pid in left:
                with contextlib.suppress(ProcessLookupError, PermissionError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(0.05)
        for name in ("app", "home", "link"):
            shutil.rmtree(self.folder / name, ignore_errors=True)

    def flwr(self, *arguments: Any) -> Any:
        """What `flwr ... --format json` says; Failed if that is no JSON."""
        done = subprocess.run([program("flwr"), *arguments, "--format", "json"], env=self._environment("link"),
                              stdin=subprocess.DEVNULL, capture_output=True, encoding="utf-8", errors="replace",
                              cwd=self.folder)
        start = done.stdout.find("{")
        try:
            return json.JSONDecoder().raw_decode(done.stdout[start:])[0] if start >= 0 else {}
        except ValueError:
            raise Failed(f"flwr {arguments[0]} said {(done.stdout + done.stderr)[-500:]!r}") from None

    def tail(self) -> str:
        """The last lines of the SuperLink's log."""
        log = self.folder / "superlink.log"
        with contextlib.suppress(OSError):
            return "\n".join([f"The end of {log}:", *reading.whole(log).decode(errors="replace").strip().splitlines()[-12:]])
        return ""

    def _start_superlink(self):
        tls: list = ["--insecure"]
        if self.secure:
            made = certificates.make(self.folder / "certificates", [LOOPBACK])
            tls = ["--ssl-ca-certfile", made.ca, "--ssl-certfile", made.certificate, "--ssl-keyfile", made.key,
                   "--enable-supernode-auth"]
        write_connection(self.folder / "link", f"{LOOPBACK}:{self.port}", made.ca if self.secure else None)
        self.superlink = self._start("superlink", [
            *closed("superlink"), *tls, "--host", LOOPBACK, "--port", self.port,
            "--disable-runtime-dependency-installation"])
        end = time.monotonic() + STARTING
        while not self._healthy():
            self.check()
            if self.superlink.poll() is not None or time.monotonic() > end:
                raise Failed(f"the SuperLink did not start. {self.tail()}")
            time.sleep(0.2)
        for i, node in enumerate(self.nodes):
            self.check()
            if self.secure:
                answer = self.flwr("supernode", "register", str(node.key.with_suffix(".pub")), LINK, "--name",
                                   f"node-{i}")
                if not answer.get("success"):
                    raise Failed(f"the SuperLink did not register the key of node {i}: {answer}")

    def _healthy(self):
        """Whether the SuperLink listens: with TLS a plain request is refused, which says so, too."""
        try:
            with urllib.request.urlopen(f"http://{LOOPBACK}:{self.port}/health", timeout=2):
                return True
        except urllib.error.HTTPError:
            return True
        except urllib.error.URLError as error:
            return self.secure and not isinstance(error.reason, ConnectionRefusedError)
        except OSError:
            return self.secure

    def _supernode(self, i):
        node = self.nodes[i]
        link = ["--insecure"] if not self.secure else [
            "--root-certificates", self.folder / "certificates" / certificates.CA,
            "--auth-supernode-private-key", node.key]
        return self._start(f"supernode-{i}", [
            *closed("supernode"), *link, "--superlink", f"{LOOPBACK}:{self.port}", "--host", LOOPBACK,
            "--port", self.ports[i], "--node-config", node_config(node.config)])

    def _start(self, name, command):
        with appending(self.folder / f"{name}.log") as log:
            return subprocess.Popen(list(map(str, command)), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                    env=self._environment(name), cwd=self.folder, start_new_session=True,
                                    preexec_fn=_die_with_parent)

    def _environment(self, name):
        home = self.folder / ("link" if name == "link" else f"home/{name}")
        home.mkdir(parents=True, exist_ok=True)
        bin_ = str(Path(sys.executable).parent)     # Flower starts its programs by their bare names
        return environment() | OFF | {"FLWR_HOME": str(home.resolve()), OWNER: this_process(), "PYTHONUNBUFFERED": "1",
                                      "PATH": os.pathsep.join([bin_, os.environ.get("PATH", "")])}


def node_config(values: dict) -> str:
    """The text of --node-config: key=value, as TOML. Flower takes a text in quotation marks of one kind only.

    Raises InputError for a text that has both kinds.
    """
    def text(value):
        quote = "'" if "'" not in value else '"'
        if "\n" in value or (quote == '"' and ('"' in value or "\\" in value)):
            raise InputError(f"Flower takes no name with an apostrophe and a quotation mark, backslash or line break: "
                             f"{value!r}; choose another folder.")
        return f"{quote}{value}{quote}"

    return " ".join(f"{name}={text(value) if isinstance(value, str) else json.dumps(value)}"
                    for name, value in values.items())


def closed(name: str) -> list[str]:
    """How one of Flower's servers is started, so that it answers to this user alone (closed.py)."""
    return [sys.executable, "-m", "minifl.flower.closed", name]


def program(name: str) -> str:
    """The path of one of Flower's programs; InputError if Flower is not installed."""
    path = Path(sys.executable).parent / name
    found = str(path) if path.exists() else shutil.which(name)
    if found is None:
        raise InputError(f"{name} was not found: Flower is not installed (pip install -e '.[flower]').")
    return found


def free_port() -> int:
    """A port of the loopback interface that nobody has right now."""
    with socket.socket() as s:
        s.bind((LOOPBACK, 0))
        return s.getsockname()[1]


def kill(process: Any) -> None:
    """End a process and all that it started in its session."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(timeout=10)


_LIBC = ctypes.CDLL(None) if sys.platform == "linux" else None
PR_SET_PDEATHSIG = 1    # linux/prctl.h


def _die_with_parent():
    if _LIBC is not None:
        _LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
