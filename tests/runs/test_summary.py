"""Tables of runs against records written by hand."""

import json

import pytest

from minifl.errors import InputError
from minifl.runs import summary


def write_run(path, accuracies, mean, **settings):
    """A run directory with an evaluation every second round; the last client mean is `mean`."""
    path.mkdir()
    settings = {"data": "cifar10", "setting": "oneclass", "norm": "fn", "seed": 3} | settings
    (path / "config.json").write_text(json.dumps({"settings": settings, "partition": {}, "data": {}}))
    lines, times = [], [{"resumed_after": 0}]
    for i, accuracy in enumerate(accuracies):
        lines.append({"round": 2 * i + 1})
        lines.append({"round": 2 * i + 2, "accuracy": accuracy, "client_mean_accuracy": mean})
        times += [{"round": 2 * i + 1, "seconds": 1.0}, {"round": 2 * i + 2, "seconds": 3.0 + i}]
    for name, content in (("rounds.jsonl", lines), ("times.jsonl", times)):
        (path / name).write_text("".join(json.dumps(line) + "\n" for line in content))
    return path


def test_a_line_by_hand(tmp_path):
    run = write_run(tmp_path / "one", [0.9, 0.1, 0.2, 0.3, 0.4, 0.51], 0.333)
    header, rule, row = summary.table([run]).splitlines()
    assert len(header) == len(rule) == len(row)
    # the mean leaves out the first of six; seconds are 1 six times and 3..8, whose median is 2
    assert [cell.strip() for cell in row.strip("|").split("|")] == [
        "one", "cifar10", "oneclass", "fedavg", "fn", "3", "12", "51.00", "30.20", "33.30", "2.00"]


def test_a_record_without_times(tmp_path):
    run = write_run(tmp_path / "one", [0.5], 0.5)
    (run / "times.jsonl").unlink()
    assert cells(summary.table([run]))[2][-1] == "-"


def test_no_client_mean(tmp_path):
    assert "| -  " in summary.table([write_run(tmp_path / "one", [0.5], None)])


def cells(table):
    return [[cell.strip() for cell in row.strip("|").split("|")] for row in table.splitlines()]


def test_means_over_seeds_by_hand(tmp_path):
    runs = [write_run(tmp_path / f"fn{seed}", [accuracy], mean, seed=seed)
            for seed, accuracy, mean in ((0, 0.1, 0.2), (1, 0.2, 0.2), (2, 0.6, 0.5))]
    runs.append(write_run(tmp_path / "prox", [0.5], None, algorithm="fedprox", mu=0.1))
    header, _, fn, prox = cells(summary.mean_table(runs))
    assert header == ["data", "setting", "algorithm", "norm", "rounds", "runs", "accuracy", "mean of last 5",
                      "client mean", "s/round"]
    # mean 30, deviations -20, -10, 30: variance (400 + 100 + 900)/2 = 700; client means: mean 30, -10, -10, 20: 300
    assert fn == ["cifar10", "oneclass", "fedavg", "fn", "2", "3", "30.00 ± 26.46", "30.00 ± 26.46",
                  "30.00 ± 17.32", "2.00"]
    assert prox == ["cifar10", "oneclass", "fedprox", "fn", "2", "1", "50.00", "50.00", "-", "2.00"]


def test_settings_in_which_runs_differ_get_a_column(tmp_path):
    runs = [write_run(tmp_path / "avg", [0.5], None, lr=0.1),
            write_run(tmp_path / "prox", [0.5], None, algorithm="fedprox", mu=0.1, lr=0.1),
            write_run(tmp_path / "prox2", [0.5], None, algorithm="fedprox", mu=0.2, lr=0.2)]
    header, _, *rows = cells(summary.mean_table(runs))
    assert set(header) - {"data", "setting", "algorithm", "norm", "rounds", "runs", "accuracy", "mean of last 5",
                          "client mean", "s/round"} == {"lr", "mu"}
    assert [row[header.index("lr")] for row in rows] == ["0.1", "0.1", "0.2"]
    assert [row[header.index("mu")] for row in rows] == ["-", "0.1", "0.2"]


def test_runs_of_different_length_are_not_averaged(tmp_path):
    runs = [write_run(tmp_path / f"fn{n}", [0.5] * n, 0.5, seed=n) for n in (1, 2)]
    assert [row[4:6] for row in cells(summary.mean_table(runs))[2:]] == [["2", "1"], ["4", "1"]]


def test_what_cannot_be_shown(tmp_path, cli):
    run = write_run(tmp_path / "early", [], None)
    with pytest.raises(InputError, match="early has no evaluation yet"):
        summary.table([run])
    code, _, errors = cli("compare", tmp_path)
    assert code == 2 and "is not a run directory" in errors


def test_rounds_to_reach_an_accuracy_by_hand(tmp_path):
    """20 % first at round 4; the mean of five first at 14, of 0.1, 0.2, 0.2, 0.2, 0.3, those of rounds 6 to 14."""
    run = write_run(tmp_path / "one", [0.1, 0.2, 0.1, 0.2, 0.2, 0.2, 0.3], None)
    header, _, row = cells(summary.reach_table([run], [20, 30.0, 30.5]))
    assert header == ["run", "20 %", "20 %, mean of 5", "30 %", "30 %, mean of 5", "30.5 %", "30.5 %, mean of 5"]
    assert row == ["one", "4", "14", "14", "-", "-", "-"]


def test_fewer_than_five_evaluations_have_no_mean_of_five(tmp_path):
    runs = [write_run(tmp_path / f"{n}", [0.5] * n, None) for n in (4, 5)]
    assert [row[1:] for row in cells(summary.reach_table(runs, [50]))[2:]] == [["2", "-"], ["2", "10"]]


@pytest.mark.parametrize("level", [0.1, 7, 9.3, 28.6, 57, 58, 99.9, 100])
def test_an_accuracy_that_equals_the_level_reaches_it(tmp_path, level):
    """Of 1 000 images; 9.3 / 100 is not the number that 0.093 is."""
    run = write_run(tmp_path / "one", [round(10 * level) / 1000], None)
    assert cells(summary.reach_table([run], [level]))[2][1] == "2"


def test_rounds_to_reach_an_accuracy_over_seeds_by_hand(tmp_path):
    """Rounds 2, 4, 8: 4; 2, 4 and never: 4; 2 and twice never: never. Two of lr 0.1, rounds 2 and 4: between them."""
    accuracies = ([0.1, 0.2, 0.3], [0.0, 0.1, 0.2], [0.0, 0.0, 0.0])
    runs = [write_run(tmp_path / f"fn{seed}", [*values, 0.1], None, seed=seed)
            for seed, values in enumerate(accuracies)]
    runs += [write_run(tmp_path / f"lr{seed}", [*values, 0.1], None, seed=seed, lr=0.1)
             for seed, values in enumerate(accuracies[:2])]
    header, _, fn, lr = cells(summary.reach_table(runs, [10, 20, 30], mean=True))
    assert header == ["data", "setting", "algorithm", "norm", "lr", "rounds", "10 %", "10 %, mean of 5", "20 %",
                      "20 %, mean of 5", "30 %", "30 %, mean of 5"]
    assert fn[5:] == ["8", "4 (3/3)", "- (0/3)", "6 (2/3)", "- (0/3)", "- (1/3)", "- (0/3)"]
    assert lr[5:] == ["8", "3 (2/2)", "- (0/2)", "5 (2/2)", "- (0/2)", "- (1/2)", "- (0/2)"]


@pytest.mark.parametrize("levels", [[0], [20, 100.5], [-1], [float("nan")]])
def test_accuracies_that_cannot_be_reached(tmp_path, levels):
    with pytest.raises(InputError, match="--reach .* is invalid; it must be accuracies in percent"):
        summary.reach_table([write_run(tmp_path / "one", [0.5], None)], levels)
