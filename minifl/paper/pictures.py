"""The paper's figures: ours beside its points. What is drawn comes from records, see report.py and collapse.py."""

from pathlib import Path

import numpy as np

from minifl.backend import Array
from minifl.paper.records import evaluations, measured, where
from minifl.paper.report import accuracy
from minifl.paper.study import Cell, Study
from minifl.runs import record
from minifl.runs.plots import BLUE, GREY, NORMS, OTHERS, VERMILION, bars, drawing, name_axes, save

COLOURS = {"vanilla": NORMS["none"][0], "FN": NORMS["fn"][0], "LN": NORMS["ln"][0], "centralized": OTHERS[0]}
PAPER = {"linestyle": "none", "marker": "o", "markersize": 5, "markerfacecolor": "none", "markeredgewidth": 1.2}


def curves(study: Study, cells: list[Cell], folder: str | Path, path: str | Path) -> list[Path]:
    """Accuracy over rounds, mean and range of the runs; circles are the paper's points, as far as our rounds go."""
    with drawing() as (figure, [[ax]]):
        for cell in cells:
            begun = [path for path in (where(folder, settings) for settings in cell.settings)
                     if (path / record.ROUNDS).exists()]
            runs = [{line["round"]: 100 * line["accuracy"] for line in evaluations(path, cell.settings[0].rounds)}
                    for path in begun]
            rounds = sorted(set.intersection(*map(set, runs))) if runs else []
            values = np.array([[run[number] for number in rounds] for run in runs])
            colour = COLOURS[cell.row]
            if len(rounds):
                ax.plot(rounds, values.mean(axis=0), color=colour, label=f"{cell.row} ({_runs(len(runs))})")
                ax.fill_between(rounds, values.min(axis=0), values.max(axis=0), color=colour, alpha=0.18, linewidth=0)
            marks = [(mark, paper) for mark, paper in zip(study.marks, cell.paper or ())
                     if mark <= max(cell.settings[0].rounds, study.marks[0])]
            if marks:
                ax.plot(*zip(*marks), color=colour, label=f"{cell.row}, paper", clip_on=False, **PAPER)
        name_axes(ax, _title(study, cells), "round", "test accuracy in %")
        ax.set_xlim(left=0)
        ax.legend(ncols=2, loc="upper left")
        ax.set_ylim(0, max(60, ax.get_ylim()[1] * 1.25))
        return save(figure, path, both=True)


def points(study: Study, cells: list[Cell], folder: str | Path, path: str | Path) -> list:
    """Accuracy against the columns, ours as lines and the paper's, of many more rounds, as circles."""
    with drawing() as (figure, [[ax]]):
        for row in dict.fromkeys(cell.row for cell in cells):
            own = [cell for cell in cells if cell.row == row]
            x = np.array([float(cell.column) for cell in own])
            found = [measured(cell, folder) for cell in own]
            y = np.array([np.nan if accuracy(one) is None else accuracy(one) for one in found])
            ax.plot(x, y, color=COLOURS[row], marker="s", label=f"{row}, ours")
            failed = [one is not None and bool(one.diverged) for one in found]
            if any(failed):
                ax.plot(x[failed], np.zeros(sum(failed)), color=COLOURS[row], linestyle="none", marker="x",
                        markersize=6, clip_on=False, label=f"{row}, diverged")
            if any(cell.paper is not None for cell in own):
                ax.plot(x, [np.nan if cell.paper is None else cell.paper for cell in own], color=COLOURS[row],
                        label=f"{row}, paper", **PAPER)
        ax.set_xscale("log")
        ax.set_xticks(x, [cell.column for cell in own])
        ax.minorticks_off()
        ax.set_ylim(0, 100)
        name_axes(ax, _title(study, cells), study.axis, "test accuracy in %")
        ax.legend(ncols=3, loc="upper center")
        return save(figure, path, both=True)


def overfitting(study: Study, found: dict, path: str | Path) -> list[Path]:
    """Figure 2: bars of each class before and after the local steps, ours above and the paper's below."""
    colours = {"pre-trained": GREY, "vanilla": VERMILION, "FN": BLUE}
    ours = {label: [100 * a for a in found[label]] for label in study.paper}
    with drawing(2, 1, height=5.2) as (figure, axes):
        for [ax], values, whose in zip(axes, (ours, study.paper), (f"Ours, from {found['begins']}", "Paper")):
            bars(ax, [(f"{label}: mean {np.mean(of_class):.1f}", of_class, colours[label])
                      for label, of_class in values.items()],
                 title=whose, x_name="class; the local steps see class 0 only", y_name="test accuracy in %")
            ax.set_ylim(0, 125)
            ax.set_yticks(range(0, 101, 20))
            ax.legend(ncols=3, loc="upper right")
        return save(figure, path, both=True)


def features(study: Study, found: dict, path: str | Path) -> list[Path]:
    """Figure 3: what the features become while client 1 trains alone, the plain network beside FN."""
    with drawing(2, 2, height=5.4) as (figure, axes):
        (norms, lengths), (spectra, directions) = axes
        for label, colour in (("vanilla", VERMILION), ("FN", BLUE)):
            looks = found[label]
            steps = [look["step"] for look in looks]
            own = np.array([look["classifier_norms"] for look in looks])
            norms.plot(steps, own[:, 1], color=colour, label=f"{label}: w_1")
            norms.plot(steps, np.delete(own, 1, axis=1).mean(axis=1), color=colour, linestyle=":",
                       label="mean of the others")
            shown = np.array([look["feature_norms"] for look in looks])
            lengths.plot(steps, np.median(shown, axis=1), color=colour, label=f"{label}, median")
            lengths.fill_between(steps, shown.min(axis=1), shown.max(axis=1), color=colour, alpha=0.18, linewidth=0)
            for ax, name in ((spectra, "singular_values"), (directions, "direction_singular_values")):
                for look, dashes in ((looks[0], ":"), (looks[-1], "-")):
                    values = np.array(look[name])
                    ax.plot(np.arange(1, len(values) + 1), np.log(np.maximum(values, 1e-12 * values[0]) / values[0]),
                            color=colour, linestyle=dashes, label=f"{label}, after {look['step']} steps")
        lengths.set_yscale("log")
        for value in (study.paper["‖w_1‖"], study.paper["other ‖w_c‖"]):
            norms.plot([norms.get_xlim()[1]], [value], color=GREY, clip_on=False, **PAPER)
        spectra.plot([100], [study.paper["ln(σ_100/σ_1)"]["vanilla"]], color=VERMILION, **PAPER)
        spectra.plot([100], [study.paper["ln(σ_100/σ_1)"]["FN"]], color=BLUE, **PAPER)
        name_axes(norms, "Classifier vectors (circles: paper)", "local step", "‖w_c‖")
        name_axes(lengths, "Features of 20 test images", "local step", "‖g(x)‖")
        name_axes(spectra, "Singular values of 100 features", "i", "ln(σ_i/σ_1)")
        name_axes(directions, "Of their directions", "i", "ln(σ_i/σ_1)")
        for ax in axes.flat[:3]:
            ax.legend()
        return save(figure, path, both=True)


def partitions(study: Study, counts: dict[str, Array], path: str | Path) -> list[Path]:
    """Figure 8: the label counts of each partition as a heat map; counts: label -> (K, C)."""
    with drawing(1, len(counts), height=2.5) as (figure, axes):
        for ax, (label, table) in zip(axes.flat, counts.items()):
            image = ax.imshow(table, cmap="Blues", vmin=0, vmax=max(map(np.max, counts.values())), aspect="auto")
            ax.grid(visible=False)
            ax.set_xticks(range(table.shape[1]))
            ax.set_yticks(range(table.shape[0]))
            name_axes(ax, label, "class", "client" if ax is axes[0, 0] else "")
        figure.colorbar(image, ax=axes, label="training examples", fraction=0.05, pad=0.02)
        return save(figure, path, both=True)


def _title(study, cells):
    rounds = cells[0].settings[0].rounds
    return f"{study.title}: ours after {rounds:,} rounds" + (
        f", the paper's after {study.rounds:,}" if study.kind == "points" and rounds != study.rounds else "")


def _runs(count):
    return f"{count} run{'s' * (count > 1)}"
