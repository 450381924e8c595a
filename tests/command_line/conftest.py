"""The command line, called in an empty folder, and options of a run of a second."""

import pytest

from minifl import own
from minifl.models.norms import KINDS

from owning import SMALL, forget


@pytest.fixture
def cli(cli, monkeypatch, tmp_path):
    """The same in an empty folder."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIFL_DATA", raising=False)
    return cli


@pytest.fixture
def small(data_dir):
    """Options of a run of a second."""
    return ("--data", "cifar10", "--data-dir", data_dir, "--device", "cpu", "--width", "0.05",
            "--rounds", "4", "--local-steps", "1", "--batch-size", "4", "--eval-every", "2")


@pytest.fixture(autouse=True)
def as_before():
    """What a test loads is gone after it, as at the end of a process."""
    before, norms = {name: dict(kind.registry) for name, kind in own.KINDS.items()}, dict(KINDS)
    yield
    for name in KINDS.keys() - norms.keys():      # the pairs of norms of one's own
        del KINDS[name]
    for name, kind in own.KINDS.items():
        kind.registry.clear()
        kind.registry.update(before[name])
    own.LOADED.clear()
    own.RECORDED.clear()


@pytest.fixture
def run(cli, small):
    """Call a command as in a process of its own; it must go well. Returns what it printed. A run is a small one."""
    def call(*arguments, code=0):
        forget()
        new = arguments[0] in ("train", "sweep") and "--resume" not in arguments
        own_data = "--data" in arguments
        found = cli(arguments[0], *(small[2 * own_data:] + SMALL if new else ()), *arguments[1:])
        assert found[0] == code, found[2]
        return found[2 if code == 2 else 1]
    return call
