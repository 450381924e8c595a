"""Small runs that are stopped and gone on with, shared by the tests of it."""

import json
import os
import signal
import time
import traceback
from pathlib import Path

import pytest

from minifl.data.registry import load
from minifl.errors import InputError
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.parallel import Interrupted
from minifl.runs import checkpoint, record
from minifl.runs.resuming import resume
from minifl.runs.run import Placement, reopen, split, train
from minifl.runs.settings import settings_for

CLI = Path(__file__).resolve().parents[3] / "cli.py"
SMALL = dict(model="mlp", width=0.02, norm="fn", rounds=12, local_steps=2, batch_size=4, lr=0.05,
             eval_every=3, setting="dirichlet", dirichlet_alpha=1.0, min_size=1, num_clients=5,
             participation=0.6)
SAME = (record.PARTITION, record.ROUNDS, record.MODEL, record.END)
OFTEN = Placement(checkpoint_every=1)
FILES = {*SAME, record.CONFIG, record.TIMES}
KINDS = {name: {"algorithm": name} for name in ALGORITHMS} | {
    "scaffold-I": dict(algorithm="scaffold", scaffold_option="I", momentum=0.5, lr_schedule="cosine"),
    "scaffold-dropouts": dict(algorithm="scaffold", dropout_rate=0.6, local_steps=None, local_epochs=1),
    "fedadam-everyone": dict(algorithm="fedadam", participation=1.0, weight_decay=0.01, norm="none",
                             lr_schedule="step", lr_step_rounds=4),
    "bn-global": dict(norm="bn", norm_affine="learnable"),
    "bn-local": dict(norm="bn", norm_affine="learnable", bn_stats="local", algorithm="scaffold"),
    "bn-batch": dict(norm="bn", bn_stats="batch"),
    "fedavgm-one": dict(algorithm="fedavgm", participation=None, clients_per_round=1, dropout_rate=0.5),
}


def begin(out, place=Placement(), *, force=False, **chosen):
    settings = settings_for("cifar10", SMALL | chosen)
    data = load("cifar10")
    return train(settings, data, split(settings, data), out, place, force=force)


def go_on(out, place=Placement()):
    return resume(out, *reopen(out), place)


def to_the_end(out, **chosen):
    """Begin the run or go on with it, whichever it takes, until it has finished; the bytes of its files."""
    if not (out / record.CONFIG).exists():
        list(begin(out, **chosen))
    elif (record.read_end(out) or {}).get("status") == "finished":
        with pytest.raises(InputError, match="has finished after round .* nothing to resume"):
            go_on(out)
    else:
        list(go_on(out)[0])
    last, = checkpoint.files(out)
    assert {file.name for file in out.iterdir()} == FILES | {last.name}
    assert last.name == f"checkpoint-{record.count_rounds(out):07d}"
    assert times_of(out, "round") == list(range(1, record.count_rounds(out) + 1))
    return same_files(out)


def same_files(out):
    return {name: (out / name).read_bytes() for name in SAME}


def times_of(out, what):
    """The values of that name in what TIMES says of rounds and resumptions."""
    lines = [json.loads(line) for line in (out / record.TIMES).read_text(encoding="utf-8").splitlines()]
    return [line[what] for line in lines if what in line]


def interrupted(out, done, place=Placement(), **chosen):
    """Do so many rounds of a run and stop."""
    lines = begin(out, place, **chosen)
    for _ in range(done):
        next(lines)
    lines.close()
    return out


def assert_readable(out, reference):
    """What is in the directory is whole, and as far as the rounds go they are those of the reference."""
    if (out / record.CONFIG).exists():
        record.read_config(out)
        expected = [json.loads(line) for line in reference[record.ROUNDS].splitlines()]
        assert all(line.pop("seal") for line in expected)
        lines = record.read_rounds(out)
        assert lines == expected[:len(lines)]
        end = record.read_end(out)
        if end and end["status"] == "interrupted":
            tested = [line for line in expected[:end["rounds_done"]] if "accuracy" in line]
            assert end["last_evaluation"] == (tested[-1] if tested else None)
        reopen(out)


def in_child(work):
    """Do `work` in a process of its own: its exit code, negative if a signal ended it at once."""
    child = os.fork()
    if child == 0:
        code = 1
        try:
            signal.signal(signal.SIGINT, signal.SIG_DFL)    # no KeyboardInterrupt in what pytest does
            work()
            code = 0
        except Interrupted as interrupt:
            code = 128 + interrupt.signum
        except BaseException:
            traceback.print_exc()
        finally:
            os._exit(code)
    give_up = time.monotonic() + 120
    while True:
        pid, status = os.waitpid(child, os.WNOHANG)
        if pid:
            return os.waitstatus_to_exitcode(status)
        if time.monotonic() > give_up:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
            raise AssertionError("the process does not end")
        time.sleep(0.002)
