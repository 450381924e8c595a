"""The comparison with other gradient checkers: who is shown what, who is said to have caught it."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

import checker_trials as trials
import checkers
from checker_rules import RULES

from minifl.errors import InputError
from minifl.gradcheck import checks, mutants
from minifl.gradcheck.cases import CASES
from minifl.gradcheck.mutants import MUTANTS, POST, Mutant, caught
from minifl.layers import norm
from minifl.models import vit
from minifl.rng import CHECK, address

RECORD = Path(__file__).resolve().parents[2] / "results" / "gradcheck" / "checkers.json"
TORCH, FAST, JAX = "PyTorch gradcheck", "PyTorch gradcheck, fast mode", "JAX check_grads, reverse"
CS_WRONG, CS_OKAY, CS_HAPPY = list(RULES)[:3]


def rows_of(found):
    return {row["checker"]: row for row in found["rows"]}


def of_these(monkeypatch, *chosen, layer=None):
    monkeypatch.setattr(checkers, "MUTANTS", chosen)
    return rows_of(checkers.record(layer=layer))


def off_by(error):
    return Mutant("shift", f"off by {error}", lambda dy, cache: norm.shift_backward(dy, cache) * (1 + error))


def test_a_small_error_by_hand(monkeypatch):
    """off by 5e-4: within PyTorch's rtol 1e-3; for cs231n 5e-4/2, between its 1e-4 and 1e-2; beyond 1e-5 and 1e-6."""
    rows = of_these(monkeypatch, off_by(5e-4))
    assert [name for name, row in rows.items() if row["missed"] == ["shift: off by 0.0005"]] == [CS_WRONG, TORCH, FAST]
    cases = sum(case.layer == "shift" for case in CASES)
    for name, row in rows.items():
        missed = name in (CS_WRONG, TORCH, FAST)
        assert (row["caught"], row["told"], row["of"]) == (1 - missed, 1 - missed, 1)
        assert (row["cases_told"], row["cases"]) == (0 if missed else cases, cases)
        assert row["missed_cases"] is None or len(row["missed_cases"]) == (cases if missed else 0)
        assert (row["alarms"], row["checks"], row["alarmed"]) == (0, checkers.RIGHT_SEEDS * cases, {})
    assert rows[TORCH]["missed_cases"][0] == "shift: off by 0.0005 (vector), off by 5e-04"
    assert rows["minifl, complex step"]["caught"] == rows[trials.SUITE]["caught"] == 1


def test_what_only_rounds_differently_is_nobodys_mistake(monkeypatch):
    rows = of_these(monkeypatch, off_by(1e-11), off_by(1e-9))
    assert {(row["of"], row["cases"]) for row in rows.values()} == {(1, 2)}


def test_a_mutant_is_shown_where_it_is_wrong_and_caught_by_one_case(monkeypatch):
    """Wrong for maps alone: the other case is not held against anybody."""
    def backward(dy, cache):
        return norm.shift_backward(dy, cache) * (2 if dy.ndim > 3 else 1)

    rows = of_these(monkeypatch, Mutant("shift", "maps doubled", backward))
    assert {(row["caught"], row["of"], row["cases_told"], row["cases"]) for row in rows.values()} == {(1, 1, 1, 1)}


@pytest.mark.parametrize("backward", [
    lambda dy, cache: 1 / 0, lambda dy, cache: None, lambda dy, cache: dy[..., :-1], lambda dy, cache: dy * np.nan])
def test_what_raises_or_has_another_form_is_caught_by_all(monkeypatch, backward):
    rows = of_these(monkeypatch, Mutant("shift", "breaks down", backward))
    assert {(row["caught"], row["cases_told"], row["cases"]) for row in rows.values()} == {(1, 2, 2)}


def test_who_rejects_everything_has_told_nothing_apart(monkeypatch):
    monkeypatch.setitem(RULES, "pessimist", lambda *pair: False)
    monkeypatch.setitem(RULES, "optimist", lambda *pair: True)
    monkeypatch.setitem(RULES, "breaks down", lambda *pair: 1 / 0)
    rows = of_these(monkeypatch, off_by(1.0), off_by(2.0))
    assert (rows["optimist"]["caught"], rows["optimist"]["alarms"], len(rows["optimist"]["missed"])) == (0, 0, 2)
    for name in ("pessimist", "breaks down"):
        row = rows[name]
        assert (row["caught"], row["told"], row["cases_told"], row["missed"]) == (2, 0, 0, [])
        assert row["untold"] == ["shift: off by 1.0", "shift: off by 2.0"] and row["missed_cases"] == []
        assert row["alarms"] == row["checks"] == sum(row["alarmed"].values()) == 2 * checkers.RIGHT_SEEDS


def test_an_alarm_in_one_case_leaves_the_others(monkeypatch):
    monkeypatch.setitem(RULES, "no maps", lambda forward, backward, inputs, *_: inputs["x"].ndim < 4)
    row = of_these(monkeypatch, off_by(1.0))["no maps"]
    assert (row["caught"], row["told"], row["cases_told"], row["alarmed"]) == (1, 0, 0, {"shift: map": 3})
    assert row["missed_cases"] == ["shift: off by 1.0 (vector), off by 5e-01"]


def test_our_own_row_says_what_caught_says():
    """Of rms_norm, whose cases are shown one by one here and together there."""
    found = checkers.record(layer="rms_norm")
    rows = rows_of(found)
    by = {mutant: set(caught(mutant)) for mutant in MUTANTS if mutant.layer == "rms_norm"}
    assert len(by) == rows[trials.SUITE]["of"] == rows[trials.SUITE]["caught"]
    for name in {name for names in by.values() for name in names} - {"error"}:
        missed = [f"rms_norm: {mutant.mistake}" for mutant, names in by.items() if not names & {name, "error"}]
        assert rows[f"minifl, {name}"]["missed"] == missed
    assert rows[trials.SUITE]["alarms"] == 0
    assert rows["minifl, symmetry"]["missed"]      # of our single instruments there are no lists in the text
    assert not any(line.startswith("minifl") for line in checkers.lines_of(found))


def test_our_instruments_are_shown_one_case_at_a_time(monkeypatch):
    """Doubled for vectors, which is linear, and not linear for maps."""
    def backward(dy, cache):
        return norm.shift_backward(dy, cache) * (abs(dy) if dy.ndim > 3 else 2)

    rows = of_these(monkeypatch, Mutant("shift", "not linear for maps", backward))
    assert (rows["minifl, linear"]["cases_told"], rows["minifl, linear"]["cases"]) == (1, 2)
    assert (rows["minifl, complex step"]["cases_told"], rows[trials.SUITE]["cases_told"]) == (2, 2)


def test_what_raises_is_noticed_by_each_of_our_instruments(monkeypatch):
    rows = of_these(monkeypatch, Mutant("shift", "raises for maps", lambda dy, cache: 2 * dy if dy.ndim < 4 else 1 / 0))
    assert {row["cases_told"] for row in rows.values()} == {2} and "minifl, complex step" in rows
    assert "minifl, error" not in rows


def test_an_instrument_is_counted_where_it_runs(monkeypatch):
    rows = of_these(monkeypatch, off_by(1.0), next(mutant for mutant in MUTANTS if mutant.layer == POST))
    assert {rows[name]["of"] for name in (*RULES, "minifl, complex step", trials.SUITE)} == {2}
    assert {rows[name]["of"] for name in ("minifl, central", "minifl, adjoint@0")} == {1}


def test_right_ones_are_drawn_several_times(monkeypatch):
    seeds = []
    monkeypatch.setattr(checkers, "right_trials", lambda chosen, seed, seconds: seeds.append(seed) or [])
    checkers.record(seed=4, layer="flatten")
    assert seeds == [4, 5, 6]


def test_a_network():
    """POST's mutant in the place of ViT's method; afterwards the right one is back."""
    before = vit.ViT._block_backward
    rows = rows_of(checkers.record(layer=POST))
    assert vit.ViT._block_backward is before
    for name in (CS_WRONG, TORCH, FAST, JAX, "minifl, complex step", "minifl, adjoint@20", trials.SUITE):
        row = rows[name]
        assert (row["caught"], row["told"], row["cases_told"], row["of"], row["cases"]) == (1, 1, 1, 1, 1)
        assert (row["alarms"], row["checks"]) == (0, checkers.RIGHT_SEEDS)


# ---- the same pairs for all

def test_layers_are_seen_at_the_inputs_of_our_checks(monkeypatch):
    number, case = next((i, case) for i, case in enumerate(CASES) if case.what == "vector, 2 groups")
    seen = []

    def forward(x):
        seen.append(x)
        return case.forward(x)

    monkeypatch.setattr(mutants, "CASES", tuple(replace(case, forward=forward) if i == number else case
                                                for i, case in enumerate(CASES)))
    caught(Mutant(case.layer, "nothing", case.backward), seed=7)
    pair = trials.case_pair(case, number, 7)
    np.testing.assert_array_equal(pair.inputs["x"], seen[0])
    np.testing.assert_array_equal(pair.inputs["x"], case.draw(address(7, CHECK, number, 0))["x"])


@pytest.mark.parametrize("seed, name", [(0, mutants.FN), (0, mutants.LN), (1, POST)])   # two: not the first draw
def test_networks_are_seen_at_the_inputs_of_our_checks(monkeypatch, seed, name):
    seen = []

    def loss_gradient_error(model, theta, x, labels):
        seen.append((model, theta, x, labels))
        return 0.0, "block"

    monkeypatch.setattr(checks.networks, "loss_gradient_error", loss_gradient_error)
    next(checks.check_networks(seed, name))
    (model, theta, x, labels), = seen
    pair = trials.network_pair(name, seed)
    np.testing.assert_array_equal(model.spec.flatten(pair.inputs, like=theta[:1]), theta[:1])
    loss, gradient, _ = trials.networks.loss_and_grad(model, theta[:1], x[:1], labels[:1])
    y, cache = pair.forward(*pair.inputs.values())
    np.testing.assert_array_equal(y, loss)
    blocks = dict(zip(pair.wanted, pair.backward(np.ones(1), cache)))
    np.testing.assert_array_equal(model.spec.flatten(blocks, like=theta[:1]), gradient)


def test_how_far_off():
    a, b = np.array([1.0, -4.0]), np.array([2.0])
    assert trials.how_far_off([a, b], [a, b]) == 0 == trials.how_far_off([0 * a], [0 * a])
    assert trials.how_far_off([a, b], [a, b + 2]) == 0.5                  # 2/4
    assert trials.how_far_off([a, b], [np.array([1.0, -3.0]), b]) == 0.25
    for wrong in (None, [a], [a, b[None]], [a, b * np.nan], [a, np.array([np.inf])]):
        assert trials.how_far_off([a, b], wrong) == np.inf


# ---- the record

def without_times(found):
    return [row | {"seconds": None} for row in found["rows"]]


def test_the_record_is_json_and_determined_by_the_seed():
    found = checkers.record(layer="gelu")
    assert json.loads(json.dumps(found)) == found and found["numpy"] == np.__version__
    assert without_times(checkers.record(layer="gelu")) == without_times(found)
    assert without_times(checkers.record(seed=5, layer="gelu")) != without_times(found)


def test_lines_are_the_table_and_the_lists():
    found = checkers.record(layer="gelu")
    text = list(checkers.lines_of(found))
    table = checkers.table_rows(found)
    assert [[cell.strip() for cell in line.strip("|").split("|")] for line in [text[0], *text[2:len(table) + 1]]] == \
        [list(row) for row in table]
    assert set(text[1]) <= set("| -") and text[len(table) + 1] == ""
    assert not any(line.startswith("minifl") for line in text)     # the suite misses nothing, its parts have no lists
    start = text.index(f"{FAST} does not catch:")
    assert text[start + 1] == "  gelu: derivative of the tanh approximation"
    assert f"{CS_OKAY} rejects though it is right:" in text


def test_the_program_prints_the_table_and_writes_its_record(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["checkers.py", "--layer", "shift", "--json", str(tmp_path / "new" / "record.json")])
    with pytest.raises(SystemExit) as ended:
        checkers.main()
    found = json.loads((tmp_path / "new" / "record.json").read_text())
    assert not ended.value.code and capsys.readouterr().out == "\n".join(checkers.lines_of(found)) + "\n"
    assert without_times(found) == without_times(checkers.record(layer="shift"))
    monkeypatch.setattr(sys, "argv", ["checkers.py", "--layer", "reluu"])
    with pytest.raises(SystemExit) as ended:
        checkers.main()
    assert ended.value.code == 2 and "has no mutants" in capsys.readouterr().err


def test_a_layer_without_mutants_is_refused():
    with pytest.raises(InputError, match="'reluu' has no mutants; valid are linear, "):
        checkers.record(layer="reluu")


def test_the_record_in_results_is_of_these_mutants_and_rules():
    """Out of date? python benchmarks/checkers.py --json results/gradcheck/checkers.json"""
    found = json.loads(RECORD.read_text())
    rows = rows_of(found)
    assert list(rows)[:len(RULES)] == list(RULES) and trials.SUITE in rows
    assert {rows[name]["of"] for name in (*RULES, trials.SUITE)} == {len(MUTANTS)}
    assert rows[trials.SUITE]["told"] == len(MUTANTS) and rows[trials.SUITE]["alarms"] == 0
