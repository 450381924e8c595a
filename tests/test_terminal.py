"""What `train` and `sweep` show on a terminal, watched through a pseudo-terminal."""

import json
import os
import pty
import re
import select
import signal
import struct
import subprocess
import sys
import termios
import time
from fcntl import ioctl
from pathlib import Path

import pytest

from minifl.data.registry import load
from minifl.runs.record import read_rounds
from minifl.runs.run import Placement, split, train
from minifl.runs.settings import settings_for

CLI = Path(__file__).resolve().parent.parent / "cli.py"


SMALL = ("--data", "cifar10", "--model", "mlp", "--width", "0.01", "--local-steps", "1", "--batch-size", "2",
         "--eval-every", "2")


def in_terminal(data_dir, columns, *options, command="train", interrupt_after=None):
    """Run a command on a pseudo-terminal: (exit code, all that it wrote)."""
    controller, terminal = pty.openpty()
    ioctl(terminal, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    environment = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "LINES")}
    process = subprocess.Popen(     # in the background, tests would hand on that SIGINT is ignored
        [sys.executable, CLI, command, "--data-dir", data_dir, "--device", "cpu", *options],
        stdin=terminal, stdout=terminal, stderr=terminal,
        env=environment | {"OMP_NUM_THREADS": "1", "TERM": "xterm"},
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL))
    os.close(terminal)
    written, give_up = b"", time.monotonic() + 120
    while True:
        if time.monotonic() > give_up:
            process.kill()
        try:
            if select.select([controller], [], [], 0.1)[0]:
                written += os.read(controller, 65536)
        except OSError:     # Linux: the other side is closed
            break
        if interrupt_after and interrupt_after in written:
            process.send_signal(signal.SIGINT)
            interrupt_after = None
    os.close(controller)
    return process.wait(timeout=120), written.decode()


def shown_lines(written):
    """What stood on the terminal's line at one time or another, without control sequences."""
    plain = re.sub(r"\x1b\[[?\d]*[a-zA-Z]", "", written)
    return [text for text in re.split("[\r\n]+", plain) if text.strip()]


@pytest.mark.parametrize("columns", [80, 132])
def test_progress_bar(data_dir, tmp_path, columns):
    code, written = in_terminal(data_dir, columns, *SMALL, "--rounds", "12", "--out", tmp_path / "run")
    assert code == 0, written
    bars = [line for line in shown_lines(written) if re.match(r"\d+/12 ", line)]
    pattern = (r"\d+/12  loss \d+\.\d{4}  accuracy (not yet|[ \d]{3}\.\d %)  \d+\.\d\d rounds/s  "
               r"\d:\d\d:\d\d left \[#*-*\]")
    assert re.fullmatch(r"0/12 \[-+\]", bars[0])
    assert len(bars) == 13
    for bar in bars[1:]:
        assert re.fullmatch(pattern, bar), bar
        assert len(bar) == columns       # one line of the terminal, neither wrapped nor leaving remains
    last = read_rounds(tmp_path / "run")[-1]
    assert f"accuracy {100 * last['accuracy']:5.1f} %" in bars[-1]
    assert "0:00:00 left" in bars[-1] and "-" not in bars[-1]


def test_a_narrow_terminal_is_not_flooded(data_dir, tmp_path):
    code, written = in_terminal(data_dir, 40, *SMALL, "--rounds", "3", "--out", tmp_path / "run")
    bars = [line for line in shown_lines(written) if re.match(r"\d/3 ", line)]
    assert code == 0 and bars and max(map(len, bars)) <= 40


def test_ctrl_c_on_a_terminal(data_dir, tmp_path):
    code, written = in_terminal(data_dir, 80, *SMALL, "--rounds", "1000000", "--out", tmp_path / "run",
                                interrupt_after=b"3/1000000 ")
    assert code == 130 and "Traceback" not in written
    assert "Stopping after the clients at work; the same signal once more ends at once." in shown_lines(written)
    last = shown_lines(written)[-1]
    assert last.startswith("Interrupted; the record up to here is in ")
    assert last.endswith(f"Go on with: python cli.py train --resume {tmp_path / 'run'} --data-dir {data_dir}")
    assert "\x1b[?25h" in written        # the cursor is back
    end = json.loads((tmp_path / "run" / "end.json").read_text())
    assert end["status"] == "interrupted" and end["rounds_done"] == len(read_rounds(tmp_path / "run")) >= 3


def test_a_resumed_run_shows_where_it_goes_on(data_dir, tmp_path):
    dataset = load("cifar10", data_dir)
    settings = settings_for("cifar10", dict(model="mlp", width=0.01, local_steps=1, batch_size=2, rounds=9))
    lines = train(settings, dataset, split(settings, dataset), tmp_path / "run", Placement())
    for _ in range(5):
        next(lines)
    lines.close()
    code, written = in_terminal(data_dir, 80, "--resume", tmp_path / "run")
    assert code == 0, written
    assert "Resuming after round 5 of 9." in shown_lines(written)
    bars = [line for line in shown_lines(written) if re.match(r"\d+/9 ", line)]
    assert [bar.split("/")[0] for bar in bars] == ["0", "6", "7", "8", "9"]
    assert {len(bar) for bar in bars[1:]} == {80}


def test_a_sweep_shows_where_each_of_its_runs_is(data_dir, tmp_path):
    code, written = in_terminal(data_dir, 100, *SMALL, "--rounds", "40", "--seeds", "0-1", "--jobs", "1", "--out",
                                tmp_path / "grid", command="sweep")
    assert code == 0, written
    shown = shown_lines(written)
    whole = [line for line in shown if re.fullmatch(r"\[#*-*\] \d+/80 rounds, \d/2 runs(  \d:\d\d:\d\d left)?", line)]
    assert whole[0] == f"[{'-' * 20}] 0/80 rounds, 0/2 runs" and whole[-1].startswith(f"[{'#' * 20}] 80/80 rounds, 2/2 runs")
    for seed in (0, 1):
        name = f"  fedavg-none-oneclass-seed{seed}  round "
        assert f"{name}0/40" in shown and any(line.startswith(f"{name}40/40") and line.endswith(" left") for line in shown)
    assert shown[-1].startswith("| cifar10") and not any(line.startswith(("started", "ended")) for line in shown)
