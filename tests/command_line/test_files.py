"""Files, names and terminals that are not what a command expects: a message that names them, no wait, no traceback."""

import io
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from refusing import refused

from minifl.cli import main
from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.runs import record

CLI = Path(__file__).resolve().parents[2] / "cli.py"
LONG = "x" * 256
DEEP = "[" * 100_000
NAMES = ("日本語", "Äpfel", "a\u0308\u20ac")     # none, some and no characters of cp1252


@pytest.fixture(autouse=True)
def no_waiting():
    """What would wait without end fails instead."""
    def give_up(*_):
        raise AssertionError("it waits for something")
    before = signal.signal(signal.SIGALRM, give_up)
    signal.alarm(60)
    yield
    signal.alarm(0)
    signal.signal(signal.SIGALRM, before)


@pytest.fixture
def run(cli, small):
    """A run of four rounds with all the files there are."""
    assert cli("train", *small, "--model", "mlp", "--diagnose", "--out", "run")[0] == 0
    return Path("run")


@pytest.fixture
def partition(data_dir):
    return lambda *options: ("partition", "--data", "cifar10", "--data-dir", data_dir, *options)


# ---- what is written

WRITING = [("--csv", lambda file: ("partition", "--csv", file)),
           ("--json", lambda file: ("course", "grade", "nowhere", "--json", file))]


@pytest.mark.parametrize("option, command", WRITING)
def test_a_pipe_a_folder_and_a_name_too_long_are_refused_before_any_work(cli, option, command):
    os.mkfifo("pipe")
    os.mkdir("folder")
    refused(cli(*command("pipe")), f"'{option}'", "pipe exists and cannot be written: it is a named pipe")
    refused(cli(*command("folder")), f"'{option}'", "folder exists and cannot be written: it is a directory")
    refused(cli(*command(LONG)), f"'{option}'", "too long")
    assert sorted(os.listdir()) == ["folder", "pipe"] and Path("pipe").is_fifo()


def test_pictures_onto_a_pipe(cli, run):
    pytest.importorskip("matplotlib")
    os.mkfifo("curves.png")
    refused(cli("compare", run, "--figure", "curves.png"), "curves.png exists", "a named pipe")
    refused(cli("compare", run, "--figure", "curves"), "curves.png exists", "a named pipe")
    refused(cli("compare", run, "--figure", "x" * 253), "too long")
    refused(cli("compare", run, "--figure", "/dev/stdout"), "/dev/stdout is no name of a picture")
    os.mkdir("plots")
    os.mkfifo("plots/diagnostics-run.svg")
    refused(cli("plot", run), "diagnostics-run.svg exists", "a named pipe")
    assert os.listdir("plots") == ["diagnostics-run.svg"]


def test_a_table_through_a_link_to_the_terminal_and_under_a_long_name(cli, partition):
    Path("link").symlink_to("table.csv")
    assert cli(*partition("--csv", "link"))[0] == 0
    table = Path("table.csv").read_bytes()
    assert Path("link").is_symlink() and table.startswith(b"client,class0,")
    for name in ("-", "/dev/stdout"):
        code, output, errors = cli(*partition("--csv", name))
        assert (code, errors) == (0, "") and table.decode() in output and name.split("/")[-1] not in os.listdir()
    assert cli(*partition("--csv", "y" * 254))[0] == 0 and Path("y" * 254).read_bytes() == table


# ---- what is read

@pytest.mark.parametrize("option", ["--config", "--partition"])
def test_a_pipe_as_input(cli, small, option):
    os.mkfifo("pipe")
    refused(cli("train", *small, option, "pipe"), "pipe", "cannot be read", "a named pipe")
    refused(cli("train", *small, option, "/dev/zero"), "/dev/zero", "cannot be read", "a device")
    assert os.listdir() == ["pipe"]


def test_a_pipe_as_data(cli, tmp_path):
    os.mkfifo("cifar10.npz")
    for name in ("auto", "cifar10"):
        refused(cli("partition", "--data", name, "--data-dir", tmp_path), "cifar10.npz: cannot be read", "a named pipe")


@pytest.mark.parametrize("name", record.NAMES)
@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_a_pipe_or_folder_in_place_of_a_file_of_a_run(cli, run, data_dir, name, make):
    (run / name).unlink(missing_ok=True)
    make(run / name)
    commands = [("eval", run, "--data-dir", data_dir), ("compare", run), ("replay", run, "--data-dir", data_dir),
                ("train", "--resume", run, "--rounds", 6, "--data-dir", data_dir)]
    found = [cli(*command) for command in commands]
    for result in found:
        if result[0] != 0:
            refused(result, name)
    assert found[-1][0] == 2                        # who writes it always minds
    if name not in (record.TIMES, record.DIAGNOSTICS):
        assert any(code for code, _, _ in found[:3])


def test_a_folder_in_place_of_a_checkpoint_is_noticed_before_the_rounds_are_done(cli, small, data_dir):
    code, *_ = cli("train", *small, "--model", "mlp", "--lr", "1e30", "--out", "run")
    assert code == 1
    assert cli("train", *small, "--model", "mlp", "--out", "run", "--force")[0] == 0
    os.mkdir("run/checkpoint-0000099")
    refused(cli("train", "--resume", "run", "--rounds", 6, "--data-dir", data_dir), "checkpoint-0000099 is in the way")
    refused(cli("train", *small, "--model", "mlp", "--out", "run", "--force"), "checkpoint-0000099 is in the way")
    assert len(record.read_rounds("run")) == 4


@pytest.mark.parametrize("name", [record.CONFIG, record.END, record.ROUNDS])
def test_brackets_without_end_in_a_run(cli, run, name):
    (run / name).write_text(DEEP + "\n")
    refused(cli("compare", run), name)


def test_brackets_without_end_elsewhere(cli, small):
    Path("deep").write_text(DEEP)
    refused(cli("train", *small, "--config", "deep"), "--config deep is not a JSON object", "nested too deeply")
    refused(cli("course", "grade", "nowhere", "--assignment", "hw1", "--gradescope", "deep"), "--gradescope deep")


def test_a_large_file_is_not_read_as_a_whole(cli, small, run, partition):
    for file in ("large", run / record.ROUNDS):
        with open(file, "wb") as f:
            f.truncate(1 << 40)     # it takes no space
    refused(cli("train", *small, "--config", "large"), "--config large", "more than")
    refused(cli(*partition("--partition", "large")), "large", "more than")
    refused(cli("compare", run), "rounds.jsonl", "more than")


# ---- names

@pytest.mark.parametrize("option", ["--data-dir", "--config", "--partition", "--out", "--resume"])
def test_a_name_that_is_too_long(cli, small, option):
    refused(cli("train", *small, option, LONG), f"'{option}'", "too long")
    refused(cli("train", *small, option, "a\0b"), f"'{option}'", "null byte")
    assert os.listdir() == []


@pytest.mark.parametrize("length", [256, 4090, 5000])
def test_a_folder_of_data_that_is_too_long(cli, monkeypatch, length):
    path = "/".join(["d" * 99] * (length // 100) + ["e" * (length % 100)]) if length > 256 else "d" * length
    monkeypatch.setenv("MINIFL_DATA", path)
    refused(cli("partition", "--data", "cifar10"), path[:50])


def test_a_name_of_other_bytes(cli, small):
    name = os.fsdecode(b"l\xe4uft")
    code, output, errors = cli("train", *small, "--rounds", 1, "--out", name)
    assert (code, errors) == (0, "") and "Run: l\\udce4uft." in output
    assert cli("compare", name)[0] == 0


# ---- settings and partition of a run

@pytest.mark.parametrize("change, texts", [
    ({"lr": "fast"}, ("lr 'fast' is invalid",)), ({"norm": "wavelet"}, ("wavelet",)), ({"norm": "gn"}, ("groups 2",)),
    ({"data": 7}, ("data 7",)), ({"colour": 1}, ("unknown setting 'colour'",))])
def test_a_damaged_setting_of_a_run_names_its_file(cli, run, data_dir, monkeypatch, change, texts):
    config = json.loads((run / record.CONFIG).read_text())
    config.pop("seal", None)
    if "norm" in change:
        config["settings"]["model"] = "cnn"
    config["settings"] |= change
    (run / record.CONFIG).write_text(json.dumps(config))
    (run / record.END).unlink()      # which seals the config
    for command in (("eval", run, "--data-dir", data_dir), ("train", "--resume", run, "--data-dir", data_dir),
                    ("replay", run, "--data-dir", data_dir)):
        result = cli(*command)
        refused(result, "config.json", *texts)
        assert "--" not in result[2].partition("config.json")[2]


def test_a_damaged_partition_of_a_run_names_its_file(cli, run, data_dir):
    table = (run / record.PARTITION).read_text().splitlines()
    (run / record.PARTITION).write_text("\n".join([table[0], "0" + ",9999" * 10, *table[2:]]))
    (run / record.END).unlink()
    result = cli("eval", run, "--data-dir", data_dir)
    refused(result, "partition.csv", "9999")
    assert "--partition" not in result[2]


# ---- what is printed to

@pytest.fixture
def foreign(tmp_path):
    """A folder with a small data set whose classes have names from far away."""
    rng = np.random.default_rng(0)
    x, y = rng.integers(0, 256, (60, 32, 32, 3), np.uint8), np.arange(60) % 3
    write_dataset(tmp_path / "far.npz", make_dataset("far", x[:48], y[:48], x[48:], y[48:], NAMES, "noise from 東京"))
    return tmp_path


@pytest.mark.parametrize("encoding, some", [("cp1252", b"\xc4pfel"), ("latin-1", b"\xc4pfel"), ("koi8-r", b"\\xc4pfel"),
                                            ("utf-8", "日本語".encode())])
def test_names_that_the_output_lacks_are_written_in_other_characters(foreign, monkeypatch, encoding, some):
    monkeypatch.chdir(foreign)
    train = ("train", "--out", "r\u011b\u0161", "--model", "mlp", "--width", "0.01", "--rounds", "1", "--local-steps", "1",
             "--batch-size", "2", "--setting", "iid", "--num-clients", "2", "--local-eval-every", "0")
    common = "--data-dir", str(foreign)
    for command in ((*train, "--data", "far", *common), ("eval", "r\u011b\u0161", *common), ("compare", "r\u011b\u0161"),
                    ("partition", "--data", "far", "--setting", "iid", "--csv", "\u011b.csv", *common),
                    ("partition", "--data", "\u011b", *common), ("eval", "\u011b")):
        raw, errors = io.BytesIO(), io.BytesIO()
        monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding=encoding))
        monkeypatch.setattr(sys, "stderr", io.TextIOWrapper(errors, encoding=encoding))
        with pytest.raises(SystemExit) as end:
            main(command)
        sys.stdout.flush(), sys.stderr.flush()
        assert b"Traceback" not in errors.getvalue()
        if command[-1] == "\u011b" or "\u011b" in command[2:3]:
            assert end.value.code == 2 and errors.getvalue()
        else:
            assert end.value.code == 0, errors.getvalue()
            assert command[0] == "compare" or some in raw.getvalue()


def ended(*arguments, shell="exec \"$@\"", **environment):
    """The command line in a process of its own, with streams as the shell says."""
    done = subprocess.run(["sh", "-c", shell, "sh", sys.executable, CLI, *map(str, arguments)], capture_output=True,
                          env=os.environ | environment, timeout=120)
    assert b"Traceback" not in done.stderr and b"Exception ignored" not in done.stderr, done.stderr
    return done


def test_an_encoding_given_to_the_process(foreign):
    for encoding in ("cp1252", "ascii"):
        done = ended("partition", "--data", "far", "--data-dir", foreign, "--setting", "iid", "--num-clients", 2,
                     PYTHONIOENCODING=encoding)
        assert done.returncode == 0 and b"sha256" in done.stdout


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="Linux")
@pytest.mark.parametrize("shell, code, text", [
    ('exec "$@" >&-', 2, b"Error: stdout is closed"),
    ('exec "$@" >/dev/full', 2, b"Error: the output cannot be used: No space left on device"),
    ('exec "$@" <&- 2>&-', 0, b""),
    ('exec "$@" 2>/dev/full', 0, b"")])
@pytest.mark.parametrize("command", ["partition", "--help"])
def test_streams_that_are_closed_or_full(partition, command, shell, code, text):
    done = ended(*(partition() if command == "partition" else [command]), shell=shell)
    assert done.returncode == code and text in done.stderr


def test_nobody_reads_the_output_any_more(partition):
    done = ended(*partition("--csv", "-"), shell='"$@" | true')
    assert done.stderr == b""


