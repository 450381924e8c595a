"""`federate` and `replay` without a federation: what they refuse, and what replay finds. Real ones: tests/flower/."""

from importlib import metadata
from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl.runs import record, seals


@pytest.fixture
def options(small):
    """Those of `small` that federate has, too."""
    return [part for name, value in zip(small[::2], small[1::2]) if name != "--device" for part in (name, value)]


@pytest.fixture
def flower(monkeypatch):
    """As if Flower were installed; nothing of it is imported by what is refused."""
    monkeypatch.setattr(metadata, "version", lambda name: "1.41.0")


def test_without_flower(cli, options, monkeypatch):
    def missing(name):
        raise metadata.PackageNotFoundError(name)
    monkeypatch.setattr(metadata, "version", missing)
    refused(cli("federate", *options), "Flower, which is not installed", "pip install -e '.[flower]'")
    monkeypatch.setattr(metadata, "version", lambda name: "1.42.0")
    refused(cli("federate", *options), "needs Flower 1.41.0, and 1.42.0 is installed")


@pytest.mark.parametrize("wrong, texts", [
    (("--diagnose",), ("--diagnose", "stay with their clients", "use train")),
    (("--nodes", 11), ("--nodes 11 is more than the 10 clients",)),
    (("--nodes", 0), ("--nodes",)), (("--wait", 0), ("--wait",)), (("--timeout", "x"), ("--timeout",)),
    (("--clip-update", 0), ("--clip-update",)), (("--clip-update", "nan"), ("--clip-update",)),
    (("--wait", "nan"), ("--wait",)), (("--timeout", "inf"), ("--timeout",)),
    (("--emit", "there"), ("--emit DIR and --address HOST:PORT belong together",)),
    (("--address", "a:1"), ("--emit DIR and --address HOST:PORT belong together",)),
    (("--num-clients", 3), ("--setting oneclass needs a client for each class",)),
    (("--algorithm", "fedsgd"), ("fedsgd",)),
])
def test_what_federate_refuses(cli, options, flower, wrong, texts):
    refused(cli("federate", *options, *wrong), *texts)


def test_federate_knows_no_device(cli, small, flower):
    refused(cli("federate", *small), "No such option '--device'")


def test_resume_of_what_is_no_federation(cli, small, data_dir, flower):
    assert cli("train", *small, "--out", "run")[0] == 0
    refused(cli("federate", "--resume", "run", "--data-dir", data_dir), "begun by train, not by federate")
    refused(cli("federate", "--resume", "run", "--out", "b", "--data-dir", data_dir),
            "leave --out, --force and --emit out")
    refused(cli("federate", "--resume", "nothing", "--data-dir", data_dir), "nothing is not a run directory")


def test_resume_of_a_federation_on_other_machines(cli, small, data_dir, flower):
    assert cli("train", *small, "--out", "run")[0] == 0
    Path("run", record.END).unlink()
    record.write_config("run", record.read_config("run") | {"federation": {"elsewhere": True}})
    refused(cli("federate", "--resume", "run", "--data-dir", data_dir), "on several machines", "./start-run.sh")


def test_replay_finds_nothing_in_a_run_that_is_right(cli, small, data_dir):
    assert cli("train", *small, "--algorithm", "scaffold", "--participation", 0.5, "--out", "run")[0] == 0
    code, output, _ = cli("replay", "run", "--data-dir", data_dir)
    assert code == 0 and "Every line of the record of run and every bit of its model are the same." in output


def sealed_again(run):
    """As who forges a record would do it."""
    end = record.read_end(run)
    record.finish(run, *(end[name] for name in ("status", "message", "rounds_done", "last_evaluation")))


def test_replay_finds_a_changed_line_and_a_changed_bit(cli, small, data_dir):
    assert cli("train", *small, "--out", "run")[0] == 0
    lines = record.read_rounds("run")
    lines[2] |= {"train_loss": 1.0}
    seals.write(Path("run", record.ROUNDS), lines)
    model = dict(np.load("run/model.npz"))
    name = next(iter(model))
    model[name].flat[0] = np.nextafter(model[name].flat[0], np.float32(9))
    record.save_model("run", model)
    sealed_again("run")
    code, output, _ = cli("replay", "run", "--data-dir", data_dir)
    assert code == 1 and "round 3: train_loss differ" in output and f"model: {name} differs by up to" in output


def test_replay_of_an_absence_that_was_not(cli, small, data_dir):
    """Who takes a client out of a round gets another model."""
    assert cli("train", *small, "--out", "run")[0] == 0
    lines = record.read_rounds("run")
    lines[1]["absent"] = [{"client": 4, "reason": "invented"}]
    seals.write(Path("run", record.ROUNDS), lines)
    sealed_again("run")
    code, output, _ = cli("replay", "run", "--data-dir", data_dir)
    assert code == 1 and "round 2: " in output and "model: " in output


def test_what_replay_refuses(cli, small, data_dir):
    refused(cli("replay", "nothing"), "nothing is not a run directory")
    assert cli("train", *small, "--out", "run")[0] == 0
    Path("run", record.ROUNDS).write_text("")
    refused(cli("replay", "run", "--data-dir", data_dir), "rounds.jsonl is damaged: it is not the file with which")
    Path("run", record.END).unlink()
    refused(cli("replay", "run", "--data-dir", data_dir), "run has no round yet")
