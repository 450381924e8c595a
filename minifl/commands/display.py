"""What the command line shows: settings, progress, results."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from shutil import get_terminal_size
from time import perf_counter
from typing import Any

import click

from minifl.data import lists
from minifl.data.partition import Partition
from minifl.models.network import Network
from minifl.runs import profile_table
from minifl.runs.advice import advice
from minifl.runs.profile import Profile
from minifl.runs.settings import Settings
from minifl.runs.summary import markdown

MOST_CLASSES = 20   # of which each has its line in a result
HOW_TO_GET_CIFAR10 = "For CIFAR-10: python data_scripts/cifar10.py (or --from FILE_OR_FOLDER), then --data cifar10."


def show_start(settings: Settings, dataset: Any, partition: Partition, where: str, out: Any) -> None:
    """Say what will run, and what is already known about how it will go."""
    click.echo(f"Data: {dataset.source}." + ("" if dataset.name != "embedded" else f" {HOW_TO_GET_CIFAR10}"))
    parameters = settings.network(dataset.num_classes, dataset.image_shape).spec.size
    click.echo("Settings: " + ", ".join(f"{name} {value}" for name, value in vars(settings).items()
                                        if value is not None) + ".")
    click.echo(f"Network: {parameters:,} parameters. Partition: {lists.identity(partition)[:16]}. "
               f"Device: {where}. Run: {out}.")
    for sentence in advice(settings, partition):
        click.echo(f"Note: {sentence}")


def show_network(model: Network) -> None:
    """Print a network's plan: what each step gives, its parameters and FLOPs, for one example."""
    rows = [(row.name, row.what, "x".join(map(str, row.shape)),
             f"{sum(entry.size for entry in row.entries if not entry.statistic):,}", f"{row.flops / 1e6:.3f}")
            for row in model.plan]
    click.echo(markdown([("layer", "what", "output", "parameters", "MFLOP"), *rows]))
    click.echo(f"{model.spec.size:,} parameters, {model.flops / 1e6:.3f} MFLOP in a forward pass of one example (2 for "
               f"each multiply-add of convolutions, linear layers and attention products; the rest is not counted)."
               + (f" {model.statistics.size:,} running statistics of batch norm." if model.statistics.size else ""))


def show_progress(lines: Any, settings: Settings, quiet: float = 60) -> None:
    """Consume the rounds; a progress bar on a terminal, elsewhere a line for each evaluation, and for a round that ends
    after so many quiet seconds."""
    shown = {"round": 0}
    if not sys.stdout.isatty():
        said = perf_counter()
        for line, pace in _paced(lines):
            shown |= line
            if "accuracy" in line or perf_counter() - said >= quiet:
                click.echo(f"round {line['round']}/{settings.rounds}  {_summary(shown, settings, pace)}")
                said = perf_counter()
        return
    # width 0: the bar takes what the text leaves of the line; text that is longer than the line would pile up
    room = get_terminal_size().columns - len(f"{settings.rounds}/{settings.rounds}   []")
    with click.progressbar(length=settings.rounds, show_pos=True, show_eta=False, width=0, info_sep="  ",
                           bar_template="%(info)s [%(bar)s]", item_show_func=lambda text: text and text[:room]) as bar:
        for line, pace in _paced(lines):
            new = line["round"] - shown["round"]
            shown |= line
            bar.update(new, _summary(shown, settings, pace))


def _paced(lines, now=perf_counter):
    """(line, seconds a round with its evaluation), without the first round, in which things start, once the others have
    taken longer than that. now: a clock."""
    first = start = now()
    for count, line in enumerate(lines, start=1):
        at = now()
        first = at if count == 1 else first
        yield line, (at - first) / (count - 1) if at - first > first - start else (at - start) / count


def _summary(line, settings, pace):
    """Loss of the round, latest accuracy, rounds per second and time left; pace: seconds a round."""
    accuracy = f"{100 * line['accuracy']:5.1f} %" if "accuracy" in line else "not yet"
    loss = "none" if line["train_loss"] is None else f"{line['train_loss']:.4f}"
    left = timedelta(seconds=round(pace * (settings.rounds - line["round"])))
    return f"loss {loss}  accuracy {accuracy}  {1 / pace:.2f} rounds/s  {left} left"


@contextmanager
def profiling(settings: Settings, dataset: Any, workers: int) -> Iterator[None]:
    """Inside, a run is profiled; at the end, also of an interrupted one, the table is printed."""
    profile = Profile(settings.network(dataset.num_classes, dataset.image_shape), workers)
    try:
        with profile:
            yield
    finally:
        for text in profile_table.report(profile, settings.batch_size):
            click.echo(text)


def show_result(result: dict, dataset: Any) -> None:
    mean = result["client_mean_accuracy"]
    click.echo(f"Test accuracy: {100 * result['accuracy']:.2f} % of all examples; "
               + ("no client has any; " if mean is None else f"{100 * mean:.2f} % mean over clients; ") +
               f"loss {result['test_loss']:.4f}.")
    if "tested_clients" in result:
        click.echo(f"These are of the models of {len(result['tested_clients'])} of {len(result['client_accuracy']):,} "
                   "clients.")
    classes = list(zip(dataset.class_names, result["class_accuracy"]))
    if len(classes) > MOST_CLASSES:
        click.echo(f"Of {len(classes)} classes the five best and the five worst (all are in the record):")
        tested = sorted((c for c in classes if c[1] is not None), key=lambda c: -c[1])
        classes = tested[:5] + tested[-5:]
    for name, accuracy in classes:
        click.echo(f"  {name:<12} " + ("no examples" if accuracy is None else f"{100 * accuracy:6.2f} %"))
