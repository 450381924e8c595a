"""The model that a run starts from, where it is not drawn at random: `--init-from`.

It is a run's model.npz, or any npz that has the network's parameters by their names and in their shapes. Running
statistics of batch norm are taken where file and network have them; else they start as always, or are left out. So a run
may start from one with another method or norm, as long as the parameters are the same ones.

A copy is kept in the run directory. What is recorded, and compared, is the sha256 of names and arrays.
"""

import io
import os
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from minifl import reading
from minifl.data.dataset import content_hash
from minifl.errors import InputError
from minifl.models.network import Network
from minifl.runs import record
from minifl.runs.settings import Settings

LIMIT = 1 << 32     # bytes of all arrays of a file, unpacked; more is no network that is trained here
STATISTICS = (".mean", ".variance")     # how the names of running statistics end, and no parameter's


class Start(NamedTuple):
    """A model to start from."""
    file: str
    blocks: dict    # name -> float32 array (*shape)

    @property
    def sha256(self) -> str:
        """In hex, of names and arrays, in the order of the names."""
        return content_hash(*(part for name, block in sorted(self.blocks.items())
                              for part in (np.frombuffer(name.encode(), np.uint8), block)))

    def content(self) -> bytes:
        """The bytes of an npz of it."""
        out = io.BytesIO()
        np.savez(out, **self.blocks)
        return out.getvalue()


def read(path: str | Path, option: str = "--init-from") -> Any:
    """The Start in a run directory or an npz file; arrays of float64 or float16 become float32.

    Nothing is unpickled. What single clients have of their own (FedBN) is left out. Raises InputError for what cannot be
    read, arrays of other kinds than real numbers, and numbers that are not finite.
    """
    path = Path(path)
    file = path / record.MODEL if os.path.isdir(path) else path
    try:
        if os.path.isdir(path):
            record.check(path, record.MODEL)
        with reading.opened(file) as content:
            found = reading.arrays(content, LIMIT)
    except InputError:
        raise
    except Exception as error:  # numpy and zipfile raise many types for damaged files
        raise InputError(f"{option} {file}: cannot be read as a model ({getattr(error, 'strerror', None) or error}); needed "
                         f"is a run directory with its model, or an npz file of parameters by name.") from error
    blocks = {}
    for name, array in found.items():
        if name.startswith("clients/"):
            continue
        if not isinstance(array, np.ndarray) or array.dtype.kind != "f":
            raise InputError(f"{option} {file}: {name} is {getattr(array, 'dtype', 'no array')}; parameters are float32.")
        with np.errstate(over="ignore"):
            blocks[name] = np.ascontiguousarray(array, dtype=np.float32).reshape(array.shape)
        if not np.isfinite(blocks[name]).all():
            raise InputError(f"{option} {file}: {name} has numbers that are not finite in float32.")
    return Start(str(path), blocks)


def of_run(path: str | Path, settings: Settings) -> Start | None:
    """The Start of a run in its directory; None if it began at random."""
    return None if settings.init_from is None else read(Path(path) / record.START, "the run's start")


def vectors(start: Any, settings: Settings, model: Network) -> Any:
    """The first parameters (P,) and running statistics (S,), float32, of a run; start: None to draw them.

    Raises InputError as `check`.
    """
    check(start, settings, model)
    w, running = (spec.init(settings.seed).astype(np.float32)[None] for spec in (model.spec, model.statistics))
    for views in (model.spec.views(w), model.statistics.views(running)):
        for name in views.keys() & (start.blocks.keys() if start else ()):
            views[name][0] = start.blocks[name]
    return w[0], running[0]


def check(start: Any, settings: Settings, model: Network) -> None:
    """InputError unless `start` is the one that the settings ask for, and has all parameters of the network and no more."""
    if start is None and settings.init_from is None:
        return
    if start is None:
        raise InputError(f"--init-from: these settings start from a model with the sha256 {settings.init_from[:16]}, which "
                         f"must be named.")
    if start.sha256 != settings.init_from:
        raise InputError(f"--init-from {start.file}: its sha256 is {start.sha256[:16]}, and the run's start has "
                         f"{str(settings.init_from)[:16]}; it was changed, or is another model.")
    wanted = {entry.name: entry.shape for entry in model.spec.entries}
    found = {name for name in start.blocks if not name.endswith(STATISTICS)}
    statistics = {entry.name: entry.shape for entry in model.statistics.entries}
    problems = [f"it lacks {name} {shape}" for name, shape in wanted.items() if name not in found]
    problems += [f"{name} is of no layer" for name in sorted(found - wanted.keys())]
    problems += [f"{name} is {block.shape}, not {shape}" for name, block in start.blocks.items()
                 if (shape := (wanted | statistics).get(name)) not in (None, block.shape)]
    if problems:
        raise InputError(f"--init-from {start.file}: does not fit --model {settings.model} with these settings: "
                         f"{'; '.join(problems[:3])}{'; ...' * (len(problems) > 3)}.")
