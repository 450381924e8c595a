"""The command line, and a small data set on disk for its tests."""

import minifl  # noqa: F401  (before NumPy, as in a process of a user's: it gives the BLAS one thread, minifl/blas.py)

import numpy as np
import pytest

from minifl.cli import main
from minifl.data import embedded
from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset


@pytest.fixture(scope="session", autouse=True)
def embedded_drawn_once():
    """The embedded set is drawn once for all tests, not to be written to; tests/data/test_embedded.py looks at its bytes."""
    draw, drawn = embedded.generate, []

    def generate(*arguments, **options):
        if arguments or options:
            return draw(*arguments, **options)
        if not drawn:
            drawn.append(draw())
            for array in drawn[0]:
                array.flags.writeable = False
        return drawn[0]

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(embedded, "generate", generate)
        yield


@pytest.fixture(scope="session")
def data_dir(tmp_path_factory):
    """A folder with a small cifar10.npz: 400 training and 100 test images of noise, 10 classes."""
    folder = tmp_path_factory.mktemp("data")
    rng = np.random.default_rng(0)

    def images(n):
        return rng.integers(0, 256, (n, 32, 32, 3), dtype=np.uint8)

    write_dataset(folder / "cifar10.npz", make_dataset(
        "cifar10", images(400), np.arange(400) % 10, images(100), np.arange(100) % 10,
        [f"class{c}" for c in range(10)], "noise for a test"))
    return folder


@pytest.fixture
def cli(capsys):
    """Call the command line: (exit code, stdout, stderr); no exception may escape."""
    def call(*arguments):
        with pytest.raises(SystemExit) as exit_:
            main([str(argument) for argument in arguments])
        return exit_.value.code, *capsys.readouterr()
    return call
