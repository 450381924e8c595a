"""Late days: what handing in late costs, over a term.

A day is late that has begun when a submission comes, counted from when it was due. Each student has some days for the whole
term that cost nothing; they are used up in the order of the assignments. Each further day takes a percentage of the mark of
the assignment that is late, at most all of it.
"""

import math
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple

from minifl import reading
from minifl.course import roster
from minifl.course.identity import canonical
from minifl.course.roster import Student
from minifl.errors import InputError

COLUMNS = {"id": "id", "student": "id", "sid": "id", "email": "email", "e-mail": "email", "submitted": "submitted",
           "submission time": "submitted", "time": "submitted"}


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


class Rules(NamedTuple):
    """What holds for a class."""
    due: datetime
    times: dict[str, datetime]          # id -> when it was submitted
    free: int                           # days of the term that cost nothing
    percent: float                      # of a mark, for each day beyond
    earlier: list[dict[str, int]]       # of each assignment before: id -> days


def rules(due: str, submitted: str | Path, free: int, percent: float, earlier: Iterable[str | Path]) -> Rules:
    """The Rules from options: submitted is a CSV file with id, or email, and submitted; earlier are folders of results.
    Raises InputError, naming option or line."""
    times = {}
    for line, row in roster.rows(submitted, COLUMNS, ("submitted",)):
        own = canonical(row.get("id") or row.get("email", ""))
        if own in times:
            raise InputError(f"{submitted}, line {line}: {own!r} stands there twice.")
        if row["submitted"]:
            times[own] = moment(row["submitted"], f"{submitted}, line {line}: submitted")
    before = []
    for folder in earlier:
        try:
            rows = reading.json_file(Path(folder) / "results.json")["results"]
            before.append({row["id"]: row.get("days late") or 0 for row in rows})
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise InputError(f"--earlier {folder}: holds no results.json of `course grade` ({error}).") from None
    return Rules(moment(due, "--due"), times, free, percent, before)


def columns(rules: Rules, student: Student) -> dict[str, Any]:
    """What a line of results.csv says of when a submission came; the factor of its mark is 1 where that is not known."""
    when = rules.times.get(student.id) or rules.times.get(student.email)
    if when is None:
        return {"submitted": "", "days late": None, "factor": 1.0}
    late, before = days(when, rules.due), [each.get(student.id, 0) for each in rules.earlier]
    return {"submitted": when.isoformat(sep=" "), "days late": late,
            "factor": round(factor(late, before, rules.free + student.days, rules.percent), 4)}
