"""`check` on pairs as users bring them: what it accepts, what it refuses, and with what instrument and tolerance."""

import numpy as np
import pytest
from squares import normal, square, square_backward

from minifl.errors import InputError
from minifl.gradcheck import check, from_vjp
from minifl.layers.activations import relu
from minifl.layers.linear import linear, linear_backward
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from minifl.layers.norm import layer_norm, layer_norm_backward
from minifl.layers.pool import max_pool2d, max_pool2d_backward


def norm_inputs(dtype=float):
    return {name: normal(*shape, seed=i).astype(dtype)
            for i, (name, shape) in enumerate({"x": (2, 3, 5), "gain": (2, 5), "bias": (2, 5)}.items())}


# ---- what passes, and by which instrument

def test_a_right_pair_passes_to_twelve_digits():
    report = check(layer_norm, layer_norm_backward, norm_inputs())
    report.assert_passed()
    assert [(b.name, b.shape, b.instrument, b.step) for b in report.blocks] == [
        ("x", (2, 3, 5), "complex step", 1e-30), ("gain", (2, 5), "complex step", 1e-30),
        ("bias", (2, 5), "complex step", 1e-30)]
    assert all(b.error < 1e-14 and b.tolerance == 1e-12 for b in report.blocks)
    assert [p.name for p in report.properties] == [
        "same bits twice, inputs untouched", "backward twice on one cache", "twice dy, twice the gradient",
        "in any memory layout", "u'(Jv) = (J'u)'v", "the same at other inputs", "second derivative symmetric"]
    assert report.hints == [] and "FAILED" not in str(report)


@pytest.mark.parametrize("f, vjp", [
    (np.abs, lambda x, dy: dy * np.sign(x)),                                     # accepts complex, is not analytic there
    (lambda x: x.real * 2, lambda x, dy: 2 * dy),                                # drops the imaginary part by itself
    (lambda x: np.array(x * 2, dtype=float), lambda x, dy: 2 * dy),              # drops it with a warning
    (lambda x: np.maximum(x, 0) if np.isrealobj(x) else 1 / 0, lambda x, dy: dy * (x > 0)),   # raises
    (lambda x: np.sqrt(np.abs(x) ** 2 + 1), lambda x, dy: dy * x / np.sqrt(x * x + 1)),
    (lambda x: np.conj(x) * 2, lambda x, dy: 2 * dy),
])
def test_functions_that_are_not_analytic_get_differences(f, vjp):
    report = check(*from_vjp(f, vjp), [normal(2, 3)])
    report.assert_passed()
    assert report.blocks[0].instrument == "central" and report.blocks[0].tolerance == 1e-8
    wrong = check(*from_vjp(f, lambda x, dy: vjp(x, dy) * (1 + 1e-6)), [normal(2, 3)])
    assert not wrong.passed


def test_the_instrument_can_be_chosen():
    for instrument in ("complex step", "central"):
        report = check(square, square_backward, [normal(4)], instrument=instrument)
        assert report.passed and report.blocks[0].instrument == instrument
    with pytest.raises(InputError, match="'magic' is unknown; valid are auto, complex step, central"):
        check(square, square_backward, [normal(4)], instrument="magic")


def test_whole_numbers_and_fixed_inputs_have_no_gradient():
    inputs = {"logits": normal(2, 3, 5), "labels": np.array([[0, 1, 4], [2, 2, 3]])}
    report = check(softmax_cross_entropy, softmax_cross_entropy_backward, inputs)
    assert report.passed and [b.name for b in report.blocks] == ["logits"]
    scaled = (lambda x, scale: (x * scale, scale)), (lambda dy, scale: (dy * scale, None))
    assert check(*scaled, [normal(3), normal(3, seed=1)], fixed=("scale",)).passed
    assert not check(*scaled, [normal(3), normal(3, seed=1)]).passed


def test_names_come_from_the_function():
    assert [b.name for b in check(linear, linear_backward, [normal(1, 2, 3), normal(1, 3, 2, seed=1)]).blocks] == [
        "x", "weight"]
    assert [b.name for b in check(*from_vjp(lambda *x: sum(x), lambda *x: (x[-1], x[-1])),
                                  [normal(2), normal(2, seed=1)]).blocks] == ["input 0", "input 1"]


def test_the_cotangent_is_not_what_the_user_drew_with_the_same_seed():
    """With v = x feature norm's gradient would vanish, and a mask of dy would be that of x."""
    for seed in (0, 7):
        wrong = check(relu, lambda dy, mask: dy * (dy > 0), [np.random.default_rng(seed).standard_normal((2, 3, 4))],
                      seed=seed)
        assert not wrong.passed


# ---- what fails

@pytest.mark.parametrize("wrong", [
    lambda dy, x: 2 * x * dy * (1 + 1e-11), lambda dy, x: x * dy, lambda dy, x: dy * 0, lambda dy, x: -2 * x * dy,
    lambda dy, x: (2 * x * dy)[:1], lambda dy, x: 2 * x * dy * np.nan, lambda dy, x: None, lambda dy, x: 2 * x + 0 * dy,
    lambda dy, x: 2 * x * dy + 1e-10,
])
def test_wrong_gradients_fail(wrong):
    report = check(square, wrong, [normal(3, 4)])
    assert not report.passed and not report.inconclusive
    with pytest.raises(AssertionError, match="FAILED"):
        report.assert_passed()


def test_a_gradient_that_is_of_no_function_fails_the_symmetry():
    """The adjoint of a wrong forward is right for it, and a field with a curl is no gradient."""
    def field(dy, x):
        return dy.sum() * np.array([x[1], -x[0]])

    report = check(lambda x: (np.array([x @ x]), x), field, [normal(2)])
    failed = {p.name for p in report.properties if not p.passed}
    assert "second derivative symmetric" in failed and not report.passed


def test_randomness_is_found():
    rng = np.random.default_rng(0)

    def dropout(x):
        mask = rng.random(x.shape) < 0.5
        return x * mask, mask

    report = check(dropout, lambda dy, mask: dy * mask, [normal(2, 5)])
    assert not report.passed and "different bits" in str(report) and report.blocks == ()


def test_a_call_that_writes_into_its_input_or_cotangent_is_found():
    def grows(x):
        x += 1
        return x * 2, None

    x = normal(2, 3)
    before = x.copy()
    report = check(grows, lambda dy, cache: dy * 2, {"x": x})
    assert not report.passed and "changes x in place" in str(report)
    assert np.array_equal(x, before)

    def scales(dy, cache):
        dy *= 2
        return dy

    assert "changes dy in place" in str(check(lambda x: (x * 2, None), scales, {"x": x}))


def test_a_vanishing_gradient_is_not_a_pass():
    shifted = (lambda x, shift: ((x + shift) - (x + shift).mean(), None)), (lambda dy, c: (dy - dy.mean(), 0 * dy.sum()))
    report = check(*shifted, {"x": normal(4), "shift": np.array(1.0)})
    assert not report.passed and report.inconclusive and "vanishes" in str(report) and "NOT COMPARED" in str(report)
    assert check(*shifted, {"x": normal(4), "shift": np.array(1.0)}, fixed=("shift",)).passed


# ---- kinks and ties

@pytest.mark.parametrize("instrument", ["complex step", "central"])
@pytest.mark.parametrize("at_zero, passes", [(0, True), (0.5, True), (1, True), (2, False), (-0.5, False)])
def test_at_relus_kink_every_subgradient_is_right_and_nothing_else(instrument, at_zero, passes):
    x = normal(2, 3, 4)
    x[0, 1, 2] = x[1, 0, 0] = 0
    report = check(relu, lambda dy, mask: dy * np.where(x == 0, at_zero, mask), [x], instrument=instrument)
    assert report.passed == passes
    assert passes or "wrong at ties or kinks only" in str(report)


def tied(share):
    """Max over rows of 4 whose first two are equal and the largest; share: what each of the two gets."""
    x = normal(3, 4)
    x[:, :2] = 3.0

    def backward(dy, x):
        winners = (x == x.max(axis=1, keepdims=True)).astype(float)
        tied = winners.sum(axis=1, keepdims=True) > 1
        return dy[:, None] * np.where(tied, winners * np.array([*share, 0, 0]), winners)

    return check(lambda x: (x.max(axis=1), x), backward, [x], instrument="central")


def test_tied_winners_share_one_gradient():
    for share in ((1, 0), (0, 1), (0.5, 0.5)):
        assert tied(share).passed
    for share in ((1, 1), (0, 0)):
        report = tied(share)
        assert not report.passed and "wrong at ties or kinks only" in str(report)


def test_a_pool_that_gives_a_tie_to_its_first_winner_passes():
    x = normal(1, 2, 4, 4, 1)
    x[0, 0, :2, :2, 0] = 3.0
    assert check(max_pool2d, max_pool2d_backward, [x]).passed


# ---- float32

def test_float32_is_held_to_its_own_rounding():
    inputs = norm_inputs(np.float32)
    report = check(layer_norm, layer_norm_backward, inputs)
    report.assert_passed()
    assert all(b.error > 1e-9 and 5e-7 < b.tolerance < 1e-5 and b.instrument == "complex step" for b in report.blocks)

    def off(dy, cache):
        dx, dgain, dbias = layer_norm_backward(dy, cache)
        return dx * np.float32(1 + 1e-5), dgain, dbias

    wrong = check(layer_norm, off, inputs)
    assert [b.passed for b in wrong.blocks] == [False, True, True]


def in_float32(x, gain, bias):
    return layer_norm(x.astype(np.float32), gain.astype(np.float32), bias.astype(np.float32))


@pytest.mark.parametrize("offset, least, most", [(0, 1e-6, 1e-3), (100, 1e-5, 2e-2)])
def test_the_worse_the_condition_the_wider_the_tolerance(offset, least, most):
    """x + offset loses digits of what layer norm divides by; the tolerance is measured, not a constant."""
    inputs = norm_inputs() | {"x": norm_inputs()["x"] + offset}
    report = check(in_float32, layer_norm_backward, inputs)
    report.assert_passed()
    assert report.blocks[0].instrument == "central" and least < report.blocks[0].tolerance < most

    def no_radial_term(dy, cache):
        h, sigma, affine_cache = cache
        return layer_norm_backward(dy, (h * 0, sigma, affine_cache))

    assert not check(in_float32, no_radial_term, inputs).passed


def test_where_rounding_is_all_there_is_nothing_is_compared():
    report = check(in_float32, layer_norm_backward, norm_inputs() | {"x": norm_inputs()["x"] + 1e5})
    assert not report.passed and report.inconclusive and "rounding alone" in str(report)


def test_the_complex_step_needs_float64():
    with pytest.raises(InputError, match="rounds to less; use instrument='central'"):
        check(in_float32, layer_norm_backward, norm_inputs(), instrument="complex step")


# ---- what is no pair

def test_functions_and_inputs_of_another_form_are_refused():
    with pytest.raises(InputError, match=r"should return \(y, cache\)"):
        check(lambda x: x * 2, square_backward, [normal(3)])
    with pytest.raises(InputError, match="y has dtype int64"):
        check(lambda x: (np.arange(3), None), square_backward, [normal(3)])
    with pytest.raises(InputError, match="backward returned 1 gradients for the inputs x, weight"):
        check(linear, lambda dy, cache: dy, [normal(1, 2, 3), normal(1, 3, 2)])
    with pytest.raises(InputError, match="dtype complex128"):
        check(square, square_backward, [normal(3) + 0j])
    with pytest.raises(InputError, match="fixed"):
        check(square, square_backward, {"x": normal(3)}, fixed=("y",))
    with pytest.raises(InputError, match="float input"):
        check(square, square_backward, {"x": np.arange(3)})


def sorted_rows(x):
    order = np.argsort(-x, axis=1)[:, :2]
    return np.take_along_axis(x, order, axis=1), (order, x.shape)


@pytest.mark.parametrize("change, passes", [
    (lambda dx: dx, True), (lambda dx: dx * 1.5, False), (lambda dx: dx + (dx == 0) * dx.sum(axis=1, keepdims=True), False),
    (lambda dx: dx * 0, False)])
@pytest.mark.parametrize("instrument", ["auto", "central"])
def test_a_sort_of_equal_numbers_may_take_them_in_any_order(change, passes, instrument):
    """Each of the tied numbers has another output's gradient, which lies not between the two sides of that number alone."""
    def backward(dy, cache):
        order, shape = cache
        dx = np.zeros(shape)
        np.put_along_axis(dx, order, dy, axis=1)
        return change(dx)

    x = normal(3, 4)
    x[0] = 0
    x[1, 1:] = x[1, 1]
    report = check(sorted_rows, backward, [x], instrument=instrument)
    assert report.passed == passes
