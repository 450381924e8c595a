"""The command line: `python cli.py COMMAND` or `minifl COMMAND`."""

import json
import shlex
import signal
import sys
from contextlib import nullcontext
from dataclasses import fields
from pathlib import Path

import click
import numpy as np

from minifl.backend import choose_device
from minifl.data import registry, table
from minifl.data.counts import check_counts
from minifl.data.partition import class_sizes, clients_of_domains
from minifl.display import profiling, show_network, show_progress, show_result, show_start, show_sweep
from minifl.errors import InputError
from minifl.fl import memory, record, summary
from minifl.fl.advice import advice
from minifl.fl.client import Diverged
from minifl.fl.participation import clients_per_round
from minifl.fl.run import Placement, default_workers, reevaluate, reopen, resume, split, train
from minifl.fl.settings import BELONGS, EITHER, TABLE, Settings, settings_for
from minifl.fl.sweep import grid
from minifl.options import (FileName, Several, Shape, algorithm_options, data_dir_option, data_options, device_option,
                            device_options, group, model_options, partition_options, placement_options,
                            precision_option, profile_option, several, training_options)


class Commands(click.Group):
    """A group in which bad input ends with its message and exit code 2, without a traceback.

    A network or batch that does not fit into memory is bad input, too.
    """

    def invoke(self, ctx):
        try:
            return super().invoke(ctx)
        except InputError as error:
            click.echo(f"Error: {error}", err=True)
        except MemoryError as error:
            click.echo(f"Error: not enough memory ({error}); make --width, --batch-size, --local-steps or "
                       "--local-epochs smaller.", err=True)
        ctx.exit(2)


@click.group(cls=Commands, context_settings={"help_option_names": ["-h", "--help"], "show_default": True,
                                            "max_content_width": 110})
def main():
    """Federated learning with layer and feature normalization under label skew."""


@main.command("train")
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
              help="Go on with a stopped run from its newest checkpoint.")
def train_command(data_dir, table_file, config_file, device, precision, workers, clients_per_call, checkpoint_every,
                  out, force, resumed, profiled, **chosen):
    """Train a network federatedly and keep the run's record."""
    chosen = _merge(_read_settings(config_file), chosen)
    if resumed is None:
        settings_for(_data_name(chosen), chosen)   # what is invalid fails before the data are read or made
    xp, where = choose_device(device, precision or "fp32")
    if profiled and xp is not np:
        raise InputError(f"--profile is for the CPU, and this is {where}, where kernels run while Python goes on; give "
                         f"--device cpu, or look with a profiler for CUDA, such as nsys.")
    place = Placement(xp, where, workers or default_workers(), clients_per_call, checkpoint_every, precision)
    if resumed is not None:
        if out is not None or force:
            raise InputError("--resume goes on in its own directory; leave --out and --force out.")
        config, dataset, partition = reopen(resumed, data_dir)
        settings = settings_for(dataset.name, config["settings"])
        _refuse_differences(resumed, settings, chosen, partition, table_file, dataset)
        memory.check_fits(settings, dataset, partition, place)
        out, (lines, messages) = resumed, resume(resumed, config, dataset, partition, place)
    else:
        dataset, messages = registry.load(_data_name(chosen), data_dir), []
        counts = _read_table(table_file, dataset, chosen)
        settings = settings_for(dataset.name, chosen)
        partition = split(settings, dataset, counts)
        _check_fits(settings, dataset, partition, place)
        if out is None:
            out = record.new_folder("runs", f"{settings.data}-{settings.setting}-{settings.algorithm}-"
                                            f"{settings.norm}-seed{settings.seed}")
        lines = train(settings, dataset, partition, out, place, force=force,
                      table_file=str(table_file) if table_file else None)
    show_start(settings, dataset, partition, where, out)
    for message in messages:
        click.echo(message)
    try:
        with profiling(settings, dataset, place.workers) if profiled else nullcontext():
            show_progress(lines, settings)
    except KeyboardInterrupt as interrupt:
        click.echo(f"Interrupted; the record up to here is in {out}. Go on with: "
                   f"python cli.py train --resume {_pasteable(out, data_dir)}", err=True)
        sys.exit(128 + getattr(interrupt, "signum", signal.SIGINT))
    except Diverged as error:
        click.echo(f"Diverged: {error}. The record is in {out}.", err=True)
        sys.exit(1)
    show_result(record.read_end(out)["last_evaluation"], dataset)
    click.echo(f"Record: {out}. Test it again: python cli.py eval {_pasteable(out, data_dir)}")


@main.command("sweep")
@several(group(data_options, model_options, algorithm_options, partition_options, training_options))
@click.option("--seeds", "seeds", type=Several(int), help="The same as --seed.")
@device_option
@precision_option
@placement_options
@click.option("--jobs", type=click.IntRange(min=1),
              help="Runs at a time, of one thread each.  [default: all cores; 1 on a GPU]")
@click.option("--out", default=Path("runs/sweep"), type=FileName(), help="Folder of the runs.")
def sweep_command(data_dir, table_file, config_file, seeds, device, precision, clients_per_call, checkpoint_every, jobs,
                  out, **chosen):
    """Train for every combination of settings, several runs at a time, and print a table of their results.

    Every option of a run takes several values, separated by commas (whole numbers also as 0-4). Complete runs in
    --out are skipped, stopped ones resumed.
    """
    if seeds is not None:
        if chosen["seed"] is not None:
            raise InputError("--seeds and --seed are the same; give one of them.")
        chosen["seed"] = seeds
    chosen = _merge(_read_settings(config_file), chosen)
    xp, where = choose_device(device, precision or "fp32")
    place = Placement(xp, where, 1, clients_per_call)
    jobs = jobs or (1 if where.startswith("cuda") else default_workers())
    dataset = registry.load(_data_name(chosen), data_dir)
    chosen.pop("data", None)
    counts = _read_table(table_file, dataset, chosen)
    several_of = {name: value if isinstance(value, list) else [value] for name, value in chosen.items()}
    runs = grid(dataset.name, several_of, out)
    click.echo(f"Data: {dataset.source}. Device: {where}. {len(runs)} runs in {out}, "
               f"{sum(run.status in record.COMPLETE for run in runs)} of them complete.")
    for sentence, names in _advice_for_all(runs, dataset, counts, place, jobs).items():
        click.echo(f"Note on {len(names)} of the runs ({names[0]}{', ...' if len(names) > 1 else ''}): {sentence}")

    if any(run.status not in record.COMPLETE for run in runs):
        record.check_folder(out)
    options = ["--data", dataset.name, "--device", device, "--workers", "1", "--checkpoint-every", checkpoint_every]
    options += ["--data-dir", data_dir] if data_dir else []
    options += ["--partition", table_file] if table_file else []
    options += ["--clients-per-call", clients_per_call] if clients_per_call else []
    options += ["--precision", precision] if precision else []
    failed = show_sweep(runs, jobs, [str(option) for option in options])
    for path, error in failed.items():
        click.echo(f"{path}: {error}", err=True)
    done = [run.path for run in runs if (record.read_end(run.path) or {}).get("last_evaluation")]
    if done:
        click.echo(summary.mean_table(done))
    sys.exit(1 if failed else 0)


@main.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@data_dir_option
@device_options
def eval_command(run, data_dir, device, precision, workers):
    """Test the saved model of a run again."""
    xp, where = choose_device(device, precision or "fp32")
    config, dataset, result = reevaluate(run, data_dir=data_dir, xp=xp, workers=workers or default_workers())
    click.echo(f"Run: {run} ({config['command']}). Device: {where}.")
    show_result(result, dataset)


@main.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--mean", is_flag=True, help="A line for runs that differ in their seed only: mean ± standard deviation.")
def compare_command(runs, mean):
    """Print a table of runs, made from their records."""
    click.echo(summary.mean_table(runs) if mean else summary.table(runs))


@main.command("partition")
@data_options
@partition_options
@click.option("--csv", "csv_file", type=FileName(dir_okay=False), help="Write the table there.")
def partition_command(data_dir, table_file, csv_file, **chosen):
    """Print the table of label counts of a partition, with its hash."""
    dataset = registry.load(_data_name(chosen), data_dir)
    counts = _read_table(table_file, dataset, chosen)
    settings = settings_for(dataset.name, chosen)
    partition = split(settings, dataset, counts)
    click.echo(f"Data: {dataset.source}.")
    if settings.by_domain:
        domains = zip(dataset.domain_names, clients_of_domains(len(partition.counts), dataset.domain_names))
        click.echo("Domains: " + ", ".join(f"{name} clients {of[0]}-{of[-1]}" for name, of in domains) + ".")
    click.echo(table.format_table(partition.counts, dataset.class_names))
    click.echo(f"sha256 {table.partition_hash(partition.counts)}")
    left_out = len(dataset.y_train) - int(partition.counts.sum())
    if left_out:
        click.echo(f"{left_out} training examples belong to no client.")
    if csv_file:
        table.write_csv(csv_file, partition.counts, dataset.class_names)
        flag = {None: "", True: " --by-domain", False: " --no-by-domain"}[chosen["by_domain"]]
        click.echo(f"Written to {csv_file}; use it with --partition {csv_file}{flag}")


@main.command("describe")
@model_options
@click.option("--image-shape", type=Shape(), default="32x32x3", help="Height, width and channels of the images.")
@click.option("--num-classes", type=click.IntRange(min=1), default=10)
def describe_command(image_shape, num_classes, **chosen):
    """Print the layers of a network with output shapes, parameters and FLOPs."""
    show_network(settings_for("cifar10", chosen).network(num_classes, image_shape))


@main.command("gradcheck")
@click.option("--layer", help="Only this layer or model.  [default: all layers and networks]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of inputs and cotangents.")
@click.option("--quick", is_flag=True, help="All layers, but only one or two networks of each model and norm.")
@click.option("--mutants", is_flag=True, help="Check that every wrong backward pass of the list is caught.")
def gradcheck_command(layer, seed, quick, mutants):
    """Check every backward pass against its forward pass; exit code 1 if one is wrong or a mutant survives."""
    from minifl.gradcheck import checks, report
    if layer is not None and layer not in checks.names():
        raise InputError(f"--layer {layer!r} is unknown; valid are {', '.join(checks.names())}.")
    if quick and mutants:
        raise InputError("--quick is for the checks, --mutants needs the networks it names; leave out one of them.")
    bad = [f"{name}: in minifl.layers or in the registry, but not in both" for name in checks.unregistered()]
    count = 0
    for text, good in report.mutant_lines(seed, layer) if mutants else report.lines(checks.run(seed, layer, quick)):
        click.echo(text)
        count += 1
        bad += [] if good else [text]
    what = "mutants, each must be caught" if mutants else "layer cases and networks"
    if not count:
        raise InputError(f"--layer {layer!r} has no {what.split(',')[0]}; leave it out to run all.")
    click.echo(f"{count} {what}: " + ("all good." if not bad else f"{len(bad)} FAILED."))
    for text in bad:
        click.echo(f"  {text}")
    sys.exit(1 if bad else 0)


def _read_settings(path):
    """Settings from a JSON file: an object of settings, or a run's config that holds one."""
    if path is None:
        return {}
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"--config {path} cannot be read: {error.strerror}.") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"--config {path} is not a JSON object of settings: {error}.") from error
    settings = content.get("settings", content) if isinstance(content, dict) else content
    if not isinstance(settings, dict):
        where = "its settings are" if isinstance(content, dict) else "it holds"
        raise InputError(f"--config {path} is not a JSON object of settings: {where} {json.dumps(settings):.40}; valid "
                         f'is, for example, {{"lr": 0.1, "norm": "fn"}}.')
    known = sorted(field.name for field in fields(Settings))
    unknown = sorted(set(settings) - set(known))
    if unknown:
        raise InputError(f"--config {path}: unknown setting {unknown[0]!r}; valid are {', '.join(known)}.")
    return settings


def _data_name(chosen):
    """The --data that was chosen, else auto."""
    return "auto" if chosen.get("data") is None else chosen["data"]


def _pasteable(run, data_dir):
    """A run directory, and --data-dir if it was given, as arguments for a shell."""
    return shlex.join([str(run), *(["--data-dir", str(data_dir)] if data_dir else [])])


def _merge(from_file, from_line):
    """Settings of a file and of the command line, which goes before it.

    A method, norm or model chosen on the command line comes with what belongs to it, and of two ways to say the same
    (steps or epochs, part or number of clients) the one on the command line counts.
    """
    given = {name: value for name, value in from_line.items() if value is not None}
    changed = {field for field, _ in BELONGS.values() if given.get(field, from_file.get(field)) != from_file.get(field)}
    from_file = {name: value for name, value in from_file.items() if BELONGS.get(name, (None,))[0] not in changed}
    for pair in ((name, other) for name, (other, _) in EITHER.items()):
        if any(name in given for name in pair):
            from_file = {name: value for name, value in from_file.items() if name not in pair}
    return {**from_file, **given}


def _refuse_differences(run, settings, chosen, partition, table_file, dataset):
    """InputError if something was chosen for a resumed run that is not what the run has."""
    for name, value in chosen.items():
        if value is not None and not (name == "data" and value == "auto"):
            if not hasattr(settings, name):
                raise InputError(f"unknown setting {name!r}.")
            if getattr(settings, name) != value:
                raise InputError(f"--resume {run}: --{name.replace('_', '-')} {value} differs from the run's "
                                 f"{getattr(settings, name)}; leave it out, or begin a new run.")
    if table_file and not np.array_equal(table.read_csv(table_file, dataset.class_names), partition.counts):
        raise InputError(f"--resume {run}: the table of --partition {table_file} differs from the run's; leave it "
                         f"out, or begin a new run.")


def _check_fits(settings, dataset, partition, place, processes=1):
    """InputError if the network does not fit the images, more clients are wanted than there are, or the run takes more
    memory than there is at its place, where so many processes share it; None: it will not be done."""
    settings.network(dataset.num_classes, dataset.image_shape).spec
    clients_per_round(settings, int((partition.counts.sum(axis=1) > 0).sum()))
    if place is not None:
        memory.check_fits(settings, dataset, partition, place, processes=processes)


def _read_table(path, dataset, chosen):
    """The label counts of --partition, which then is the setting; its number of clients counts if none was given."""
    if path is None:
        return None
    if chosen.get("setting") not in (None, TABLE):
        raise InputError(f"--partition and --setting {chosen['setting']}: give one of them.")
    chosen["setting"] = TABLE
    counts = table.read_csv(path, dataset.class_names)
    check_counts(counts, class_sizes(dataset.y_train, dataset.num_classes), f"--partition {path}", dataset.class_names)
    if chosen.get("num_clients") is None:
        chosen["num_clients"] = len(counts)
    return counts


def _advice_for_all(runs, dataset, counts, place, jobs):
    """Check all runs against the data; returns advice: sentence -> names of the runs that it is about."""
    about = {}
    for run in runs:
        partition = split(run.settings, dataset, counts)
        complete = run.status in record.COMPLETE
        _check_fits(run.settings, dataset, partition, None if complete else place, min(jobs, len(runs)))
        for sentence in advice(run.settings, partition):
            about.setdefault(sentence, []).append(run.path.name)
    return about
