"""A norm that is not ours, in a file of its own: x over the p-th root of its mean p-th power, p = 4 (n is p = 2).

    python cli.py gradcheck examples/power_norm.py
    python cli.py train --data embedded --norm examples/power_norm.py:power_norm
"""

import numpy as np

EPS = 1e-5
shapes = {"power_norm": {"x": "K N D"}}               # for gradcheck
where = {"power_norm": ("main", "last", "branch")}    # at every activation, which is the default; it may be fewer


def power_norm(x):
    """y = x / q, q = (mean(x^4) + eps)^(1/4) over each example's d numbers; x (K, N, ...). Returns y, cache."""
    v = x.reshape(*x.shape[:2], -1)
    q = ((v * v * v * v).mean(axis=2, keepdims=True) + EPS) ** 0.25
    return (v / q).reshape(x.shape), (v / q, q)


def power_norm_backward(dy, cache):
    """Map dL/dy to dL/dx.

    Derivation, one example: dq/dx_j = q^(-3) x_j^3 / d = y_j^3 / d, so dy_i/dx_j = (delta_ij - y_i y_j^3 / d) / q, which is
    not symmetric:
        dx = (dy - y^3 mean(dy*y)) / q
    """
    y, q = cache
    g = dy.reshape(y.shape)
    return ((g - y * y * y * np.mean(g * y, axis=2, keepdims=True)) / q).reshape(dy.shape)
