"""Where, when and by what a run was made; and of its config, what decides its bits."""

import os
import platform
import shlex
import subprocess
import sys
from datetime import datetime, timezone
from pathlib import Path

import numpy as np
import scipy

import minifl


def environment(device: str, precision: str = "fp32") -> dict:
    """Where and by what a run was made."""
    return {
        "command": shlex.join(["python", *_program(), *sys.argv[1:]]),
        "started": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "versions": versions(),
        "commit": _commit(),
        "device": device,
        "precision": precision,
        "machine": f"{platform.machine()}, {os.cpu_count()} cores, {platform.system()}",
    }


def versions() -> dict[str, str]:
    """Of minifl and of what its numbers depend on."""
    return {"minifl": minifl.__version__, "python": platform.python_version(), "numpy": np.__version__,
            "scipy": scipy.__version__}


def _program():
    name = Path(sys.argv[0]).name
    return ["-m", "minifl"] if name == "__main__.py" else [name]


def _commit():
    """The commit of minifl's own checkout, with + if the tree was changed; None outside a checkout."""
    root = Path(minifl.__file__).resolve().parent.parent
    if not (root / ".git").exists():
        return None
    try:
        git = ["git", "-C", str(root)]
        commit = subprocess.run([*git, "rev-parse", "HEAD"], capture_output=True, check=True).stdout.decode().strip()
        changed = subprocess.run([*git, "status", "--porcelain", "--", "minifl"], capture_output=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        return None
    return commit + ("+" if changed else "")
