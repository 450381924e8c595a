"""Tables of ours beside the paper's."""

import math

import pytest

from handmade import TINY, cell_of, put

from minifl.paper import STUDIES, report
from minifl.paper.records import Measured
from minifl.paper.study import cells

RATES = [0.001, 0.01, 0.1, 1.0]


def rows(table):
    return [[text.strip() for text in line.strip("|").split("|")] for line in table.splitlines() if "---" not in line]


@pytest.mark.parametrize("accuracies, wanted", [
    ([10, 20, 60, 30], (60, 0.1, 0.1, 0.1)),                 # a peak
    ([56, 58, 60, 55], (60, 0.1, 0.001, 1.0)),               # a plateau over all of the grid; 5 points below is in it
    ([56, 58, 60, 54.9], (60, 0.1, 0.001, 0.1)),
    ([60, 58, 30, 59], (60, 0.001, 0.001, 0.01)),            # the best at an edge; a gap ends the range
    ([59, 30, 58, 60], (60, 1.0, 0.1, 1.0)),
    ([58, None, 60, 59], (60, 0.1, 0.1, 1.0)),               # None ends it, too
    ([None, None, 40, None], (40, 0.1, 0.1, 0.1)),
    ([None, 60, 60, None], (60, 0.01, 0.01, 0.1)),
])
def test_the_range_of_good_rates(accuracies, wanted):
    found = report.good_range(RATES, accuracies)
    assert found == report.Range(*wanted) and found.width == pytest.approx(wanted[3] / wanted[2])


def test_rates_of_the_papers_figure_7(tmp_path):
    table = rows(report.rates_table(STUDIES["figure7"], cells(STUDIES["figure7"]), tmp_path))
    assert table[1:] == [["vanilla", "paper", "56.60", "0.1", "0.1 to 0.1", "x 1"],
                         ["FN", "paper", "66.20", "0.1", "0.005 to 0.1", "x 20"],
                         ["LN", "paper", "70.50", "0.1", "0.05 to 0.1", "x 2"]]


def test_rates_of_ours(tmp_path):
    chosen = cells(STUDIES["figure7"], rounds=50, only=["FN"])
    for cell, accuracy in zip(chosen, (0.1, 0.5, 0.52, 0.53, 0.2)):
        put(tmp_path, cell.settings[0], [accuracy] * 5)
    put(tmp_path, chosen[5].settings[0], [0.9], status="diverged")
    table = rows(report.rates_table(STUDIES["figure7"], chosen, tmp_path))
    assert table[1] == ["FN", "ours", "53.00", "0.05", "0.005 to 0.05", "x 10"] and table[2][:2] == ["FN", "paper"]


def test_a_table_gives_rounds_runs_and_differences(tmp_path):
    chosen = cells(TINY, rounds=1234, seeds=[0, 1])
    for settings, accuracy in zip(chosen[0].settings, (0.12, 0.13)):
        put(tmp_path, settings, [accuracy] * 5, every=300, accuracies=[0.5] * 5)
    put(tmp_path, chosen[1].settings[0], [0.1], status="diverged")
    put(tmp_path, chosen[1].settings[1], [0.1] * 5, every=300)
    put(tmp_path, chosen[2].settings[0], [0.25] * 5, every=300)
    put(tmp_path, chosen[3].settings[0], [0.25] * 5, every=300)
    head, *lines = rows(report.table(TINY, chosen, tmp_path))
    assert head == ["row", "column", "rounds", "runs", "client mean", "its mean of last 5",
                    "all examples, mean of last 5", "paper, 4 rounds", "difference"]
    assert lines == [
        ["plain", "1 class", "1,234", "2", "12.50 ± 0.71", "12.50 ± 0.71", "50.00 ± 0.00", "10", "+2.5"],
        ["plain", "even", "1,234", "2, 1 diverged", "10.00", "10.00", "10.00", "20.5", "-"],
        ["FN", "1 class", "1,234", "1", "25.00", "25.00", "25.00", "30", "-5.0"],
        ["FN", "even", "1,234", "1", "25.00", "25.00", "25.00", "-", "-"]]


def test_what_has_not_run(tmp_path):
    line = rows(report.table(TINY, cells(TINY, rounds=50), tmp_path))[1]
    assert line == ["plain", "1 class", "50", "0", "-", "-", "-", "10", "-"]


def test_a_table_without_columns_has_no_column_for_them(tmp_path):
    table = report.table(STUDIES["figure4"], cells(STUDIES["figure4"], rounds=50), tmp_path)
    assert rows(table)[0][:2] == ["row", "rounds"]


def points(study, row, **options):
    return report.points(STUDIES[study], cell_of(STUDIES[study], row, **options))


def test_a_curve_has_the_papers_marks_as_far_as_ours_goes():
    assert points("figure4", "FN", rounds=100) == [(100, None)]
    assert points("figure4", "FN", rounds=400) == [(400, 43.3)]
    assert points("figure4", "FN", rounds=1000) == [(400, 43.3), (800, 55.8), (1000, None)]
    assert len(points("figure4", "FN")) == 10 and points("figure4", "FN")[-1] == (4000, 71.3)
    assert points("figure4", "FN", rounds=800, data="embedded") == [(400, None), (800, None)]
    assert report.points(TINY, cell_of(TINY, "plain", "even", rounds=3)) == [(3, 20.5)]


def test_each_mark_of_a_curve_is_read_at_its_round(tmp_path):
    cell = cell_of(STUDIES["figure4"], "FN", rounds=800)
    put(tmp_path, cell.settings[0], [0.4333] * 40 + [0.5] * 40)
    lines = rows(report.table(STUDIES["figure4"], [cell], tmp_path))[1:]
    assert [(line[1], line[3], line[-2], line[-1]) for line in lines] == [("400", "43.33", "43.3", "+0.0"),
                                                                        ("800", "50.00", "55.8", "-5.8")]


def test_standing(tmp_path):
    chosen = cells(TINY, rounds=1)
    put(tmp_path, chosen[0].settings[0], [0.1])
    put(tmp_path, chosen[1].settings[0], [0.1], status="diverged")
    put(tmp_path, chosen[2].settings[0], [0.1], status="interrupted")
    text = report.standing(TINY, chosen, tmp_path)
    assert text.startswith("2 of 4 cells have runs that ended; 1 rounds, 25 % of the paper's 4. ")
    assert "4 rounds, as in the paper." in report.standing(TINY, cells(TINY), tmp_path)


def test_a_cell_is_judged_by_the_mean_of_the_last_five_over_its_runs():
    found = Measured(10, (0, 1), (90.0, 90.0), (10.0, 20.0), (70.0, 70.0), ())
    assert report.accuracy(found) == 15
    assert report.accuracy(None) is report.accuracy(found._replace(diverged=(2,))) is None
    assert report.accuracy(found._replace(client_mean_of_5=(10.0, None))) is None


# ---- Figures 2 and 3

def test_overfitting_table():
    found = {"classes": [f"c{i}" for i in range(10)], "pre-trained": [0.5] * 10, "vanilla": [1.0] + [0.0] * 9,
             "FN": [0.25] * 10}
    head, *lines = rows(report.overfitting_table(STUDIES["figure2"], found))
    assert head == ["class", "pre-trained, ours", "pre-trained, paper", "vanilla, ours", "vanilla, paper", "FN, ours",
                    "FN, paper"]
    assert lines[0] == ["c0", "50.0", "65.0", "100.0", "100.0", "25.0", "94.0"]
    assert lines[-1] == ["mean", "50.0", "56.6", "10.0", "19.9", "25.0", "43.3"] and len(lines) == 11


def look(step, sigma):
    return {"step": step, "loss": 0.5, "classifier_norms": [1.0, 5.0, 2.0, 3.0], "feature_norms": [7.0, 9.0, 8.0],
            "singular_values": sigma, "direction_singular_values": [1.0, 0.5, math.exp(-2)]}


def test_features_table():
    found = {"vanilla": [look(0, [10.0, 5.0, 1.0]), look(9, [math.exp(4), 5.0, 1.0])], "FN": [look(0, [2.0, 1.0, 0.0])]}
    head, *lines = rows(report.features_table(STUDIES["figure3"], found))
    assert head[-2:] == ["ln(σ_3/σ_1)", "of directions"]          # three singular values, not the paper's hundred
    assert [line[0] for line in lines] == ["FN", "vanilla", "vanilla", "FN, paper", "vanilla, paper"]
    assert lines[2] == ["vanilla", "9", "0.5", "5.000", "2.000", "7 to 9", "54.6", "5", "-4.0", "-2.0"]
    assert float(lines[0][-2]) < -60
    assert lines[3] == ["FN, paper", "?", "-", "-", "-", "-", "-", "-", "-5.6", "-"]
    assert lines[4] == ["vanilla, paper", "?", "-", "1.25", "0.6", "118 to 245", "1900", "6.9", "-10.7", "-"]


def test_last_to_first():
    assert report.last_to_first([math.e, 2.0, 1.0]) == pytest.approx(-1)
    assert math.isnan(report.last_to_first([0.0, 0.0])) and math.isfinite(report.last_to_first([1.0, 0.0]))
