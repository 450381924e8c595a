"""`course`: assignments carved from the package, and the grading of what students hand in."""

import os
import sys
from pathlib import Path
from typing import Any

import click

from minifl import reading
from minifl.atomic import write
from minifl.commands.grade import grade_command
from minifl.commands.grading import Id, bundle_command, hide_command, private_option
from minifl.commands.options import FileName
from minifl.commands.sandbox import sandbox_command
from minifl.commands.teaching import similar_command, update_command
from minifl.errors import InputError

student_option = click.option("--student", default="", metavar="ID", type=Id(),
                              help="Fixes variant, shapes and seeds.  [default: as published]")
variant_option = click.option("--variant", metavar="AXIS=VALUE,...",
                              help="Instead of the student's; `course list` shows them.")


@click.group("course")
def course_group() -> None:
    """Assignments carved from this package, for a class: list, carve, solve, check, grade, hide, bundle, sandbox.

    This repository is public: whoever reads it has the solutions of all published variants, and `course solve` writes them.
    For marks that count, draw variants of your own, --private FILE.py (examples/private_variants, docs/teaching.md).
    """


@course_group.command("list")
@private_option
def list_command(private: Any) -> None:
    """The assignments, their parts with points, and their variants."""
    from minifl.course import assignments
    for name in assignments.NAMES:
        assignment = assignments.load(name, private)
        sheet, parts = assignments.sheet(assignment), assignments.parts(assignment)
        by_hand = sum(question.points for question in sheet.questions)
        click.echo(f"{name}: {sheet.title} ({sum(parts.values())} points by tests, {by_hand} by hand, {sheet.hours} hours)")
        for part, points in parts.items():
            click.echo(f"    {points:3} points  {part}")
        for question in sheet.questions:
            click.echo(f"    {question.points:3} points  by hand: {question.name}")
        number, share = assignments.odds(assignment)
        if assignment.draw is None:
            for axis, values in assignment.choices.items():
                click.echo(f"    variant {axis} = {' | '.join(values)}")
        pairs = 60 * 59 / 2 * share
        click.echo(f"    {number:,.0f} variants, {'of your own' if assignment.draw else 'published'}: of sixty students "
                   f"{pairs:{'.0f' if pairs >= 10 else '.2g'}} pairs share one")
    if private is None:
        click.echo("The repository is public, and holds the solutions of all published variants: --private draws your own.")


@course_group.command("carve")
@click.argument("assignment")
@click.option("--out", required=True, type=FileName(),
              help="The student's folder: a new or an empty one; with --roster the folder of theirs.")
@student_option
@variant_option
@private_option
@click.option("--roster", type=FileName(), help="CSV of the class, with a column id: a folder for each who has none yet.")
@click.option("--zip", "zipped", is_flag=True, help="Beside each folder an archive of it, as platforms hand out.")
@click.option("--policy", type=FileName(), help="Markdown on working together, instead of README's own.")
@click.option("--keep-back", is_flag=True, help="Without the solutions of other assignments, which this one builds on.")
def carve_command(assignment: str, out: Any, student: str | None, variant: Any, private: Any, roster: Any, zipped: bool,
                  policy: Any, keep_back: bool) -> None:
    """Write a student's folder: stubs with tasks, public tests, grade.py, README, READER, answers.md; or a class's."""
    from minifl.course import assignments, earlier
    more = {} if policy is None else {"policy": _words(policy)}
    if keep_back:
        more["keep_back"] = True
    elif warning := earlier.warning(assignments.load(assignment)):
        click.echo(warning, err=True)
    if roster is None:
        _write(assignment, out, student, variant, private, reference=False, **more)
        if zipped:
            _archive(out)
    elif student or variant is not None:
        raise InputError("--roster is for a class, whose variants are the students'; leave --student and --variant out.")
    else:
        _write_class(assignment, out, roster, private, zipped, more)


@course_group.command("solve")
@click.argument("assignment")
@click.option("--out", required=True, type=FileName(), help="A new or an empty folder.")
@student_option
@variant_option
@private_option
def solve_command(assignment: str, out: Any, student: str | None, variant: Any, private: Any) -> None:
    """Write the same folder with the reference solution, for the instructor."""
    _write(assignment, out, student, variant, private, reference=True)


def _write_class(name, out, roster_file, private, zipped, more):
    """A folder for each student who has none; those that are there stay as they are."""
    from minifl.course import assignments, carve, results, roster, submission
    assignment, fresh = assignments.load(name, private), 0
    students = roster.read(roster_file)
    for student in students:
        folder, variant = out / results.file_name(student.id), assignments.variant_of(assignment, student.id)
        if not os.path.lexists(folder):
            carve.carve(assignment, folder, student=student.id, variant=variant, **more)
            fresh += 1
        elif submission.claimed(folder) | {"version": ""} != {"assignment": name, "student": student.id, "variant": variant,
                                                              "version": ""}:
            raise InputError(f"--out {out}: {folder.name} is there and was not carved so: another assignment, or another "
                             "private file; name another folder.")
        if zipped:
            _archive(folder)
    click.echo(f"{name} for {len(students)} students in {out}: {fresh} new, {len(students) - fresh} were there")


def _words(policy):
    try:
        return reading.whole(policy, 1 << 20).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"--policy {policy}: cannot be read ({getattr(error, 'strerror', None) or error}); give a text "
                         "file in UTF-8.") from None


def _archive(folder):
    from minifl.course import carve
    path = folder.with_name(f"{folder.name}.zip")
    if not os.path.lexists(path):
        write(path, carve.archive(folder))


def _write(name, out, student, variant, private, reference, **more):
    from minifl.course import assignments, carve
    assignment = assignments.load(name, private)
    chosen = assignments.variant_of(assignment, student)
    if variant is not None:
        chosen = assignments.parse_variant(assignment, variant)
    carve.carve(assignment, out, student=student, variant=chosen, reference=reference, **more)
    of = ", ".join(f"{axis} {value}" for axis, value in chosen.items())
    click.echo(f"{name}{f' for {student}' if student else ''} ({of}) in {out}: read {Path(out) / 'README.md'}, run "
               f"python {Path(out) / 'grade.py'}")


@course_group.command("check")
@click.argument("assignment", nargs=-1)
@click.option("--jobs", type=click.IntRange(min=1), help="Processes at a time.  [default: one for each core]")
@private_option
def check_command(assignment: str, jobs: int, private: Any) -> None:
    """Prove that assignments are sound: carve, fail as listed, solve, full marks; no solution leaks; wrong submissions
    lose the points of their part. Exit code 1 if anything does not hold. [default: all]
    """
    from minifl.course import assignments, proof
    names = assignment or assignments.NAMES
    for name in names:
        assignments.load(name, private)      # an unknown one is said before anything runs
    bad = count = 0
    for name in names:
        for row in proof.check(name, jobs or os.cpu_count(), private):
            click.echo(proof.line(row))
            count += 1
            bad += not row.passed
    click.echo(f"{count} checks of {len(names)} assignments: " + ("all good." if not bad else f"{bad} FAILED."))
    sys.exit(1 if bad else 0)


for command in (grade_command, hide_command, bundle_command, sandbox_command, similar_command, update_command):
    course_group.add_command(command)
