"""The check says nothing wrong of right pairs, whatever the shapes and numbers, and misses no wrong one."""

import json

import numpy as np
import pytest

import false_alarms
from random_cases import LAYERS, random_case

from minifl.errors import InputError
from minifl.gradcheck.cases import CASES
from minifl.gradcheck.mutants import MUTANTS
from minifl.layers import norm


@pytest.fixture(scope="module")
def found():
    return false_alarms.record(700, 1)


def test_no_false_alarm(found):
    assert found["alarms"] == [] and found["cases"] == sum(found["by layer"].values()) == 700
    assert found["inconclusive"] < 0.05 * 700


def test_every_layer_meets_every_instrument(found):
    assert set(LAYERS) == {case.layer for case in CASES} == set(found["by layer"])
    assert min(found["by instrument"].values()) > 100
    assert set(found["by instrument"]) == {"complex step, float64", "central, float64", "complex step, float32"}


def test_the_record_is_json_and_the_lines_say_the_same(found):
    assert json.loads(json.dumps(found)) == found
    *layers, total = false_alarms.lines_of(found)
    assert len(layers) == len(LAYERS) and all(line.endswith(" 0 false alarms") for line in layers)
    assert total.startswith("700 random correct cases of") and ": 0 false alarms" in total


def test_a_wrong_layer_raises_the_count(monkeypatch):
    monkeypatch.setattr(norm, "shift_backward", lambda dy, cache: dy)
    draw = LAYERS["shift"]
    monkeypatch.setitem(LAYERS, "shift", lambda rng: (draw(rng)[0], norm.shift_backward, draw(rng)[2]))
    wrong = false_alarms.record(2 * len(LAYERS), 0)
    assert [alarm["layer"] for alarm in wrong["alarms"]].count("shift") == 2
    assert "FALSE ALARM shift" in next(false_alarms.lines_of(wrong))


def test_cases_are_addressed_by_seed():
    def drawn(seed):
        return [str(report) for *_, report in false_alarms.cases(len(LAYERS), seed)]
    assert drawn(3) == drawn(3) != drawn(4)


def test_random_cases_hit_what_is_rare():
    rng = np.random.default_rng(0)
    drawn = [random_case("feature_norm", rng).draw(rng)["x"] for _ in range(300)]
    sizes = np.array([np.abs(x).max() for x in drawn])
    assert sizes.min() < 0.01 and sizes.max() > 300                      # small and large
    assert any((x == 0).any() for x in drawn)                            # exact zeros and ties
    assert {1, 2} <= {x.shape[2] for x in drawn if x.ndim == 3}          # constants under a norm of a mean
    assert {3, 5} == {x.ndim for x in drawn}


@pytest.mark.parametrize("count, seed", [(0, 0), (10, -1)])
def test_counts_that_make_no_sense_are_refused(count, seed):
    with pytest.raises(InputError, match="at least 1 case"):
        false_alarms.record(count, seed)


def test_measured_tolerances_hide_no_mutant(monkeypatch):
    """A part of them; `mutant_record` of all is what README quotes."""
    some = [mutant for mutant in MUTANTS if mutant.layer in ("linear", "mv_norm", "layer_norm", "tanh", "attention")]
    monkeypatch.setattr(false_alarms, "MUTANTS", some)
    rows = false_alarms.mutant_record(examples=12)
    assert len(rows) == len(some) > 20 and all(row["caught"] > 0 for row in rows)
    assert all(0 < row["conclusive"] <= 12 and row["hints"] for row in rows)


def test_a_right_backward_is_no_caught_mutant(monkeypatch):
    mutant = next(mutant for mutant in MUTANTS if mutant.layer == "tanh")
    monkeypatch.setattr(false_alarms, "MUTANTS", [mutant.__class__(
        "shift", "none", norm.shift_backward)])
    assert false_alarms.mutant_record(examples=12)[0]["caught"] == 0
