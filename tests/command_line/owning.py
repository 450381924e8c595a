"""Small runs with things of one's own, shared by the tests of it."""

from pathlib import Path

import numpy as np

from minifl import own

SMALL = ("--model", "mlp", "--rounds", "3", "--eval-every", "1", "--local-eval-every", "0", "--checkpoint-every", "1")


def forget():
    """What a command loaded is gone, as at the end of its process."""
    for name, text in own.LOADED:
        own.KINDS[name].registry.pop(text, None)
    own.LOADED.clear()
    own.RECORDED.clear()


def bits(folder):
    """The model of a run: name -> bytes."""
    with np.load(Path(folder) / "model.npz") as model:
        return {name: model[name].tobytes() for name in model.files}
