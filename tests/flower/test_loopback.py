"""How a federation's processes are started, followed and closed, without starting any."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from inprocess import InProcess, begun, federate, record, served, trained

from flwr.common.config import parse_config_args

from minifl.errors import InputError
from minifl.flower import loopback
from minifl.flower.app import write_app, write_connection
from minifl.flower.loopback import Failed, Federation
from minifl.runs import checkpoint


def test_telemetry_updates_and_installations_are_off(tmp_path):
    found = Federation(tmp_path, [], {})._environment("supernode-1")
    assert {name: found[name] for name in loopback.OFF} == {
        "FLWR_TELEMETRY_ENABLED": "0", "FLWR_DISABLE_UPDATE_CHECK": "1",
        "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION": "1"}
    assert found["FLWR_HOME"].startswith(f"{tmp_path}/") and found["PATH"].startswith(str(Path(sys.executable).parent))


def test_every_process_is_started_so(tmp_path, monkeypatch):
    started = []
    monkeypatch.setattr(Federation, "_start", lambda self, name, command: started.append([name, *map(str, command)]))
    monkeypatch.setattr(Federation, "_healthy", lambda self: True)
    monkeypatch.setattr(Federation, "flwr", lambda self, *words: {"success": True, "run-id": "7"})
    nodes = [loopback.Node({"partition-id": i, "data-dir": 'a "b" \\ c'}, None) for i in range(2)]
    with Federation(tmp_path, nodes, {"out": "x"}) as federation:
        assert federation.run_id == "7"
    (_, *link), *others = started
    assert link[1:4] == ["-m", "minifl.flower.closed", "superlink"]
    assert "--disable-runtime-dependency-installation" in link and link[link.index("--host") + 1] == "127.0.0.1"
    for i, (name, *command) in enumerate(others):
        assert name == f"supernode-{i}" and command[1:4] == ["-m", "minifl.flower.closed", "supernode"]
        assert "--allow-runtime-dependency-installation" not in command
        assert parse_config_args([command[command.index("--node-config") + 1]]) == nodes[i].config
    assert len({command[command.index("--port") + 1] for _, *command in started}) == 3


@pytest.mark.parametrize("text", ["", "/a b/c", "it's", 'say "x"', "back\\slash", "ü"])
def test_flower_reads_what_a_node_is_given(text):
    values = {"partition-id": 2, "state-dir": text, "workers": 1}
    assert parse_config_args([loopback.node_config(values)]) == values


@pytest.mark.parametrize("text", ["it's \"x\"", "it's \\", "two\nlines"])
def test_what_flower_cannot_be_given_is_refused(text):
    with pytest.raises(InputError, match="choose another folder"):
        loopback.node_config({"state-dir": text})


def test_the_app_and_the_connection_are_what_flower_reads(tmp_path):
    from flwr.cli.config_utils import load_and_validate
    write_app(tmp_path / "app", {"out": 'a "b"', "nodes": 3, "wait": 1.5, "named-nodes": True})
    config, warnings = load_and_validate(tmp_path / "app" / "pyproject.toml")
    assert not warnings
    assert config["tool"]["flwr"]["app"]["config"] == {"out": 'a "b"', "nodes": 3, "wait": 1.5, "named-nodes": True}
    write_connection(tmp_path, "127.0.0.1:5", None)
    assert "insecure = true" in (tmp_path / "config.toml").read_text()


class Still:
    """A federation in which nothing happens."""
    def __init__(self, over=False):
        self.ended, self.watched = over, 0

    def watch(self):
        self.watched += 1

    def over(self):
        return self.ended

    def tail(self):
        return "the log of superlink"


def test_lines_come_as_they_are_written(tmp_path, data_dir, monkeypatch):
    begun(tmp_path, data_dir)
    monkeypatch.setattr(federate, "POLL", 0)
    lines = federate.follow(tmp_path, Still())
    for round_ in (1, 2):
        record.append(tmp_path, {"round": round_}, 1.0)
        assert next(lines) == {"round": round_}
    record.cut(tmp_path, 1, "cpu")              # the server goes on from an earlier checkpoint
    federation, seen = Still(), []

    def watch():
        seen.append(1)
        if len(seen) == 2:
            record.append(tmp_path, {"round": 2, "again": True}, 1.0)
            record.finish(tmp_path, "finished", None, 2, None)

    lines = federate.follow(tmp_path, federation, 1)
    federation.watch = watch
    assert list(lines) == [{"round": 2, "again": True}] and len(seen) == 2


def test_a_run_that_ended_without_a_word_is_noticed(tmp_path, data_dir, monkeypatch):
    begun(tmp_path, data_dir)
    monkeypatch.setattr(federate, "POLL", 0)
    monkeypatch.setattr(federate, "ASK", 0)
    with pytest.raises(Failed, match="ended without saying how. the log of superlink"):
        list(federate.follow(tmp_path, Still(over=True)))


def test_a_federation_that_was_interrupted_gets_its_end(tmp_path, data_dir):
    """As `train` leaves a run: the model of the last round, and end.json."""
    out = tmp_path / "run"
    settings, dataset, partition = begun(out, data_dir, rounds=4, eval_every=3, algorithm="scaffold")
    grid = InProcess(2, data_dir, out / "clients",
                     there=lambda node, message: message.metadata.group_id != "3" or _stop())
    with pytest.raises(KeyboardInterrupt):
        served(out, data_dir, grid)
    for name in (record.END, record.MODEL):     # as if it had been killed
        (out / name).unlink()
    federate.close(out, settings, settings.network(10, (32, 32, 3)), 3)
    end = record.read_end(out)
    assert (end["status"], end["rounds_done"], end["message"]) == ("interrupted", 2, "stopped after round 2")
    short = trained(tmp_path / "trained", *begun(tmp_path / "unused", data_dir, rounds=2, algorithm="scaffold"))
    for name, array in np.load(short / record.MODEL).items():
        np.testing.assert_array_equal(np.load(out / record.MODEL)[name], array)
    assert checkpoint.files(out) and (out / "clients").exists()


def _stop():
    raise KeyboardInterrupt


def test_a_complete_run_keeps_nothing_of_its_clients_or_keys(tmp_path, data_dir):
    settings, _, _ = begun(tmp_path, data_dir, algorithm="scaffold")
    (tmp_path / "federation" / "certificates").mkdir(parents=True)
    served(tmp_path, data_dir)
    assert (tmp_path / "clients").exists()
    federate.close(tmp_path, settings, settings.network(10, (32, 32, 3)), 3)
    assert not (tmp_path / "clients").exists() and not (tmp_path / "federation" / "certificates").exists()


def test_force_removes_what_an_earlier_federation_kept(tmp_path, data_dir):
    run = begun(tmp_path, data_dir, algorithm="scaffold")
    served(tmp_path, data_dir)
    before = json.loads((tmp_path / record.CONFIG).read_text())["federation"]["id"]
    federate.begin(*run, tmp_path, nodes=2, wait=1, timeout=1, clip_update=None, tls=False, force=True)
    assert json.loads((tmp_path / record.CONFIG).read_text())["federation"]["id"] != before
    assert not (tmp_path / "clients").exists()


def test_a_batch_norm_that_stayed_elsewhere_is_not_in_the_model(tmp_path, data_dir):
    from minifl.flower.replaying import differences
    from minifl.runs.run import reevaluate
    begun(tmp_path, data_dir, norm="bn", bn_stats="local", rounds=2)
    config = record.read_config(tmp_path)
    config["federation"]["elsewhere"] = True
    record.write_config(tmp_path, config)
    served(tmp_path, data_dir)
    assert not [name for name in np.load(tmp_path / record.MODEL).files if name.startswith("clients/")]
    assert not differences(tmp_path, data_dir, 1, lambda lines, settings: list(lines))
    with pytest.raises(InputError, match="whose clients kept their batch norms"):
        reevaluate(tmp_path, data_dir=data_dir)
