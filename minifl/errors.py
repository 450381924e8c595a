"""The one exception that stands for bad input; the command line turns it into exit code 2."""

from collections.abc import Iterable


class InputError(ValueError):
    """What the user gave cannot be used: the message names it, what was found and what would be valid."""


def unknown(what: str, value: object, valid: Iterable[str]) -> InputError:
    """The InputError at the end of a choice between names: none of them is `value`."""
    return InputError(f"{what} {value!r} is unknown; valid are {', '.join(valid)}.")
