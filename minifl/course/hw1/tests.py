"""Public tests of assignment 1; expected.py says how they find out, for the gradient checker formulas stand here."""

from collections.abc import Iterator
from typing import Any

import numpy as np

from minifl.backend import Array
from minifl.course.comparing import compare
from minifl.course.hw1 import drivers
from minifl.course.hw1.expected import (OBJECTIVE, all_mapped, classified, cotangent, error_by_hand, laid_out, large,
                                        losses_by_hand, mapped, problems, reduced, slopes_by_hand, slopes_of_reduced,
                                        stored, units)
from minifl.course.running import Given, Student, expect, graded

LINEAR, LOSS, CHECKER = "linear layer", "softmax cross-entropy", "gradient checker"
VALUE, GRADIENT = 1e-12, 1e-11       # of the largest entry
COMPLEX_STEP = 1e-13                 # what the complex step can reach, of the largest entry
CENTRAL = {"published": 1e-9, "fourth": 5e-12}


# ---- linear layer

@graded(LINEAR, 1, "the first line of linear's docstring, and the shapes under it: which client has which weight?")
def linear_values(student: Student, given: Given) -> None:
    """The layer maps each client's examples by that client's weight and bias."""
    linear = student("minifl.layers.linear")
    for words, x, weight, bias, _ in problems(given):
        y, _ = linear.linear(x, stored(weight, given), bias)
        compare(f"y ({words})", y, all_mapped(x, weight, bias), VALUE, ("client", "example", "output"))


@graded(LINEAR, 1, "the docstring of linear: 'or None'; and its task on types")
def linear_bias_and_types(student: Student, given: Given) -> None:
    """The layer works without bias, in float32 and for complex numbers, and leaves its inputs as they are."""
    linear = student("minifl.layers.linear")
    for words, x, weight, bias, dy in problems(given):
        y, cache = linear.linear(x, stored(weight, given))
        compare(f"y without bias ({words})", y, all_mapped(x, weight, 0 * bias), VALUE)
        expect(linear.linear_backward(dy, cache)[2] is None, f"dbias of a layer without bias should be None ({words})")
        moved = x + 1j * given.rng("imaginary", words).standard_normal(x.shape)
        y, _ = linear.linear(moved, stored(weight, given), bias)
        compare(f"y of complex numbers ({words})", y, all_mapped(moved, weight, bias), VALUE)
        single = [array.astype(np.float32) for array in (x, stored(weight, given), bias)]
        before = [array.copy() for array in single]
        y, _ = linear.linear(*single)
        expect(y.dtype == np.float32, f"y of float32 inputs is {y.dtype}, it should be float32 ({words})")
        expect(all(np.array_equal(*pair) for pair in zip(single, before)), f"an input was written to ({words})")


def linear_gradients(student: Student, given: Given) -> Iterator[tuple]:
    """(in words, the three gradients as they come, x, weight (K, D, F), bias, dy)."""
    linear = student("minifl.layers.linear")
    for words, x, weight, bias, dy in problems(given):
        _, cache = linear.linear(x, stored(weight, given), bias)
        dx, dweight, dbias = linear.linear_backward(dy, cache)
        yield words, dx, dweight, dbias, x, weight, bias, dy


@graded(LINEAR, 1, "your answer to the task of linear_backward for one entry of x: which weights does it meet?")
def linear_input_gradient(student: Student, given: Given) -> None:
    """dx says how the outputs move with each feature."""
    for words, dx, _, _, x, weight, bias, dy in linear_gradients(student, given):
        right = [[[float(v @ mapped(e, w, 0 * bias[0])) for e in units(x.shape[2])] for v in client]
                 for client, w in zip(dy, weight)]
        compare(f"dx ({words})", dx, np.array(right), GRADIENT, ("client", "example", "feature"))


@graded(LINEAR, 2, "your answer to the task of linear_backward for one weight: which examples does it meet?")
def linear_weight_gradient(student: Student, given: Given) -> None:
    """dweight says how all of a client's outputs move with each weight."""
    for words, _, dweight, _, x, weight, bias, dy in linear_gradients(student, given):
        right = [[sum(float(v @ mapped(example, e, 0 * bias[0])) for v, example in zip(vs, client))
                  for e in units(*weight.shape[1:])] for vs, client in zip(dy, x)]
        compare(f"dweight ({words})", dweight, stored(np.reshape(right, weight.shape), given), GRADIENT,
                ("client", "axis 1", "axis 2"))


@graded(LINEAR, 1, "your answer to the task of linear_backward for one bias: which outputs does it reach?")
def linear_bias_gradient(student: Student, given: Given) -> None:
    """dbias says how all of a client's outputs move with each bias."""
    for words, _, _, dbias, x, weight, bias, dy in linear_gradients(student, given):
        right = [[sum(float(v @ mapped(0 * x[0, 0], 0 * weight[0], e)) for v in vs) for e in units(bias.shape[1])]
                 for vs in dy]
        compare(f"dbias ({words})", dbias, np.array(right), GRADIENT, ("client", "output"))


# ---- softmax cross-entropy

@graded(LOSS, 1, "the equations in softmax_cross_entropy's docstring: what is averaged or summed over, what is not?")
def loss_values(student: Student, given: Given) -> None:
    """The loss of each client is that of the equations."""
    loss = student("minifl.layers.loss")
    for words, logits, labels, _ in classified(given):
        value, _ = loss.softmax_cross_entropy(logits, labels)
        compare(f"loss ({words})", value, reduced(losses_by_hand(logits, labels, given), given), VALUE, ("client",))


@graded(LOSS, 1, "the task of softmax_cross_entropy: the loss has the logits' type")
def loss_types(student: Student, given: Given) -> None:
    """The loss works in float32 and for complex logits, and leaves its inputs as they are."""
    loss = student("minifl.layers.loss")
    for words, logits, labels, _ in classified(given):
        single, before = logits.astype(np.float32), labels.copy()
        value, _ = loss.softmax_cross_entropy(single, labels)
        expect(value.dtype == np.float32, f"the loss of float32 logits is {value.dtype}, it should be, too ({words})")
        expect(np.array_equal(single, logits.astype(np.float32)), f"the logits were written to ({words})")
        expect(np.array_equal(before, labels), f"the labels were written to ({words})")
        moved = logits + 0.1j * given.rng("imaginary", words).standard_normal(logits.shape)
        value, _ = loss.softmax_cross_entropy(moved, labels)
        right = reduced(losses_by_hand(moved, labels, given), given)
        compare(f"loss of complex logits ({words})", value, right, VALUE, ("client",))


@graded(LOSS, 1, "the task of softmax_cross_entropy: which number is subtracted, and is there one for each example?")
def loss_of_large_logits(student: Student, given: Given) -> None:
    """Logits of 1000 and -1000 neither overflow nor lose the loss."""
    loss = student("minifl.layers.loss")
    words, logits, labels, _ = large(given)
    right = losses_by_hand(logits, labels, given)
    value, _ = loss.softmax_cross_entropy(logits, labels)
    compare(f"loss ({words})", value, reduced(right, given), VALUE, ("client",))
    for n in range(logits.shape[1]):     # one example alone: here a small loss is not hidden by a large one
        value, _ = loss.softmax_cross_entropy(logits[:, n:n + 1], labels[:, n:n + 1])
        for k, one in enumerate(reduced(right[:, n:n + 1], given)):
            expect(abs(value[k] - one) <= VALUE * max(1, one),
                   f"the loss of example {n} alone of client {k} ({words}) is off by {value[k] - one:.1e}")


def check_loss_gradient(loss: Any, words: str, logits: Array, labels: Array, dloss: Array, given: Given) -> None:
    """dlogits."""
    value, cache = loss.softmax_cross_entropy(logits, labels)
    weights = dloss[:, None] * slopes_of_reduced(losses_by_hand(logits, labels, given), given)
    right = weights[:, :, None] * slopes_by_hand(logits, labels, given)
    compare(f"dlogits ({words})", loss.softmax_cross_entropy_backward(dloss, cache), right, GRADIENT,
            ("client", "example", "class"))


@graded(LOSS, 2, "your derivatives of the two terms of loss_n in the task of softmax_cross_entropy_backward")
def loss_gradient(student: Student, given: Given) -> None:
    """dlogits says how each client's loss moves with each logit."""
    for words, logits, labels, dloss in classified(given):
        check_loss_gradient(student("minifl.layers.loss"), words, logits, labels, np.ones_like(dloss), given)


@graded(LOSS, 1, "the chain rule: what is done with the incoming dloss, and whose logits does a client's dloss reach?")
def loss_gradient_of_each_client(student: Student, given: Given) -> None:
    """Each client's dlogits is multiplied by its own dloss; two calls with one cache do not disturb each other."""
    loss = student("minifl.layers.loss")
    for words, logits, labels, dloss in classified(given):
        check_loss_gradient(loss, f"{words}, dloss not 1", logits, labels, dloss, given)
        _, cache = loss.softmax_cross_entropy(logits, labels)
        once, again = (loss.softmax_cross_entropy_backward(v, cache) for v in (dloss, -2 * dloss))
        compare(f"dlogits of another dloss with the same cache ({words})", again, -2 * once, GRADIENT)


@graded(LOSS, 1, "your softmax: is it made of what does not overflow?")
def loss_gradient_of_large_logits(student: Student, given: Given) -> None:
    """Logits of 1000 and -1000 neither overflow nor lose the gradient."""
    check_loss_gradient(student("minifl.layers.loss"), *large(given), given)


# ---- gradient checker

def differentiated(student: Student, instrument: str, function: str, inputs: dict, v: Array, wanted: list[str]) -> dict:
    """The gradients that an instrument finds, after a look at what came back."""
    gradients, changed = drivers.differentiate(student, instrument, function, inputs, v, wanted)
    expect(isinstance(gradients, dict), f"{instrument} should return a dict, it returned a {type(gradients).__name__}")
    expect(list(gradients) == list(wanted), f"{instrument} was asked for {wanted} and returned {list(gradients)}")
    expect(not changed, f"{instrument} changed its input {', '.join(changed)}")
    return gradients


def check_accuracy(student: Student, given: Given, instrument: str, tolerance: float) -> None:
    """Gradients of two smooth functions."""
    rng, n, m = given.rng("accuracy"), given.size("rows", 3, 4), given.size("columns", 4, 6)
    x, frequency = rng.uniform(-2, 2, (n, m)), np.linspace(0.5, 2, n * m).reshape(n, m)
    v = rng.uniform(0.5, 1.5, (n, m)) * rng.choice([-1, 1], (n, m))
    found = differentiated(student, instrument, "waves", {"x": x, "frequency": frequency}, v, ["x", "frequency"])
    dy = cotangent(v, np.sin(frequency * x))
    for name, inner in (("x", frequency), ("frequency", x)):
        compare(f"gradient of {OBJECTIVE}, y = sin(frequency*x), by {name}, {instrument}", found[name],
                dy * inner * np.cos(frequency * x), tolerance)
    size, rate = rng.uniform(0.5, 2, (n, 1)), rng.uniform(-1, 1, (m,))
    found = differentiated(student, instrument, "growth", {"size": size, "rate": rate}, v, ["size", "rate"])
    dy = cotangent(v, size * np.exp(rate))
    compare(f"gradient of {OBJECTIVE}, y = size*exp(rate), by size, {instrument}", found["size"],
            np.array([[sum(row * np.exp(rate))] for row in dy]), tolerance)
    compare(f"gradient of {OBJECTIVE}, y = size*exp(rate), by rate, {instrument}", found["rate"],
            np.array([sum(column * size[:, 0]) for column in dy.T]) * np.exp(rate), tolerance)


def check_inputs(student: Student, given: Given, instrument: str, tolerance: float) -> None:
    """Only wanted inputs are differentiated, and y may have another shape than x."""
    rng = given.rng("inputs")
    x, v = rng.uniform(0.5, 1.5, (3, 4)), rng.standard_normal((3, 4))
    power = rng.integers(2, 5, (3, 4))
    found = differentiated(student, instrument, "powers", {"x": x, "power": power}, v, ["x"])
    compare(f"gradient of {OBJECTIVE}, y = x**power, by x alone, power being whole numbers, {instrument}", found["x"],
            cotangent(v, x**power) * power * x ** (power - 1), tolerance)
    found = differentiated(student, instrument, "rows", {"x": x}, v[:, 0], ["x"])
    compare(f"gradient of {OBJECTIVE}, y = x.sum(axis=1), {instrument}", found["x"],
            np.outer(cotangent(v[:, 0], x.sum(axis=1)), [1, 1, 1, 1]), tolerance)


@graded(CHECKER, 2, "the first line of complex_step's docstring, and its task: how large may h be, and how small?")
def complex_step_accuracy(student: Student, given: Given) -> None:
    """The complex step finds gradients to rounding."""
    check_accuracy(student, given, "complex_step", COMPLEX_STEP)


@graded(CHECKER, 1, "the docstring of complex_step: what are inputs, v and wanted? What becomes of the others?")
def complex_step_inputs(student: Student, given: Given) -> None:
    """The complex step moves one entry of a copy at a time, and only of what is wanted."""
    check_inputs(student, given, "complex_step", COMPLEX_STEP)


@graded(CHECKER, 2, "the task of central_difference: which two errors does h balance?")
def central_difference_accuracy(student: Student, given: Given) -> None:
    """Central differences are as accurate as a good h allows."""
    check_accuracy(student, given, "central_difference", CENTRAL[given.variant["difference"]])


@graded(CHECKER, 1, "the docstring of central_difference: which numbers is f called with?")
def central_difference_inputs(student: Student, given: Given) -> None:
    """Central differences need no complex numbers, and only move what is wanted, in a copy."""
    tolerance = CENTRAL[given.variant["difference"]]
    check_inputs(student, given, "central_difference", tolerance)
    rng = given.rng("distances")
    x, v, height = rng.uniform(0.5, 2, (2, 3)), rng.standard_normal((2, 3)), rng.uniform(0.5, 2, (2, 3))
    found = differentiated(student, "central_difference", "distances", {"x": x, "height": height}, v, ["height"])
    y = np.sqrt(x * x + height * height)
    compare(f"gradient of {OBJECTIVE}, y = hypot(x, height), by height, central_difference", found["height"],
            cotangent(v, y) * height / y, tolerance)


@graded(CHECKER, 1, "'Error of a block' at the top of the file, number by number")
def block_error_values(student: Student, given: Given) -> None:
    """The error of a block is the one that is defined at the top of the file."""
    block_error = student("minifl.gradcheck.instruments").block_error
    n = np.array([[1.0, -4.0], [2.0, 0.5]]) * given.rng("block").uniform(1, 3)
    corner = np.array([[0, 0], [0.25, 0]])
    for words, a in (("both are the same", n), ("one entry is off by a quarter of the largest", n + n[0, 1] * corner),
                     ("the largest entry is 1.25 times as large", n * np.array([[1, 1.25], [1, 1]])),
                     ("backward returns 0", 0 * n), ("the sign is wrong", -n)):
        right = error_by_hand(a, n)
        for factor in (1.0, 1e-4, 1e6):
            found = block_error(a * factor, n * factor)
            expect(np.ndim(found) == 0, f"the error is of shape {np.shape(found)}, it should be one number")
            expect(abs(found - right) <= 1e-12, f"the error is {found:.6g} where {words}, it should be {right:.6g}")


@graded(CHECKER, 1, "the docstring of block_error: when is it inf? Is nan larger or smaller than anything?")
def block_error_rejects(student: Student, given: Given) -> None:
    """What is no gradient at all, or no evidence of one, never passes."""
    block_error = student("minifl.gradcheck.instruments").block_error
    n = given.rng("rejects").uniform(1, 2, (2, 3))
    found = block_error(n, n)
    expect(found == 0, f"the error is {found} where backward and the true gradient are the same, it should be 0")
    holed, infinite = n.copy(), n.copy()
    holed[1, 2], infinite[0, 1] = np.nan, np.inf
    for words, a, b in (("backward returned None", None, n), ("a row is missing", n[:1], n), ("transposed", n.T, n),
                        ("an axis too many", n[None], n), ("an entry is nan", holed, n),
                        ("an entry is infinite", infinite, n),
                        ("backward and the true gradient are 0", 0 * n, 0 * n),
                        ("the true gradient is 0 but for rounding, as backward is", 1e-9 * n, 1e-9 * n)):
        found = block_error(a, b)
        expect(found == np.inf, f"the error is {found} where {words}, it should be infinite")


@graded(CHECKER, 1, "complex_step and block_error together: is the given v used? Is each entry compared?")
def verdicts(student: Student, given: Given) -> None:
    """With your checker right backward passes are accepted and wrong ones are not."""
    rng = given.rng("verdicts")
    x = rng.uniform(-1, 1, (4, 4))
    x -= np.array([[row.mean()] for row in x])     # so that a cotangent of ones does not see the term along x
    v, ones = rng.uniform(0.5, 1.5, (4, 4)) * rng.choice([-1, 1], (4, 4)), np.ones((4, 4))
    for pair, backward, given_v in (
            ("bump", "right", v), ("exp", "right", v), ("bump", "without the term along x", v),
            ("bump", "without the term along x", ones),      # of ones no checker can see it
            ("bump", "wrong at one entry", v), ("bump", "nan at one entry", v), ("bump", "all 0", v),
            ("bump", "transposed", v), ("bump", "with the sign changed", v), ("bump", "None", v),
            ("exp", "too large by 1e-9", v), ("exp", "of a cotangent of ones", v),
            ("constant", "right, but it cannot be told from one that returns zeros", v)):
        error = drivers.verdict(student, "complex_step", pair, backward, x, given_v)
        forward, (right, *_) = drivers.PAIRS[pair][0], drivers.PAIRS[pair][1].values()
        dy, cache = cotangent(given_v, forward(x)[0]), forward(x)[1]
        a, n = drivers.PAIRS[pair][1][backward](dy, cache), right(dy, cache)
        should = error_by_hand(a, n) if a is not None and np.isfinite(a).all() and n.any() else np.inf
        expect(error == should or abs(error - should) <= 1e-12,
               f"the error of a backward pass of {pair} that is {backward!r} is {error:.3g}, where v is "
               f"{'ones' if given_v is ones else 'random'}; it should be {should:.3g}")


@graded(CHECKER, 2, "the docstring of jacobian: which of the two axes is y's? What is the gradient of one entry of y?")
def jacobian_matrix(student: Student, given: Given) -> None:
    """The Jacobian has a row for each number of y and a column for each of x."""
    rng = given.rng("Jacobian")
    a = rng.standard_normal((given.size("outputs", 4, 5), 3))
    for several in (False, True):
        j = drivers.jacobian_of_product(student, rng.standard_normal((1, 1, 3)), a, several)
        words = f"J of y = x a', a {a.shape}{', backward returning a tuple' * several}"
        compare(words, j, laid_out(a, (1, 1, len(a)), (1, 1, 3)), VALUE, ("row", "column"))
    x = rng.standard_normal((2, 3))
    right = np.zeros((6, 6))
    for row in (0, 1):
        for i in range(3):
            for j in range(3):
                right[3 * row + i, 3 * row + j] = np.exp(-(x[row] @ x[row]) / 2) * ((i == j) - x[row, i] * x[row, j])
    compare("J of the bump of two rows", drivers.jacobian_of_bump(student, x), laid_out(right, x.shape, x.shape), VALUE,
            ("row", "column"))
