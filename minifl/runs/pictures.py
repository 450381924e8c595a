"""The pictures of `compare --figure` and `plot`; what they show is prepared in curves.py, drawn by plots.py."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from minifl.errors import InputError
from minifl.runs.curves import Curve, Diagnostics, log_spectrum, mean_over_clients, scalars
from minifl.runs.plots import (BLUE, GREEN, GREY, MOST_NAMES, NORMS, ORANGE, PURPLE, VERMILION, bars, curves,
                               drawing, from_zero, heat_map, legend_below, legend_on_top, light_to_dark, name_axes,
                               save, targets)

SPECTRA = 4         # rounds of which singular values are shown
LAYERS = 6          # that have their name in a legend
CLASS_COLOURS = (BLUE, ORANGE, GREEN, PURPLE, VERMILION)


def plot_runs(runs: Sequence[str | Path], folder: str | Path, client: int | None = None) -> list:
    """The pictures of `plot`, of the Diagnostics of runs; returns the files.

    Raises InputError, before any is written, for a client that did not answer at the last evaluation at which clients
    did, in any of the runs, and for what `targets` refuses.
    """
    made = {f"diagnostics-{run.label}": (diagnostics_figure, run) for run in runs}
    for run in runs if client is not None else ():
        if run.local is None or client not in run.local.clients:
            there = "nobody" if run.local is None else f"clients {', '.join(map(str, run.local.clients))}"
            raise InputError(f"--client {client} has no diagnostics in {run.label}: {there} answered in the last round "
                             f"that was looked at.")
    if len(runs) > 1:
        if "diagnostics-compared" in made:
            raise InputError("a run named 'compared' has no picture beside that of several runs; plot it alone.")
        made["diagnostics-compared"] = (compared_figure, runs)
    if client is not None:
        of = runs[0].label if len(runs) == 1 else "compared"
        made[f"local-{of}-client{client}"] = (local_figure, runs, client)
    paths = {name: folder / name for name in made}
    for path in paths.values():
        targets(path, both=True)
    return [file for name, (draw, *what) in made.items() for file in draw(*what, paths[name])]


def accuracy_figure(lines: Any, path: str | Path) -> list[Path]:
    """Test accuracy over rounds, a line for each Curve; returns the files."""
    columns = 2 if len(lines) < 20 else 3
    with drawing(height=3.4 + 0.14 * -(-len(lines) // columns)) as (figure, axes):
        curves(axes[0, 0], lines, y_name="test accuracy in %")
        legend_below(figure, axes[0, 0], columns)
        return save(figure, path)


def diagnostics_figure(run: Diagnostics, path: str | Path) -> list[Path]:
    """All diagnostics of one run, ten panels; returns the files."""
    with drawing(5, 2, height=10.8) as (figure, axes):
        figure.suptitle(f"{run.label} (norm {run.norm})", fontsize=9)
        classifier, features, spectrum, directions, rank, cosine, local, drift, margins, cosines = axes.flat
        _classifier_norms(classifier, run)
        _quartiles(features, run)
        _spectra(spectrum, run.rounds, run.singular_values, "Singular values of features, by round", "Blues")
        _spectra(directions, run.rounds, run.direction_singular_values, "Singular values of directions, by round",
                 "Oranges")
        curves(rank, [Curve("features", run.rounds, run.effective_rank, norm="fn"),
                      Curve("directions", run.rounds, run.direction_effective_rank, norm="none")],
               title="Effective rank", y_name="effective rank")
        legend_on_top(rank, 2)
        heat_map(margins, np.where(np.eye(len(run.margins)), np.nan, run.margins),
                 title=f"Margins, round {run.rounds[-1]:g}", x_name="other class c", y_name="true class k",
                 unit="mean of $(w_c - w_k)^T g$")
        _local_panel(local, run.local)
        _drift(drift, run)
        _cosines(cosines, run.local)
        if np.isnan(run.mean_cosine).all():
            _nothing(cosine, "Mean cosine between updates", "no two clients answered")
        else:
            curves(cosine, [Curve("", run.rounds, run.mean_cosine, norm="fn")],
                   title="Mean cosine between updates", y_name="cosine")
        return save(figure, path, both=True)


def _classifier_norms(ax, run):
    _many_lines(ax, run.rounds, run.classifier_norms.T)
    name_axes(ax, "Length of classifier vectors, by class", "round", r"$\|w_c\|$")


def _many_lines(ax, rounds, rows):
    """A line for each row in the colours of classes; where they are many, grey ones and their median."""
    if len(rows) <= MOST_NAMES:
        for i, row in enumerate(rows):
            ax.plot(rounds, row, label=f"{i}", color=CLASS_COLOURS[i % 5], linestyle=("-", "--")[i // 5],
                    marker="o" if len(rounds) == 1 else "")
        legend_on_top(ax, 5)
    else:
        ax.plot(rounds, np.transpose(rows), color=GREY, linewidth=0.4, alpha=0.6)
        ax.plot(rounds, np.median(rows, axis=0), color=BLUE, label=f"median of {len(rows)}")
        legend_on_top(ax)
    from_zero(ax, rounds[-1])


def _quartiles(ax, run):
    _, low, middle, high, _ = run.feature_norms.T
    curves(ax, [Curve("median, quartiles", run.rounds, middle, low, high, norm="fn")],
           title="Length of features of test images", y_name=r"$\|g\|$")
    legend_on_top(ax)


def _spectra(ax, rounds, singular_values, title, colours):
    shown = np.unique(np.linspace(0, len(rounds) - 1, SPECTRA).round().astype(int))
    for i, colour in zip(shown, light_to_dark(colours, len(shown))):
        logs = log_spectrum(singular_values[i])
        ax.plot(np.arange(1, len(logs) + 1), logs, color=colour, label=f"{rounds[i]:g}",
                marker="o" if len(logs) == 1 else "")
    legend_on_top(ax, SPECTRA)
    name_axes(ax, title, "i", r"$\log_{10}(\sigma_i / \sigma_1)$")


def _nothing(ax, title, reason="no client answered"):
    name_axes(ax, title, "", "")
    ax.text(0.5, 0.5, reason, ha="center", va="center", transform=ax.transAxes)
    ax.set_axis_off()


def _local_panel(ax, local):
    if local is None:
        return _nothing(ax, "Local steps")
    bars(ax, [("before", local.before, GREY), ("after, mean over clients", mean_over_clients(local.after), BLUE)],
         title=f"Local steps of round {local.round}", y_name="accuracy on probe in %")
    _percent_axis(ax)


def _percent_axis(ax):
    ax.set_ylim(0, 100)
    legend_on_top(ax, 2)
    ax.set_yticks(range(0, 101, 25))


def _drift(ax, run):
    title = "Drift of clients, mean, by layer"
    if all(np.isnan(drift).all() for drift in run.drift.values()):
        return _nothing(ax, title)
    shown = set(np.unique(np.linspace(0, len(run.drift) - 1, LAYERS).round().astype(int)))
    for i, ((block, drift), colour) in enumerate(zip(run.drift.items(), light_to_dark("Blues", len(run.drift)))):
        ax.plot(run.rounds, drift, color=colour, label=block if i in shown else None,
                marker="o" if len(run.rounds) == 1 else "")
    legend_on_top(ax, 2)
    name_axes(ax, title, "round", r"$\|\theta_k - w\|$")
    from_zero(ax, run.rounds[-1])


def _cosines(ax, local):
    if local is None:
        return _nothing(ax, "Cosine between updates")
    heat_map(ax, local.cosines, title=f"Cosine between updates, round {local.round}", x_name="client", y_name="client",
             unit="cosine", limit=1.0, names=local.clients)


def compared_figure(runs: Sequence[Diagnostics], path: str | Path) -> list[Path]:
    """The scalars of several runs on common axes, eight panels; returns the files."""
    panels = list(zip(*map(scalars, runs)))
    with drawing(4, 2, height=8.4 + 0.14 * -(-len(runs) // 2)) as (figure, axes):
        for ax, panel in zip(axes.flat, panels):
            title, name = panel[0][:2]
            curves(ax, [Curve(run.label, x, y, norm=run.norm, kind=run.kind) for run, (_, _, x, y) in zip(runs, panel)],
                   title=title, y_name=name)
        legend_below(figure, axes[0, 0])
        return save(figure, path, both=True)


def local_figure(runs: Sequence[Diagnostics], client: int, path: str | Path) -> list[Path]:
    """As the paper's Figure 2: accuracy of each class before the local steps of one client, and after; the files."""
    with drawing(len(runs), height=0.4 + 2.2 * len(runs)) as (figure, axes):
        for ax, run in zip(axes.flat, runs):
            after = run.local.after[run.local.clients.index(client)]
            bars(ax, [(f"global model before, mean {np.nanmean(run.local.before):.1f} %", run.local.before, GREY),
                      (f"client {client}'s model after, mean {np.nanmean(after):.1f} %", after,
                       NORMS.get(run.norm, (ORANGE,))[0])],
                 title=f"{run.label} (norm {run.norm}), round {run.local.round}", y_name="accuracy on probe in %")
            _percent_axis(ax)
        return save(figure, path, both=True)
