"""A student's id: one text for one student, however it is typed. Variant, shapes and seeds follow from it."""

import hashlib
import unicodedata
from urllib.parse import quote

from minifl.errors import InputError

LONGEST, LONGEST_NAME = 100, 120     # characters of an id, bytes of the name of a file


def canonical(text: str) -> str:
    """The id as it is used everywhere: without blanks around it, in lower case, letters composed; "" stays "".

    Raises InputError for what no roster, terminal or settings file could hold: control characters, half of a surrogate
    pair, more than 100 characters.
    """
    folded = unicodedata.normalize("NFD", text.strip()).casefold()
    found = unicodedata.normalize("NFC", folded).strip()
    if not found.isprintable() or len(found) > LONGEST:
        raise InputError(f"id {text[:LONGEST + 1]!r} is not valid; it must be text of at most {LONGEST} characters, none of "
                         "them for control.")
    return found


def file_name(text: str) -> str:
    """A student's id, or a question's name, as the name of a file: another one for another id."""
    name = "".join(c if c.isalnum() or c in "@.+-_" else quote(c, safe="") for c in text)
    name = f"%2E{name[1:]}" if name.startswith(".") else name
    if len(name.encode()) <= LONGEST_NAME:
        return name
    return f"{quote(text, safe='')[:LONGEST_NAME - 20]}%{hash_of(text)}"


def hash_of(text: str) -> str:
    """A few digits that tell a text from others."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]
