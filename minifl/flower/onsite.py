"""What the scripts of a deployment (scripts.py) call, on the machine of the SuperLink.

    python -m minifl.flower.onsite connection ...   Flower's configuration of `flwr`; waits for the SuperLink
    python -m minifl.flower.onsite ready RUN        whether there is something left to do
"""

import contextlib
import socket
import sys
import time
from pathlib import Path
from typing import Any

from minifl.errors import InputError
from minifl.flower import federate
from minifl.flower.app import write_connection
from minifl.flower.loopback import STARTING
from minifl.runs import record


def connection(home: str | Path, address: str, ca: Any) -> None:
    """Write FLWR_HOME of `flwr`, and wait until the SuperLink listens. Raises InputError if it does not.

    ca  absolute path of the authority's certificate: Flower takes no other, which is why this is written on the spot
    """
    host, port = address.rpartition(":")[::2]
    write_connection(home, address, ca)
    end = time.monotonic() + STARTING
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host.strip("[]"), int(port)), timeout=5):
            return
        if time.monotonic() > end:
            raise InputError(f"No SuperLink listens on {address}; start it with ./start-superlink.sh.")
        time.sleep(0.5)


def ready(run: str | Path) -> None:
    """InputError if the run is going on, or has ended; one that failed may go on."""
    federate.check_resumable(run, record.read_config(run))


def main(command: str, *arguments: Any) -> None:
    """What the scripts call."""
    try:
        {"connection": connection, "ready": ready}[command](*arguments)
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
