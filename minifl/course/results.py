"""What is kept of a graded class in a folder, so that nothing is graded twice and nothing is lost:

    results.csv, results.json   a line for each student, and for what could not be graded
    feedback/ID.txt             for the student: points, what is wrong, where to look; nothing that hidden tests say
    evidence/ID.txt             for the instructor: all that is known, what the submission tried among it
    records/ID.json             what the two are made of; the next call goes on from it
    earlier/ID-1.json           a record that another one has replaced
"""

import csv
import io
import json
from collections.abc import Iterable
from pathlib import Path

from minifl import reading
from minifl.atomic import write
from minifl.course import running
from minifl.course.identity import file_name
from minifl.course.judge import Graded
from minifl.course.running import Outcome
from minifl.errors import InputError

HIDDEN = "with other shapes and seeds"     # all that a student is told of a hidden test that failed
FORMULA = ("=", "+", "-", "@", "\t", "\r")  # how a cell begins that a spreadsheet calculates


def records(out: str | Path, assignment: str) -> dict[str, dict]:
    """id -> record of each submission that is in a folder of results. InputError for a folder of another assignment's."""
    found = {}
    for path in sorted((Path(out) / "records").glob("*.json")):
        try:
            record = reading.json_file(path)
            found[record["id"]] = record if _readable(record) else {
                **{key: record[key] for key in ("id", "submission", "assignment")}, "status": "bad",
                "why": "was graded by another version of minifl; give the submission again"}
            if record["assignment"] != assignment:
                raise InputError(f"--out {out}: holds results of {record['assignment']}, not of {assignment}; name another "
                                 "folder.")
        except (OSError, KeyError, TypeError, json.JSONDecodeError, UnicodeDecodeError) as error:
            raise InputError(f"{path}: is no record of a grade ({error}); remove it, and it is graded again.") from None
    return found


def lost(out: str | Path, known: dict[str, dict]) -> list[dict]:
    """Records of what could not be graded and is nobody's, as the table of the call before has them."""
    try:
        rows = reading.json_file(Path(out) / "results.json")["results"]
        return [{"assignment": "", **{key: row[key] for key in ("id", "submission", "why")}, "status": "bad"} for row in rows
                if row["status"] == "not graded" and row["id"] not in known]
    except (OSError, ValueError, KeyError, TypeError):
        return []


def keep(out: str | Path, record: dict) -> None:
    """Write a record, what the student and what the instructor reads; the record before stays in earlier/."""
    out, name = Path(out), file_name(record["id"])
    before = out / "records" / f"{name}.json"
    if before.exists():
        number = 1
        while (out / "earlier" / f"{name}-{number}.json").exists():
            number += 1
        write(out / "earlier" / f"{name}-{number}.json", reading.whole(before))
    write(out / "feedback" / f"{name}.txt", feedback(record).encode())
    write(out / "evidence" / f"{name}.txt", evidence(record).encode())
    write(out / "records" / f"{name}.json", _json(record))      # the last: what has a record has all of it


def _readable(record):
    """Whether a record is of this version."""
    try:
        graded_of(record)
        return True
    except TypeError:
        return False


def graded_of(record: dict) -> Graded | None:
    """The Graded of a record; None for what could not be graded."""
    if record["status"] != "graded":
        return None
    plain = record["graded"]
    return Graded(**plain | {kind: [Outcome(**one) for one in plain[kind]] for kind in ("public", "hidden")})


def shown(graded: Graded, hidden: bool) -> str:
    """The tables of a Graded; of hidden tests what they say only if that is asked for."""
    lines = [running.table(graded.public)]
    if graded.hidden:
        tests = [one if one.passed or hidden else one._replace(message=HIDDEN) for one in graded.hidden]
        lines += ["Hidden tests, other shapes and seeds:", running.table(tests)]
    return "\n".join(lines)


def feedback(record: dict, marked: dict | None = None, row: dict | None = None) -> str:
    """What a student reads. marked: question -> Mark of the answers in prose; row: the student's line of results.csv."""
    graded = graded_of(record)
    if graded is None:
        return f"{record['assignment']}, {record['id']}\n\nThis could not be graded: {record['why']}.\n"
    of = ", ".join(f"{axis} {value}" for axis, value in graded.variant.items())
    notes = "".join(f"Note: {note}\n" for note in graded.notes)
    return (f"{graded.assignment}, {graded.student or 'as published'} ({of})\n{notes}\n{shown(graded, hidden=False)}\n\n"
            f"Points of the tests: {graded.earned:.1f} of {graded.points:g}\n{_by_hand(marked or {})}{_mark(row or {})}")


def _by_hand(marked):
    """The points and comments of answers in prose that are marked."""
    lines = [f"  {name}: {mark.points:g} of {mark.of}{f', {mark.comment}' if mark.comment else ''}\n"
             for name, mark in marked.items() if mark.points is not None]
    return "".join(["Answers in prose:\n", *lines]) if lines else ""


def _mark(row):
    """The mark, where more is in it than the points of tests."""
    late = f", {row['days late']} days late: x {row['factor']:g}" if row.get("days late") else ""
    return f"Mark: {row['mark']:g} of {row['points']:g}{late}\n" if late or "by hand" in row else ""


def evidence(record: dict) -> str:
    """What an instructor reads."""
    head = [f"{record['assignment']}, {record['id']}: {record['submission']}", f"status: {record['status']}"]
    head += [f"why: {record['why']}"] if record.get("why") else []
    head += [f"note for the instructor: {line}" for line in evidence_of(record)]
    graded = graded_of(record)
    if graded is None:
        return "\n".join([*head, record.get("said", "")]) + "\n"
    return "\n".join([*head, "", feedback(record), "Hidden tests, as they were:" if graded.hidden else "",
                      running.table(graded.hidden) if graded.hidden else ""]) + "\n"


def evidence_of(record: dict) -> list[str]:
    """What only the instructor is told of a submission, line by line."""
    return [*record.get("claims", ()), *(record.get("graded") or {}).get("evidence", ())]


def table(out: str | Path, assignment: str, rows: list[dict], known: dict[str, dict], marks: dict[str, dict]) -> None:
    """Write results.csv and results.json, and the feedback to which a mark by hand or late days have come; every row has the
    same keys."""
    for row in rows:
        if (row["mark"] is not None and known[row["id"]]["status"] == "graded"):
            text = feedback(known[row["id"]], marks.get(row["id"]) if "by hand" in row else None, row).encode()
            path = Path(out) / "feedback" / f"{file_name(row['id'])}.txt"
            if not path.exists() or reading.whole(path) != text:
                write(path, text)
    write(Path(out) / "results.json", _json({"assignment": assignment, "results": rows}))
    write(Path(out) / "results.csv", spreadsheet(rows))


def spreadsheet(rows: Iterable[dict]) -> bytes:
    """A CSV file of rows; a text that a spreadsheet would take for a formula has an apostrophe before it."""
    rows, text = list(rows), io.StringIO(newline="")
    writer = csv.writer(text)
    writer.writerow(rows[0] if rows else ())
    writer.writerows([_harmless(cell) for cell in row.values()] for row in rows)
    return text.getvalue().encode("utf-8-sig")     # with the mark that Excel wants


def _harmless(cell):
    return f"'{cell}" if isinstance(cell, str) and cell.startswith(FORMULA) else cell


def _json(value):
    return json.dumps(value, indent=1, ensure_ascii=False).encode("utf-8", "replace") + b"\n"
