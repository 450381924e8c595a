"""Late days: what handing in late costs, over a term.

A day is late that has begun when a submission comes, counted from when it was due. Each student has some days for the whole
term that cost nothing; they are used up in the order of the assignments. Each further day takes a percentage of the mark of
the assignment that is late, at most all of it.
"""

import math
from collections.abc import Iterable
from datetime import datetime

from minifl.errors import InputError


def moment(text: str, where: str) -> datetime:
    """A time as ISO 8601 writes it, "2026-12-01 23:59" or "2026-12-01T23:59+01:00"; InputError, naming where, for others."""
    try:
        return datetime.fromisoformat(text.strip().replace("Z", "+00:00").replace(" UTC", "+00:00").replace(" +", "+"))
    except ValueError:
        raise InputError(f"{where} {text!r} is no time; valid are 2026-12-01 23:59 and 2026-12-01T23:59+01:00.") from None


def days(submitted: datetime, due: datetime) -> int:
    """How many days late, 0 for in time. A time without a zone is of the zone of the other one."""
    if submitted.tzinfo is None or due.tzinfo is None:
        zone = submitted.tzinfo or due.tzinfo
        submitted, due = (time if time.tzinfo else time.replace(tzinfo=zone) for time in (submitted, due))
    return max(0, math.ceil((submitted - due).total_seconds() / 86400))


def factor(late: int, earlier: Iterable[int], free: int, percent: float) -> float:
    """What the mark is multiplied with. late: days of this assignment; earlier: those of the ones before; free: days of the
    term that cost nothing; percent: of the mark for each day beyond."""
    beyond = late - min(late, max(0, free - sum(earlier)))
    return max(0.0, 1 - beyond * percent / 100)
