"""A budget in seconds for a check: what it runs raises once the time is over, wherever it is."""

from collections.abc import Callable
from time import perf_counter


class Spent(BaseException):
    """The time is over. No Exception: checks go on after what the functions of others raise."""


class Clock:
    """Seconds that are left, from its making on; None: no end."""

    def __init__(self, seconds):
        self.seconds, self._start = seconds, perf_counter()

    @property
    def left(self) -> float | None:
        return None if self.seconds is None else self.seconds - (perf_counter() - self._start)

    @property
    def over(self) -> bool:
        return self.left is not None and self.left <= 0

    def limited(self, function: Callable) -> Callable:
        """The function, raising Spent where the time is over before a call."""
        def within(*arguments):
            if self.over:
                raise Spent
            return function(*arguments)

        within.__wrapped__ = function       # type: ignore[attr-defined]
        return function if self.seconds is None else within
