"""The benchmark of the federation: its options, floors, comparisons, count of bytes; nothing that starts Flower."""

import json
import socket
import subprocess
import sys
import threading
import zipfile
from importlib import metadata
from pathlib import Path

import federate as bench
import numpy as np
import pytest
import tables

from minifl.runs import record
from minifl.runs.settings import settings_for

ROOT = Path(__file__).resolve().parents[2]

P = 797_248                 # weights of the released CNN


class Images:
    """What `floor` has to know of a data set."""
    num_classes, image_shape = 10, (32, 32, 3)


@pytest.fixture
def program(monkeypatch, capsys):
    """(arguments) -> exit code and what it said on standard output and error; it may not begin to measure."""
    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["federate.py", *map(str, arguments)])
        with pytest.raises(SystemExit) as end:
            bench.main()
        return end.value.code, *capsys.readouterr()

    monkeypatch.setattr(bench, "measured", lambda *_: pytest.fail("it begins to measure"))
    return run


@pytest.mark.parametrize("arguments", [("--nodes", "9"), ("--nodes", "0"), ("--nodes", "2,x"), ("--nodes", ""),
                                       ("--rounds", 1), ("--more-steps", 0)])
def test_it_refuses_what_makes_no_sense(program, arguments):
    code, out, error = program(*arguments)
    assert (code, out) == (2, "") and "error: " in error and arguments[0] in error


def test_without_flower_it_says_what_is_missing(program, monkeypatch, tmp_path):
    def version(name):
        raise metadata.PackageNotFoundError(name)

    monkeypatch.setattr(metadata, "version", version)
    code, _, error = program("--json", tmp_path / "record.json")
    assert code == 2 and "pip install -e '.[flower]'" in error and list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("good", [True, False])
def test_it_writes_a_record_and_fails_unless_all_bits_are_the_same(good, program, monkeypatch, tmp_path):
    monkeypatch.setattr(bench.federate, "check_installed", lambda: None)
    monkeypatch.setattr(bench, "load", lambda *_: None)
    monkeypatch.setattr(bench.federate, "POLL", 1)      # and it is as it was after the test
    monkeypatch.setattr(bench, "measured", lambda case, *_: rows() | {"same_bits": good or case.nodes != 2})
    code, out, _ = program("--nodes", "2,4", "--json", tmp_path / "record.json")
    written = json.loads((tmp_path / "record.json").read_text())
    assert code == (not good) and ("NO" in out) == (not good)
    assert [line["same_bits"] for line in written["lines"]] == [good, True, True, True]
    assert "--nodes 2,4" in written["command"] and written["note"].startswith("load of the machine")


def test_the_middle_number_of_nodes_also_does_scaffold_and_more_steps():
    assert bench.cases([2, 4, 8], 300) == [(2, "fedavg", 10), (4, "fedavg", 10), (8, "fedavg", 10),
                                           (4, "scaffold", 10), (4, "fedavg", 300)]
    assert bench.cases([8], 20)[1:] == [(8, "scaffold", 10), (8, "fedavg", 20)]


@pytest.mark.parametrize("algorithm, arrays", [("fedavg", 1), ("scaffold", 2)])
@pytest.mark.parametrize("nodes", [2, 8])
def test_the_floor_is_w_to_each_node_and_theta_from_each_client_and_for_scaffold_twice_that(algorithm, arrays, nodes):
    settings = settings_for("cifar10", {"algorithm": algorithm, "num_clients": bench.CLIENTS})
    assert bench.floor(settings, Images, nodes) == {"down": arrays * nodes * 4 * P,
                                                    "up": arrays * bench.CLIENTS * 4 * P}


def test_the_forwarder_passes_everything_on_and_counts_each_direction():
    """A service that answers twice what it got, on two connections at once; the requests are larger than any buffer."""
    sent = [bytes([i]) * n for i, n in enumerate([1_000_003, 70_001])]
    with socket.create_server(("127.0.0.1", 0)) as service:
        def serve(count):
            with connections[count] as there:
                content = b"".join(iter(lambda: there.recv(1 << 16), b""))     # until the client has said all
                there.sendall(2 * content)

        connections, threads, got = [], [], []
        with bench.Forwarder(service.getsockname()[1]) as forwarder:
            clients = [socket.create_connection(("127.0.0.1", forwarder.port), timeout=20) for _ in sent]
            for i in range(len(sent)):
                connections.append(service.accept()[0])
                threads.append(threading.Thread(target=serve, args=(i,)))
                threads[-1].start()
            for client, content in zip(clients, sent):
                client.sendall(content)
                client.shutdown(socket.SHUT_WR)
            for client in clients:
                got.append(b"".join(iter(lambda: client.recv(1 << 16), b"")))
                client.close()
            for thread in threads:
                thread.join(20)
            counts = dict(forwarder.counts)
    assert got == [2 * content for content in sent]
    assert counts == {"up": 1_070_004, "down": 2_140_008}


def test_the_forwarder_ends_with_connections_open():
    with socket.create_server(("127.0.0.1", 0)) as service:
        with bench.Forwarder(service.getsockname()[1]) as forwarder:
            client = socket.create_connection(("127.0.0.1", forwarder.port), timeout=20)
            there, _ = service.accept()
            client.sendall(b"abc")
            assert there.recv(3) == b"abc"
        with client, there:
            assert client.recv(1) == b""
    assert not forwarder.thread.is_alive()


def test_supernodes_reach_the_forwarder_and_everyone_else_the_superlink():
    class Made:
        port = 1

        def _supernode(self, i):
            return i, self.port

    made = Made()
    made._supernode = bench.through(made, 2)
    assert made._supernode(7) == (7, 2) and made.port == 1


def test_the_first_round_does_not_count():
    moments = [bench.Moment(*of) for of in [(5.0, 1.0, 900, 90), (6.0, 1.5, 1000, 100), (9.0, 3.5, 1200, 150),
                                            (11.0, 3.75, 1300, 175)]]
    assert bench.per_round(moments) == {"seconds": [1, 3, 2], "processor": [0.5, 2, 0.25], "down": [100, 200, 100],
                                        "up": [10, 50, 25]}


def rows():
    """The record's line of a case whose numbers are easy to follow."""
    here = {"seconds": [0.5, 0.25], "processor": [1.0, 0.5]}
    there = {"seconds": [4.0, 8.0, 5.0], "processor": [3.0, 3.5, 4.0], "down": [1100, 1000, 3000],
             "up": [600, 500, 550]}
    after = {"seconds": [0.5, 0.75], "processor": [1.0, 1.0]}
    return bench.line_of(bench.Case(4, "fedavg", 10), here, there, after, {"down": 1000, "up": 500})


def test_a_line_has_medians_and_what_they_are_to_the_other_side_and_to_the_floor():
    line = rows()
    assert (line["in_process_seconds"], line["federated_seconds"], line["overhead_seconds"]) == (0.5, 5.0, 4.5)
    assert (line["ratio"], line["down_bytes"], line["up_bytes"]) == (10, 1100, 550)
    assert (line["down_to_floor"], line["up_to_floor"], line["in_process_cpu_seconds"]) == (1.1, 1.1, 1.0)


def test_the_table_is_made_from_the_record(tmp_path, monkeypatch):
    monkeypatch.setattr(tables, "BENCH", tmp_path)
    (tmp_path / "federate.json").write_text(json.dumps({"lines": [rows() | {"same_bits": True},
                                                                  rows() | {"same_bits": False}]}))
    found = [[cell.strip() for cell in line.strip("|\n").split("|")] for line in tables.federate().splitlines()]
    assert found[2] == ["4", "8", "fedavg", "10", "0.50", "5.0", "4.5", "10.0", "1", "1.10", "1", "1.10", "yes"]
    assert found[3][-1] == "NO" and {len(line) for line in found} == {13}


@pytest.fixture
def two_runs(tmp_path):
    folders = tmp_path / "a", tmp_path / "b"
    for folder in folders:
        folder.mkdir()
        (folder / record.ROUNDS).write_text('{"round": 1}\n')
        record.save_model(folder, {"w": np.zeros(3, np.float32), "v": np.ones(2, np.float32)})
    return folders


def test_two_runs_are_the_same(two_runs):
    assert bench.same(*two_runs)
    with zipfile.ZipFile(two_runs[0] / record.MODEL) as archive:    # the arrays count, not the archive around them
        stored = {name: archive.read(name) for name in archive.namelist()}
    with zipfile.ZipFile(two_runs[0] / record.MODEL, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in stored.items():
            archive.writestr(name, content)
    assert bench.same(*two_runs)


@pytest.mark.parametrize("model", [
    {"w": np.array([0, 0, 1e-45], np.float32), "v": np.ones(2, np.float32)},    # one bit
    {"w": np.array([0, 0, -0.0], np.float32), "v": np.ones(2, np.float32)},     # equal, and not the same
    {"w": np.zeros(3, np.int32), "v": np.ones(2, np.float32)},
    {"w": np.zeros((1, 3), np.float32), "v": np.ones(2, np.float32)},
    {"w": np.zeros(3, np.float32)},
])
def test_one_bit_makes_two_models_differ(two_runs, model):
    record.save_model(two_runs[1], model)
    assert not bench.same(*two_runs) and not bench.same(*two_runs[::-1])


def test_another_line_makes_two_runs_differ(two_runs):
    (two_runs[1] / record.ROUNDS).write_text('{"round": 2}\n')
    assert not bench.same(*two_runs)


def test_the_processors_seconds_are_those_of_a_process_and_all_that_it_started():
    """One whose child computed and ended, and whose other child, in a session of its own, computed and lives."""
    if not Path("/proc/self/stat").exists():
        pytest.skip("there is no /proc here")
    work, say = "import time\nwhile time.process_time() < 0.3: pass\n", "print(1, flush=True); input()"
    code = (f"import subprocess, sys\nsubprocess.run([sys.executable, '-c', {work!r}])\n"
            f"subprocess.run([sys.executable, '-c', {work + say!r}], start_new_session=True)")
    with subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as busy, \
            subprocess.Popen([sys.executable, "-c", say], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as idle:
        assert busy.stdout.readline() == idle.stdout.readline() == b"1\n"
        alone, both, other = (bench.processor_of(roots) for roots in ({busy.pid}, {busy.pid, idle.pid}, {idle.pid}))
        busy.communicate(b"\n"), idle.communicate(b"\n")
    assert 0.5 <= alone <= both and other < 0.3      # clock ticks are cut off
    assert bench.processor_of({busy.pid}) == 0
