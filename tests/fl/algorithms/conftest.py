"""The convex problem in the place of a network's loss."""

import sys
from pathlib import Path

import pytest

sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[2])]

from convex import made, quadratic   # noqa: E402


@pytest.fixture
def convex(monkeypatch):
    for module in ("fedavg", "scaffold"):
        monkeypatch.setattr(f"minifl.fl.algorithms.{module}.loss_and_grad", quadratic)
    return made()
