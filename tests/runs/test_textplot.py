"""Plots in characters, against pictures drawn by hand."""

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.runs.textplot import MARKS, draw, ticks

PICTURE = """\
y
5 +                        a**
  |                   aaaa*b
  |              aaaaa  bb
  |        aaaaaa    bbb
  |   aaaaa        bb
0 +aaa           bb
  ++------------+------------+
   0           10           20
                x
  a  up
  b  later
  *  several of them"""


def test_a_plot_by_hand():
    """27 columns for x from 0 to 20, so that 10 is in column 13; six rows for y from 0 to 5.

    The line from (0, 0) to (20, 5) is in row round(5 c / 26) of column c, the one from (11, 0) to (20, 5), in columns
    14 to 26, in row round(5 (c - 14) / 12).
    """
    plot = draw([("up", [0, 20], [0, 5]), ("later", [11, 20], [0, 5])], width=31, height=6, x_name="x", y_name="y")
    cells = [[" "] * 27 for _ in range(6)]
    for c in range(27):
        cells[5 - round(5 * c / 26)][c] = "a"
    for c in range(14, 27):
        row = cells[5 - round(5 * (c - 14) / 12)]
        row[c] = "b" if row[c] == " " else "*"
    assert [line[3:] for line in plot.splitlines()[1:7]] == ["".join(row).rstrip() for row in cells]
    assert plot == PICTURE


def test_axes_have_numbers():
    lines = draw([("run", [10, 400], [10.4, 49.0])], width=80).splitlines()
    assert [line.split("+")[0].strip() for line in lines if line[:2].strip() and "+" in line] == [
        "50", "40", "30", "20", "10"]
    numbers = next(line for line in lines if line.split() == ["0", "100", "200", "300", "400"])
    axis = lines[lines.index(numbers) - 1]
    assert axis[numbers.index("200") + 1] == "+" and axis[numbers.index("0")] == "+"


@pytest.mark.parametrize("width", [10, 40, 80, 133])
def test_no_line_is_longer_than_the_width_and_all_is_ascii(width):
    rng = np.random.default_rng(0)
    plot = draw([(f"läuft {i} " * 20, np.arange(1, 500), rng.random(499)) for i in range(5)], width=width)
    assert max(map(len, plot.splitlines())) == max(width, 30) and plot.isascii()
    assert plot == draw([(f"läuft {i} " * 20, np.arange(1, 500), np.random.default_rng(0).random((5, 499))[i])
                         for i in range(5)], width=width)


def test_many_points_in_a_column_are_averaged():
    """Values 0 and 10 by turns, a hundred of them in each column, are a line at 5, the middle of 21 rows."""
    x = np.arange(7000)
    lines = draw([("swings", x, 10.0 * (x % 2))], width=74, height=21).splitlines()
    assert set(lines[10].split("+")[-1].split("|")[-1]) == {"a"}
    assert not any("a" in line for line in lines[:9] + lines[12:-1])


def test_what_is_not_finite_is_left_out():
    plot = draw([("run", [0, 1, 2], [1.0, float("nan"), 1.0]), ("none", [0], [float("inf")])])
    assert "b" not in plot.replace("  b  none", "") and "a" in plot


def test_refusals():
    with pytest.raises(InputError, match="53 curves do not fit into one plot; at most 52"):
        draw([("run", [0], [0.0])] * (len(MARKS) + 1))
    for nothing in ([], [("run", [1], [float("nan")])]):
        with pytest.raises(InputError, match="nothing to draw"):
            draw(nothing)


@pytest.mark.parametrize("low, high, most, expected", [
    (0, 1, 5, [0, 0.2, 0.4, 0.6, 0.8, 1.0]), (10, 400, 5, [0, 100, 200, 300, 400]), (-1, 7, 4, [-2, 0, 2, 4, 6, 8]),
    (3, 3, 5, [3, 4]), (0, 0, 5, [0, 0.2])])
def test_ticks(low, high, most, expected):
    assert ticks(low, high, most) == expected
