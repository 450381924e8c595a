"""What pictures are made of, by matplotlib; pictures.py puts them together. The same series give the same bytes.

`drawing` opens a figure, `curves`, `bars` and `heat_map` fill axes, `save` writes PNG and SVG. A figure is 6 inches
wide, 900 pixels at 150 dpi, so that it is read at its own size. Colours are those of Okabe and Ito (2008), which people
who are colour-blind tell apart; where a norm is shown it always has the same colour and the same dashes.
"""

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from io import BytesIO
from itertools import chain, cycle
from pathlib import Path
from typing import Any

import numpy as np

from minifl import reading
from minifl.atomic import check, is_stream, write
from minifl.errors import InputError

BLACK, ORANGE, SKY, GREEN, BLUE, VERMILION, PURPLE = (
    "#000000", "#E69F00", "#56B4E9", "#009E73", "#0072B2", "#D55E00", "#CC79A7")
GREY = "#999999"
NORMS = {"none": (VERMILION, "--"), "fn": (BLUE, "-"), "ln": (GREEN, "-.")}     # colour and dashes
OTHERS = (ORANGE, SKY, PURPLE, BLACK)
OTHER_DASHES = (0, (1, 1.2))
MARKERS = ("", "o", "s", "^", "D", "v", "P")

SUFFIXES = (".png", ".svg")
CREATOR = "minifl plots"        # in every file that `save` writes: only these are overwritten
STYLE = {"font.size": 8, "axes.titlesize": 8, "legend.fontsize": 7, "legend.frameon": False, "lines.linewidth": 1.3,
         "lines.markersize": 3.5, "axes.spines.top": False, "axes.spines.right": False, "axes.grid": True,
         "grid.color": "#DDDDDD", "grid.linewidth": 0.5, "axes.axisbelow": True, "image.interpolation": "nearest",
         "axes.formatter.useoffset": False, "svg.hashsalt": "minifl", "savefig.dpi": 150, "figure.dpi": 150}
MOST_NAMES = 10     # of classes, clients or layers along an axis or in a legend


def _pyplot():
    try:
        import matplotlib
    except ImportError as error:
        raise InputError("pictures need matplotlib; install it by pip install 'minifl[plots]'.") from error
    matplotlib.use("Agg")
    from matplotlib import pyplot
    return pyplot


@contextmanager
def drawing(rows: int = 1, columns: int = 1, *, height: float = 3.6) -> Iterator[tuple]:
    """A figure 6 inches wide and that high, and its axes (rows, columns), in our style whatever the user's own is."""
    plt = _pyplot()
    with plt.style.context(["default", STYLE]):
        figure, axes = plt.subplots(rows, columns, figsize=(6, height), squeeze=False, layout="constrained")
        try:
            yield figure, axes
        finally:
            plt.close(figure)


def targets(path: str | Path, both: bool = False) -> list[Path]:
    """The files that `save` writes for `path`: itself with the suffix .png or .svg, both without a suffix.

    both   path has no suffix; what follows a point belongs to its name, as in a run's, lr0.05
    Raises InputError for another suffix, where a file is in the way that `save` has not made, and without matplotlib.
    """
    path = Path(path)
    suffix = "" if both else path.suffix
    if suffix and suffix.lower() not in SUFFIXES or not path.name or is_stream(path):
        raise InputError(f"{path} is no name of a picture: valid are {' and '.join(SUFFIXES)}, or no suffix for both.")
    _pyplot()
    files = [path] if suffix else [path.with_name(path.name + suffix) for suffix in SUFFIXES]
    for file in files:
        check(file)
        if os.path.exists(file) and not _is_ours(file):
            raise InputError(f"{file} exists and is no picture made by minifl; choose another name.")
    return files


def _is_ours(file):
    try:
        with reading.opened(file) as f:
            return CREATOR.encode() in f.read(2000)
    except OSError as error:
        raise InputError(f"{file} exists and cannot be read: {error.strerror}; choose another name.") from error


def save(figure: Any, path: str | Path, both: bool = False) -> list[Path]:
    """Write a figure as PNG and SVG, see `targets`; the same figure gives the same bytes. Returns the files."""
    files = targets(path, both)
    with _pyplot().rc_context(STYLE):
        for file in files:
            svg, buffer = file.suffix.lower() == ".svg", BytesIO()
            figure.savefig(buffer, format="svg" if svg else "png",
                           metadata={"Creator": CREATOR, "Date": None} if svg else {"Software": CREATOR})
            figure.set_layout_engine("none")    # laid out once, for the first file: it takes as long as drawing
            write(file, buffer.getvalue())
    return files


def styles(lines: Any) -> list[dict]:
    """Keywords of `plot` for each Curve: dashes by norm, and a colour for each kind, the norm's own for its first kind.

    Lines of the same colour and dashes, as runs that differ in their seed, have markers.
    """
    left, colours, count, found = {}, {}, Counter(), []
    for line in lines:
        own, dashes = NORMS.get(line.norm, (None, OTHER_DASHES))
        if (line.norm, line.kind) not in colours:
            free = left.setdefault(dashes, chain([own] if own else [], cycle(OTHERS)))
            colours[line.norm, line.kind] = next(free)
        colour = colours[line.norm, line.kind]
        marker = MARKERS[count[colour, dashes] % len(MARKERS)] or ("o" if len(line.x) == 1 else "")
        count[colour, dashes] += 1
        found.append({"color": colour, "linestyle": dashes, "marker": marker, "markevery": max(1, len(line.x) // 10)})
    return found


def curves(ax: Any, lines: Any, *, title: str = "", y_name: str = "") -> None:
    """Draw each Curve with its label and its band over the rounds, from 0 on, and name the axes."""
    for line, style in zip(lines, styles(lines)):
        ax.plot(line.x, line.y, label=line.label, **style)
        if line.low is not None:
            ax.fill_between(line.x, line.low, line.high, color=style["color"], alpha=0.18, linewidth=0)
    name_axes(ax, title, "round", y_name)
    from_zero(ax, max(line.x[-1] for line in lines))
    low, high = ax.dataLim.intervaly
    if abs(high - low) < 1e-3 * abs(high):      # a constant but for rounding, as lengths under FN
        ax.set_ylim(low - 0.05 * abs(low), high + 0.05 * abs(high))


def bars(ax: Any, groups: dict, *, title: str = "", x_name: str = "class", y_name: str = "") -> None:
    """Bars side by side at 0, 1, 2, ...: groups is (label, values, colour) of each."""
    width = 0.8 / len(groups)
    for i, (label, values, colour) in enumerate(groups):
        ax.bar(np.arange(len(values)) + (i - (len(groups) - 1) / 2) * width, values, width, label=label, color=colour)
    ax.grid(axis="x", visible=False)
    name_axes(ax, title, x_name, y_name)
    _whole_numbers(ax.xaxis, len(groups[0][1]))


def heat_map(ax: Any, matrix: Any, *, title: str = "", x_name: str = "", y_name: str = "", unit: str = "",
             limit: float | None = None, names: Sequence[str] | None = None) -> None:
    """A matrix in colours from blue through white at 0 to red, with a scale; NaN stays grey.

    limit   the value of the darkest colours, default the largest there is
    names   what rows and columns are called, default their numbers
    """
    known = np.abs(matrix[np.isfinite(matrix)])
    limit = limit or (known.max() if known.size and known.max() > 0 else 1.0)
    ax.set_facecolor("#CCCCCC")
    image = ax.imshow(np.ma.masked_invalid(matrix), cmap="RdBu_r", vmin=-limit, vmax=limit, aspect="auto")
    ax.grid(visible=False)
    scale = ax.figure.colorbar(image, ax=ax, label=unit, location="bottom", fraction=0.06, pad=0.03)
    scale.outline.set_visible(False)
    name_axes(ax, title, x_name, y_name)
    for axis in (ax.xaxis, ax.yaxis):
        _whole_numbers(axis, len(matrix))
        if names is not None and len(names) <= MOST_NAMES:
            axis.set_ticks(range(len(names)), names)


def name_axes(ax: Any, title: str, x_name: str, y_name: str) -> None:
    ax.set_title(title, loc="left")
    ax.set_xlabel(x_name)
    ax.set_ylabel(y_name)


def from_zero(ax: Any, last: Any) -> None:
    """Show the rounds from 0 to the last."""
    ax.set_xlim(0, 1.02 * last)
    ax.xaxis.get_major_locator().set_params(integer=True)


def _whole_numbers(axis, count):
    axis.set_ticks(range(0, count, max(1, -(-count // MOST_NAMES))))


def legend_on_top(ax: Any, columns: int = 1) -> None:
    """A legend inside of axes of about 1.4 inches, above all that is drawn: the y axis gets room for it."""
    handles, names = ax.get_legend_handles_labels()
    low, high = ax.get_ylim()
    share = 0.11 * -(-len(names) // columns)
    ax.set_ylim(low, high + (high - low) * share / (1 - share))
    legend = ax.legend(handles, names, loc="upper left", ncols=columns, columnspacing=0.9, handlelength=1.3,
                       handletextpad=0.5, borderaxespad=0.2)
    legend.set_in_layout(False)     # it shall not make the axes narrower


def legend_below(figure: Any, ax: Any, columns: int = 2) -> None:
    """One legend for the figure, of what `ax` shows, where it hides nothing."""
    figure.legend(*ax.get_legend_handles_labels(), loc="outside lower center", ncols=columns)


def light_to_dark(name: str, count: int) -> list:
    """That many colours of one of matplotlib's sequential maps, the last one the darkest."""
    return _pyplot().get_cmap(name)(np.linspace(0.35, 1, count) if count > 1 else [0.9])
