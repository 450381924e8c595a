"""Gradient cases as a user runs them: a module and a test of three lines in a folder of their own."""

import subprocess
import sys
from types import ModuleType

import pytest

from minifl.errors import InputError
from minifl.gradcheck import from_loss, from_object, modules
from minifl.gradcheck.pytest import gradient_cases, layer

MODULE = """
import numpy as np

def scaled_swish(x, gain):
    s = 1 / (1 + np.exp(-x))
    return gain[:, None] * x * s, (x, gain, s)

def scaled_swish_backward(dy, cache):
    x, gain, s = cache
    return dy * gain[:, None] * (s + x * s * (1 - s)), (dy * x * s).sum(axis=1)

def pick(x, labels, *, power=1):
    picked = np.take_along_axis(x, labels[:, :, None], axis=2)[:, :, 0]
    return picked ** power, (x.shape, labels, picked, power)

def pick_backward(dy, cache):
    shape, labels, picked, power = cache
    dx = np.zeros(shape, dtype=dy.dtype)
    np.put_along_axis(dx, labels[:, :, None], (dy * power * picked ** (power - 1))[:, :, None], axis=2)
    return dx
"""
TEST = """
import mylayers
from minifl.gradcheck.pytest import gradient_cases, layer
test_gradients = gradient_cases(mylayers, scaled_swish={"x": "K N D", "gain": "K D"},
                                pick=layer({"x": "K N C", "labels": "K N"}, power=3, values={
                                    "labels": lambda rng, s: rng.integers(0, s["C"], (s["K"], s["N"]))}))
"""


def run(folder, module=MODULE, test=TEST):
    """(exit code, output) of pytest on a module and its test."""
    (folder / "mylayers.py").write_text(module)
    (folder / "test_mylayers.py").write_text(test)
    done = subprocess.run([sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider"], cwd=folder, text=True,
                          capture_output=True, timeout=120)
    return done.returncode, done.stdout


def broken(old, new):
    assert MODULE.count(old) == 1
    return MODULE.replace(old, new)


def test_right_layers_pass_a_case_each(tmp_path):
    code, output = run(tmp_path)
    assert code == 0 and "2 passed" in output
    assert "test_gradients[scaled_swish]" in output and "test_gradients[pick]" in output


def test_a_missing_term_fails_with_table_and_hint_and_no_traceback(tmp_path):
    code, output = run(tmp_path, broken("(s + x * s * (1 - s))", "s"))
    assert code == 1 and "1 failed, 1 passed" in output
    assert "mylayers.scaled_swish: the backward pass is wrong" in output and "42 examples, 42 of them wrong" in output
    assert "worst at" in output and "is a term missing" in output
    assert "Traceback" not in output and "def test" not in output and "wrong only for" not in output


def test_wrong_for_several_clients_only(tmp_path):
    code, output = run(tmp_path, broken("(dy * x * s).sum(axis=1)", "0 * gain + (dy * x * s).sum(axis=(0, 1))"))
    assert code == 1 and "wrong only for K > 1\n" in output and "gain: summed over axis 0\n" in output


def test_what_is_missing_is_a_failing_case_each(tmp_path):
    module = MODULE + "\ndef alone_backward(dy, cache):\n    return dy\n\ndef forgotten(x):\n    return x, None\n" \
        "\ndef forgotten_backward(dy, cache):\n    return dy\n\ndef _hidden_backward(dy, cache):\n    return dy\n"
    test = TEST.replace("gradient_cases(mylayers, ", 'gradient_cases(mylayers, gone={"x": "K"}, alone={"x": "K"}, ')
    code, output = run(tmp_path, module, test)
    assert code == 1 and "3 failed, 2 passed" in output
    assert "mylayers.alone: the module has no function alone;" in output
    assert "mylayers.gone: the module has no function gone and no function gone_backward" in output
    assert "mylayers.forgotten: the module has the pair forgotten and forgotten_backward, and no shapes" in output


@pytest.mark.parametrize("module, test, message", [
    ("", "gradient_cases(mylayers)", "so nothing is checked"),
    (MODULE, 'gradient_cases(mylayers, pick=layer({"x": "K-N"}), scaled_swish={"x": "K N D", "gain": "K D"})',
     "letters and whole numbers"),
    (MODULE + "\nfrom minifl.layers.norm import shift, shift_backward\n",
     'gradient_cases(mylayers, pick=layer({"x": "K N 1", "labels": "K N"}, values={"labels": lambda rng, s: '
     'rng.integers(0, 1, (s["K"], s["N"]))}), scaled_swish={"x": "K N D", "gain": "K D"}, shift={"x": "K N 1"})',
     "nothing was compared in any example")])
def test_cases_that_cannot_be_checked_fail_with_a_sentence(tmp_path, module, test, message):
    code, output = run(tmp_path, module, f"import mylayers\nfrom minifl.gradcheck.pytest import gradient_cases, layer\n"
                                         f"test_gradients = {test}\n")
    assert code == 1 and message in output and "1 failed" in output and "Traceback" not in output


def test_options_for_all_layers_and_of_one():
    """Without a subprocess: which options reach the sweep."""
    module = ModuleType("mine")
    exec(MODULE, module.__dict__)
    seen = []
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(modules, "sweep", lambda *arguments, **options: seen.append(options) or right)
        right = type("Right", (), {"passed": True})()
        test = gradient_cases(module, fixed=("labels",), examples=7, values={"labels": lambda rng, s: None}, pick={
            "x": "K N C", "labels": "K N"}, scaled_swish=layer({"x": "K N D", "gain": "K D"}, examples=3,
                                                               fixed=("gain",), instrument="central"))
        test("pick")
        test("scaled_swish")
    assert seen == [{"fixed": ("labels",), "examples": 7, "seed": 0},
                    {"fixed": ("gain",), "examples": 3, "seed": 0, "instrument": "central"}]


def square_forward(x):
    return x * x, x


def square_backward(dy, x):
    return 2 * x * dy


def half_backward(dy, x):
    return x * dy


def failure(test, name):
    """What a case says when it fails, "" if it passes."""
    try:
        test(name)
    except pytest.fail.Exception as failed:
        return str(failed)
    return ""


def test_name_forward_and_a_dictionary_of_pairs():
    module = ModuleType("mine")
    module.square_forward, module.square_backward, module.half_forward = square_forward, square_backward, square_forward
    module.half_backward = half_backward
    for function in (square_forward, square_backward, half_backward):
        function.__module__ = "mine"
    pairs = {"square": (square_forward, square_backward), "half": (square_forward, half_backward)}
    for given, title in ((module, "mine"), (pairs, "layers")):
        test = gradient_cases(given, examples=5, square={"x": "N"}, half={"x": "N"}, gone={"x": "N"})
        assert test.pytestmark[0].args[1] == ["square", "half", "gone"]
        assert failure(test, "square") == ""
        assert failure(test, "half").startswith(f"{title}.half: the backward pass is wrong")
        assert "no function gone and no function gone_backward" in failure(test, "gone")
        assert "square_forward and square_backward, and no shapes" in failure(gradient_cases(given), "square")
    with pytest.raises(InputError, match="square is function; it should be a pair"):
        gradient_cases({"square": square_forward}, square={"x": "N"})


def test_pairs_that_adapters_made_are_the_modules_own():
    module = ModuleType("mine")
    module.loss, module.loss_backward = from_loss(lambda x: ((x * x).sum(), 2 * x))
    module.layer, module.layer_backward = from_object(object)
    assert gradient_cases(module).pytestmark[0].args[1] == ["loss", "layer"]


def test_code_that_raises_is_shown_with_its_line_and_not_called_wrong(tmp_path):
    code, output = run(tmp_path, broken("return gain[:, None] * x * s,", "return gain[:, None] * x.missing,"))
    assert code == 1 and "mylayers.scaled_swish: forward raises an error" in output and "1 failed, 1 passed" in output
    assert "line 6, in scaled_swish" in output and "return gain[:, None] * x.missing" in output
    assert "the backward pass is wrong" not in output and "backward raises" not in output
    code, output = run(tmp_path, broken("x, gain, s = cache", "x, gain = cache"))
    assert "mylayers.scaled_swish: backward raises an error" in output and "line 9, in scaled_swish_backward" in output
