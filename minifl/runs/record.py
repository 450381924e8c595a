"""A run directory: what was run, one line per round, the model; written so that nothing is lost or half-written.

    config.json    settings, command, versions, commit, device and precision, hashes of data and partition
    partition.csv  the table of label counts
    partition.json only where the partition was given as lists of examples (minifl/data/lists.py): these
    rounds.jsonl   one JSON object per round, flushed as it happens
    model.npz      parameters and running statistics by name (statistics.py), replaced at every evaluation
    end.json       how it ended: status finished, interrupted, diverged or failed, with the last evaluation
    times.jsonl    what may differ between two runs of the same config: the seconds of each round, and an object for
                   each time that the run was resumed
    diagnostics.jsonl  only with --diagnose: a JSON object for each evaluation (diagnostics.py)
    checkpoint-*   see checkpoint.py; a finished run keeps the last

All but the table and the arrays are sealed (seals.py), and end.json has the sha256 of those, of rounds.jsonl and
diagnostics.jsonl, and of what decides the bits in config.json (`origin`). Whatever reads a file here looks at its seals.
One process at a time writes a run directory (locking.py); reading is always possible.
"""

import hashlib
import io
import json
import os
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minifl import reading
from minifl.atomic import replacing, write
from minifl.backend import Array
from minifl.data.table import write_csv
from minifl.errors import InputError
from minifl.runs import checkpoint, seals
from minifl.runs.provenance import environment

NAMES = CONFIG, PARTITION, ROUNDS, TIMES, MODEL, END, DIAGNOSTICS = (
    "config.json", "partition.csv", "rounds.jsonl", "times.jsonl", "model.npz", "end.json", "diagnostics.jsonl")
GIVEN = LISTS, START = "partition.json", "start.npz"    # of some runs; their sha256 are in config.json
ENDED_WITH = (PARTITION, ROUNDS, DIAGNOSTICS, MODEL)    # whose sha256 is in end.json
LARGEST = dict.fromkeys((PARTITION, ROUNDS, DIAGNOSTICS), reading.LARGEST) | {MODEL: 1 << 36}    # bytes
COMPLETE = ("finished", "diverged")     # how a run ended of which nothing is left to do


def new_folder(folder: str | Path, stem: str) -> Path:
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


def check_folder(folder: str | Path) -> None:
    """Make the folder of many runs, if it does not exist; InputError if runs cannot be put there."""
    try:
        Path(folder).mkdir(parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=folder).close()
    except FileExistsError as error:
        raise InputError(f"--out {folder} exists and is not a folder; name another one.") from error
    except OSError as error:
        raise InputError(f"--out {folder} cannot be written: {error.strerror}; name another folder.") from error


def create(path: str | Path, config: dict, counts: Array, class_names: Sequence[str], *, force: bool = False,
           given: Any = None) -> None:
    """Begin a run in the directory `path`, which is locked: write its config and its table of label counts (K, C).

    given  name -> bytes, of the files in GIVEN that the run has
    Raises InputError if it holds a run and force is not set, if it holds something else, and if it cannot be
    written. With force the earlier run's own files are removed, nothing else.
    """
    path = Path(path)
    try:
        if _is_run(path):
            if not force:
                raise InputError(f"--out {path} holds a run already; go on with it by --resume, overwrite it with "
                                 f"--force, or choose another name.")
            check_files(path)
            (path / END).unlink(missing_ok=True)        # first: it seals the others
            checkpoint.remove(path)
            # the config stays until it is replaced: it is a run
            for name in (MODEL, ROUNDS, TIMES, DIAGNOSTICS, *GIVEN):
                (path / name).unlink(missing_ok=True)
        elif not _is_free(path):
            raise InputError(f"--out {path} exists and is not a run directory; choose another name.")
        _remove_temporary(path)
        (path / ROUNDS).touch()
        write_csv(path / PARTITION, counts, class_names)
        for name, content in (given or {}).items():
            write(path / name, content)
        write_config(path, config)      # last: what has it can be resumed
    except OSError as error:
        raise InputError(f"--out {path} cannot be written: {error.strerror}.") from error


def write_config(path: str | Path, config: dict) -> None:
    """Write the config of the run directory `path`, sealed."""
    _write_json(Path(path) / CONFIG, seals.seal(config))


def append(path: str | Path, record: dict, seconds: float) -> None:
    """Add one round's record, and how long it took, to the run."""
    _append(Path(path) / ROUNDS, record)
    _append(Path(path) / TIMES, {"round": record["round"], "seconds": seconds})


def append_diagnostics(path: str | Path, found: dict) -> None:
    """Add what was seen at an evaluation (diagnostics.py) to the run, before the round itself is in the record."""
    _append(Path(path) / DIAGNOSTICS, found)


def cut(path: str | Path, rounds: int, device: str, precision: str = "fp32") -> list[dict]:
    """Leave only the first `rounds` rounds in the record, and note that the run is resumed after them."""
    path = Path(path)
    check_files(path)
    lines, times = _lines(path, ROUNDS, missing_ok=True)[:rounds], _lines(path, TIMES, missing_ok=True)
    diagnostics = _lines(path, DIAGNOSTICS, missing_ok=True)
    reopen_end(path)        # before the files that it seals are changed
    _remove_temporary(path)
    seals.write(path / ROUNDS, lines)
    seals.write(path / TIMES, [line for line in times if line.get("round", 0) <= rounds])
    if os.path.lexists(path / DIAGNOSTICS):
        seals.write(path / DIAGNOSTICS, [line for line in diagnostics if line.get("round", 0) <= rounds])
    _append(path / TIMES, {"resumed_after": rounds, **environment(device, precision)})
    return lines


def check_files(path: str | Path) -> None:
    """InputError if a name of the run directory is taken by a folder, pipe or device: before rounds are done in vain."""
    for file in (*(Path(path) / name for name in (*NAMES, *GIVEN)), *checkpoint.files(path)):
        try:
            reading.check_regular(file)
        except FileNotFoundError:
            pass
        except OSError as error:
            raise InputError(f"{file} is in the way of the run's own file of that name: {error.strerror}; remove "
                             "it.") from error


def read_seconds(path: str | Path) -> list:
    """Seconds of each round of a run, as far as they are known."""
    return [line["seconds"] for line in _lines(path, TIMES, missing_ok=True) if "seconds" in line]


def read_end(path: str | Path) -> dict | None:
    """How a run ended, the content of its end.json; None if it has not ended, or did not get to say so."""
    file = Path(path) / END
    try:
        end = reading.json_file(file)
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, ValueError) as error:
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if not isinstance(end, dict) or not {"status", "message", "rounds_done", "last_evaluation"} <= end.keys() or \
            not isinstance(_sums(end), dict):
        raise InputError(f"{file} does not say how the run ended.")
    end, has_seal, fits = seals.opened(end)
    if not fits and (has_seal or _is_sealed(path)):
        raise InputError(f"{file} is damaged: it was changed after the run ended, and its seal does not fit. Without it "
                         f"--resume writes it anew.")
    return end


def reopen_end(path: str | Path) -> None:
    """The run goes on: it has not ended any more."""
    (Path(path) / END).unlink(missing_ok=True)


def save_model(path: str | Path, blocks: dict[str, Array]) -> None:
    """Write the arrays of a model, by name."""
    with replacing(Path(path) / MODEL) as f:
        np.savez(f, **blocks)


def finish(path: str | Path, status: str, message: str, rounds_done: int, last_evaluation: dict) -> None:
    """Write how the run ended, and the seals of its files as they are then."""
    path = Path(path)
    sums = {CONFIG: seals.digest(origin(read_config(path)))}
    sums |= {name: _sum(reading.whole(path / name, LARGEST[name])) for name in ENDED_WITH if os.path.lexists(path / name)}
    _write_json(path / END, seals.seal({"status": status, "message": message, "rounds_done": rounds_done,
                                        "last_evaluation": last_evaluation, "sha256": sums}))


def read_config(path: str | Path) -> dict:
    """The config of a run directory; InputError if it is none, or was changed since the run began."""
    config, has_seal, fits = seals.opened(_parsed_config(path))
    decides = origin(config)
    if has_seal and not fits or _sums(read_end(path)).get(CONFIG) not in (None, seals.digest(decides)):
        changed = checkpoint.difference(path, decides)
        raise InputError(f"{Path(path) / CONFIG} was changed after the run began; "
                         f"{changed or 'its seal does not fit'}. Put back what was there, or begin a new run with it by "
                         f"--config (more rounds: --resume {path} --rounds N).")
    return config


def _parsed_config(path):
    file = Path(path) / CONFIG
    try:
        config = reading.json_file(file)
    except OSError as error:
        raise InputError(f"{path} is not a run directory: its {CONFIG} cannot be read "
                         f"({error.strerror}).") from error
    except ValueError as error:
        raise InputError(f"{file} is damaged: {error}.") from error
    parts = ("settings", "partition", "data")
    if not isinstance(config, dict) or not all(isinstance(config.get(part), dict) for part in parts):
        raise InputError(f"{file} is not the config of a run; it must hold {', '.join(parts)}.")
    own = config.get("own", {})
    if not isinstance(own, dict) or not all(isinstance(entry, dict) and all(isinstance(entry.get(part), str) for part in (
            "text", "name", "sha256")) for entry in own.values()):
        raise InputError(f"{file} was changed or is damaged: own is not what a run writes.")
    return config


def origin(config: dict) -> dict:
    """Of a config, what decides the bits of its run: name -> value."""
    return {**{f"--{name.replace('_', '-')}": value for name, value in config["settings"].items()},
            "--precision": config.get("precision", "fp32"), "the partition's sha256": config["partition"].get("sha256"),
            "the data's sha256": config["data"].get("sha256"),
            **{f"the sha256 of the file of --{name}": entry["sha256"] for name, entry in config.get("own", {}).items()}}


def check(path: str | Path, *names: Any) -> None:
    """InputError if one of these files of a run is another one than that with which it ended. None needs to be there."""
    for name in names:
        try:
            _content(path, name)
        except FileNotFoundError:
            continue
        except OSError as error:
            raise InputError(f"{Path(path) / name} cannot be read: {error.strerror}.") from error


def read_rounds(path: str | Path) -> list[dict]:
    """The records of a run, in order. A last line cut short by a crash is left out; InputError for other damage."""
    return _lines(path, ROUNDS, ended=True)


def read_diagnostics(path: str | Path) -> list:
    """What a run with --diagnose saw at each evaluation, in order; InputError if there is nothing or it is damaged."""
    file = Path(path) / DIAGNOSTICS
    if not os.path.lexists(file):
        lost = DIAGNOSTICS in _sums(read_end(path))
        raise InputError(f"{file} does not exist" + (", and was there when the run ended." if lost else
                         ": the run has no diagnostics; train gives them with --diagnose."))
    return _lines(path, DIAGNOSTICS, ended=True)


def count_rounds(path: str | Path) -> int:
    """How many rounds the record of a run holds; 0 if it was stopped before it had one."""
    return len(_lines(path, ROUNDS, missing_ok=True))


def count_whole_rounds(path: str | Path) -> int:
    """How many rounds of a run lack nothing: those before the first test whose diagnostics are lost."""
    lines, diagnose = _lines(path, ROUNDS, missing_ok=True), _parsed_config(path)["settings"].get("diagnose")
    seen = {line.get("round") for line in _lines(path, DIAGNOSTICS, missing_ok=True)}
    return next((i for i, line in enumerate(lines) if diagnose and "accuracy" in line and line["round"] not in seen),
                len(lines))


def line_seals(path: str | Path) -> list[str]:
    """The seals of the lines of rounds.jsonl, in order (seals.py)."""
    try:
        return seals.of_lines(reading.whole(Path(path) / ROUNDS))
    except FileNotFoundError:
        return []


def load_model(path: str | Path, expected: dict) -> dict[str, Array]:
    """The saved model of a run, name -> array; InputError if the file is missing, damaged or not of these shapes.

    expected  name -> shape
    """
    file = Path(path) / MODEL
    try:
        found = reading.arrays(io.BytesIO(_content(path, MODEL)))
    except FileNotFoundError:
        raise InputError(f"{file} does not exist: the run ended before its first evaluation, or only its record "
                         f"was kept.") from None
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise many types for damaged files
        raise InputError(f"{file} cannot be read: {getattr(error, 'strerror', None) or error}.") from error
    if {name: array.shape for name, array in found.items()} != expected or \
            any(array.dtype.kind != "f" for array in found.values()):
        raise InputError(f"{file} holds other parameters than the network in {CONFIG}; one of them was changed.")
    return found


def _append(file, value):
    try:
        seals.append(file, value)
    except OSError as error:
        raise InputError(f"{file} cannot be written: {error.strerror}.") from error


def _lines(path, name, *, missing_ok=False, ended=False):
    """The sealed lines of a file of the run; ended: if the run has ended, it has to be the file with which it did."""
    file = Path(path) / name
    try:
        content = reading.whole(file)
    except FileNotFoundError if missing_ok else ():     # noqa: B030 - or none
        return []
    except OSError as error:
        raise InputError(f"{file} cannot be read: {error.strerror}.") from error
    lines = seals.read(file, content, _is_sealed(path))     # first: it can name the line
    if ended:
        _content(path, name)
    return lines


def _content(path, name):
    """The bytes of a file of the run; InputError if it has ended with other ones. Raises OSError."""
    path = Path(path)
    while True:
        end = read_end(path)        # first: what is written before it is then there
        content = reading.whole(path / name, LARGEST[name])
        if _sums(end).get(name) in (None, _sum(content)):
            return content
        if read_end(path) == end:       # else somebody went on with the run meanwhile
            raise InputError(f"{path / name} is damaged: it is not the file with which the run ended; its sha256 is not "
                             f"the one in {END}.")


def _sums(end):
    """name -> sha256, of what end.json says; of a run from before there were seals, or that has not ended, nothing."""
    return (end or {}).get("sha256", {})


def _sum(content):
    return hashlib.sha256(content).hexdigest()


def _is_sealed(path):
    """Whether the run was begun after there were seals."""
    try:
        return "seal" in reading.json_file(Path(path) / CONFIG)
    except (OSError, ValueError, TypeError):
        return False


def _remove_temporary(path):
    """Remove what a killed process left of files that it was writing (atomic.py)."""
    for file in _temporary(path):
        file.unlink(missing_ok=True)


def _temporary(path):
    return [file for name in (*NAMES, *GIVEN, "checkpoint-*") for file in path.glob(f".{name}.*.tmp")]


def _is_run(path):
    try:
        _parsed_config(path)
    except InputError:
        return False
    return True


def _is_free(path):
    """Whether the directory is empty, or holds only what `create` writes before the config, an empty ROUNDS first."""
    found = {file.name for file in path.iterdir()} - {file.name for file in _temporary(path)}
    return not found or (ROUNDS in found <= {ROUNDS, PARTITION, *GIVEN} and not (path / ROUNDS).stat().st_size)


def _write_json(path, value):
    write(path, (json.dumps(value, indent=1) + "\n").encode())
