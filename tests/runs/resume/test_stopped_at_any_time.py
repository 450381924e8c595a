"""A run that was stopped, however and whenever, goes on to the same bits as one that was not."""

import itertools
import os
import random
import shutil
import signal
import sys
import threading
import time

import pytest

from resuming import FILES, KINDS, OFTEN, SMALL
from resuming import assert_readable, begin, go_on, in_child, interrupted
from resuming import same_files, times_of, to_the_end

from minifl.runs import record
from minifl.runs.run import Placement


# ---- any time

def signalled(make_lines, after, delays, signum):
    """In a child: do a run and send it signals, `delays` seconds after round `after`, 0: before the run."""
    def send():
        for delay in delays:
            time.sleep(delay)
            os.kill(os.getpid(), signum)

    def work():
        thread = threading.Thread(target=send, daemon=True)
        if after == 0:
            thread.start()
        for count, _ in enumerate(make_lines(), start=1):
            if count == after:
                thread.start()
    return in_child(work)


@pytest.mark.parametrize("kind", KINDS)
def test_stopped_in_every_way_and_resumed_it_is_the_same_to_the_bit(kind, tmp_path):
    chosen, chance = KINDS[kind], random.Random(kind)
    reference = to_the_end(tmp_path / "reference", **chosen)
    out, config = tmp_path / "run", None

    def lines():
        return begin(out, place, **chosen) if config is None else go_on(out, place)[0]

    for signum in (signal.SIGKILL, signal.SIGTERM, signal.SIGKILL, None, signal.SIGINT, signal.SIGKILL):
        place = Placement(workers=chance.choice((1, 2)), clients_per_call=chance.choice((None, 2, 5)),
                          checkpoint_every=chance.choice((1, 2, 3)))
        if signum is None:      # whoever goes through the rounds stops doing so
            if not record.read_end(out) or record.read_end(out)["status"] == "interrupted":
                rounds = lines()
                next(rounds)
                rounds.close()
            code = 0
        else:
            code = signalled(lines, chance.randrange(4), [chance.uniform(0, 0.01)], signum)
            assert code in (0, 128 + signum, -signum)
        assert_readable(out, reference)
        if code > 0:            # not one round is lost
            assert record.read_end(out)["status"] == "interrupted"
            assert record.read_end(out)["rounds_done"] == record.count_rounds(out)
        if (out / record.CONFIG).exists():
            config = config or (out / record.CONFIG).read_bytes()
        if record.count_rounds(out) == SMALL["rounds"]:
            break
    assert to_the_end(out, **chosen) == reference
    assert config in (None, (out / record.CONFIG).read_bytes())


@pytest.mark.parametrize("gap", [0, 0, 0.0001, 0.001, 0.01])
def test_ctrl_c_twice_ends_at_once_and_the_run_can_go_on(gap, tmp_path):
    place = Placement(workers=2, checkpoint_every=2)
    code = signalled(lambda: begin(tmp_path / "run", place, rounds=10**6), 5, [0, gap], signal.SIGINT)
    assert code in (-signal.SIGINT, 128 + signal.SIGINT)
    lines, _ = go_on(tmp_path / "run")
    assert next(lines)["round"] >= 5    # the checkpoint of round 4 or a newer one
    lines.close()


# ---- at every step

def die_at(n, folder):
    """Kill this process just before its n-th change below the folder: a file opened, moved or removed."""
    changes = itertools.count()

    def watch(event, arguments):
        if event == "open":
            if not arguments[2] & (os.O_WRONLY | os.O_RDWR):
                return
        elif event not in ("os.mkdir", "os.rename", "os.remove", "os.truncate"):
            return
        if str(arguments[0]).startswith(str(folder)) and next(changes) == n:
            os.kill(os.getpid(), signal.SIGKILL)
    sys.addaudithook(watch)


def deaths(tmp_path, work, prepare=lambda out: None):
    """Do `work` on a directory as often as it makes changes, kill it at each, and yield what it left."""
    for n in itertools.count():
        out = tmp_path / str(n)
        prepare(out)
        code = in_child(lambda: (die_at(n, out), work(out)))
        if code == 0:
            break
        assert code == -signal.SIGKILL
        yield out
    assert n > 5


EVERY_STEP = dict(algorithm="scaffold", rounds=3, eval_every=2, num_clients=3)


def torn(out):
    """A line of the record is cut off while it is written."""
    for name in (record.ROUNDS, record.TIMES):
        if (out / name).exists():
            with open(out / name, "a") as f:
                f.write('{"round": 1, "cli')


def assert_nothing_lost(out, reference):
    """The run, with a checkpoint after every round, ends as the reference; but one round is done again."""
    assert_readable(out, reference)
    before = record.count_rounds(out)
    assert to_the_end(out, **EVERY_STEP) == reference
    assert (times_of(out, "resumed_after") or [before])[-1] >= before - 1


def test_killed_at_every_step_of_a_run(tmp_path):
    reference = to_the_end(tmp_path / "reference", **EVERY_STEP)
    seen = set()
    for out in deaths(tmp_path, lambda out: list(begin(out, OFTEN, **EVERY_STEP))):
        seen |= {file.name.split(".")[0] or file.name.split(".")[1] for file in out.glob("*")}
        if (out / record.CONFIG).exists() and not (out / record.END).exists():
            torn(out)
        assert_nothing_lost(out, reference)
    assert {"config", "partition", "rounds", "times", "model", "end", "checkpoint-0000002"} <= seen


def test_killed_at_every_step_of_going_on_and_being_interrupted_again(tmp_path):
    """The newest checkpoint is damaged, so that a round is taken back."""
    def a_round_more(out):
        lines, _ = go_on(out, Placement(checkpoint_every=10))
        next(lines)
        lines.close()

    reference = to_the_end(tmp_path / "reference", **EVERY_STEP)
    stopped = interrupted(tmp_path / "stopped", 2, OFTEN, **EVERY_STEP)
    (stopped / "checkpoint-0000002").write_bytes(b"")
    for out in deaths(tmp_path, a_round_more, lambda out: shutil.copytree(stopped, out)):
        assert_nothing_lost(out, reference)


def test_killed_at_every_step_of_being_overwritten(tmp_path):
    reference = to_the_end(tmp_path / "reference", **EVERY_STEP)
    earlier = interrupted(tmp_path / "earlier", 2, OFTEN, **EVERY_STEP | {"seed": 5, "data_seed": 5})
    (earlier / "notes.txt").write_text("mine")
    for out in deaths(tmp_path, lambda out: begin(out, force=True, **EVERY_STEP),
                      lambda out: shutil.copytree(earlier, out)):
        assert record.read_config(out)["settings"]["seed"] in (0, 5)
        list(begin(out, force=True, **EVERY_STEP))
        assert {file.name for file in out.iterdir()} == FILES | {"notes.txt", "checkpoint-0000003"}
        assert same_files(out) == reference
    begin(earlier, force=True, **EVERY_STEP)
    assert not list(earlier.glob("checkpoint-*"))   # else the new run could go on from one
