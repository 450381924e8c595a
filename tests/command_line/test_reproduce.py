"""`reproduce`: the paper's tables and figures from the command line, with networks of a second."""

import json
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from handmade import TINY, cell_of, put, small_embedded
from refusing import refused

from minifl.commands import paper
from minifl.paper import STUDIES, collapse, cost
from minifl.paper.naming import run_name
from minifl.paper.study import cells
from minifl.runs.record import read_config, read_end, read_rounds
from minifl.runs.run import split, train
from minifl.runs.seals import opened, seal

TWO = TINY._replace(columns={"1 class": {"setting": "oneclass"}}, paper={"plain": (10,), "FN": (30,)})
ROWS = ("plain", "FN")


@pytest.fixture
def reproduce(cli, data_dir, monkeypatch):
    """Call `reproduce` in an empty folder; of its studies `tiny` is one."""
    monkeypatch.setitem(STUDIES, "tiny", TWO)
    return lambda *arguments: cli("reproduce", *arguments, "--data-dir", data_dir, "--device", "cpu", "--jobs", "2",
                                  "--out", "out")


@pytest.fixture
def no_matplotlib(monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)


def finish(study=TWO, **options):
    """Finished runs of all cells, by hand."""
    return [put("out", settings, [0.25] * settings.rounds, every=1)
            for cell in cells(study, **options) for settings in cell.settings]


def files(folder="out"):
    return {path: path.read_bytes() for path in Path(folder).rglob("*") if path.is_file()}


def table_rows(output):
    lines = [line for line in output.splitlines() if line.startswith("|") and "---" not in line]
    return [[text.strip() for text in line.strip("|").split("|")] for line in lines]


# ---- runs

def test_a_table_and_the_same_command_again(reproduce):
    code, output, errors = reproduce("tiny", "--rounds", "2")
    assert (code, errors) == (0, "")
    assert output.startswith("tiny: Tiny networks. 2 cells, 2 runs in out, 0 of them complete. Device: ")
    head, plain, fn = table_rows(output)
    assert head[-2:] == ["paper, 4 rounds", "difference"] and (plain[0], fn[0]) == ROWS
    paths = [Path("out", run_name(cell.settings[0])) for cell in cells(TWO, rounds=2)]
    for line, path, paper_number in zip((plain, fn), paths, (10, 30)):
        tested = [100 * entry["client_mean_accuracy"] for entry in read_rounds(path)]
        assert len(tested) == 2 and line[2:4] == ["2", "1"] and line[-1] == f"{sum(tested) / 2 - paper_number:+.1f}"
    assert "2 of 2 cells have runs that ended; 2 rounds, 50 % of the paper's 4." in output
    assert output.count("A note.") == 1
    assert "not" not in output.split("A note.")[1]               # no sentence about other data
    before = files()
    code, again, errors = reproduce("tiny", "--rounds", "2")
    assert (code, errors) == (0, "") and "2 of them complete" in again and "started" not in again
    assert table_rows(again) == [head, plain, fn] and files() == before
    code, more, _ = reproduce("tiny", "--rounds", "2", "--seeds", "0-1", "--only", "fn")
    assert code == 0 and "1 cells, 2 runs in out, 1 of them complete" in more and more.count("started") == 1
    code, fewer, _ = reproduce("tiny", "--rounds", "1")          # the first rounds of these
    assert code == 0 and "started" not in fewer and "25 % of the paper's 4" in fewer


def test_a_method_that_cannot_work_says_so(reproduce, monkeypatch):
    monkeypatch.setitem(STUDIES, "tiny", TWO._replace(rows={"FedLC": {"algorithm": "fedlc"}}, paper={"FedLC": (10,)}))
    code, output, _ = reproduce("tiny", "--rounds", "1")
    assert code == 0 and "Note on 1 of the runs (" in output.split("started")[0]
    assert "Note on" not in reproduce("tiny", "--rounds", "1")[1]


def test_a_killed_run_is_resumed_to_the_same_bits(reproduce):
    assert reproduce("tiny", "--only", "fn")[0] == 0
    run, = Path("out").iterdir()
    whole = {path: path.read_bytes() for path in run.iterdir() if path.name != "times.jsonl"}
    (run / "end.json").unlink()
    lines = (run / "rounds.jsonl").read_text().splitlines(keepends=True)
    (run / "rounds.jsonl").write_text("".join(lines[:2]) + lines[2][:9])
    code, output, errors = reproduce("tiny", "--only", "fn")
    assert (code, errors) == (0, "") and output.count("started") == 1 and "1 of 1 cells" in output
    assert {path: path.read_bytes() for path in whole} == whole
    assert "resumed_after" in (run / "times.jsonl").read_text()


def test_the_papers_own_study_runs(cli, data_dir):
    """Table 6 with its full network: one round of one cell."""
    code, output, errors = cli("reproduce", "table6", "--data-dir", data_dir, "--device", "cpu", "--rounds", "1",
                               "--only", "static", "--only", "1 CLASS", "--out", "out")
    assert (code, errors) == (0, "")
    assert table_rows(output)[1][:4] == ["static", "1 class", "1", "1"] and table_rows(output)[1][-2] == "77.17"
    settings = read_config(next(Path("out").iterdir()))["settings"]
    assert (settings["norm"], settings["width"], settings["local_steps"], settings["batch_size"]) == ("ln", 1.0, 10, 32)


def test_other_data(reproduce):
    finish(data="embedded")
    code, output, errors = reproduce("tiny", "--data", "embedded")
    assert (code, errors) == (0, "") and "started" not in output
    assert ("The paper's numbers are of another data set than embedded, so nothing here is comparable with them."
            in output)
    assert [row[-2:] for row in table_rows(output)[1:]] == [["-", "-"]] * 2


@pytest.mark.parametrize("name", ["cifar10", "auto"])
def test_the_papers_own_data_by_name_are_no_other_data(reproduce, name):
    finish()
    code, output, errors = reproduce("tiny", "--data", name)
    assert (code, errors) == (0, "") and "started" not in output and "another data set" not in output
    assert [row[-2:] for row in table_rows(output)[1:]] == [["10", "+15.0"], ["30", "-5.0"]]


def test_to_diverge_is_a_result_the_first_time_as_later(reproduce, monkeypatch):
    monkeypatch.setitem(STUDIES, "tiny", TWO._replace(rows={"plain": {"lr": 1e30}}))
    for _ in range(2):
        code, output, errors = reproduce("tiny")
        assert code == 0 and "iverged" in errors and "1, 1 diverged" in output
    assert read_end(next(Path("out").iterdir()))["status"] == "diverged"


def test_a_run_that_fails_is_an_error(reproduce):
    run, = finish()[:1]
    shutil.rmtree(run)
    run.write_text("a file in the way")
    code, output, errors = reproduce("tiny")
    assert code == 1 and "exists and is not a run directory" in errors and "1 of 2 cells have runs" in output


# ---- what is refused, before anything is made

def test_refusals(reproduce, cli):
    refused(reproduce("table2"), "'table2' is unknown", "claims", "table1", "figure8", "Table 2")
    refused(reproduce("tiny", "--only", "nonsense"), "--only 'nonsense'", "plain, FN", "1 class")
    refused(reproduce("tiny", "--rounds", "0"), "--rounds")
    refused(reproduce("tiny", "--seeds", "x"), "--seeds")
    refused(reproduce("tiny", "--data", "nonsense"), "--data nonsense: unknown")
    refused(reproduce("tiny", "--data", "cifar100"), "--data cifar100", "cifar100.npz does not exist")
    refused(cli("reproduce", "tiny", "--data-dir", "nowhere"), "--data-dir nowhere")
    assert not Path("out").exists() and not Path("runs").exists()


def test_data_that_are_missing_are_not_needed_where_all_runs_are_complete(reproduce, cli):
    finish()
    code, output, errors = cli("reproduce", "tiny", "--data-dir", "nowhere", "--out", "out")
    assert (code, errors) == (0, "") and "2 of 2 cells" in output


def test_another_run_in_its_place(reproduce):
    settings = cell_of(TWO, "plain", "1 class").settings[0]
    put("out", replace(settings, lr=0.5), [0.1], name=run_name(settings))
    refused(reproduce("tiny"), "--lr 0.5, not 0.01", "choose another --out")
    refused(reproduce("tiny", "--plan"), "--lr 0.5, not 0.01")


def test_an_output_folder_that_is_a_file(reproduce):
    Path("out").write_text("mine")
    refused(reproduce("tiny"), "--out out exists and is not a folder")


# ---- plans

def test_a_plan_runs_nothing_and_makes_nothing(reproduce, monkeypatch):
    monkeypatch.setattr(cost, "measure_step", lambda settings, data_dir: 36.0)
    code, output, errors = reproduce("tiny", "--plan", "--rounds", "2")
    assert (code, errors) == (0, "") and list(Path().iterdir()) == []
    head, *lines = table_rows(output)
    assert head == ["run", "status", "rounds", "TFLOP", "of them tests", "hours"]
    assert [line[1:3] for line in lines] == [["new", "2"]] * 2
    images = 2 * 10 * 4 + 2 * 10_000 / 3                 # 2 rounds of 10 clients with 4 images, two tests
    assert [line[-1] for line in lines] == [f"{images * 36 / 3600:.2f}"] * 2
    assert f"About {images * 36 / 3600:.1f} hours are left with 2 runs at a time" in output      # both at once


def test_a_plan_knows_what_is_complete(reproduce, monkeypatch):
    monkeypatch.setattr(cost, "measure_step", lambda settings, data_dir: 36.0)
    finish(only=["plain"])
    output = reproduce("tiny", "--plan")[1]
    assert [line[1] for line in table_rows(output)[1:]] == ["finished", "new"]
    assert f"About {float(table_rows(output)[2][-1]):.1f} hours are left" in output
    finish(only=["FN"])
    assert "About 0.0 hours are left" in reproduce("tiny", "--plan")[1]


def test_a_plan_is_made_without_data(cli):
    code, output, errors = cli("reproduce", "table14", "--only", "CNN", "--plan", "--device", "cpu")
    assert (code, errors) == (0, "") and "0 of them complete" in output and list(Path().iterdir()) == []
    assert len(table_rows(output)) == 1 + 4 * 3


# ---- claims

def test_claims(reproduce):
    refused(reproduce("claims"), "--out out does not exist")
    Path("out").mkdir()
    code, output, errors = reproduce("claims")
    assert (code, errors) == (0, "") and {line[-1] for line in table_rows(output)} == {"verdict", "not measured"}
    put("out", cell_of(STUDIES["table4"], "FedAvg + BN", "1 class", rounds=60).settings[0], [0.1] * 6)
    output = reproduce("claims")[1]
    assert [line[-1] for line in table_rows(output)].count("holds") == 1


# ---- pictures

def test_a_figure_is_drawn(reproduce, monkeypatch):
    pytest.importorskip("matplotlib")
    figure = TWO._replace(name="tiny", kind="points", axis="learning rate", rows={"FN": {"norm": "fn"}},
                          columns={"0.01": {"lr": 0.01}, "0.05": {"lr": 0.05}}, paper={"FN": (20, 30)})
    monkeypatch.setitem(STUDIES, "tiny", figure)
    finish(figure)
    code, output, errors = reproduce("tiny")
    assert (code, errors) == (0, "") and output.endswith("Picture: out/tiny.png, out/tiny.svg\n")
    assert ["FN", "ours", "25.00", "0.01", "0.01 to 0.05", "x 5"] in table_rows(output)
    assert reproduce("tiny", "--pictures", "elsewhere")[1].endswith("Picture: elsewhere/tiny.png, elsewhere/tiny.svg\n")
    Path("out/tiny.png").write_text("mine")
    code, output, errors = reproduce("tiny")
    assert code == 0 and errors.startswith("No picture: out/tiny.png exists") and table_rows(output)
    assert Path("out/tiny.png").read_text() == "mine"


def test_without_matplotlib_the_table_is_there_all_the_same(reproduce, monkeypatch, no_matplotlib):
    figure = STUDIES["figure4"]._replace(rounds=3, base=TINY.base, marks=(1, 3),
                                         paper=dict.fromkeys(STUDIES["figure4"].rows, (10, 20)))
    monkeypatch.setitem(STUDIES, "figure4", figure)
    finish(figure)
    code, output, errors = reproduce("figure4")
    assert code == 0 and errors == "No picture: pictures need matplotlib; install it by pip install 'minifl[plots]'.\n"
    assert [row[0] for row in table_rows(output)[1:]] == [row for row in figure.rows for _ in range(2)]


def test_figure_8_needs_neither_data_nor_runs(cli):
    pytest.importorskip("matplotlib")
    code, output, errors = cli("reproduce", "figure8", "--plan")
    assert (code, errors) == (0, "") and list(Path().iterdir()) == []
    code, drawn, errors = cli("reproduce", "figure8", "--out", "out", "--data-dir", "nowhere")
    assert (code, errors) == (0, "") and drawn == output + "Picture: out/figure8.png, out/figure8.svg\n"
    assert {file.name for file in Path("out").iterdir()} == {"figure8.png", "figure8.svg"}
    assert drawn.count("(--setting ") == 3 and "4315" in drawn.split("--setting paper-dir0.1)")[1]     # the paper's Figure 8


# ---- Figures 2 and 3

@pytest.fixture
def closeups(reproduce, monkeypatch):
    """Figures 2 and 3 that begin with one small run; returns its directory."""
    for name in ("figure2", "figure3"):
        study = TWO._replace(name=name, kind="closeup", rows={"one": {"setting": "oneclass"}}, columns={"": {}},
                             base={**TINY.base, "data": "embedded"}, rounds=1, paper=STUDIES[name].paper)
        monkeypatch.setitem(STUDIES, name, study)
    settings, data = cells(STUDIES["figure2"])[0].settings[0], small_embedded()
    monkeypatch.setattr(paper, "load", lambda name, folder: data)
    monkeypatch.setattr(collapse, "MARKS", (0, 2))
    run = Path("out", run_name(settings))
    for _ in train(settings, data, split(settings, data), run):
        pass
    return run


@pytest.mark.parametrize("name, starts", [("figure2", 1), ("figure3", 2)])
def test_closeups_are_measured_once(reproduce, closeups, name, starts):
    pytest.importorskip("matplotlib")
    code, output, errors = reproduce(name)
    assert (code, errors) == (0, "") and "started" not in output
    measured = {path: path.read_bytes() for path in Path("out").glob(f"{name}-*.json")}
    assert len(measured) == starts == output.count("Picture: ")
    assert Path("out", f"{name}-{closeups.name}.json") in measured
    assert Path("out", f"{name}-{closeups.name}.svg").exists()        # lr and width have points in them
    (closeups / "model.npz").unlink()
    code, again, errors = reproduce(name)                             # not needed any more
    assert (code, errors) == (0, "") and again == output
    assert {path: path.read_bytes() for path in measured} == measured


def test_a_closeup_does_not_begin_with_the_model_of_a_longer_run(reproduce, closeups, monkeypatch):
    monkeypatch.setattr(cost, "measure_step", lambda settings, data_dir: 1.0)
    longer = replace(cells(STUDIES["figure2"])[0].settings[0], rounds=9)
    put("out", longer, [0.1] * 9, every=1)
    assert "1 runs in out, 0 of them complete" in reproduce("figure2", "--rounds", "5", "--plan")[1]


def test_a_closeup_without_the_model(reproduce, closeups):
    (closeups / "model.npz").unlink()
    refused(reproduce("figure2"), "model.npz does not exist", "only its record was kept")
    assert not list(Path("out").glob("*.json"))


def test_a_closeup_of_a_run_that_diverged_shows_the_others(reproduce, closeups):
    end = closeups / "end.json"
    end.write_text(json.dumps(seal(opened(json.loads(end.read_text()))[0] | {"status": "diverged"})))
    code, output, errors = reproduce("figure3")
    assert code == 0 and "From initialization" in output and "From one" not in output
