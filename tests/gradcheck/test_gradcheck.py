"""The gradient checks themselves: they pass, they are complete, and they fail when they should."""

import sys
from collections import Counter
from dataclasses import replace
from types import FunctionType

import numpy as np
import pytest

import minifl.layers
from minifl.cli import main
from minifl.gradcheck import checks, report
from minifl.gradcheck.cases import CASES, Case, normal
from minifl.gradcheck.checks import Result, closed_form_jacobians
from minifl.gradcheck.instruments import (COMPLEX_TOLERANCE, EXTRAPOLATED_TOLERANCE, WIDE_STEP, block_error,
                                          central_difference, complex_step, extrapolated_difference, jacobian,
                                          same_branches)
from minifl.gradcheck.mutants import MUTANTS, Mutant, caught
from minifl.gradcheck.networks import networks
from minifl.layers import norm
from minifl.layers.activations import leaky_relu, relu
from minifl.layers.pool import max_pool2d
from minifl.models import CNN, MLP, ResNet
from minifl.models.arrangement import ACTIVATIONS, HEADS
from minifl.models.norms import KINDS, NORMS

LAYERS = {case.layer for case in CASES}


# ---- everything passes

@pytest.fixture(scope="module")
def results():
    """All layers and the quick part of the networks; `cli.py gradcheck` runs the others, in CI, too."""
    return list(checks.run(seed=0, quick=True))


def test_everything_passes(results):
    assert [(r.name, r.instrument, r.block, r.error) for r in results if not r.passed] == []
    assert checks.failed(results) == []
    assert all(0 <= r.error <= COMPLEX_TOLERANCE for r in results if r.instrument not in ("central", "symmetry"))


def test_the_layers_pass_with_another_seed():
    assert checks.failed([*checks.check_layers(1), *checks.check_jacobians(1)]) == []


def test_every_layer_and_network_meets_its_instruments(results):
    instruments = {}
    for r in results:
        instruments.setdefault(r.name, []).append(r.instrument)
    for case in CASES:
        found = instruments.pop(f"{case.layer}: {case.what}")
        assert found[:7] == ["complex step", "central", "bits", "cache", "linear", "layout", "adjoint"]
        assert found[7:] in (["elsewhere"], ["elsewhere", "symmetry"])
    for name, model in networks(quick=True).items():
        evaluation = ["evaluation"] if model.statistics.size else []
        assert instruments.pop(name) == ["complex step", "adjoint@0", "adjoint@20", *evaluation]
    closed = {name.split(":")[0].split(",")[0] for name in instruments}
    assert closed == {"shift", "feature_norm", "mv_norm", "rms_norm", "group_norm", "instance_norm", "layer_norm",
                      "batch_norm"}
    assert set(map(tuple, instruments.values())) == {("Jacobian",)}


@pytest.mark.parametrize("kind", [CNN, ResNet])
@pytest.mark.parametrize("norm", NORMS)
def test_every_arrangement_is_among_the_networks(kind, norm):
    arrangements = [model.arrangement for model in networks().values()
                    if isinstance(model, kind) and model.arrangement.norm == norm]
    if kind is CNN and "inside" in norm:
        assert not arrangements
        return
    assert {a.position for a in arrangements} == {"after", "before"}
    assert {a.learnable for a in arrangements} == {True, False}
    assert {a.bias for a in arrangements} >= ({"none", "all"} if norm in ("in", "bn") else {"none", "hidden", "all"})
    assert {a.activation for a in arrangements} >= {"relu", "leaky-relu"}


def test_every_activation_and_head_is_among_the_networks():
    for chosen in (networks(), networks(quick=True)):
        arrangements = [model.arrangement for model in chosen.values()]
        assert {a.activation for a in arrangements} == set(ACTIVATIONS)
        assert {a.head for a in arrangements} == set(HEADS)
        assert {a.standardize for a in arrangements} == {True, False}


def test_the_quick_networks_are_a_part_of_all_and_meet_every_norm():
    everything, quick = networks(), networks(quick=True)
    assert set(quick) < set(everything) and len(quick) < 0.6 * len(everything)
    assert all(everything[name] == model for name, model in quick.items())
    for kind in (CNN, MLP, ResNet):
        norms = [{model.arrangement.norm for model in chosen.values() if isinstance(model, kind)}
                 for chosen in (everything, quick)]
        assert norms[0] == norms[1]


def test_evaluation_mode_is_an_instrument_of_its_own(monkeypatch):
    """A wrong backward of fixed statistics is seen in evaluation mode, and only there."""
    right = KINDS["bn"]
    wrong = right._replace(evaluated=(right.evaluated[0], lambda dy, cache: dy / (cache * cache)))
    monkeypatch.setitem(KINDS, "bn", wrong)
    found = list(checks.check_networks(0, "mlp: bn"))
    assert [r.instrument for r in checks.failed(found)] == ["evaluation"] and len(found) == 4


def test_every_layer_is_checked_with_several_clients_and_examples():
    for layer in LAYERS:
        shapes = [next(iter(case.draw(np.random.default_rng(0)).values())).shape for case in CASES
                  if case.layer == layer]
        assert any(shape[0] > 1 and shape[1] > 1 for shape in shapes), layer


# ---- the registry is complete

def test_every_backward_is_registered():
    assert checks.unregistered() == []


def function_named(name, module):
    function = FunctionType((lambda dy, cache: dy).__code__, {}, name)
    function.__module__ = module.__name__
    return function


def test_a_new_backward_in_a_layer_module_is_noticed(monkeypatch):
    monkeypatch.setattr(norm, "foo_backward", function_named("foo_backward", norm), raising=False)
    assert checks.unregistered() == ["foo_backward"]


def test_a_new_layer_module_is_noticed(monkeypatch, tmp_path):
    (tmp_path / "extra.py").write_text("def bar_backward(dy, cache):\n    return dy\n")
    monkeypatch.setattr(minifl.layers, "__path__", [*minifl.layers.__path__, str(tmp_path)])
    try:
        assert checks.unregistered() == ["bar_backward"]
    finally:
        sys.modules.pop("minifl.layers.extra", None)
        vars(minifl.layers).pop("extra", None)


@pytest.mark.parametrize("layer", sorted(LAYERS))
def test_a_layer_without_a_case_is_noticed(monkeypatch, layer):
    monkeypatch.setattr(checks, "CASES", tuple(case for case in CASES if case.layer != layer))
    assert checks.unregistered() == [f"{layer}_backward"]


# ---- mutants

@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: f"{mutant.layer}: {mutant.mistake}")
def test_the_complex_step_catches_every_mutant(mutant):
    by = caught(mutant)
    assert "complex step" in by
    assert mutant.module is not None or {"central", "adjoint"} <= set(by)


# a reshape: there is little to do wrong
ONE_MUTANT = {"flatten"}


def test_every_layer_has_mutants():
    count = Counter(mutant.layer for mutant in MUTANTS if mutant.module is None)
    assert set(count) == LAYERS
    assert {layer for layer in LAYERS if count[layer] < 2} == ONE_MUTANT
    assert len({(mutant.layer, mutant.mistake) for mutant in MUTANTS}) == len(MUTANTS)
    assert {mutant.layer for mutant in MUTANTS if mutant.module is not None} <= set(networks())


def test_a_right_backward_is_not_caught():
    for case in {case.layer: case for case in CASES}.values():
        assert caught(Mutant(case.layer, "none at all", case.backward)) == []


def test_a_backward_that_raises_is_an_error_and_not_a_finding():
    def broken(dy, cache):
        raise ValueError

    assert caught(Mutant("shift", "raises", broken)) == ["error"]


# ---- failures reach the exit code

def gradcheck(*arguments):
    with pytest.raises(SystemExit) as exit_:
        main(["gradcheck", *arguments])
    return exit_.value.code


def wrong_shift_backward(dy, cache):
    return dy * 1.000001


wrong_shift_backward.__name__ = "shift_backward"


def test_a_wrong_backward_gives_exit_code_1(monkeypatch, capsys):
    assert gradcheck("--layer", "shift") == 0
    assert "all good" in capsys.readouterr().out
    monkeypatch.setattr(checks, "CASES", tuple(replace(case, backward=wrong_shift_backward)
                                               if case.layer == "shift" else case for case in CASES))
    assert gradcheck("--layer", "shift") == 1
    output = capsys.readouterr().out
    assert "FAILED complex step, block x" in output and "central, block x" in output and "2 FAILED" in output


def test_an_unregistered_backward_gives_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(norm, "foo_backward", function_named("foo_backward", norm), raising=False)
    assert gradcheck("--layer", "shift") == 1
    assert "foo_backward" in capsys.readouterr().out


def test_a_surviving_mutant_gives_exit_code_1(monkeypatch, capsys):
    monkeypatch.setattr(report, "MUTANTS", (Mutant("shift", "nothing wrong", norm.shift_backward),))
    assert gradcheck("--mutants") == 1
    output = capsys.readouterr().out
    assert "SURVIVED" in output and "1 FAILED" in output


def test_quick_runs_fewer_networks(capsys):
    counts = []
    for arguments in (("--layer", "cnn-table7"), ("--layer", "cnn-table7", "--quick")):
        assert gradcheck(*arguments) == 0
        counts.append(capsys.readouterr().out.count("adjoint@20"))
    assert counts == [2, 1]


def test_quick_is_not_for_mutants(capsys):
    assert gradcheck("--mutants", "--quick") == 2
    assert "--quick" in capsys.readouterr().err


def check(case):
    """Whether the two numeric instruments accept the case."""
    return [result.passed for result in checks.check_case(case, 0, 0)[:2]]


def test_a_vanishing_gradient_fails_though_the_backward_is_right():
    def nothing_backward(dy, cache):
        return dy * 0

    case = Case(nothing_backward, "constant", lambda x: (x * 0, None), normal(x=(2, 3)))
    assert check(case) == [False, False]
    assert check(replace(case, forward=lambda x: (x, None), backward=lambda dy, cache: dy)) == [True, True]


@pytest.mark.parametrize("returned", [
    lambda dy: None, lambda dy: dy[:1], lambda dy: dy * np.nan, lambda dy: dy * np.inf,
    lambda dy: dy * (1 + 2e-8),
])
def test_gradients_that_are_missing_misshapen_or_not_finite_fail(returned):
    assert check(Case(lambda dy, cache: returned(dy), "identity", lambda x: (x, None), normal(x=(2, 3)))) == \
        [False, False]


def test_a_gradient_that_one_of_two_inputs_misses_fails():
    def backward(dy, cache):
        return dy, None

    case = Case(backward, "sum", lambda x, z: (x + z, None), normal(x=(2, 3), z=(2, 3)))
    assert check(case) == [False, False]


def test_a_result_that_is_not_a_number_fails():
    result = Result("layer", "1", "complex step", np.nan, "x", 1e-12)
    assert not result.passed and checks.failed([result]) == [result]
    (text, good), = report.lines([result])
    assert not good and "FAILED" in text


# ---- the instruments

def test_block_error_by_hand():
    n = np.array([1.0, -4.0, 2.0])
    assert block_error(n, n) == 0
    assert block_error(np.array([1.0, -4.0, 3.0]), n) == 0.25           # 1/4
    assert block_error(np.array([1.0, -5.0, 2.0]), n) == 0.2            # the larger of the two: 1/5
    assert block_error(np.zeros(3), n) == 1
    assert block_error(-n, n) == 2
    assert block_error(n, np.zeros(3)) == np.inf                        # the true gradient vanishes
    assert block_error(n[:2], n) == np.inf
    assert block_error(n[None], n) == np.inf
    assert block_error(None, n) == np.inf
    assert block_error(np.array([1.0, np.nan, 2.0]), n) == np.inf
    assert block_error(np.array([1.0, np.inf, 2.0]), n) == np.inf


def test_accuracy_of_the_two_numeric_instruments():
    # f = exp(x) sin(x), f' = exp(x)(sin(x) + cos(x)): rounding against truncation h² f'''/6 and rounding/h
    x, v = np.linspace(0.1, 3, 30).reshape(5, 6), np.random.default_rng(0).standard_normal((5, 6))
    f = (lambda x: (np.exp(x) * np.sin(x), None)), {"x": x}, v, ["x"]
    true = v * np.exp(x) * (np.sin(x) + np.cos(x))
    exact, central = block_error(true, complex_step(*f)["x"]), block_error(true, central_difference(*f)["x"])
    values, errors = (found["x"] for found in extrapolated_difference(*f))
    assert exact < 1e-15
    assert 1e-12 < central < 1e-8
    assert block_error(true, values) < 1e-11 < EXTRAPOLATED_TOLERANCE
    assert (np.abs(values - true) <= errors).all() and errors.max() < 1e-8 * np.abs(true).max()


def test_only_wanted_inputs_are_differentiated():
    inputs = {"x": np.array([2.0, 3.0]), "power": np.array([2, 3])}
    for differentiate in (complex_step, central_difference):
        gradients = differentiate(lambda x, power: (x**power, None), inputs, np.array([1.0, 10.0]), ["x"])
        assert list(gradients) == ["x"]
        np.testing.assert_allclose(gradients["x"], [4.0, 270.0], rtol=1e-8)


@pytest.mark.parametrize("x, f", [
    (np.array([[[-2.0, 0.4 * WIDE_STEP, 1.0]]]), relu),
    (np.array([[[-2.0, -0.4 * WIDE_STEP, 1.0]]]), leaky_relu),
    (np.array([3.0, 3.0 + 0.4 * WIDE_STEP, 0.0, 1.0]).reshape(1, 1, 2, 2, 1), max_pool2d),
    (np.array([[[1.0, 0.0]]]), lambda x: norm.feature_norm(x, eps=1 + 0.4 * WIDE_STEP)),
])
@pytest.mark.parametrize("shown", [True, False], ids=["branches in the cache", "a cache that tells nothing"])
def test_extrapolated_differences_step_back_from_a_kink(x, f, shown):
    def forward(x):
        y, cache = f(x)
        return y, cache if shown else None

    arguments = {"x": x}, np.ones(f(x)[0].shape), ["x"]
    np.testing.assert_allclose(extrapolated_difference(forward, *arguments)[0]["x"], complex_step(f, *arguments)["x"],
                               atol=1e-8)


def test_on_a_kink_extrapolated_differences_know_nothing_or_the_mean():
    arguments = {"x": np.array([[[1.0, 0.0]]])}, np.ones((1, 1, 2)), ["x"]
    values, errors = extrapolated_difference(relu, *arguments)
    assert abs(values["x"][0, 0, 0] - 1) < 1e-12
    assert np.isnan(values["x"][0, 0, 1]) and np.isnan(errors["x"][0, 0, 1])
    hidden, _ = extrapolated_difference(lambda x: (relu(x)[0], None), *arguments)
    assert abs(hidden["x"][0, 0, 1] - 0.5) < 1e-12


def test_same_branches():
    mask, winners = np.array([True, False]), np.array([0, 3])
    cache = (np.array([1.0, 2.0]), (mask, [winners]), None, 2)
    assert same_branches(cache, (np.array([5.0, 6.0]), (mask.copy(), [winners.copy()]), None, 2))
    assert not same_branches(cache, (cache[0], (~mask, [winners]), None, 2))
    assert not same_branches(cache, (cache[0], (mask, [winners + 1]), None, 2))


def test_jacobian_has_a_row_for_each_output():
    a = np.arange(6.0).reshape(3, 2)
    j = jacobian(lambda x: (x @ a.T, None), lambda dy, cache: dy @ a, np.ones((1, 1, 2)))
    np.testing.assert_array_equal(j, a)


def test_the_closed_forms_agree_with_central_differences():
    # what is written down from the paper is itself checked, by an instrument that knows no backward
    for name, forward, _, x, closed in closed_form_jacobians(np.random.default_rng(5)):
        for i in range(x.size):
            v = np.zeros(x.shape)
            v.flat[i] = 1
            row = central_difference(lambda x: forward(x), {"x": x}, v, ["x"])["x"].ravel()
            np.testing.assert_allclose(row, closed[i], atol=1e-7, err_msg=name)
