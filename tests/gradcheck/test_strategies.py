"""Drawn shapes and numbers, what a sweep over them finds, and which shapes it blames."""

import subprocess
import sys
from functools import partial

import numpy as np
import pytest
from hypothesis import find, given, settings
from hypothesis import strategies as st

from minifl.errors import InputError
from minifl.gradcheck import conditions
from minifl.gradcheck.strategies import SPECIAL, inputs, sweep
from minifl.layers import linear, loss, norm, pool


def scale(x, gain):
    return x * gain[:, None], (x, gain)


def scale_backward(dy, cache, axes=1, factor=lambda x: 1.0):
    x, gain = cache
    dgain = (dy * x).sum(axis=axes) * factor(x)
    return dy * gain[:, None], dgain + 0 * gain


SHAPES = {"x": "K N D", "gain": "K D"}


# ---- inputs

@settings(max_examples=60, database=None, derandomize=True)
@given(inputs(SHAPES, t="", kernel="3 D F", sizes={"F": st.sampled_from([5, 7]), "N": 2}))
def test_letters_are_the_same_size_everywhere(drawn):
    k, n, d = drawn["x"].shape
    assert list(drawn) == ["x", "gain", "t", "kernel"]
    assert drawn["gain"].shape == (k, d) and drawn["t"].shape == () and drawn["kernel"].shape[:2] == (3, d)
    assert n == 2 and drawn["kernel"].shape[2] in (5, 7) and 1 <= k <= 5 and 1 <= d <= 5
    assert all(array.dtype == np.float64 for array in drawn.values())
    assert drawn.sizes == {"K": k, "N": 2, "D": d, "F": drawn["kernel"].shape[2]}


@pytest.mark.parametrize("wanted", [1, 2, 3, 4, 5])
def test_every_default_size_is_drawn(wanted):
    assert find(inputs(x="K"), lambda drawn: drawn.sizes["K"] == wanted)["x"].size == wanted


def test_sizes_can_follow_from_others_and_values_from_sizes():
    strategy = inputs(x="K N E", labels="K N", sizes={"E": lambda sizes: 2 * sizes["D"], "D": st.integers(2, 3)},
                      values={"labels": lambda rng, sizes: rng.integers(0, sizes["E"], (sizes["K"], sizes["N"]))})
    drawn = find(strategy, lambda drawn: drawn["labels"].max() > 3)
    assert drawn["x"].shape[2] == 6 and drawn["labels"].dtype.kind == "i"


def test_large_arrays_have_fewer_of_everything_but_what_was_asked_for():
    seen = []
    strategy = inputs(x="K N H W C D", sizes={"D": 9})
    settings(max_examples=60, database=None, derandomize=True)(given(strategy)(lambda drawn: seen.append(drawn)))()
    assert any(drawn["x"].size > 600 for drawn in seen) and {drawn.sizes["D"] for drawn in seen} == {9}
    assert all(max(drawn["x"].shape[:5]) <= 3 for drawn in seen if drawn["x"].size > 600)
    assert any(max(drawn["x"].shape[:5]) > 3 for drawn in seen)


@pytest.mark.parametrize("kind, holds", [
    ("zeros", lambda x: (x == 0).any()), ("ties", lambda x: len(np.unique(x)) < x.size),
    ("large", lambda x: abs(x).max() > 100), ("small", lambda x: abs(x).max() < 0.01),
    ("saturation", lambda x: (abs(x) == 20).any()), ("rows of zeros", lambda x: (x == 0).all(axis=1).any())])
def test_special_numbers(kind, holds):
    drawn = find(inputs(x="9 9", special=[kind]), lambda drawn: "special" in drawn.sizes)
    assert drawn.sizes["special"] == kind and holds(drawn["x"])
    assert not holds(find(inputs(x="9 9"), lambda drawn: True)["x"]) and len(SPECIAL) == 6


@pytest.mark.parametrize("arguments, message", [
    ({}, "there must be an input"), ({"x": "K-1"}, "letters and whole numbers"), ({"x": "K", "special": ["odd"]}, "zeros"),
    ({"x": "K", "values": {"y": None}}, "values only for inputs")])
def test_what_cannot_be_drawn_is_refused(arguments, message):
    with pytest.raises(InputError, match=message):
        inputs(**arguments)


def test_values_of_another_shape_are_refused():
    with pytest.raises(InputError, match="values of x have shape"):
        sweep(norm.shift, norm.shift_backward, inputs(x="K N 3", values={"x": lambda rng, sizes: np.zeros(3)}))


def test_without_hypothesis_the_message_says_what_to_install_and_the_rest_works():
    code = ("import sys; sys.modules['hypothesis'] = None\nimport minifl.gradcheck.report\n"
            "try: import minifl.gradcheck.strategies\nexcept ImportError as error: print(error)")
    said = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "pip install 'minifl[test]'" in said


# ---- sweeps

def test_a_right_pair_passes_and_the_same_seed_draws_the_same():
    first, again, other = (sweep(scale, scale_backward, inputs(SHAPES), seed=seed) for seed in (0, 0, 1))
    assert first.passed and len(first.reports) == 42 and first.smallest is None and first.hint == first.budget == ""
    assert str(first.reports) == str(again.reports) != str(other.reports)
    first.assert_passed()


@pytest.mark.parametrize("wrong, condition", [
    (partial(scale_backward, axes=(0, 1)), "K > 1"),
    (partial(scale_backward, factor=lambda x: 1 / x.shape[1]), "N > 1 (several examples)"),
    (partial(scale_backward, factor=lambda x: 1 + x.shape[2] % 2), "odd D"),
    (partial(scale_backward, factor=lambda x: 2 - x.shape[2] % 2), "even D"),
    (partial(scale_backward, factor=lambda x: 1 + (x.shape[1] == 1)), "N = 1"),
    (partial(scale_backward, factor=lambda x: 1 + (x.shape[1] != x.shape[2])), "N different from D"),
    (partial(scale_backward, factor=lambda x: 1 + (x.shape[1] > 1 and x.shape[2] > 1)), "N > 1 and D > 1"),
    (partial(scale_backward, factor=lambda x: 1 + (x.shape[2] > 3)), "D >= 4")])
def test_wrong_only_for_some_shapes(wrong, condition):
    found = sweep(scale, wrong, inputs(SHAPES), examples=60)
    assert not found.passed and f"wrong only for {condition}" in found.hint.split("\n")
    right = sum(report.passed for report in found.reports)
    assert 0 < right < 60 and f"72 examples, {72 - right} of them wrong" in str(found)
    numbers = [sum(np.prod(shape) for shape in report.shapes.values()) for report in found.reports if not report.passed]
    assert sum(np.prod(shape) for shape in found.smallest.shapes.values()) == min(numbers)
    with pytest.raises(AssertionError, match="wrong only for"):
        found.assert_passed()


def test_the_hint_comes_from_an_example_with_more_to_see():
    found = sweep(norm.mv_norm, lambda dy, cache: norm.feature_norm_backward(dy, cache), inputs(x="K N D"))
    assert "constant over axis 2: that of a mean?" in found.hint and "wrong only" not in found.hint


def test_examples_with_nothing_to_compare_are_discarded_but_not_all_of_them():
    found = sweep(norm.mv_norm, norm.mv_norm_backward, inputs(x="K N D", special=list(SPECIAL)), examples=60)
    assert found.passed and found.inconclusive > 10
    none = sweep(norm.mv_norm, norm.mv_norm_backward, inputs(x="K N 1"))
    assert not none.passed and none.reports == () and none.hint.startswith("nothing was compared in any example")


@pytest.mark.parametrize("forward, backward, strategy", [
    (norm.rms_norm, norm.rms_norm_backward, inputs(x="K N D", sizes={"D": st.integers(1, 2)}, special=list(SPECIAL))),
    (norm.layer_norm, norm.layer_norm_backward, inputs(x="K N 2", gain="K 2", bias="K 2", special=["large", "ties"])),
    (pool.max_pool2d, pool.max_pool2d_backward, inputs(x="K N 4 4 C", special=["ties", "zeros"]))])
def test_no_false_alarm_where_numbers_are_few_or_tie(forward, backward, strategy):
    found = sweep(forward, backward, strategy, examples=60)
    assert not any(report.inconclusive for report in found.reports) and found.smallest is None


def test_a_pair_that_raises_for_some_shapes_is_wrong_for_these():
    def backward(dy, cache):
        x, gain = cache
        return dy * gain, (dy * x).sum(axis=1)      # without the new axis: K and N have to be the same or 1

    found = sweep(scale, backward, inputs(SHAPES))
    assert "raises ValueError" in str(found) and not found.passed
    with pytest.raises(InputError, match="returned 1 gradients"):
        sweep(scale, lambda dy, cache: dy, inputs(SHAPES))


def test_options_that_follow_from_the_inputs():
    strategy = inputs(x="K N C", sizes={"G": st.integers(1, 3), "D": st.integers(3, 4), "C": lambda s: s["G"] * s["D"]})
    with_options = strategy.map(lambda x: (x, {"groups": x.sizes["G"]}))
    assert sweep(norm.group_norm, norm.group_norm_backward, with_options).passed


def test_fixed_inputs_and_options_reach_the_check():
    labels = {"labels": lambda rng, sizes: rng.integers(0, 4, (sizes["K"], sizes["N"])).astype(float)}
    strategy = inputs(logits="K N 4", labels="K N", values=labels)
    found = sweep(lambda z, t: loss.softmax_cross_entropy(z, t.astype(int)), loss.softmax_cross_entropy_backward, strategy,
                  fixed=("labels",), instrument="central", examples=5)
    assert found.passed and {block.instrument for report in found.reports for block in report.blocks} == {"central"}


def test_special_numbers_can_be_the_condition_and_unknown_symbols_are_axes():
    wrong = sweep(np_relu, lambda dy, mask: dy * (mask >= 0), inputs(x="K N D", special=["zeros"]))
    assert wrong.passed      # 1 at 0 is a subgradient of ReLU
    wrong = sweep(np_relu, lambda dy, x: dy * np.where(x == 0, 2, x > 0), inputs(x="9 9", special=["zeros"]))
    assert "wrong only for numbers with rows of zeros or numbers with ties or numbers with zeros" in wrong.hint
    plain = inputs(SHAPES).map(dict)
    found = sweep(scale, partial(scale_backward, axes=(0, 1)), plain)
    assert "wrong only for axis 0 of x > 1 or for axis 0 of gain > 1" in found.hint


def np_relu(x):
    return np.maximum(x, 0), x


def test_no_condition_where_none_tells_them_apart():
    assert conditions.separating([{"K": 2}], []) == "" == conditions.separating([], [{"K": 2}])
    assert conditions.separating([{"K": 2}, {"K": 3}], [{"K": 3}, {"K": 2}]) == ""
    assert conditions.separating([{"K": 2, "N": 1}], [{"K": 1, "N": 1}]) == "K > 1"
    assert conditions.separating([{"K": 2, "N": 1}], [{"K": 1, "N": 1}], ours=True) == "K > 1 (several clients)"


def test_linear_without_bias_may_return_none_for_it():
    assert sweep(linear.linear, linear.linear_backward, inputs(x="K N D", weight="K D F"), examples=5).passed


# ---- what a sweep tries by itself

def pooled(x):
    """The largest of each row; rows of 1 and more."""
    return x.max(axis=-1), x


def pooled_backward(dy, x, share=lambda winners: winners / winners.sum(axis=-1, keepdims=True)):
    return dy[..., None] * share((x == x.max(axis=-1, keepdims=True)).astype(x.dtype))


def sigmoid(x):
    s = 1 / (1 + np.exp(-x))
    return s, (x, s)


def lengths(x, gain):
    length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
    return gain * x / (length + 1), (x, gain, length)


def lengths_backward(dy, cache, eps=0.0):
    x, gain, length = cache
    d = dy * gain
    radial = (d * x).sum(axis=-1, keepdims=True) / (length + eps + (length == 0) * (eps > 0))
    return d / (length + 1) - x * radial / (length + 1) ** 2, (dy * x / (length + 1)).sum(axis=(0, 1))


@pytest.mark.parametrize("forward, backward, strategy, condition", [
    (pooled, partial(pooled_backward, share=lambda winners: winners), inputs(x="K N D"),
     "numbers with rows of zeros or numbers with saturation or numbers with ties"),
    (pooled, pooled_backward, inputs(x="K N D"), ""),
    (sigmoid, lambda dy, c: dy * c[1] * (1 - c[1]) * (np.abs(c[0]) < 15), inputs(x="K N D"), "numbers with saturation"),
    (sigmoid, lambda dy, c: dy * c[1] * np.where(c[0] > 15, 1, 1 - c[1]), inputs(x="K N D"), "numbers with saturation"),
    (lengths, partial(lengths_backward, eps=1e-300), inputs(x="K N D", gain="D"), ""),
    (lengths, lengths_backward, inputs(x="K N D", gain="D"), "numbers with rows of zeros"),
    (sigmoid, lambda dy, c: dy * c[1] * (1 - c[1]) * (1.01 if dy.dtype == np.float32 else 1), inputs(x="K N D"),
     "numbers in float32"),
    (lambda x: (np.log(x), x), lambda dy, x: dy / x, inputs(x="K N", values={
        "x": lambda rng, s: rng.uniform(1, 2, (s["K"], s["N"]))}), ""),     # values are left what they are
])
def test_what_plain_numbers_never_hit(forward, backward, strategy, condition):
    with np.errstate(all="ignore"):
        found = sweep(forward, backward, strategy, examples=10)
        assert found.passed == (condition == "")
        assert not condition or f"wrong only for {condition}" in found.hint
        assert sweep(forward, backward, strategy, examples=10, also=()).passed or "saturation" in condition


def test_numbers_for_which_forward_is_not_defined_accuse_nobody():
    def inverse(x):
        return np.linalg.inv(x), np.linalg.inv(x)

    def root(x):
        return x / np.sqrt((x * x).sum(axis=-1, keepdims=True)), x

    def root_backward(dy, x):
        length = np.sqrt((x * x).sum(axis=-1, keepdims=True))
        return dy / length - x * (dy * x).sum(axis=-1, keepdims=True) / length**3

    with np.errstate(all="ignore"):
        assert sweep(inverse, lambda dy, y: -y.T @ dy @ y.T, inputs(x="D D"), examples=5).passed
        assert sweep(root, root_backward, inputs(x="K N 3"), examples=5).passed


def test_other_kinds_than_there_are_are_refused():
    with pytest.raises(InputError, match="also=.*valid are zeros, ties, large, small, saturation, rows of zeros, float32"):
        sweep(sigmoid, lambda dy, c: dy, inputs(x="K"), also=("odd",))


def test_a_budget_for_all_examples(seconds):
    found = sweep(scale, scale_backward, inputs(SHAPES), budget=1500)
    assert 0 < len(found.reports) < 42 and found.passed
    assert found.budget == f"the budget of 1500 s was spent after {len(found.reports)} examples"
    assert found.budget in str(found)
    nothing = sweep(scale, scale_backward, inputs(SHAPES), budget=1)
    assert not nothing.passed and nothing.reports == ()
