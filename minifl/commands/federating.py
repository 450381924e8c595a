"""`federate` and `replay`: the run of `train` on Flower, and the proof that it is the same."""

import signal
import sys
from typing import Any

import click

from minifl.commands.choices import data_name, read_partition, read_settings, read_start
from minifl.commands.display import show_progress, show_result, show_start
from minifl.commands.options import (FileName, WithMethod, algorithm_options, data_dir_option, data_options,
                                     model_options, named_options, partition_options, training_options)
from minifl.commands.training import check_fits, pasteable, run_name, settings_of_resumed
from minifl.data import registry
from minifl.errors import InputError
from minifl.fl.parallel import Signals
from minifl.runs import record
from minifl.runs.run import Placement, default_workers, reopen, split
from minifl.runs.settings import merge, settings_for

PROCESSES = "cpu (NumPy), {nodes} SuperNodes on 127.0.0.1"


@click.command("federate", cls=WithMethod)
@data_options
@model_options
@algorithm_options
@partition_options
@training_options
@click.option("--nodes", type=click.IntRange(min=1), help="SuperNodes; node i has the clients i, i + nodes, ...  "
                                                          "[default: one for each client, at most 8]")
@click.option("--wait", type=float, default=120.0, help="Seconds for which nodes are awaited.")
@click.option("--timeout", type=float, default=600.0,
              help="Seconds after which a round goes on without the clients that did not answer.")
@click.option("--clip-update", type=float,
              help="Refuse an update that is longer than this (Euclidean length of theta - w).  [default: any length]")
@click.option("--tls", is_flag=True, help="Certificates of its own, and a key for each node; --emit always has them.")
@click.option("--workers", type=click.IntRange(min=1), help="Threads of each node over its clients.  [default: 1]")
@click.option("--out", type=FileName(), help="Run directory.  [default: a new one in runs/]")
@click.option("--force", is_flag=True, help="Overwrite the run in --out.")
@click.option("--resume", "resumed", type=FileName(), metavar="RUN",
              help="Go on with a stopped federation from its newest checkpoint, with --rounds to more rounds.")
@click.option("--emit", type=FileName(), metavar="DIR",
              help="Start nothing; write app, configuration, certificates, keys and commands for several machines.")
@click.option("--address", metavar="HOST:PORT", help="Of --emit: where the nodes reach the SuperLink.")
def federate_command(data_dir: Any, table_file: Any, config_file: Any, init_file: Any, nodes: int, wait: int,
                     timeout: int, clip_update: float, tls: bool, workers: int, out: Any, force: bool, resumed: Any,
                     emit: Any, address: Any, **chosen: Any) -> None:
    """Train as `train` does, with the clients in processes of their own, on Flower.

    Starts a SuperLink and its SuperNodes on this machine's loopback interface, and ends them. Needs the extra flower.
    """
    from minifl.flower import federate
    federate.check_installed()
    chosen = merge(read_settings(config_file), chosen)
    start = read_start(init_file, chosen)
    if (emit is None) != (address is None):
        raise InputError("--emit DIR and --address HOST:PORT belong together: where to write, and where the SuperLink "
                         "will be; give both or none.")
    messages = []
    if resumed is not None:
        if out is not None or force or emit is not None:
            raise InputError("--resume goes on in its own directory; leave --out, --force and --emit out.")
        config, dataset, partition = reopen(resumed, data_dir)
        settings, rounds = settings_of_resumed(resumed, config, chosen, partition, table_file, dataset)
        if config.get("federation", {}).get("elsewhere"):
            raise InputError(f"{resumed} is of a federation on several machines; go on with its ./start-run.sh.")
        config, messages = federate.check_resumable(resumed, config, rounds)
        out = resumed
    else:
        federate.refuse(settings_for(data_name(chosen), chosen), wait=wait, timeout=timeout, clip_update=clip_update)
        dataset = registry.load(data_name(chosen), data_dir)
        given = read_partition(table_file, dataset, chosen)
        settings = settings_for(dataset.name, chosen)
        partition = split(settings, dataset, given)
        terms: dict = {"nodes": federate.number_of_nodes(nodes, len(partition.train)), "wait": wait, "timeout": timeout,
                 "clip_update": clip_update, "tls": tls}
        if emit is not None:
            if out is not None or force or workers is not None:
                raise InputError("--emit writes the run directory into its own folder and starts nothing; leave --out, "
                                 "--force and --workers out.")
            from minifl.flower import deployment
            lines = deployment.emit(emit, address, settings, dataset, partition, terms | {"tls": True},
                                    table_file=str(table_file) if table_file else None, start=start)
            click.echo("\n".join(lines))
            return
        check_fits(settings, dataset, partition, Placement(workers=workers or 1), terms["nodes"], start)
        if out is None:
            out = record.new_folder("runs", f"{run_name(settings)}-federation")
        config = federate.begin(settings, dataset, partition, out, **terms, force=force,
                                table_file=str(table_file) if table_file else None, start=start)
    show_start(settings, dataset, partition, PROCESSES.format(nodes=config["federation"]["nodes"]), out)
    for message in messages:
        click.echo(message)
    _run(settings, dataset, partition, config, out, data_dir, workers or 1)


def _run(settings, dataset, partition, config, out, data_dir, workers):
    """Start the federation of a run directory, show its rounds, end it."""
    from minifl.flower import federate
    model = settings.network(dataset.num_classes, dataset.image_shape)
    seen = record.count_rounds(out)
    going_on = f"Go on with: python cli.py federate --resume {pasteable(out, data_dir, settings)}"

    def say(text):
        click.echo(text, err=True)

    try:
        try:
            with Signals() as signals:
                click.echo("Starting the SuperLink and its nodes.")
                with federate.federation(out, config, data_dir, workers, say, signals.check) as federation:
                    show_progress(_without_absences(federate.follow(out, federation, seen, signals.check), say),
                                  settings, quiet=0)      # every round: one takes seconds
        finally:
            federate.close(out, settings, model, len(partition.train))
    except KeyboardInterrupt as interrupt:
        click.echo(f"Interrupted; the record up to here is in {out}. {going_on}", err=True)
        sys.exit(128 + getattr(interrupt, "signum", signal.SIGINT))
    except federate.Failed as error:
        click.echo(f"Failed: {error}\nThe record up to here is in {out}. {going_on}", err=True)
        sys.exit(1)
    end = record.read_end(out) or {}
    if end["status"] != "finished":
        again = "" if end["status"] in record.COMPLETE else f" {going_on}"
        click.echo(f"{end['status'].capitalize()}: {end['message']}. The record is in {out}.{again}", err=True)
        sys.exit(1)
    if end["last_evaluation"]:
        show_result(end["last_evaluation"], dataset)
    click.echo(f"Record: {out}. Done again in this process, and compared: python cli.py replay "
               f"{pasteable(out, data_dir, settings)}")


def _without_absences(lines, say):
    """The lines; who was absent is said besides."""
    for line in lines:
        for missing in line.get("absent", []):
            say(f"Round {line['round']} without client {missing['client']}: {missing['reason']}")
        yield line


@click.command("replay")
@click.argument("run", type=FileName())
@data_dir_option
@named_options
@click.option("--workers", type=click.IntRange(min=1), help="Threads over clients.  [default: all cores]")
def replay_command(run: Any, data_dir: Any, workers: int) -> None:
    """Do the rounds of a run again in this process, and compare every number of its record and its model.

    Clients that were absent in a round of a federation are absent again. Exit code 1 if anything differs.
    """
    from minifl.flower.replaying import differences
    found = differences(run, data_dir, workers or default_workers(), show_progress)
    for difference in found:
        click.echo(difference)
    if found:
        click.echo(f"{run} is not what this machine computes.")
        sys.exit(1)
    click.echo(f"Every line of the record of {run} and every bit of its model are the same.")
