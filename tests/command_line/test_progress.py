"""What is shown while runs are at work: the round, and the time that is left, on a clock of the test."""

import itertools
from pathlib import Path
from types import SimpleNamespace

import pytest

from minifl.commands import display, sweeping
from minifl.commands.sweeping import Block, Standing


def line(number, **more):
    return {"round": number, "train_loss": 1.0} | more


def run(name, rounds):
    return SimpleNamespace(path=Path(name), settings=SimpleNamespace(rounds=rounds), status="new")


def test_the_pace_of_rounds_is_without_what_starts():
    clock = iter([0, 30, 40, 50, 60, 70])      # 30 seconds to the first, then 10 each
    assert [pace for _, pace in display._paced(map(line, range(1, 6)), lambda: next(clock))] == [30, 20, 50 / 3, 15, 10]


def test_the_pace_of_rounds_that_come_at_once():
    clock = iter([0, 30, 30, 30])
    assert [pace for _, pace in display._paced(map(line, range(1, 4)), lambda: next(clock))] == [30, 15, 10]


def test_in_a_pipe_there_is_a_line_for_each_test_and_after_a_quiet_minute(capsys, monkeypatch):
    clock = itertools.count(step=25)
    monkeypatch.setattr(display, "perf_counter", lambda: next(clock))
    settings = SimpleNamespace(rounds=8)
    lines = [line(i, **({"accuracy": 0.5} if i == 4 else {})) for i in range(1, 9)]
    display.show_progress(lines, settings)
    shown = [text.split("/")[0] for text in capsys.readouterr().out.splitlines()]
    assert "round 4" in shown and 2 < len(shown) < 8
    display.show_progress(lines, settings, quiet=0)
    shown = capsys.readouterr().out.splitlines()
    assert [text.split("  ")[0] for text in shown] == [f"round {i}/8" for i in range(1, 9)]
    assert all(text.endswith(" left") for text in shown) and "accuracy  50.0 %" in shown[-1] and "not yet" in shown[0]


def test_where_a_sweep_is():
    clock = SimpleNamespace(time=100.0)
    a, b, c = run("a", 10), run("b", 100), run("c", 10)
    standing = Standing([a, b, c], lambda: clock.time)
    standing.take(a, "started", 0)
    standing.take(b, "started", 40)           # resumed
    assert standing.lines() == ["[######--------------] 40/120 rounds, 0/3 runs", "  a  round 0/10", "  b  round 40/100"]
    clock.time += 60
    standing.take(a, "round", 5)
    standing.take(b, "round", 30)             # it had to go back
    standing.take(b, "round", 60)
    assert standing.lines() == ["[##########----------] 65/120 rounds, 0/3 runs  0:01:34 left",
                                "  a  round 5/10  0:01:00 left", "  b  round 60/100  0:01:20 left"]
    standing.take(a, "ended", "it failed")
    standing.take(c, "started", 0)
    assert standing.lines()[0].startswith("[###########---------] 70/120 rounds, 1/3 runs")
    assert [text.split()[0] for text in standing.lines()[1:]] == ["b", "c"]


@pytest.mark.parametrize("sparse, reported", [(0, True), (1e9, False)])
def test_a_sweep_in_a_pipe(cli, small, monkeypatch, sparse, reported):
    monkeypatch.setattr(sweeping, "SPARSE", sparse)
    code, out, _ = cli("sweep", *small, "--model", "mlp", "--seeds", "0-1", "--rounds", "4", "--out", "grid", "--jobs", "2")
    assert code == 0 and out.count("started ") == out.count("ended ") == 2 and "(2/2)" in out
    assert ("/8 rounds, " in out and "  fedavg-none-oneclass-seed0  round " in out) == reported


def test_a_block_of_lines_is_written_over_and_fits(capsys, monkeypatch):
    monkeypatch.setattr(sweeping, "get_terminal_size", lambda: (20, 5))
    monkeypatch.setattr(sweeping.click, "echo", lambda text, nl: print(text, end=""))      # which takes out what moves
    block = Block()
    block.show(["x" * 30, "y"])
    assert capsys.readouterr().out == "\r" + "x" * 19 + "\x1b[K\n\ry\x1b[K\n\x1b[J"
    block.show([str(i) for i in range(9)])
    assert capsys.readouterr().out == "\x1b[2A" + "".join(f"\r{text}\x1b[K\n" for text in ("0", "1", "2", "  and 6 more")) + "\x1b[J"
    block.show(["z"])
    assert capsys.readouterr().out == "\x1b[4A\rz\x1b[K\n\x1b[J"
