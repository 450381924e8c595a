"""Functions for your gradient checker to work on: some with a backward pass that is right, and wrong ones for these."""

import numpy as np

from minifl.course.hw1.expected import cotangent
from minifl.course.running import with_arguments

# name -> f(*inputs) -> y, cache
FUNCTIONS = {
    "waves": lambda x, frequency: (np.sin(frequency * x), None),
    "growth": lambda size, rate: (size * np.exp(rate), None),
    "powers": lambda x, power: (x ** power, None),
    "distances": lambda x, height: (np.hypot(x, height), None),   # np.hypot takes no complex numbers
    "rows": lambda x: (x.sum(axis=1), None),
}


def _bump(x):
    """y = x exp(-|x|²/2) of each row."""
    weight = np.exp(-(x * x).sum(axis=1, keepdims=True) / 2)
    return x * weight, (x, weight)


def _bump_backward(dy, cache):
    x, weight = cache
    return weight * (dy - x * (x * dy).sum(axis=1, keepdims=True))


def _changed(gradient, change):
    gradient = gradient.copy()
    gradient[1, 2] = change(gradient[1, 2])
    return gradient


# name -> (forward, what is to be said of it -> backward)
PAIRS = {
    "bump": (_bump, {
        "right": _bump_backward,
        "without the term along x": lambda dy, cache: cache[1] * dy,
        "wrong at one entry": lambda dy, cache: _changed(_bump_backward(dy, cache), lambda entry: 1.001 * entry),
        "nan at one entry": lambda dy, cache: _changed(_bump_backward(dy, cache), lambda entry: np.nan),
        "all 0": lambda dy, cache: 0 * _bump_backward(dy, cache),
        "transposed": lambda dy, cache: _bump_backward(dy, cache).T,
        "with the sign changed": lambda dy, cache: -_bump_backward(dy, cache),
        "None": lambda dy, cache: None}),
    "exp": (lambda x: (np.exp(x), np.exp(x)), {
        "right": lambda dy, y: dy * y,
        "too large by 1e-9": lambda dy, y: dy * y * (1 + 1e-9),
        "of a cotangent of ones": lambda dy, y: y}),
    "constant": (lambda x: (0 * x + 1, None), {
        "right, but it cannot be told from one that returns zeros": lambda dy, cache: 0 * dy}),
}


class Sealed:
    """A cache that only these functions look into."""

    def __init__(self, content):
        self.content = content


def sealed(forward, backward):
    """The pair with such a cache."""
    def to(*inputs):
        y, cache = forward(*inputs)
        return y, Sealed(cache)

    return to, lambda dy, cache: backward(dy, cache.content)


def checker(student):
    """The file of your gradient checker."""
    return student("minifl.gradcheck.instruments")


def differentiate(student, instrument, function, inputs, v, wanted):
    """(gradients, names of inputs that were written to): what your instrument of that name says of FUNCTIONS."""
    gradients, (_, after, *_), _ = with_arguments(
        getattr(checker(student), instrument), FUNCTIONS[function], inputs, v, wanted)
    return gradients, [name for name, array in inputs.items() if not np.array_equal(array, after[name])]


def verdict(student, instrument, pair, backward, x, v):
    """Your block_error of a backward pass of PAIRS and the gradient that your instrument finds."""
    forward, backwards = PAIRS[pair]
    forward, back = sealed(forward, backwards[backward])
    numeric = getattr(checker(student), instrument)(forward, {"x": x}, v, ["x"])["x"]
    y, cache = forward(x)
    return checker(student).block_error(back(cotangent(v, y), cache), numeric)


def jacobian_of_bump(student, x):
    """Your Jacobian of the bump at x."""
    return checker(student).jacobian(*sealed(_bump, _bump_backward), x)


def jacobian_of_product(student, x, a, several):
    """Your Jacobian of y = x a'; if several, its backward returns a tuple of the gradients by x and by a."""
    def backward(dy, cache):
        return (dy @ a, np.swapaxes(dy, -1, -2) @ cache) if several else dy @ a

    return checker(student).jacobian(*sealed(lambda x: (x @ a.T, x), backward), x)
