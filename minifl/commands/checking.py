"""Commands that prove: `gradcheck`, `theory`, and `check` of one's own things."""

import sys
from typing import Any

import click

from minifl import own
from minifl.commands import training
from minifl.commands.options import Named, group
from minifl.errors import InputError, unknown
from minifl.data import registry
from minifl.fl.rounds import federated_rounds
from minifl.loading import load, split
from minifl.models import MODELS, Arrangement
from minifl.runs import run
from minifl.runs.settings import settings_for

MOST_MOVED = 10_000     # parameters of a user's network, each of which is moved


@click.command("gradcheck")
@click.argument("file", metavar="[FILE.py[:NAME]]", required=False)
@click.option("--layer", help="Only this layer or model.  [default: all layers and networks]")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of inputs and cotangents.")
@click.option("--quick", is_flag=True, help="All layers, but only one or two networks of each model and norm.")
@click.option("--mutants", is_flag=True, help="Check that every wrong backward pass of the list is caught.")
@click.option("--budget", type=click.FloatRange(min=0, min_open=True), metavar="SECONDS",
              help="Of a file, for each layer; what was not reached is said.  [default: no end]")
def gradcheck_command(file: str | None, layer: str | None, seed: int, quick: bool, mutants: bool,
                      budget: float | None) -> None:
    """Check every backward pass against its forward pass; exit code 1 if one is wrong or a mutant survives.

    With a file: check its layers, each a pair NAME (or NAME_forward) and NAME_backward, or the one that is named. The file
    says what their inputs are, in a dictionary: shapes = {"scale": {"x": "K N D", "gain": "K D"}}. A network is checked by
    name, FILE.py:Net, as narrow as it has to be.
    """
    if file is not None:
        if layer or quick or mutants:
            raise InputError("with a file go no options but --seed and --budget; leave the others out, or the file.")
        return _check_file(file, seed, budget)
    if budget is not None:
        raise InputError("--budget is for the layers of a file; name one, or leave it out.")
    from minifl.gradcheck import checks, report
    if quick and mutants:
        raise InputError("--quick and --mutants are different checks; leave out one of them.")
    if layer is not None and layer not in checks.names():
        raise unknown("--layer", layer, checks.names())
    bad = [f"{name}: in minifl.layers or minifl.fast or in the registry, but not in both" for name in checks.unregistered()]
    texts = []
    for text, good in report.mutant_lines(seed, layer) if mutants else report.lines(checks.run(seed, layer, quick)):
        click.echo(text)
        texts.append(text)
        bad += [] if good else [text]
    what = "mutants, each must be caught" if mutants else "layer cases and networks"
    if not texts:
        raise InputError(f"--layer {layer!r} has no {what.split(',')[0]}; leave it out to run all.")
    click.echo(f"{len(texts)} {what}: " + ("all good." if not bad else f"{len(bad)} FAILED."))
    if mutants:
        click.echo(f"Caught by: {report.rates(texts)}.")
    for text in bad:
        click.echo(f"  {text}")
    sys.exit(1 if bad else 0)


def _check_file(text, seed, budget):
    """Check the layers of a user's file."""
    from minifl.gradcheck import files
    path, name = split(text)
    if name and isinstance(getattr(load(path), name, None), type):
        return _check_network(text, seed)
    chosen = files.layers(path, name)
    wrong, unseen = [], []
    for each, pair, shapes in chosen:
        passed, compared, said = files.checked(path, each, pair, shapes, {"seed": seed, "budget": budget})
        click.echo(f"{each}: {said}")
        wrong += [each] if compared and not passed else []
        unseen += [] if compared else [each]
    verdict = f"{len(wrong)} FAILED." if wrong else f"{len(unseen)} NOT COMPARED." if unseen else "all good."
    click.echo(f"{len(chosen)} layer{'s' * (len(chosen) != 1)}: {verdict}")
    sys.exit(1 if wrong else 2 if unseen else 0)


def _check_network(text, seed):
    """Check a network of a user's file, so narrow that each parameter can be moved."""
    from minifl.gradcheck import checks, report
    network = MODELS[own.named("model", text)].network
    models = [network.at_width(width, num_classes=3, image_shape=(16, 16, 2), arrangement=Arrangement(
        "ln", learnable=True, activation=network.activation)) for width in (1, 0.3, 0.1, 0.03)]
    model = next((model for model in models if model.spec.size <= MOST_MOVED), models[-1])
    lines = list(report.lines(checks.check_network(text, model, seed)))
    for said, _ in lines:
        click.echo(said)
    passed = all(good for _, good in lines)
    click.echo(f"1 network with {model.spec.size:,} parameters: {'all good' if passed else 'FAILED'}.")
    sys.exit(0 if passed else 1)


@click.command("check")
@group(*(click.option(own.option(kind), kind, type=Named(kind)) for kind in own.KINDS))
def check_command(**named: Any) -> None:
    """Say in one sentence what is missing in something of your own, FILE.py:NAME, or of the wrong form; exit code 2."""
    given = {kind: text for kind, text in named.items() if text is not None}
    if not given:
        raise InputError(f"nothing was named; give {' or '.join(map(own.option, own.KINDS))} FILE.py:NAME.")
    for kind, text in given.items():
        if text not in own.KINDS[kind].registry:
            raise InputError(f"{own.option(kind)} {text} is no file of yours; give FILE.py:NAME.")
        if kind == "algorithm":
            _try_round(text)
        declared = ", ".join(f"{choice.option} {choice.default} ({choice.valid})" for choice in own.choices(kind, text))
        click.echo(f"{own.option(kind)} {text} has what it needs" + (f"; its own options: {declared}." if declared else "."))


def _try_round(algorithm):
    """InputError if a method's options are taken, or a small round of it raises something."""
    training.train_command.get_params(click.Context(training.train_command))
    settings = settings_for("embedded", {"algorithm": algorithm, "model": "mlp", "width": 0.01, "rounds": 2, "batch_size": 4,
                                         "local_steps": 2, "local_eval_every": 1, "participation": 0.5})
    dataset = registry.load("embedded")
    partition = run.split(settings, dataset)
    with own.running("algorithm", algorithm):
        model, method = settings.network(dataset.num_classes, dataset.image_shape), settings.method()
        for _ in federated_rounds(settings, model, method, run.first_state(settings, model), dataset, partition):
            pass


@click.command("theory")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of networks and data.")
@click.option("--claim", metavar="NAME", help="Only this claim, such as proposition-2.  [default: all]")
def theory_command(seed: int, claim: str | None) -> None:
    """Check every claim of the paper's theory on random networks; exit code 1 if one fails that should hold, or one
    holds that should fail.

    Of several networks the worst value is printed; of what must fail, such as a negative control, the smallest.
    """
    from minifl.paper import theory
    found = []
    for row in theory.rows(seed, claim):
        if not found:
            click.echo(theory.header())
        click.echo(theory.line(row))
        found.append(row)
    counts = theory.verdicts(found)
    click.echo(f"{len(found)} comparisons: " + "; ".join(f"{name} ({count})" for name, count in counts.items()) + ".")
    sys.exit(1 if counts[theory.FAILED] else 0)
