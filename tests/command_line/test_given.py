"""What a run is given besides settings: examples by user or one by one, noise that differs, a model to start from."""

import json
import re
from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.runs.record import read_config, read_rounds


@pytest.fixture
def tiny(tmp_path):
    """Options of a run of a moment, on data of five users."""
    rng = np.random.default_rng(0)
    users = np.array([0, 0, 1, 2, 2, 2, 3, 3, 3, 3, 4, 4] * 5)
    images = rng.integers(0, 256, (60, 8, 8, 1), np.uint8)
    write_dataset(tmp_path / "data" / "letters.npz", make_dataset(
        "letters", images, np.arange(60) % 3, images[:24], np.arange(24) % 3, "abc", "noise", users, users[:24],
        ["ann", "bob", "cy", "dan", "eve"]))
    return ("--data", "letters", "--data-dir", "data", "--device", "cpu", "--model", "mlp", "--width", "0.05",
            "--rounds", "4", "--local-steps", "2", "--batch-size", "4", "--eval-every", "2")


def data_of(tiny):
    return tiny[:4]


def fine(result):
    code, output, errors = result
    assert (code, errors) == (0, ""), errors + output
    return output


def test_a_client_for_each_user(cli, tiny):
    output = fine(cli("partition", *data_of(tiny), "--setting", "natural"))
    rows = [line.split()[-1] for line in output.splitlines()[2:7]]
    assert rows == ["10", "5", "15", "20", "10"] and "Domains" not in output
    fine(cli("train", *tiny, "--setting", "natural", "--out", "run"))
    assert read_config("run")["settings"]["num_clients"] == 5
    fine(cli("eval", "run", "--data-dir", "data", "--device", "cpu"))
    fine(cli("replay", "run", "--data-dir", "data"))
    fine(cli("train", *tiny, "--setting", "natural", "--num-clients", 2, "--data-seed", 3, "--out", "two"))
    refused(cli("train", *tiny, "--setting", "natural", "--num-clients", 6, "--out", "six"), "--num-clients 6", "at most 5")
    # its table says how many of each class, and so another partition
    fine(cli("train", *tiny, "--partition", "run/partition.csv", "--out", "table"))
    assert read_rounds("table") != read_rounds("run")
    assert "but others" in fine(cli("partition", *data_of(tiny), "--setting", "natural", "--csv", "t.csv"))
    refused(cli("train", "--resume", "run", "--data-dir", "data", "--partition", "run/partition.csv"), "differs from the run's")


def test_natural_needs_users(cli, small):
    refused(cli("train", *small, "--setting", "natural", "--out", "run"), "--setting natural", "cifar10", "leaf.py")
    assert not Path("run").exists()


def test_users_of_a_sweep(cli, tiny):
    output = fine(cli("sweep", *tiny, "--setting", "natural,iid", "--jobs", 1, "--out", "sweep"))
    assert "2 runs in sweep" in output
    assert {read_config(run)["settings"]["num_clients"] for run in Path("sweep").iterdir()} == {5}


def test_lists_of_examples(cli, tiny):
    chosen = fine(cli("partition", *data_of(tiny), "--setting", "dirichlet", "--num-clients", 4, "--min-size", 3,
                      "--json", "lists.json"))
    assert "use it with --partition lists.json" in chosen
    fine(cli("train", *tiny, "--setting", "dirichlet", "--num-clients", 4, "--min-size", 3, "--out", "first"))
    fine(cli("train", *tiny, "--partition", "lists.json", "--out", "run"))
    assert read_rounds("run") == read_rounds("first")       # the same examples, the same run
    config = read_config("run")
    assert config["settings"]["setting"] == "lists" and config["settings"]["num_clients"] == 4
    assert Path("run/partition.json").read_bytes() == Path("lists.json").read_bytes()
    digest = re.search("sha256 ([0-9a-f]{64})", fine(cli("partition", *data_of(tiny), "--partition", "lists.json")))[1]
    assert config["partition"] == {"sha256": digest, "file": "lists.json"}
    Path("lists.json").unlink()         # the run has its own
    fine(cli("eval", "run", "--data-dir", "data", "--device", "cpu"))
    fine(cli("replay", "run", "--data-dir", "data"))
    # repeating it by its config needs the lists, and says so
    again = ("train", "--data-dir", "data", "--config", "run/config.json", "--device", "cpu", "--out", "again")
    refused(cli(*again), "--partition", "examples of each client")
    fine(cli(*again, "--partition", "run/partition.json"))
    assert read_rounds("again") == read_rounds("run")
    # over it, a run by its setting leaves nothing of them
    fine(cli("train", *tiny, "--setting", "iid", "--out", "run", "--force"))
    assert not Path("run/partition.json").exists()


def test_lists_that_were_changed(cli, tiny):
    fine(cli("partition", *data_of(tiny), "--setting", "iid", "--num-clients", 3, "--json", "lists.json"))
    fine(cli("train", *tiny, "--partition", "lists.json", "--out", "run"))
    clients = json.loads(Path("lists.json").read_text())["clients"]
    clients[0], clients[1] = clients[1], clients[0]
    Path("other.json").write_text(json.dumps({"clients": clients}))
    Path("run/end.json").unlink()
    refused(cli("train", "--resume", "run", "--data-dir", "data", "--partition", "other.json"), "other.json", "differs")
    Path("run/partition.json").write_bytes(Path("other.json").read_bytes())
    for command in (("eval", "run", "--device", "cpu"), ("replay", "run"), ("train", "--resume", "run")):
        refused(cli(*command, "--data-dir", "data"), "run/partition.json", "is not the partition of config.json")
    Path("run/partition.json").unlink()
    refused(cli("eval", "run", "--data-dir", "data"), "run/partition.json", "cannot be read")


def test_lists_and_what_contradicts_them(cli, tiny):
    Path("lists.json").write_text('{"clients": [{"train": [0, 1], "test": [3]}, {"train": [2, 60]}]}')
    train = ("train", *tiny, "--out", "run", "--partition", "lists.json")
    refused(cli(*train), "lists.json: client 1: train has the index 60", "0 to 59")
    refused(cli("partition", *data_of(tiny), "--partition", "lists.json"), "lists.json: client 1")
    refused(cli("sweep", *tiny, "--partition", "lists.json", "--out", "sweep"), "lists.json: client 1")
    Path("lists.json").write_text('{"clients": [{"train": [0, 1], "test": [3]}, {"train": [2, 59]}]}')
    refused(cli(*train, "--num-clients", 3), "--num-clients 3", "has 2 clients")
    refused(cli(*train, "--setting", "iid"), "--partition and --setting iid")
    refused(cli(*train, "--by-domain"), "--by-domain", "leave it out")
    assert not Path("run").exists()
    fine(cli(*train, "--no-by-domain"))


def test_a_sweep_over_lists_knows_when_they_change(cli, tiny):
    sweep = ("sweep", *tiny, "--norm", "none,fn", "--jobs", 1, "--out", "sweep", "--partition", "lists.json")
    Path("lists.json").write_text('{"clients": [{"train": [0, 1, 5], "test": [3]}, {"train": [2, 7]}]}')
    assert "2 runs in sweep, 0 of them complete" in fine(cli(*sweep))
    assert "2 runs in sweep, 2 of them complete" in fine(cli(*sweep))
    Path("lists.json").write_text('{"clients": [{"train": [0, 1, 8], "test": [3]}, {"train": [2, 7]}]}')
    refused(cli(*sweep), "another partition than this sweep's")


def test_noise_and_quantity(cli, tiny):
    options = ("train", *tiny, "--setting", "quantity", "--num-clients", 3, "--dirichlet-alpha", 0.5)
    fine(cli(*options, "--out", "quiet"))
    fine(cli(*options, "--feature-noise", 0.1, "--out", "noisy"))
    assert read_config("noisy")["settings"]["feature_noise"] == 0.1
    assert read_config("noisy")["partition"] == read_config("quiet")["partition"]
    assert read_rounds("noisy") != read_rounds("quiet")
    fine(cli("replay", "noisy", "--data-dir", "data"))
    # however many clients go together, and by whomever
    fine(cli(*options, "--feature-noise", 0.1, "--clients-per-call", 3, "--workers", 2, "--out", "together"))
    assert read_rounds("together") == read_rounds("noisy")
    refused(cli(*options, "--feature-noise", -1, "--out", "bad"), "--feature-noise -1.0", "at least 0")
    refused(cli(*options, "--min-size", 21, "--out", "bad"), "--min-size 21", "at most 20")
    refused(cli("train", "--resume", "noisy", "--data-dir", "data", "--feature-noise", 0.2), "--feature-noise 0.2",
            "the run's 0.1")


def test_a_model_to_start_from(cli, tiny):
    options = ("train", *tiny, "--setting", "iid", "--num-clients", 3)
    fine(cli(*options, "--out", "first"))
    fine(cli(*options, "--init-from", "first", "--norm", "fn", "--algorithm", "fedyogi", "--out", "second"))
    config = read_config("second")
    assert config["start"] == {"sha256": config["settings"]["init_from"], "file": "first"}
    assert "start" not in read_config("first")
    with np.load("first/model.npz") as a, np.load("second/start.npz") as b:
        assert set(a.files) == set(b.files)
        for name in a.files:
            np.testing.assert_array_equal(a[name], b[name])
    fine(cli("replay", "second", "--data-dir", "data"))
    fine(cli(*options, "--init-from", "second/start.npz", "--out", "third"))    # the same model by another way
    fine(cli(*options, "--init-from", "first/model.npz", "--out", "fourth"))
    assert read_rounds("third") == read_rounds("fourth") != read_rounds("first")
    again = ("train", "--data-dir", "data", "--config", "second/config.json", "--device", "cpu", "--out", "again")
    refused(cli(*again), "--init-from", config["settings"]["init_from"][:16])
    refused(cli(*again, "--init-from", "third"), "--init-from third", "and the settings of --config start from")
    fine(cli(*again, "--init-from", "first"))
    assert read_rounds("again") == read_rounds("second")
    for bad, words in (("--model", "resnet8"), "does not fit --model resnet8"), (("--width", "0.1"), "not ("), (("--bias", "all"), "lacks"):
        refused(cli(*options, *bad, "--init-from", "first", "--out", "bad"), "--init-from first", words)
    refused(cli(*options, "--init-from", "nowhere", "--out", "bad"), "--init-from nowhere")
    assert not Path("bad").exists()


def test_a_start_that_was_changed(cli, tiny):
    options = ("train", *tiny, "--setting", "iid", "--num-clients", 3)
    fine(cli(*options, "--out", "first"))
    fine(cli(*options, "--init-from", "first", "--out", "run"))
    before = read_rounds("run")
    for file in ("run/end.json", "run/rounds.jsonl"):       # as if it had been stopped before its first round
        Path(file).unlink()
    resume = ("train", "--resume", "run", "--data-dir", "data")
    refused(cli(*resume, "--init-from", "run"), "--init-from", "differs from the run's")
    kept = Path("run/start.npz").read_bytes()
    Path("run/start.npz").write_bytes(Path("run/model.npz").read_bytes())
    refused(cli(*resume), "run/start.npz", "was changed, or is another model")
    Path("run/start.npz").unlink()
    refused(cli(*resume), "run/start.npz")
    Path("run/start.npz").write_bytes(kept)
    fine(cli(*resume, "--init-from", "first"))
    assert read_rounds("run") == before


def test_a_sweep_from_a_model(cli, tiny):
    fine(cli("train", *tiny, "--setting", "iid", "--num-clients", 3, "--out", "first"))
    sweep = ("sweep", *tiny, "--setting", "iid", "--num-clients", 3, "--norm", "none,fn", "--jobs", 1, "--out", "sweep")
    fine(cli(*sweep, "--init-from", "first"))
    starts = {read_config(run)["settings"]["init_from"] for run in Path("sweep").iterdir()}
    assert len(starts) == 1 and None not in starts
    refused(cli(*sweep), "--init-from")
    refused(cli(*sweep, "--init-from", next(Path("sweep").iterdir())), "--init-from")
