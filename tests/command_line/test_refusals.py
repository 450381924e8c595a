"""What the command line refuses, and how it says so."""

from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl import backend
from minifl.params import Spec


CHOICES = ("--data", "--model", "--norm", "--norm-position", "--norm-affine", "--bias", "--activation",
           "--setting", "--device", "--algorithm", "--lr-schedule", "--scaffold-option")


WHOLE = ("--rounds", "--local-steps", "--batch-size", "--eval-every", "--groups", "--num-clients",
         "--classes-per-client", "--workers", "--clients-per-call", "--checkpoint-every", "--local-epochs",
         "--clients-per-round", "--lr-step-rounds")


@pytest.mark.parametrize("option", CHOICES)
def test_unknown_names(cli, small, option):
    refused(cli("train", *small, option, "nonsense"), option, "nonsense")


@pytest.mark.parametrize("option, value", [
    *((option, value) for option in WHOLE for value in ("0", "-3", "1.5", "many")),
    *((option, value) for option in ("--seed", "--data-seed", "--min-size") for value in ("-1", "0.5", "x")),
    *((option, value) for option in ("--lr", "--width", "--dirichlet-alpha")
      for value in ("0", "-0.1", "nan", "inf", "-inf", "1e999", "x")),
    ("--width", "1e+300"),
])
def test_bad_numbers(cli, small, option, value):
    refused(cli("train", *small, "--out", "run", option, value), option, value.replace("1e999", "inf"))
    assert not Path("run").exists()


def test_groups_that_do_not_divide(cli, small):
    refused(cli("train", *small, "--norm", "gn", "--groups", "2"), "--groups 2", "3 channels of norm1")
    assert not Path("runs").exists()


def test_more_than_fits_into_memory(cli, small, monkeypatch):
    def init(spec, seed):
        raise MemoryError("Unable to allocate 618 GiB")

    monkeypatch.setattr(Spec, "init", init)
    refused(cli("train", *small), "not enough memory", "618 GiB", "--width", "--batch-size", "--local-steps",
            "--local-epochs")


def test_bad_data_files(cli, data_dir, tmp_path):
    def call(folder):
        return cli("train", "--data", "cifar10", "--data-dir", folder, "--device", "cpu")

    refused(call(tmp_path / "nowhere"), "--data-dir", "nowhere", "no such folder")
    refused(call(tmp_path), "cifar10.npz does not exist", "python data_scripts/cifar10.py")
    file = tmp_path / "cifar10.npz"
    whole = (data_dir / "cifar10.npz").read_bytes()
    for content in (b"", b"hello", whole[:1000], whole[:-100], whole[:600_000] + b"!" + whole[600_001:]):
        file.write_bytes(content)
        refused(call(tmp_path), "cifar10.npz: ", "python data_scripts/cifar10.py")
        refused(cli("train", "--data-dir", tmp_path), "cifar10.npz: ")      # auto does not pass over it
    np.savez(file, weights=np.zeros(3))
    refused(call(tmp_path), "not a data set of minifl")
    file.unlink()
    file.mkdir()
    refused(call(tmp_path), "cifar10.npz: cannot be read")


def test_an_output_folder_that_cannot_be_written(cli, small):
    Path("file").write_text("mine")
    refused(cli("train", *small, "--out", "file"), "--out file exists and is not a run directory")
    refused(cli("train", *small, "--out", "file", "--force"), "--out file exists and is not a run directory")
    refused(cli("train", *small, "--out", "file/run"), "--out file/run cannot be written")
    Path("runs").write_text("mine")
    refused(cli("train", *small), "runs")
    assert Path("file").read_text() == Path("runs").read_text() == "mine"


@pytest.mark.parametrize("option", ["--out", "--resume", "--data-dir", "--partition", "--config"])
def test_an_empty_path_is_not_the_current_folder(cli, small, option):
    refused(cli("train", *small, option, ""), f"'{option}'", "'' is no path")
    assert not Path("runs").exists()


@pytest.mark.parametrize("command", ["train", "sweep", "partition"])
def test_an_empty_name_of_data_is_not_auto(cli, command):
    refused(cli(command, "--data", ""), "--data ''", "auto", "embedded", "cifar10")
    assert not Path("runs").exists()


def test_no_gpu(cli, small, monkeypatch):
    monkeypatch.setattr(backend, "_working_cupy", lambda: (None, "no CUDA device was found"))
    refused(cli("train", *small, "--device", "cuda"), "--device cuda", "no CUDA device was found",
            "--device cpu")
    code, output, _ = cli("train", *small, "--rounds", 1, "--device", "auto")
    assert code == 0 and "no GPU: no CUDA device was found" in output


def test_eval_of_what_is_no_run(cli, small, data_dir, tmp_path):
    Path("file").write_text("")
    for path in ("nowhere", ".", "file"):
        refused(cli("eval", path), path, "is not a run directory")
    assert cli("train", *small, "--rounds", 1, "--out", "run")[0] == 0
    refused(cli("eval", "run", "--data-dir", tmp_path, "--device", "cpu"), "cifar10.npz does not exist")
    Path("run/model.npz").write_bytes(b"PK")
    refused(cli("eval", "run", "--data-dir", data_dir, "--device", "cpu"), "model.npz is damaged: it is not the file")
    Path("run/end.json").unlink()
    refused(cli("eval", "run", "--data-dir", data_dir, "--device", "cpu"), "model.npz cannot be read")


def test_no_such_command_or_option(cli):
    refused(cli("trian"), "trian")
    refused(cli("train", "--learning-rate", "1"), "--learning-rate")


@pytest.mark.parametrize("options, texts", [
    (("--mu", "0.1"), ("--mu belongs to --algorithm fedprox", "fedavg it has no effect")),
    (("--algorithm", "fedaws", "--bias", "all"), ("--bias all", "fedaws")),
    (("--algorithm", "scaffold", "--beta1", "0.5"), ("--beta1 belongs to --algorithm fedadagrad, fedadam, fedavgm, fedyogi",)),
    (("--local-steps", "2", "--local-epochs", "2"), ("--local-steps 2 and --local-epochs 2: give one",)),
    (("--participation", "0.5", "--clients-per-round", "2"), ("--participation 0.5 and --clients-per-round 2",)),
    (("--clients-per-round", "11"), ("--clients-per-round 11", "the 10 clients")),
    (("--participation", "0"), ("--participation 0.0", "above 0 and at most 1")),
    (("--dropout-rate", "1.5"), ("--dropout-rate 1.5", "from 0 to 1")),
    (("--momentum", "1"), ("--momentum 1.0", "below 1")),
    (("--resume", "run", "--out", "run"), ("--resume", "leave --out")),
    (("--resume", "nowhere"), ("nowhere is not a run directory",)),
])
def test_what_methods_and_participation_refuse(cli, small, options, texts):
    refused(cli("train", *small, *options), *texts)
    assert not Path("runs").exists()
