"""A choice declared once: beside a dataclass's field stand its default, what is valid, its help and where its value is
from. The check of a value, the option of the command line and its --help, and the tests are made from that."""

import sys
from collections.abc import Callable, Iterable
from dataclasses import MISSING, dataclass, field, fields
from functools import cache
from typing import Any

from minifl.errors import InputError

LARGEST = sys.float_info.max
KINDS = {kind.__name__: kind for kind in (int, float, str, bool)}


def declared(default: Any = MISSING, *, help: str = "", source: str = "", at_least: float | None = None,
             above: float | None = None, at_most: float | None = None, below: float | None = None,
             choices: Iterable[str] | Callable[[], Iterable[str]] | None = None, wanted: str = "") -> Any:
    """A field of a dataclass that is a choice, int, float, str or bool by its annotation.

    default   none: it has to be chosen; None: it need not be
    source    where the default is from
    at_least, above, at_most, below   the ends of a number's range
    choices   the names that are valid, or a function that returns them
    wanted    what is valid, in words, where no range and no names say it
    """
    return field(default=default, metadata={"choice": dict(
        help=help, source=source, at_least=at_least, above=above, at_most=at_most, below=below, choices=choices,
        wanted=wanted)})


def again(choice: "Choice", default: Any = MISSING) -> Any:
    """A field that is declared elsewhere, with another default."""
    return declared(default, **{one.name: getattr(choice, one.name) for one in fields(Choice)
                                if one.name not in ("name", "kind", "default")})


hyperparameter = declared       # how it is called in the class of a method


@dataclass(frozen=True)
class Choice:
    """What was declared of one field; `declared` says what its own fields mean."""
    name: str
    kind: type
    default: Any
    help: str = ""
    source: str = ""
    at_least: float | None = None
    above: float | None = None
    at_most: float | None = None
    below: float | None = None
    choices: Any = None
    wanted: str = ""

    @property
    def option(self) -> str:
        """The option of the command line."""
        return f"--{self.name.replace('_', '-')}"

    @property
    def names(self) -> tuple[str, ...] | None:
        """The names that are valid; None where that is not what makes a value valid."""
        return None if self.choices is None else tuple(self.choices() if callable(self.choices) else self.choices)

    @property
    def valid(self) -> str:
        """What is valid, in words: it "must be" that."""
        if self.wanted or self.names is not None:
            return self.wanted or f"one of {', '.join(self.names)}"
        if self.kind is bool:
            return "true or false"
        if self.kind is str:
            return "a name"
        what = "a whole number" if self.kind is int else "a number" if self._upper else "a finite number"
        if None not in (self.at_least, self.at_most):
            return f"{what} from {self.at_least} to {self.at_most}"
        return f"{what} {' and '.join(f'{words} {end}' for words, end in self._ends)}".strip()

    def check(self, value: Any) -> None:
        """Raises InputError for a value of another kind, out of the range, or unknown."""
        kind = (int, float) if self.kind is float else self.kind
        right = isinstance(value, kind) and (self.kind is bool or not isinstance(value, bool))
        if not (right and self._fits(value)):
            raise InputError(f"{self.option} {value!r} is invalid; it must be {self.valid}.")

    @property
    def _upper(self) -> bool:
        return self.at_most is not None or self.below is not None

    @property
    def _ends(self) -> list[tuple[str, float]]:
        return [(words, end) for words, end in (("of at least", self.at_least), ("above", self.above),
                                                ("at most", self.at_most), ("below", self.below)) if end is not None]

    def _fits(self, value: Any) -> bool:
        if self.kind is str:
            return self.names is None or value in self.names
        return (self.kind is bool or (self.kind is int or -LARGEST <= value <= LARGEST)      # NaN is in no range
                and (self.at_least is None or value >= self.at_least) and (self.above is None or value > self.above)
                and (self.at_most is None or value <= self.at_most) and (self.below is None or value < self.below))


@cache
def choices_of(cls: type) -> dict[str, Choice]:
    """name -> Choice of each field of a dataclass, in order; of a field that says no more, its kind and default.
    A dataclass never changes its fields, so they are read once. What is returned is everybody's: not to be written to."""
    return {one.name: Choice(one.name, _kind(cls, one), one.default, **one.metadata.get("choice", {}))
            for one in fields(cls)}


def _kind(cls, one):
    """The kind of a field from its annotation: float, "float", or float | None."""
    text = one.type if isinstance(one.type, str) else getattr(one.type, "__name__", str(one.type))
    kind = KINDS.get(text.split("|")[0].strip())
    if kind is None:
        raise InputError(f"{cls.__name__}.{one.name} is declared as {text}; it must be {', '.join(KINDS)}.")
    return kind
