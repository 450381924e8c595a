"""Public tests of assignment 2; expected.py says how they find out."""

from collections.abc import Callable
from typing import Any

import numpy as np

from minifl.backend import Array
from minifl.course.comparing import compare
from minifl.course.hw2.expected import (GRADIENT, MAP, VALUE, affine_by_hand, along_channels, by_hand,
                                        feature_norm_by_hand, layer_norm_by_hand, matrix, mv_norm_by_hand, parameters,
                                        problems, problems_near_eps, pulled_back, shift_by_hand, slopes_of_affine)
from minifl.course.running import Given, Student, expect, graded

FN, MV, LN, JACOBIANS = "feature norm", "MV norm", "layer norm", "Jacobians"
SMALL = 1e-5   # the eps of all norms, unless another is given


def axes(x: Array) -> tuple:
    """What the axes of x are called."""
    return MAP if x.ndim == 5 else ("client", "example", "feature")


def check_values(forward: Callable, function: Callable, given: Given) -> None:
    """A norm's values: of numbers, of complex numbers, in float32; inputs stay as they are."""
    for words, x in problems(given):
        before = x.copy()
        y, _ = forward(x)
        compare(f"y ({words})", y, by_hand(function, x, given, SMALL), VALUE, axes(x))
        expect(np.array_equal(x, before), f"x was written to ({words})")
        moved = x + 0.05j * given.rng("imaginary", words).standard_normal(x.shape)
        y, _ = forward(moved)
        compare(f"y of complex numbers ({words})", y, by_hand(function, moved, given, SMALL), VALUE, axes(x))
        y, _ = forward(x.astype(np.float32))
        expect(y.dtype == np.float32, f"y of float32 numbers is {y.dtype}, it should be float32 ({words})")


def check_gradient(backward: Callable, cache: Any, words: str, x: Array, right: Callable, along: dict, given: Given) -> None:
    """dx for two gradients from above that meet the same cache; right(dy) is what it should be."""
    for time in ("once", "again"):
        dy = given.rng("dy", words, time).standard_normal(x.shape)
        before = dy.copy()
        dx = backward(dy, cache)
        dx = dx[0] if isinstance(dx, tuple) else dx
        what = f"dx ({words})" if time == "once" else f"dx of another dy with the same cache ({words})"
        compare(what, dx, right(dy), GRADIENT, axes(x), along if x.ndim == 3 else {})
        expect(np.array_equal(dy, before), f"dy was written to ({words})")


def check_gradients(forward: Callable, backward: Callable, function: Callable, given: Given, *, near_eps: bool) -> None:
    """The gradient of a norm without parameters."""
    for words, x, eps in problems_near_eps(given, function) if near_eps else (
            (words, x, SMALL) for words, x in problems(given)):
        y, cache = forward(x, **({"eps": eps} if near_eps else {}))
        if near_eps:
            compare(f"y ({words})", y, by_hand(function, x, given, eps), VALUE, axes(x))
        along = {"x": x} if function is feature_norm_by_hand else {"the vector of ones": np.ones_like(x), "y": y}
        check_gradient(backward, cache, words, x, lambda dy: pulled_back(function, dy, x, given, eps), along, given)


def check_equal_numbers(forward: Callable, backward: Callable, function: Callable, number: float, given: Given) -> None:
    """Vectors all of whose entries are the same number, for which y is 0, beside others."""
    for words, x in problems(given):
        x[:, 0] = number
        y, cache = forward(x, eps=0.25)
        words += f", of the first example all are {number}"
        compare(f"y ({words})", y, by_hand(function, x, given, 0.25), VALUE, axes(x))
        check_gradient(backward, cache, words, x, lambda dy: pulled_back(function, dy, x, given, 0.25), {}, given)


# ---- feature norm

@graded(FN, 1, "the first line of feature_norm's docstring, and its task on types")
def feature_norm_values(student: Student, given: Given) -> None:
    """Feature norm has the values of its definition, for vectors and maps, also complex ones and in float32."""
    check_values(student("minifl.layers.norm").feature_norm, feature_norm_by_hand, given)


@graded(FN, 1, "the first line of feature_norm's docstring: which vectors are shorter than eps, and what is their y?")
def feature_norm_eps(student: Student, given: Given) -> None:
    """eps stands where the definition has it: for short vectors, long ones, and zeros."""
    norm = student("minifl.layers.norm")
    for words, x, eps in problems_near_eps(given, feature_norm_by_hand):
        x[:, -1] = 0
        y, _ = norm.feature_norm(x, eps=eps)
        compare(f"y ({words})", y, by_hand(feature_norm_by_hand, x, given, eps), VALUE, axes(x))


@graded(FN, 2, "your J in the task of feature_norm_backward: which of its terms knows that a longer x has the same y?")
def feature_norm_gradient(student: Student, given: Given) -> None:
    """dx of feature norm is the derivative of its definition."""
    norm = student("minifl.layers.norm")
    check_gradients(norm.feature_norm, norm.feature_norm_backward, feature_norm_by_hand, given, near_eps=False)


@graded(FN, 2, "your derivative of what x is divided by: what does eps do to it? Each vector for itself")
def feature_norm_gradient_near_eps(student: Student, given: Given) -> None:
    """dx is right where eps matters, too: short vectors beside long ones, and zeros."""
    norm = student("minifl.layers.norm")
    check_gradients(norm.feature_norm, norm.feature_norm_backward, feature_norm_by_hand, given, near_eps=True)
    check_equal_numbers(norm.feature_norm, norm.feature_norm_backward, feature_norm_by_hand, 0.0, given)


# ---- MV norm

@graded(MV, 1, "the docstring of shift: what is the mean taken over?")
def shift_values(student: Student, given: Given) -> None:
    """The shift takes away each vector's own mean."""
    check_values(student("minifl.layers.norm").shift, shift_by_hand, given)


@graded(MV, 1, "your matrix P in the task of shift_backward: what does it do to a dy that is constant?")
def shift_gradient(student: Student, given: Given) -> None:
    """dx of the shift is the derivative of its definition."""
    norm = student("minifl.layers.norm")
    for words, x in problems(given):
        _, cache = norm.shift(x)
        check_gradient(norm.shift_backward, cache, words, x, lambda dy: pulled_back(shift_by_hand, dy, x, given),
                       {"the vector of ones": np.ones_like(x)}, given)


@graded(MV, 1, "the first line of mv_norm's docstring")
def mv_norm_values(student: Student, given: Given) -> None:
    """MV norm has the values of its definition, for vectors and maps, also complex ones and in float32."""
    check_values(student("minifl.layers.norm").mv_norm, mv_norm_by_hand, given)


@graded(MV, 2, "your product of Jacobians in the task of mv_norm_backward: which directions of dy must it remove?")
def mv_norm_gradient(student: Student, given: Given) -> None:
    """dx of MV norm is the derivative of its definition."""
    norm = student("minifl.layers.norm")
    check_gradients(norm.mv_norm, norm.mv_norm_backward, mv_norm_by_hand, given, near_eps=False)


@graded(MV, 1, "the definition of n in feature_norm's docstring, applied to x - mean(x): what does eps do?")
def mv_norm_gradient_near_eps(student: Student, given: Given) -> None:
    """dx is right where eps matters, too: vectors with little spread beside others, and with none."""
    norm = student("minifl.layers.norm")
    check_gradients(norm.mv_norm, norm.mv_norm_backward, mv_norm_by_hand, given, near_eps=True)
    check_equal_numbers(norm.mv_norm, norm.mv_norm_backward, mv_norm_by_hand, 2.0, given)


# ---- layer norm

@graded(LN, 1, "the docstring of affine: which gain meets which entry of x?")
def affine_values(student: Student, given: Given) -> None:
    """The affine map scales and shifts each channel by its client's numbers."""
    norm = student("minifl.layers.norm")
    for words, x in problems(given):
        gain, bias = parameters(x, given)
        y, _ = norm.affine(x, gain, bias)
        compare(f"y ({words})", y, affine_by_hand(x, gain, bias), VALUE, axes(x))


@graded(LN, 2, "your answer to the task of affine_backward: which entries of y does one gain reach, which one bias?")
def affine_gradients(student: Student, given: Given) -> None:
    """dx, dgain and dbias of the affine map are its derivatives."""
    norm = student("minifl.layers.norm")
    for words, x in problems(given):
        gain, bias = parameters(x, given)
        y, cache = norm.affine(x, gain, bias)
        dy = given.rng("dy", words).standard_normal(y.shape)
        dx, dgain, dbias = norm.affine_backward(dy, cache)
        by_x, by_gain, by_bias = slopes_of_affine(x, gain, bias)
        compare(f"dx ({words})", dx, by_x * dy, GRADIENT, axes(x))
        compare(f"dgain ({words})", dgain, along_channels(dy * by_gain), GRADIENT, ("client", "channel"))
        compare(f"dbias ({words})", dbias, along_channels(dy * by_bias), GRADIENT, ("client", "channel"))


@graded(LN, 1, "the four equations in layer_norm's docstring")
def layer_norm_values(student: Student, given: Given) -> None:
    """Layer norm has the values of its definition, with small and with large eps, and gains of each channel."""
    norm = student("minifl.layers.norm")
    for words, x, eps in (*((words, x, SMALL) for words, x in problems(given)),
                          *problems_near_eps(given, layer_norm_by_hand)):
        gain, bias = parameters(x, given)
        y, _ = norm.layer_norm(x, gain, bias, eps=eps)
        right = affine_by_hand(by_hand(layer_norm_by_hand, x, given, eps), gain, bias)
        compare(f"y ({words})", y, right, VALUE, axes(x))
        moved = x + 0.05j * given.rng("imaginary", words).standard_normal(x.shape)
        y, _ = norm.layer_norm(moved, gain, bias, eps=eps)
        right = affine_by_hand(by_hand(layer_norm_by_hand, moved, given, eps), gain, bias)
        compare(f"y of complex numbers ({words})", y, right, VALUE, axes(x))
        y, _ = norm.layer_norm(*(array.astype(np.float32) for array in (x, gain, bias)))
        expect(y.dtype == np.float32, f"y of float32 numbers is {y.dtype}, it should be float32 ({words})")


def check_layer_norm_gradient(norm: Any, words: str, x: Array, eps: float, given: Given) -> None:
    """dx of layer norm."""
    gain, bias = parameters(x, given)
    _, cache = norm.layer_norm(x, gain, bias, eps=eps)
    h = by_hand(layer_norm_by_hand, x, given, eps)
    by_h, along = slopes_of_affine(h, gain, bias)[0], {"the vector of ones": np.ones_like(x), "h": h}
    check_gradient(norm.layer_norm_backward, cache, words, x,
                   lambda dy: pulled_back(layer_norm_by_hand, by_h * dy, x, given, eps), along, given)


@graded(LN, 2, "your matrix in the task of layer_norm_backward: where do gain and sigma stand, which terms take away?")
def layer_norm_gradient(student: Student, given: Given) -> None:
    """dx of layer norm is the derivative of its definition."""
    for words, x in problems(given):
        check_layer_norm_gradient(student("minifl.layers.norm"), words, x, SMALL, given)


@graded(LN, 1, "your dsigma/dxc_j in the task of layer_norm_backward: is eps in it? And if xc = 0?")
def layer_norm_gradient_near_eps(student: Student, given: Given) -> None:
    """dx is right where eps matters, too: vectors with little spread beside others, and with none."""
    norm = student("minifl.layers.norm")
    for words, x, eps in problems_near_eps(given, layer_norm_by_hand):
        check_layer_norm_gradient(norm, words, x, eps, given)
        x[:, 0] = 2.0
        check_layer_norm_gradient(norm, f"{words}, of the first example all are 2.0", x, eps, given)


@graded(LN, 1, "the equation of y in layer_norm's docstring: what is multiplied by gain? Then as in affine_backward")
def layer_norm_parameter_gradients(student: Student, given: Given) -> None:
    """dgain and dbias of layer norm are its derivatives."""
    norm = student("minifl.layers.norm")
    for words, x in problems(given):
        gain, bias = parameters(x, given)
        y, cache = norm.layer_norm(x, gain, bias)
        dy = given.rng("dy", words).standard_normal(y.shape)
        _, dgain, dbias = norm.layer_norm_backward(dy, cache)
        _, by_gain, by_bias = slopes_of_affine(by_hand(layer_norm_by_hand, x, given, SMALL), gain, bias)
        compare(f"dgain ({words})", dgain, along_channels(dy * by_gain), GRADIENT, ("client", "channel"))
        compare(f"dbias ({words})", dbias, along_channels(dy * by_bias), GRADIENT, ("client", "channel"))


# ---- Jacobians

def check_jacobian(function: Callable, by_hand_of_one: Callable, given: Given, eps_values: tuple) -> None:
    """A Jacobian (d, d) for vectors of several lengths and sizes, and values of eps."""
    for number, eps in enumerate(eps_values):
        rng, d = given.rng("Jacobian", number), given.size(f"Jacobian {number}", 3, 8)
        x = rng.standard_normal(d) * rng.uniform(0.5, 2) + 0.5
        before = x.copy()
        j = function(x, eps)
        compare(f"J at a vector of {d} numbers, eps {eps}", j, matrix(by_hand_of_one, x, given, eps), GRADIENT,
                ("row", "column"))
        expect(np.array_equal(x, before), "x was written to")


@graded(JACOBIANS, 1, "the task of shift_jacobian: what is the derivative of mean(x) by x_j?")
def shift_matrix(student: Student, given: Given) -> None:
    """The Jacobian of the shift."""
    jacobians = student("minifl.gradcheck.jacobians")
    check_jacobian(lambda x, eps: jacobians.shift_jacobian(x), shift_by_hand, given, (0, 0, 0))


@graded(JACOBIANS, 2, "the task of feature_norm_jacobian: u has length 1, and what if eps is larger than ||x||?")
def feature_norm_matrix(student: Student, given: Given) -> None:
    """The Jacobian of feature norm, with small and with large eps."""
    jacobians = student("minifl.gradcheck.jacobians")
    check_jacobian(jacobians.feature_norm_jacobian, feature_norm_by_hand, given, (SMALL, 0.2, 30.0, SMALL))


@graded(JACOBIANS, 2, "the task of mv_norm_jacobian: which Jacobian is taken where, and in which order do they stand?")
def mv_norm_matrix(student: Student, given: Given) -> None:
    """The Jacobian of MV norm, with small and with large eps."""
    jacobians = student("minifl.gradcheck.jacobians")
    check_jacobian(jacobians.mv_norm_jacobian, mv_norm_by_hand, given, (SMALL, 0.2, 30.0, SMALL))


@graded(JACOBIANS, 2, "the task of layer_norm_jacobian: gain belongs to y_i, not to x_k; and where is eps?")
def layer_norm_matrix(student: Student, given: Given) -> None:
    """The Jacobian of layer norm, with small and with large eps."""
    jacobians = student("minifl.gradcheck.jacobians")
    gains = iter(given.rng("gains").uniform(0.5, 2, (4, 8)))

    def with_gain(x, eps):
        gain = next(gains)[:len(x)]
        j = jacobians.layer_norm_jacobian(x, gain, eps)
        expect(np.shape(j) == (len(x), len(x)), f"J has the shape {np.shape(j)}, it should have {(len(x), len(x))}")
        h = layer_norm_by_hand(x, given, eps)
        by_h, _, _ = slopes_of_affine(h[None, None], gain[None], 0 * gain[None])
        return j / by_h[0, 0][:, None]    # what is left is the Jacobian of h

    check_jacobian(with_gain, layer_norm_by_hand, given, (SMALL, 0.2, 30.0, SMALL))
