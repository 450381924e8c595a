"""Commands and output that only show: gradcheck, describe, compare, plot, help, results."""

import json
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pytest

from refusing import refused

import minifl
from minifl.commands.display import show_result


def test_help_shows_the_defaults_of_the_data_sets(cli):
    text = " ".join(cli("train", "--help")[1].split())
    assert "[default: 0.01; embedded 0.05; pacs 0.001]" in text
    assert "[default: no; pacs yes]" in text
    assert "[default: crop-flip; pacs resized-crop; mnist crop]" in text
    assert "[default: oneclass; cifar100 nclass; tinyimagenet dirichlet; pacs disjoint; your own dirichlet]" in text


def test_version_names_what_numbers_depend_on(cli):
    code, output, errors = cli("--version")
    assert (code, errors) == (0, "")
    found = dict(line.split(" ", 1) for line in output.splitlines())
    assert list(found) == ["minifl", "python", "numpy", "scipy", "cupy"]
    assert (found["minifl"], found["numpy"]) == (minifl.__version__, np.__version__)
    assert found["cupy"] == "not installed" or found["cupy"][0].isdigit()


def test_gradcheck_of_one_layer(cli):
    code, output, _ = cli("gradcheck", "--layer", "feature_norm", "--seed", "1")
    assert code == 0 and output.splitlines()[-1].endswith("all good.") and "feature_norm: vector" in output
    code, output, _ = cli("gradcheck", "--layer", "feature_norm", "--mutants")
    assert code == 0 and "no radial term" in output and "SURVIVED" not in output


def test_gradcheck_refuses_what_it_does_not_know(cli):
    refused(cli("gradcheck", "--layer", "nonsense"), "--layer 'nonsense' is unknown", "conv2d")
    refused(cli("gradcheck", "--seed", "-1"), "--seed")
    refused(cli("gradcheck", "--layer", "mlp", "--mutants"), "--layer 'mlp' has no mutants")


def test_a_result_of_many_classes_shows_the_best_and_the_worst(capsys):
    names = [f"class-{c}" for c in range(30)]
    accuracies = [c / 100 for c in range(29)] + [None]
    show_result({"accuracy": 0.1, "client_mean_accuracy": None, "test_loss": 1.0, "class_accuracy": accuracies},
                SimpleNamespace(class_names=names))
    shown = [line.split()[0] for line in capsys.readouterr().out.splitlines() if line.startswith("  ")]
    assert shown == [f"class-{c}" for c in (28, 27, 26, 25, 24, 4, 3, 2, 1, 0)]


def test_describe(cli):
    """The first rows of the released CNN, by hand: 28x28x64 outputs of 75 products, pooled to 14x14."""
    code, out, _ = cli("describe", "--norm", "bn", "--norm-affine", "learnable")
    rows = [[cell.strip() for cell in line.split("|")[1:-1]] for line in out.splitlines() if line.startswith("|")]
    assert code == 0 and rows[2] == ["conv1", "conv 5x5", "28x28x64", "4,800", f"{2 * 28 * 28 * 64 * 75 / 1e6:.3f}"]
    assert rows[3] == ["norm1", "relu, bn", "28x28x64", "128", "0.000"] and rows[4][2] == "14x14x64"
    norms = 2 * (64 + 64 + 384 + 192)
    assert f"{797_248 + norms:,} parameters" in out and f"{norms:,} running statistics" in out


def test_describe_takes_any_shape_and_refuses_what_does_not_fit(cli):
    assert "| 25088 " in cli("describe", "--model", "resnet18", "--image-shape", "224x224x3")[1]     # the paper's, for PACS
    for shape in ("32x32", "0x32x3", "axbxc"):
        refused(cli("describe", "--image-shape", shape), "--image-shape", repr(shape), "32x32x3")
    refused(cli("describe", "--image-shape", "8x8x3"), "--model cnn", "16x16", "8x8")


def write_run(path, accuracies, **settings):
    """A run directory with an evaluation in every tenth round."""
    path.mkdir()
    settings = {"data": "cifar10", "norm": "fn", "seed": 0} | settings
    (path / "config.json").write_text(json.dumps({"settings": settings, "partition": {}, "data": {}}))
    lines = [{"round": 10 * i + 10, "accuracy": a, "client_mean_accuracy": a} for i, a in enumerate(accuracies)]
    (path / "rounds.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    return path.name


@pytest.fixture
def runs(cli, tmp_path):
    """Three runs in the current folder, of which two differ in their seed only."""
    return [write_run(tmp_path / "fn0", [0.1, 0.2, 0.3]), write_run(tmp_path / "fn1", [0.2, 0.3, 0.4], seed=1),
            write_run(tmp_path / "plain", [0.1, 0.1, 0.1], norm="none")]


def test_compare_with_reach_and_curves(cli, runs):
    code, plain, _ = cli("compare", *runs)
    assert code == 0
    code, out, _ = cli("compare", *runs, "--reach", "20, 30", "--curves")
    table, reach, plot = out.split("\n\n")
    assert code == 0 and table + "\n" == plain
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in reach.splitlines()]
    assert rows[0] == ["run", "20 %", "20 %, mean of 5", "30 %", "30 %, mean of 5"]
    assert rows[2:] == [["fn0", "20", "-", "30", "-"], ["fn1", "10", "-", "20", "-"], ["plain", "-", "-", "-", "-"]]
    assert plot.splitlines()[0] == "test accuracy in %" and plot.isascii()
    assert plot.splitlines()[-4:] == ["  a  fn0", "  b  fn1", "  c  plain", "  *  several of them"]
    assert max(map(len, plot.splitlines())) <= 80
    assert cli("compare", *runs, "--reach", "20, 30", "--curves")[1] == out


def test_compare_means_with_reach_and_curves(cli, runs):
    _, reach, plot = cli("compare", "--mean", *runs, "--reach", "30", "--curves")[1].split("\n\n")
    assert [row.split("|")[6:7] for row in reach.splitlines()[2:]] == [[" 25 (2/2) "], [" - (0/1)  "]]
    assert "  a  norm fn (2 runs)\n  b  norm none (1 run)" in plot


def test_compare_refuses(cli, runs, tmp_path):
    refused(cli("compare", *runs, "--reach", "20,0"), "--reach 20,0", "at most 100")
    refused(cli("compare", *runs, "--reach", "20,,30"), "--reach")
    refused(cli("compare", "fn0", "./fn0", "--curves"), "fn0 is given more than once")
    pytest.importorskip("matplotlib")
    refused(cli("compare", *runs, "--figure", "x.pdf"), "x.pdf", ".png and .svg")
    refused(cli("compare", *runs, "--figure", ""), "--figure")
    assert {file.name for file in tmp_path.iterdir()} == set(runs)


def test_compare_draws(cli, runs, tmp_path):
    pytest.importorskip("matplotlib")
    code, out, _ = cli("compare", "--mean", *runs, "--figure", "pictures/x")
    assert code == 0 and out.endswith("\n\nWritten to pictures/x.png, pictures/x.svg.\n")
    assert (tmp_path / "pictures" / "x.svg").exists()


def test_plot_of_a_run(cli, small, tmp_path):
    pytest.importorskip("matplotlib")
    assert cli("train", *small, "--out", "lr0.05", "--diagnose")[0] == 0
    before = {file: file.read_bytes() for file in (tmp_path / "lr0.05").iterdir()}
    code, out, errors = cli("plot", "lr0.05", "--client", "3")
    assert code == 0, errors
    assert out.split()[2:] == [f"plots/{name}{suffix}" for name in ("diagnostics-lr0.05", "local-lr0.05-client3")
                               for suffix in (".png,", ".svg,")][:-1] + ["plots/local-lr0.05-client3.svg."]
    assert {file.name for file in (tmp_path / "plots").iterdir()} == {
        f"{name}.{suffix}" for name in ("diagnostics-lr0.05", "local-lr0.05-client3") for suffix in ("png", "svg")}
    assert {file: file.read_bytes() for file in (tmp_path / "lr0.05").iterdir()} == before


def test_plot_refuses(cli, runs, tmp_path):
    refused(cli("plot", *runs), "fn0/diagnostics.jsonl does not exist", "--diagnose")
    refused(cli("plot", "nowhere"), "nowhere is not a run directory")
    refused(cli("plot", "fn0", "--out", "fn1"), "--out fn1 is a run directory")
    refused(cli("plot", "fn0", "--client", "-1"), "--client")
    assert {file.name for file in tmp_path.iterdir()} == set(runs)


def test_the_command_line_does_not_wait_for_plots():
    names = subprocess.run([sys.executable, "-c", "import sys, minifl.cli; print(*sys.modules)"], capture_output=True,
                           text=True, check=True).stdout.split()
    assert "minifl.commands.looking" in names
    assert [name for name in names if name.startswith(("matplotlib", "minifl.runs.plots"))] == []
