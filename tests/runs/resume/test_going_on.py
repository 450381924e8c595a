"""Going on with a run: what is said and kept, what is refused, and the command line as a whole."""

import json
import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from refusing import refused
from resuming import CLI, OFTEN, SMALL
from resuming import assert_readable, begin, go_on, interrupted, same_files, times_of, to_the_end

from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.fl.client import Diverged
from minifl.runs import record
from minifl.runs.run import Placement


# ---- what is said and kept

def test_nothing_that_was_done_is_lost_and_the_record_tells_of_the_resumption(tmp_path):
    reference = to_the_end(tmp_path / "reference")
    out = interrupted(tmp_path / "run", 7)      # far from a checkpoint
    assert record.read_end(out)["rounds_done"] == 7
    lines, messages = go_on(out)
    assert messages == ["Resuming after round 7 of 12."]
    assert not (out / record.END).exists()
    assert (out / record.MODEL).read_bytes() == to_the_end(tmp_path / "seven", rounds=7)[record.MODEL]
    assert [line["round"] for line in lines] == [8, 9, 10, 11, 12]
    assert same_files(out) == reference
    times = [json.loads(line) for line in (out / record.TIMES).read_text().splitlines()]
    assert [line.get("round") for line in times] == [*range(1, 8), None, *range(8, 13)]
    assert times[7]["resumed_after"] == 7 and times[7]["commit"] == "a commit"
    assert times[7]["versions"]["numpy"] == np.__version__ and times[7]["device"] == "cpu"
    assert len(record.read_seconds(out)) == 12


def test_without_a_checkpoint_it_starts_with_the_first_round(tmp_path):
    reference = to_the_end(tmp_path / "reference")
    out = interrupted(tmp_path / "run", 7)
    (out / "checkpoint-0000007").unlink()
    lines, messages = go_on(out)
    assert messages == ["Resuming after round 0 of 12."] and record.read_rounds(out) == []
    list(lines)
    assert same_files(out) == reference


def test_damaged_checkpoints_are_passed_over_and_it_is_said(tmp_path, cli):
    reference = to_the_end(tmp_path / "reference")
    stopped = interrupted(tmp_path / "stopped", 7, Placement(checkpoint_every=2))
    for names, rounds in ((["checkpoint-0000007"], 6), (["checkpoint-0000007", "checkpoint-0000006"], 0)):
        out = Path(shutil.copytree(stopped, tmp_path / f"from {rounds}"))
        for name in names:
            (out / name).write_bytes((out / name).read_bytes()[:-1] + b"?")
        code, output, errors = cli("train", "--device", "cpu", "--resume", out)
        assert (code, errors) == (0, "")
        for name in names:
            assert f"{out / name} is damaged: its checksum does not fit. It is passed over.\n" in output
        assert f"\nResuming after round {rounds} of 12.\n" in output
        assert same_files(out) == reference


def test_a_record_that_lost_rounds_goes_on_before_them(tmp_path):
    """After a power failure a checkpoint can be there while lines written before it are missing."""
    reference = to_the_end(tmp_path / "reference")
    out = interrupted(tmp_path / "run", 7, Placement(checkpoint_every=3))
    lines = (out / record.ROUNDS).read_bytes().splitlines(keepends=True)
    (out / record.ROUNDS).write_bytes(b"".join(lines[:6]) + lines[6][:50])
    lines, messages = go_on(out)
    assert "checkpoint-0000007 is passed over: the record holds only 6 rounds." in messages[0]
    assert messages[1] == "Resuming after round 6 of 12."
    list(lines)
    assert same_files(out) == reference


# ---- what is refused

@pytest.fixture(scope="module")
def stopped(tmp_path_factory, data_dir):
    """A run that was interrupted after 7 of its 12 rounds, its files, and those it would have got."""
    folder = tmp_path_factory.mktemp("runs")
    os.environ["MINIFL_DATA"] = str(data_dir)
    reference = to_the_end(folder / "reference", algorithm="fedyogi")
    out = interrupted(folder / "stopped", 7, algorithm="fedyogi")
    del os.environ["MINIFL_DATA"]
    return out, {file.name: file.read_bytes() for file in out.iterdir()}, reference


@pytest.mark.parametrize("options, text", [
    (["--seed", "1"], "--seed 1 differs from the run's 0"),
    (["--rounds", "11"], "--rounds 11 is fewer than the run's 12, of which 7 are done; only more are valid"),
    (["--rounds", "5"], "--rounds 5 is fewer than the run's 12, of which 7 are done; only more are valid"),
    (["--rounds", "13", "--seed", "1"], "--seed 1 differs from the run's 0"),
    (["--algorithm", "fedavg"], "--algorithm fedavg differs from the run's fedyogi"),
    (["--server-lr", "0.5"], "--server-lr 0.5 differs from the run's 0.01"),
    (["--lr", "0.04"], "--lr 0.04 differs from the run's 0.05"),
    (["--norm", "none"], "--norm none differs from the run's fn"),
    (["--augment", "none"], "--augment none differs from the run's crop-flip"),
    (["--local-epochs", "2"], "--local-epochs 2 differs from the run's None"),
    (["--data", "embedded"], "--data embedded differs from the run's cifar10"),
    (["--config", "other.json"], "--batch-size 5 differs from the run's 4"),
    (["--partition", "other.csv"], "--partition other.csv differs from the run's"),
    (["--out", "elsewhere"], "leave --out and --force out"),
    (["--force"], "leave --out and --force out"),
])
def test_other_settings_are_refused(options, text, stopped, cli, tmp_path, monkeypatch):
    out, content, _ = stopped
    monkeypatch.chdir(tmp_path)
    Path("other.json").write_text('{"seed": 0, "batch_size": 5}')
    Path("other.csv").write_bytes(content[record.PARTITION].replace(b"\n0,", b"\n0,1", 1))
    refused(cli("train", "--device", "cpu", "--resume", out, *options), text)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == content


def test_the_same_settings_are_not_refused(stopped, cli, tmp_path):
    out, content, reference = stopped
    run = Path(shutil.copytree(out, tmp_path / "run"))
    code, output, errors = cli("train", "--device", "cpu", "--resume", run, "--config", out / record.CONFIG,
                               "--lr", "0.05", "--participation", "0.6", "--augment", "crop-flip", "--data", "auto",
                               "--partition", out / record.PARTITION, "--workers", "1",
                               "--checkpoint-every", "1")
    assert (code, errors) == (0, "") and "Resuming after round 7 of 12." in output
    assert same_files(run) == reference and (run / record.CONFIG).read_bytes() == content[record.CONFIG]
    refused(cli("train", "--device", "cpu", "--resume", run), f"{run} has finished after round 12: there is")
    assert same_files(run) == reference


def other_data(run):
    with np.load(Path(os.environ["MINIFL_DATA"]) / "cifar10.npz") as saved:
        arrays = [saved[name] for name in ("x_train", "y_train", "x_test", "y_test")]
    arrays[0][0, 0, 0, 0] ^= 1
    folder = run.parent / "other"
    write_dataset(folder / "cifar10.npz", make_dataset("cifar10", *arrays, "abcd", "noise for a test"))
    os.environ["MINIFL_DATA"] = str(folder)


def other_table(run):
    rows = (run / record.PARTITION).read_text().splitlines()
    rows[1], rows[2] = "0" + rows[2][1:], "1" + rows[1][1:]
    (run / record.PARTITION).write_text("\n".join(rows) + "\n")


def other_device(run):
    record.write_config(run, record.read_config(run) | {"device": "cuda (NVIDIA H200, CuPy 13.4.1)"})


@pytest.mark.parametrize("change, text", [
    (other_data, "was trained on other data: sha256"),
    (other_table, "partition.csv is not the partition of config.json"),
    (other_device, "was begun on cuda (NVIDIA H200, CuPy 13.4.1), which rounds differently from cpu (NumPy); "
                   "resume it with --device cuda"),
    (lambda run: (run / record.CONFIG).unlink(), "is not a run directory"),
    (lambda run: (run / record.END).write_text("{}"), "does not say how the run ended"),
])
def test_what_would_not_be_the_same_run_is_refused(change, text, stopped, cli, tmp_path):
    run = Path(shutil.copytree(stopped[0], tmp_path / "run"))
    change(run)
    before = {file.name: file.read_bytes() for file in run.iterdir()}
    refused(cli("train", "--device", "cpu", "--resume", run), text)
    assert {file.name: file.read_bytes() for file in run.iterdir()} == before


def test_a_diverged_run_is_not_resumed(tmp_path, cli):
    lines = begin(tmp_path / "run", OFTEN, norm="none", lr=1e30)
    with pytest.raises(Diverged):
        list(lines)
    before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
    refused(cli("train", "--device", "cpu", "--resume", tmp_path / "run"), "has diverged after round")
    assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before


# ---- the command line in processes of its own

def process_of(*arguments):
    return subprocess.Popen([sys.executable, CLI, "train", "--device", "cpu", *map(str, arguments)],
                            stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                            env=os.environ | {"OMP_NUM_THREADS": "1"})


def wait_for(out, rounds, process):
    """Until the record holds so many rounds, or the process has ended."""
    give_up = time.monotonic() + 120
    while process.poll() is None and record.count_rounds(out) < rounds:
        assert time.monotonic() < give_up
        time.sleep(0.005)


def options_of(chosen):
    return [text for name, value in chosen.items() for text in (f"--{name.replace('_', '-')}", str(value))]


def test_the_command_line_goes_on_as_it_says(tmp_path):
    chosen = SMALL | {"algorithm": "scaffold", "rounds": 100}
    reference, out = to_the_end(tmp_path / "reference", **chosen), tmp_path / "my run"
    process = process_of("--data", "cifar10", *options_of(chosen), "--out", out)
    wait_for(out, 15, process)
    process.kill()
    process.communicate()
    assert_readable(out, reference)

    process = process_of("--resume", out)
    wait_for(out, 30, process)
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=120)
    assert process.returncode in (143, 0)
    if process.returncode:
        rounds = record.count_rounds(out)
        assert record.read_end(out)["rounds_done"] == rounds
        command = shlex.split(errors.partition("Go on with: ")[2])
        assert command == ["python", "cli.py", "train", "--resume", str(out)]
        output, errors = process_of(*command[3:]).communicate(timeout=120)
        assert errors == "" and f"\nResuming after round {rounds} of 100.\n" in output
        assert times_of(out, "resumed_after")[-1] == rounds and "--resume" in times_of(out, "command")[-1]
        assert set(times_of(out, "commit")) == {record.read_config(out)["commit"]} != {"a commit"}
    assert to_the_end(out) == reference


def test_a_directory_in_use_is_left_alone_and_a_killed_process_frees_it(tmp_path, cli):
    out = tmp_path / "run"
    chosen = options_of(SMALL | {"rounds": 20_000})     # a minute at least
    process = process_of("--data", "cifar10", *chosen, "--out", out)
    wait_for(out, 11, process)
    config = (out / record.CONFIG).read_bytes()
    for arguments in (("--resume", out), ("--data", "cifar10", *chosen, "--out", out, "--force")):
        refused(cli("train", "--device", "cpu", *arguments), f"is being written by another process (process {process.pid}, ")
    wait_for(out, record.count_rounds(out) + 5, process)
    assert process.poll() is None and (out / record.CONFIG).read_bytes() == config
    process.kill()
    process.communicate()
    rounds = record.read_rounds(out)
    assert [line["round"] for line in rounds] == list(range(1, len(rounds) + 1))
    lines, _ = go_on(out)
    assert 10 < next(lines)["round"] <= len(rounds) + 1
    lines.close()
