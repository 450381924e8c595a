"""Checkpoints: all of a run's state in one file, so that a stopped run goes on to the same bits.

    checkpoint-ROUND    behind a checksum (minifl/checked_npz.py): round, w, server/NAME (P,), statistics (S,),
                        clients (n,), own/NAME (n, ...), and a text: origin, JSON of what made it

There is nothing else to keep: randomness is addressed, not streamed (minifl/rng.py). The two newest are kept; one
that is damaged is noticed by its checksum, and the other one is used. A finished run keeps the last, so that it can go on
to more rounds.
"""

import contextlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from minifl import checked_npz
from minifl.backend import get_xp, to_host
from minifl.errors import InputError
from minifl.fl.rounds import State

KEPT = 2


def files(path: str | Path) -> list[Path]:
    """The checkpoints of the run directory `path`, newest first."""
    found = [(int(file.name.removeprefix("checkpoint-")), file) for file in Path(path).glob("checkpoint-*")
             if file.name.removeprefix("checkpoint-").isdigit()]
    return [file for _, file in sorted(found, reverse=True)]


def oldest(path: str | Path) -> int:
    """The round of the oldest checkpoint that the run may go on from once it has written another one; 0: none."""
    return min((int(file.name.removeprefix("checkpoint-")) for file in files(path)), default=0)


def save(path: str | Path, state: State, origin: dict | None = None, seal: str | None = None) -> None:
    """Write the state as the newest checkpoint of the run directory; of the older ones only KEPT - 1 stay.

    origin  what decides the bits of the run (record.py), name -> value; None: it is not kept
    seal    of the line of rounds.jsonl to which the state belongs (seals.py); None: it is not kept
    """
    arrays = {"round": np.int64(state.round), "w": to_host(state.w), "statistics": to_host(state.statistics),
              "clients": np.array(sorted(state.own), dtype=np.int64)}
    arrays |= {f"server/{name}": to_host(array) for name, array in state.server.items()}
    if state.own:
        for name in next(iter(state.own.values())):
            arrays[f"own/{name}"] = np.stack([to_host(state.own[k][name]) for k in sorted(state.own)])
    arrays["origin"] = np.array(json.dumps({"origin": origin, "seal": seal}))
    newest = Path(path) / f"checkpoint-{state.round:07d}"
    checked_npz.write(newest, arrays)
    found = files(path)
    here = found.index(newest)   # those before it are of later rounds: `latest` has passed them over
    for file in found[:here] + found[here + KEPT:]:
        file.unlink()


def latest(path: str | Path, start: Any, most_rounds: int, kept: dict, origin: dict | None = None,
           seals: list | None = None) -> tuple:
    """The newest sound checkpoint of a run, else `start`; returns (state, messages about what was passed over).

    start        State before the first round, on the run's device
    most_rounds  rounds that the record holds; a checkpoint beyond them is of no use
    kept         name -> length of what each client keeps; None: whatever it is
    origin       what decides the bits of the run now, see `save`; None: it is not compared
    seals        of the record's lines, see `save`; None: they are not compared
    Raises InputError if a sound checkpoint has not the form of `start` or is of another origin: then the run's config was
    changed, and to go on from the start would lose what was done. Also if it belongs to other lines.
    """
    messages = []
    for file in files(path):
        try:
            state, made = _load(file, get_xp(start.w).asarray)
        except InputError as error:
            messages.append(f"{error} It is passed over.")
            continue
        if _form(state) != _form(start) or \
                (kept is not None and any(_lengths(own) != kept for own in state.own.values())):
            raise InputError(f"{file} is of another network or method than config.json; one of them was changed.")
        if origin is not None and (changed := _difference(made["origin"], origin)):
            raise InputError(f"{file} does not belong to config.json: {changed}. Put back what was there, or begin a new "
                             f"run with it by --config.")
        if state.round <= most_rounds:
            if seals is not None and made["seal"] is not None and made["seal"] != seals[state.round - 1]:
                raise InputError(f"{file} does not belong to rounds.jsonl, whose first {state.round} lines are not those "
                                 f"that it was written after.")
            return state, messages
        messages.append(f"{file} is passed over: the record holds only {most_rounds} rounds.")
    return start, messages


def newest_round(path: str | Path) -> int | None:
    """The round of the newest sound checkpoint; None without one."""
    return found[0].round if (found := _newest(path)) else None


def remove(path: str | Path, but: int = 0) -> None:
    """Remove the checkpoints of a run directory; the newest so many stay."""
    for file in files(path)[but:]:
        file.unlink(missing_ok=True)


def difference(path: str | Path, origin: dict) -> str:
    """In words, in what `origin` differs from that of the newest sound checkpoint; "" if in nothing that is known."""
    return _difference(found[1]["origin"], origin) if (found := _newest(path)) else ""


def _newest(path):
    """What `_load` gives of the newest sound checkpoint; None without one."""
    for file in files(path):
        with contextlib.suppress(InputError):
            return _load(file, np.asarray)
    return None


def _difference(before, now):
    """before: None if it is not known. The number of rounds makes none, unless the learning rate depends on it."""
    before = before or now
    names = [name for name in {**before, **now} if before.get(name) != now.get(name) and
             not (name == "--rounds" and now.get("--lr-schedule") != "cosine")]
    return ", ".join(f"{name} was {before.get(name)} and is now {now.get(name)}" for name in names)


def _load(file, asarray):
    """The state in a checkpoint, and {"origin", "seal"}: see `save`. InputError if it cannot be read or is damaged."""
    arrays = checked_npz.read(file, "a checkpoint")
    made = {"origin": None, "seal": None}       # of a run begun before these were kept
    try:
        if "origin" in arrays:
            made = json.loads(arrays.pop("origin").item())
        arrays = {name: asarray(array) for name, array in arrays.items()}
        own = _below("own/", arrays)
        state = State(int(arrays["round"]), arrays["w"], _below("server/", arrays),
                      {k: {name: rows[i] for name, rows in own.items()}
                       for i, k in enumerate(arrays["clients"].tolist())},
                      arrays.get("statistics", arrays["w"][:0]))   # of a run begun before there was batch norm
    except Exception as error:  # arrays, but not a checkpoint's
        raise InputError(f"{file} is not a checkpoint: {error}.") from error
    return state, made


def _form(state):
    """Names, lengths and number format of a state, whatever its round and clients."""
    arrays = {"w": state.w, "statistics": state.statistics} | {f"server/{name}": a for name, a in state.server.items()}
    formats = {a.dtype for a in (*arrays.values(), *(a for own in state.own.values() for a in own.values()))}
    return _lengths(arrays), formats


def _lengths(arrays):
    return {name: array.size for name, array in arrays.items() if array.ndim == 1}


def _below(prefix, arrays):
    return {name.removeprefix(prefix): array for name, array in arrays.items() if name.startswith(prefix)}
