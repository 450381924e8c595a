"""Diagnostics in a run directory: beside the same files, through kills, with --force, from the command line."""

import itertools
import json
import os
import signal
import sys

import pytest

from resuming import SAME, begin, go_on, in_child, interrupted

from minifl.errors import InputError
from minifl.runs import record, summary
from minifl.runs.run import Placement


RUN = dict(rounds=7, eval_every=2, diagnose=True)


def files(out, names=(*SAME, record.DIAGNOSTICS)):
    return {name: (out / name).read_bytes() for name in names if (out / name).exists()}


def ended(out):
    """How the run ended, without the seals of its files."""
    return {name: value for name, value in record.read_end(out).items() if name != "sha256"}


@pytest.mark.parametrize("options", [{}, {"norm": "bn", "bn_stats": "local", "algorithm": "scaffold"}], ids=str)
def test_a_run_has_the_same_files_and_one_more(options, tmp_path):
    list(begin(tmp_path / "plain", **RUN | options | {"diagnose": False}))
    lines = list(begin(tmp_path / "diagnosed", Placement(workers=2), **RUN | options))
    same = set(SAME) - {record.END}      # which says that the settings and the files are others
    assert files(tmp_path / "diagnosed", same) == files(tmp_path / "plain", same)
    assert files(tmp_path / "plain", SAME) == files(tmp_path / "plain")
    assert ended(tmp_path / "diagnosed") == ended(tmp_path / "plain")
    assert not any("diagnostics" in line for line in lines)
    found = record.read_diagnostics(tmp_path / "diagnosed")
    assert [line["round"] for line in found] == [2, 4, 6, 7]
    text = (tmp_path / "diagnosed" / record.DIAGNOSTICS).read_text()
    lines = [json.loads(line) for line in text.splitlines()]
    assert all(line.pop("seal") for line in lines) and lines == found and "NaN" not in text and "Infinity" not in text
    assert len({frozenset(line) for line in found}) == 1 and text.endswith("\n")
    with pytest.raises(InputError, match="diagnostics.jsonl does not exist.*--diagnose"):
        record.read_diagnostics(tmp_path / "plain")


def test_force_removes_those_of_the_earlier_run(tmp_path):
    interrupted(tmp_path / "run", 3, **RUN)
    assert (tmp_path / "run" / record.DIAGNOSTICS).exists()
    list(begin(tmp_path / "run", force=True, **RUN | {"diagnose": False}))
    assert not (tmp_path / "run" / record.DIAGNOSTICS).exists()


def test_rounds_that_are_done_again_are_looked_at_once(tmp_path):
    list(begin(tmp_path / "reference", **RUN))
    out = interrupted(tmp_path / "run", 6, Placement(checkpoint_every=3), **RUN)
    (out / "checkpoint-0000006").write_bytes(b"damaged")
    (out / record.DIAGNOSTICS).write_bytes((out / record.DIAGNOSTICS).read_bytes() + b'{"round": 7, "fea')
    (out / f".{record.DIAGNOSTICS}.1234.tmp").write_text("left by a process that was killed")
    lines, messages = go_on(out)
    assert not list(out.glob("*.tmp"))
    assert messages[-1] == "Resuming after round 3 of 7."
    assert [line["round"] for line in record.read_diagnostics(out)] == [2]
    list(lines)
    assert files(out) == files(tmp_path / "reference")


def test_killed_at_every_step_it_ends_as_one_that_was_not(tmp_path):
    """Just before each change of a file, with a torn line wherever one could be."""
    chosen = RUN | {"rounds": 3, "num_clients": 3}
    list(begin(tmp_path / "reference", **chosen))
    expected, seen_at = files(tmp_path / "reference"), set()
    for n in itertools.count():
        out = tmp_path / str(n)

        def work(n=n, out=out):
            changes = itertools.count()

            def watch(event, arguments):
                writing = event == "open" and arguments[2] & (os.O_WRONLY | os.O_RDWR)
                if writing or event in ("os.mkdir", "os.rename", "os.remove"):
                    if str(arguments[0]).startswith(str(out)) and next(changes) == n:
                        os.kill(os.getpid(), signal.SIGKILL)
            sys.addaudithook(watch)
            list(begin(out, Placement(checkpoint_every=1), **chosen))

        code = in_child(work)
        if code == 0:
            break
        assert code == -signal.SIGKILL
        if (out / record.CONFIG).exists():
            seen_at.add((record.count_rounds(out), (out / record.DIAGNOSTICS).exists() and
                         len(record.read_diagnostics(out))))
            if (out / record.DIAGNOSTICS).exists() and not (out / record.END).exists():
                with open(out / record.DIAGNOSTICS, "a") as f:
                    f.write('{"round": 3, "classifier_no')
            if not (out / record.END).exists():
                list(go_on(out)[0])
        else:
            list(begin(out, **chosen))
        assert files(out) == expected
    assert {(1, 1), (2, 1), (2, 2), (3, 2)} <= seen_at      # before and after the line of the round itself


def test_the_command_line(cli, tmp_path):
    common = ("--data", "cifar10", "--model", "mlp", "--width", "0.02", "--local-steps", "1", "--batch-size", "4",
              "--rounds", "3", "--eval-every", "2", "--device", "cpu")
    for name, option in (("with", "--diagnose"), ("without", "--no-diagnose")):
        assert cli("train", *common, option, "--out", tmp_path / name)[0] == 0
    assert [line["round"] for line in record.read_diagnostics(tmp_path / "with")] == [2, 3]
    assert files(tmp_path / "without", (record.ROUNDS, record.MODEL)) == \
        files(tmp_path / "with", (record.ROUNDS, record.MODEL))
    assert ended(tmp_path / "without") == ended(tmp_path / "with")
    table = summary.mean_table([tmp_path / "with", tmp_path / "without"])
    assert len(table.splitlines()) == 3 and "diagnose" not in table       # two runs of the same

    out = interrupted(tmp_path / "stopped", 3, **RUN)
    code, _, errors = cli("train", "--device", "cpu", "--resume", out, "--no-diagnose")
    assert code == 2 and "--diagnose False differs from the run's True" in errors
    assert cli("train", "--device", "cpu", "--resume", out)[0] == 0
    assert [line["round"] for line in record.read_diagnostics(out)] == [2, 4, 6, 7]
