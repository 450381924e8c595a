"""Where this process has found NumPy and SciPy: what a process that starts without site-packages needs to find them, too.

The places come from the imported modules, as installations differ: a virtual environment, conda, --user, PYTHONPATH, one
package in the environment and the other in the system, shared libraries beside them or in the folder of the interpreter.
"""

import os
import sys
from pathlib import Path

import numpy as np


def packages() -> dict[str, Path]:
    """name -> folder of each package."""
    import scipy
    return {package.__name__: Path(package.__file__).resolve().parent for package in (np, scipy)}


def files() -> tuple[list[Path], list[Path]]:
    """What has to be readable for them: their folders, the libraries that lie beside these, those of the interpreter's
    folder, and those that this process has loaded from anywhere."""
    folders = list(packages().values())
    beside = [folder.parent / f"{folder.name}.libs" for folder in folders]
    loaded = set(Path(sys.base_prefix, "lib").glob("*.so*")) | _mapped()
    return [*folders, *(folder for folder in beside if folder.exists())], sorted(loaded)


def path() -> list[str]:
    """sys.path as this process has it, without what depends on its current folder."""
    return [entry for entry in sys.path if os.path.isabs(entry)]


def _mapped():
    """The shared libraries that are mapped into this process; none where the system does not say."""
    try:
        lines = Path("/proc/self/maps").read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        return set()
    fields = [line.split(maxsplit=5) for line in lines]
    return {Path(field[5]) for field in fields if len(field) == 6 and field[5].startswith("/") and ".so" in field[5]}
