"""What a federation on several machines needs, as folders to copy: `federate --emit DIR --address HOST:PORT`.

    DIR/server/     certificate and key of the SuperLink, public keys of the nodes, app, run directory, three scripts
    DIR/node-I/     the authority's certificate, the node's private key, start.sh
    DIR/README.txt  what to do with them

TLS and authentication of nodes are always on. The scripts (scripts.py) find their own folder, so that it may be
anywhere; what is no shell's business they call (onsite.py).
"""

import ipaddress
import os
import re
import shutil
from pathlib import Path
from typing import Any

from minifl.atomic import temporary_beside, write
from minifl.data.partition import Partition
from minifl.errors import InputError
from minifl.flower import certificates, federate, scripts
from minifl.flower.app import write_app
from minifl.flower.loopback import LOOPBACK
from minifl.runs.settings import Settings

RUN, KEYS = "run", "keys"       # in DIR/server
LOCAL = (LOOPBACK, "::1")       # how the SuperLink's own machine reaches it: its ServerApp and `flwr`
LABEL = r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?"


def emit(folder: str | Path, address: str, settings: Settings, dataset: Any, partition: Partition, terms: Any, *,
         table_file: Any = None, start: Any = None) -> list:
    """Write DIR; returns lines for who has called that.

    terms  nodes, wait, timeout, clip_update, tls of `federate.begin`
    Raises InputError, with nothing written, for a `folder` that is not free or cannot be written, and for an `address`
    that is none.
    """
    host, port = parse_address(address)
    folder, nodes, clients = Path(folder).absolute(), terms["nodes"], len(partition.train)
    temporary = temporary_beside(folder)
    try:
        free = not os.path.lexists(folder) or folder.is_dir() and not folder.is_symlink() and not any(folder.iterdir())
    except OSError:
        free = False
    if not free:
        raise InputError(f"--emit {folder} exists and is not an empty folder; choose another name.")
    try:
        temporary.mkdir(parents=True)
        _write_server(temporary / "server", host, port, settings, dataset, partition, terms, table_file, start)
        for i in range(nodes):
            _write_node(temporary, i, nodes, host, port)
        _write(temporary / "README.txt",
               scripts.readme(settings, f"{_url_host(host)}:{port}", port, nodes, clients, terms["wait"]))
        os.replace(temporary, folder)       # also over an empty folder
    except (OSError, InputError) as error:
        reason = str(getattr(error, "strerror", None) or error).replace(str(temporary), str(folder))
        raise InputError(f"--emit {folder} cannot be written: {reason}; choose a folder that is writable and has space."
                         ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
    return [f"Wrote {folder}: server/, {_node_folders(nodes)}, one for each machine, and README.txt, which says all.",
            f"Copy each over a safe channel. On {host}, in server/:",
            "  ./start-superlink.sh      # goes on until you stop it",
            "  ./register-nodes.sh",
            "  ./start-run.sh            # when every node has started its ./start.sh; the record is in server/run/"]


def parse_address(address: str) -> tuple:
    """(host, port) of --address, an IPv6 address without its brackets. Raises InputError."""
    found = re.fullmatch(r"(?:\[(?P<six>[0-9A-Fa-f:.]+)\]|(?P<name>[^:\[\]/]+)):(?P<port>[0-9]{1,5})", address)
    host, port = (found["six"] or found["name"], int(found["port"])) if found else ("", 0)
    if not found or not _is_host(host, found["six"] is not None) or not 1 <= port <= 65535:
        raise InputError(f"--address {address} is not where nodes could reach a SuperLink; valid is a name or an "
                         f"address of its machine and a port from 1 to 65535: fl.example.org:9092, 192.0.2.7:9092 or "
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


def _write_server(folder, host, port, settings, dataset, partition, terms, table_file, start):
    certificates.make(folder, list(dict.fromkeys([host, *LOCAL])))
    config = federate.begin(settings, dataset, partition, folder / RUN, **terms, elsewhere=True,
                            table_file=table_file, start=start)
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
    write(path, text.encode())
    path.chmod(mode)


def _url_host(host):
    return f"[{host}]" if ":" in host else host


def _node_folders(nodes):
    return "node-0/" if nodes == 1 else f"node-0/ to node-{nodes - 1}/"
