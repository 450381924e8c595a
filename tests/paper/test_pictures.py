"""What is drawn of the paper's figures, by matplotlib's own objects."""

import math
import warnings

import pytest

pytest.importorskip("matplotlib")

from handmade import cell_of, put

from minifl.data.splits import label_counts
from minifl.paper import STUDIES, pictures
from minifl.paper.study import cells


@pytest.fixture
def drawn(monkeypatch, tmp_path):
    """Draw into tmp_path: the axes and the files. No warning may come."""
    kept, save = [], pictures.save

    def keep(figure, path, **options):
        kept.append(figure)
        return save(figure, path, **options)

    monkeypatch.setattr(pictures, "save", keep)

    def draw(kind, *content, name="figure"):
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            files = getattr(pictures, kind)(*content, tmp_path / "pictures" / name)
        assert [file.name for file in files] == [f"{name}.png", f"{name}.svg"]
        assert all(file.stat().st_size > 1000 for file in files)
        return kept[-1].axes
    return draw


def lines(ax):
    """label -> [x, y] of the lines with a label, rounded."""
    return {line.get_label(): [[round(float(v), 6) for v in values] for values in line.get_data()]
            for line in ax.get_lines() if not line.get_label().startswith("_")}


def test_curves(drawn, tmp_path):
    study = STUDIES["figure4"]
    chosen = cells(study, rounds=800, seeds=[0, 1], only=["FN", "vanilla", "LN"])
    for j, settings in enumerate(cell_of(study, "FN", rounds=800, seeds=[0, 1]).settings):
        put(tmp_path, settings, [(i + j) / 200 for i in range(80)])
    begun = cell_of(study, "vanilla", rounds=800).settings[0]
    put(tmp_path, begun, [0.1, 0.2, 0.3], status=None)
    ax, = drawn("curves", study, chosen, tmp_path)
    found = lines(ax)
    assert found.keys() == {"FN (2 runs)", "FN, paper", "vanilla (1 run)", "vanilla, paper", "LN, paper"}
    assert found["FN (2 runs)"] == [list(range(10, 801, 10)), [round(i / 2 + 0.25, 6) for i in range(80)]]
    assert found["vanilla (1 run)"] == [[10, 20, 30], [10, 20, 30]]       # as far as it has come
    assert found["FN, paper"] == [[400, 800], [43.3, 55.8]] and found["LN, paper"] == [[400, 800], [50.0, 54.5]]
    band = ax.collections[-1].get_paths()[0].get_extents()
    assert (band.y0, band.y1) == pytest.approx((0, 40)) and (band.x0, band.x1) == (10, 800)
    colours = {line.get_label(): line.get_color() for line in ax.get_lines()}
    assert colours["FN (2 runs)"] == colours["FN, paper"] != colours["vanilla, paper"] != colours["LN, paper"]
    assert ax.get_title(loc="left") == "One class per client (CNN): ours after 800 rounds"
    assert ax.get_xlabel() == "round"


def test_curves_of_fewer_rounds_than_the_papers_first_point_show_that(drawn, tmp_path):
    study = STUDIES["figure4"]
    chosen = cells(study, rounds=100, only=["FN"])
    put(tmp_path, chosen[0].settings[0], [0.1] * 10)
    assert lines(drawn("curves", study, chosen, tmp_path)[0])["FN, paper"] == [[400], [43.3]]


def test_curves_of_other_data_have_nothing_of_the_paper(drawn, tmp_path):
    study = STUDIES["figure4"]
    chosen = cells(study, rounds=20, only=["FN"], data="embedded")
    put(tmp_path, chosen[0].settings[0], [0.1, 0.2])
    assert lines(drawn("curves", study, chosen, tmp_path)[0]).keys() == {"FN (1 run)"}


def test_points(drawn, tmp_path):
    study = STUDIES["figure7"]
    chosen = cells(study, rounds=20, only=["FN", "LN"])
    values = {("FN", "0.001"): 0.2, ("FN", "0.005"): 0.4}
    for cell in chosen:
        if (cell.row, cell.column) in values:
            put(tmp_path, cell.settings[0], [0.0, 2 * values[cell.row, cell.column]])
        elif (cell.row, cell.column) == ("FN", "1"):
            put(tmp_path, cell.settings[0], [0.9], status="diverged")
    ax, = drawn("points", study, chosen, tmp_path)
    found = lines(ax)
    rates = [0.001, 0.005, 0.01, 0.05, 0.1, 0.5, 1.0]
    assert found["FN, ours"][0] == found["LN, paper"][0] == rates
    assert found["FN, ours"][1][:2] == [20, 40] and all(map(math.isnan, found["FN, ours"][1][2:]))
    assert found["LN, paper"][1] == [54.6, 63.7, 65.0, 69.9, 70.5, 10, 10]
    assert found["FN, diverged"] == [[1.0], [0]] and "LN, diverged" not in found
    assert ax.get_xscale() == "log" and ax.get_xlabel() == "learning rate"
    assert [tick.get_text() for tick in ax.get_xticklabels()] == list(study.columns)
    assert ax.get_title(loc="left").endswith("ours after 20 rounds, the paper's after 2,000")


def test_overfitting(drawn):
    found = {"begins": "a run", "pre-trained": [0.5] * 10, "vanilla": [1.0] + [0.1] * 9, "FN": [0.3] * 10}
    ours, paper = drawn("overfitting", STUDIES["figure2"], found)
    assert sorted(patch.get_height() for patch in ours.patches) == pytest.approx(
        [10] * 9 + [30] * 10 + [50] * 10 + [100])
    assert sorted(patch.get_height() for patch in paper.patches) == pytest.approx(
        sorted(value for values in STUDIES["figure2"].paper.values() for value in values))
    assert ours.get_title(loc="left") == "Ours, from a run" and paper.get_title(loc="left") == "Paper"
    assert [text.get_text() for text in ours.get_legend().get_texts()] == [
        "pre-trained: mean 50.0", "vanilla: mean 19.0", "FN: mean 30.0"]


def test_features(drawn):
    def look(step, factor):
        return {"step": step, "loss": 1.0, "classifier_norms": [1.0, 5.0 * factor, 3.0],
                "feature_norms": [2.0, 4.0, 9.0], "singular_values": [math.e ** 2, 1.0, 0.0],
                "direction_singular_values": [math.e, 1.0]}
    found = {"vanilla": [look(0, 1), look(7, 2)], "FN": [look(0, 1), look(7, 3)]}
    norms, lengths, spectra, directions = drawn("features", STUDIES["figure3"], found)
    assert lines(norms)["vanilla: w_1"] == [[0, 7], [5, 10]] and lines(norms)["FN: w_1"] == [[0, 7], [5, 15]]
    assert lines(norms)["mean of the others"][1] == [2, 2]
    assert sorted(float(line.get_ydata()[0]) for line in norms.get_lines() if line.get_marker() == "o") == [0.6, 1.25]
    assert lines(lengths)["FN, median"] == [[0, 7], [4, 4]]
    assert lines(spectra)["vanilla, after 7 steps"] == [[1, 2, 3], [0, -2, round(math.log(1e-12), 6)]]
    assert {(line.get_xdata()[0], line.get_ydata()[0]) for line in spectra.get_lines() if line.get_marker() == "o"} == {
        (100, -5.6), (100, -10.7)}
    assert lines(directions)["FN, after 0 steps"] == [[1, 2], [0, -1]]


def test_partitions(drawn):
    counts = {name: label_counts(name, [5000] * 10, 10, 0) for name in ("oneclass", "paper-2class", "paper-dir0.1")}
    one, two, three, bar = drawn("partitions", STUDIES["figure8"], counts)
    for ax, (label, table) in zip((one, two, three), counts.items()):
        assert ax.get_title(loc="left") == label and (ax.images[0].get_array() == table).all()
    assert {ax.images[0].get_clim() for ax in (one, two, three)} == {(0, 5000)}      # one scale for all


def test_a_point_in_a_name_is_no_suffix(drawn, tmp_path):
    found = {"begins": "lr0.05", **{label: [0.5] * 10 for label in ("pre-trained", "vanilla", "FN")}}
    drawn("overfitting", STUDIES["figure2"], found, name="figure2-lr0.05-num-clients1")


def test_every_row_that_is_drawn_has_a_colour():
    for study in STUDIES.values():
        if study.kind in ("curves", "points"):
            assert len({pictures.COLOURS[row] for row in study.rows}) == len(study.rows)
