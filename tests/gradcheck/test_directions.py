"""Large gradients along random directions: what is compared, what a wrong entry looks like, and what a budget leaves out."""

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.gradcheck import check, directions
from minifl.layers.linear import linear, linear_backward

LARGE = {"x": np.random.default_rng(0).standard_normal((1, 2, 80)),
         "weight": np.random.default_rng(1).standard_normal((1, 80, 60))}     # 160 numbers, and 4800


def counted(forward):
    calls = []

    def count(*inputs):
        calls.append(None)
        return forward(*inputs)

    return count, calls


def changed(change, block=1, backward=linear_backward):
    """The backward pass with a change to the gradient of one block."""
    def wrong(dy, cache):
        gradients = [None if g is None else g.copy() for g in backward(dy, cache)]
        change(gradients[block])
        return tuple(gradients)

    return wrong


def times(where, factor):
    def change(gradient):
        gradient[where] *= factor
    return change


@pytest.mark.parametrize("instrument", ["complex step", "central"])
def test_a_large_right_gradient_takes_few_calls(instrument):
    forward, calls = counted(linear)
    report = check(forward, linear_backward, LARGE, instrument=instrument)
    report.assert_passed()
    assert len(calls) < 250
    assert [b.index for b in report.blocks] == [(), ()] and str(report).count("a direction") == 2
    assert all(b.error < b.tolerance / 10 and b.left_out == 0 for b in report.blocks)


def test_small_gradients_are_compared_number_by_number():
    for coordinates, places in ((160, [3, 0]), (5000, [3, 3]), (10, [0, 0])):
        report = check(linear, linear_backward, LARGE, coordinates=coordinates)
        assert [len(b.index) for b in report.blocks] == places


@pytest.mark.parametrize("where", [(0, 41, 33), (0, 0, 0), (0, 79, 59), (0, slice(40, 44), slice(30, 34)), (0, 3),
                                   (0, ..., 7)])
@pytest.mark.parametrize("instrument, factor", [("complex step", 1 + 1e-9), ("complex step", 0), ("central", 1.001)])
def test_wrong_entries_of_a_large_gradient_are_found_and_named(where, instrument, factor):
    """Numbers drawn at random rarely meet these; a factor of an entry that is small is small beside the largest."""
    report = check(linear, changed(times(where, factor)), LARGE, instrument=instrument)
    assert report.blocks[0].passed and not report.blocks[1].passed and not report.inconclusive
    wrong = np.zeros((1, 80, 60), dtype=bool)
    wrong[where] = True
    assert wrong[report.blocks[1].index]


@pytest.mark.parametrize("where", [(0, 1, 33), (0, 0), (0, ..., 2)])
def test_a_block_that_fails_is_compared_number_by_number(where):
    report = check(linear, changed(times(where, 2), 0), LARGE)
    assert not report.blocks[0].passed and len(report.blocks[0].index) == 3 and report.blocks[1].passed


def test_a_gradient_wrong_everywhere_needs_no_search():
    forward, calls = counted(linear)
    report = check(forward, changed(times(..., 2)), LARGE)
    assert "off by the factor 2" in report.blocks[1].hint
    assert len(calls) < 6000     # 160 and 2000 numbers twice: once more before anybody is accused


def test_directions_see_single_entries_as_well_as_comparing_them_does():
    """Entries of a direction are at least 1: what is above the tolerance of an entry is above that of a direction."""
    rng, size = np.random.default_rng(5), 0
    for _ in range(20):
        index = (0, rng.integers(80), rng.integers(60))

        def change(gradient, index=index):
            gradient[index] += 3e-12 * np.abs(gradient).max()

        size += not check(linear, changed(change), LARGE, seed=int(rng.integers(1000))).blocks[1].passed
    assert size == 20


def relu(x):
    return np.maximum(x, 0), x


@pytest.mark.parametrize("instrument", ["complex step", "central"])
def test_kinks_between_two_steps_are_left_to_single_numbers(instrument):
    x = np.random.default_rng(2).standard_normal((60, 60))
    x[::7, ::5] = 0
    x[1, 1] = 5e-4
    check(relu, lambda dy, x: dy * (x > 0), [x], instrument=instrument).assert_passed()
    check(relu, lambda dy, x: dy * (x >= 0), [x], instrument=instrument).assert_passed()
    at_ties = check(relu, lambda dy, x: dy * np.where(x == 0, 2, x > 0), [x], instrument=instrument)
    assert not at_ties.passed and "wrong at ties or kinks only" in str(at_ties)
    assert not check(relu, lambda dy, x: dy * (x > 0.001), [x], instrument=instrument).passed


def test_float32_is_compared_with_float64_number_by_number():
    inputs = {name: array.astype(np.float32) for name, array in LARGE.items()}
    check(linear, linear_backward, inputs).assert_passed()
    report = check(linear, changed(times((0, 41, 33), 1.001)), inputs)
    assert not report.passed and report.blocks[1].index == (0, 41, 33)

    def only_in_float32(gradient):
        if gradient.dtype == np.float32:
            gradient[0, 41, 33] *= 1.001

    report = check(linear, changed(only_in_float32), inputs)
    assert not report.passed and report.blocks[1].index == (0, 41, 33)


def test_a_large_gradient_that_vanishes_was_not_compared():
    shifted = (lambda x, shift: (x - x.mean() + 0 * shift, None)), (lambda dy, c: (dy - dy.mean(), 0 * dy))
    inputs = {"x": np.random.default_rng(3).standard_normal((10, 10)), "shift": np.ones((10, 10))}
    report = check(*shifted, inputs)
    assert report.inconclusive and "the true gradient vanishes" in report.blocks[1].hint
    assert not check(lambda x, shift: (x + shift, None), lambda dy, c: (dy, 0 * dy), inputs).blocks[1].passed


def test_badly_conditioned_gradients_are_cut_to_where_rounding_hides_nothing():
    """Rounding of 1e-11 in each entry would be 1e-9 in a direction through all."""
    x = 1e4 + np.random.default_rng(4).standard_normal((4, 500))

    def forward(x):
        centred = x - x.mean(axis=1, keepdims=True)
        s = np.sqrt((centred * centred).mean(axis=1, keepdims=True))
        return centred / s, (centred / s, s)

    def backward(dy, cache):
        h, s = cache
        return (dy - dy.mean(axis=1, keepdims=True) - h * (dy * h).mean(axis=1, keepdims=True)) / s

    check(forward, backward, [x]).assert_passed()

    def one_entry(dy, cache):
        dx = backward(dy, cache)
        dx[2, 77] += 1e-8 * np.abs(dx).max()
        return dx

    report = check(forward, one_entry, [x])
    assert not report.passed and report.blocks[0].index == (2, 77)


# ---- the budget

def test_without_an_end_nobody_looks_at_the_clock(seconds):
    assert check(linear, linear_backward, LARGE).budget == "" and seconds[0] == 1


def test_a_budget_that_suffices_changes_nothing(seconds):
    assert str(check(linear, linear_backward, LARGE, budget=10_000)) == str(check(linear, linear_backward, LARGE))


def test_what_a_budget_does_not_suffice_for_is_said(seconds):
    whole = check(linear, linear_backward, LARGE, budget=10_000)
    verdicts = []
    for end in range(1, seconds[0] + 2, 4):
        report = check(linear, linear_backward, LARGE, budget=end)
        assert report.passed or report.inconclusive
        assert bool(report.budget) == (len(report.properties) < len(whole.properties) or not report.passed)
        assert not report.budget or report.budget.startswith(f"the budget of {end} s was spent")
        assert report.budget in str(report)
        verdicts.append(report.passed)
    assert verdicts == sorted(verdicts) and not verdicts[0] and verdicts[-1]     # the longer, the more is compared


def test_a_budget_accuses_nobody_of_rounding_and_everybody_of_more(seconds):
    def ends(factor):
        found = [check(linear, changed(times(..., factor), 0), LARGE, budget=end) for end in range(20, 3000, 60)]
        assert not any(report.passed and not report.budget for report in found)
        return [report for report in found if not report.passed and not report.inconclusive]

    assert all("not compared" in report.budget or not report.budget for report in ends(2)) and len(ends(2)) > 5
    hasty = [report for report in ends(1 + 1e-9) if report.budget and not report.blocks[0].passed]
    assert all("number" in report.budget or "'" in report.budget for report in hasty)


def test_numbers_that_were_not_reached_are_counted(seconds):
    report = check(linear, linear_backward, LARGE, budget=200, coordinates=10_000)
    assert report.budget.startswith("the budget of 200 s was spent; not compared: ")
    assert sum(block.left_out for block in report.blocks) > 4000
    assert f"{report.blocks[1].left_out} of 4800 numbers of weight" in report.budget


@pytest.mark.parametrize("seconds", [0, -1, float("nan")])
def test_a_budget_is_above_0(seconds):
    with pytest.raises(InputError, match="seconds above 0"):
        check(linear, linear_backward, LARGE, budget=seconds)


def test_halving_comes_to_an_end(monkeypatch):
    monkeypatch.setattr(directions, "PARTS", 3)
    report = check(linear, changed(times((0, 41, 33), 2)), LARGE)
    assert not report.passed      # what was not halved is drawn from
