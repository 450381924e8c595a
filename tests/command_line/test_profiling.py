"""train --profile as its user meets it."""

from pathlib import Path

from refusing import refused

import minifl.commands.training
from minifl.runs.profile import AROUND
from minifl.runs.record import read_config, read_rounds


def test_the_command_prints_the_table(cli, small):
    code, output, errors = cli("train", *small, "--norm", "fn", "--workers", 2, "--profile", "--out", "run")
    assert (code, errors) == (0, "")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in output.splitlines() if line.startswith("| ")]
    assert rows[0][:5] == ["layer", "what", "forward ms", "backward ms", "ms"]
    assert [row[0] for row in rows[1:]] == [
        "conv1", "norm1", "pool1", "conv2", "norm2", "pool2", "flatten", "dense1", "dense1.norm", "dense2",
        "dense2.norm", "classifier", "loss", "all layers", *AROUND, "rest"]
    assert "GFLOP/s" in output and "floor" not in output and "of tests of the global model" in output
    assert "4 rounds" in output and "40 local steps" in output and "thread-seconds" in output and "gap" in output
    assert output.index("| loss") < output.index("Test accuracy")
    assert cli("train", *small, "--norm", "fn", "--out", "other")[0] == 0
    assert read_rounds("run") == read_rounds("other")
    assert read_config("run")["settings"] == read_config("other")["settings"]


def test_an_interrupted_command_prints_what_it_has(cli, small, monkeypatch):
    def interrupted(lines, settings):
        next(lines)
        raise KeyboardInterrupt

    monkeypatch.setattr(minifl.commands.training, "show_progress", interrupted)
    code, output, errors = cli("train", *small, "--profile")
    assert code == 130 and "Interrupted" in errors and "Profile of 1 round," in output and "| conv1" in output


def test_a_run_without_a_step_has_no_table(cli, small):
    code, output, _ = cli("train", *small, "--dropout-rate", 1, "--profile")
    assert code == 0 and "nothing to show" in output


def test_no_gpu_is_profiled(cli, small, monkeypatch):
    monkeypatch.setattr(minifl.commands.training, "choose_device", lambda *_: (object(), "cuda (a GPU)"))
    for device in ("cuda", "auto"):
        refused(cli("train", *small[:4], "--device", device, "--profile", "--out", "run"), "--profile", "cuda (a GPU)",
                "--device cpu", "CUDA")
    assert not Path("run").exists()
