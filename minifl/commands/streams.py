"""What a program prints to: every name can be printed, and a stream that takes nothing more ends it with a message."""

import contextlib
import errno
import os
import sys
from typing import Any

import click

NO_MORE = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO, errno.EBADF}     # of a stream: files are named in errors


class Careful:
    """Before click.Command or click.Group: no name, closed or full stream ends in a traceback.

    Characters that the output's encoding lacks are written as \\xe4 or \\u65e5. Where stdout is closed or full, and where
    the system refuses something about a file that nobody asked about before, the exit code is 2; where nobody reads the
    output any more it is 1, as always with click.
    """

    def main(self, *arguments: Any, **options: Any) -> Any:
        _take_places()
        if sys.stdout is None:
            click.echo("Error: stdout is closed; send it to a file, or to /dev/null.", err=True)
            sys.exit(2)
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="backslashreplace")
        try:
            try:
                return super().main(*arguments, **options)     # type: ignore[misc]    # click's
            finally:
                sys.stdout.flush()
        except OSError as error:
            for stream in (sys.stdout, sys.stderr):
                _silence_if_broken(stream)
            if error.errno == errno.EPIPE:
                sys.exit(1)
            if error.filename is None and error.errno not in NO_MORE:
                raise
            what = "the output" if error.filename is None else os.fsdecode(error.filename)
            with contextlib.suppress(OSError):
                click.echo(f"Error: {what} cannot be used: {error.strerror}.", err=True)
            sys.exit(2)


def _take_places():
    """Give stdin, stdout and stderr that are closed to nobody: the next file that is opened would get their number."""
    handle = 0
    while handle < 3:
        handle = os.open(os.devnull, os.O_RDWR)
    os.close(handle)


def _silence_if_broken(stream):
    """What a stream could not take goes nowhere: Python would try once more at its end."""
    try:
        stream.flush()
    except OSError:
        with contextlib.suppress(OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
