"""The command line as its user meets it: what it prints, what it refuses and how."""

import json
import re
import shlex
from pathlib import Path

import numpy as np
import pytest

from minifl import backend
from minifl.cli import main
from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.fl.record import read_config, read_rounds
from minifl.params import Spec


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """Call the command line in an empty folder: (exit code, stdout, stderr); no exception may escape."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIFL_DATA", raising=False)

    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return exit_.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def small(data_dir):
    """Options of a run of a second."""
    return ("--data", "cifar10", "--data-dir", data_dir, "--device", "cpu", "--width", "0.05",
            "--rounds", "4", "--local-steps", "1", "--batch-size", "4", "--eval-every", "2")


def refused(result, *texts):
    """Exit code 2 and one clear message, which holds each of the texts."""
    code, _, errors = result
    message = " ".join(errors.split())
    assert code == 2, errors
    assert errors.count("Error: ") == 1 and "Traceback" not in errors
    for text in texts:
        assert text in message, message


# ---- what it prints

def test_train_and_eval(cli, small, data_dir):
    code, output, errors = cli("train", *small, "--norm", "fn", "--out", "run")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "Data: noise for a test."
    for setting in ("rounds 4", "lr 0.01", "width 0.05", "norm fn", "num_clients 10", "seed 0"):
        assert setting in lines[1]
    assert "2,165 parameters" in lines[2] and "Device: cpu" in lines[2] and "Run: run" in lines[2]
    evaluations = [line for line in read_rounds("run") if "accuracy" in line]
    for line, shown in zip(evaluations, lines[3:5], strict=True):
        assert shown.startswith(f"round {line['round']}/4  loss {line['train_loss']:.4f}  accuracy")
        assert f"{100 * line['accuracy']:.1f} %" in shown and "rounds/s" in shown and shown.endswith("left")
    last = evaluations[-1]
    mean = last["client_mean_accuracy"]
    assert lines[5] == (f"Test accuracy: {100 * last['accuracy']:.2f} % of all examples; {100 * mean:.2f} % mean "
                        f"over clients; loss {last['test_loss']:.4f}.")
    assert [line.split()[0] for line in lines[6:16]] == [f"class{c}" for c in range(10)]
    assert lines[16].endswith(f"python cli.py eval run --data-dir {data_dir}")

    code, output, errors = cli("eval", "run", "--data-dir", data_dir, "--device", "cpu", "--workers", "2")
    assert (code, errors) == (0, "")
    assert "--norm fn" in output or "run" in output.splitlines()[0]
    assert output.splitlines()[1:] == lines[5:16]


def test_the_embedded_set_says_how_to_get_the_real_one(cli):
    code, output, errors = cli("train", "--model", "mlp", "--width", "0.01", "--rounds", "1",
                               "--local-steps", "1", "--batch-size", "2", "--device", "cpu")
    assert (code, errors) == (0, "")
    first = output.splitlines()[0]
    for text in ("generated images", "python data_scripts/cifar10.py", "--data cifar10"):
        assert text in first
    assert (Path("runs") / "embedded-oneclass-fedavg-none-seed0" / "end.json").exists()


def test_runs_without_a_name_get_folders_of_their_own(cli, small):
    for name in ("cifar10-iid-fedavg-ln-seed3", "cifar10-iid-fedavg-ln-seed3-2"):
        code, output, _ = cli("train", *small, "--rounds", 1, "--norm", "ln", "--setting", "iid", "--seed", 3)
        assert code == 0 and f"Run: {Path('runs') / name}." in output
        assert (Path("runs") / name / "end.json").exists()


def test_odd_paths(cli, small, data_dir):
    out = Path("a folder") / "läuft 'mal"
    code, output, _ = cli("train", *small, "--rounds", 1, "--out", out)
    assert code == 0 and read_config(out)
    again = output.splitlines()[-1].split("python cli.py ")[1]
    assert cli(*shlex.split(again))[0] == 0       # the command that it prints can be pasted
    assert read_config(out)["command"].startswith("python ")


def test_data_that_lack_a_class_in_the_test_set(cli, small, tmp_path):
    images, labels = np.zeros((8, 32, 32, 3), np.uint8), np.array([0, 1] * 4)
    write_dataset(tmp_path / "cifar10.npz", make_dataset(
        "cifar10", images, labels, images[:2], labels[:2] * 0, "ab", "almost nothing"))
    Path("table.csv").write_text("client,a,b\n0,0,4\n")
    code, output, errors = cli("train", *small, "--data-dir", tmp_path, "--partition", "table.csv")
    assert (code, errors) == (0, "")
    assert "no client has any" in output and re.search("b +no examples", output)


# ---- settings: command line > config file > default

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
    ("[1, 2]", "is not a JSON object of settings"),
    ("3", "is not a JSON object of settings"),
    ('{"settings": [1]}', "is not a JSON object of settings"),
    ("\xff\xfe\0", "is not a JSON object of settings"),
    ("[" * 100_000, "is not a JSON object of settings"),
    ('{"learning_rate": 1}', "unknown setting 'learning_rate'; valid are"),
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
    ('{"augment": true}', "--augment True"),
])
def test_bad_config_files(cli, data_dir, text, message):
    if text is not None:
        Path("mine.json").write_text(text, encoding="latin-1")
    refused(cli("train", "--data-dir", data_dir, "--device", "cpu", "--config", "mine.json"), message)
    assert not Path("runs").exists()


def test_a_folder_for_a_config_file(cli, small, tmp_path):
    refused(cli("train", *small, "--config", tmp_path), "--config", "cannot be read")


# ---- bad input

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


@pytest.mark.parametrize("options, texts", [
    (("--setting", "nclass", "--classes-per-client", "11"), ("--classes-per-client 11", "from 1 to 10")),
    (("--setting", "nclass", "--num-clients", "4"), ("--num-clients 4", "at least 10")),
    (("--setting", "nclass", "--num-clients", "300"), ("--num-clients", "at most 400")),
    (("--setting", "oneclass", "--num-clients", "9"), ("--num-clients 9", "at least 10")),
    (("--setting", "oneclass", "--num-clients", "401"), ("--num-clients 401",)),
    (("--setting", "dirichlet", "--min-size", "41"), ("--min-size 41", "at most 40")),
    (("--setting", "paper-2class", "--num-clients", "12"), ("--setting paper-2class", "--num-clients 10")),
    (("--setting", "iid", "--num-clients", "1000000000000"), ("--num-clients 1000000000000",)),
    (("--setting", "table"), ("--setting",)),
])
def test_infeasible_partitions(cli, small, data_dir, options, texts):
    refused(cli("train", *small, *options, "--out", "run"), *texts)
    assert not Path("run").exists()
    refused(cli("partition", "--data", "cifar10", "--data-dir", data_dir, *options), *texts)


def test_groups_that_do_not_divide(cli, small):
    refused(cli("train", *small, "--norm", "gn", "--groups", "2"), "--groups 2", "3 channels of norm1")
    assert not Path("runs").exists()


def test_more_than_fits_into_memory(cli, small, monkeypatch):
    def init(spec, seed):
        raise MemoryError("Unable to allocate 618 GiB")

    monkeypatch.setattr(Spec, "init", init)
    refused(cli("train", *small), "not enough memory", "618 GiB", "--width")


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


def test_a_run_is_overwritten_only_by_force(cli, small):
    assert cli("train", *small, "--out", "run")[0] == 0
    before = Path("run/config.json").read_bytes()
    refused(cli("train", *small, "--seed", 1, "--out", "run"), "--out run holds a run already", "--force")
    assert Path("run/config.json").read_bytes() == before
    assert cli("train", *small, "--seed", 1, "--out", "run", "--force")[0] == 0
    assert read_config("run")["settings"]["seed"] == 1


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
    refused(cli("eval", "run", "--data-dir", data_dir, "--device", "cpu"), "model.npz cannot be read")


def test_a_run_that_diverges(cli, small):
    code, output, errors = cli("train", *small, "--lr", "1e30", "--local-steps", "2", "--out", "run")
    assert code == 1 and "Traceback" not in errors and len(errors.splitlines()) == 1
    assert re.search(r"Diverged: the loss of client \d is (nan|inf) at local step \d of round \d; .*--lr.*run",
                     errors)
    end = json.loads(Path("run/end.json").read_text())
    assert end["status"] == "diverged" and "client" in end["message"] and "round" in end["message"]


def test_no_such_command_or_option(cli):
    refused(cli("trian"), "trian")
    refused(cli("train", "--learning-rate", "1"), "--learning-rate")


# ---- partition

def test_partition(cli, data_dir):
    common = ("partition", "--data", "cifar10", "--data-dir", data_dir)
    code, output, errors = cli(*common, "--setting", "dirichlet", "--data-seed", "3", "--csv", "table.csv")
    assert (code, errors) == (0, "")
    lines = output.splitlines()
    assert lines[0] == "Data: noise for a test."
    assert lines[1].split() == ["client", *(f"class{c}" for c in range(10)), "total"]
    assert lines[12].split() == ["total", *["40"] * 10, "400"]
    digest = lines[13].removeprefix("sha256 ")
    assert re.fullmatch("[0-9a-f]{64}", digest)
    assert Path("table.csv").read_text().startswith("client,class0,")

    code, again, _ = cli(*common, "--partition", "table.csv")
    assert code == 0 and again.splitlines()[:14] == lines[:14]
    assert cli(*common, "--setting", "dirichlet", "--data-seed", "4")[1].splitlines()[13] != lines[13]


def test_partition_by_domain(cli, data_dir):
    common = ("partition", "--data", "embedded", "--by-domain", "--num-clients", 12)
    code, output, errors = cli(*common, "--setting", "disjoint", "--csv", "table.csv")
    assert (code, errors) == (0, "")
    assert "Domains: shaded clients 0-2, painted clients 3-5, flat clients 6-8, line clients 9-11.\n" in output
    counts = np.loadtxt("table.csv", delimiter=",", skiprows=1)[:, 1:]
    assert counts.shape == (12, 10) and np.isin(counts, (0, 250)).all()     # 10000 images / 4 domains / 10 classes
    np.testing.assert_array_equal(counts.reshape(4, 3, 10).sum(axis=1), 250)
    assert output.endswith("use it with --partition table.csv --by-domain\n")
    assert cli(*common, "--partition", "table.csv")[1].splitlines() == output.splitlines()[:-1]
    refused(cli(*common[:-1], "10"), "--num-clients 10", "multiple of 4 (shaded, painted, flat, line)")
    refused(cli("partition", "--data", "cifar10", "--data-dir", data_dir, "--by-domain"), "--by-domain",
            "cifar10 has no domains")


def test_train_by_domain(cli, small, tmp_path):
    rng = np.random.default_rng(0)
    images, labels, domains = rng.integers(0, 256, (80, 32, 32, 3), np.uint8), np.arange(80) % 5, np.arange(80) // 40
    write_dataset(tmp_path / "cifar10.npz", make_dataset(
        "cifar10", images, labels, images, labels, "abcde", "noise", domains, domains, ("ink", "oil")))
    options = ("train", *small, "--data-dir", tmp_path, "--model", "mlp")
    four = ("--num-clients", 4, "--setting", "iid")
    assert cli(*options, *four, "--by-domain", "--out", "run")[0] == 0
    assert read_config("run")["settings"]["by_domain"] is True
    assert cli("eval", "run", "--data-dir", tmp_path, "--device", "cpu")[0] == 0
    # its table with --by-domain is the same partition, without it another one
    for name, flag in (("again", "--by-domain"), ("whole", "--no-by-domain")):
        assert cli(*options, "--partition", "run/partition.csv", flag, "--out", name)[0] == 0
    assert read_rounds("again") == read_rounds("run") != read_rounds("whole")
    bad = (*options, "--setting", "disjoint", "--by-domain", "--out", "none", "--num-clients")
    refused(cli(*bad, 3), "--num-clients 3", "(ink, oil)")
    refused(cli(*bad, 12), "in domain ink", "6 of the 12 clients")
    assert not Path("none").exists()


def test_help_shows_the_defaults_of_the_data_sets(cli):
    text = " ".join(cli("train", "--help")[1].split())
    assert "[default: 0.01; pacs 0.001; embedded 0.05]" in text
    assert "[default: no; pacs yes]" in text
    assert "[default: crop-flip; pacs resized-crop; mnist crop]" in text
    assert "[default: oneclass; cifar100 nclass; tinyimagenet dirichlet; pacs disjoint; your own dirichlet]" in text


def test_train_by_a_table(cli, small, data_dir):
    Path("table.csv").write_text("client," + ",".join(f"class{c}" for c in range(10)) + "\n0" + ",7" * 10
                                 + "\n1" + ",0" * 9 + ",5\n2" + ",0" * 10 + "\n")
    common = ("--data-dir", data_dir, "--data", "cifar10")
    code, output, _ = cli("partition", *common, "--partition", "table.csv")
    digest = re.search("sha256 ([0-9a-f]{64})", output)[1]
    assert code == 0 and "325 training examples belong to no client" in output
    code, *_ = cli("train", *small, "--partition", "table.csv", "--out", "run")
    config = read_config("run")
    assert code == 0 and config["settings"]["num_clients"] == 3
    assert config["partition"] == {"sha256": digest, "file": "table.csv"}
    assert cli("eval", "run", "--data-dir", data_dir, "--device", "cpu")[0] == 0
    # repeating the run by its config needs the table, and says so
    again = ("train", *common, "--config", "run/config.json", "--device", "cpu", "--out", "again")
    refused(cli(*again), "--partition")
    assert cli(*again, "--partition", "run/partition.csv")[0] == 0
    assert read_config("again")["partition"]["sha256"] == digest


HEADER = "client," + ",".join(f"class{c}" for c in range(10)) + "\n"


@pytest.mark.parametrize("text, message", [
    (None, "cannot be read"),
    ("", "line 1"),
    ("\0\xff\x80", "table.csv"),
    ("a,b\n1,2\n", "line 1"),
    (HEADER, "table.csv"),
    (HEADER + "0" + ",1" * 9 + "\n", "line 2"),
    (HEADER + "0" + ",1" * 9 + ",-1\n", "'-1'"),
    (HEADER + "0" + ",1" * 9 + ",x\n", "'x'"),
    (HEADER + "0" + ",1" * 9 + ",41\n", "class 9: 41 examples asked for, at most 40"),
    (HEADER.replace("class3", "cat") + "0" + ",1" * 10 + "\n", "class 'cat'"),
])
def test_bad_tables(cli, small, text, message):
    if text is not None:
        Path("table.csv").write_text(text, encoding="latin-1")
    refused(cli("train", *small, "--partition", "table.csv"), message)
    refused(cli("partition", *small[:4], "--partition", "table.csv"), message)
    assert not Path("runs").exists()


def test_a_table_and_other_settings_that_contradict_it(cli, small):
    Path("table.csv").write_text(HEADER + "0" + ",1" * 10 + "\n")
    train = ("train", *small, "--partition", "table.csv")
    refused(cli(*train, "--num-clients", 2), "--num-clients 2", "has 1 clients")
    refused(cli(*train, "--setting", "iid"), "--partition", "--setting iid")


@pytest.mark.parametrize("path", ["file/table.csv", "."])
def test_a_table_that_cannot_be_written(cli, data_dir, path):
    Path("file").write_text("")
    refused(cli("partition", "--data", "cifar10", "--data-dir", data_dir, "--csv", path), path)


# ---- gradcheck

def test_gradcheck_of_one_layer(cli):
    code, output, _ = cli("gradcheck", "--layer", "feature_norm", "--seed", "1")
    assert code == 0 and output.splitlines()[-1].endswith("all good.") and "feature_norm: vector" in output
    code, output, _ = cli("gradcheck", "--layer", "feature_norm", "--mutants")
    assert code == 0 and "no radial term" in output and "SURVIVED" not in output


def test_gradcheck_refuses_what_it_does_not_know(cli):
    refused(cli("gradcheck", "--layer", "nonsense"), "--layer 'nonsense' is unknown", "conv2d")
    refused(cli("gradcheck", "--seed", "-1"), "--seed")
    refused(cli("gradcheck", "--layer", "mlp", "--mutants"), "--layer 'mlp' has no mutants")


# ---- methods, participation

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


@pytest.mark.parametrize("options, texts", [
    (("--mu", "0.1"), ("--mu belongs to --algorithm fedprox", "fedavg it has no effect")),
    (("--algorithm", "fedaws", "--bias", "all"), ("--bias all", "fedaws")),
    (("--algorithm", "scaffold", "--beta1", "0.5"), ("--beta1 belongs to --algorithm fedyogi, fedadam",)),
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


def test_what_a_method_cannot_do_is_said_before_it_starts(cli, small):
    code, output, _ = cli("train", *small, "--model", "mlp", "--algorithm", "fedlc")
    assert code == 0 and output.count("Note: ") == 1
    assert output.index("Note: All clients hold one class only.") < output.index("round 2/4")
    assert "Note: " not in cli("train", *small, "--model", "mlp")[1]


def test_a_run_in_which_nobody_answers(cli, small):
    code, output, errors = cli("train", *small, "--model", "mlp", "--dropout-rate", 1, "--out", "run")
    assert (code, errors) == (0, "") and "loss none" in output and "no client ever answers" in output
    assert [(line["clients"], line["train_loss"]) for line in read_rounds("run")] == [(0, None)] * 4
