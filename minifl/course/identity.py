"""A student's id: one text for one student, however it is typed. Variant, shapes and seeds follow from it."""

import unicodedata

from minifl.errors import InputError

LONGEST = 100     # characters


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
