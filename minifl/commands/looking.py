"""Commands that look and train nothing: `eval`, `compare`, `partition`, `describe`."""

from pathlib import Path

import click

from minifl.backend import choose_device
from minifl.commands.choices import data_name, read_table
from minifl.commands.display import show_network, show_result
from minifl.commands.options import (FileName, Shape, data_dir_option, data_options, device_options, model_options,
                                     partition_options)
from minifl.data import registry, table
from minifl.data.partition import clients_of_domains
from minifl.fl import summary
from minifl.fl.run import default_workers, reevaluate, split
from minifl.fl.settings import settings_for


@click.command("eval")
@click.argument("run", type=click.Path(path_type=Path))
@data_dir_option
@device_options
def eval_command(run, data_dir, device, precision, workers):
    """Test the saved model of a run again."""
    xp, where = choose_device(device, precision or "fp32")
    config, dataset, result = reevaluate(run, data_dir=data_dir, xp=xp, workers=workers or default_workers())
    click.echo(f"Run: {run} ({config['command']}). Device: {where}.")
    show_result(result, dataset)


@click.command("compare")
@click.argument("runs", nargs=-1, required=True, type=click.Path(path_type=Path))
@click.option("--mean", is_flag=True, help="A line for runs that differ in their seed only: mean ± standard deviation.")
def compare_command(runs, mean):
    """Print a table of runs, made from their records."""
    click.echo(summary.mean_table(runs) if mean else summary.table(runs))


@click.command("partition")
@data_options
@partition_options
@click.option("--csv", "csv_file", type=FileName(dir_okay=False), help="Write the table there.")
def partition_command(data_dir, table_file, csv_file, **chosen):
    """Print the table of label counts of a partition, with its hash."""
    dataset = registry.load(data_name(chosen), data_dir)
    counts = read_table(table_file, dataset, chosen)
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


@click.command("describe")
@model_options
@click.option("--image-shape", type=Shape(), default="32x32x3", help="Height, width and channels of the images.")
@click.option("--num-classes", type=click.IntRange(min=1), default=10)
def describe_command(image_shape, num_classes, **chosen):
    """Print the layers of a network with output shapes, parameters and FLOPs."""
    show_network(settings_for("cifar10", chosen).network(num_classes, image_shape))
