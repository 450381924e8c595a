"""What a run directory says of its settings. What is wrong with them is its file's fault, and no option's."""

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path

from minifl import own
from minifl.errors import InputError
from minifl.runs import record
from minifl.runs.settings import Settings, settings_for


@contextlib.contextmanager
def blaming(file: str | Path) -> Iterator[None]:
    """Inside, InputErrors about options, which nobody gave, become one about the file that has their values."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{file} was changed or is damaged: {re.sub('--(?=[a-z])', '', str(error))}") from error


def settings_in(path: str | Path, config: dict) -> Settings:
    """The Settings in the config (record.read_config) of the run directory `path`, to be looked at: what is not ours need
    not be loaded. Raises InputError."""
    own.read(config)
    with blaming(Path(path) / record.CONFIG):
        return settings_for(config["settings"].get("data"), config["settings"])
