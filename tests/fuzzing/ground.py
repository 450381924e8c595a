"""What the cases begin with: a small data set under several names, runs, archives; and processes with a time limit."""

import contextlib
import gzip
import io
import json
import os
import shutil
import signal
import struct
import sys
import tarfile
import time
import traceback
from pathlib import Path
from typing import NamedTuple

import numpy as np

from minifl.cli import main
from minifl.data import cifar, embedded, idx, registry
from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset

LIMIT = 120     # seconds; no case takes more than a few on an idle machine
SCRIPTS = Path(__file__).resolve().parents[2] / "data_scripts"
sys.path.insert(0, str(SCRIPTS))

TRAIN, TEST = 240, 80       # images of the small embedded set
SMALL = ("--data", "tiny", "--data-dir", "data", "--device", "cpu", "--workers", "1", "--model", "mlp", "--width", "0.02",
         "--batch-size", "4", "--local-steps", "1", "--setting", "iid", "--num-clients", "3", "--eval-every", "1",
         "--local-eval-every", "0")


class Ended(NamedTuple):
    code: int       # of the process; below 0: a signal; None: it was still there after LIMIT seconds
    out: str
    err: str


def in_process(call, folder):
    """What came of call() in a process of its own, in that folder."""
    with open(folder / ".out", "wb+") as out, open(folder / ".err", "wb+") as err:
        child = os.fork()
        if child == 0:
            code = 70
            try:
                os.setsid()
                os.chdir(folder)
                os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
                os.dup2(out.fileno(), 1)
                os.dup2(err.fileno(), 2)
                sys.stdout, sys.stderr = (open(number, "w", encoding="utf-8", closefd=False) for number in (1, 2))
                code = _code_of(call)
                sys.stdout.flush(), sys.stderr.flush()
            finally:
                os._exit(code)
        code = _waited_for(child)
        texts = []
        for file in (out, err):
            file.seek(0)
            texts.append(file.read().decode(errors="replace"))
    for name in (".out", ".err"):
        os.unlink(folder / name)
    return Ended(code, *texts)


def _code_of(call):
    try:
        call()
        return 0
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0 if end.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 70


def _waited_for(child):
    end, pause = time.monotonic() + LIMIT, 0.002
    while True:
        done, status = os.waitpid(child, os.WNOHANG)
        if done or time.monotonic() > end:
            break
        time.sleep(pause)
        pause = min(0.05, 1.2 * pause)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(child, signal.SIGKILL)        # also what it has started
    if not done:
        os.waitpid(child, 0)
        return None
    return os.waitstatus_to_exitcode(status)


def command(folder, *arguments):
    """What came of a command line in a folder."""
    return in_process(lambda: main([str(a) for a in arguments], prog_name="minifl"), folder)


def script(folder, name, *arguments):
    """What came of a script of data_scripts/."""
    def call():
        import importlib
        importlib.import_module(name).main([str(a) for a in arguments], prog_name=f"{name}.py")
    return in_process(call, folder)


def lay(folder):
    """Make the ground in a folder; what is embedded is small from here on, and drawn once."""
    folder.mkdir(parents=True)
    small = embedded.generate(0, TRAIN, TEST)
    made = make_dataset("embedded", small.x_train, small.y_train, small.x_test, small.y_test, embedded.CLASS_NAMES,
                        "a small embedded set", small.domain_train, small.domain_test, embedded.DOMAIN_NAMES)
    registry._embedded = lambda: made
    for name in ("tiny", "cifar10"):
        write_dataset(folder / "data" / f"{name}.npz", make_dataset(
            name, small.x_train, small.y_train, small.x_test, small.y_test, embedded.CLASS_NAMES, f"a small set, {name}",
            small.domain_train, small.domain_test, embedded.DOMAIN_NAMES))
    _done(command(folder, "train", *SMALL, "--rounds", 3, "--diagnose", "--norm", "bn", "--algorithm", "scaffold", "--out",
                  "finished", "--checkpoint-every", 1))
    _done(command(folder, "train", *SMALL, "--rounds", 3, "--diagnose", "--norm", "bn", "--algorithm", "scaffold", "--seed",
                  1, "--out", "other", "--checkpoint-every", 1))
    _stopped(folder)
    _done(command(folder, "partition", "--data", "tiny", "--data-dir", "data", "--setting", "iid", "--num-clients", 3,
                  "--csv", "table.csv"))
    (folder / "lists.json").write_text(json.dumps({"clients": [
        {"train": list(range(i, TRAIN, 3)), "test": list(range(i, TEST, 3))} for i in range(3)]}), encoding="utf-8")
    _done(command(folder, "train", *(part for part in SMALL if part not in ("--setting", "iid")), "--rounds", 2, "--norm",
                  "bn", "--partition", "lists.json", "--init-from", "finished", "--out", "listed"))
    (folder / "settings.json").write_text(json.dumps({"lr": 0.1, "norm": "fn", "seed": 3}), encoding="utf-8")
    (folder / "metadata.json").write_text(json.dumps({"users": [{"email": "ada@example.org"}]}), encoding="utf-8")
    _done(command(folder, "course", "carve", "hw1", "--out", "homework"))
    _idx(folder / "idx", small, gzip.compress, ".gz")
    _idx(folder / "idx-unpacked", small, lambda content: content, "")
    _cifar(folder, small)


def _stopped(folder):
    """A run of five rounds that was interrupted after three."""
    from minifl.runs.run import Placement, split, train
    from minifl.runs.settings import settings_for

    def call():
        dataset = registry.load("tiny", "data")
        settings = settings_for("tiny", dict(model="mlp", width=0.02, batch_size=4, local_steps=1, setting="iid",
                                             num_clients=3, eval_every=1, local_eval_every=0, rounds=5, diagnose=True,
                                             norm="bn", algorithm="scaffold"))
        lines = train(settings, dataset, split(settings, dataset), "stopped", Placement(checkpoint_every=1))
        for _ in range(3):
            next(lines)
        lines.close()
    _done(in_process(call, folder))


def _done(ended):
    assert ended.code == 0, ended


def _idx(folder, small, pack, suffix):
    folder.mkdir()
    grey = [x[:, 2:30, 2:30, 0].copy() for x in (small.x_train, small.x_test)]
    for name, array in zip(idx.FILES, (grey[0], small.y_train, grey[1], small.y_test)):
        content = bytes([0, 0, 8, array.ndim]) + struct.pack(f">{array.ndim}I", *array.shape) + \
            array.astype(np.uint8).tobytes()
        (folder / f"{name}{suffix}").write_bytes(pack(content))


def _cifar(folder, small):
    version, unpacked = cifar.CIFAR10, folder / "unpacked"
    unpacked.mkdir()
    records = np.concatenate([small.y_train[:, None].astype(np.uint8),
                              small.x_train.transpose(0, 3, 1, 2).reshape(TRAIN, -1)], axis=1)
    for i, name in enumerate((*version.train, version.test)):
        (unpacked / name).write_bytes(records[i * 20:(i + 1) * 20].tobytes())
    (unpacked / version.labels["fine"].names).write_text("\n".join(embedded.CLASS_NAMES), encoding="utf-8")
    with gzip.open(folder / "archive.tar.gz", "wb") as stream, tarfile.open(fileobj=stream, mode="w|") as tar:
        for file in sorted(unpacked.iterdir()):
            info, content = tarfile.TarInfo(f"{version.folder}/{file.name}"), file.read_bytes()
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))


def copied(ground, folder):
    """A copy of the ground in a new folder."""
    shutil.rmtree(folder, ignore_errors=True)
    shutil.copytree(ground, folder)
    return folder
