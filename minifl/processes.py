"""Python processes that we start: what they have to find."""

import os
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment of such a process: it finds this package, also where that is not installed."""
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}
