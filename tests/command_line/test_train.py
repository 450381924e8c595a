"""train and eval as their user meets them."""

import json
import re
import shlex
from pathlib import Path

import numpy as np

from refusing import refused

from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.runs.record import read_config, read_rounds


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


def test_a_run_is_overwritten_only_by_force(cli, small):
    assert cli("train", *small, "--out", "run")[0] == 0
    before = Path("run/config.json").read_bytes()
    refused(cli("train", *small, "--seed", 1, "--out", "run"), "--out run holds a run already", "--force")
    assert Path("run/config.json").read_bytes() == before
    assert cli("train", *small, "--seed", 1, "--out", "run", "--force")[0] == 0
    assert read_config("run")["settings"]["seed"] == 1


def test_a_run_that_diverges(cli, small):
    code, output, errors = cli("train", *small, "--lr", "1e30", "--local-steps", "2", "--out", "run")
    assert code == 1 and "Traceback" not in errors and len(errors.splitlines()) == 1
    assert re.search(r"Diverged: the loss of client \d is (nan|inf) at local step \d of round \d; .*--lr.*run",
                     errors)
    end = json.loads(Path("run/end.json").read_text())
    assert end["status"] == "diverged" and "client" in end["message"] and "round" in end["message"]


def test_what_a_method_cannot_do_is_said_before_it_starts(cli, small):
    code, output, _ = cli("train", *small, "--model", "mlp", "--algorithm", "fedlc")
    assert code == 0 and output.count("Note: ") == 1
    assert output.index("Note: All clients hold one class only.") < output.index("round 2/4")
    assert "Note: " not in cli("train", *small, "--model", "mlp")[1]


def test_a_run_in_which_nobody_answers(cli, small):
    code, output, errors = cli("train", *small, "--model", "mlp", "--dropout-rate", 1, "--out", "run")
    assert (code, errors) == (0, "") and "loss none" in output and "no client ever answers" in output
    assert [(line["clients"], line["train_loss"]) for line in read_rounds("run")] == [(0, None)] * 4
