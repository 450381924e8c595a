"""Flower's programs, closed to those whom they have no business with.

    python -m minifl.flower.closed superlink ...    flower-superlink with these arguments
    python -m minifl.flower.closed supernode ...    flower-supernode

In Flower 1.41 a SuperLink answers on one port to its nodes (Fleet), to `flwr run`, which brings code along (Control),
and to the ServerApp (Runtime). Without its account service only Fleet can ask for keys: whoever reaches the port could
start a run, which is code on all machines. A SuperNode's own port asks nobody either. Here these are answered:

    Fleet, with keys of nodes      anybody: each request is signed
    everything else                processes of the same user on the same machine; others get 403

Whose a process is that has a loopback connection, Linux says in /proc/net; elsewhere all of the machine are answered.
"""

import ipaddress
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from minifl.errors import InputError
from minifl.flower import federate

FLEET = "/v1/fleet/"            # what nodes ask a SuperLink for
KEYS = "--enable-supernode-auth"
TABLES = Path("/proc/net/tcp"), Path("/proc/net/tcp6")


def closed(app: Callable, keys: bool = False) -> Callable:
    """An ASGI app around `app`, as above; keys: whether its Fleet asks for them."""
    async def guarded(scope, receive, send):
        if scope["type"] == "lifespan" or (keys and scope["path"].startswith(FLEET)) or \
                is_own(scope.get("client"), scope.get("server")):
            await app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close", "code": 1008})

    return guarded


def is_own(client: tuple, server: tuple) -> bool:
    """Whether a connection (host, port) -> (host, port) is of a process of this machine and, on Linux, of this user."""
    try:
        if not ipaddress.ip_address(client[0]).is_loopback:
            return False
    except (TypeError, ValueError):
        return False
    return not TABLES[0].exists() or users_of(client[1], server[1]) == {os.getuid()}


def users_of(client_port: int, server_port: int) -> set:
    """The user ids of this machine's sockets that are connected from one port to the other."""
    found = set()
    for table in TABLES:
        if table.exists():
            for line in table.read_text(encoding="utf-8").splitlines()[1:]:
                local, remote, user = (line.split()[i] for i in (1, 2, 7))      # proc(5): address:port in hexadecimal
                if _port(local) == client_port and _port(remote) == server_port:
                    found.add(int(user))
    return found


def superlink(arguments: list[str]) -> None:
    """flower-superlink with these arguments."""
    from flwr.superlink import extensions
    from flwr.superlink.cli.flower_superlink import flower_superlink
    from starlette.middleware import Middleware

    others = extensions.get_middleware
    extensions.get_middleware = lambda: (Middleware(closed, keys=KEYS in arguments), *others())
    flower_superlink()


def supernode(arguments: list[str]) -> None:
    """flower-supernode with these arguments."""
    from flwr.supernode import main as program
    from flwr.supernode.cli.flower_supernode import flower_supernode

    create = program.create_app

    def create_app(*options, **named):
        app = create(*options, **named)
        app.add_middleware(closed)
        return app

    program.create_app = create_app
    flower_supernode()


def main(name: str, *arguments: Any) -> None:
    """Run one of the two."""
    try:
        federate.check_installed()      # what is done here is for this version
    except InputError as error:
        sys.exit(f"Error: {error}")
    sys.argv = [f"flower-{name}", *arguments]
    {"superlink": superlink, "supernode": supernode}[name](arguments)


def _port(address):
    return int(address.rpartition(":")[2], 16)


if __name__ == "__main__":
    main(*sys.argv[1:])
