"""What the command line shows: settings, progress, results."""

import sys
from contextlib import contextmanager
from datetime import timedelta
from shutil import get_terminal_size
from time import perf_counter

import click

from minifl.data import lists
from minifl.runs import floor
from minifl.runs.advice import advice
from minifl.runs.profile import OWN_TESTS, Profile
from minifl.runs.summary import markdown

MOST_CLASSES = 20   # of which each has its line in a result
HOW_TO_GET_CIFAR10 = "For CIFAR-10: python data_scripts/cifar10.py (or --from FILE_OR_FOLDER), then --data cifar10."


def show_start(settings, dataset, partition, where, out):
    """Say what will run, and what is already known about how it will go."""
    click.echo(f"Data: {dataset.source}." + ("" if dataset.name != "embedded" else f" {HOW_TO_GET_CIFAR10}"))
    parameters = settings.network(dataset.num_classes, dataset.image_shape).spec.size
    click.echo("Settings: " + ", ".join(f"{name} {value}" for name, value in vars(settings).items()
                                        if value is not None) + ".")
    click.echo(f"Network: {parameters:,} parameters. Partition: {lists.identity(partition)[:16]}. "
               f"Device: {where}. Run: {out}.")
    for sentence in advice(settings, partition):
        click.echo(f"Note: {sentence}")


def show_network(model):
    """Print a network's plan: what each step gives, its parameters and FLOPs, for one example."""
    rows = [(row.name, row.what, "x".join(map(str, row.shape)),
             f"{sum(entry.size for entry in row.entries if not entry.statistic):,}", f"{row.flops / 1e6:.3f}")
            for row in model.plan]
    click.echo(markdown([("layer", "what", "output", "parameters", "MFLOP"), *rows]))
    click.echo(f"{model.spec.size:,} parameters, {model.flops / 1e6:.3f} MFLOP in a forward pass of one example (2 for "
               f"each multiply-add of convolutions, linear layers and attention products; the rest is not counted)."
               + (f" {model.statistics.size:,} running statistics of batch norm." if model.statistics.size else ""))


def show_progress(lines, settings, quiet=60):
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
def profiling(settings, dataset, workers):
    """Inside, a run is profiled; at the end, also of an interrupted one, the table is printed."""
    model = settings.network(dataset.num_classes, dataset.image_shape)
    speed, profile = floor.measure(model, settings.batch_size), Profile(model, workers)
    try:
        with profile:
            yield
    finally:
        _show_profile(profile, settings, speed)


def _show_profile(profile, settings, speed):
    if not profile.steps:
        click.echo("Profile: no round with a local step has ended, so there is nothing to show.")
        return
    layers, around = floor.lines(profile, settings.batch_size, speed)
    whole = profile.thread_seconds / profile.steps
    of_layers, of_all = (sum(line.seconds for line in lines) for lines in (layers, layers + around))
    total = floor.Line("all layers", "", sum(line.forward or 0 for line in layers),
                       sum(line.backward or 0 for line in layers), of_layers / whole,
                       tuple(map(sum, zip(*(line.flops for line in layers)))), sum(line.floor for line in layers))
    rest = floor.Line("rest", "Python around these, waiting", None, None, 1 - of_all / whole, other=whole - of_all)
    click.echo(f"Profile of {profile.rounds} round{'s' * (profile.rounds > 1)}, "
               f"{profile.thread_seconds / profile.workers:.2f} s on {profile.workers} "
               f"thread{'s' * (profile.workers > 1)}: {profile.steps:,} local steps, each a batch of "
               f"{settings.batch_size} of one client. All but the shares is for one step.")
    head = "layer", "what", "forward ms", "backward ms", "ms", "share", "GFLOP", "GFLOP/s", "floor ms", "/ floor"
    click.echo(markdown([head, *map(_profile_row, [*layers, total, *around, rest])]))
    best, *others = ("x".join(map(str, sizes)) for sizes in speed.products)
    click.echo(f"Floor: the layer's multiply-adds at {speed.flops / 1e9:.1f} GFLOP/s, the speed on one thread of a "
               f"float32 product of {best}" + (f" (slower: {', '.join(others)})" if others else "") +
               f"; of layers without any, input and output at {speed.copied / 1e9:.1f} GB/s, that of copying "
               f"{floor.COPIED >> 20} MB. Measured before the first round.")
    click.echo("Convolutions may go below their floor: minimal filtering (minifl/layers/filtering.py) takes fewer "
               "multiplications than the plain product that is counted here.")
    own = profile.spent[OWN_TESTS, None].seconds
    click.echo(f"Not in the table: {profile.evaluation:.2f} s of tests of the global model"
               + (f", {own:.2f} thread-seconds of tests of the clients' own models." if own else "."))
    click.echo(f"The layers took {of_layers * profile.steps:.2f} of {profile.thread_seconds:.2f} thread-seconds (round "
               f"time x threads): gap {100 * (1 - of_layers / whole):.1f} %; with the rows below them "
               f"{of_all * profile.steps:.2f}: gap {100 * (1 - of_all / whole):.1f} %.")


def _profile_row(line):
    """The cells of a Line; what is not there, and what is 0 by definition, is a dash."""
    def cell(value, digits):
        return f"{value:.{digits}f}" if value else "-"

    flops = sum(line.flops)
    return (line.name, line.what, cell(1e3 * (line.forward or 0), 3), cell(1e3 * (line.backward or 0), 3),
            cell(1e3 * line.seconds, 3), f"{100 * line.share:.1f} %", cell(flops / 1e9, 4),
            cell(flops and line.seconds and flops / line.seconds / 1e9, 1), cell(1e3 * (line.floor or 0), 3),
            cell(line.floor and line.seconds / line.floor, 2))


def show_result(result, dataset):
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
