"""`train` and `sweep`."""

import shlex
import signal
import sys
from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from typing import Any

import click
import numpy as np

from minifl import own
from minifl.backend import choose_device
from minifl.commands.choices import data_name, read_partition, read_settings, read_start
from minifl.commands.display import profiling, show_progress, show_result, show_start
from minifl.commands.options import (FileName, Several, WithMethod, algorithm_options, data_options, device_option,
                                     device_options, group, jobs_option, model_options, partition_options,
                                     placement_options, precision_option, profile_option, several, training_options)
from minifl.commands.sweeping import show_sweep
from minifl.data import lists, registry, table
from minifl.data.partition import NATURAL, Listed, Partition
from minifl.errors import InputError
from minifl.fl.client import Diverged
from minifl.fl.participation import clients_per_round
from minifl.runs import initial, memory, record, summary
from minifl.runs.advice import advice
from minifl.runs.resuming import check_rounds, resume
from minifl.runs.run import Placement, default_workers, reopen, split, train
from minifl.runs.settings import Settings, merge, settings_for
from minifl.runs.sweep import grid


@click.command("train", cls=WithMethod)
@data_options
@model_options
@algorithm_options
@partition_options
@training_options
@device_options
@placement_options
@profile_option
@click.option("--out", type=FileName(), help="Run directory.  [default: a new one in runs/]")
@click.option("--force", is_flag=True, help="Overwrite the run in --out.")
@click.option("--resume", "resumed", type=FileName(), metavar="RUN",
              help="Go on with a stopped run from its newest checkpoint; with --rounds also with a finished one, to more "
                   "rounds. Where and how it computes may change, no other setting.")
def train_command(data_dir: Any, table_file: Any, config_file: Any, init_file: Any, device: str, precision: str,
                  workers: int, clients_per_call: int, checkpoint_every: int, out: Any, force: bool, resumed: Any,
                  profiled: bool, **chosen: Any) -> None:
    """Train a network federatedly and keep the run's record."""
    chosen = merge(read_settings(config_file), chosen)
    start = read_start(init_file, chosen)
    if resumed is None:
        settings_for(data_name(chosen), chosen)   # what is invalid fails before the data are read or made
    xp, where = choose_device(device, precision or "fp32")
    if profiled and xp is not np:
        raise InputError(f"--profile is for the CPU, and this is {where}, where kernels run while Python goes on; give "
                         f"--device cpu, or look with a profiler for CUDA, such as nsys.")
    place = Placement(xp, where, workers or default_workers(), clients_per_call, checkpoint_every, precision)
    if resumed is not None:
        if out is not None or force:
            raise InputError("--resume goes on in its own directory; leave --out and --force out.")
        config, dataset, partition = reopen(resumed, data_dir)
        settings, rounds = settings_of_resumed(resumed, config, chosen, partition, table_file, dataset)
        memory.check_fits(settings, dataset, partition, place)
        out, (lines, messages) = resumed, resume(resumed, config, dataset, partition, place, rounds)
    else:
        dataset, messages = registry.load(data_name(chosen), data_dir), []
        given = read_partition(table_file, dataset, chosen)
        settings = settings_for(dataset.name, chosen)
        partition = split(settings, dataset, given)
        check_fits(settings, dataset, partition, place, 1, start)
        if out is None:
            out = record.new_folder("runs", run_name(settings))
        lines = train(settings, dataset, partition, out, place, force=force,
                      table_file=str(table_file) if table_file else None, start=start)
    show_start(settings, dataset, partition, where, out)
    for message in messages:
        click.echo(message)
    try:
        with profiling(settings, dataset, place.workers) if profiled else nullcontext():
            show_progress(lines, settings)
    except KeyboardInterrupt as interrupt:
        click.echo(f"Interrupted; the record up to here is in {out}. Go on with: "
                   f"python cli.py train --resume {pasteable(out, data_dir, settings)}", err=True)
        sys.exit(128 + getattr(interrupt, "signum", signal.SIGINT))
    except Diverged as error:
        click.echo(f"Diverged: {error}. The record is in {out}.", err=True)
        sys.exit(1)
    show_result((record.read_end(out) or {})["last_evaluation"], dataset)
    click.echo(f"Record: {out}. Test it again: python cli.py eval {pasteable(out, data_dir, settings)}")


@click.command("sweep", cls=WithMethod)
@several(group(data_options, model_options, algorithm_options, partition_options, training_options))
@click.option("--seeds", "seeds", type=Several(int), help="The same as --seed.")
@device_option
@precision_option
@placement_options
@jobs_option
@click.option("--out", default=Path("runs/sweep"), type=FileName(), help="Folder of the runs.")
def sweep_command(data_dir: Any, table_file: Any, config_file: Any, init_file: Any, seeds: Any, device: str,
                  precision: str, clients_per_call: int, checkpoint_every: int, jobs: int, out: Any,
                  **chosen: Any) -> None:
    """Train for every combination of settings, several runs at a time, and print a table of their results.

    Every setting takes several values, separated by commas (whole numbers also as 0-4); what is on or off is so for all
    runs. Complete runs in --out are skipped, stopped ones resumed.
    """
    if seeds is not None:
        if chosen["seed"] is not None:
            raise InputError("--seeds and --seed are the same; give one of them.")
        chosen["seed"] = seeds
    from_file = read_settings(config_file)
    start = read_start(init_file, from_file)
    names = chosen.pop("data") or [data_name(from_file)]
    from_file.pop("data", None)
    several_of = {name: value if isinstance(value, list) else [value] for name, value in chosen.items()
                  if value is not None}
    xp, where = choose_device(device, precision or "fp32")
    place = Placement(xp, where, 1, clients_per_call)
    jobs = jobs or (1 if where.startswith("cuda") else default_workers())
    datasets = {dataset.name: dataset for dataset in (registry.load(name, data_dir) for name in names)}
    runs_of, given_of = {}, {}
    for name, dataset in datasets.items():
        both = from_file | several_of
        given_of[name] = read_partition(table_file, dataset, both)
        of_given = {key: both[key] for key in ("setting", "num_clients") if key in both and key not in several_of}
        runs_of[name] = grid(name, several_of, out, from_file | of_given, data_named=len(datasets) > 1)
    runs = [run for on_one in runs_of.values() for run in on_one]
    click.echo(f"Data: {'; '.join(dataset.source for dataset in datasets.values())}. Device: {where}. {len(runs)} runs in "
               f"{out}, {sum(run.status in record.COMPLETE for run in runs)} of them complete.")
    for name, dataset in datasets.items():
        show_advice(runs_of[name], dataset, given_of[name], place, jobs, start)
    failed = do_runs(runs, jobs, out, device=device, data_dir=data_dir, precision=precision,
                     checkpoint_every=checkpoint_every, partition=table_file, clients_per_call=clients_per_call,
                     init_from=init_file)
    done = [run.path for run in runs if (record.read_end(run.path) or {}).get("last_evaluation")]
    if done:
        click.echo(summary.mean_table(done))
    sys.exit(1 if failed else 0)


def run_name(settings: Settings) -> str:
    """The name of a run that was given none."""
    return "-".join([*(own.label(getattr(settings, name)) for name in ("data", "setting", "algorithm", "norm")),
                     f"seed{settings.seed}"])


def pasteable(run: Any, data_dir: Any, settings: Settings) -> str:
    """A run directory, --data-dir if it was given, and one's own things, as arguments for a shell."""
    return shlex.join([str(run), *(["--data-dir", str(data_dir)] if data_dir else []), *own.arguments(settings)])


def settings_of_resumed(run: Any, config: dict, chosen: dict, partition: Partition, table_file: Any,
                        dataset: Any) -> tuple:
    """(Settings of a run that goes on, rounds that were chosen for it or None); InputError if something else was chosen
    for it than it has."""
    settings, rounds = settings_for(dataset.name, config["settings"]), chosen.pop("rounds", None)
    if rounds is not None:
        settings = replace(settings, rounds=rounds) if check_rounds(run, config, rounds) else settings
    refuse_differences(run, settings, chosen, partition, table_file, dataset)
    return settings, rounds


def refuse_differences(run: Any, settings: Settings, chosen: dict, partition: Partition, table_file: Any,
                       dataset: Any) -> None:
    """InputError if something was chosen for a resumed run that is not what the run has."""
    for name, value in chosen.items():
        if value is not None and not (name == "data" and value == "auto"):
            if not hasattr(settings, name):
                raise InputError(f"unknown setting {name!r}.")
            if not own.same(name, getattr(settings, name), value):
                raise InputError(f"--resume {run}: --{name.replace('_', '-')} {value} differs from the run's "
                                 f"{getattr(settings, name)}; leave it out, or begin a new run.")
    if table_file:
        given = lists.read(table_file, dataset) if lists.is_lists(table_file) else \
            table.read_csv(table_file, dataset.class_names)
        same = lists.identity(given) == lists.identity(partition) if isinstance(given, Listed) else \
            np.array_equal(given, partition.counts) and not isinstance(partition, Listed) and settings.setting != NATURAL
        if not same:
            what = "lists" if isinstance(given, Listed) else "table"
            raise InputError(f"--resume {run}: the {what} of --partition {table_file} differs from the run's; leave it "
                             f"out, or begin a new run.")


def check_fits(settings: Settings, dataset: Any, partition: Partition, place: Any, processes: int = 1,
               start: Any = None) -> None:
    """InputError if the network does not fit the images or the model to start from, more clients are wanted than there
    are, or the run takes more memory than there is at its place, where so many processes share it; None: it will not be
    done."""
    model = settings.network(dataset.num_classes, dataset.image_shape)
    model.spec   # noqa: B018 - made here, it says what does not fit
    initial.check(start, settings, model)
    clients_per_round(settings, int((partition.counts.sum(axis=1) > 0).sum()))
    if place is not None:
        memory.check_fits(settings, dataset, partition, place, processes=processes)


def do_runs(runs: Any, jobs: int, out: Any, **options: Any) -> Any:
    """Do what is left of runs in the folder `out`, each a process of one thread with these options, None: left out.
    Says what failed, and returns it: path -> what went wrong."""
    if any(run.status not in record.COMPLETE for run in runs):
        record.check_folder(out)
    given = {"workers": 1, **{name: value for name, value in options.items() if value is not None}}
    failed = show_sweep(runs, jobs, [part for name, value in given.items()
                                     for part in (f"--{name.replace('_', '-')}", str(value))])
    for path, error in failed.items():
        click.echo(f"{path}: {error}", err=True)
    return failed


def show_advice(runs: Any, dataset: Any, given: Any, place: Any, jobs: int, start: Any = None) -> None:
    """Check all runs on a data set against it, and say what is known of how they will go."""
    about = {}
    for run in runs:
        partition = split(run.settings, dataset, given)
        if run.status != "new" and record.read_config(run.path)["partition"].get("sha256") != lists.identity(partition):
            raise InputError(f"{run.path} holds a run with another partition than this sweep's; choose another --out.")
        complete = run.status in record.COMPLETE
        check_fits(run.settings, dataset, partition, None if complete else place, min(jobs, len(runs)), start)
        for sentence in advice(run.settings, partition):
            about.setdefault(sentence, []).append(run.path.name)
    for sentence, names in about.items():
        click.echo(f"Note on {len(names)} of the runs ({names[0]}{', ...' if len(names) > 1 else ''}): {sentence}")
