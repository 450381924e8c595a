"""What a user's code raises under a sweep: whose failure it is, forward's or backward's, and at which line."""

import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck.findings import Property, Report

RUNS = "runs"
HERE = Path(__file__).parent


def marked(role: str, function: Callable) -> Callable:
    """The function; what it raises carries its role, "forward" or "backward"."""
    def called(*arguments, **keywords):
        try:
            return function(*arguments, **keywords)
        except InputError:
            raise
        except Exception as error:
            if not hasattr(error, "raised_by"):
                error.raised_by = role          # type: ignore[attr-defined]
            raise

    called.__wrapped__ = function       # type: ignore[attr-defined]    # its arguments keep their names
    return called


def raised(arrays: Any, error: Any) -> Report:
    """The Report of a pair that raises on these inputs: with the lines of the user's code at which it did."""
    shapes = {name: np.shape(array) for name, array in dict(arrays).items()}
    frames = traceback.extract_tb(error.__traceback__)
    ours = [i for i, frame in enumerate(frames) if Path(frame.filename).parent == HERE]
    lines = traceback.format_list(frames[ours[-1] + 1 if ours else 0:]) or traceback.format_list(frames[-1:])
    said = f"{getattr(error, 'raised_by', 'the check')} raises {type(error).__name__}: {error}\n{''.join(lines).rstrip()}"
    return Report((), (Property(RUNS, np.inf, 0.0, said),), shapes)


def verdict(report: Any) -> str:
    """What a Report that did not pass amounts to."""
    failures = [p.hint for p in report.properties if p.name == RUNS]
    return failures[0].split(" raises", 1)[0] + " raises an error" if failures else "the backward pass is wrong"
