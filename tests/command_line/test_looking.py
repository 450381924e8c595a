"""Commands and output that only show: gradcheck, describe, help, results."""

import sys
from pathlib import Path
from types import SimpleNamespace

sys.path.insert(0, str(Path(__file__).resolve().parent))

from refusing import refused   # noqa: E402

from minifl.commands.display import show_result   # noqa: E402


def test_help_shows_the_defaults_of_the_data_sets(cli):
    text = " ".join(cli("train", "--help")[1].split())
    assert "[default: 0.01; pacs 0.001; embedded 0.05]" in text
    assert "[default: no; pacs yes]" in text
    assert "[default: crop-flip; pacs resized-crop; mnist crop]" in text
    assert "[default: oneclass; cifar100 nclass; tinyimagenet dirichlet; pacs disjoint; your own dirichlet]" in text


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
    assert "| 25088 " in cli("describe", "--model", "resnet18", "--image-shape", "224x224x3")[1]     # PAPER section 3
    for shape in ("32x32", "0x32x3", "axbxc"):
        refused(cli("describe", "--image-shape", shape), "--image-shape", repr(shape), "32x32x3")
    refused(cli("describe", "--image-shape", "8x8x3"), "--model cnn", "16x16", "8x8")
