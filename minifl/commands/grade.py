"""`course grade`: one submission or a class."""

import json
import os
import sys
from contextlib import ExitStack
from typing import Any

import click

from minifl.atomic import write
from minifl.commands.grading import Id, hidden_option, private_option
from minifl.commands.options import FileName
from minifl.errors import InputError


@click.command("grade")
@click.argument("submission", nargs=-1, type=FileName())
@click.option("--assignment", required=True, metavar="NAME", help="What it is a submission of.")
@click.option("--roster", "roster_file", type=FileName(), help="CSV of the class, with a column id: whose a submission is.")
@click.option("--as", "named", multiple=True, metavar="NAME=ID", help="Whose the file or folder of that name is.")
@click.option("--student", metavar="ID", type=Id(), help="Whose the only submission is.")
@click.option("--gradescope", type=FileName(), help="submission_metadata.json: the student is its first e-mail address.")
@click.option("--variant", metavar="AXIS=VALUE,...", help="Instead of the student's.")
@hidden_option
@private_option
@click.option("--out", type=FileName(), help="Folder of results; what is there and has not changed is not graded again.")
@click.option("--again", multiple=True, metavar="ID", type=Id(), help="Grade this student's again; the old result is kept.")
@click.option("--due", metavar="TIME", help="When it was due, 2026-12-01 23:59; what is later costs late days.")
@click.option("--submitted", type=FileName(), help="CSV with columns id, or email, and submitted: when each came.")
@click.option("--late-days", type=click.IntRange(min=0), default=0, help="That cost nothing, in the whole term.")
@click.option("--late-percent", type=click.FloatRange(0, 100), default=10.0, help="Of the mark, for each day beyond.")
@click.option("--earlier", multiple=True, type=FileName(), help="--out folder of an assignment before: its late days count.")
@click.option("--json", "json_file", type=FileName(written=True),
              help="Write results as Gradescope reads them; of one submission.")
@click.option("--jobs", type=click.IntRange(min=1), help="Submissions at a time.  [default: two more than cores]")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=10.0, help="For a call of a student's function.")
@click.option("--total", type=click.FloatRange(min=1), default=90.0, help="Seconds for all of a submission.")
@click.option("--memory", type=click.IntRange(min=256), default=2048, help="MB of address space.")
@click.option("--weak-sandbox", is_flag=True, help="Grade though a layer of the sandbox is missing (`course sandbox`).")
def grade_command(submission: Any, assignment: str, roster_file: Any, named: Any, student: str | None, gradescope: Any,
                  out: Any, again: Any, json_file: Any, jobs: int | None, **more: Any) -> None:
    """Grade submissions: folders as carved, zip archives, and folders or archives of a class, as platforms hand them out.

    Only the assignment's own files are taken, over a clean tree, and run in a process with limits. Whose a submission is
    comes from --student, the roster, or the name of its file or folder, never from the submission. Exit code 0 whatever
    the marks; 1 if the grader itself failed.
    """
    from minifl.course import assignments, grading, marks, results, roster, uploads
    from minifl.course import gradescope as gradescope_file
    chosen = assignments.load(assignment, more["private"])
    options, rules = _options(chosen, **more), _rules(**more)
    students = None if roster_file is None else roster.read(roster_file)
    if gradescope is not None and student is None:
        student = _submitter(gradescope, students)
    known = {} if out is None else results.records(out, assignment)
    if not submission and not known:
        raise InputError("no submission is given, and no --out folder with results.")
    for line in _holes() if more["weak_sandbox"] else ():
        click.echo(f"weak sandbox: {line}")
    fresh, failed = 0, []
    with ExitStack() as unpacked:
        opened = [unpacked.enter_context(uploads.entries(path, one=student is not None)) for path in submission]
        found = [entry for entries in opened for entry in entries]
        if json_file is not None and len(found) != 1:
            raise InputError(f"--json is for one submission, here are {len(found)}; grade them one by one.")
        owners, lost = grading.owned(found, students, _named(named), student)
        lost = lost if submission else results.lost(out, known)
        files = (more["hidden"], more["private"])
        for record, new in grading.graded(chosen, owners, known, options, again=again, files=files,
                                          at_a_time=jobs or (os.cpu_count() or 1) + 2):    # some may sleep
            if new and out is not None:
                results.keep(out, record)
            known[record["id"]] = record
            fresh += new and record["status"] == "graded"
            failed += [record] if record["status"] == "failed" and not record["stopped"] else []
            _show(record, new, whole=out is None)
            if json_file is not None:
                write(json_file, json.dumps(gradescope_file.results_of(record), indent=2).encode())
    marked = {} if out is None else marks.collect(out, chosen, known)
    rows = grading.rows(chosen, known, lost, students, marked, rules)
    if out is not None:
        results.table(out, assignment, rows, known, marked)
    _summary(rows, fresh, out)
    for record in failed:
        click.echo(f"Error: {record['submission']}: {record['why']}: {record['said']}", err=True)
    sys.exit(1 if failed else 0)


def _options(assignment, variant, hidden, private, seconds, total, memory, weak_sandbox, **_):
    """How each submission is graded, as one.py takes it."""
    from minifl.course import assignments, judge
    if variant is not None:
        assignments.parse_variant(assignment, variant)
    judge.hidden_of(assignment, hidden)
    return {"variant": variant, "hidden": hidden and str(hidden.absolute()), "private": private and str(private.absolute()),
            "limits": {"seconds": seconds, "total": total, "megabytes": memory, "weak": weak_sandbox}}


def _holes():
    """A line for each layer of the sandbox that is missing."""
    from minifl.course import layers, sandbox
    return layers.missing(sandbox.tried()[0])


def _rules(due, submitted, late_days, late_percent, earlier, **_):
    """What holds for late days; None if nothing does."""
    from minifl.course import late
    if due is None and (submitted is not None or earlier):
        raise InputError("--submitted and --earlier need --due, the time when it was due.")
    if due is not None and submitted is None:
        raise InputError(f"--due {due}: needs --submitted, a CSV file with columns id, or email, and submitted.")
    return None if due is None else late.rules(due, submitted, late_days, late_percent, earlier)


def _submitter(metadata, students):
    """The id of who submitted, from Gradescope's metadata."""
    from minifl.course import gradescope, roster
    email = gradescope.student_of(metadata)
    if not email:
        raise InputError(f"--gradescope {metadata}: names no e-mail address of a submitter; give --student.")
    try:
        return email if students is None else roster.whose(students, (email,))
    except roster.Unknown as error:
        raise InputError(f"--gradescope {metadata}: {error}") from None


def _named(named):
    """name -> id from --as NAME=ID."""
    from minifl.course.identity import canonical
    for text in named:
        if not all(part.strip() for part in text.rpartition("=")):
            raise InputError(f"--as {text!r}: is not NAME=ID, as in --as hw2-final.zip=ada.")
    return {name: canonical(own) for name, _, own in (text.rpartition("=") for text in named)}


def _show(record, new, whole):
    """A line for a submission; whole: with all that there is to say."""
    from minifl.course import results
    graded, told = results.graded_of(record), results.evidence_of(record)
    said = f"not graded: {record['why']}" if graded is None else f"{graded.earned:6.1f} of {graded.points:g}"
    many = f"  ({len(told)} for you to read)" if told and not whole else ""
    click.echo(f"{record['id'] or '(as published)'}: {said}{many}" + ("" if new else "  (as before)"))
    if whole and graded is not None:
        of = ", ".join(f"{axis} {value}" for axis, value in graded.variant.items())
        click.echo(f"{record['submission']}: {graded.assignment}, student {graded.student or '(none)'}, {of}")
        for note in graded.notes:
            click.echo(f"  note: {note}")
        for line in told:
            click.echo(f"  for the instructor: {line}")
        click.echo(results.shown(graded, hidden=True))
        click.echo(f"Mark: {graded.earned:.1f} of {graded.points:g}\n")


def _summary(rows, fresh, out):
    """What is left to be done by hand, and where the results are."""
    lost = [row for row in rows if row["status"] == "not graded"]
    if len(rows) > 1:
        count = sum(row["status"] == "graded" for row in rows)
        click.echo(f"{count} graded ({fresh} now), {len(lost)} not graded, "
                   f"{len(rows) - count - len(lost)} of the roster handed in nothing.")
    for row in lost:
        click.echo(f"not graded: {row['submission']}{f' of {row_id}' if (row_id := row['id']) else ''}: {row['why']}")
    if out is not None:
        click.echo(f"{out}: results.csv, results.json, feedback/ for students, evidence/ for you")
