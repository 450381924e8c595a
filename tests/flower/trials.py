"""What takes too long for CI, tried once over real connections: every method, and everything that can be killed.

    python tests/flower/trials.py [NAME ...]        writes results/federation/trials.json

Each trial ends with `replay`: the rounds done again in one process, with the clients absent that were absent, must have
the same record and the same bits. The run takes about half an hour on two cores, most of it waiting.
"""

import json
import os
import shutil
import signal
import sys
import tempfile
import time
from importlib import metadata
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))
from connecting import OPTIONS, kill_session, log, of_run, run, started, wait_for

from minifl.atomic import replacing
from minifl.data.registry import data_folder
from minifl.fl.algorithms import ALGORITHMS
from minifl.runs import record

RECORD = Path(__file__).resolve().parents[2] / "results" / "federation" / "trials.json"
EMBEDDED = ("--data", "embedded", *OPTIONS[2:])
FAULTY = (*EMBEDDED, "--algorithm", "scaffold", "--rounds", 5, "--local-steps", 40)


def whole(*arguments):
    """A federation that nothing happens to."""
    def trial(folder):
        code, output, errors = run("federate", *EMBEDDED, "--rounds", 2, *arguments, "--out", "run", cwd=folder)
        assert code == 0, output + errors
    return trial


def in_round(folder, number, act):
    """Begin a federation; in round `number`, while node 1 works, act(process); returns the process that has ended."""
    process = started("federate", *FAULTY, "--out", "run", cwd=folder)
    try:
        wait_for(lambda: f"ROUND {number}]" in log(folder / "run", "supernode-1"), f"round {number}")
        act(process)
        wait_for(lambda: process.poll() is not None, "the end")
        wait_for(lambda: not of_run(folder / "run"), "the end of all processes", 20)
    finally:
        kill_session(process.pid)
    return process


def resumed(folder):
    code, output, errors = run("federate", "--resume", "run", cwd=folder)
    assert code == 0, output + errors
    times = [json.loads(line) for line in (folder / "run" / record.TIMES).read_text(encoding="utf-8").splitlines()]
    return f"resumed after round {next(line['resumed_after'] for line in times if 'resumed_after' in line)}"


def interrupted(folder):
    process = in_round(folder, 2, lambda process: os.kill(process.pid, signal.SIGINT))
    assert process.returncode == 130, (folder / "output").read_text(encoding="utf-8")
    assert record.read_end(folder / "run")["status"] == "interrupted"
    return resumed(folder)


def all_killed(folder):
    in_round(folder, 3, lambda process: os.kill(process.pid, signal.SIGKILL))
    return resumed(folder)


def superlink_killed(folder):
    process = in_round(folder, 3, lambda _: kill_session(of_kind(folder, b"minifl.flower.closed superlink")))
    assert process.returncode == 1 and "the SuperLink ended" in (folder / "output").read_text(encoding="utf-8")
    return resumed(folder)


def of_kind(folder, *words):
    """The process id of one of the run's processes, by words of its command line."""
    for pid in of_run(folder / "run"):
        line = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ")
        if all(word in line for word in words):
            return pid
    raise LookupError(words)


def serverapp_killed(folder):
    process = in_round(folder, 3, lambda _: os.kill(of_kind(folder, b"flwr-serverapp"), signal.SIGKILL))
    assert process.returncode == 1, (folder / "output").read_text(encoding="utf-8")
    return resumed(folder)


def node_killed(*arguments):
    """A SuperNode is killed in round 2; without a --timeout, Flower notices by itself."""
    def trial(folder):
        process = started("federate", *FAULTY, *arguments, "--out", "run", cwd=folder)
        try:
            wait_for(lambda: "ROUND 2]" in log(folder / "run", "supernode-1"), "round 2")
            kill_session(of_kind(folder, b"minifl.flower.closed supernode", b"partition-id=1 "))
            wait_for(lambda: process.poll() is not None, "the end", 600)
        finally:
            kill_session(process.pid)
        assert process.returncode == 0, (folder / "output").read_text(encoding="utf-8")
        times = [json.loads(line)["seconds"]
                 for line in (folder / "run" / record.TIMES).read_text(encoding="utf-8").splitlines()]
        absent = [line["round"] for line in record.read_rounds(folder / "run") if "absent" in line]
        assert absent[0] == 2 and absent[-1] < len(times), absent
        reason = record.read_rounds(folder / "run")[1]["absent"][0]["reason"]
        return f"absent in rounds {absent} ({reason}); rounds took {', '.join(f'{t:.0f}' for t in times)} s"
    return trial


TRIALS = {f"{name}, FN": whole("--algorithm", name) for name in ALGORITHMS} | {
    "batch norm, averaged": whole("--norm", "bn"),
    "batch norm that stays (FedBN), SCAFFOLD": whole("--norm", "bn", "--bn-stats", "local", "--algorithm", "scaffold"),
    "ResNet-8, LN": whole("--model", "resnet8", "--norm", "ln", "--width", "0.5"),
    "ViT, LN": whole("--model", "vit", "--norm", "ln", "--width", "0.25"),
    "Dirichlet, sampled, dropouts, two nodes": whole(
        "--setting", "dirichlet", "--num-clients", 6, "--participation", "0.5", "--dropout-rate", "0.3", "--nodes", 2,
        "--algorithm", "scaffold", "--rounds", 4),
    "CIFAR-10, one class each, four nodes": whole("--data", "cifar10", "--setting", "oneclass", "--num-clients", 10,
                                                  "--nodes", 4, "--width", "1"),
    "TLS and keys": whole("--tls", "--algorithm", "scaffold"),
    "Ctrl-C, then resumed": interrupted,
    "federate killed, then resumed": all_killed,
    "SuperLink killed, then resumed": superlink_killed,
    "ServerApp killed, then resumed": serverapp_killed,
    "node killed, --timeout 15": node_killed("--timeout", 15),
    "node killed, Flower notices": node_killed(),
    "node killed, TLS and keys": node_killed("--tls", "--timeout", 15, "--rounds", 12),
}


def try_one(trial):
    """(passed, what is worth knowing, seconds)."""
    folder, begin = Path(tempfile.mkdtemp()), time.monotonic()
    try:
        said = trial(folder)
        code, output, errors = run("replay", "run", cwd=folder)
        assert code == 0, output + errors
        assert not of_run(folder / "run")
        return True, said or "", time.monotonic() - begin
    except Exception as error:      # the next trial goes on
        return False, f"{type(error).__name__}: {error}", time.monotonic() - begin
    finally:
        for pid in of_run(folder / "run"):
            os.kill(pid, signal.SIGKILL)
        shutil.rmtree(folder)


def main(names):
    signal.signal(signal.SIGINT, signal.default_int_handler)    # a shell has background jobs ignore it
    os.environ["MINIFL_DATA"] = str(data_folder()[0].resolve())
    found = json.loads(RECORD.read_text(encoding="utf-8"))["trials"] if names and RECORD.exists() else {}
    for name in names or TRIALS:
        passed, said, seconds = try_one(TRIALS[name])
        print(f"{'passed' if passed else 'FAILED'}  {seconds:5.0f} s  {name}  {said}", flush=True)
        found[name] = {"passed": passed, "seconds": round(seconds), "said": said}
        with replacing(RECORD) as f:
            f.write((json.dumps({"command": "python tests/flower/trials.py", "flwr": metadata.version("flwr"),
                                 "trials": found}, indent=1) + "\n").encode())
    return 0 if all(trial["passed"] for trial in found.values()) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
