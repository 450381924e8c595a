"""The command line: `python cli.py COMMAND` or `minifl COMMAND`; the commands are in minifl/commands/."""

from importlib import metadata
from typing import Any

import click

from minifl import own
from minifl.commands import checking, course, federating, looking, paper, training
from minifl.commands.streams import Careful
from minifl.errors import InputError
from minifl.runs.provenance import versions


class Commands(Careful, click.Group):
    """A group in which bad input ends with its message and exit code 2, without a traceback.

    A network or batch that does not fit into memory is bad input, too, and so is what a file of one's own raises.
    """

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
        except MemoryError as error:
            click.echo(f"Error: not enough memory ({error}); make --width, --batch-size, --local-steps or "
                       "--local-epochs smaller.", err=True)
        except (Exception, SystemExit) as error:
            told = own.blamed(error)
            if told is None:
                raise
            click.echo(f"Error: {told}", err=True)
        ctx.exit(2)


def print_version(context: click.Context, option: click.Parameter, wanted: bool) -> None:
    """minifl's version, and those of what its numbers depend on; CuPy's wheels have a name for each CUDA."""
    if wanted:
        cupy = [found.version for found in metadata.distributions() if found.name.startswith("cupy")]
        found = {**versions(), "cupy": ", ".join(cupy) or "not installed"}
        click.echo("\n".join(f"{name} {version}" for name, version in found.items()))
        context.exit()


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True,
                                            "max_content_width": 110})
@click.option("--version", is_flag=True, is_eager=True, expose_value=False, callback=print_version,
              help="Print the versions of minifl, Python, NumPy, SciPy and CuPy.")
def main() -> None:
    """Federated learning with layer and feature normalization under label skew."""


for command in (training.train_command, training.sweep_command, federating.federate_command,
                federating.replay_command, looking.eval_command, looking.compare_command,
                looking.plot_command, looking.partition_command, looking.describe_command, checking.gradcheck_command,
                checking.check_command, checking.theory_command, paper.reproduce_command, course.course_group):
    main.add_command(command)
