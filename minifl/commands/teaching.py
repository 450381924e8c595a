"""`course similar`, `course update`: what a term needs besides grades."""

import os
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

import click

from minifl.atomic import write
from minifl.commands.grading import private_option
from minifl.commands.options import FileName
from minifl.errors import InputError


@click.command("similar")
@click.argument("submission", nargs=-1, required=True, type=FileName())
@click.option("--assignment", required=True, metavar="NAME", help="What they are submissions of.")
@click.option("--also", multiple=True, type=FileName(), help="Folder or archive of an earlier term.")
@click.option("--roster", "roster_file", type=FileName(), help="CSV of the class: whose a submission is.")
@private_option
@click.option("--out", required=True, type=FileName(written=True), help="The report, a Markdown file.")
@click.option("--above", type=click.FloatRange(0, 1), default=0.5, help="Share from which on pairs are shown.")
@click.option("--export", type=FileName(), help="New folder for other tools: the students' files and what was handed out.")
def similar_command(submission: Any, assignment: str, also: Any, roster_file: Any, private: Any, out: Any, above: float,
                    export: Any) -> None:
    """Say which submissions of a class are alike, to each other, to earlier terms and to what is published.

    What was handed out does not count, nor names, numbers and comments. A share is no proof: it says what to read.
    """
    from minifl.course import assignments, results, roster, similar, uploads
    chosen = assignments.load(assignment, private)
    students = None if roster_file is None else roster.read(roster_file)
    if export is not None and os.path.lexists(export):
        raise InputError(f"--export {export}: exists; name a new folder.")
    with ExitStack() as unpacked:
        opened = [[entry for path in paths for entry in unpacked.enter_context(uploads.entries(path))]
                  for paths in (submission, also)]
        named = [[(_owner(roster, students, entry), entry) for entry in entries] for entries in opened]
        ids = sorted({own for own, _ in named[0] if own})
        handed_out = similar.given(chosen, ids)
        unread, read = [f"{entry.names[0]}: {entry.why}" for _, entry in named[0] + named[1] if entry.why], []
        for entries, where in zip(named, ("", "earlier: ")):
            of = [(f"{where}{own or entry.names[0]}", entry.paths) for own, entry in entries if not entry.why]
            found, wrong = similar.read(of, chosen, handed_out, os.cpu_count() or 1)
            read.append(found)
            unread += wrong
    known = similar.published(chosen, ids, handed_out)
    pairs, public = similar.pairs(read[0], read[1], known[0]), similar.with_published(read[0], known)
    write(out, similar.report(chosen, read[0], pairs, public, unread, above).encode("utf-8", "replace"))
    if export is not None:
        variant = assignments.variant_of(chosen, "")
        for file in chosen.files:
            write(export / "handed-out" / Path(file).name, assignments.students(chosen, variant, file).encode())
            write(export / "submissions/published" / Path(file).name, assignments.source(chosen, variant, file).encode())
        for one in (*read[0], *read[1]):
            for file, (text, _) in one.files.items():
                write(export / "submissions" / results.file_name(one.name) / Path(file).name, text.encode())
    alike = [pair for pair in pairs if pair.share >= above]
    for pair in alike[:20]:
        click.echo(f"{pair.share:4.0%}  {pair.one.name}, {pair.two.name}")
    click.echo(f"{out}: {len(read[0])} submissions, {len(alike)} pairs of {len(pairs)} at {above:.0%} or more, "
               f"{len(unread)} unread")


def _owner(roster, students, entry):
    """The id of a student, "" for who is not known."""
    try:
        return roster.whose(students, entry.names)
    except roster.Unknown:
        return ""


@click.command("update")
@click.argument("folder", type=FileName())
@private_option
def update_command(folder: Any, private: Any) -> None:
    """Bring a student's folder to this version of the package: what they wrote stays, and a copy of all is beside it."""
    import resource

    from minifl import __version__
    from minifl.course import assignments, update
    soft, hard = resource.getrlimit(resource.RLIMIT_AS)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (4 << 30, hard))     # Python's parser takes a gigabyte for some short texts
    try:
        before = update.settings_of(folder)
        copy, said = update.update(assignments.load(before["assignment"], private), folder)
    finally:
        resource.setrlimit(resource.RLIMIT_AS, (soft, hard))
    if copy is None:
        click.echo(f"{folder}: what was handed out is that of version {__version__}; nothing to do.")
        return
    for line in said:
        click.echo(line)
    click.echo(f"{folder}: from version {before['version']} to {__version__}. As it was it is in {copy}.")
