"""Commands that prove: `gradcheck` and `theory`."""

import sys

import click

from minifl.errors import InputError


@click.command("gradcheck")
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


@click.command("theory")
@click.option("--seed", type=click.IntRange(min=0), default=0, help="Of networks and data.")
@click.option("--claim", metavar="NAME", help="Only this claim, such as proposition-2.  [default: all]")
def theory_command(seed, claim):
    """Check every claim of the paper's theory on random networks; exit code 1 if one fails that should hold, or one
    holds that should fail.

    Of several networks the worst value is printed; of what must fail, such as a negative control, the smallest.
    """
    from minifl.analysis import theory
    found = []
    for row in theory.rows(seed, claim):
        if not found:
            click.echo(theory.header())
        click.echo(theory.line(row))
        found.append(row)
    counts = theory.verdicts(found)
    click.echo(f"{len(found)} comparisons: " + "; ".join(f"{name} ({count})" for name, count in counts.items()) + ".")
    sys.exit(1 if counts[theory.FAILED] else 0)
