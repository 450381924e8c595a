"""The norms with their Jacobians in closed form, for comparison with the backward passes."""

import numpy as np

from minifl.gradcheck import jacobians
from minifl.layers import batchnorm, norm


def closed_form_jacobians(rng: np.random.Generator) -> tuple:
    """For each norm (name, forward, backward, x, its Jacobian (d, d) as jacobians.py has it): x is one example
    (1, 1, d), for batch norm the one channel of a batch (1, d, 1)."""
    d = 9
    x = rng.standard_normal((1, 1, d))
    v = x[0, 0]
    gain, bias = rng.standard_normal((1, d)), rng.standard_normal((1, d))
    return (
        ("shift", norm.shift, norm.shift_backward, x, jacobians.shift_jacobian(v)),
        ("feature_norm", norm.feature_norm, norm.feature_norm_backward, x,
         jacobians.feature_norm_jacobian(v, norm.EPS)),
        ("feature_norm, below the clamp", lambda x: norm.feature_norm(x, eps=100.0), norm.feature_norm_backward, x,
         jacobians.feature_norm_jacobian(v, 100.0)),
        ("rms_norm", lambda x: norm.rms_norm(x, eps=0.1), norm.rms_norm_backward, x,
         jacobians.rms_norm_jacobian(v, 0.1)),
        ("mv_norm", norm.mv_norm, norm.mv_norm_backward, x, jacobians.mv_norm_jacobian(v, norm.EPS)),
        ("group_norm", lambda x: norm.group_norm(x, groups=3), norm.group_norm_backward, x,
         jacobians.group_norm_jacobian(v, 3, norm.EPS)),
        ("instance_norm", norm.instance_norm, norm.instance_norm_backward, x.reshape(1, 1, 3, 3, 1),
         jacobians.mv_norm_jacobian(v, norm.EPS)),
        ("layer_norm", lambda x: norm.layer_norm(x, gain, bias, eps=0.1), norm.layer_norm_backward, x,
         jacobians.layer_norm_jacobian(v, gain[0], 0.1)),
        ("batch_norm", lambda x: batchnorm.batch_norm(x, eps=0.1), batchnorm.batch_norm_backward, x.reshape(1, d, 1),
         jacobians.layer_norm_jacobian(v, np.ones(d), 0.1)),
    )
