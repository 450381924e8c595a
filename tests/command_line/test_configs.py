"""Where settings come from: the command line, a config file, defaults."""

import json
from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl.runs.record import read_config, read_rounds


def test_precedence(cli, small):
    mine = {"rounds": 1, "lr": 0.25, "norm": "ln", "augment": "crop", "seed": None}
    Path("mine.json").write_text(json.dumps(mine))
    code, *_ = cli("train", *small, "--config", "mine.json", "--lr", "0.5", "--out", "run")
    assert code == 0
    settings = read_config("run")["settings"]
    assert settings["lr"] == 0.5 and settings["rounds"] == 4        # both given on the command line
    assert settings["norm"] == "ln" and settings["augment"] == "crop"
    assert settings["seed"] == 0 and settings["num_clients"] == 10
    assert cli("train", *small, "--config", "mine.json", "--augment", "crop-flip", "--out", "other")[0] == 0
    assert read_config("other")["settings"]["augment"] == "crop-flip"


def test_the_config_of_a_run_repeats_it(cli, small, data_dir):
    assert cli("train", *small, "--norm", "fn", "--seed", 3, "--lr", "0.3", "--out", "one")[0] == 0
    assert cli("train", "--config", "one/config.json", "--data-dir", data_dir, "--device", "cpu",
               "--workers", 3, "--out", "two")[0] == 0
    one, two = read_config("one"), read_config("two")
    for part in ("settings", "data", "partition", "parameters"):
        assert one[part] == two[part]
    assert read_rounds("one") == read_rounds("two")
    with np.load("one/model.npz") as a, np.load("two/model.npz") as b:
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])


@pytest.mark.parametrize("text, message", [
    (None, "cannot be read"),
    ("", "is not a JSON object of settings"),
    ("{", "is not a JSON object of settings"),
    ("[1, 2]", "--config mine.json is not a JSON object of settings: it holds [1, 2]; valid is"),
    ("3", "--config mine.json is not a JSON object of settings: it holds 3; valid is"),
    ('{"settings": [1]}', "--config mine.json is not a JSON object of settings: its settings are [1]; valid is"),
    ("\xff\xfe\0", "is not a JSON object of settings"),
    ("[" * 100_000, "is not a JSON object of settings"),
    ('{"learning_rate": 1}', "--config mine.json: unknown setting 'learning_rate'; valid are"),
    ('{"lr": "fast"}', "--lr 'fast' is invalid; it must be a finite number above 0"),
    ('{"lr": NaN}', "--lr nan"),
    ('{"lr": 1e999}', "--lr inf"),
    ('{"lr": 1' + "0" * 400 + "}", "must be a finite number above 0"),
    ('{"rounds": 2.5}', "--rounds 2.5"),
    ('{"rounds": true}', "--rounds True"),
    ('{"norm": ["fn"]}', "--norm ['fn']"),
    ('{"setting": [[5]]}', "--setting [[5]]"),
    ('{"data": ["cifar10"]}', "--data ['cifar10']"),
    ('{"data": "mnist"}', "--data"),
    ('{"data": ""}', "--data '' is invalid; it must be the name of a data set: auto, "),
    ('{"augment": true}', "--augment True"),
])
def test_bad_config_files(cli, data_dir, text, message):
    if text is not None:
        Path("mine.json").write_text(text, encoding="latin-1")
    refused(cli("train", "--data-dir", data_dir, "--device", "cpu", "--config", "mine.json"), message)
    assert not Path("runs").exists()


@pytest.mark.parametrize("data", ["", 3, ["cifar10"]])
def test_bad_names_of_data_in_the_config_of_a_sweep(cli, data):
    Path("mine.json").write_text(json.dumps({"data": data}))
    refused(cli("sweep", "--config", "mine.json"), f"--data {data!r} is invalid; it must be one of auto, embedded, ")


def test_a_folder_for_a_config_file(cli, small, tmp_path):
    refused(cli("train", *small, "--config", tmp_path), "--config", "cannot be read")


def test_a_method_on_the_command_line_comes_with_its_own_hyperparameters(cli, small):
    assert cli("train", *small, "--model", "mlp", "--algorithm", "fedprox", "--mu", "0.3", "--out", "prox")[0] == 0
    assert cli("train", *small, "--config", "prox/config.json", "--seed", 1, "--out", "again")[0] == 0
    assert read_config("again")["settings"]["mu"] == 0.3
    assert cli("train", *small, "--config", "prox/config.json", "--algorithm", "fedyogi", "--out", "yogi")[0] == 0
    settings = read_config("yogi")["settings"]
    assert settings["mu"] is None and settings["server_lr"] == 0.01 and settings["model"] == "mlp"


def test_of_two_ways_to_say_the_same_the_one_on_the_command_line_counts(cli, small, data_dir):
    assert cli("train", *small, "--model", "mlp", "--participation", "0.3", "--out", "one")[0] == 0
    assert [line["clients"] for line in read_rounds("one")] == [3] * 4
    assert cli("train", "--config", "one/config.json", "--data-dir", data_dir, "--device", "cpu", "--rounds", 1,
               "--local-epochs", 2, "--clients-per-round", 4, "--out", "two")[0] == 0
    settings = read_config("two")["settings"]
    assert (settings["local_epochs"], settings["local_steps"]) == (2, None)
    assert (settings["clients_per_round"], settings["participation"]) == (4, None)
    assert len(read_rounds("two")[0]["sampled"]) == 4


def test_options_of_every_method_are_recorded_and_repeated(cli, small):
    """Epochs with smaller last batches, clients that count alike, FedDecorr's other form; steps instead of epochs have no
    last batch."""
    small = small[:small.index("--local-steps")]
    assert cli("train", *small, "--model", "mlp", "--algorithm", "feddecorr", "--decorr-form", "released", "--batch-size", 48,
               "--local-epochs", 1, "--local-eval-every", 0, "--last-batch", "partial", "--client-weights", "uniform", "--setting",
               "dirichlet-balanced", "--out", "one")[0] == 0
    chosen = {"decorr_form": "released", "last_batch": "partial", "client_weights": "uniform",
              "setting": "dirichlet-balanced"}
    assert read_config("one")["settings"].items() >= chosen.items()
    assert cli("train", *small, "--config", "one/config.json", "--out", "again")[0] == 0
    lines = [[{**line, "seconds": 0} for line in read_rounds(run)] for run in ("one", "again")]
    assert lines[0] == lines[1]
    assert cli("train", *small, "--config", "one/config.json", "--local-steps", 1, "--out", "steps")[0] == 0
    settings = read_config("steps")["settings"]
    assert (settings["last_batch"], settings["local_epochs"], settings["client_weights"]) == ("full", None, "uniform")
    refused(cli("train", *small, "--last-batch", "partial", "--out", "none"), "--last-batch partial", "--local-epochs")
