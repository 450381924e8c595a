"""What a killed `federate` leaves is ended by the resume, and nothing else is. Processes that stand for Flower's."""

import os
import subprocess
import sys
import time

import pytest

from inprocess import begun, federate, record

from minifl.errors import InputError
from minifl.flower import leftovers
from minifl.runs.locking import born, holders, locked

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="processes are looked for in /proc")
HOLD = """import fcntl, os, sys, time
fcntl.flock(os.open(sys.argv[1], os.O_RDONLY), fcntl.LOCK_EX)
print("locked", flush=True)
time.sleep(600)"""


@pytest.fixture
def processes():
    """Start a process that holds the lock of a run directory, with this in its environment; they end with the test."""
    made = []

    def start(run, **environment):
        process = subprocess.Popen([sys.executable, "-c", HOLD, run], stdout=subprocess.PIPE,
                                   env=os.environ | environment, start_new_session=True)
        made.append(process)
        assert process.stdout.readline() == b"locked\n"
        return process

    yield start
    for process in made:
        process.kill()
        process.wait()


def gone():
    """Id of a process that is gone, and when it began."""
    process = subprocess.Popen(["sleep", "600"])
    began = born(process.pid)
    process.kill()
    while born(process.pid) is not None:        # from now on a zombie, which counts as gone
        time.sleep(0.01)
    process.wait()
    return process.pid, began


def marks(run, owner):
    return {"FLWR_HOME": str(run / "federation" / "home" / "superlink"), leftovers.OWNER: "{} {}".format(*owner)}


def test_what_a_dead_federate_left_is_ended_and_the_run_goes_on(tmp_path, data_dir, processes):
    run = tmp_path / "run"
    begun(run, data_dir)
    owner = gone()
    process = processes(run, **marks(run, owner))
    with pytest.raises(InputError, match=rf"written by another process \(process {process.pid}, .*python.* -c .*, since "
                                         r"20\d\d-\d\d-\d\d \d\d:\d\d:\d\d\)"), locked(run):
        pass
    assert holders(run) == [process.pid]
    _, messages = federate.check_resumable(run, record.read_config(run))
    assert len(messages) == 1 and messages[0].startswith(f"Ended process {process.pid}, ")
    assert messages[0].endswith(f"it was left by process {owner[0]}, which is gone.")
    assert process.wait(timeout=10) == -9 and not holders(run)


def test_the_processes_of_a_federate_that_is_at_work_are_left_alone(tmp_path, data_dir, processes):
    run = tmp_path / "run"
    begun(run, data_dir)
    process = processes(run, **marks(run, (os.getpid(), born(os.getpid()))))
    with pytest.raises(InputError, match=f"run is being done by process {os.getpid()}, .*; wait for it, or end it"):
        federate.check_resumable(run, record.read_config(run))
    assert process.poll() is None


@pytest.mark.parametrize("change", [
    lambda run, found: found | {"FLWR_HOME": str(run / "federation-of-somebody" / "home")},     # of another run
    lambda run, found: {"FLWR_HOME": found["FLWR_HOME"], leftovers.OWNER: ""},                  # begun by nobody known
    lambda run, found: found | {"FLWR_HOME": "", },
])
def test_processes_that_are_not_marked_as_left_are_only_named(change, tmp_path, data_dir, processes):
    run = tmp_path / "run"
    begun(run, data_dir)
    process = processes(run, **change(run, marks(run, gone())))
    with pytest.raises(InputError, match=rf"written by another process \(process {process.pid}, "):
        federate.check_resumable(run, record.read_config(run))
    assert process.poll() is None


def test_an_id_that_was_given_to_another_process_since_is_not_the_federate(tmp_path, data_dir, processes):
    run = tmp_path / "run"
    begun(run, data_dir)
    process = processes(run, **marks(run, (os.getpid(), born(os.getpid()) - 1)))
    assert len(federate.check_resumable(run, record.read_config(run))[1]) == 1 and process.wait(timeout=10) == -9


def test_force_ends_them_too(tmp_path, data_dir, processes):
    run = tmp_path / "run"
    arguments = begun(run, data_dir)
    process = processes(run, **marks(run, gone()))
    federate.begin(*arguments, run, nodes=2, wait=1, timeout=9, clip_update=None, tls=False, force=True)
    assert process.wait(timeout=10) == -9


def test_every_process_of_a_federation_is_marked(tmp_path):
    from minifl.flower.loopback import Federation
    found = Federation(tmp_path, [], {})._environment("supernode-1")
    assert found[leftovers.OWNER] == f"{os.getpid()} {born(os.getpid())}"
    assert found["FLWR_HOME"].startswith(f"{tmp_path.resolve()}/")
