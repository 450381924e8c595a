"""The record of a run: never lost, half-written or over other files, and it says how it ended."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from minifl.data.registry import load
from minifl.errors import InputError
from minifl.fl import client, rounds
from minifl.fl.client import Diverged
from minifl.runs import record
from minifl.runs.run import Placement, reevaluate, split, train
from minifl.runs.settings import settings_for

CLI = Path(__file__).resolve().parents[2] / "cli.py"
SMALL = dict(model="mlp", width=0.05, rounds=4, local_steps=2, batch_size=8, eval_every=2, lr=0.05, norm="fn")
FILES = {"config.json", "partition.csv", "rounds.jsonl", "times.jsonl", "model.npz", "end.json"}


@pytest.fixture(scope="module")
def data(data_dir):
    return load("cifar10", data_dir)


def start(data, out, *, force=False, **chosen):
    """The iterator of a small run."""
    settings = settings_for("cifar10", SMALL | chosen)
    return train(settings, data, split(settings, data), out, Placement(workers=2), force=force)


def end(out):
    """How the run ended, without the seals of its files."""
    return {name: value for name, value in record.read_end(out).items() if name != "sha256"}


@pytest.fixture(scope="module")
def finished(data, tmp_path_factory):
    out = tmp_path_factory.mktemp("runs") / "finished"
    return out, list(start(data, out))


def copy_of(run, folder):
    """A copy of a run directory that a test may damage."""
    out = folder / "copy"
    out.mkdir()
    for file in run.iterdir():
        (out / file.name).write_bytes(file.read_bytes())
    return out


def test_a_finished_run(finished, data):
    out, lines = finished
    assert {file.name for file in out.iterdir()} == FILES | {"checkpoint-0000004"}
    assert record.read_rounds(out) == lines and [line["round"] for line in lines] == [1, 2, 3, 4]
    assert ["accuracy" in line for line in lines] == [False, True, False, True]
    assert end(out) == {"status": "finished", "message": None, "rounds_done": 4, "last_evaluation": lines[-1]}
    config = record.read_config(out)
    assert settings_for("cifar10", config["settings"]) == settings_for("cifar10", SMALL)
    assert config["data"] == {"name": "cifar10", "source": "noise for a test", "sha256": data.sha256}
    for name in ("partition", "parameters", "command", "started", "versions", "commit", "device", "machine"):
        assert name in config
    times = [json.loads(line) for line in (out / record.TIMES).read_text().splitlines()]
    assert [line["round"] for line in times] == [1, 2, 3, 4]
    assert all(line.keys() == {"round", "seconds", "seal"} for line in times)
    seconds = record.read_seconds(out)
    assert seconds == [line["seconds"] for line in times] and min(seconds) > 0
    assert not any("seconds" in line for line in lines)      # what differs from run to run is in TIMES alone


def test_two_runs_of_the_same_settings_are_the_same_to_the_bit(finished, data, tmp_path):
    list(start(data, tmp_path / "again"))
    for name in (record.PARTITION, record.ROUNDS, record.MODEL, record.END):
        assert (tmp_path / "again" / name).read_bytes() == (finished[0] / name).read_bytes()


def test_the_saved_model_is_the_one_that_was_tested(finished, data_dir):
    out, lines = finished
    config, _, result = reevaluate(out, data_dir=data_dir, workers=2)
    assert config["settings"]["norm"] == "fn"
    assert result == {name: lines[-1][name] for name in result}
    assert result.keys() == {"accuracy", "client_mean_accuracy", "client_accuracy", "class_accuracy",
                             "test_loss"}


# ---- the directory

def test_an_existing_run_is_overwritten_only_by_force(finished, data, tmp_path):
    out = copy_of(finished[0], tmp_path)
    before = {file.name: file.read_bytes() for file in out.iterdir()}
    with pytest.raises(InputError, match="holds a run already; go on with it by --resume, .* --force"):
        start(data, out)
    assert {file.name: file.read_bytes() for file in out.iterdir()} == before


def test_force_replaces_the_runs_own_files_and_no_others(finished, data, tmp_path):
    out = copy_of(finished[0], tmp_path)
    (out / "notes.txt").write_text("mine")
    (out / "plots").mkdir()
    lines = list(start(data, out, force=True, rounds=1, eval_every=1, seed=5))
    assert {file.name for file in out.iterdir()} == FILES | {"notes.txt", "plots", "checkpoint-0000001"}
    assert (out / "notes.txt").read_text() == "mine"
    assert record.read_rounds(out) == lines and len(lines) == 1
    assert record.read_config(out)["settings"]["seed"] == 5


def test_force_leaves_nothing_of_the_earlier_run_when_the_new_one_stops_early(finished, data, tmp_path):
    out = copy_of(finished[0], tmp_path)
    lines = start(data, out, force=True, seed=5)
    next(lines)
    assert len(record.read_rounds(out)) == 1
    assert not (out / record.END).exists() and not (out / record.MODEL).exists()
    lines.close()


@pytest.mark.parametrize("content", [
    {"thesis.tex": "my life"},
    {"config.json": "{}"},                                  # the config.json of something else
    {"config.json": '{"settings": 1, "data": 2}'},
    {"config.json": "not json", "model.npz": "weights"},
    {"partition.csv": "client,a\n0,1\n"},                    # a table that somebody keeps there
    {"rounds.jsonl": "{}\n"},
])
@pytest.mark.parametrize("force", [False, True])
def test_a_folder_of_others_is_refused_even_with_force(data, tmp_path, content, force):
    for name, text in content.items():
        (tmp_path / name).write_text(text)
    with pytest.raises(InputError, match="exists and is not a run directory"):
        start(data, tmp_path, force=force)
    assert {file.name: file.read_text() for file in tmp_path.iterdir()} == content


@pytest.mark.parametrize("force", [False, True])
def test_a_file_in_the_way_is_refused_even_with_force(data, tmp_path, force):
    (tmp_path / "run").write_text("mine")
    with pytest.raises(InputError, match="exists and is not a run directory"):
        start(data, tmp_path / "run", force=force)
    with pytest.raises(InputError, match="cannot be written"):
        start(data, tmp_path / "run" / "below", force=force)
    assert (tmp_path / "run").read_text() == "mine"


def test_an_empty_folder_is_taken(data, tmp_path):
    start(data, tmp_path)
    assert (tmp_path / record.CONFIG).exists() and record.read_rounds(tmp_path) == []


def test_a_directory_belongs_to_its_run_until_that_has_ended_or_was_left(data, tmp_path):
    lines = start(data, tmp_path / "run")
    for _ in range(2):
        before = {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()}
        with pytest.raises(InputError, match="is being written by another process"):
            start(data, tmp_path / "run", force=True)
        assert {file.name: file.read_bytes() for file in (tmp_path / "run").iterdir()} == before
        next(lines)
    lines.close()
    lines = start(data, tmp_path / "run", force=True)        # never begun
    del lines
    assert len(list(start(data, tmp_path / "run", force=True))) == 4
    start(data, tmp_path / "run", force=True).close()


def test_new_folders_are_never_shared(tmp_path):
    runs = tmp_path / "runs"
    made = [record.new_folder(runs, "fn") for _ in range(3)]
    assert [path.name for path in made] == ["fn", "fn-2", "fn-3"] and all(path.is_dir() for path in made)
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made: Not a directory"):
        record.new_folder(tmp_path / "file", "fn")
    (tmp_path / "link").symlink_to(tmp_path / "nowhere")
    with pytest.raises(InputError, match="link is not a folder"):
        record.new_folder(tmp_path / "link", "fn")


# ---- how a run ends

def test_whoever_stops_between_two_rounds_has_interrupted_the_run(data, data_dir, tmp_path):
    lines = start(data, tmp_path / "run")
    next(lines), next(lines), next(lines)
    lines.close()
    assert end(tmp_path / "run")["status"] == "interrupted" and end(tmp_path / "run")["rounds_done"] == 3
    reevaluate(tmp_path / "run", data_dir=data_dir)


def test_a_diverged_run_keeps_the_model_before(data, data_dir, tmp_path, monkeypatch):
    def local_sgd(*arguments, **options):
        theta, losses, running = original(*arguments, **options)
        calls.append(None)
        return theta, losses * (np.nan if len(calls) > 20 else 1), running     # 10 clients: in the third round

    calls, original = [], client.local_sgd
    monkeypatch.setattr(client, "local_sgd", local_sgd)
    out = tmp_path / "run"
    with pytest.raises(Diverged):
        list(start(data, out))
    assert end(out)["status"] == "diverged" and end(out)["rounds_done"] == 2
    assert re.search(r"client \d is nan at local step 1 of round 3", end(out)["message"])
    assert {file.name for file in out.iterdir()} == FILES    # nothing to go on with
    _, _, result = reevaluate(out, data_dir=data_dir)
    assert result == {name: record.read_rounds(out)[1][name] for name in result}


def test_a_failure_is_recorded_and_goes_on(data, tmp_path, monkeypatch):
    def evaluate(*arguments, **options):
        raise RuntimeError("the roof is on fire")

    monkeypatch.setattr(rounds, "evaluate", evaluate)
    with pytest.raises(RuntimeError, match="roof"):
        list(start(data, tmp_path / "run"))
    assert end(tmp_path / "run") == {"status": "failed", "message": "RuntimeError: the roof is on fire",
                                     "rounds_done": 1, "last_evaluation": None}
    assert (tmp_path / "run" / "checkpoint-0000001").exists()


def hear_signals():
    """Where the tests run in the background, processes begin with SIGINT ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def start_process(data_dir, out, *options):
    """A run that does not end by itself, in a process of its own."""
    command = [sys.executable, CLI, "train", "--data", "cifar10", "--data-dir", data_dir, "--device", "cpu",
               "--model", "mlp", "--width", "0.05", "--local-steps", "1", "--batch-size", "4",
               "--rounds", "1000000", "--eval-every", "2", "--out", out, *options]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
                               env=os.environ | {"OMP_NUM_THREADS": "1"}, preexec_fn=hear_signals)
    give_up = time.monotonic() + 120
    while not ((out / record.ROUNDS).exists() and (out / record.ROUNDS).read_text().count("\n") >= 5):
        assert process.poll() is None and time.monotonic() < give_up, process.communicate()
        time.sleep(0.02)
    return process


@pytest.mark.parametrize("signum, code", [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_leaves_a_readable_record_and_says_how_to_go_on(data_dir, tmp_path, signum, code):
    out = tmp_path / "my run"
    process = start_process(data_dir, out)
    process.send_signal(signum)
    output, errors = process.communicate(timeout=120)
    assert process.returncode == code
    again = shlex.join(["python", "cli.py", "train", "--resume", str(out), "--data-dir", str(data_dir)])
    assert errors == ("Stopping after the clients at work; the same signal once more ends at once.\n"
                      f"Interrupted; the record up to here is in {out}. Go on with: {again}\n")
    assert "Traceback" not in output
    lines = record.read_rounds(out)
    assert [line["round"] for line in lines] == list(range(1, len(lines) + 1))
    assert end(out)["status"] == "interrupted" and end(out)["rounds_done"] == len(lines)
    assert end(out)["last_evaluation"] == [line for line in lines if "accuracy" in line][-1]
    reevaluate(out, data_dir=data_dir)
    checkpoints = {file.name for file in out.glob("checkpoint-*")}
    assert f"checkpoint-{len(lines):07d}" in checkpoints and len(checkpoints) <= 2
    assert {file.name for file in out.iterdir()} == FILES | checkpoints


def test_a_killed_run_leaves_valid_lines_and_a_model(data_dir, tmp_path):
    out = tmp_path / "run"
    process = start_process(data_dir, out)
    process.kill()
    process.communicate(timeout=120)
    lines = record.read_rounds(out)
    assert len(lines) >= 5 and [line["round"] for line in lines] == list(range(1, len(lines) + 1))
    assert not (out / record.END).exists()
    reevaluate(out, data_dir=data_dir)


# ---- reading damaged records

def test_a_last_line_cut_short_is_left_out(finished, tmp_path):
    out = copy_of(finished[0], tmp_path)
    whole = (out / record.ROUNDS).read_bytes()
    lines = record.read_rounds(out)
    (out / record.END).unlink()                 # a crash leaves none
    begin = whole.rindex(b"\n", 0, -1) + 1      # of the last line
    for size in range(begin, len(whole)):
        (out / record.ROUNDS).write_bytes(whole[:size])
        assert record.read_rounds(out) == lines[:-1]


def test_other_damage_of_the_rounds_is_an_error(finished, tmp_path):
    out = copy_of(finished[0], tmp_path)
    lines = (out / record.ROUNDS).read_text().splitlines(keepends=True)
    (out / record.ROUNDS).write_text(lines[0] + lines[1][:20] + "\n" + lines[2])
    with pytest.raises(InputError, match="rounds.jsonl is damaged"):
        record.read_rounds(out)
    (out / record.ROUNDS).unlink()
    with pytest.raises(InputError, match="rounds.jsonl cannot be read"):
        record.read_rounds(out)


def change_config(out, part, **values):
    (out / record.END).unlink()     # which would say that the config was another
    config = record.read_config(out)
    config[part].update(values)
    record.write_config(out, config)


def no_model(out):
    (out / record.MODEL).unlink()


def half_a_model(out):
    (out / record.MODEL).write_bytes((out / record.MODEL).read_bytes()[:500])


def a_text_for_a_model(out):
    (out / record.MODEL).write_text("weights")


def a_model_of_words(out):
    with np.load(out / record.MODEL) as saved:
        np.savez(out / record.MODEL, **{name: saved[name].astype(str) for name in saved.files})


def a_pickled_model(out):
    with np.load(out / record.MODEL) as saved:
        np.savez(out / record.MODEL, **{name: saved[name].astype(object) for name in saved.files})


def fewer_blocks(out):
    with np.load(out / record.MODEL) as saved:
        np.savez(out / record.MODEL, **{name: saved[name] for name in saved.files[1:]})


def no_table(out):
    (out / record.PARTITION).unlink()


def other_table(out):
    lines = (out / record.PARTITION).read_text().splitlines(keepends=True)
    swapped = [lines[0], lines[2].replace("1,", "0,", 1), lines[1].replace("0,", "1,", 1), *lines[3:]]
    (out / record.PARTITION).write_text("".join(swapped))


@pytest.mark.parametrize("damage, text", [
    (no_model, "model.npz does not exist"),
    (half_a_model, "model.npz cannot be read"),
    (a_text_for_a_model, "model.npz cannot be read"),
    (a_pickled_model, "model.npz cannot be read"),
    (a_model_of_words, "model.npz holds other parameters"),
    (fewer_blocks, "model.npz holds other parameters"),
    (no_table, "partition.csv: cannot be read"),
    (other_table, "partition.csv is not the partition of config.json"),
    (lambda out: (out / record.CONFIG).unlink(), "is not a run directory"),
    (lambda out: (out / record.CONFIG).write_text('{"settings": '), "config.json is damaged"),
    (lambda out: (out / record.CONFIG).write_text("[]"), "config.json is not the config of a run"),
    (lambda out: (out / record.CONFIG).write_text("{}"), "config.json is not the config of a run"),
    (lambda out: change_config(out, "settings", width=0.1), "holds other parameters than the network"),
    (lambda out: change_config(out, "settings", model="resnet9000"), "config.json was changed or is damaged: model 'resnet9000'"),
    (lambda out: change_config(out, "settings", colour="red"), "config.json was changed or is damaged: unknown setting 'colour'"),
    (lambda out: change_config(out, "settings", data="mnist"), "mnist.npz does not exist"),
    (lambda out: change_config(out, "data", sha256="0" * 64), "was trained on other data: sha256 0000"),
])
def test_a_damaged_run_is_refused_with_what_is_wrong(finished, data_dir, tmp_path, damage, text):
    out = copy_of(finished[0], tmp_path)
    damage(out)
    if "model.npz" in text and "exist" not in text:
        with pytest.raises(InputError, match="model.npz is damaged: it is not the file with which the run ended"):
            reevaluate(out, data_dir=data_dir)
        (out / record.END).unlink()
    with pytest.raises(InputError, match=text):
        reevaluate(out, data_dir=data_dir)
