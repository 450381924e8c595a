"""Where a function has a kink, its derivative is not one number: which answers of a backward pass are right there.

At a kink the two sides have derivatives of their own. Any number between them is a subgradient along that coordinate
(ReLU at 0: anything from 0 to 1), and where several coordinates tie, as the winners of a max-pool, moving all of them
together is smooth: in that direction their entries together have to be right.
"""

import numpy as np

DIFFERENT = 1e-3  # relative: derivatives of the two sides that are not the same, in float64


def judge(f, inputs, v, name, a, suspects, allowed, eps):
    """(which of the suspects sit on a kink, which of these have a right entry in a), arrays of a's shape.

    allowed  absolute, how far outside the two sides' derivatives an entry may lie
    eps      of the precision that f computes in: the step eps^(2/5) is far below the distance to the next kink, if that
             is not 0, and leaves rounding eps^(3/5)
    """
    step, different = eps ** 0.4, max(DIFFERENT, 10 * eps ** 0.6)
    on_kink, valid = np.zeros(a.shape, dtype=bool), np.zeros(a.shape, dtype=bool)
    for index in map(tuple, np.argwhere(suspects)):
        direction = np.zeros(a.shape)
        direction[index] = 1
        left, right = sides(f, inputs, v, name, direction, step)
        on_kink[index] = abs(left - right) > different * max(abs(left), abs(right), allowed)
        valid[index] = on_kink[index] and min(left, right) - allowed <= a[index] <= max(left, right) + allowed
    if on_kink.sum() > 1:
        left, right = sides(f, inputs, v, name, on_kink.astype(float), step)
        size = max(abs(left), abs(right), float(np.abs(a[on_kink]).max()))
        if abs(left - right) <= different * size < abs(float(a[on_kink].sum()) - right):
            valid[on_kink] = False
    return on_kink, valid


def sides(f, inputs, v, name, direction, step):
    """The derivatives of sum(v*f) on the left and on the right along a direction of one input, each from three points:
    (-3 f(0) + 4 f(h) - f(2h))/2h, whose error is O(h²)."""
    def value(t):
        moved = dict(inputs)
        moved[name] = inputs[name] + (t * direction).astype(inputs[name].dtype)
        return float((v * np.asarray(f(*moved.values())[0])).sum())

    here = value(0.0)
    return tuple((-3 * here + 4 * value(h) - value(2 * h)) / (2 * h) for h in (-step, step))
