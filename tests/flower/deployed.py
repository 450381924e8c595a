"""By hand: a deployment on this machine, as its README.txt says: python tests/flower/deployed.py [--crash] ...

Copies server/ and the node-I/ to folders of their own, runs their scripts, waits for the end, and replays the run.
--host   where the nodes reach the SuperLink; an address of a network card makes them other machines for its guard
--crash  kills the SuperLink with its ServerApp after the first round, and goes on as README.txt says
--lose   kills the SuperNode of node 1 after the first round; its start.sh starts it again

Other options are those of federate: --rounds 4 --algorithm scaffold. About a minute; at most five. Nothing that it
started is left.
"""

import argparse
import contextlib
import http.client
import json
import os
import shutil
import signal
import ssl
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from minifl.flower.loopback import free_port
from minifl.processes import environment

NODES, LIMIT = 3, 300
BEGIN = time.monotonic()
started = []


def say(text):
    print(f"{time.monotonic() - BEGIN:6.1f} s  {text}", flush=True)


def start(name, folder, log, *command, **extra):
    with open(log / f"{name}.log", "ab") as f:
        process = subprocess.Popen([*command], cwd="/", stdin=subprocess.DEVNULL, stdout=f, stderr=f,
                                   env=environment() | {"PYTHON": sys.executable} | extra, start_new_session=True)
    started.append(process)
    say(f"started {folder.name}/{Path(command[-1]).name}")
    return process


def call(script):
    done = subprocess.run([script], cwd="/", env=environment() | {"PYTHON": sys.executable}, capture_output=True,
                          encoding="utf-8", stdin=subprocess.DEVNULL, timeout=120)
    for line in (done.stdout + done.stderr).strip().splitlines():
        say(f"  {script.name}: {line}")
    return done.returncode


def wait_for(what, seconds):
    """Until what() is true; False if it is not in that time."""
    end = min(time.monotonic() + seconds, BEGIN + LIMIT)
    while not (found := what()) and time.monotonic() < end:
        time.sleep(0.5)
    return found


def status(host, port, ca, path):
    """HTTP status of a request to the SuperLink, whose certificate is checked."""
    link = http.client.HTTPSConnection(host, port, timeout=10, context=ssl.create_default_context(cafile=ca))
    link.request("POST" if path.startswith("/v1/") else "GET", path, body=b"" if path.startswith("/v1/") else None)
    return link.getresponse().status


def ours(folder):
    """Processes whose command line, working folder or environment names the trial's folder."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            text = (process / "cmdline").read_bytes() + (process / "environ").read_bytes()
            if int(process.name) != os.getpid() and (str(folder).encode() in text):
                found.append((int(process.name), (process / "cmdline").read_bytes().replace(b"\0", b" ")[:90].decode()))
        except (OSError, ValueError):
            continue
    return found


def trial(options, more, folder):
    port = free_port()
    host = f"[{options.host}]" if ":" in options.host else options.host
    local = "::1" if ":" in options.host else "127.0.0.1"
    emitted, server = folder / "emitted", folder / "server machine" / "server"
    print(subprocess.run(
        [sys.executable, "-m", "minifl", "federate", "--data", "embedded", "--width", "0.1", "--norm", "fn",
         "--num-clients", str(NODES), "--setting", "disjoint", "--rounds", "2", *more, "--emit", emitted,
         "--address", f"{host}:{port}"],
        check=True, env=environment(), capture_output=True, encoding="utf-8").stdout)
    shutil.copytree(emitted / "server", server)
    nodes = [Path(shutil.copytree(emitted / f"node-{i}", folder / f"machine {i}" / f"node-{i}")) for i in range(NODES)]
    shutil.rmtree(emitted)

    superlink = start("superlink", server, folder, server / "start-superlink.sh")
    if call(server / "register-nodes.sh") or call(server / "register-nodes.sh"):
        return "register-nodes.sh failed"
    for path in ("/health", "/docs", "/v1/control/list-runs", "/v1/runtime/acquire-task", "/v1/fleet/pull-messages"):
        here, there = (status(name, port, server / "ca.pem", path) for name in (local, options.host))
        say(f"{path}: HTTP status {here} from here, {there} by way of {options.host}")
    for i, node in enumerate(nodes):
        start(f"node-{i}", node, folder, node / "start.sh", PORT=str(free_port()))
    if call(server / "start-run.sh"):
        return "start-run.sh failed"
    rounds = server / "run" / "rounds.jsonl"
    if (options.crash or options.lose) and not wait_for(lambda: rounds.read_text(encoding="utf-8").count("\n"), 120):
        return "no round"
    if options.lose:
        for pid, name in ours(nodes[1]):
            if "flower-supernode" in name:
                say(f"killed {name}")
                os.kill(pid, signal.SIGKILL)
    if options.crash:
        say(f"start-run.sh while the run goes on: exit code {call(server / 'start-run.sh')}")
        for pid, name in [(superlink.pid, "SuperLink"), *[p for p in ours(server) if "flwr-serverapp" in p[1]]]:
            say(f"killed {name}")
            os.kill(pid, signal.SIGKILL)
        superlink.wait()
        say(f"{len(rounds.read_bytes().splitlines())} rounds are in the record")
        start("superlink", server, folder, server / "start-superlink.sh")
        if call(server / "register-nodes.sh"):
            return "register-nodes.sh failed"
        if call(server / "start-run.sh"):
            return "start-run.sh failed"
    end = server / "run" / "end.json"
    if not wait_for(end.exists, LIMIT):
        return "no end.json"
    say(f"end.json: {json.loads(end.read_bytes())['status']}")
    for line in rounds.read_text(encoding="utf-8").splitlines():
        line = json.loads(line)
        say(f"round {line['round']}: accuracy {line.get('accuracy')}, absent {line.get('absent', 'nobody')}")
    say(f"start-run.sh after the end: exit code {call(server / 'start-run.sh')}")
    replayed = subprocess.run([sys.executable, "-m", "minifl", "replay", server / "run"], env=environment(),
                              capture_output=True, encoding="utf-8", timeout=120)
    say(f"replay: exit code {replayed.returncode}")
    for line in (replayed.stdout + replayed.stderr).strip().splitlines():
        say(f"  replay: {line}")
    before = time.monotonic()
    for process in started:
        if process.poll() is None:
            process.send_signal(signal.SIGINT if process is started[-1] else signal.SIGTERM)
    codes = [process.wait(30) for process in started]
    say(f"stopped by a signal in {time.monotonic() - before:.1f} s, exit codes {codes}")
    wait_for(lambda: not ours(folder), 15)
    say(f"left of it: {ours(folder) or 'nothing'}")
    return replayed.returncode or json.loads(end.read_text(encoding="utf-8"))["status"] != "finished"


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--crash", action="store_true")
    parser.add_argument("--lose", action="store_true")
    parser.add_argument("--keep", action="store_true", help="leave the logs")
    options, more = parser.parse_known_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))     # so that the end below is done
    folder = Path(tempfile.mkdtemp(prefix="minifl deployed "))
    failed = "an exception"
    try:
        failed = trial(options, more, folder)
    finally:
        for process in started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
        for pid, name in ours(folder):
            say(f"killed what was left: {name}")
            os.kill(pid, signal.SIGKILL)
        if failed:
            for log in sorted(folder.glob("*.log")):
                print(f"--- {log.name}", *log.read_text(encoding="utf-8", errors="replace").splitlines()[-25:], sep="\n")
        if not options.keep:
            shutil.rmtree(folder, ignore_errors=True)
    say(f"FAILED: {failed}" if failed else "It worked.")
    sys.exit(bool(failed))


if __name__ == "__main__":
    main()
