"""The convex problem in the place of a network's loss."""

import pytest

from convex import made, quadratic


@pytest.fixture
def convex(monkeypatch):
    for module in ("fedavg", "scaffold"):
        monkeypatch.setattr(f"minifl.fl.algorithms.{module}.loss_and_grad", quadratic)
    return made()
