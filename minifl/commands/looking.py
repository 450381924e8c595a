"""Commands that look and train nothing: `eval`, `compare`, `plot`, `partition`, `describe`.

Plots are imported by the commands that make them: the others need not wait for that, nor have matplotlib.
"""

import os
import sys
from shutil import get_terminal_size
from typing import Any

import click

from minifl.atomic import is_stream
from minifl.backend import choose_device
from minifl.commands.choices import data_name, read_partition
from minifl.commands.display import show_network, show_result
from minifl.commands.options import (FileName, Several, Shape, data_dir_option, data_options, device_options,
                                     model_options, named_options, partition_options)
from minifl.data import lists, registry, table
from minifl.data.known import DATASETS
from minifl.data.partition import NATURAL, Listed, clients_of_domains
from minifl.errors import InputError
from minifl.runs import record, summary
from minifl.runs.run import default_workers, reevaluate, split
from minifl.runs.settings import settings_for


@click.command("eval")
@click.argument("run", type=FileName())
@data_dir_option
@named_options
@device_options
def eval_command(run: Any, data_dir: Any, device: str, precision: str, workers: int) -> None:
    """Test the saved model of a run again."""
    xp, where = choose_device(device, precision or "fp32")
    config, dataset, result = reevaluate(run, data_dir=data_dir, xp=xp, workers=workers or default_workers())
    click.echo(f"Run: {run} ({config['command']}). Device: {where}.")
    show_result(result, dataset)


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=FileName())
@click.option("--mean", is_flag=True, help="A line for runs that differ in their seed only: mean ± standard deviation.")
@click.option("--reach", type=Several(float), metavar="PERCENT,...",
              help="Also a table of the first evaluated round at which the test accuracy reached each of these, as "
                   "20,30,40; and, since single evaluations swing, at which the mean of the last 5 did. With --mean "
                   "the median over the seeds and how many of them did: 120 (2/3).  [default: none]")
@click.option("--curves", is_flag=True, help="Also draw test accuracy over rounds, in characters.")
@click.option("--figure", type=FileName(),
              help="Also draw it there (.png or .svg; both, if the name has no suffix). With --mean: mean, and a band "
                   "from the worst to the best seed. Needs matplotlib.")
def compare_command(runs: Any, mean: bool, reach: Any, curves: bool, figure: Any) -> None:
    """Print a table of runs, made from their records."""
    shown = [summary.mean_table(runs) if mean else summary.table(runs)]
    if reach:
        shown.append(summary.reach_table(runs, reach, mean=mean))
    if curves or figure:
        from minifl.runs.curves import accuracy_curves
        lines = accuracy_curves(runs, mean=mean)
    if curves:
        from minifl.runs.textplot import draw
        width = get_terminal_size().columns if sys.stdout.isatty() else 80
        shown.append(draw([line[:3] for line in lines], width=width, x_name="round", y_name="test accuracy in %"))
    if figure:
        from minifl.runs.pictures import accuracy_figure
        shown.append(_written(accuracy_figure(lines, figure)))
    click.echo("\n\n".join(shown))


@click.command("plot")
@click.argument("runs", nargs=-1, required=True, type=FileName())
@click.option("--out", type=FileName(), default="plots", help="Folder of the pictures.")
@click.option("--client", type=click.IntRange(min=0),
              help="Also draw what its local steps did to each class, as Figure 2 of the paper.  [default: none]")
def plot_command(runs: Any, out: Any, client: int) -> None:
    """Draw what `train --diagnose` recorded of runs, as PNG and SVG.

    A picture for each run, diagnostics-RUN: lengths of classifier vectors and of features, singular values, effective
    rank, margins, what local steps do to each class, drift of clients, cosines between their updates. Of several runs
    also diagnostics-compared, in which they share axes. Needs matplotlib.
    """
    from minifl.runs.curves import read_diagnostics
    from minifl.runs.pictures import plot_runs
    if os.path.lexists(out / record.CONFIG):
        raise InputError(f"--out {out} is a run directory; choose another folder for pictures.")
    click.echo(_written(plot_runs(read_diagnostics(runs), out, client)))


def _written(files):
    return f"Written to {', '.join(map(str, files))}."


@click.command("partition")
@data_options
@partition_options
@click.option("--csv", "csv_file", type=FileName(written=True), help="Write the table there.")
@click.option("--json", "json_file", type=FileName(written=True), help="Write the examples of each client there.")
def partition_command(data_dir: Any, table_file: Any, csv_file: Any, json_file: Any, **chosen: Any) -> None:
    """Print the table of label counts of a partition, with its hash."""
    dataset = registry.load(data_name(chosen), data_dir)
    given = read_partition(table_file, dataset, chosen)
    settings = settings_for(dataset.name, chosen)
    partition = split(settings, dataset, given)
    click.echo(f"Data: {dataset.source}.")
    by_counts = not isinstance(partition, Listed) and settings.setting != NATURAL
    if settings.by_domain and by_counts:
        domains = zip(dataset.domain_names, clients_of_domains(len(partition.counts), dataset.domain_names))
        click.echo("Domains: " + ", ".join(f"{name} clients {of[0]}-{of[-1]}" for name, of in domains) + ".")
    click.echo(table.format_table(partition.counts, dataset.class_names))
    click.echo(f"sha256 {lists.identity(partition)}")
    left_out = len(dataset.y_train) - int(partition.counts.sum())
    if left_out:
        click.echo(f"{left_out} training examples belong to no client.")
    if csv_file:
        table.write_csv(csv_file, partition.counts, dataset.class_names)
        flag = {None: "", True: " --by-domain", False: " --no-by-domain"}[chosen["by_domain"]]
        others = "" if by_counts else "; clients then get as many examples of each class, but others"
        _show_written(csv_file, flag + others)
    if json_file:
        lists.write(json_file, partition)
        _show_written(json_file)


def _show_written(file, besides=""):
    """Where a partition was written and how to use it; nothing if it was printed."""
    if not is_stream(file):
        click.echo(f"Written to {file}; use it with --partition {file}{besides}")


@click.command("describe")
@data_options
@model_options
@click.option("--image-shape", type=Shape(), help="Height, width and channels of the images.  [default: those of the data, "
                                                  "else 32x32x3]")
@click.option("--num-classes", type=click.IntRange(min=1), help="[default: those of the data, else 10]")
def describe_command(data: Any, data_dir: Any, image_shape: Any, num_classes: int, **chosen: Any) -> None:
    """Print the layers of a network with output shapes, parameters and FLOPs."""
    data = data or "cifar10"
    of = DATASETS.get(data) or registry.load(data, data_dir)
    settings = settings_for(data, chosen)
    show_network(settings.network(num_classes or of.num_classes, image_shape or of.image_shape))
