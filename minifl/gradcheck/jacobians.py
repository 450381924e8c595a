"""Jacobians of the norms in closed form: the (d, d) matrix J_ij = dy_i/dx_j at one vector x of d entries.

A backward pass never needs J, but J says all of it: dx = J'dy. Below, I is the identity and 1 the vector of ones;
eps > 0 is the norm's.
"""

from typing import Any

import numpy as np


def shift_jacobian(x: Any) -> np.ndarray:
    """J of s(x) = x - mean(x).

    Derivation: dy_i/dx_j = delta_ij - 1/d, so J = P = I - 11'/d whatever x is, a projection: PP = P = P', P1 = 0.
    """
    return np.eye(len(x)) - 1 / len(x)


def feature_norm_jacobian(x: Any, eps: float) -> np.ndarray:
    """J of n(x) = sqrt(d) x / max(eps, ||x||).

    Derivation: with c = sqrt(d) and u = x/||x||
        J = (c/||x||) (I - uu'),  below the clamp  J = (c/eps) I
    Eigenvalues 0 (along x) and d-1 times c/||x||.
    """
    length, c = np.sqrt(x @ x), np.sqrt(len(x))
    if length <= eps:
        return c / eps * np.eye(len(x))
    return c / length * (np.eye(len(x)) - np.outer(x, x) / length**2)


def mv_norm_jacobian(x: Any, eps: float) -> np.ndarray:
    """J of n_MV(x) = n(x - mean(x)).

    Derivation: by the chain rule J = J_n(x - mean(x)) P. Above the clamp, with y = n_MV(x) and
    sigma = ||x - mean(x)||/c,
        J = (P - yy'/c²)/sigma,  rank d-2, null space {1, y}
    """
    return feature_norm_jacobian(x - x.mean(), eps) @ shift_jacobian(x)


def layer_norm_jacobian(x: Any, gain: np.ndarray, eps: float) -> np.ndarray:
    """J of gain*h + bias, gain (d,), where xc = x - mean(x), q = mean(xc*xc), sigma = sqrt(q + eps), h = xc/sigma.

    Derivation: dh_i/dx_k = (delta_ik - 1/d - h_i h_k/c²)/sigma with c² = d, and row i is multiplied by gain_i:
        J = diag(gain) (P - hh'/c²)/sigma
    It is that of n_MV with eps in sigma and in h. J1 = 0, but Jh = gain*h eps/sigma³ is not 0, as h'h < c².
    """
    d = len(x)
    centred = x - x.mean()
    sigma = np.sqrt(centred @ centred / d + eps)
    h = centred / sigma
    return gain[:, None] * (np.eye(d) - 1 / d - np.outer(h, h) / d) / sigma


def rms_norm_jacobian(x: Any, eps: float) -> np.ndarray:
    """J of z = x/rms, rms = sqrt(mean(x*x) + eps): (I - zz'/d)/rms, layer norm's without the centring."""
    rms = np.sqrt(x @ x / len(x) + eps)
    return (np.eye(len(x)) - np.outer(x / rms, x / rms) / len(x)) / rms


def group_norm_jacobian(x: Any, groups: int, eps: float) -> np.ndarray:
    """J of mv_norm within `groups` parts of x of equal length: block-diagonal, the blocks are mv_norm's."""
    jacobian = np.zeros((len(x), len(x)))
    for group in np.split(np.arange(len(x)), groups):
        jacobian[np.ix_(group, group)] = mv_norm_jacobian(x[group], eps)
    return jacobian
