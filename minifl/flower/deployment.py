"""What a federation on several machines needs, as folders to copy: `federate --emit DIR --address HOST:PORT`.

    DIR/server/     certificate and key of the SuperLink, public keys of the nodes, app, run directory, three scripts
    DIR/node-I/     the authority's certificate, the node's private key, start.sh
    DIR/README.txt  what to do with them

TLS and authentication of nodes are always on. The scripts find their own folder, so that it may be anywhere. They call
this module for what is no shell's business:

    python -m minifl.flower.deployment superlink ...        flower-superlink, closed to others than the nodes
    python -m minifl.flower.deployment connection HOME PORT CA      Flower's configuration of `flwr`
    python -m minifl.flower.deployment ready RUN            whether there is something left to do
"""

import contextlib
import ipaddress
import os
import re
import shutil
import socket
import sys
import time
from pathlib import Path

from minifl.atomic import replacing
from minifl.errors import InputError
from minifl.fl import record
from minifl.flower import certificates, federate, scripts
from minifl.flower.app import write_app, write_connection
from minifl.flower.loopback import LOOPBACK, STARTING

RUN, KEYS = "run", "keys"       # in DIR/server
LOCAL = (LOOPBACK, "::1")       # how the SuperLink's own machine reaches it: its ServerApp and `flwr`
FLEET = "/v1/fleet/"            # what nodes ask a SuperLink for; each request is signed with the node's key
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def emit(folder, address, settings, dataset, partition, terms, *, table_file=None):
    """Write DIR; returns lines for who has called that.

    terms  nodes, wait, timeout, clip_update, tls of `federate.begin`
    Raises InputError, with nothing written, if `folder` is not free or cannot be written, or for an address that is none.
    """
    host, port = parse_address(address)
    folder, nodes = Path(folder), terms["nodes"]
    temporary = folder.parent / f".{folder.name}.{os.getpid()}.tmp"
    try:
        if folder.is_symlink() or folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
            raise InputError(f"--emit {folder} exists and is not an empty folder; choose another name.")
        temporary.mkdir(parents=True)
        _write_server(temporary / "server", host, port, settings, dataset, partition, terms, table_file)
        for i in range(nodes):
            _write_node(temporary, i, nodes, host, port)
        _write(temporary / "README.txt", scripts.readme(settings, dataset, _url_host(host), port, nodes))
        os.replace(temporary, folder)       # also over an empty folder
    except OSError as error:
        raise InputError(f"--emit {folder} cannot be written: {error.strerror}; choose a folder that is writable and "
                         f"has space.") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [f"Wrote {folder}: server/ and {_node_folders(nodes)}, one for each machine, and README.txt, which says all.",
            f"Copy each folder to its machine over a safe channel; each node then runs ./start.sh. On {host}, in server/:",
            "  ./start-superlink.sh      # goes on until you stop it",
            "  ./register-nodes.sh",
            "  ./start-run.sh            # when the nodes have started; its record is in server/run/"]


def parse_address(address):
    """(host, port) of --address, an IPv6 address without its brackets. Raises InputError."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]/]+)):(?P<port>[0-9]{1,5})", address)
    host, port = (found["six"] or found["name"], int(found["port"])) if found else ("", 0)
    if not found or not _is_host(host, found["six"] is not None) or not 1 <= port <= 65535:
        raise InputError(f"--address {address} is not where nodes could reach a SuperLink; valid is a name or an address "
                         f"of its machine and a port from 1 to 65535: fl.example.org:9092, 192.0.2.7:9092 or "
                         f"[2001:db8::7]:9092.")
    return host, port


def _is_host(host, six):
    try:
        address = ipaddress.ip_address(host)
    except ValueError:      # a name; one that ends in a number would be an address with a mistake
        last = host.rpartition(".")[2]
        return not six and len(host) <= 253 and not last.isdigit() and \
            all(re.fullmatch(LABEL, label) for label in host.split("."))
    return (address.version == 6) == six and not address.is_unspecified and not address.is_multicast


def _write_server(folder, host, port, settings, dataset, partition, terms, table_file):
    certificates.make(folder, list(dict.fromkeys([host, *LOCAL])))
    config = federate.begin(settings, dataset, partition, folder / RUN, **terms, table_file=table_file)
    # a relative path: the ServerApp works in the folder in which the SuperLink was started
    write_app(folder / "app", federate.app_configuration(RUN, config["federation"]))
    bind, local = ("::", "[::1]") if ":" in host else ("0.0.0.0", LOOPBACK)
    for name, text in scripts.server(bind=bind, local=f"{local}:{port}", port=port, nodes=terms["nodes"]).items():
        _write(folder / name, text, 0o755)


def _write_node(folder, i, nodes, host, port):
    here = folder / f"node-{i}"
    key = certificates.make_node_key(here / "node.key")
    (folder / "server" / KEYS).mkdir(exist_ok=True)
    os.replace(key.with_suffix(".pub"), folder / "server" / KEYS / f"node-{i}.pub")
    shutil.copyfile(folder / "server" / certificates.CA, here / certificates.CA)
    _write(here / "start.sh", scripts.node(i, nodes, f"{_url_host(host)}:{port}"), 0o755)


def _write(path, text, mode=0o644):
    with replacing(path) as f:
        f.write(text.encode())
    path.chmod(mode)


def _url_host(host):
    return f"[{host}]" if ":" in host else host


def _node_folders(nodes):
    return "node-0/" if nodes == 1 else f"node-0/ to node-{nodes - 1}/"


# what the scripts call

def superlink(arguments):
    """flower-superlink with these arguments, of which other machines see only what nodes need.

    The rest - `flwr run`, which brings code along, and the tasks of the ServerApp - asks nobody who he is in Flower
    1.41 without its account service: whoever reaches the port could run code on all machines.
    """
    federate.check_installed()      # below is what this version does
    from flwr.superlink import extensions
    from flwr.superlink.cli.flower_superlink import flower_superlink
    from starlette.middleware import Middleware

    others = extensions.get_middleware
    extensions.get_middleware = lambda: (Middleware(closed), *others())
    sys.argv = ["flower-superlink", *arguments]
    flower_superlink()


def closed(app):
    """An ASGI app around `app` that answers 403 to other machines, unless it is for the fleet of nodes."""
    async def guarded(scope, receive, send):
        if scope["type"] == "lifespan" or scope["path"].startswith(FLEET) or _is_local(scope.get("client")):
            await app(scope, receive, send)
        elif scope["type"] == "http":
            await send({"type": "http.response.start", "status": 403, "headers": [(b"content-length", b"0")]})
            await send({"type": "http.response.body", "body": b""})
        else:
            await send({"type": "websocket.close", "code": 1008})

    return guarded


def _is_local(client):
    try:
        return ipaddress.ip_address(client[0]).is_loopback
    except (TypeError, ValueError):
        return False


def connection(home, address, ca):
    """Write FLWR_HOME of `flwr`, and wait until the SuperLink listens. The path of `ca` has to be absolute for Flower."""
    host, port = parse_address(address)
    write_connection(home, address, ca)
    end = time.monotonic() + STARTING
    while True:
        with contextlib.suppress(OSError), socket.create_connection((host, port), timeout=5):
            return
        if time.monotonic() > end:
            raise InputError(f"No SuperLink listens on {address}; start it with ./start-superlink.sh.")
        time.sleep(0.5)


def ready(run):
    """InputError if the run is going on, or has ended; one that failed may go on."""
    federate.check_resumable(run, record.read_config(run))


def main(command, *arguments):
    """What the scripts call."""
    try:
        superlink(arguments) if command == "superlink" else {"connection": connection, "ready": ready}[command](*arguments)
    except InputError as error:
        sys.exit(f"Error: {error}")


if __name__ == "__main__":
    main(*sys.argv[1:])
