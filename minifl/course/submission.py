"""What is taken from a submission: the files of the assignment, and what its settings.json claims. Nothing is run."""

import json
import os
import stat
from pathlib import Path

from minifl.course.assignments import Assignment
from minifl.course.carve import SETTINGS
from minifl.course.identity import LONGEST
from minifl.errors import InputError

LARGEST = 1 << 20     # bytes of a file


def taken(assignment: Assignment, submission: str | Path, tree: Path) -> list[str]:
    """Copy the assignment's files, and no others, over those of the tree. Returns notes on those that are not as they
    should be."""
    notes = []
    for file in assignment.files:
        try:
            data = read(submission, file, LARGEST)
            if data is None:
                notes.append(f"{file} is missing: nothing in it is written")
                continue
            (tree / file).write_bytes(data)
        except InputError as error:
            notes.append(f"{file} {error} and was not taken")
    return notes


def advice(error: str) -> str:
    """What helps where a text's encoding is the matter; Python's words for it differ from version to version."""
    return (" (it is not UTF-8 text; save it as that, or name its encoding in the first line: # coding: latin-1)"
            if "codec can't decode" in error or "Non-UTF-8" in error else "")


def claimed(submission: str | Path) -> dict:
    """What the submission's settings.json says of "assignment" and "student", short texts, and "variant", as far as it
    is readable: it may have been edited."""
    try:
        settings = json.loads(read(submission, SETTINGS, 10000) or b"{}")
        assert type(settings) is dict
    except (OSError, ValueError, RecursionError, AssertionError):
        return {}
    found = {key: settings[key] for key in ("assignment", "student", "version")
             if type(settings.get(key)) is str and len(settings[key]) <= LONGEST and settings[key].isprintable()}
    variant = settings.get("variant")
    if type(variant) is dict and all(type(value) is str for value in variant.values()) and len(variant) <= 50:
        found["variant"] = variant
    return found


def read(submission: str | Path, file: str, largest: int) -> bytes | None:
    """The bytes of a file of the submission, None if it is not there. Raises InputError, saying why, if it is refused.

    It is looked for at its place, in the one folder that the submission may consist of, and at the top, as uploads of
    single files lose their folders. No part of the path within the submission may be a link.
    """
    submission = Path(submission)
    try:
        inner = [path for path in submission.iterdir() if path.is_dir() and path.name not in ("minifl", "__MACOSX")]
    except OSError as error:
        raise InputError(f"cannot be read ({error.strerror})") from None
    places = [submission / file, *([inner[0] / file] if len(inner) == 1 else []), submission / Path(file).name]
    for path in places:
        if not os.path.lexists(path):
            continue
        parts = path.relative_to(submission).parts
        if any((submission.joinpath(*parts[:i + 1])).is_symlink() for i in range(len(parts))):
            raise InputError("is no plain file, but is, or lies behind, a link")
        try:
            # neither waits for a pipe nor follows a link
            with open(os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW), "rb") as opened:
                if not stat.S_ISREG(os.fstat(opened.fileno()).st_mode):
                    raise InputError("is no plain file")
                data = opened.read(largest + 1)
        except OSError as error:
            raise InputError(f"cannot be read ({error.strerror})") from None
        if len(data) > largest:
            raise InputError(f"is larger than {largest / 2**20:.2g} MB")
        return data
    return None
