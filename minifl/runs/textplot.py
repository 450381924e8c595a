"""Curves as plain text, for a terminal: ASCII only, the same series always give the same characters."""

from collections.abc import Sequence
from itertools import pairwise
from math import ceil, floor, isfinite, log10
from string import ascii_lowercase, ascii_uppercase

from minifl.errors import InputError

MARKS = ascii_lowercase + ascii_uppercase
SEVERAL = "*"       # where curves lie on each other
NARROWEST = 30      # characters; below that there is no room for a curve


def draw(series: Sequence[tuple], *, width: int = 80, height: int = 20, x_name: str = "", y_name: str = "") -> str:
    """A plot of `height` rows with numbered axes, and below it a legend with a letter for each curve.

    series  (label, x, y) of each curve, x increasing; y that is not finite is left out
    width   characters of a line, none is longer

    A curve has a mark in every column from its first to its last x: the mean of the y that fall into the column, and
    between them the straight line. Raises InputError for more curves than letters and if there is nothing to draw.
    """
    width = max(width, NARROWEST)
    if len(series) > len(MARKS):
        raise InputError(f"{len(series)} curves do not fit into one plot; at most {len(MARKS)} do.")
    points = [[(a, b) for a, b in zip(x, y) if isfinite(b)] for _, x, y in series]
    if not any(points):
        raise InputError("there is nothing to draw: no curve has a finite value.")
    xs, ys = zip(*(point for curve in points for point in curve))
    y_ticks, x_ticks = ticks(min(ys), max(ys), height // 4), ticks(min(xs), max(xs), max(width // 16, 2))
    labels = {_place(tick, y_ticks, height): _number(tick, y_ticks) for tick in y_ticks}
    margin = max(map(len, labels.values()))
    columns = width - margin - 3       # a space, the axis, and half a column for the last number's end
    cells = [[" "] * columns for _ in range(height)]
    for mark, curve in zip(MARKS, points):
        for column, y in _columns(curve, x_ticks, columns):
            row = _place(y, y_ticks, height)
            cells[row][column] = mark if cells[row][column] == " " else SEVERAL
    lines = [_ascii(y_name)] if y_name else []
    for row in reversed(range(height)):
        axis = "+" if row in labels else "|"
        lines.append(f"{labels.get(row, ''):>{margin}} {axis}{''.join(cells[row])}")
    lines += _x_axis(x_ticks, columns, margin, x_name)
    shared = any(SEVERAL in row for row in cells)
    lines += [f"  {mark}  {_ascii(label)}" for mark, (label, _, _) in zip(MARKS, series)]
    lines += [f"  {SEVERAL}  several of them"] if shared else []
    return "\n".join(line.rstrip()[:width] for line in lines)


def ticks(low: float, high: float, most: int) -> list:
    """Round numbers, 1, 2 or 5 times a power of 10 apart, from at or below low to at or above high; about `most`."""
    span = (high - low) or abs(high) or 1.0
    power = 10.0 ** floor(log10(span / max(most, 1)))
    step = next(power * factor for factor in (1, 2, 5, 10) if span / (power * factor) <= max(most, 1))
    first = floor(low / step + 1e-9)
    last = max(ceil(high / step - 1e-9), first + 1)
    return [round(i * step, 12) for i in range(first, last + 1)]


def _place(value, around, count):
    """Which of `count` rows or columns a value has, the first and last tick lying in the middle of the outer ones."""
    return round((value - around[0]) / (around[-1] - around[0]) * (count - 1))


def _columns(curve, x_ticks, columns):
    """(column, y) of a curve of (x, y) points, for every column that it passes."""
    within = {}
    for x, y in curve:
        within.setdefault(_place(x, x_ticks, columns), []).append(y)
    known = [(column, sum(ys) / len(ys)) for column, ys in sorted(within.items())]
    yield from known[:1]
    for (left, y), (right, end) in pairwise(known):
        for column in range(left + 1, right + 1):
            yield column, y + (end - y) * (column - left) / (right - left)


def _x_axis(x_ticks, columns, margin, name):
    axis, numbers = ["-"] * columns, [" "] * (columns + 2)
    for tick in x_ticks:
        column, text = _place(tick, x_ticks, columns), _number(tick, x_ticks)
        start = max(min(column - len(text) // 2, len(numbers) - len(text)), 0)
        axis[column] = "+"
        if not "".join(numbers[max(start - 1, 0):start + len(text) + 1]).strip():
            numbers[start:start + len(text)] = text
    pad = " " * (margin + 1)
    lines = [f"{pad}+{''.join(axis)}", f"{pad} {''.join(numbers)}"]
    return lines + ([f"{pad} {_ascii(name):^{columns}}"] if name else [])


def _number(tick, around):
    digits = max(0, -floor(log10(around[1] - around[0]) + 1e-9))
    return f"{tick:.{digits}f}"


def _ascii(text):
    return text.encode("ascii", "backslashreplace").decode()
