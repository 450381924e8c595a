"""`gradcheck FILE.py[:name]`: the layers of a file that a user names."""

import os
import sys

import pytest

from refusing import refused

FILE = """
import numpy as np
from minifl.gradcheck import from_object

def scale(x, gain):
    return x * gain, (x, gain)

def scale_backward(dy, cache):
    x, gain = cache
    return dy * gain, (dy * x).sum(axis=0)

def pick_forward(W, ids):
    return W[ids], (ids, W)

def pick_backward(dy, cache):
    dW = np.zeros_like(cache[1])
    np.add.at(dW, cache[0], dy)
    return dW

class Linear:
    def __init__(self, W):
        self.W = W

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T

linear, linear_backward = from_object(Linear, "W")

shapes = {
    "scale": {"x": "N D", "gain": "D"},
    "pick": lambda rng: {"W": rng.standard_normal((4, 2)), "ids": rng.integers(0, 4, (2, 3))},
    "linear": {"x": "N D", "W": "D M"},
}
"""


@pytest.fixture
def layers(cli, tmp_path):
    """Call gradcheck on a file with this text, or a part of it."""
    def call(text=FILE, name="", *options):
        (tmp_path / "mylayers.py").write_text(text)
        return cli("gradcheck", f"mylayers.py{name}", *options)
    return call


def changed(old, new):
    assert FILE.count(old) == 1
    return FILE.replace(old, new)


def test_right_layers(layers):
    code, output, error = layers()
    assert code == 0 and error == "" and output.splitlines()[-1] == "3 layers: all good."
    assert [line.split(":")[0] for line in output.splitlines()] == ["scale", "pick", "linear", "3 layers"]


def test_a_wrong_layer_and_one_that_was_named(layers, tmp_path):
    wrong = changed("(dy * x).sum(axis=0)", "(dy * x).mean(axis=0)")
    code, output, _ = layers(wrong)
    assert code == 1 and "scale: the backward pass is wrong" in output and "3 layers: 1 FAILED." in output
    assert "divided by N once too often" in output and "(the clients)" not in output
    code, output, _ = layers(wrong, ":pick")
    assert code == 0 and output.splitlines()[-1] == "1 layer: all good."
    assert not list(tmp_path.rglob("__pycache__"))


def test_code_that_raises_is_shown_with_its_line(layers):
    code, output, _ = layers(changed("return x * gain, (x, gain)", "return x * gain.missing, (x, gain)"), ":scale")
    assert code == 1 and "scale: forward raises an error" in output and "'missing'" in output
    assert "line 6, in scale" in output and "return x * gain.missing" in output and "backward raises" not in output
    code, output, _ = layers(changed("return dy * gain, (dy", "return dy * gain.missing, (dy"), ":scale")
    assert code == 1 and "scale: backward raises an error" in output and "line 10, in scale_backward" in output


@pytest.mark.parametrize("text, name, words", [
    (FILE.replace('    "scale": {"x": "N D", "gain": "D"},\n', ""), "",
     ["the module has the pair scale and scale_backward", "no shapes", 'shapes = {"scale": {"x": "K N D", ...}}']),
    (FILE.replace("def pick_backward", "def pick_vjp"), "", ["no function pick_backward", "pair pick (or pick_forward)"]),
    (FILE, ":scales", ["no function scales", "Its layers are scale, pick, linear."]),
    ("import numpy\n", "", ["has no layer", "name_backward"]),
    ("class Relu:\n    def backward(self):\n        pass\n", "", ["from_object(Relu"]),
    ("import numpy\n\ndef f(:\n", "", ["mylayers.py cannot be run: it raises SyntaxError", "line 3: def f(:"]),
    ("import numpy\n\nx = 1 / 0\n", "", ["ZeroDivisionError (division by zero), line 3: x = 1 / 0"]),
    ("import sys\nsys.exit()\n", "", ["SystemExit", "line 2"]),
    ("import nothing_of_that_name\n", "", ["No module named 'nothing_of_that_name'", "line 1"]),
    ("x = '\0'", "", ["mylayers.py cannot be run"]),
    (FILE + "shapes = [1]\n", "", ["shapes in mylayers.py is list", "dictionary"]),
    (FILE.replace('"N D", "gain"', '"N-D", "gain"'), ":scale", ["mylayers.py, scale: shape 'N-D'", "letters"]),
    (FILE.replace('{"x": "N D", "gain": "D"}', "3"), ":scale", ["mylayers.py, scale: the shapes are 3"]),
    (FILE.replace("rng.integers(0, 4, (2, 3))", "rng.nothing()"), ":pick", ["drawing its inputs raises AttributeError", "line"]),
    (changed('lambda rng: {"W": rng.standard_normal((4, 2)), "ids": rng.integers(0, 4, (2, 3))}', "lambda rng: []"), ":pick",
     ["returned list", "name -> array"]),
])
def test_what_is_missing_or_cannot_be_read(layers, text, name, words):
    refused(layers(text, name), *words)


def test_nothing_compared_is_no_pass(layers):
    code, output, _ = layers("def zero(x):\n    return x * 0, x\n\ndef zero_backward(dy, x):\n    return dy * 0\n\n"
                             "shapes = {'zero': {'x': 'N'}}\n")
    assert code == 2 and "nothing was compared" in output and "1 NOT COMPARED" in output


def test_what_is_no_file(cli, tmp_path):
    refused(cli("gradcheck", "gone.py"), "gone.py cannot be read (No such file or directory)")
    refused(cli("gradcheck", str(tmp_path)), "should be a Python file, FILE.py")
    (tmp_path / "folder.py").mkdir()
    refused(cli("gradcheck", "folder.py"), "folder.py cannot be read (Is a directory)")
    os.mkfifo(tmp_path / "pipe.py")
    refused(cli("gradcheck", "pipe.py"), "pipe.py cannot be read (it is a named pipe")
    (tmp_path / "mylayers.py").write_text(FILE)
    refused(cli("gradcheck", "mylayers.py", "--mutants"), "no options but --seed and --budget")
    refused(cli("gradcheck", "--budget", 3), "--budget is for the layers of a file")
    refused(cli("gradcheck", "mylayers.py", "--budget", 0), "--budget")
    refused(cli("gradcheck", "mylayers.py:a:b"), "FILE.py:name")


def test_a_file_beside_it_can_be_imported_and_nothing_else_changes(layers, tmp_path):
    (tmp_path / "beside_mylayers.py").write_text("def scale(x):\n    return x * 2, None\n")
    code, output, _ = layers("from beside_mylayers import scale\n\ndef scale_backward(dy, cache):\n    return dy * 2\n\n"
                             "shapes = {'scale': {'x': 'N'}}\n")
    assert code == 0 and "examples, all right" in output


def test_without_hypothesis(layers, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "hypothesis"]:
        monkeypatch.setitem(sys.modules, name, None)
    for name in ("sweeps", "strategies", "modules"):        # which may have been imported with it
        monkeypatch.delitem(sys.modules, f"minifl.gradcheck.{name}", raising=False)
        monkeypatch.delattr(f"minifl.gradcheck.{name}", raising=False)
    refused(layers(), "hypothesis", "pip install 'minifl[test]'")
