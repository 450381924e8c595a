"""Data for the small runs."""


import numpy as np
import pytest

from minifl.data.dataset import make_dataset
from minifl.data.files import write_dataset
from minifl.runs import provenance

@pytest.fixture(scope="module")
def data_dir(tmp_path_factory):
    """A folder with a tiny cifar10.npz: 120 training and 40 test images of noise, 4 classes."""
    folder, rng = tmp_path_factory.mktemp("data"), np.random.default_rng(0)
    x_train, x_test = (rng.integers(0, 256, (n, 6, 6, 3), dtype=np.uint8) for n in (120, 40))
    write_dataset(folder / "cifar10.npz", make_dataset("cifar10", x_train, np.arange(120) % 4, x_test,
                                                       np.arange(40) % 4, "abcd", "noise for a test"))
    return folder


@pytest.fixture(autouse=True)
def settled(monkeypatch, data_dir):
    """The folder of the data, and no calls of git, which take longer than these runs."""
    monkeypatch.setenv("MINIFL_DATA", str(data_dir))
    monkeypatch.setattr(provenance, "_commit", lambda: "a commit")
