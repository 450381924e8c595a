"""Flower's servers answer to their nodes by key, and else to processes of the same user on the same machine."""

import asyncio
import importlib
import os
import socket
import subprocess
import sys

import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install -e '.[flower]'")

from minifl.flower import closed

linux = pytest.mark.skipif(sys.platform != "linux", reason="whose a socket is, is read from /proc/net")
PATHS = ("/v1/control/start-run", "/v1/control/register-node", "/v1/runtime/acquire-task", "/docs", "/v1/fleet",
         "/v1//fleet/x", "/V1/FLEET/x")
OTHERS = (("192.0.2.7", 5), ("2001:db8::7", 5), ("testclient", 5), None)


@pytest.fixture
def mine(monkeypatch):
    """Every loopback connection is of this user."""
    monkeypatch.setattr(closed, "users_of", lambda client, server: {os.getuid()})


def answered(client, path, kind="http", **options):
    """What `closed` sends to a client at that address; True if it lets the request through."""
    sent = []

    async def app(scope, receive, send):
        sent.append(True)

    async def send(message):
        sent.append(message.get("status", message.get("code")))

    scope = {"type": kind, "path": path, "client": client, "server": ("127.0.0.1", 9092)}
    asyncio.run(closed.closed(app, **options)(scope, None, send))
    return sent[0]


@pytest.mark.parametrize("path", PATHS)
def test_only_nodes_with_keys_come_in_from_other_machines(path, mine):
    assert answered(("127.0.0.1", 5), path) is True and answered(("::1", 5), path) is True
    for client in OTHERS:
        assert answered(client, path, keys=True) == 403
        assert answered(client, path, "websocket", keys=True) == 1008
        assert answered(client, "/v1/fleet/pull-messages", keys=True) is True
        assert answered(client, "/v1/fleet/pull-messages") == 403


@linux
@pytest.mark.parametrize("users", [set(), {os.getuid() + 1}, {os.getuid(), os.getuid() + 1}])
def test_other_users_of_this_machine_are_not_answered(users, monkeypatch):
    monkeypatch.setattr(closed, "users_of", lambda client, server: users)
    for path in PATHS:
        assert answered(("127.0.0.1", 5), path, keys=True) == 403
    assert answered(("127.0.0.1", 5), "/v1/fleet/pull-messages", keys=True) is True
    assert answered(("127.0.0.1", 5), "/v1/fleet/pull-messages") == 403


@linux
@pytest.mark.parametrize("family, host", [(socket.AF_INET, "127.0.0.1"), (socket.AF_INET6, "::1")])
def test_whose_a_connection_is(family, host):
    with socket.socket(family) as server:
        try:
            server.bind((host, 0))
        except OSError:
            pytest.skip(f"no {host} here")
        server.listen()
        with socket.create_connection(server.getsockname()[:2]) as client:
            ports = client.getsockname()[1], server.getsockname()[1]
            assert closed.users_of(*ports) == {os.getuid()}
            assert closed.users_of(ports[0], ports[1] + 1) == set()
            assert closed.is_own((host, ports[0]), (host, ports[1]))


@linux
@pytest.mark.skipif(not hasattr(os, "getuid") or os.getuid() != 0, reason="only root can become another user")
def test_a_connection_of_another_user_is_told_from_ones_own():
    code = ("import os, socket, sys; os.setuid(65534); s = socket.socket(); "
            "s.connect(('127.0.0.1', int(sys.argv[1]))); print(s.getsockname()[1], flush=True); sys.stdin.read()")
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()
        port = server.getsockname()[1]
        with subprocess.Popen([sys.executable, "-c", code, str(port)], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                              text=True) as process:
            own = int(process.stdout.readline())
            assert closed.users_of(own, port) == {65534}
            assert not closed.is_own(("127.0.0.1", own), ("127.0.0.1", port))
            process.stdin.close()


@pytest.mark.parametrize("arguments, keys", [(["--port", "9092"], False), (["--port", "9092", closed.KEYS], True)])
def test_flower_has_that_around_its_superlink(arguments, keys, monkeypatch):
    """And the routes are named as `closed` believes."""
    from flwr.superlink import extensions, main as superlink
    from flwr.superlink.routers.control import router as control
    from flwr.superlink.routers.fleet.router import router as fleet
    program = importlib.import_module("flwr.superlink.cli.flower_superlink")    # beside a function of this name
    called_with = []
    monkeypatch.setattr(extensions, "get_middleware", extensions.get_middleware)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(program, "flower_superlink", lambda: called_with.append(list(sys.argv)))
    closed.main("superlink", *arguments)
    assert called_with == [["flower-superlink", *arguments]]
    first = superlink._get_middleware()[0]
    assert first.cls is closed.closed and first.kwargs == {"keys": keys}
    assert all(route.path.startswith(closed.FLEET) for route in fleet.routes) and fleet.routes
    assert not any(route.path.startswith(closed.FLEET) for route in control.routes) and control.routes


def test_flower_has_that_around_its_supernode(monkeypatch):
    from flwr.supernode import main as supernode
    program = importlib.import_module("flwr.supernode.cli.flower_supernode")
    monkeypatch.setattr(supernode, "create_app", supernode.create_app)
    monkeypatch.setattr(sys, "argv", [])
    monkeypatch.setattr(program, "flower_supernode", lambda: None)
    closed.main("supernode", "--port", "1")
    (last,) = [m for m in supernode.create_app().user_middleware if m.cls is closed.closed]
    assert last.kwargs == {}
