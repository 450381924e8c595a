"""`federate --emit`: what is written where, what is refused, and what the scripts call. Run by hand: deployed.py."""

import json
import os
import re
import shutil
import ssl
import subprocess
from pathlib import Path

import pytest

pytest.importorskip("flwr")
from cryptography import x509

from minifl.cli import main
from minifl.errors import InputError
from minifl.flower import deployment, onsite, scripts
from minifl.runs import record
from minifl.runs.locking import locked

try:
    import tomllib
except ImportError:     # before Python 3.11; comes with Flower
    import tomli as tomllib

NODES = 2
SERVER = {"ca.pem", "server.pem", "server.key", "keys/node-0.pub", "keys/node-1.pub", "app/pyproject.toml",
          "run/config.json", "run/partition.csv", "run/rounds.jsonl", "start-superlink.sh", "register-nodes.sh",
          "start-run.sh"}
NODE = {"ca.pem", "node.key", "start.sh"}


def called(capsys, *arguments):
    """The command line: (exit code, stdout, stderr)."""
    with pytest.raises(SystemExit) as exit_:
        main([str(argument) for argument in arguments])
    return exit_.value.code, *capsys.readouterr()


def options(data_dir, folder, address="fl.example.org:9092"):
    return ("federate", "--data", "cifar10", "--data-dir", data_dir, "--width", "0.05", "--rounds", "2",
            "--num-clients", "3", "--setting", "disjoint", "--nodes", NODES, "--emit", folder, "--address", address)


@pytest.fixture
def emitted(data_dir, tmp_path, capsys):
    code, out, errors = called(capsys, *options(data_dir, tmp_path / "new" / "fed"))
    assert not code, errors
    return tmp_path / "new" / "fed", out


def files(folder):
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_what_is_written_and_nothing_else(emitted):
    folder, out = emitted
    wanted = {f"server/{name}" for name in SERVER} | {f"node-{i}/{name}" for i in range(NODES) for name in NODE}
    assert files(folder) == wanted | {"README.txt"}
    assert list(folder.parent.iterdir()) == [folder]
    for name in ("start-superlink.sh", "register-nodes.sh", "start-run.sh", "start.sh"):
        assert f"./{name}" in out
    assert str(folder) in out and "fl.example.org" in out and "node-0/ to node-1/" in out


def test_secrets_are_their_owners_alone_and_where_they_belong(emitted):
    folder, _ = emitted
    secret = {name for name in files(folder) if "PRIVATE" in (folder / name).read_text()}
    assert secret == {"server/server.key", "node-0/node.key", "node-1/node.key"}
    for name in files(folder):
        mode = (folder / name).stat().st_mode & 0o777
        assert mode == (0o600 if name in secret else 0o755 if name.endswith(".sh") else mode & ~0o111), name
    from cryptography.hazmat.primitives.serialization import load_ssh_private_key, load_ssh_public_key
    for i in range(NODES):      # the one that is registered for it
        public = load_ssh_public_key((folder / f"server/keys/node-{i}.pub").read_bytes())
        assert load_ssh_private_key((folder / f"node-{i}/node.key").read_bytes(), None).public_key() == public


def test_the_certificate_is_for_the_address_and_the_machine_itself(emitted):
    """The ServerApp, and flwr, come by way of the loopback interface, whatever nodes call the machine."""
    folder, _ = emitted
    names = x509.load_pem_x509_certificate((folder / "server/server.pem").read_bytes()).extensions \
        .get_extension_for_class(x509.SubjectAlternativeName).value
    assert names.get_values_for_type(x509.DNSName) == ["fl.example.org"]
    assert [str(address) for address in names.get_values_for_type(x509.IPAddress)] == ["127.0.0.1", "::1"]
    for i in range(NODES):
        assert (folder / f"node-{i}/ca.pem").read_bytes() == (folder / "server/ca.pem").read_bytes()
        ssl.create_default_context(cafile=folder / f"node-{i}/ca.pem")


def test_the_app_is_that_of_the_run_wherever_the_folder_is(emitted):
    folder, _ = emitted
    app = tomllib.loads((folder / "server/app/pyproject.toml").read_text())["tool"]["flwr"]["app"]["config"]
    assert app["named-nodes"] is True and app["nodes"] == NODES and app["out"] == "run" and app["data-dir"] == ""
    run = record.read_config(folder / "server/run")
    assert run["federation"]["tls"] is True and run["federation"]["nodes"] == NODES and run["settings"]["rounds"] == 2
    for name in files(folder) - {"README.txt"}:         # nothing says where it was written
        assert str(folder.parent) not in (folder / name).read_text(), name


def test_the_readme_says_what_stays_away(data_dir, tmp_path, capsys):
    for name, words in (("local", True), ("global", False)):
        assert not called(capsys, *options(data_dir, tmp_path / name), "--norm", "bn", "--bn-stats", name)[0]
        assert ("What stays with the clients of this run" in (tmp_path / name / "README.txt").read_text()) is words


def test_the_readme_says_what_to_do(emitted):
    folder, _ = emitted
    text = (folder / "README.txt").read_text()
    for words in ("fl.example.org:9092", "server.key", "node.key", "SECRET", "NumPy", "cifar10.npz", "MINIFL_DATA",
                  "BLAS", "rounds.jsonl", "replay", "Ctrl-C", "./start-run.sh goes on", "client 0, 2\n"):
        assert words in text, words
    assert not re.search("@[A-Z]+@", text) and max(map(len, text.splitlines())) <= 120
    assert set(re.findall(r"\./[a-z-]+\.sh", text)) == {"./start-superlink.sh", "./register-nodes.sh", "./start.sh",
                                                        "./start-run.sh"}


SHELLS = [shell for shell in (["sh"], ["dash"], ["bash", "--posix"], ["busybox", "sh"]) if shutil.which(shell[0])]


@pytest.mark.parametrize("shell", SHELLS, ids=" ".join)
def test_the_scripts_are_shell(emitted, shell):
    folder, _ = emitted
    for script in folder.rglob("*.sh"):
        assert script.read_text().startswith("#!/bin/sh\n") and "\nset -eu\n" in script.read_text()
        assert not re.search("@[A-Z]+@", script.read_text())
        subprocess.run([*shell, "-n", script], check=True)


PRETENDED = """#!/bin/sh
echo "$*" >>"$0.called"
echo "$(basename "$0")"
for word in "$@"; do echo "$word"; done
for name in PWD FLWR_HOME FLWR_TELEMETRY_ENABLED FLWR_DISABLE_UPDATE_CHECK \\
    FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION MINIFL_DATA FORWARDED_ALLOW_IPS; do
    eval "echo $name=\\${$name:-}"
done
"""


@pytest.fixture
def moved(emitted, tmp_path, monkeypatch):
    """Call a script of the deployment, moved, where programs only say what they were called with: its lines.

    The program that is started for good also ends the script that starts it again and again.
    """
    machine = tmp_path / "another machine"
    shutil.copytree(emitted[0], machine)
    bin_ = tmp_path / "bin"
    bin_.mkdir()
    for name in ("flower-supernode", "flwr", "python"):
        (bin_ / name).write_text(PRETENDED)
        (bin_ / name).chmod(0o755)
    (bin_ / "python").write_text(f'#!/bin/sh\nif [ "$1" = -c ]; then echo "{bin_}/python"; exit; fi\n{PRETENDED}'
                                 'case "$*" in *"closed supernode"*) kill "$PPID";; esac\n')
    monkeypatch.delenv("MINIFL_DATA", raising=False)

    def call(script, **environment):
        done = subprocess.run([machine / script], capture_output=True, text=True, cwd=tmp_path, timeout=20,
                              env=os.environ | {"PYTHON": str(bin_ / "python")} | environment)
        assert done.returncode == 0, done.stderr
        return machine / Path(script).parent, done.stdout.splitlines()

    return call


def after(lines, option):
    return lines[lines.index(option) + 1]


def test_start_superlink(moved):
    here, lines = moved("server/start-superlink.sh", MINIFL_DATA="my data")
    assert lines[:4] == ["python", "-m", "minifl.flower.closed", "superlink"]
    assert (after(lines, "--host"), after(lines, "--port")) == ("0.0.0.0", "9092")
    for option, file in (("--ssl-ca-certfile", "ca.pem"), ("--ssl-certfile", "server.pem"),
                         ("--ssl-keyfile", "server.key")):
        assert after(lines, option) == str(here / file)
    assert {"--enable-supernode-auth", "--disable-runtime-dependency-installation", "FLWR_TELEMETRY_ENABLED=0",
            "FLWR_DISABLE_UPDATE_CHECK=1", "FLWR_DISABLE_RUNTIME_DEPENDENCY_INSTALLATION=1",
            "FORWARDED_ALLOW_IPS=127.0.0.1", f"PWD={here}", f"MINIFL_DATA={here.parents[1] / 'my data'}"} <= set(lines)
    assert "--insecure" not in lines


def test_register_nodes(moved, tmp_path):
    here, lines = moved("server/register-nodes.sh")
    assert (tmp_path / "bin/flwr.called").read_text().splitlines() == [
        f"supernode register {here}/keys/node-{i}.pub loop --name node-{i}" for i in range(NODES)]
    assert lines[:7] == ["python", "-m", "minifl.flower.onsite", "connection", str(here / "flwr/link"),
                         "127.0.0.1:9092", str(here / "ca.pem")]
    assert [line for line in lines if "registered" in line] == ["node-0 is registered.", "node-1 is registered."]


def test_register_nodes_once_more_and_in_vain(moved, tmp_path):
    (tmp_path / "bin/flwr").write_text("#!/bin/sh\necho 'Public key already in use'\nexit 1\n")
    _, lines = moved("server/register-nodes.sh")
    assert [line for line in lines if "registered" in line] == ["node-0 was registered before.",
                                                                "node-1 was registered before."]
    (tmp_path / "bin/flwr").write_text("#!/bin/sh\necho 'Something else'\nexit 1\n")
    with pytest.raises(AssertionError, match="Something else"):
        moved("server/register-nodes.sh")


def test_an_environment_without_flower_is_named(moved, tmp_path):
    (tmp_path / "bin/flower-supernode").unlink()
    with pytest.raises(AssertionError, match="bin/python has no Flower: activate the environment"):
        moved("node-0/start.sh", PATH="/usr/bin:/bin")


def test_start_run(moved):
    here, lines = moved("server/start-run.sh")
    assert lines[:5] == ["python", "-m", "minifl.flower.onsite", "ready", str(here / "run")]
    assert lines[lines.index("flwr"):][:4] == ["flwr", "run", str(here / "app"), "loop"]
    assert f"FLWR_HOME={here / 'flwr/link'}" in lines and any(str(here / "run/rounds.jsonl") in line for line in lines)


def test_start_of_a_node(moved):
    here, lines = moved("node-1/start.sh", MINIFL_DATA="/the data", WORKERS="3", PORT="9100")
    assert lines[:4] == ["python", "-m", "minifl.flower.closed", "supernode"] and "--insecure" not in lines
    assert after(lines, "--superlink") == "fl.example.org:9092"
    assert after(lines, "--root-certificates") == str(here / "ca.pem")
    assert after(lines, "--auth-supernode-private-key") == str(here / "node.key")
    assert (after(lines, "--host"), after(lines, "--port")) == ("127.0.0.1", "9100")
    from flwr.common.config import parse_config_args
    assert parse_config_args([after(lines, "--node-config")]) == {
        "partition-id": 1, "num-partitions": NODES, "workers": 3, "data-dir": "/the data",
        "state-dir": str(here / "clients")}
    assert {"FLWR_TELEMETRY_ENABLED=0", "FLWR_DISABLE_UPDATE_CHECK=1", f"FLWR_HOME={here / 'flwr'}"} <= set(lines)


def test_a_node_has_its_data_beside_it_or_none(moved):
    here, lines = moved("node-0/start.sh")
    assert 'data-dir=""' in after(lines, "--node-config")
    (here / "data").mkdir()
    _, lines = moved("node-0/start.sh")
    assert f'data-dir="{here / "data"}"' in after(lines, "--node-config")


@pytest.mark.parametrize("address", [
    "", "fl.example.org", "fl.example.org:", "fl.example.org:0", "fl.example.org:65536", "fl.example.org:port", ":9092",
    "https://fl.example.org:9092", "fl.example.org:9092/", "fl example.org:9092", "a$(id).org:9092", "-a.org:9092",
    "a..org:9092", "192.0.2:9092", "192.0.2.300:9092", "0.0.0.0:9092", "2001:db8::7:9092", "[2001:db8::7]",
    "[2001:db8::7]:70000", "[::]:9092", "[192.0.2.7]:9092", "[fl.example.org]:9092", "[fe80::1%eth0]:9092",
    "fl.example.org:9092\n", "fl.example.org:９０９２", "224.0.0.1:9092"])
def test_an_address_that_is_none_is_refused(address, data_dir, tmp_path, capsys):
    code, _, errors = called(capsys, *options(data_dir, tmp_path / "fed", address))
    message = " ".join(errors.split())
    assert code == 2 and "--address" in message and "[2001:db8::7]:9092" in message and "1 to 65535" in message
    assert " ".join(address.split()) in message
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("address, found", [
    ("fl.example.org:1", ("fl.example.org", 1)), ("localhost:65535", ("localhost", 65535)),
    ("192.0.2.7:9092", ("192.0.2.7", 9092)), ("[2001:db8::7]:9092", ("2001:db8::7", 9092)), ("[::1]:80", ("::1", 80))])
def test_addresses(address, found):
    assert deployment.parse_address(address) == found


def test_an_ipv6_address_is_in_brackets_where_a_port_follows():
    text = scripts.node(0, 1, "[2001:db8::7]:9092")
    assert '--superlink "[2001:db8::7]:9092"' in text


def test_ipv6_listens_on_ipv6(data_dir, tmp_path, capsys):
    code, _, errors = called(capsys, *options(data_dir, tmp_path / "fed", "[2001:db8::7]:9092"))
    assert not code, errors
    assert "--host :: --port 9092" in (tmp_path / "fed/server/start-superlink.sh").read_text()
    assert '"[::1]:9092"' in (tmp_path / "fed/server/start-run.sh").read_text()
    assert '--superlink "[2001:db8::7]:9092"' in (tmp_path / "fed/node-0/start.sh").read_text()
    names = x509.load_pem_x509_certificate((tmp_path / "fed/server/server.pem").read_bytes()).extensions \
        .get_extension_for_class(x509.SubjectAlternativeName).value
    assert str(names.get_values_for_type(x509.IPAddress)[0]) == "2001:db8::7"


def test_an_empty_folder_is_taken_and_another_one_is_refused(data_dir, tmp_path, capsys):
    folder = tmp_path / "fed"
    folder.mkdir()
    assert not called(capsys, *options(data_dir, folder))[0]
    before = {name: (folder / name).read_bytes() for name in files(folder)}
    code, _, errors = called(capsys, *options(data_dir, folder))
    assert code == 2 and f"--emit {folder}" in " ".join(errors.split()) and "not an empty folder" in errors
    assert {name: (folder / name).read_bytes() for name in files(folder)} == before
    (tmp_path / "file").write_text("kept")
    code, _, errors = called(capsys, *options(data_dir, tmp_path / "file"))
    assert code == 2 and f"--emit {tmp_path / 'file'}" in " ".join(errors.split())
    assert (tmp_path / "file").read_text() == "kept"
    code, _, errors = called(capsys, *options(data_dir, tmp_path / "file" / "fed"))
    assert code == 2 and "--emit" in errors
    assert {path.name for path in tmp_path.iterdir()} == {"fed", "file"}


@pytest.mark.parametrize("failing", [(scripts, "readme"), (scripts, "node"), (os, "replace"), (os, "fdopen")],
                         ids=lambda what: what[1])
def test_nothing_is_left_of_a_failure(failing, data_dir, tmp_path, capsys, monkeypatch):
    def fail(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(*failing, fail)
    code, _, errors = called(capsys, *options(data_dir, tmp_path / "fed"))
    message = " ".join(errors.split())
    assert code == 2 and f"--emit {tmp_path / 'fed'} cannot be written: " in message and "No space left" in message
    assert ".tmp" not in message
    assert not list(tmp_path.iterdir())


# what the scripts call

def test_a_run_that_has_ended_is_not_started_again(emitted):
    run = emitted[0] / "server/run"
    onsite.ready(run)
    record.finish(run, "failed", "TimeoutError: no node", 0, None)
    onsite.ready(run)
    assert not (run / "end.json").exists()
    record.finish(run, "finished", None, 2, None)
    with pytest.raises(InputError, match="nothing to resume"):
        onsite.ready(run)
    with locked(run), pytest.raises(InputError, match="another process"):
        onsite.ready(run)


def test_the_connection_has_absolute_paths_and_waits(tmp_path, monkeypatch):
    monkeypatch.setattr(onsite, "STARTING", 0)
    with pytest.raises(InputError, match="No SuperLink listens on 127.0.0.1:1"):
        onsite.connection(tmp_path, "127.0.0.1:1", str(tmp_path / "ca.pem"))
    found = tomllib.loads((tmp_path / "config.toml").read_text())["superlink"]
    assert found[found["default"]] == {"address": "127.0.0.1:1", "root-certificates": str(tmp_path / "ca.pem")}


def test_a_script_shows_no_traceback(tmp_path, capsys):
    with pytest.raises(SystemExit, match="Error: .*config.json"):
        onsite.main("ready", str(tmp_path))
    assert json.dumps(capsys.readouterr()) == '["", ""]'
