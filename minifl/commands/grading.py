"""`course grade`, `course hide`, `course bundle`: the grader's commands."""

import json
import os
import secrets
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click

from minifl.atomic import write
from minifl.commands.options import FileName
from minifl.errors import InputError

hidden_option = click.option("--hidden", type=FileName(), help="Folder of hidden tests, as `course hide` makes it.")
private_option = click.option("--private", type=FileName(), metavar="FILE.py",
                              help="Your own variants, which the public repository cannot solve.")


class Id(click.ParamType):
    """A student's id in its canonical form: the same text in every locale."""
    name = "id"

    def convert(self, value: Any, param: Any, ctx: Any) -> Any:
        from minifl.course.identity import canonical
        try:
            value.encode()
        except UnicodeEncodeError:      # the locale's encoding lacks it, and it came as bytes
            with suppress(UnicodeError):
                value = os.fsencode(value).decode()
        try:
            return canonical(value)
        except InputError as error:
            self.fail(str(error), param, ctx)


@click.command("grade")
@click.argument("submission", nargs=-1, required=True, type=FileName())
@click.option("--assignment", metavar="NAME", help="[default: as the submission's settings say]")
@click.option("--student", metavar="ID", type=Id(), help="[default: as the submission's settings say]")
@click.option("--variant", metavar="AXIS=VALUE,...", help="Instead of the student's.")
@click.option("--gradescope", type=FileName(), help="submission_metadata.json: the student is its first e-mail address.")
@hidden_option
@private_option
@click.option("--json", "json_file", type=FileName(written=True),
              help="Write results as Gradescope reads them; of one submission.")
@click.option("--seconds", type=click.FloatRange(min=0.1), default=10.0, help="For a call of a student's function.")
@click.option("--memory", type=click.IntRange(min=256), default=2048, help="MB of address space.")
def grade_command(submission: Any, assignment: str, student: str | None, variant: Any, gradescope: Any, hidden: Any,
                  private: Any, json_file: Any, seconds: float, memory: int) -> None:
    """Grade submissions: folders as carved, or zip archives of one or of many, as learning platforms hand them out.

    Only the assignment's own files are taken, over a clean tree, and run in a process with limits. Exit code 0 whatever
    the marks.
    """
    from minifl.course import assignments, gradescope as format, judge, uploads
    if gradescope is not None:
        student = format.student_of(gradescope) or student
    marks = []
    with ExitStack() as unpacked:
        found = [one for path in submission for one in unpacked.enter_context(uploads.submissions(path))]
        if json_file is not None and len(found) > 1:
            raise InputError(f"--json is for one submission, here are {len(found)}; grade them one by one.")
        chosen = [assignments.load(assignment or _assignment_of(name, folder), private) for name, folder in found]
        for (name, folder), of in zip(found, chosen):
            graded = judge.grade(of, folder, student=student, hidden=hidden,
                                 variant=None if variant is None else assignments.parse_variant(of, variant),
                                 limits=judge.Limits(seconds=seconds, megabytes=memory))
            _show(name, graded)
            marks.append((name, graded))
            if json_file is not None:
                write(json_file, json.dumps(format.results(graded), indent=2).encode())
    if len(marks) > 1:
        for name, graded in marks:
            click.echo(f"{graded.earned:6.1f} of {graded.points:g}  {name}")


def _show(name, graded):
    from minifl.course import running
    of = ", ".join(f"{axis} {value}" for axis, value in graded.variant.items())
    click.echo(f"{name}: {graded.assignment}, student {graded.student or '(none)'}, {of}")
    for note in graded.notes:
        click.echo(f"  note: {note}")
    click.echo(running.table(graded.public))
    if graded.hidden:
        click.echo("Hidden tests, other shapes and seeds:")
        click.echo(running.table(graded.hidden))
    click.echo(f"Mark: {graded.earned:.1f} of {graded.points:g}\n")


def _assignment_of(name, folder):
    """What the settings of a submission in a folder say it is; name: how it is called."""
    from minifl.course.carve import SETTINGS
    from minifl.course.submission import claimed
    if not os.path.isdir(folder):
        raise InputError(f"submission {name}: is not a folder; give the student's folder, as carved, or a zip of it.")
    said = claimed(folder).get("assignment")
    if said is None:
        raise InputError(f"submission {name}: has no {SETTINGS} that says which assignment it is; give --assignment.")
    return said


@click.command("hide")
@click.argument("assignment", nargs=-1)
@click.option("--out", required=True, type=FileName(), help="Folder of the hidden tests; keep it from students.")
@click.option("--seeds", type=click.IntRange(min=1), default=2, help="How many for each assignment.")
def hide_command(assignment: str, out: Any, seeds: Any) -> None:
    """Draw the seeds of hidden tests: the public tests with other numbers and shapes. A file hwN.py with further graded
    functions may be put beside them."""
    from minifl.course import assignments
    names = assignment or assignments.NAMES
    for name in names:
        assignments.load(name)
        if os.path.lexists(Path(out) / f"{name}.json"):
            raise InputError(f"--out {out}: {name}.json is there already; remove it to draw new seeds.")
    for name in names:
        drawn = {"seeds": [1 + secrets.randbelow(2**31) for _ in range(seeds)]}
        write(Path(out) / f"{name}.json", json.dumps(drawn).encode() + b"\n")
    click.echo(f"{seeds} seeds for {', '.join(names)} in {out}")


@click.command("bundle")
@click.argument("assignment")
@hidden_option
@private_option
@click.option("--out", required=True, type=FileName(), help="The zip to upload to Gradescope.")
def bundle_command(assignment: str, hidden: Any, private: Any, out: Any) -> None:
    """Write Gradescope's autograder zip: setup script, requirements, entry point, package, hidden tests, your variants."""
    from minifl.course import assignments, gradescope, judge
    chosen = assignments.load(assignment, private)
    judge.hidden_of(chosen, hidden)
    if os.path.lexists(out):
        raise InputError(f"--out {out}: exists; name a new file.")
    size = gradescope.bundle(chosen, out, hidden)
    click.echo(f"{out}: {size / 1e6:.1f} MB")
