"""`course hide`, `course bundle`, and options of the grader's commands."""

import json
import os
import secrets
from contextlib import suppress
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
@click.option("--out", required=True, type=FileName(), help="The zip to upload to Gradescope, or to make an image of.")
@click.option("--weak-sandbox", is_flag=True, help="Let it grade though a layer of the sandbox is missing.")
def bundle_command(assignment: str, hidden: Any, private: Any, out: Any, weak_sandbox: bool) -> None:
    """Write the autograder as a zip, for Gradescope, Docker and podman: recipe, package, hidden tests, your variants."""
    from minifl.course import assignments, gradescope, judge
    chosen = assignments.load(assignment, private)
    judge.hidden_of(chosen, hidden)
    if os.path.lexists(out):
        raise InputError(f"--out {out}: exists; name a new file.")
    size = gradescope.bundle(chosen, out, hidden, weak_sandbox)
    click.echo(f"{out}: {size / 1e6:.1f} MB")
