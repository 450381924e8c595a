"""Sweeps: the grid that an option list means, what is skipped, resumed or refused, and the table at the end."""

import json
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import click
import pytest

from declared_values import valid

from minifl.cli import main
from minifl.commands import training
from minifl.commands.options import Several
from minifl.data import registry
from minifl.data.files import write_dataset
from minifl.errors import InputError
from minifl.runs.record import read_config, read_end, read_rounds
from minifl.runs.settings import belongs, choices, settings_for
from minifl.runs.sweep import _arguments as sweep_arguments
from minifl.runs.sweep import grid

CLI = Path(__file__).resolve().parents[2] / "cli.py"


@pytest.fixture
def small(data_dir):
    return options_of(data_dir)


def options_of(data_dir):
    """Options of runs of less than a second."""
    return ["--data", "cifar10", "--data-dir", str(data_dir), "--device", "cpu", "--model", "mlp", "--width", "0.02",
            "--rounds", "4", "--local-steps", "1", "--batch-size", "4", "--eval-every", "2"]


@pytest.fixture
def sweep(cli, monkeypatch, tmp_path, small):
    """Call `sweep` in an empty folder: (exit code, stdout, stderr)."""
    monkeypatch.chdir(tmp_path)
    return lambda *arguments: cli("sweep", *small, *arguments)


# ---- the grid

def names(several, out="out"):
    return [run.path.name for run in grid("cifar10", several, out)]


def test_every_combination_once_seed_fastest(tmp_path):
    assert names({"seed": [0, 1], "norm": ["none", "fn"], "lr": [0.1]}, tmp_path) == [
        "fedavg-none-oneclass-seed0", "fedavg-none-oneclass-seed1",
        "fedavg-fn-oneclass-seed0", "fedavg-fn-oneclass-seed1"]


def test_what_varies_is_in_the_name(tmp_path):
    assert names({"lr": [0.1, 0.2], "batch_size": [8]}, tmp_path) == ["fedavg-none-oneclass-lr0.1-seed0",
                                                                     "fedavg-none-oneclass-lr0.2-seed0"]


def test_hyperparameters_go_to_their_methods_only(tmp_path):
    runs = grid("cifar10", {"algorithm": ["fedavg", "fedprox"], "mu": [0.0, 1.0]}, tmp_path)
    assert [run.path.name for run in runs] == [
        "fedavg-none-oneclass-seed0", "fedprox-none-oneclass-mu0.0-seed0", "fedprox-none-oneclass-mu1.0-seed0"]
    assert [run.settings.mu for run in runs] == [None, 0.0, 1.0] and "mu" not in runs[0].chosen


def test_choices_that_belong_to_a_norm_or_model_go_there_only(tmp_path):
    assert names({"norm": ["fn", "bn"], "bn_stats": ["global", "local"]}, tmp_path) == [
        "fedavg-fn-oneclass-seed0", "fedavg-bn-oneclass-bn-statsglobal-seed0", "fedavg-bn-oneclass-bn-statslocal-seed0"]
    runs = grid("cifar10", {"model": ["cnn", "vit"], "patch_size": [8], "vit_token": ["class", "mean"]}, tmp_path)
    assert [(run.settings.model, run.settings.vit_token) for run in runs] == [
        ("cnn", None), ("vit", "class"), ("vit", "mean")]
    tiny = grid("pacs", {"patch_size": [8]}, tmp_path)     # its default model is a ResNet
    assert [run.settings.patch_size for run in tiny] == [None]


def test_what_the_grid_refuses(tmp_path):
    with pytest.raises(InputError, match="a combination twice: --lr 0.1"):
        grid("cifar10", {"lr": [0.1, 0.1]}, tmp_path)
    with pytest.raises(InputError, match="--lr -1"):
        grid("cifar10", {"lr": [0.1, -1]}, tmp_path)


# ---- a sweep

def test_a_sweep_equals_its_runs_made_alone(sweep, small, cli):
    code, output, errors = sweep("--seeds", "0-1", "--norm", "none,fn", "--algorithm", "fedavg,fedyogi",
                                 "--out", "grid")
    assert (code, errors) == (0, "")
    assert "8 runs in grid, 0 of them complete" in output
    assert output.count("started ") == output.count("ended ") == 8 and "(8/8)" in output
    rows = [line for line in output.splitlines() if line.startswith("| cifar10")]
    assert len(rows) == 4 and all(row.count("±") == 3 for row in rows)
    name = "fedyogi-fn-oneclass-seed1"
    assert cli("train", *small, "--algorithm", "fedyogi", "--norm", "fn", "--seed", "1", "--out", "alone")[0] == 0
    for file in ("rounds.jsonl", "model.npz", "end.json", "partition.csv"):
        assert Path("grid", name, file).read_bytes() == Path("alone", file).read_bytes()
    command = read_config(Path("grid", name))["command"]
    assert command.startswith("python -m minifl train ") and "--algorithm fedyogi" in command and "--seed 1" in command


def test_complete_runs_are_skipped_and_stopped_ones_resumed(sweep):
    assert sweep("--seeds", "0-2", "--out", "grid", "--checkpoint-every", "1")[0] == 0
    whole = {path: path.read_bytes() for path in Path("grid").rglob("*") if path.is_file() and path.name != "times.jsonl"}
    stopped = Path("grid", "fedavg-none-oneclass-seed1")
    (stopped / "end.json").unlink()                       # as if it had been killed before its first checkpoint
    lines = (stopped / "rounds.jsonl").read_text().splitlines(keepends=True)
    (stopped / "rounds.jsonl").write_text("".join(lines[:2]) + lines[2][:9])
    finished = Path("grid", "fedavg-none-oneclass-seed0", "rounds.jsonl")
    before = finished.stat().st_mtime_ns
    code, output, errors = sweep("--seeds", "0-2", "--out", "grid")
    assert (code, errors) == (0, "") and "2 of them complete" in output and output.count("started") == 1
    assert finished.stat().st_mtime_ns == before
    assert {path: path.read_bytes() for path in whole} == whole
    assert "resumed_after" in (stopped / "times.jsonl").read_text()


def test_other_settings_in_the_same_place_are_refused_before_anything_starts(sweep):
    assert sweep("--out", "grid", "--seeds", "1")[0] == 0
    code, _, errors = sweep("--out", "grid", "--seeds", "0-1", "--lr", "0.5")
    assert code == 2 and "--lr 0.01, this sweep has 0.5" in errors and len(list(Path("grid").iterdir())) == 1


def test_a_run_that_fails_does_not_stop_the_others(sweep):
    code, output, errors = sweep("--lr", "0.01,1e30", "--out", "grid")
    assert code == 1
    assert "lr1e+30-seed0: Diverged: the " in errors
    assert read_end(Path("grid", "fedavg-none-oneclass-lr0.01-seed0"))["status"] == "finished"
    assert read_end(Path("grid", "fedavg-none-oneclass-lr1e+30-seed0"))["status"] == "diverged"
    assert output.count("| cifar10") == 1
    again = sweep("--lr", "0.01,1e30", "--out", "grid")
    assert again[0] == 1 and "2 of them complete" in again[1] and "diverged" in again[2]


def test_advice_is_given_once_with_the_runs_it_is_about(sweep):
    output = sweep("--algorithm", "fedlc,fedavg", "--norm", "none,fn", "--out", "grid")[1]
    assert output.count("identically 0") == 1
    assert "Note on 2 of the runs (fedlc-none-oneclass-seed0, ...)" in output


def test_what_is_refused(sweep):
    for options, text in ((("--seeds", "0", "--seed", "1"), "--seeds and --seed are the same"),
                          (("--norm", "none,best"), "--norm 'best' is unknown; valid are none, "),
                          (("--lr", "0.1,fast"), "'fast' is not a valid float"),
                          (("--num-clients", "10,9"), "--num-clients 9"),
                          (("--norm", "gn", "--model", "cnn", "--groups", "2"), "--groups 2 does not divide")):
        code, _, errors = sweep(*options, "--out", "grid")
        assert code == 2 and text in errors and "Traceback" not in errors
    assert not Path("grid").exists()


@pytest.mark.parametrize("seeds", ["0-99999999999", "1-10000,20000", "0-9,10-99999999999999999999999"])
def test_too_many_values(sweep, seeds):
    code, _, errors = sweep("--seeds", seeds, "--out", "grid")
    assert code == 2 and "'--seeds'" in errors and "at most 10,000 are valid" in errors


def test_too_many_combinations(sweep):
    code, _, errors = sweep("--seeds", "0-9999", "--data-seed", "0-9", "--out", "grid")
    assert code == 2 and "100,000 combinations" in errors and "10,000 of --seed" in errors


def test_ranges():
    whole = Several(int)
    assert whole.convert("3-5,1,4", None, None) == [3, 4, 5, 1]
    for text in ("5-3", "0-x", "-3-4", "0-\u00b2", "0-" + "9" * 5000):
        with pytest.raises(click.BadParameter, match="not a valid integer"):
            whole.convert(text, None, None)


@pytest.mark.parametrize("out, text", [("file/grid", "--out file/grid cannot be written: Not a directory"),
                                       ("file", "--out file exists and is not a folder")])
def test_an_output_folder_that_cannot_be_used_is_found_before_anything_starts(sweep, out, text):
    Path("file").write_text("mine")
    code, output, errors = sweep("--seeds", "0-1", "--out", out)
    assert code == 2 and errors.startswith(f"Error: {text}") and errors.count("\n") == 1
    assert "started" not in output and Path("file").read_text() == "mine"


def test_a_file_in_the_place_of_a_run_stops_that_run_only(sweep):
    Path("grid").mkdir()
    Path("grid", "fedavg-none-oneclass-seed0").write_text("mine")
    code, output, errors = sweep("--seeds", "0-1", "--out", "grid")
    assert code == 1 and "seed0 exists and is not a run directory" in errors and output.count("| cifar10") == 1


def test_a_table_of_counts_and_a_config_file(sweep, tmp_path):
    Path("table.csv").write_text("client," + ",".join(f"class{c}" for c in range(10)) + "\n" +
                                 "".join(f"{k}," + ",".join("4" * 10) + "\n" for k in range(3)))
    Path("mine.json").write_text(json.dumps({"norm": "fn", "lr": 0.5}))
    code, _, errors = sweep("--partition", "table.csv", "--config", "mine.json", "--lr", "0.1", "--seeds", "3",
                            "--out", "grid")
    assert (code, errors) == (0, "")
    settings = read_config(Path("grid", "fedavg-fn-table-seed3"))["settings"]
    assert (settings["num_clients"], settings["norm"], settings["lr"]) == (3, "fn", 0.1)


@pytest.fixture(scope="module")
def made_alone(tmp_path_factory, data_dir):
    """The first run of the sweeps below, by `train`, which gives a sweep's bits: see the first test of a sweep."""
    folder = tmp_path_factory.mktemp("alone") / "run"
    with pytest.raises(SystemExit) as exit_:
        main(["train", *options_of(data_dir), "--seed", "0", "--rounds", "150", "--out", str(folder)])
    assert exit_.value.code == 0
    return folder


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_stopped_sweep_goes_on_to_the_same_bits(sweep, small, tmp_path, signum, code, made_alone):
    options = ["--seeds", "0-1", "--rounds", "150", "--out", "grid"]
    process = subprocess.Popen([sys.executable, CLI, "sweep", *small, *options], cwd=tmp_path, text=True,
                               stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                               preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler))
    rounds = tmp_path / "grid" / "fedavg-none-oneclass-seed0" / "rounds.jsonl"
    give_up = time.monotonic() + 120
    while not (rounds.exists() and rounds.read_text().count("\n") > 3):
        assert process.poll() is None and time.monotonic() < give_up, process.communicate()
        time.sleep(0.01)
    process.send_signal(signum)
    _, errors = process.communicate(timeout=120)
    assert process.returncode == code and "the same command goes on" in errors and "Traceback" not in errors
    assert sweep(*options)[0] == 0
    one = Path("grid", "fedavg-none-oneclass-seed0")
    assert [line["round"] for line in read_rounds(one)] == list(range(1, 151))
    for file in ("rounds.jsonl", "model.npz", "end.json"):
        assert (one / file).read_bytes() == (made_alone / file).read_bytes()
    assert settings_for("cifar10", read_config(one)["settings"]).rounds == 150
    assert [file.name for file in one.glob("checkpoint-*")] == ["checkpoint-0000150"]


# ---- every setting takes several values, and a file counts as it does for train

CHOICES = {"diagnose": None, "by_domain": None, "standardize_weights": None}     # on or off for all runs
PAIRS = {   # two values of settings, 0 among them where that is one, and what has to be chosen besides
    "data": (["embedded", "tiny"], {}), "local_eval_every": ([0, 2], {}), "num_clients": ([10, 20], {}),
    "classes_per_client": ([1, 2], {"setting": "nclass"}), "dirichlet_alpha": ([0.5, 1.0], {"setting": "dirichlet"}),
    "groups": ([1, 2], {"norm": "gn"}), "bn_stats": (["local", "batch"], {"norm": "bn"}),
    "patch_size": ([4, 8], {"model": "vit"}), "vit_token": (["class", "mean"], {"model": "vit"}),
    "dropout_rate": ([0.0, 0.5], {}), "momentum": ([0.0, 0.5], {}), "weight_decay": ([0.0, 0.5], {}),
    "label_smoothing": ([0.0, 0.1], {}), "feature_noise": ([0.0, 0.5], {}), "seed": ([0, 1], {}), "data_seed": ([0, 1], {}),
    "setting": (["iid", "oneclass"], {}), "model": (["cnn", "mlp"], {}), "algorithm": (["fedavg", "fedprox"], {}),
    "norm": (["none", "gn"], {}), "last_batch": (["full", "partial"], {"local_epochs": 1}),
}


@pytest.fixture
def planned(monkeypatch, cli, data_dir, tmp_path):
    """The runs that `sweep`, or the run that `train`, would do with these options: their Settings. Nothing is done."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("MINIFL_DATA", str(data_dir))
    found, load = [], registry.load
    monkeypatch.setattr(registry, "load", lambda name, folder=None: replace(
        load("cifar10", folder), name="cifar10" if name == "auto" else name))
    monkeypatch.setattr(training, "check_fits", lambda *_, **__: None)
    monkeypatch.setattr(training, "do_runs", lambda runs, *_, **__: found.extend(runs) or {})
    monkeypatch.setattr(training, "train", lambda settings, *_, **__: found.append(settings) or sys.exit(0))

    def call(command, *arguments):
        found.clear()
        code, _, errors = cli(command, "--device", "cpu", *arguments)
        assert code == 0, errors
        return list(found)
    return call


def as_options(chosen):
    return [part for name, value in chosen.items() for part in (f"--{name.replace('_', '-')}", value)]


def several_of_each():
    """Every field of Settings with two values: those above, or the first two that are valid."""
    options = {option.name: option for option in training.train_command.params}
    for name, choice in choices().items():
        owner, values = belongs().get(name, (None, {}))
        if name == "init_from":       # the same model for all runs; tests/command_line/test_given.py
            continue
        if options[name].is_flag:
            assert name in CHOICES
        elif name in PAIRS:
            yield name, *PAIRS[name]
        else:
            yield name, valid(choice)[:2], {"algorithm": next(iter(values))} if owner == "algorithm" else {}


@pytest.mark.parametrize("name, values, besides", list(several_of_each()), ids=lambda value: value if isinstance(value, str) else "")
def test_every_setting_takes_several_values_and_each_run_is_that_of_train(name, values, besides, planned):
    """With a config file that says what train would be told by it, too: of another seed, and with hyperparameters."""
    Path("mine.json").write_text(json.dumps({"seed": 5, "rounds": 3, "algorithm": "fedprox", "mu": 0.25, "norm": "bn",
                                             "bn_stats": "batch", "participation": 0.5, "local_steps": 3}))
    runs = planned("sweep", "--config", "mine.json", *as_options(besides | {name: ",".join(map(str, values))}))
    assert len(runs) == 2 and len({run.path for run in runs}) == 2
    for run, value in zip(runs, values):
        alone, = planned("train", "--config", "mine.json", *as_options(besides | {name: value}))
        assert run.settings == alone and getattr(alone, name) == value
        again, = planned("train", *sweep_arguments(run.chosen))     # what the run's process is told
        assert again == alone


@pytest.mark.parametrize("mine, options, settings", [
    ({"algorithm": "fedprox", "mu": 0.5}, ("--algorithm", "fedprox"), [{"mu": 0.5}]),
    ({"algorithm": "fedprox", "mu": 0.5}, ("--algorithm", "fedprox,fedavg"), [{"mu": 0.5}, {"mu": None}]),
    ({"mu": 0.5}, ("--algorithm", "fedavg,fedprox"), [{"mu": None}, {"mu": 0.5}]),
    ({"algorithm": "fedyogi", "beta1": 0.5}, ("--algorithm", "fedyogi,fedadam"), [{"beta1": 0.5}, {"beta1": 0.9}]),
    ({"norm": "bn", "bn_stats": "local"}, ("--norm", "bn,fn"), [{"bn_stats": "local"}, {"bn_stats": None}]),
    ({"model": "vit", "patch_size": 8}, ("--model", "vit"), [{"patch_size": 8}]),
    ({"local_epochs": 2}, ("--local-steps", "1,2"), [{"local_epochs": None, "local_steps": n} for n in (1, 2)]),
])
def test_what_a_file_says_of_a_method_norm_or_model_counts_for_it(mine, options, settings, planned):
    Path("mine.json").write_text(json.dumps(mine))
    runs = planned("sweep", "--config", "mine.json", *options)
    assert [{name: getattr(run.settings, name) for name in of_one} for run, of_one in zip(runs, settings, strict=True)] == settings


def test_a_hyperparameter_of_a_file_that_names_no_method_goes_to_the_one_on_the_line(planned):
    Path("mine.json").write_text('{"mu": 0.5}')
    alone, = planned("train", "--config", "mine.json", "--algorithm", "fedprox")
    assert alone.mu == 0.5


def test_several_data_sets(sweep, data_dir):
    """The names of the runs say which; each has its own data, and its line in the table."""
    Path("data").mkdir()
    shutil.copy(data_dir / "cifar10.npz", "data/cifar10.npz")
    write_dataset(Path("data/tiny.npz"), replace(registry.load("cifar10", data_dir), name="tiny", source="another one"))
    code, output, errors = sweep("--data", "cifar10,tiny", "--data-dir", "data", "--setting", "iid", "--out", "grid")
    assert (code, errors) == (0, "") and "2 runs in grid" in output and "Data: noise for a test; another one." in output
    for name in ("cifar10", "tiny"):
        assert read_config(Path("grid", f"{name}-fedavg-none-iid-seed0"))["data"]["name"] == name
        assert f"| {name} " in output
    again = sweep("--data", "tiny,cifar10,tiny", "--data-dir", "data", "--setting", "iid", "--out", "grid")
    assert again[0] == 0 and "2 of them complete" in again[1] and "started" not in again[1]
