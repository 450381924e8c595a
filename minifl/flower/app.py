"""What Flower wants in files: the app, which is minifl itself, and the connection to a SuperLink."""

import json
from pathlib import Path
from typing import Any

import minifl
from minifl.atomic import write

LINK = "loop"       # the name of the connection in Flower's configuration

APP = """\
[build-system]
requires = ["setuptools"]
build-backend = "setuptools.build_meta"

[project]
name = "minifl-federation"
version = "{version}"
description = "A run of minifl; every node has minifl installed"
license = "MIT"
dependencies = []

[tool.setuptools]
packages = []

[tool.flwr.app]
publisher = "minifl"

[tool.flwr.app.components]
serverapp = "minifl.flower.server:app"
clientapp = "minifl.flower.client:app"

[tool.flwr.app.config]
{config}
"""

CONNECTION = """\
[superlink]
default = "{name}"

[superlink.{name}]
address = {address}
{security}
"""


def write_app(folder: str | Path, config: dict) -> None:
    """The folder that `flwr run` takes; config: name -> text, number or truth, of server.py."""
    lines = "\n".join(f"{name} = {json.dumps(value)}" for name, value in config.items())
    write(Path(folder) / "pyproject.toml", APP.format(version=minifl.__version__, config=lines).encode())


def write_connection(folder: str | Path, address: str, ca: Any) -> None:
    """FLWR_HOME of who gives the run to the SuperLink; ca: file of the certificate that signs its own, None: no TLS."""
    security = "insecure = true" if ca is None else f"root-certificates = {json.dumps(str(ca))}"
    text = CONNECTION.format(name=LINK, address=json.dumps(address), security=security)
    write(Path(folder) / "config.toml", text.encode())
