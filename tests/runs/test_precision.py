"""--precision: recorded beside the device, kept by a resumed run, passed on by a sweep, refused on the CPU."""

import itertools
import json

import numpy as np
import pytest

from refusing import refused

from minifl.commands import training
from minifl.data.registry import load
from minifl.errors import InputError
from minifl.runs import record, resuming, run
from minifl.runs.resuming import resume
from minifl.runs.run import Placement, reopen, split, train
from minifl.runs.settings import settings_for


@pytest.fixture
def products(monkeypatch):
    """The precisions that were set, on what is then taken for a GPU."""
    chosen = []
    for module in (run, resuming):
        monkeypatch.setattr(module, "choose_precision", lambda xp, name: chosen.append(name))
    return chosen


def begin(out, data_dir, precision):
    """One round of three."""
    data = load("cifar10", data_dir)
    settings = settings_for("cifar10", {"model": "mlp", "width": 0.02, "rounds": 3, "local_steps": 1, "batch_size": 2})
    lines = train(settings, data, split(settings, data), out, Placement(precision=precision))
    list(itertools.islice(lines, 1))
    lines.close()
    return reopen(out, data_dir)


@pytest.mark.parametrize("given, kept", [(None, "fp32"), ("fp32", "fp32"), ("tf32", "tf32")])
def test_a_resumed_run_keeps_its_precision_and_refuses_another_one(given, kept, tmp_path, data_dir, products):
    out = tmp_path / "run"
    opened = begin(out, data_dir, given)
    assert products == [kept] and record.read_config(out)["precision"] == kept
    other = {"fp32": "tf32", "tf32": "fp32"}[kept]
    with pytest.raises(InputError, match=f"begun with --precision {kept}.* --precision {kept}, or leave that out"):
        resume(out, *opened, Placement(precision=other))
    lines, _ = resume(out, *opened, Placement())
    assert len(list(lines)) == 2 and products == [kept] * 2
    noted = [json.loads(line) for line in (out / record.TIMES).read_text().splitlines()]
    assert [line["precision"] for line in noted if "resumed_after" in line] == [kept]


def test_a_run_from_before_there_was_a_choice_has_fp32(tmp_path, data_dir, products):
    config, *opened = begin(tmp_path / "run", data_dir, None)
    del config["precision"]
    record.write_config(tmp_path / "run", config)
    with pytest.raises(InputError, match="begun with --precision fp32"):
        resume(tmp_path / "run", config, *opened, Placement(precision="tf32"))
    assert len(list(resume(tmp_path / "run", config, *opened, Placement(precision="fp32"))[0])) == 2


@pytest.mark.parametrize("command", ["train", "sweep", "eval"])
def test_on_the_cpu_tf32_is_refused(command, tmp_path, data_dir, cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = ["run"] if command == "eval" else ["--data", "cifar10"]
    refused(cli(command, *arguments, "--data-dir", data_dir, "--device", "cpu", "--precision", "tf32"), "--precision tf32",
            "--precision fp32")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("given, passed", [([], []), (["--precision", "tf32"], ["--precision", "tf32"])])
def test_a_sweep_passes_it_on(given, passed, tmp_path, data_dir, cli, monkeypatch):
    seen = []
    monkeypatch.setattr(training, "choose_device", lambda *chosen: (np, "cuda (Testing 9000)"))
    monkeypatch.setattr(training, "show_sweep", lambda runs, jobs, options: seen.append(options) or {})
    monkeypatch.chdir(tmp_path)
    assert cli("sweep", "--data", "cifar10", "--data-dir", data_dir, "--width", "0.1", *given)[0] == 0
    options = seen[0]
    found = options[options.index("--precision"):][:2] if "--precision" in options else []
    assert found == passed
