"""Which instrument each input gets: functions that take complex numbers and are not analytic in them, that write into
buffers, and what cannot be differentiated at all. A right backward pass of these is accepted, a wrong one is refused."""

import warnings

import numpy as np
import pytest
from squares import normal, square, square_backward

from minifl.errors import InputError
from minifl.gradcheck import acceptance, check, properties


# ---- not analytic

def variance_norm(x):
    r = 1 / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    z = (x - x.mean(-1, keepdims=True)) * r
    return z, (z, r)


def variance_norm_backward(dy, cache):
    z, r = cache
    return r * (dy - dy.mean(-1, keepdims=True) - z * (dy * z).mean(-1, keepdims=True))


def deviation_norm(x):
    s, z = x.std(-1, keepdims=True) + 0.1, x - x.mean(-1, keepdims=True)
    return z / s, (z, s)


def deviation_norm_backward(dy, cache):
    z, s = cache
    dz = dy / s - z * (dy * z).mean(-1, keepdims=True) / (s * s * (s - 0.1))
    return dz - dz.mean(-1, keepdims=True)


def length_norm(x):
    return x / np.linalg.norm(x, axis=1, keepdims=True), x


def length_norm_backward(dy, x):
    length = np.linalg.norm(x, axis=1, keepdims=True)
    return dy / length - x * (dy * x).sum(axis=1, keepdims=True) / length**3


def inner(x, w):
    return np.array(np.vdot(x, w)), (x, w)


def inner_backward(dy, cache):
    x, w = cache
    return dy * w, dy * x


def log_determinant(x):
    """By Cholesky, which reads half of a matrix and conjugates the other half."""
    a = x @ x.T + 3 * np.eye(len(x))
    return np.array(2 * np.log(np.diag(np.linalg.cholesky(a)).real).sum()), (x, a)


def log_determinant_backward(dy, cache):
    x, a = cache
    return 2 * dy * np.linalg.solve(a, x)


@pytest.mark.parametrize("forward, backward, shapes, instruments", [
    (variance_norm, variance_norm_backward, [(3, 5)], ["central"]),
    (deviation_norm, deviation_norm_backward, [(3, 5)], ["central"]),
    (length_norm, length_norm_backward, [(3, 4)], ["central"]),
    (inner, inner_backward, [(7,), (7,)], ["central", "complex step"]),
    (log_determinant, log_determinant_backward, [(3, 4)], ["central"]),
    (lambda x: (np.abs(x) * x, x), lambda dy, x: 2 * dy * np.abs(x), [(3, 4)], ["central"]),
    (lambda x: (np.max(x, axis=1), x), lambda dy, x: dy[:, None] * (x == x.max(axis=1, keepdims=True)), [(3, 4)],
     ["complex step"]),
    (lambda x, g: (x.real * g, (x, g)), lambda dy, c: (dy * c[1], dy * c[0]), [(3, 4), (3, 4)],
     ["central", "complex step"]),
])
def test_each_input_gets_the_instrument_that_is_right_for_it(forward, backward, shapes, instruments):
    inputs = [normal(*shape, seed=i) for i, shape in enumerate(shapes)]
    report = check(forward, backward, inputs)
    report.assert_passed()
    assert [block.instrument for block in report.blocks] == instruments
    assert properties.ADJOINT in [p.name for p in report.properties]
    wrong = check(forward, lambda dy, cache: _times(backward(dy, cache), 1 + 1e-5), inputs)
    assert not wrong.passed and not wrong.inconclusive and not any(block.passed for block in wrong.blocks)


def _times(gradients, factor):
    return tuple(g * factor for g in gradients) if isinstance(gradients, tuple) else gradients * factor


def test_the_symmetry_asks_the_backward_pass_too():
    """Forward is analytic, backward computes the same variance with NumPy's, which is not."""
    def forward(x):
        centred = x - x.mean(-1, keepdims=True)
        return centred / np.sqrt((centred * centred).mean(-1, keepdims=True) + 1e-5), x

    def backward(dy, x):
        return variance_norm_backward(dy, variance_norm(x)[1])

    report = check(forward, backward, [normal(3, 5)])
    report.assert_passed()
    assert report.blocks[0].instrument == "complex step"
    assert [p.tolerance for p in report.properties if p.name == properties.SYMMETRIC] == [1e-5]


def test_a_part_that_is_hardly_not_analytic_is_found_where_it_is_held_against_backward():
    """1e-6 of the derivative: less than what a line through all numbers shows."""
    def forward(x):
        return x * x + 1e-6 * np.abs(x), x

    report = check(forward, lambda dy, x: dy * (2 * x + 1e-6 * np.sign(x)), [normal(3, 4)])
    report.assert_passed()
    assert report.blocks[0].instrument == "central"
    assert not check(forward, lambda dy, x: dy * 2 * x * (1 + 1e-6), [normal(3, 4)]).passed


def test_on_a_kink_acceptance_is_tried_beside_it():
    """A line through zeros of ReLU has no derivative; the complex step is right for it all the same."""
    x = normal(3, 4) * (normal(3, 4, seed=1) > 0)
    for forward in (lambda x: (np.maximum(x, 0), x), lambda x: (x * (x.real > 0), x)):
        report = check(forward, lambda dy, x: dy * (x > 0), [x])
        report.assert_passed()
        assert report.blocks[0].instrument == "complex step"


def test_asking_for_the_complex_step_where_it_is_no_derivative_is_refused():
    for forward, backward, why in ((variance_norm, variance_norm_backward, "not analytic"),
                                   (lambda x: (x.real * 2, x), lambda dy, x: 2 * dy, "y stays real"),
                                   (lambda x: (np.asarray(x, dtype=float), x), lambda dy, x: dy, "imaginary part")):
        with pytest.raises(InputError, match=f"for input x: .*{why}"):
            check(forward, backward, [normal(3, 5)], instrument="complex step")


# ---- buffers

def copied(x, g):
    out = x.copy()
    out *= g
    return out, (x, g)


def summed(x, g):
    out = np.zeros_like(x)
    out += x * g
    return out, (x, g)


def filled(x, g):
    out = np.empty_like(x)
    out[...] = x * g
    return out, (x, g)


def between(x, g):
    t = np.empty_like(x)
    t[...] = x * g
    return t * g, (x, g)


def product_backward(dy, cache):
    return dy * cache[1], dy * cache[0]


def between_backward(dy, cache):
    x, g = cache
    return dy * g * g, 2 * dy * x * g


BUFFERS = [(copied, product_backward), (summed, product_backward), (filled, product_backward), (between, between_backward)]


@pytest.mark.parametrize("instrument", ["auto", "central"])
@pytest.mark.parametrize("fixed", [(), ("x",), ("g",)])
@pytest.mark.parametrize("forward, backward", BUFFERS, ids=lambda f: f.__name__)
def test_buffers_of_one_of_two_inputs(forward, backward, fixed, instrument):
    """Where g is moved into the complex numbers and x is not, its imaginary part has no place in a buffer like x."""
    inputs = {"x": normal(3, 4), "g": normal(3, 4, seed=1) + 0.3}
    kept = [i for i, name in enumerate(inputs) if name not in fixed]

    def given(factor):
        def scaled(dy, cache):
            return tuple(backward(dy, cache)[i] * (factor if i == kept[-1] else 1) for i in kept)

        return check(forward, scaled, inputs, fixed=fixed, instrument=instrument)

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        right = given(1)
        right.assert_passed()
        assert instrument == "central" or [block.instrument for block in right.blocks] == [
            {"x": "complex step", "g": "central"}[list(inputs)[i]] for i in kept]
        for factor in (0.5, 0, 1 + 1e-6):
            wrong = given(factor)
            assert not wrong.passed and not wrong.inconclusive and not wrong.blocks[-1].passed


def test_an_instrument_that_drops_imaginary_parts_raises():
    from minifl.gradcheck.instruments import complex_step
    inputs = {"x": normal(3), "g": normal(3, seed=1)}
    assert complex_step(between, inputs, np.ones(3), ["x"])["x"].shape == (3,)
    with pytest.raises(Warning, match="imaginary part"):
        complex_step(between, inputs, np.ones(3), ["g"])


def test_a_branch_that_takes_no_complex_numbers_gets_differences():
    """Accepted along a line in which all numbers move; one coordinate alone takes another branch."""
    def forward(x):
        if np.iscomplexobj(x) and np.count_nonzero(x.imag) == 1:
            raise TypeError
        return x * x, x

    report = check(forward, lambda dy, x: 2 * x * dy, [normal(3, 4)])
    report.assert_passed()
    assert report.blocks[0].instrument == "central"


# ---- what there is to compare

@pytest.mark.parametrize("tolerance", [1e-4, 1e-2])
def test_a_tolerance_is_the_users_however_wide(tolerance):
    for factor, passes in ((1, True), (1 + tolerance / 2, True), (1 + 2 * tolerance, False)):
        report = check(square, lambda dy, x: factor * square_backward(dy, x), [normal(3, 4)], tolerance=tolerance)
        assert report.blocks[0].passed == passes and not report.inconclusive


def test_long_double_is_not_random():
    x = normal(3, 4).astype(np.longdouble)
    check(square, square_backward, [x]).assert_passed()
    assert not check(square, lambda dy, x: x * dy, [x]).passed


def test_a_negative_zero_is_another_bit():
    calls = []

    def backward(dy, x):
        calls.append(None)
        return dy * (0.0 if len(calls) % 2 else -0.0)

    assert "different bits" in str(check(square, backward, [normal(3)]))


def test_an_input_without_numbers_is_not_compared():
    report = check(square, square_backward, [np.zeros((0, 3))])
    assert report.inconclusive and "no numbers, so nothing was compared" in str(report)
    beside = check(lambda x, e: (x * x, (x, e)), lambda dy, c: (2 * c[0] * dy, c[1]), [normal(2, 3), np.zeros((0, 3))])
    assert [block.passed for block in beside.blocks] == [True, False] and beside.inconclusive
    assert check(lambda x, e: (x * x, x), lambda dy, x: 2 * x * dy, {"x": normal(2, 3), "e": np.zeros((0, 3))},
                 fixed=("e",)).passed


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_inputs_that_are_not_finite_are_named(value):
    x = normal(2, 3)
    x[1, 2] = value
    with pytest.raises(InputError, match=rf"input x has {value} at \[1, 2\] \(1 of 6 numbers"):
        check(square, square_backward, {"x": x})
    mask = np.array([[0, -np.inf, 0]])
    assert check(lambda x, mask: (x * np.exp(mask), mask), lambda dy, mask: dy * np.exp(mask),
                 {"x": normal(2, 3), "mask": mask}, fixed=("mask",)).passed


def test_outputs_that_are_not_finite_are_named_and_accuse_nobody():
    with np.errstate(invalid="ignore"):
        report = check(lambda x: (np.sqrt(x), x), lambda dy, x: dy / (2 * np.sqrt(x)), [np.array([1.0, -2.0])])
    assert report.inconclusive and "forward gives nan at [1] of y" in str(report)
    with pytest.raises(InputError, match="dtype complex128 at real inputs"):
        check(lambda x: (x + 1j, x), lambda dy, x: dy, [normal(3)])


def test_a_point_without_axes_is_an_array_to_everybody():
    def forward(x, g):
        assert type(x) is type(g) is np.ndarray
        return x * g, (x, g)

    def backward(dy, cache):
        assert type(dy) is np.ndarray
        return dy * cache[1], dy * cache[0]

    for dtype in (np.float64, np.float32):
        check(forward, backward, [np.array(2.0, dtype=dtype), np.array(3.0, dtype=dtype)]).assert_passed()


def test_code_for_float32_alone_is_checked_in_float32():
    def forward(x):
        assert x.dtype == np.float32
        return x * x, x

    x = normal(3, 4).astype(np.float32)
    check(forward, square_backward, [x]).assert_passed()
    assert not check(forward, lambda dy, x: 1.99 * x * dy, [x]).passed


def test_a_smooth_point_lies_near():
    from minifl.gradcheck.pairs import point
    x = np.array([1.0, 1.0, 0.0, -50.0])
    at = point(square, square_backward, {"x": x}, (), np.random.default_rng(0))
    moved = acceptance.nearby(at, np.random.default_rng(1)).inputs["x"]
    assert len(set(moved)) == 4 and np.all(moved != x) and np.allclose(moved, x, rtol=0.1, atol=1e-3)
