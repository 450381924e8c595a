"""A class, from what was handed in to a line for each student: whose a submission is, what is graded, what it is worth."""

from collections.abc import Iterator
from typing import Any

from minifl.course import assignments, batch, late, results, roster
from minifl.course.assignments import Assignment
from minifl.course.marks import Mark
from minifl.course.roster import Student
from minifl.course.uploads import Entry
from minifl.errors import InputError


def owned(entries: list[Entry], students: list[Student] | None, given: dict[str, str],
          student: str | None) -> tuple[dict[str, Entry], list[dict]]:
    """(id -> Entry, records of those that are nobody's or one of several of a student). given: name -> id, of the
    instructor; student: whose the only one is."""
    if student is not None and len(entries) > 1:
        raise InputError(f"--student is for one submission, here are {len(entries)}; give --roster or --as NAME=ID.")
    found, lost = {}, []
    for entry in entries:
        try:
            found.setdefault(roster.whose(students, entry.names, given) if student is None else student, []).append(entry)
        except roster.Unknown as error:
            lost.append(record("", entry, why=str(error)))
    for own, several in found.items():
        if len(several) > 1:
            names = " and ".join(entry.names[0] for entry in several)
            why = f"{len(several)} submissions are {own}'s: {names}; give one"
            lost += [record(own, entry, why=why) for entry in several]
    unused = set(given) - {name for entry in entries for name in entry.names}
    if unused:
        raise InputError(f"--as {sorted(unused)[0]}: no submission is called so.")
    return {own: several[0] for own, several in found.items() if len(several) == 1}, lost


def graded(assignment: Assignment, owners: dict[str, Entry], known: dict[str, dict], options: dict, *, at_a_time: int,
           again: tuple[str, ...] = (), files: tuple = ()) -> Iterator[tuple[dict, bool]]:
    """(record, whether it is new) of each submission, as they are done; see one.py for a record's parts, and `record`.

    known    id -> record of an earlier call: what has not changed since is not graded again, unless its id is in `again`
    options  "variant", "hidden", "limits" and more, as one.py takes them
    files    of the instructor, on which marks depend, too
    Raises InputError where the instructor's files or options are at fault.
    """
    unknown = set(again) - set(owners)
    if unknown:
        raise InputError(f"--again {sorted(unknown)[0]}: no submission given here is theirs.")
    basis = batch.basis(assignment, options, *files)
    jobs = []
    for own, entry in owners.items():
        before = known.get(own, {}).get("hash", "") if own not in again else ""
        if entry.why:
            bad = record(own, entry, assignment, why=entry.why)
            yield bad, bad != known.get(own)
        else:
            paths = [str(path.absolute()) for path in entry.paths]
            jobs.append({"assignment": assignment.name, "student": own, "paths": paths, "basis": basis, "known": before,
                         **options})
    for job, answer in batch.run(jobs, at_a_time):
        own = job["student"]
        if answer["status"] == "refused":
            raise InputError(answer["why"])
        if answer["status"] == "same":
            yield known[own], False
        else:
            new = record(own, owners[own], assignment, **answer)
            yield new, new != known.get(own)


def record(own: str, entry: Entry, assignment: Assignment | None = None, status: str = "bad", **more: Any) -> dict:
    """What is kept of a submission: its student's id, how it is called, "status" and what one.py or batch.py say."""
    return {"id": own, "submission": "/".join(entry.names), "assignment": assignment.name if assignment else "",
            "status": status, **more}


def row(assignment: Assignment, kept: dict, student: Student | None, marked: dict[str, Mark] | None = None,
        due: late.Rules | None = None) -> dict[str, Any]:
    """A line of results.csv: what a record is worth. marked: the answers in prose, None: nobody's are marked."""
    found = results.graded_of(kept)
    by_hand = list((marked or {}).values())
    when = {} if due is None else late.columns(due, student or Student(kept["id"]))
    earned = sum(mark.points or 0 for mark in by_hand) + (found.earned if found else 0)
    waiting = sum(mark.points is None for mark in by_hand)
    outcomes = [*found.public, *found.hidden] if found else []
    parts = {f"part: {part}": round(sum(one.earned for one in outcomes if one.part == part), 2) if found else None
             for part in assignments.parts(assignment)}
    return {"id": kept["id"], "name": student.name if student else "", "submission": kept["submission"],
            "status": {"graded": "graded", "none": "nothing handed in"}.get(kept["status"], "not graded"),
            "mark": round(earned * when.get("factor", 1), 2) if found else None,
            "points": found.points + sum(mark.of for mark in by_hand) if found else None,
            "tests": round(found.earned, 2) if found else None, **parts,
            **({} if marked is None else {"by hand": sum(mark.points or 0 for mark in by_hand), "to be marked": waiting}),
            **when, "why": kept.get("why", ""),
            "evidence": "; ".join(results.evidence_of(kept))}


def rows(assignment: Assignment, known: dict[str, dict], lost: list[dict], students: list[Student] | None,
         marks: dict[str, dict[str, Mark]] | None = None, due: late.Rules | None = None) -> list[dict]:
    """The lines of results.csv: the roster's, others that were graded, what is nobody's. Answers in prose count from the
    first one on that is marked."""
    begun = any(mark.points for marked in (marks or {}).values() for mark in marked.values())
    listed = {student.id: student for student in students or ()}
    ids, named = [*listed, *sorted(set(known) - set(listed))], {one["id"] for one in lost}
    nothing = {own: record(own, Entry(("",), ()), assignment, "none") for own in ids if own not in named}
    kept = [(nothing | known)[own] for own in ids if own in nothing or own in known]
    return [row(assignment, one, listed.get(one["id"]), (marks or {}).get(one["id"], {}) if begun else None, due)
            for one in (*kept, *lost)]
