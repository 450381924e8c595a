"""One process at a time writes a run directory."""

import contextlib
import os
from pathlib import Path

from minifl.errors import InputError

try:
    import fcntl
except ImportError:     # Windows: directories are not locked there
    fcntl = None


@contextlib.contextmanager
def locked(path):
    """Hold the run directory `path`, made if it does not exist, for this process alone.

    The lock is the system's: it ends with the process, however that ends. Raises InputError if another process
    holds it, or if the directory cannot be made.
    """
    path = Path(path)
    try:
        if os.path.lexists(path) and not os.path.isdir(path):
            raise InputError(f"--out {path} exists and is not a run directory; choose another name.")
        path.mkdir(parents=True, exist_ok=True)
        handle = os.open(path, os.O_RDONLY) if fcntl else None
    except OSError as error:
        raise InputError(f"--out {path} cannot be written: {error.strerror}.") from error
    try:
        if fcntl:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise InputError(f"{path} is being written by another process; wait for it, or choose another "
                                 f"name with --out.") from None
            except OSError:     # a file system without locks
                pass
        yield path
    finally:
        if handle is not None:
            os.close(handle)
