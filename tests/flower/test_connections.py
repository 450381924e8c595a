"""Over real loopback connections: the same bits, a node that is killed, TLS and keys. Minutes, most of them waiting."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from connecting import OPTIONS, kill_session, log, of_run, processes, run, started, wait_for
from inprocess import federate, load, record, same, settings_for, split

from minifl.flower import certificates
from minifl.flower.loopback import LOOPBACK, OFF, free_port, node_config, program
from minifl.processes import environment
from minifl.runs.locking import holders

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the tests look for processes in /proc")


def test_federations_end_with_the_bits_of_train(tmp_path, data_dir):
    """SCAFFOLD here, FedYogi below; README's command is FedAvg's. All methods are tried by trials.py."""
    chosen = {name: (*OPTIONS, "--data-dir", data_dir, "--rounds", 2, "--algorithm", name) for name in ("scaffold",)}
    running = {}
    for name, options in chosen.items():
        (tmp_path / name).mkdir()
        running[name] = started("federate", *options, "--out", "federated", cwd=tmp_path / name)
    try:
        wait_for(lambda: all(process.poll() is not None for process in running.values()), "the end of the runs")
    finally:
        for process in running.values():
            kill_session(process.pid)
    for name, process in running.items():
        folder, output = tmp_path / name, (tmp_path / name / "output").read_text()
        assert process.returncode == 0, output
        assert "round 2/2" in output and "Test accuracy" in output and "replay federated" in output
        assert not of_run(folder / "federated")
        assert run("train", *chosen[name], "--out", "trained", cwd=folder)[0] == 0
        assert same(folder / "federated", folder / "trained")
        code, output, errors = run("replay", "federated", "--data-dir", data_dir, cwd=folder)
        assert code == 0 and "every bit of its model are the same" in output, output + errors


def test_a_node_that_is_killed_in_a_round_and_started_again(tmp_path, data_dir):
    """SCAFFOLD, so that the client has to go on with what it kept before."""
    out = tmp_path / "run"
    chosen = *OPTIONS, "--data-dir", data_dir, "--algorithm", "scaffold", "--rounds", 4, "--timeout", 30
    process = started("federate", *chosen, "--out", "run", cwd=tmp_path)
    try:
        wait_for(lambda: "ROUND 2]" in log(out, "supernode-1"), "round 2 at node 1")
        (node,) = processes("minifl.flower.closed supernode", "partition-id=1", out)
        kill_session(node)
        wait_for(lambda: process.poll() is not None, "the end of the run")
    finally:
        kill_session(process.pid)
    shown = (tmp_path / "output").read_text()
    assert process.returncode == 0, shown
    assert "Node 1 ended (exit code -9); it is started again." in shown
    assert "Round 2 without client 1: node 1 did not answer" in shown
    found = record.read_rounds(out)
    assert [missing["client"] for missing in found[1]["absent"]] == [1]
    assert "absent" not in found[3]
    code, output, errors = run("replay", "run", "--data-dir", data_dir, cwd=tmp_path)
    assert code == 0 and "every bit of its model are the same" in output, output + errors
    assert not of_run(out)


def test_a_federate_that_was_killed_goes_on_at_once(tmp_path, data_dir):
    """What it leaves holds the lock: the ServerApp, which Flower started in a session of its own."""
    process = started("federate", *OPTIONS, "--data-dir", data_dir, "--rounds", 2, "--out", "run", cwd=tmp_path)
    try:
        wait_for(lambda: record.count_rounds(tmp_path / "run") >= 1, "round 1")
        os.kill(process.pid, signal.SIGKILL)
        process.wait()
        held = holders(tmp_path / "run")
        assert len(held) == 1 and held[0] in of_run(tmp_path / "run")
        code, output, errors = run("federate", "--resume", "run", "--data-dir", data_dir, cwd=tmp_path)
    finally:
        kill_session(process.pid)
    assert code == 0 and f"Ended process {held[0]}, " in output, output + errors
    assert f"it was left by process {process.pid}, which is gone." in output and not of_run(tmp_path / "run")
    code, output, errors = run("replay", "run", "--data-dir", data_dir, cwd=tmp_path)
    assert code == 0 and "every bit of its model are the same" in output, output + errors


def test_tls_and_keys_of_nodes(tmp_path, data_dir):
    """FedYogi over TLS with keys has the bits of train; who has no right to take part is refused meanwhile."""
    out = tmp_path / "federated"
    dataset = load("cifar10", data_dir)
    chosen = {"num_clients": 3, "setting": "disjoint", "norm": "fn", "local_steps": 2, "width": 0.1, "rounds": 2,
              "algorithm": "fedyogi", "batch_size": 8, "eval_every": 1, "local_eval_every": 2}
    settings = settings_for("cifar10", chosen)
    partition = split(settings, dataset)
    config = federate.begin(settings, dataset, partition, out, nodes=3, wait=120, timeout=120, clip_update=None,
                            tls=True)
    other = certificates.make(tmp_path / "other", [LOOPBACK]).ca
    stranger = certificates.make_node_key(tmp_path / "stranger")
    with federate.federation(out, config, data_dir, 1, print) as federation:
        link = f"{LOOPBACK}:{federation.port}"
        own, key = out / "federation" / "certificates" / certificates.CA, federation.nodes[0].key
        bad = {"another authority": node(tmp_path, link, "--root-certificates", other,
                                         "--auth-supernode-private-key", stranger),
               "an unknown key": node(tmp_path, link, "--root-certificates", own,
                                      "--auth-supernode-private-key", stranger),
               "no key": node(tmp_path, link, "--root-certificates", own),
               "plain text": node(tmp_path, link, "--insecure")}
        lines = list(federate.follow(out, federation))
        refused = {name: (process.wait(timeout=60), file.read_text(errors="replace"))
                   for name, (process, file) in bad.items()}
    federate.close(out, settings, settings.network(10, (32, 32, 3)), 3)
    assert len(lines) == 2 and record.read_end(out)["status"] == "finished"
    for name, (code, text) in refused.items():
        assert code != 0, f"{name}: {text}"
        assert "SuperNode ID" not in text, f"{name}: {text}"
    assert "CERTIFICATE_VERIFY_FAILED" in refused["another authority"][1]
    assert key.name == "node-0" and not of_run(out)
    run("train", *OPTIONS, "--data-dir", data_dir, "--algorithm", "fedyogi", "--rounds", 2, "--out", "trained",
        cwd=tmp_path)
    assert same(out, tmp_path / "trained")


def node(folder, link, *security):
    """A SuperNode that tries to take part: (process, file with its output)."""
    file = folder / f"node {free_port()}"
    command = [program("flower-supernode"), *security, "--superlink", link, "--host", LOOPBACK, "--port", free_port(),
               "--max-retries", 1, "--node-config", node_config({"partition-id": 0, "num-partitions": 3})]
    with open(file, "wb") as output:
        return subprocess.Popen(list(map(str, command)), stdout=output, stderr=output, cwd=folder,
                                env=environment_of(folder)), file


def environment_of(folder):
    """What a SuperNode of a user has."""
    bin_ = str(Path(sys.executable).parent)
    return environment() | OFF | {"FLWR_HOME": str(folder / "home"), "PATH": f"{bin_}{os.pathsep}{os.environ['PATH']}"}
