"""Python processes that we start: what they have to find."""

import os
import sys
from pathlib import Path


def environment() -> dict[str, str]:
    """The environment of such a process: it finds this package, also where that is not installed."""
    root = str(Path(__file__).resolve().parents[1])
    paths = [root, *filter(None, [os.environ.get("PYTHONPATH")])]
    return os.environ | {"PYTHONPATH": os.pathsep.join(paths)}


def command(module: str) -> list[str]:
    """How a module of this package is started where the current folder may hold files of strangers: nothing of it is
    imported, as `python -m` would; and what this process finds is found."""
    paths = [str(Path(__file__).resolve().parents[1]), *(path for path in sys.path if os.path.isabs(path))]
    start = f"import runpy, sys; sys.path[:0] = {paths!r}; runpy.run_module({module!r}, run_name='__main__', alter_sys=True)"
    return [sys.executable, "-I", "-B", "-c", start]
