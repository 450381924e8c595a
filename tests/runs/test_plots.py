"""Pictures: the numbers in them, read back from matplotlib, the files and what is refused. Records written by hand."""

import builtins
import json

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.runs import pictures, plots
from minifl.runs.curves import Curve, accuracy_curves, labels, log_spectrum, read_diagnostics, scalars

pytest.importorskip("matplotlib")
EYE = [[1.0, 0.5, -0.1], [0.5, 1.0, 0.2], [-0.1, 0.2, 1.0]]


def write_run(path, accuracies=(0.1, 0.3), diagnostics=True, **settings):
    """A run of 3 classes and 3 clients, evaluated every second round; nobody answered in the last one."""
    path.mkdir(parents=True)
    settings = {"data": "cifar10", "norm": "fn", "seed": 0} | settings
    (path / "config.json").write_text(json.dumps({"settings": settings, "partition": {}, "data": {}}))
    rounds = [2 * i + 2 for i in range(len(accuracies))]
    tested = [{"round": r, "accuracy": a, "client_mean_accuracy": a} for r, a in zip(rounds, accuracies)]
    write_lines(path / "rounds.jsonl", tested)
    if diagnostics:
        write_lines(path / "diagnostics.jsonl", [line(r, last=r == rounds[-1]) for r in rounds])
    return path


def line(number, last):
    found = {"round": number, "classifier_norms": [1.0, 2.0, number],
             "feature_norms": [1.0, 2.0, 3.0 + number, 9.0, 10.0], "feature_norms_of_class": [1.0, None, 2.0], "singular_values": [100.0, 10.0, 0.0], "effective_rank": 1.5,
             "direction_singular_values": [2.0, 0.2, 0.02], "direction_effective_rank": 2.5,
             "margins": [[0.0, -1.0, 2.0], [None, None, None], [-3.0, 1.0, 0.0]]}
    if last:
        return found | {"clients": [], "local_before": [0.5, None, 0.25], "local_after": [], "drift": {}, "cosines": []}
    return found | {"clients": [0, 4, 7], "local_before": [0.5, None, 0.25], "cosines": EYE,
                    "local_after": [[1.0, None, 0.0], [0.0, None, 0.5], [0.5, None, 0.1]],
                    "drift": {"conv.weight": [3.0, 0.0, 6.0], "classifier.weight": [4.0, 2.0, 8.0]}}


def write_lines(path, values):
    path.write_text("".join(json.dumps(value) + "\n" for value in values))


@pytest.fixture
def drawn(monkeypatch):
    """Figures as they are saved: the list of (path, figure)."""
    found = []
    monkeypatch.setattr(pictures, "save", lambda figure, path, both=False: found.append((path, figure)) or [path])
    return found


def data(ax):
    """label -> its line's points, of all lines of axes."""
    return {one.get_label(): one.get_xydata().tolist() for one in ax.get_lines()}


def test_diagnostics_by_hand(tmp_path):
    (run,) = read_diagnostics([write_run(tmp_path / "run")])
    assert (run.label, run.norm, run.rounds.tolist()) == ("run", "fn", [2, 4])
    assert run.drift["conv.weight"][0] == 3 and np.isnan(run.drift["conv.weight"][1])
    assert run.whole_drift[0] == pytest.approx((5 + 2 + 10) / 3, rel=1e-15)        # by 3, 4, 5
    assert run.mean_cosine[0] == pytest.approx(0.2, rel=1e-15) and np.isnan(run.mean_cosine[1])
    assert run.mean_after[0] == pytest.approx(100 * 2.1 / 6, rel=1e-15)
    assert run.local.round == 2 and run.local.clients == [0, 4, 7]
    assert {title: y[-1] for title, _, _, y in scalars(run)}["Length of features, median"] == 7
    np.testing.assert_array_equal(log_spectrum(np.array([100.0, 10.0, 1e-15, 0.0])), [0, -1, np.nan, np.nan])


def test_panels_of_a_run(tmp_path, drawn):
    (run,) = read_diagnostics([write_run(tmp_path / "run")])
    pictures.diagnostics_figure(run, tmp_path / "x")
    (_, figure), = drawn
    panels = {ax.get_title(loc="left"): ax for ax in figure.axes if ax.get_title(loc="left")}
    assert data(panels["Length of classifier vectors, by class"]) == {
        "0": [[2, 1], [4, 1]], "1": [[2, 2], [4, 2]], "2": [[2, 2], [4, 4]]}
    assert data(panels["Length of features of test images"]) == {"median, quartiles": [[2, 5], [4, 7]]}
    assert data(panels["Singular values of features, by round"])["4"][:2] == [[1, 0], [2, -1]]
    assert data(panels["Effective rank"]) == {"features": [[2, 1.5], [4, 1.5]], "directions": [[2, 2.5], [4, 2.5]]}
    np.testing.assert_array_equal(np.ma.filled(panels["Margins, round 4"].images[0].get_array(), np.nan), [
        [np.nan, -1, 2], [np.nan, np.nan, np.nan], [-3, 1, np.nan]])
    np.testing.assert_array_equal(panels["Cosine between updates, round 2"].images[0].get_array(), EYE)
    heights = [bar.get_height() for bar in panels["Local steps of round 2"].patches]
    np.testing.assert_allclose(heights, [50, np.nan, 25, 50, np.nan, 20], rtol=1e-15)
    assert list(data(panels["Drift of clients, mean, by layer"])) == ["conv.weight", "classifier.weight"]
    for title, ax in panels.items():
        assert ax.get_xlabel() and ax.get_ylabel(), title


def test_a_run_in_which_nobody_ever_answered(tmp_path, drawn):
    (run,) = read_diagnostics([write_run(tmp_path / "run", accuracies=(0.1,))])
    pictures.diagnostics_figure(run, tmp_path / "x")
    assert sum("no client" in text.get_text() for ax in drawn[0][1].axes for text in ax.texts) == 3


def test_one_client_as_in_figure_2(tmp_path, drawn):
    runs = read_diagnostics([write_run(tmp_path / norm, norm=norm) for norm in ("none", "fn")])
    pictures.plot_runs(runs, tmp_path, client=4)
    assert [path.name for path, _ in drawn] == ["diagnostics-none", "diagnostics-fn", "diagnostics-compared",
                                                "local-compared-client4"]
    for ax, colour in zip(drawn[-1][1].axes, (plots.VERMILION, plots.BLUE)):
        heights = [bar.get_height() for bar in ax.patches]
        np.testing.assert_allclose(heights, [50, np.nan, 25, 0, np.nan, 50], rtol=1e-15)
        assert ax.containers[1].patches[0].get_facecolor() == pytest.approx(rgb(colour))
        assert [text.get_text() for text in ax.get_legend().get_texts()] == [
            "global model before, mean 37.5 %", "client 4's model after, mean 25.0 %"]


def rgb(colour):
    from matplotlib.colors import to_rgba
    return to_rgba(colour)


def test_accuracy_curves(tmp_path):
    paths = [write_run(tmp_path / f"fn{seed}", values, seed=seed) for seed, values in
             enumerate([(0.1, 0.2), (0.3, 0.4), (0.2, 0.9)])]
    paths.append(write_run(tmp_path / "ln", (0.5, 0.6), norm="ln"))
    single = accuracy_curves(paths)
    assert [curve.label for curve in single] == ["fn0", "fn1", "fn2", "ln"]
    assert single[2].x.tolist() == [2, 4] and single[2].y.tolist() == [20, 90]
    fn, ln = accuracy_curves(paths, mean=True)
    assert (fn.label, ln.label, fn.norm) == ("norm fn (3 runs)", "norm ln (1 run)", "fn")
    np.testing.assert_allclose([fn.y, fn.low, fn.high], [[20, 50], [10, 20], [30, 90]], rtol=1e-14)
    assert ln.low is None


def test_means_are_taken_where_all_runs_were_evaluated(tmp_path):
    paths = [write_run(tmp_path / f"{seed}", (0.1, 0.2), seed=seed) for seed in (0, 1)]
    write_lines(paths[1] / "rounds.jsonl", [{"round": 4, "accuracy": 0.4, "client_mean_accuracy": 0.4}])
    (curve,) = accuracy_curves(paths, mean=True)
    assert curve.x.tolist() == [4] and curve.y.tolist() == pytest.approx([30], rel=1e-14)


def test_the_accuracy_figure(tmp_path, drawn):
    x = np.array([10, 20])
    pictures.accuracy_figure([Curve("plain", x, x + 1, norm="none"), Curve("many", x, x + 2, x, x + 4, norm="fn")], "x")
    (ax,) = drawn[0][1].axes
    assert data(ax) == {"plain": [[10, 11], [20, 21]], "many": [[10, 12], [20, 22]]}
    band = ax.collections[0].get_datalim(ax.transData)
    assert (band.y0, band.y1) == (10, 24) and ax.get_xlim()[0] == 0
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("round", "test accuracy in %")


def test_styles():
    """A norm keeps its colour and dashes; another kind of the same norm has another colour; seeds have markers."""
    def curve(norm, kind=()):
        return Curve("", np.arange(5), None, norm=norm, kind=kind)

    found = plots.styles([curve("fn", "a"), curve("none", "a"), curve("fn", "a"), curve("fn", "b"), curve("gn", "a")])
    assert [style["color"] for style in found] == [plots.BLUE, plots.VERMILION, plots.BLUE, plots.ORANGE, plots.ORANGE]
    assert [style["marker"] for style in found] == ["", "", "o", "", ""]
    assert found[0]["linestyle"] == found[2]["linestyle"] == found[3]["linestyle"] == "-"
    assert len({str(style["linestyle"]) for style in found}) == 3
    many = plots.styles([curve("fn", str(i)) for i in range(29)])
    assert len({(style["color"], style["marker"]) for style in many}) == 29


def test_the_same_records_give_the_same_bytes(tmp_path):
    runs = read_diagnostics([write_run(tmp_path / "run")])
    files = [pictures.plot_runs(runs, tmp_path / folder) for folder in ("one", "two")]
    assert [file.name for file in files[0]] == ["diagnostics-run.png", "diagnostics-run.svg"]
    for one, two in zip(*files):
        assert one.read_bytes() == two.read_bytes(), one.name
    assert files[0][0].read_bytes().startswith(b"\x89PNG") and b"<svg" in files[0][1].read_bytes()


def test_a_figure_is_laid_out_once_for_all_of_its_files(tmp_path, monkeypatch):
    from matplotlib.layout_engine import ConstrainedLayoutEngine
    laid_out, execute = [], ConstrainedLayoutEngine.execute
    monkeypatch.setattr(ConstrainedLayoutEngine, "execute", lambda self, figure: laid_out.append(1) or execute(self, figure))
    pictures.plot_runs(read_diagnostics([write_run(tmp_path / "run")]), tmp_path)
    assert len(laid_out) == 1


def test_own_pictures_are_overwritten(tmp_path):
    with plots.drawing() as (figure, [[ax]]):
        files = plots.save(figure, tmp_path / "x")
        first = [file.read_bytes() for file in files]
        ax.set_title("other")
        assert plots.save(figure, tmp_path / "x") == files
    assert sorted(tmp_path.iterdir()) == sorted(files)      # nothing temporary is left
    assert all(file.read_bytes() != before for file, before in zip(files, first))


def test_a_picture_is_as_wide_as_the_readme(tmp_path):
    with plots.drawing() as (figure, _):
        (file,) = plots.save(figure, tmp_path / "x.png")
    assert int.from_bytes(file.read_bytes()[16:20], "big") == 900


def test_names_of_files(tmp_path):
    assert [file.name for file in plots.targets(tmp_path / "a")] == ["a.png", "a.svg"]
    assert plots.targets(tmp_path / "a.SVG") == [tmp_path / "a.SVG"]
    with pytest.raises(InputError, match=r"a.pdf is no name of a picture: valid are .png and .svg"):
        plots.targets(tmp_path / "a.pdf")
    assert [file.name for file in plots.targets(tmp_path / "fn-lr0.05", both=True)] == ["fn-lr0.05.png", "fn-lr0.05.svg"]
    (tmp_path / "a.svg").write_text("<svg>somebody's own</svg>")
    with pytest.raises(InputError, match="a.svg exists and is no picture made by minifl"):
        plots.targets(tmp_path / "a")
    (tmp_path / "b.png").mkdir()
    with pytest.raises(InputError, match="b.png exists"):
        plots.targets(tmp_path / "b.png")


def test_without_matplotlib(tmp_path, monkeypatch):
    real = builtins.__import__

    def without(name, *rest):
        if name.split(".")[0] == "matplotlib":
            raise ImportError(name)
        return real(name, *rest)

    monkeypatch.setattr(builtins, "__import__", without)
    with pytest.raises(InputError, match=r"pip install 'minifl\[plots\]'"):
        plots.targets(tmp_path / "a.png")


def test_labels(tmp_path):
    assert labels([tmp_path / "a" / "x", tmp_path / "b" / "x"]) == ["a-x", "b-x"]
    with pytest.raises(InputError, match="x is given more than once"):
        labels([tmp_path / "x", tmp_path / "a" / ".." / "x"])


def test_refusals(tmp_path):
    run = write_run(tmp_path / "run")
    with pytest.raises(InputError, match=r"bare.diagnostics.jsonl does not exist.*--diagnose"):
        read_diagnostics([run, write_run(tmp_path / "bare", diagnostics=False)])
    with pytest.raises(InputError, match="--client 5 has no diagnostics in run: clients 0, 4, 7 answered"):
        pictures.plot_runs(read_diagnostics([run]), tmp_path / "out", 5)
    assert not (tmp_path / "out").exists()
    file = run / "diagnostics.jsonl"
    whole = file.read_text()
    file.write_text(whole + '{"round": 6, "classi')       # cut short by a crash: left out
    assert read_diagnostics([run])[0].rounds.tolist() == [2, 4]
    for damaged in ("nonsense\n", '{"round": 2}\n', "[1]\n", whole.replace("[1.0, 2.0, 2]", "[1.0, 2.0]"),
                    whole.replace('"effective_rank": 1.5', '"effective_rank": [1.5]')):
        assert damaged != whole
        file.write_text(damaged)
        with pytest.raises(InputError, match="diagnostics.jsonl is damaged"):
            read_diagnostics([run])
    file.write_text("")
    with pytest.raises(InputError, match="has no evaluation yet"):
        read_diagnostics([run])
