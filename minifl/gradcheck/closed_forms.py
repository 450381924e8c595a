"""The norms' Jacobians as PAPER section 2 has them, for comparison with the backward passes."""

import numpy as np

from minifl.layers import batchnorm, norm


def closed_form_jacobians(rng):
    """For each norm (name, forward, backward, x, its Jacobian (d, d) written down from PAPER section 2): x is one
    example (1, 1, d), for batch norm the one channel of a batch (1, d, 1)."""
    d = 9
    x = rng.standard_normal((1, 1, d))
    v = x[0, 0]
    eye, mean_projection = np.eye(d), np.eye(d) - 1 / d
    sigma = v.std()
    y = (v - v.mean()) / sigma
    sigma_eps = np.sqrt(v.var() + 0.1)
    h = (v - v.mean()) / sigma_eps
    gain, bias = rng.standard_normal((1, d)), rng.standard_normal((1, d))
    length = np.sqrt(v @ v)
    unit = v / length
    rms = np.sqrt(v @ v / d + 0.1)
    z = v / rms

    blocks = np.zeros((d, d))
    for group in np.split(np.arange(d), 3):
        u = v[group]
        w = (u - u.mean()) / u.std()
        blocks[np.ix_(group, group)] = (np.eye(3) - 1 / 3 - np.outer(w, w) / 3) / u.std()

    return (
        ("shift", norm.shift, norm.shift_backward, x, mean_projection),
        ("feature_norm", norm.feature_norm, norm.feature_norm_backward, x,
         np.sqrt(d) / length * (eye - np.outer(unit, unit))),
        ("feature_norm, below the clamp", lambda x: norm.feature_norm(x, eps=100.0), norm.feature_norm_backward, x,
         np.sqrt(d) / 100.0 * eye),
        ("rms_norm", lambda x: norm.rms_norm(x, eps=0.1), norm.rms_norm_backward, x, (eye - np.outer(z, z) / d) / rms),
        ("mv_norm", norm.mv_norm, norm.mv_norm_backward, x, (mean_projection - np.outer(y, y) / d) / sigma),
        ("group_norm", lambda x: norm.group_norm(x, groups=3), norm.group_norm_backward, x, blocks),
        ("instance_norm", norm.instance_norm, norm.instance_norm_backward, x.reshape(1, 1, 3, 3, 1),
         (mean_projection - np.outer(y, y) / d) / sigma),
        ("layer_norm", lambda x: norm.layer_norm(x, gain, bias, eps=0.1), norm.layer_norm_backward, x,
         gain[0][:, None] * (mean_projection - np.outer(h, h) / d) / sigma_eps),
        ("batch_norm", lambda x: batchnorm.batch_norm(x, eps=0.1), batchnorm.batch_norm_backward, x.reshape(1, d, 1),
         (mean_projection - np.outer(h, h) / d) / sigma_eps),
    )
