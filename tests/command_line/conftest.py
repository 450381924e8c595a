"""The command line, called in an empty folder, and options of a run of a second."""

import pytest

from minifl.cli import main


@pytest.fixture
def cli(capsys, monkeypatch, tmp_path):
    """Call the command line in an empty folder: (exit code, stdout, stderr); no exception may escape."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("MINIFL_DATA", raising=False)

    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return exit_.value.code, *capsys.readouterr()

    return call


@pytest.fixture
def small(data_dir):
    """Options of a run of a second."""
    return ("--data", "cifar10", "--data-dir", data_dir, "--device", "cpu", "--width", "0.05",
            "--rounds", "4", "--local-steps", "1", "--batch-size", "4", "--eval-every", "2")
