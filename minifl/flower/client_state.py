"""What the clients of a node keep between rounds: control variates, batch norms, layers, models. On disk: a
restart loses nothing.

    FOLDER/client-K-round-R    what client K keeps after its round R (from 1), behind a checksum (minifl/checked_npz.py)

The server says which of a client's rounds counted last. A round does not count whose reply was lost or refused: what
the client kept after it is passed over, as if it had been absent. And a server that was killed goes on from an older
checkpoint: the rounds from there on are done again, from what was kept then. So a file is needed until the oldest
checkpoint that the server could go on from is younger.
"""

import os
from pathlib import Path
from typing import Any

from minifl import checked_npz
from minifl.errors import InputError


def load(folder: str | Path, client: int, round_: int, sizes: dict) -> dict:
    """name -> (...,): what the client keeps after `round_`; {} for round 0, before its first.

    sizes  name -> length, of what it must be
    Raises InputError if it is not there, damaged, or of another network or method.
    """
    if not round_:
        return {}
    file = _file(folder, client, round_)
    if not os.path.lexists(file):
        raise InputError(f"{file} does not exist: what client {client} keeps was lost, or state-dir is another folder "
                         f"than before. Without it the client cannot take part any more.")
    arrays = checked_npz.read(file, "what a client keeps")
    if {name: array.shape for name, array in arrays.items()} != {name: (size,) for name, size in sizes.items()}:
        raise InputError(f"{file} is of another network or method.")
    return arrays


def save(folder: str | Path, client: int, round_: int, arrays: Any) -> None:
    """Keep the arrays, (...,) by name, as the client's after `round_`."""
    checked_npz.write(_file(folder, client, round_), arrays)


def tidy(folder: str | Path, client: int, round_: int, since: int, oldest: int) -> None:
    """Remove what no server will ask for.

    round_  the one that the client just did; since: the last before it that counted
    oldest  round of the oldest checkpoint that the server could go on from
    """
    for r, file in rounds(folder, client):
        if since < r < round_:      # did not count
            file.unlink(missing_ok=True)
    found = [r for r, _ in rounds(folder, client)]
    base = max((r for r in found if r <= oldest), default=0)
    for r, file in rounds(folder, client):
        if r < base:
            file.unlink(missing_ok=True)


def rounds(folder: str | Path, client: int) -> list:
    """(round, file) of all that is kept of a client, ascending."""
    found = ((file.name.rpartition("-")[2], file) for file in Path(folder).glob(f"client-{client}-round-*"))
    return sorted((int(r), file) for r, file in found if r.isdigit())


def _file(folder, client, round_):
    return Path(folder) / f"client-{client}-round-{round_}"
