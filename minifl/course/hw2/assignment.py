"""Assignment 2, with its wrong submissions. Never handed out."""

from minifl.course.assignments import Assignment, Mistake
from minifl.course.hw2.variants import CHOICES, JACOBIANS, NORM

ASSIGNMENT = Assignment(
    name="hw2",
    files=(NORM, JACOBIANS),
    given=("minifl/__init__.py", "minifl/backend.py", "minifl/errors.py", "minifl/layers/__init__.py",
           "minifl/course/comparing.py", "minifl/course/hw2/expected.py"),
    withheld=(*(f"minifl.layers.norm.{name}" for name in (
                  "rms_norm", "rms_norm_backward", "group_norm", "group_norm_backward", "instance_norm",
                  "instance_norm_backward", "_mean", "ROUNDINGS", "_vectors", "_to_sphere", "_to_sphere_backward",
                  "_split_groups", "_join_groups")),
              "minifl.gradcheck.jacobians.rms_norm_jacobian", "minifl.gradcheck.jacobians.group_norm_jacobian"),
    choices=CHOICES,
    mistakes=(
        Mistake("MV norm", "the mean square is taken before the mean is subtracted", NORM,
                "    return feature_norm(centred, eps=eps)\n",
                "    y, cache = feature_norm(x, eps=eps)\n    return shift(y)[0], cache\n"),
        Mistake("MV norm", "the mean of each client", NORM,
                "    return (v - _mean(v)).reshape(x.shape), None\n",
                "    return (v - v.mean(axis=(1, 2), keepdims=True)).reshape(x.shape), None\n"),
        Mistake("layer norm", "eps outside of the root", NORM,
                "sigma = xp.sqrt((xc * xc).mean(axis=2, keepdims=True) + eps)",
                "sigma = xp.sqrt((xc * xc).mean(axis=2, keepdims=True)) + eps"),
        Mistake("layer norm", "the bias is scaled, too", NORM,
                "    return x * _per_channel(gain, x.ndim) + _per_channel(bias, x.ndim), (x, gain)\n",
                "    return (x + _per_channel(bias, x.ndim)) * _per_channel(gain, x.ndim), (x, gain)\n"),
        Mistake("Jacobians", "the derivative of the length is forgotten", JACOBIANS,
                " * (np.eye(len(x)) - np.outer(x, x) / length**2)", " * np.eye(len(x))"),
        Mistake("Jacobians", "x instead of the unit vector", JACOBIANS, "np.outer(x, x) / length**2", "np.outer(x, x)"),
        Mistake("Jacobians", "eps is ignored", JACOBIANS, "    if length <= eps:\n", "    if length <= 0:\n"),
        Mistake("Jacobians", "J of n at x instead of x - mean(x)", JACOBIANS,
                "feature_norm_jacobian(x - x.mean(), eps)", "feature_norm_jacobian(x, eps)"),
        Mistake("Jacobians", "gain stands on the side of x", JACOBIANS, "gain[:, None] * (", "gain * ("),
        Mistake("Jacobians", "not centred", JACOBIANS, "np.eye(d) - 1 / d - np", "np.eye(d) - np"),
        Mistake("Jacobians", "divided by the variance", JACOBIANS, "/ d) / sigma\n", "/ d) / sigma**2\n"),
        Mistake("Jacobians", "the shift is taken for the identity", JACOBIANS,
                "    return np.eye(len(x)) - 1 / len(x)\n", "    return np.eye(len(x))\n")))
