"""Where a function has a kink, its derivative is not one number: which answers of a backward pass are right there.

At a kink the two sides have derivatives of their own. Any number between them is a subgradient along that coordinate
(ReLU at 0: anything from 0 to 1), for each output on its own: a pixel may win one pool's window and lose another.
Where several coordinates tie, as the winners of a max-pool, moving all of them together is smooth: in that direction
their entries together have to be right. And what gradients are at points very near by, where nothing ties, is right: the
permutation that a sort took.
"""

import numpy as np

from minifl.gradcheck import noise

ENOUGH = 32
DIFFERENT = 1e-3  # relative: derivatives of the two sides that are not the same, in float64
NEAR = 1e-5       # how far apart numbers are moved that tie


def judge(f, inputs, v, name, a, off, suspects, allowed, eps, sum_noise):
    """(which of the suspects sit on a kink, which of these have a right entry in a), arrays of a's shape.

    off      how far each entry is off: the worst come first, and where none of ENOUGH sits on a kink, a is wrong and the
             others are not looked at
    allowed  absolute, how far outside the two sides' derivatives an entry may lie
    eps      of the precision that f computes in: the step eps^(2/5), relative to numbers above 1, is far below the
             distance to the next kink, if that is not 0, and leaves rounding eps^(3/5)
    sum_noise  of sum(v*f), absolute: derivatives differ if they do so by more than what it makes of them
    """
    different = max(DIFFERENT, 10 * eps ** 0.6)

    def unresolved(of_each, direction, step):
        """Whether a smaller step sees other sides: what is there, as a clamp at 1e-8, no difference can tell."""
        pairs = zip(of_each, sides(f, inputs, v, name, direction, step / 8))
        return any(abs(far.sum() - near.sum()) > 10 * different * abs(far.sum()) + 64 * sum_noise / step
                   for far, near in pairs)

    on_kink, valid = np.zeros(a.shape, dtype=bool), np.zeros(a.shape, dtype=bool)
    places = np.argwhere(suspects)[np.argsort(-off[suspects], kind="stable")]
    for number, index in enumerate(map(tuple, places)):
        if number == ENOUGH and not on_kink.any():
            break
        direction = np.zeros(a.shape)
        direction[index] = 1
        step = eps ** 0.4 * max(1.0, abs(float(inputs[name][index])))
        of_each = sides(f, inputs, v, name, direction, step)
        least, most = np.minimum(*of_each).sum() - allowed, np.maximum(*of_each).sum() + allowed
        rounding = 8 * sum_noise / step     # (3 + 4 + 1)/2 on either side
        on_kink[index] = _differ(*of_each, different, allowed, rounding)
        valid[index] = on_kink[index] and (least <= a[index] <= most or unresolved(of_each, direction, step))
    if on_kink.sum() > 1:
        step = eps ** 0.4 * max(1.0, float(np.abs(inputs[name][on_kink]).max()))
        left, right = (side.sum() for side in sides(f, inputs, v, name, on_kink.astype(float), step))
        slack = different * max(abs(left), abs(right), float(np.abs(a[on_kink]).max())) + 8 * sum_noise / step
        if abs(left - right) <= slack < abs(float(a[on_kink].sum()) - right):
            valid[on_kink] = False
    if not valid[on_kink].all() and eps == np.finfo(float).eps and _limit(f, inputs, v, name, a, on_kink, different):
        valid[on_kink] = True
    return on_kink, valid


def _limit(f, inputs, v, name, a, places, different):
    """Whether a is, at these places, what gradients very near by are, where one tie after the other is broken in the order
    of places: a sort, a median, the k largest hand each of the equal numbers another output's gradient."""
    x = inputs[name]
    spread = NEAR * max(1.0, float(np.abs(x).max()))
    step, slack = spread / x.size / 4, different * float(np.abs(a).max())
    for order in (np.arange(x.size), -np.arange(x.size)):
        moved = dict(inputs) | {name: x + spread / x.size * order.reshape(x.shape)}
        for index in map(tuple, np.argwhere(places)):
            direction = np.zeros(a.shape)
            direction[index] = 1
            if any(abs(side.sum() - a[index]) > slack for side in sides(f, moved, v, name, direction, step)):
                break
        else:
            return True
    return False


def crossed(on_line, point, mismatch, sum_noise):
    """Whether v*f at a Point has a kink along a line, on_line(t), that explains this mismatch between two derivatives;
    sum_noise: of sum(v*f)."""
    eps = np.finfo(float).eps if point.exact else point.eps
    step = eps ** 0.4
    left, right = sides(on_line, {"t": np.zeros(())}, point.v.astype(float), "t", np.ones(()), step)
    rounding = 8 * noise.LARGEST * sum_noise / step
    gap = np.abs(left - right)
    return bool(gap.max(initial=0) > rounding and gap.sum() > mismatch / 2)


def _differ(left, right, different, least, rounding):
    """Whether the derivatives of some output on the two sides are not the same."""
    size = max(np.abs(left).max(initial=0), np.abs(right).max(initial=0), least)
    return bool(np.abs(left - right).max(initial=0) > different * size + rounding)


def sides(f, inputs, v, name, direction, step):
    """The derivatives of v*f, each output's, on the left and on the right along a direction of one input, from three
    points: (-3 f(0) + 4 f(h) - f(2h))/2h, whose error is O(h²)."""
    def value(t):
        moved = dict(inputs)
        moved[name] = inputs[name] + (t * direction).astype(inputs[name].dtype)
        return v * np.asarray(f(*moved.values())[0])

    here = value(0.0)
    return tuple((-3 * here + 4 * value(h) - value(2 * h)) / (2 * h) for h in (-step, step))
