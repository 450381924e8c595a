"""Sweeps: a grid of runs, each a process of its own with one thread, as many at a time as the machine has cores.

A run is `python -m minifl train` with its settings written out, so that its record names the command that made it,
and a run that fails or is killed takes no other with it. A sweep can be stopped and given again: runs that are
complete are skipped, others resumed.
"""

import contextlib
import itertools
import math
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

from minifl import own, reading
from minifl.data.known import DEFAULTS, OTHERS
from minifl.errors import InputError
from minifl.processes import environment
from minifl.runs import record
from minifl.runs.recorded import settings_in
from minifl.runs.settings import GIVEN, Settings, belongs, choices, merge, settings_for

ALWAYS_NAMED = ("algorithm", "norm", "setting")   # parts of a run's name, with what else varies, and the seed
MOST_RUNS = 10_000                                # more are a slip of the keyboard: checking them takes minutes
POLL = 0.2                                        # seconds between looks at the processes


class Run(NamedTuple):
    """One point of the grid."""
    path: Path
    chosen: dict         # what its command says: name -> value
    settings: Settings
    status: str          # new, begun, or as in end.json


def grid(data: Any, several: dict, out: str | Path, from_file: dict | None = None, *,
         data_named: bool = False) -> list:
    """The runs on a data set for every combination of the values of each setting, seed fastest.

    several     name -> list of values
    from_file   name -> value, the settings of a file: each combination goes before it as the command line of `train` does
    data_named  whether the name of the data set is in the run's
    What belongs to a value of another setting is left out elsewhere (--mu without fedprox). Raises InputError for
    invalid settings, for a combination that comes twice, for a run directory that holds other settings, and for more
    than MOST_RUNS combinations.
    """
    count = math.prod(map(len, several.values()))
    if count > MOST_RUNS:
        sizes = " x ".join(f"{len(values):,} of --{name.replace('_', '-')}" for name, values in several.items()
                           if len(values) > 1)
        raise InputError(f"the sweep has {count:,} combinations ({sizes}); at most {MOST_RUNS:,} are valid.")
    names = sorted(several, key=lambda name: name == "seed")
    varied = [name for name in names if len(several[name]) > 1 and name not in (*ALWAYS_NAMED, "seed")]
    runs, seen = {}, set()
    for values in itertools.product(*(several[name] for name in names)):
        chosen = merge(from_file or {}, dict(zip(names, values)))
        left_out = {name for name in chosen if not _fits(name, data, chosen)}
        chosen = {name: value for name, value in chosen.items() if name not in left_out}
        settings = settings_for(data, chosen)
        if settings in seen:
            if any(len(several.get(belongs()[name][0], ())) > 1 for name in left_out):   # they make no difference here
                continue
            raise InputError(f"the sweep has a combination twice: {_shown(chosen)}.")
        seen.add(settings)
        parts = [own.label(data)] * data_named + [own.label(getattr(settings, name)) for name in ALWAYS_NAMED]
        parts += [f"{name.replace('_', '-')}{own.label(getattr(settings, name))}" for name in varied if name in chosen]
        path = Path(out) / "-".join(map(str, [*parts, f"seed{settings.seed}"]))
        if path in runs:
            raise InputError(f"the sweep has two runs of the name {path.name}; give one of your own things another name.")
        runs[path] = Run(path, {"data": data, **chosen}, settings, _status(path, settings))
    return list(runs.values())


def perform(runs: list[Run], jobs: int, options: Sequence[str], *,
            check: Callable[[], None] = lambda: None) -> Iterator[tuple]:
    """Do the runs that are not complete, `jobs` at a time, and yield what happens.

    options  arguments that every process gets, e.g. ["--workers", "1"]
    check    called between two looks at the processes; if it raises, they are stopped, to be resumed later
    yields   (run, event, detail): started and the rounds that its record has; round and those that it then has; ended
             and None or what went wrong
    """
    waiting = [run for run in runs if run.status not in record.COMPLETE]
    active = []
    try:
        while waiting or active:
            while waiting and len(active) < jobs:
                process = _Process(waiting.pop(0), options)
                active.append(process)
                yield process.run, "started", process.rounds
            time.sleep(POLL)
            check()
            for process in list(active):
                ended = process.popen.poll() is not None
                if process.has_new_rounds():
                    yield process.run, "round", process.rounds
                if ended:
                    active.remove(process)
                    yield process.run, "ended", process.error()
    finally:
        for process in active:
            process.popen.terminate()
        for process in active:
            process.popen.wait()


class _Process:
    """A process that does one run, in a session of its own: Ctrl-C reaches it through the sweep only, once."""

    def __init__(self, run, options):
        self.run = run
        going_on = ["--resume", run.path, *own.arguments(run.settings)]
        begin = going_on if run.status != "new" else [*_arguments(run.chosen), "--out", run.path]
        self.rounds_file, self.rounds, self.output = run.path / record.ROUNDS, 0, tempfile.TemporaryFile()
        self.has_new_rounds()
        self.popen = subprocess.Popen([sys.executable, "-m", "minifl", "train", *begin, *options],
                                      stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=self.output,
                                      start_new_session=True, env=environment())

    def has_new_rounds(self) -> bool:
        """Count the rounds of the record: has that changed? It loses some where a run is resumed."""
        before = self.rounds
        with contextlib.suppress(OSError):      # not there yet; what else is wrong with it the process says
            self.rounds = reading.whole(self.rounds_file).count(b"\n")
        return self.rounds != before

    def error(self) -> str | None:
        """None after success, else the last line that the process wrote."""
        if self.popen.returncode == 0:
            return None
        self.output.seek(0)
        lines = self.output.read().decode(errors="replace").strip().splitlines()
        return lines[-1] if lines else f"exit code {self.popen.returncode}"


def _fits(name, data, chosen):
    """Whether a setting has an effect beside the others that were chosen."""
    if name not in (owners := belongs()):
        return True
    field, values = owners[name]
    default = DEFAULTS.get(data, OTHERS).get(field) or choices()[field].default
    return (chosen.get(field) or default) in values


def _status(path, settings):
    """new, begun, or the status in end.json of a run directory, whose settings must be these."""
    if not os.path.exists(path / record.CONFIG):
        return "new"
    config = record.read_config(path)
    own.recognize(path, config)
    found = settings_in(path, config)
    for name, value in vars(settings).items():
        if not own.same(name, getattr(found, name), value):
            raise InputError(f"{path} holds a run with --{name.replace('_', '-')} {getattr(found, name)}, this sweep "
                             f"has {value}; choose another --out.")
    end = record.read_end(path)
    return end["status"] if end else "begun"


def _arguments(chosen):
    for name, value in chosen.items():
        if name == "init_from" or name == "setting" and value in GIVEN:     # they come with files, as options of all runs
            continue
        option = name.replace("_", "-")
        yield from ([f"--{option}" if value else f"--no-{option}"] if isinstance(value, bool)
                    else [f"--{option}", str(value)])


def _shown(chosen):
    return " ".join(map(str, _arguments(chosen)))
