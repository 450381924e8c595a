"""The Jacobians of the norms: n (FN), n_MV (LN), groups (GN), and with gain and bias.

J is found twice, a row for each unit cotangent given to the backward pass and a column for each unit complex step
through the forward pass, and compared with the closed forms of minifl/gradcheck/jacobians.py, derived there, and with
what these say: eigenvalues, null space, blocks. x^ = x/||x||, P = I - 11'/d, y the norm's output.
"""

from collections.abc import Iterator

import numpy as np

from minifl.gradcheck import jacobians
from minifl.gradcheck.instruments import STEP, jacobian
from minifl.layers import norm
from minifl.paper.theory_rows import Row, control, holds

EXACT = 1e-12
DRAWS = 20
LARGE_EPS = 0.1    # where eps has to be seen


def jacobian_fn(rng: np.random.Generator) -> Iterator[Row]:
    """J = (sqrt(d)/||x||) (I - x^x^'): the projection that takes x out, so eigenvalues 0 once (along x) and
    sqrt(d)/||x|| d-1 times; where ||x|| < eps, n is linear: J = (sqrt(d)/eps) I."""
    closed, values, radial, below = [], [], [], []
    for x, d, length in _vectors(rng):
        slope, unit = np.sqrt(d) / length, x[0, 0] / length
        both = _both(norm.feature_norm, norm.feature_norm_backward, x)
        closed += [_relative(j, jacobians.feature_norm_jacobian(x[0, 0], norm.EPS)) for j in both]
        expected = np.r_[0, np.full(d - 1, slope)]
        values += [_relative(np.linalg.eigvalsh((j + j.T) / 2), expected) for j in both]
        radial += [np.abs(j @ unit).max() / slope for j in both]
        small = x * (norm.EPS / length / 10)
        below += [_relative(j, jacobians.feature_norm_jacobian(small[0, 0], norm.EPS)) for j in
                  _both(norm.feature_norm, norm.feature_norm_backward, small)]
    yield holds("FN: J = (sqrt(d)/|x|)(I - x^x^')", closed, EXACT)
    yield holds("FN: eigenvalues 0 once, sqrt(d)/|x| d-1 times", values, EXACT)
    yield holds("FN: J x = 0", radial, EXACT)
    yield holds("FN below the clamp: J = (sqrt(d)/eps) I", below, EXACT)


def jacobian_mv(rng: np.random.Generator) -> Iterator[Row]:
    """J = (P - yy'/d)/sigma. 1 and y are orthogonal and P y = y, y'y = d, so J 1 = J y = 0 and J is 1/sigma on what is
    orthogonal to both: rank d - 2. With eps in the root sigma is sqrt(var + eps) and h'h < d, so that J h is
    (eps/sigma²) h/sigma: only 1 is left in the null space."""
    closed, null, rest, closed_eps, along = [], [], [], [], []
    for x, d, _ in _vectors(rng):
        sigma, ones, y = x.std(), np.ones((1, d)), norm.mv_norm(x)[0][0, 0]
        both = _both(norm.mv_norm, norm.mv_norm_backward, x)
        closed += [_relative(j, jacobians.layer_norm_jacobian(x[0, 0], ones[0], eps=0)) for j in both]
        null += [np.abs(j @ u).max() * sigma for j in both for u in (np.ones(d), y)]
        rest += [_relative(np.linalg.eigvalsh((j + j.T) / 2)[2:], np.full(d - 2, 1 / sigma)) for j in both]
        x = x / sigma                      # variance 1, so that eps = 0.1 has its part in sigma, and not all of it
        sigma, h = np.sqrt(x.var() + LARGE_EPS), norm.layer_norm(x, ones, 0 * ones, eps=LARGE_EPS)[0][0, 0]
        both = _both(lambda x, gain=ones: norm.layer_norm(x, gain, 0 * gain, eps=LARGE_EPS),
                     norm.layer_norm_backward, x)
        closed_eps += [_relative(j, jacobians.layer_norm_jacobian(x[0, 0], ones[0], LARGE_EPS)) for j in both]
        along += [_relative(j @ h, LARGE_EPS / sigma ** 3 * h) for j in both]
    yield holds("MV: J = (P - yy'/d)/sigma", closed, EXACT)
    yield holds("MV: J 1 = 0 and J y = 0", null, EXACT)
    yield holds("MV: rank d-2, the other d-2 eigenvalues are 1/sigma", rest, EXACT)
    yield holds("eps in the root: J = (P - hh'/d)/sqrt(var + eps), h with eps, too", closed_eps, EXACT)
    yield holds("eps in the root: J h = (eps/sigma^2) h/sigma, not 0", along, EXACT)


def jacobian_gn(rng: np.random.Generator) -> Iterator[Row]:
    """Groups share no statistic: between two of them J is 0, and a group's block is MV norm's of its numbers alone."""
    outside, inside, whole = [], [], []
    for _ in range(DRAWS):
        side, groups, size = rng.integers(2, 4), rng.integers(2, 4), rng.integers(1, 3)
        x = rng.standard_normal((1, 1, side, side, groups * size)) * 10 ** rng.uniform(-2, 2)
        group = np.arange(x.size) % (groups * size) // size                     # of each number, channels last
        block = group[:, None] == group
        v, order, expected = x.ravel(), np.argsort(group, kind="stable"), np.zeros(block.shape)    # groups side by side
        expected[np.ix_(order, order)] = jacobians.group_norm_jacobian(v[order], groups, norm.EPS)
        for j in _both(lambda x, groups=groups: norm.group_norm(x, groups=groups), norm.group_norm_backward, x):
            outside.append(np.abs(j[~block]).max())
            inside.append(_relative(j, expected))
        whole.append(np.abs(jacobian(norm.mv_norm, norm.mv_norm_backward, x)[~block]).max() * v.std())
    yield holds("GN: J between two groups is 0", outside, 0)
    yield holds("GN: each block is the MV norm's Jacobian of its group", inside, EXACT)
    yield control("MV over all channels: J between the groups, times sigma", whole, 0)


def jacobian_affine(rng: np.random.Generator) -> Iterator[Row]:
    """Per-channel gain gamma and bias beta behind a norm with Jacobian J (symmetric) at each example: for z = gamma y +
    beta and dz = v, dx = J(gamma v); dgamma_c = sum v y and dbeta_c = sum v over places and examples of channel c."""
    inputs, gains, biases = [], [], []
    for _ in range(DRAWS):
        n, side, channels = 3, rng.integers(2, 4), rng.integers(2, 5)
        x, v = rng.standard_normal((2, 1, n, side, side, channels))
        gain, bias = rng.standard_normal((2, 1, channels))
        dx, dgain, dbias = norm.layer_norm_backward(v, norm.layer_norm(x, gain, bias)[1])
        ones = np.ones((1, channels))
        y, _ = norm.layer_norm(x, ones, 0 * ones)
        by_hand = [_complex_jacobian(lambda a: norm.layer_norm(a, ones, 0 * ones), x[:, i:i + 1])
                   @ (gain[0] * v[0, i]).ravel() for i in range(n)]
        inputs.append(_relative(dx.ravel(), np.concatenate(by_hand)))
        gains.append(_relative(dgain[0], [(v[..., c] * y[..., c]).sum() for c in range(channels)]))
        biases.append(_relative(dbias[0], [v[..., c].sum() for c in range(channels)]))
    yield holds("gain, bias per channel: dx = J(gain v)", inputs, EXACT)
    yield holds("dgain_c = sum over places of v y", gains, EXACT)
    yield holds("dbias_c = sum over places of v", biases, EXACT)


def _vectors(rng):
    """x (1, 1, d), d and ||x||: lengths over four orders of magnitude."""
    for _ in range(DRAWS):
        d = int(rng.integers(3, 13))
        x = rng.standard_normal((1, 1, d)) * 10 ** rng.uniform(-2, 2)
        yield x, d, np.sqrt((x * x).sum())


def _both(forward, backward, x):
    """J from the backward pass, J from the forward pass."""
    return jacobian(forward, backward, x), _complex_jacobian(forward, x)


def _complex_jacobian(forward, x):
    """J (numbers of y, numbers of x): column i is Im f(x + ih e_i)/h."""
    columns = []
    for i in range(x.size):
        moved = x.astype(complex)
        moved.reshape(-1)[i] += 1j * STEP
        columns.append(forward(moved)[0].imag.ravel() / STEP)
    return np.array(columns).T


def _relative(found, expected):
    return np.abs(found - expected).max() / np.abs(expected).max()
