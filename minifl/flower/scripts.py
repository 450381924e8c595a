"""The texts of a deployment: shell scripts, README.txt."""

from typing import Any

import minifl
from minifl.fl.participation import own_models
from minifl.flower.app import LINK
from minifl.flower.federate import FLOWER
from minifl.flower.loopback import OFF
from minifl.flower.node import clients_of
from minifl.runs.settings import Settings

# Data of a relative MINIFL_DATA are where the caller is; everything else is where the script is.
BEGIN = """\
#!/bin/sh
# @WHAT@
set -eu
python=$("${PYTHON:-python3}" -c 'import sys; print(sys.executable)')
data=${MINIFL_DATA:-}
case $data in
    "" | /*) ;;
    *) data=$PWD/$data ;;
esac
CDPATH= cd -- "$(dirname -- "$0")"
here=$PWD
PATH=$(dirname -- "$python"):$PATH      # Flower starts its programs by their bare names
export PATH PYTHONUNBUFFERED=1
export @OFF@
command -v flower-supernode >/dev/null || {
    echo "$python has no Flower: activate the environment in which minifl[flower] is installed, or set PYTHON." >&2
    exit 1
}
"""

SUPERLINK = """\
if [ -n "$data" ]; then
    export MINIFL_DATA="$data"
fi
export FLWR_HOME="$here/flwr/superlink"
export FORWARDED_ALLOW_IPS=127.0.0.1    # nobody else may say that he is another one
mkdir -p "$FLWR_HOME"
exec "$python" -m minifl.flower.closed superlink --host @BIND@ --port @PORT@ \\
    --ssl-ca-certfile "$here/ca.pem" --ssl-certfile "$here/server.pem" --ssl-keyfile "$here/server.key" \\
    --enable-supernode-auth --disable-runtime-dependency-installation
"""

LOCAL_MODELS = """
            What stays with the clients of this run, batch norms or layers, is not in run/model.npz, and not compared."""

LINKED = """\
export FLWR_HOME="$here/flwr/link"
"$python" -m minifl.flower.onsite connection "$FLWR_HOME" "@LOCAL@" "$here/ca.pem"
"""

REGISTER = LINKED + """\
i=0
while [ "$i" -lt @NODES@ ]; do
    if said=$(flwr supernode register "$here/keys/node-$i.pub" @LINK@ --name "node-$i" 2>&1); then
        echo "node-$i is registered."
    else
        case $said in
            *"already in use"*) echo "node-$i was registered before." ;;
            *) echo "$said" >&2; exit 1 ;;
        esac
    fi
    i=$((i + 1))
done
"""

RUN = """\
"$python" -m minifl.flower.onsite ready "$here/run"
""" + LINKED + """\
flwr run "$here/app" @LINK@
echo "Rounds that are done, one line each:  tail -n +1 -f '$here/run/rounds.jsonl'"
echo "At the end there is $here/run/end.json. If none comes, the SuperLink's output says why."
"""

# Flower has a node that was killed as online for a minute, and until then refuses it: so it is tried again and again.
NODE = """\
umask 077
if [ -z "$data" ] && [ -d "$here/data" ]; then
    data=$here/data
fi
case $here$data in
    *[\\"\\\\]*)
        echo "Flower takes no folder with a quotation mark or a backslash in its name: $here $data" >&2
        exit 1 ;;
esac
config="partition-id=@I@ num-partitions=@NODES@ workers=${WORKERS:-1}"
config="$config data-dir=\\"$data\\" state-dir=\\"$here/clients\\""
export FLWR_HOME="$here/flwr"
mkdir -p "$FLWR_HOME"
child=
trap 'trap "" INT TERM; kill "$child" 2>/dev/null || :; wait; exit 0' INT TERM
while :; do
    "$python" -m minifl.flower.closed supernode --superlink "@ADDRESS@" --root-certificates "$here/ca.pem" \\
        --auth-supernode-private-key "$here/node.key" --host 127.0.0.1 --port "${PORT:-9094}" --node-config "$config" &
    child=$!
    wait "$child" || true
    echo "The SuperNode ended; it is started again in 20 s. Stop with Ctrl-C." >&2
    sleep 20 &
    child=$!
    wait "$child" || true
done
"""

README = """\
A federation of minifl on @MACHINES@ machines
=====================================

One machine has the SuperLink; each of the others is a node with its own clients, and reaches it at

       @URL@

All connections are encrypted, and a node is let in by its key. The certificates are valid for a year from now.

1. Install the same on every machine: minifl @VERSION@ with Flower @FLOWER@, and the same NumPy. In a virtual
   environment, from a checkout of minifl:

       pip install -e '.[flower]'

   Activate it before each of the commands below (or set PYTHON to its python).

2. Copy each folder to its machine, over a channel that nobody else reads (scp -rp, a USB stick):

       server/     the SuperLink's machine
@COPIES@
   SECRET: server/server.key and every node-I/node.key. A node.key belongs on its node only; delete the copies here.

3. Data: @DATA@

4. Firewall: port @PORT@ of the SuperLink's machine must be open to the nodes, and should be to nobody else. Nodes
   need no open port. Only the user who started the SuperLink can start a run or register a node, on that machine (which
   user it is, is checked on Linux only); a run brings code along for all machines.

5. On the SuperLink's machine, in server/, in two terminals (the first goes on until you stop it):

       ./start-superlink.sh
       ./register-nodes.sh

6. On every node, in its folder (goes on until you stop it, and starts the SuperNode again if that ends):

       ./start.sh

   WORKERS=4 ./start.sh does the work of four of its clients at a time. Two nodes on one machine: PORT=9095 ./start.sh
   for the second, a port of that machine which the node needs for itself.

7. On the SuperLink's machine, when the nodes have started:

       ./start-run.sh

   It waits @WAIT@ s for all nodes, and goes on without those that have not come by then; they may still come later.

Progress    server/run/rounds.jsonl, one line for each round; "absent" in it says which client was missing, and why.
            tail -n +1 -f run/rounds.jsonl
End         server/run/end.json says how it ended. What the run came to: python -m minifl compare run
Proof       python -m minifl replay run does all rounds again on one machine and compares every bit. This holds where
            all machines have the same kind of processor and the same NumPy with its BLAS; elsewhere the last digits
            differ.@LOCAL@
Resume      Whatever was killed: start what is missing again, in the order of 5 to 7. ./start-run.sh goes on from the
            newest checkpoint. After a start of the SuperLink ./register-nodes.sh is needed again. What clients keep
            between rounds is in node-I/clients; it must stay there.
Stop        Ctrl-C, in the terminals of start.sh and start-superlink.sh. The run directory is whole at every moment.
"""


def server(*, bind: str, local: str, port: int, nodes: Any) -> dict:
    """name -> text of the scripts of the SuperLink's machine."""
    values = {"BIND": bind, "LOCAL": local, "PORT": port, "NODES": nodes}
    return {"start-superlink.sh": _script("The SuperLink, in the foreground.", SUPERLINK, values),
            "register-nodes.sh": _script("The public keys of the nodes, for the SuperLink of this machine.", REGISTER,
                                         values),
            "start-run.sh": _script("The run in run/, from its beginning or its newest checkpoint.", RUN, values)}


def node(i: int, nodes: Any, address: str) -> dict[str, str]:
    """The text of a node's start.sh; address: HOST:PORT of the SuperLink."""
    return _script(f"Node {i} of {nodes}, in the foreground; started again whenever it ends.", NODE,
                   {"I": i, "NODES": nodes, "ADDRESS": address})


def readme(settings: Settings, address: str, port: int, nodes: Any, clients: Any, wait: Any) -> str:
    """The text of README.txt; address: HOST:PORT of the SuperLink, clients: how many there are."""
    data = "nothing to do; every machine generates the embedded data set." if settings.data == "embedded" else (
        f"every machine needs the same file {settings.data}.npz, in a folder that MINIFL_DATA names,\n"
        f"   or in data/ in the folder of its start script. Other data is refused.")
    copies = "".join(f"       node-{i}/     client {_listed(clients_of(i, nodes, clients))}\n" for i in range(nodes))
    return _filled(README, {"MACHINES": nodes + 1, "URL": address, "VERSION": minifl.__version__, "FLOWER": FLOWER,
                            "PORT": port, "COPIES": copies, "LOCAL": LOCAL_MODELS * own_models(settings),
                            "DATA": data, "WAIT": f"{wait:g}"})


def _script(what, text, values):
    off = " ".join(f"{name}={value}" for name, value in OFF.items())
    return _filled(BEGIN + text, {"WHAT": what, "OFF": off, "LINK": LINK, **values})


def _listed(numbers):
    return ", ".join(map(str, numbers[:4])) + (", ..." if len(numbers) > 4 else "")


def _filled(text, values):
    for name, value in values.items():
        text = text.replace(f"@{name}@", str(value))
    return text
