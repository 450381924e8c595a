"""`reproduce`: the paper's tables and figures."""

import os
import sys
from pathlib import Path
from typing import Any

import click
import numpy as np

from minifl.backend import choose_device
from minifl.commands.options import (FileName, Several, data_dir_option, device_option, jobs_option,
                                     precision_option)
from minifl.commands.training import do_runs, show_advice
from minifl.data import table
from minifl.data.splits import label_counts
from minifl.data.registry import load
from minifl.errors import InputError
from minifl.runs import record
from minifl.runs.run import Placement, default_workers
from minifl.runs.summary import markdown


@click.command("reproduce")
@click.argument("name")
@click.option("--rounds", type=click.IntRange(min=1), help="Instead of the paper's.")
@click.option("--seeds", type=Several(int), help="Instead of as many as the paper averages, from 0.")
@click.option("--only", multiple=True, metavar="TEXT",
              help="Only rows and columns of this label, or whose labels have this part; may be given several times.")
@click.option("--plan", is_flag=True, help="Run nothing; print the runs, their FLOPs and estimated hours here.")
@click.option("--data", metavar="NAME",
              help="Instead of the paper's data set, for example embedded; its numbers are left out then.")
@data_dir_option
@device_option
@precision_option
@jobs_option
@click.option("--out", default=Path("runs/paper"), type=FileName(), help="Folder of the runs, which tables share.")
@click.option("--pictures", type=FileName(), help="Folder of the figure, as PNG and SVG.  [default: --out]")
def reproduce_command(name: str, rounds: int, seeds: Any, only: Any, plan: bool, data: Any, data_dir: Any,
                      device: str, precision: str, jobs: int, out: Any, pictures: Any) -> None:
    """Do the runs of a table or figure of the paper, and print ours against the paper's, cell by cell.

    NAME is table1, 3, 4, 5, 6, 10 to 14, or figure2 to 8; or claims, which runs nothing and says which claims of the
    paper hold in the runs of --out. Runs there that are complete are not done again, stopped ones resumed, so the same
    command goes on with what is left.
    """
    from minifl.paper import STUDIES, claims, cost, records, report
    from minifl.paper.study import cells
    if name == "claims":
        if not os.path.isdir(out):
            raise InputError(f"--out {out} does not exist; it must be a folder of runs made by `reproduce`.")
        click.echo(claims.table(out))
        return
    if name not in STUDIES:
        raise InputError(f"{name!r} is unknown; valid are claims, {', '.join(STUDIES)}. (Of the paper's Table 2 "
                         f"neither protocol nor numbers are known here; 7 to 9 list settings.)")
    study = STUDIES[name]
    if data == "auto":
        data = load(data, data_dir).name
    chosen = cells(study, rounds=rounds, seeds=seeds, only=only, data=data)
    if study.kind == "partitions":
        click.echo(f"{study.title}, CIFAR-10. {study.note}")
        _show_partitions(study, chosen, None if plan else (pictures or out) / study.name)
        return
    runs = records.runs(chosen, out, model=study.kind == "closeup")
    xp, where = choose_device(device, precision or "fp32")
    jobs = jobs or (1 if where.startswith("cuda") else default_workers())
    click.echo(f"{study.name}: {study.title}. {len(chosen)} cells, {len(runs)} runs in {out}, "
               f"{sum(run.status in record.COMPLETE for run in runs)} of them complete. Device: {where}.")
    if plan:
        click.echo(_plan(runs, jobs, cost, data_dir))
        return
    left = [run for run in runs if run.status not in record.COMPLETE]
    for name in dict.fromkeys(run.settings.data for run in left):   # what is missing is found before anything starts
        show_advice([run for run in left if run.settings.data == name], load(name, data_dir), None,
                    Placement(xp, where), jobs)
    failed = do_runs(runs, jobs, out, device=device, data_dir=data_dir, precision=precision, checkpoint_every=20)
    click.echo(f"\n{report.standing(study, chosen, out)}" + (f" {study.note}" if study.note else ""))
    if any(cell.settings[0].data != usual.settings[0].data for cell, usual in zip(chosen, cells(study, only=only))):
        click.echo(f"The paper's numbers are of another data set than {data}, so nothing here is comparable with them.")
    if study.kind == "closeup":
        _show_closeups(study, chosen, out, data_dir, pictures or out)
    else:
        click.echo(report.table(study, chosen, out))
    if study.axis == "learning rate":
        click.echo(f"\n{report.rates_table(study, chosen, out)}")
    if study.kind in ("curves", "points"):
        _show_picture(study.kind, study, chosen, out, path=(pictures or out) / study.name)
    ends = [record.read_end(path) for path in failed]
    sys.exit(0 if all(end and end["status"] in record.COMPLETE for end in ends) else 1)   # to diverge is a result


def _show_closeups(study, cells, folder, data_dir, pictures):
    """Measure what has not been measured yet; a table and a picture for each start."""
    from minifl.paper import collapse, report
    dataset = None
    for label, settings, run, file in collapse.starts(study, cells, folder):
        found = collapse.read(file)
        if found is None and (run is None or (record.read_end(run) or {}).get("status") == "finished"):
            dataset = dataset or load(settings.data, data_dir)
            found = collapse.measure(study, settings, run, dataset)
            collapse.save(file, found)
        if found is None:
            continue
        click.echo(f"\nFrom {label} (seed {settings.seed}), record {file}:")
        table, picture = ((report.overfitting_table, "overfitting") if study.name == "figure2" else
                          (report.features_table, "features"))
        click.echo(table(study, found))
        _show_picture(picture, study, found, path=pictures / file.stem)


def _show_partitions(study, cells, path):
    """Tables of label counts, and their picture unless path is None."""
    counts = {}
    for cell in cells:
        settings = cell.settings[0]
        counts[cell.row] = label_counts(settings.setting, np.full(10, 5_000), settings.num_clients, settings.data_seed)
        click.echo(f"\n{cell.row} (--setting {settings.setting}):\n"
                   f"{table.format_table(counts[cell.row], [str(c) for c in range(10)])}")
    if path is not None:
        _show_picture("partitions", study, counts, path=path)


def _show_picture(kind, *content, path):
    """Draw it, or say why not: the table is there without it."""
    from minifl.paper import pictures
    try:
        click.echo("Picture: " + ", ".join(map(str, getattr(pictures, kind)(*content, path))))
    except InputError as error:
        click.echo(f"No picture: {error}", err=True)


def _plan(runs, jobs, cost, data_dir):
    """The table of what would run, with one network of each kind measured now."""
    steps, lines, left = {}, [("run", "status", "rounds", "TFLOP", "of them tests", "hours")], [0.0]
    for run in runs:
        key = cost.same_network(run.settings)
        if key not in steps:
            steps[key] = cost.measure_step(run.settings, data_dir)
        own = cost.cost(run.settings, steps[key], data_dir)
        hours = own.seconds / 3600
        if run.status not in record.COMPLETE:
            left.append(hours)
        lines.append((run.path.name, run.status, f"{run.settings.rounds:,}",
                      f"{(own.training_flops + own.testing_flops) / 1e12:,.1f}",
                      f"{100 * own.testing_flops / (own.training_flops + own.testing_flops):.0f} %", f"{hours:.2f}"))
    return markdown(lines) + (f"\nAbout {max(max(left), sum(left) / jobs):.1f} hours are left with {jobs} runs "
                              f"at a time, by the fastest of {cost.REPEATS} local steps of each network, measured now "
                              f"on one thread.")
