"""A norm and a network in files of one's own: trained, resumed, tested, gradient-checked; what is wrong is said."""

import sys
from pathlib import Path

import numpy as np
import pytest

from owning import bits

from minifl import own
from minifl.errors import InputError
from minifl.models import MODELS, Arrangement, build
from minifl.models.norms import KINDS, NORMS
from minifl.runs.settings import settings_for

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
NORM, MODEL = f"{EXAMPLES / 'power_norm.py'}:power_norm", f"{EXAMPLES / 'two_branches.py'}:TwoBranches"
OURS = """from minifl.layers.norm import mv_norm as mine, mv_norm_backward, affine, affine_backward

def norm(x):
    return mine(x)

def norm_backward(dy, cache):
    return mv_norm_backward(dy, cache)

def with_gain(x, gain, bias):
    y, cache = mine(x)
    y, behind = affine(y, gain, bias)
    return y, (cache, behind)

def with_gain_backward(dy, cache):
    dy, dgain, dbias = affine_backward(dy, cache[1])
    return mv_norm_backward(dy, cache[0]), dgain, dbias
"""


def test_the_examples_train_resume_and_are_tested_again(run, data_dir):
    named = ("--norm", NORM, "--model", MODEL)
    run("train", *named, "--out", "whole", "--rounds", "3")
    run("train", *named, "--out", "part", "--rounds", "2", "--norm-affine", "static")
    run("train", "--resume", "part", *named, "--rounds", "3", "--data-dir", data_dir, "--device", "cpu")
    assert bits("part") == bits("whole") and set(bits("whole")) == {"gate.weight", "value.weight", "classifier.weight"}
    run("eval", "whole", *named, "--data-dir", data_dir)
    assert f"add --norm {NORM}" in run("eval", "whole", "--model", MODEL, "--data-dir", data_dir, code=2)
    assert "power_norm" in run("describe", *named) and "gate times value" in run("describe", *named)


def test_the_examples_are_gradient_checked(run):
    assert "1 layer: all good." in run("gradcheck", str(EXAMPLES / "power_norm.py"))
    assert "1 network with 6,174 parameters: all good." in run("gradcheck", MODEL)


def test_a_wrong_backward_is_caught(run):
    text = (EXAMPLES / "two_branches.py").read_text()
    Path("net.py").write_text(text.replace("sigmoid_backward(b * d, opened)", "sigmoid_backward(d, opened)"))
    assert "FAILED" in run("gradcheck", "net.py:TwoBranches", code=1)
    text = (EXAMPLES / "power_norm.py").read_text()
    Path("norm.py").write_text(text.replace("y * y * y * np.mean", "y * np.mean"))
    assert "the backward pass is wrong" in run("gradcheck", "norm.py:power_norm", code=1)


def test_a_norm_of_ones_own_that_is_ours_gives_the_same_bits(run):
    """Behind it stands the gain and bias of every norm, or it has its own; everywhere, or where it says."""
    Path("mine.py").write_text(OURS)
    Path("last.py").write_text(OURS + 'where = {"norm": ("last", "branch")}\n')
    for name, norm, *more in (("ln", "ln"), ("norm", "mine.py:norm"), ("learnable", "ln", "--norm-affine", "learnable"),
                              ("gain", "mine.py:with_gain", "--norm-affine", "learnable"), ("last", "last.py:norm")):
        run("train", "--norm", norm, *more, "--out", name)
    assert bits("ln") == bits("norm") != bits("last") and bits("learnable") == bits("gain")
    assert "has a gain and a bias of its own; choose --norm-affine learnable" in run(
        "train", "--norm", "mine.py:with_gain", "--out", "x", code=2)


def test_where_it_stands(cli):
    Path("mine.py").write_text(OURS + 'where = {"norm": ("branch",)}\n')
    norm = NORMS[own.named("norm", "mine.py:norm")]
    assert norm.main == norm.last == "identity" and KINDS[norm.branch].backward.__name__ == "norm_backward"
    rows = {row.name: row.what for row in build("resnet8", 10, (32, 32, 3), Arrangement("mine.py:norm")).plan}
    assert rows["stage1.block1.norm1"] == "relu, norm" and rows["stem.norm"] == "relu"


def test_objects_of_the_python_interface(cli):
    Path("mine.py").write_text(OURS)
    sys.path.insert(0, str(Path.cwd()))
    try:
        import mine
        settings = settings_for("cifar10", {"norm": mine.norm, "model": MODELS["mlp"].network})
        assert settings.norm.endswith("mine.py:norm") and settings.network(10, (4, 4, 1)).spec.size == 16 * 200 + 200 * 210
        with pytest.raises(InputError, match="no function alone_backward"):
            mine.alone = lambda x: x
            mine.alone.__name__ = "alone"
            own.handed("norm", mine.alone)
    finally:
        sys.path.pop(0)
        del sys.modules["mine"]


PAIR = "def f(x):\n    return {}, x\n\ndef f_backward(dy, cache):\n    return {}\n"
WRONG_NORMS = {
    "f = 3": "is int; it must be a function",
    "def f(x): return x, None": "has no function f_backward(dy, cache), which returns dL/dx",
    "def f(x): return x\ndef f_backward(dy, cache): return dy": "returns ndarray; it must return y, cache",
    PAIR.format("x.sum()", "dy"): "y is float32 () for x float32 (2, 3, 4, 4, 6); it must be float32 (2, 3, 4, 4, 6)",
    PAIR.format("x.astype(float)", "dy"): "y is float64",
    PAIR.format("x", "dy[:1]"): "dx of f_backward is float32 (1, 3, 4, 4, 6)",
    PAIR.format("x", "dy, dy"): "f_backward returns 2 arrays; it must return dx",
    PAIR.format("x - x.mean(axis=1, keepdims=True)", "dy"): "must take each alone",
    PAIR.format("x * y", "dy"): "raises NameError (name 'y' is not defined), line 2",
    PAIR.format("x", "dy") + 'where = {"f": ("first",)}': "must be some of main, last, branch",
}


@pytest.mark.parametrize("text", WRONG_NORMS)
def test_what_is_wrong_with_a_norm_is_said(text, run):
    Path("x.py").write_text(text)
    said = run("check", "--norm", "x.py:f", code=2)
    assert said.count("\n") <= 5 and WRONG_NORMS[text] in " ".join(said.split())


NET = (EXAMPLES / "two_branches.py").read_text()
WRONG_MODELS = {
    "class TwoBranches: pass": "is not made from minifl.models.network.Network",
    NET.replace("def backward", "def back"): "backward",
    NET.replace("@dataclass(frozen=True)\n", ""): "is no dataclass with the fields num_classes, image_shape and arrangement",
    NET.replace("return logits, (gate", "return logits[:, :1], (gate"): "forward returns logits (1, 1, 3) for 1 client, 2 images",
    NET.replace('g, "gate")', '{}, "gate")'): "the gradient of gate.weight is missing in what backward returns",
    NET.replace("return g", 'return g | {"gate.weight": g["gate.weight"][:, :1]}'): "the gradient of gate.weight has the shape",
}


@pytest.mark.parametrize("text", WRONG_MODELS)
def test_what_is_wrong_with_a_network_is_said(text, run):
    Path("x.py").write_text(text)
    assert WRONG_MODELS[text] in " ".join(run("check", "--model", "x.py:TwoBranches", code=2).split())


def test_widths(as_before):
    own.named("model", MODEL)
    assert build(MODEL, 3, (8, 8, 1), width=0.5).hidden == 32
    with pytest.raises(InputError, match="--norm in needs maps, and --model twobranches has vectors only"):
        np.zeros(build(MODEL, 3, (8, 8, 1), Arrangement("in")).spec.size)
