"""`course sandbox`: what this machine keeps a submission from."""

import sys

import click


@click.command("sandbox")
def sandbox_command() -> None:
    """Try the sandbox that submissions are graded in: its layers, and whether each refuses what it should. Exit code 1 if
    one is missing or lets something through."""
    from minifl.course import sandbox
    text, sound = sandbox.table(*sandbox.tried())
    click.echo(text)
    sys.exit(0 if sound else 1)
