"""A run directory: what was run, one line per round, the model; written so that nothing is lost or half-written.

    config.json    settings, command, versions, commit, device and precision, hashes of data and partition
    partition.csv  the table of label counts
    rounds.jsonl   one JSON object per round, flushed as it happens
    model.npz      parameters and running statistics by name (statistics.py), replaced at every evaluation
    end.json       how it ended: status finished, interrupted, diverged or failed, with the last evaluation
    times.jsonl    what may differ between two runs of the same config: the seconds of each round, and an object for
                   each time that the run was resumed
    diagnostics.jsonl  only with --diagnose: a JSON object for each evaluation (diagnostics.py)
    checkpoint-*   see checkpoint.py; a finished run has none

One process at a time writes a run directory (`locked`); reading is always possible.
"""

import contextlib
import json
import os
import platform
import shlex
import subprocess
import sys
import tempfile
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import scipy

import minifl
from minifl.atomic import replacing
from minifl.data.table import write_csv
from minifl.errors import InputError
from minifl.fl import checkpoint

try:
    import fcntl
except ImportError:     # Windows: directories are not locked there
    fcntl = None

CONFIG, PARTITION, ROUNDS, TIMES, MODEL, END, DIAGNOSTICS = (
    "config.json", "partition.csv", "rounds.jsonl", "times.jsonl", "model.npz", "end.json", "diagnostics.jsonl")
COMPLETE = ("finished", "diverged")     # how a run ended of which nothing is left to do


def new_folder(folder, stem):
    """Make folder/stem, or the first of folder/stem-2, stem-3, ... that does not exist: nobody else can get it."""
    path, number = Path(folder) / stem, 2
    while True:
        try:
            path.mkdir(parents=True)
            return path
        except FileExistsError as error:
            if not Path(folder).is_dir():
                raise InputError(f"{folder} is not a folder; name another one with --out.") from error
            path, number = Path(folder) / f"{stem}-{number}", number + 1
        except OSError as error:
            raise InputError(f"{path} cannot be made: {error.strerror}; name a folder with --out.") from error


def check_folder(folder):
    """Make the folder of many runs, if it does not exist; InputError if runs cannot be put there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError as error:
        raise InputError(f"--out {folder} exists and is not a folder; name another one.") from error
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror}; name another folder.") from error


@contextlib.contextmanager
def locked(path):
    """Hold the run directory `path`, made if it does not exist, for this process alone.

    The lock is the system's: it ends with the process, however that ends. Raises InputError if another process
    holds it, or if the directory cannot be made.
    """
    path = Path(path)
    try:
        if path.exists() and not path.is_dir():
            raise InputError(f"--out {path} exists and is not a run directory; choose another name.")
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise InputError(f"--out {path} cannot be written: {error.strerror}.") from error
    try:
        if fcntl:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{path} is being written by another process; wait for it, or choose another "
                                 f"name with --out.") from None
            except OSError:     # a file system without locks
                pass
        yield path
    finally:
        if handle is not None:
            os.close(handle)


def create(path, config, counts, class_names, *, force=False):
    """Begin a run in the directory `path`, which is locked: write its config and its table of label counts (K, C).

    Raises InputError if it holds a run and force is not set, if it holds something else, and if it cannot be
    written. With force the earlier run's own files are removed, nothing else.
    """
    path = Path(path)
    try:
        if _is_run(path):
            if not force:
                raise InputError(f"--out {path} holds a run already; go on with it by --resume, overwrite it with "
                                 f"--force, or choose another name.")
            checkpoint.remove(path)
            for name in (END, MODEL, ROUNDS, TIMES, DIAGNOSTICS):   # the config stays until it is replaced: it is a run
                (path / name).unlink(missing_ok=True)
        elif not _is_free(path):
            raise InputError(f"--out {path} exists and is not a run directory; choose another name.")
        _remove_temporary(path)
        (path / ROUNDS).touch()
        write_csv(path / PARTITION, counts, class_names)
        _write_json(path / CONFIG, config)      # last: what has it can be resumed
    except OSError as error:
        raise InputError(f"--out {path} cannot be written: {error.strerror}.") from error


def append(path, record, seconds):
    """Add one round's record, and how long it took, to the run."""
    _append(Path(path) / ROUNDS, record)
    _append(Path(path) / TIMES, {"round": record["round"], "seconds": seconds})


def append_diagnostics(path, found):
    """Add what was seen at an evaluation (diagnostics.py) to the run, before the round itself is in the record."""
    _append(Path(path) / DIAGNOSTICS, found)


def cut(path, rounds, device, precision="fp32"):
    """Leave only the first `rounds` rounds in the record, and note that the run is resumed after them."""
    path = Path(path)
    _remove_temporary(path)
    lines = _read_lines(path / ROUNDS, missing_ok=True)[:rounds]
    times = [line for line in _read_lines(path / TIMES, missing_ok=True) if line.get("round", 0) <= rounds]
    _write_lines(path / ROUNDS, lines)
    _write_lines(path / TIMES, times)
    if (path / DIAGNOSTICS).exists():
        _write_lines(path / DIAGNOSTICS, [line for line in read_diagnostics(path) if line.get("round", 0) <= rounds])
    _append(path / TIMES, {"resumed_after": rounds, **environment(device, precision)})
    (path / END).unlink(missing_ok=True)
    return lines


def read_seconds(path):
    """Seconds of each round of a run, as far as they are known."""
    return [line["seconds"] for line in _read_lines(Path(path) / TIMES, missing_ok=True) if "seconds" in line]


def read_end(path):
    """How a run ended, the content of its end.json; None if it has not ended, or did not get to say so."""
    file = Path(path) / END
    try:
        end = json.loads(file.read_text())
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {error}.") from error
    if not isinstance(end, dict) or not {"status", "message", "rounds_done", "last_evaluation"} <= end.keys():
        raise InputError(f"{file} does not say how the run ended.")
    return end


def save_model(path, blocks):
    """Write the arrays of a model, by name."""
    with replacing(Path(path) / MODEL) as f:
        np.savez(f, **blocks)


def finish(path, status, message, rounds_done, last_evaluation):
    """Write how the run ended."""
    _write_json(Path(path) / END, {"status": status, "message": message, "rounds_done": rounds_done,
                                   "last_evaluation": last_evaluation})


def read_config(path):
    """The config of a run directory; InputError if it is none."""
    try:
        config = json.loads((Path(path) / CONFIG).read_text())
    except OSError as error:
        raise InputError(f"{path} is not a run directory: its {CONFIG} cannot be read "
                         f"({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"{Path(path) / CONFIG} is damaged: {error}.") from error
    parts = ("settings", "partition", "data")
    if not isinstance(config, dict) or not all(isinstance(config.get(part), dict) for part in parts):
        raise InputError(f"{Path(path) / CONFIG} is not the config of a run; it must hold {', '.join(parts)}.")
    return config


def read_rounds(path):
    """The records of a run, in order. A last line cut short by a crash is left out; InputError for other damage."""
    return _read_lines(Path(path) / ROUNDS)


def read_diagnostics(path):
    """What a run with --diagnose saw at each evaluation, in order; InputError if there is nothing or it is damaged."""
    file = Path(path) / DIAGNOSTICS
    if not file.exists():
        raise InputError(f"{file} does not exist: the run has no diagnostics; train gives them with --diagnose.")
    return _read_lines(file)


def count_rounds(path):
    """How many rounds the record of a run holds; 0 if it was stopped before it had one."""
    return len(_read_lines(Path(path) / ROUNDS, missing_ok=True))


def load_model(path, expected):
    """The saved model of a run, name -> array; InputError if the file is missing, damaged or not of these shapes.

    expected  name -> shape
    """
    file = Path(path) / MODEL
    try:
        with np.load(file, allow_pickle=False) as saved:
            found = {name: saved[name] for name in saved.files}
    except FileNotFoundError:
        raise InputError(f"{file} does not exist: the run ended before its first evaluation, or only its record "
                         f"was kept.") from None
    except Exception as error:  # numpy and zipfile raise many types for damaged files
        raise InputError(f"{file} cannot be read: {error}.") from error
    if {name: array.shape for name, array in found.items()} != expected or \
            any(array.dtype.kind != "f" for array in found.values()):
        raise InputError(f"{file} holds other parameters than the network in {CONFIG}; one of them was changed.")
    return found


def environment(device, precision="fp32"):
    """Where and by what a run was made."""
    return {
        "command": shlex.join(["python", *_program(), *sys.argv[1:]]),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": {"minifl": minifl.__version__, "python": platform.python_version(),
                     "numpy": np.__version__, "scipy": scipy.__version__},
        "commit": _commit(),
        "device": device,
        "precision": precision,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }


def _append(file, value):
    try:
        with open(file, "a") as f:
            f.write(json.dumps(value) + "\n")
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from error


def _write_lines(file, values):
    with replacing(file) as f:
        f.write("".join(json.dumps(value) + "\n" for value in values).encode())


def _read_lines(file, missing_ok=False):
    try:
        lines = file.read_bytes().split(b"\n")
    except FileNotFoundError if missing_ok else ():
        return []
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    try:
        return [json.loads(line) for line in lines[:-1]]   # what follows the last newline is empty or cut short
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}.") from error


def _remove_temporary(path):
    """Remove what a killed process left of files that it was writing (atomic.py)."""
    for file in _temporary(path):
        file.unlink(missing_ok=True)


def _temporary(path):
    names = (CONFIG, PARTITION, ROUNDS, TIMES, MODEL, END, DIAGNOSTICS, "checkpoint-*")
    return [file for name in names for file in path.glob(f".{name}.*.tmp")]


def _is_run(path):
    try:
        read_config(path)
    except InputError:
        return False
    return True


def _is_free(path):
    """Whether the directory is empty, or holds only what `create` writes before the config, an empty ROUNDS first."""
    found = {file.name for file in path.iterdir()} - {file.name for file in _temporary(path)}
    return not found or (ROUNDS in found <= {ROUNDS, PARTITION} and not (path / ROUNDS).stat().st_size)


def _program():
    name = Path(sys.argv[0]).name
    return ["-m", "minifl"] if name == "__main__.py" else [name]


def _commit():
    """The commit of minifl's own checkout, with + if the tree was changed; None outside a checkout."""
    root = Path(minifl.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, text=True, check=True)
        changed = subprocess.run([*git, "status", "--porcelain", "--", "minifl"], capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit.stdout.strip() + ("+" if changed.stdout.strip() else "")


def _write_json(path, value):
    with replacing(path) as f:
        f.write((json.dumps(value, indent=1) + "\n").encode())
