"""The rules by which other gradient checkers decide, restated from their documentation for pairs as ours.

Each rule(forward, backward, inputs, wanted, rng) says whether it accepts backward as the gradient of forward:

    forward   (*inputs) -> y, cache
    backward  (dy, cache) -> the gradient of sum(dy*y) for each wanted input, an array or a tuple of them
    inputs    name -> float64 array in the order of forward's arguments, taken as they are: none of these rules looks
              whether its step crosses a kink
    wanted    the names to differentiate
    rng       for its random directions

What forward and backward raise comes through. Restated are steps, projections and tolerances, for float64 and first
derivatives in reverse mode: a pair has no forward mode, and no second derivative.
"""

from functools import partial

import numpy as np


# --- cs231n ------------------------------------------------------------------------------------------------

CS231N = {   # in the tables -> the limit that a reader takes from the notes' four ranges of relative errors
    "cs231n, probably wrong above 1e-2": 1e-2,     # the one range that is called wrong: rejects least
    "cs231n, okay with kinks below 1e-4": 1e-4,    # above it one should not feel well; without kinks it is much
    "cs231n, happy below 1e-7": 1e-7,              # content whatever the function: rejects most
}


def cs231n(forward, backward, inputs, wanted, rng, *, limit):
    """cs231n_error up to the limit that its reader takes from the notes: one in CS231N. nan is above all of them."""
    return bool(cs231n_error(forward, backward, inputs, wanted, rng) <= limit)


def cs231n_error(forward, backward, inputs, wanted, rng):
    """The largest relative error by the rule of Stanford's course cs231n, which leaves the verdict to its reader.

    Source: cs231n.github.io/neural-networks-3, the part on gradient checks, and eval_numerical_gradient_array and
    rel_error of the assignments. Random cotangent; each coordinate by (f(x+h) - f(x-h))/2h with h = 1e-5; for each
    entry |a - n| / max(1e-8, |a| + |n|). Shapes are not compared: a gradient of another one that broadcasts passes.
    """
    y, cache = forward(*inputs.values())
    v = rng.standard_normal(y.shape)
    errors = []
    for name, a in zip(wanted, _tuple(backward(v, cache))):
        n = np.array([(v * column).sum() for column in _columns(forward, inputs, name, 1e-5)])
        n = n.reshape(inputs[name].shape)
        errors.append(np.max(np.abs(a - n) / np.maximum(1e-8, np.abs(a) + np.abs(n))))
    return float(np.max(errors)) if len(errors) == len(wanted) else np.inf


# --- PyTorch -----------------------------------------------------------------------------------------------

def torch_gradcheck(forward, backward, inputs, wanted, rng):
    """torch.autograd.gradcheck with its defaults: the whole Jacobian, no random number.

    Source: documentation and torch/autograd/gradcheck.py of PyTorch 2.13. Each column by (f(x+h) - f(x-h))/2h with
    h = eps = 1e-6; each row by backward with a unit cotangent; for each input every |a - n| <= atol + rtol*|n| with
    atol = 1e-5, rtol = 1e-3. Backward must give the same twice (nondet_tol = 0), and exactly 0 for the cotangent 0. Not
    restated: that autograd sums a gradient whose shape broadcasts from its input's; here another shape is rejected.
    """
    y, cache = forward(*inputs.values())
    jacobians = []
    for _ in range(2):
        rows = [_fitting(backward(unit, cache), inputs, wanted) for unit in _units(y.shape)]
        if any(row is None for row in rows):
            return False
        jacobians.append([np.array([row[i].ravel() for row in rows]) for i in range(len(wanted))])
    for name, a, again in zip(wanted, *jacobians, strict=True):
        n = np.array([column.ravel() for column in _columns(forward, inputs, name, 1e-6)]).T
        if np.any(np.abs(a - again) > 0) or not np.allclose(a, n, rtol=1e-3, atol=1e-5):
            return False
    return _nothing_from_nothing(backward, cache, y)


def torch_fast_gradcheck(forward, backward, inputs, wanted, rng):
    """torch.autograd.gradcheck(fast_mode=True) with its other defaults: one number v'Ju for each input.

    Source: as of torch_gradcheck, and the design in github.com/pytorch/pytorch/issues/53876. u of each input and v of y
    are uniform in [0, 1), scaled to length 1 (PyTorch draws the same ones in every call); one input at a time
    Ju = (f(x + h u) - f(x - h u))/2h with h = eps = 1e-6; |a - n| <= atol*sum(u)*sum(v) + rtol*|n| with atol = 1e-5,
    rtol = 1e-3. The same twice, and 0 from 0, as above.
    """
    y, cache = forward(*inputs.values())
    u = {name: _unit_length(rng.random(inputs[name].shape)) for name in wanted}
    v = _unit_length(rng.random(y.shape))
    gradients, again = (_fitting(backward(v, cache), inputs, wanted) for _ in range(2))
    if gradients is None or again is None:
        return False
    for name, a, b in zip(wanted, gradients, again, strict=True):
        n = (v * _slope(forward, inputs, {name: u[name]}, 1e-6)).sum()
        atol = 1e-5 * u[name].sum() * v.sum()
        if np.any(np.abs(a - b) > 0) or not np.isclose((a * u[name]).sum(), n, rtol=1e-3, atol=atol):
            return False
    return _nothing_from_nothing(backward, cache, y)


# --- JAX, HIPS autograd --------------------------------------------------------------------------------------

def jax_check_grads(forward, backward, inputs, wanted, rng):
    """jax.test_util.check_grads(f, args, order=1, modes=("rev",)) for float64: one number for all inputs together.

    Source: jax/_src/public_test_util.py (check_vjp, numerical_jvp). Standard normal tangent t and cotangent v;
    n = v'(f(x + h t) - f(x - h t))/2h with h = 1e-4; a = t'(J'v); |a - n| <= atol + rtol*|n| with both 1e-5, where nan
    equals nan. (JAX draws t and v from RandomState(0): the same ones in every call.)
    """
    return _agree_in_a_direction(forward, backward, inputs, wanted, rng, 1e-4,
                                 lambda a, n: np.isclose(a, n, rtol=1e-5, atol=1e-5, equal_nan=True))


def autograd_check_grads(forward, backward, inputs, wanted, rng):
    """HIPS autograd's test_util.check_grads(f, modes=["rev"], order=1) of all arguments: one number for them together.

    Source: autograd/test_util.py (check_vjp, make_numerical_jvp, scalar_close). Standard normal t and v;
    n = v'(f(x + t EPS/2) - f(x - t EPS/2))/EPS with EPS = 1e-6; a = t'(J'v); accepted where |a - n| < TOL or
    |a - n| / |a + n| < RTOL, both 1e-6.
    """
    return _agree_in_a_direction(forward, backward, inputs, wanted, rng, 1e-6 / 2,
                                 lambda a, n: np.abs(a - n) < 1e-6 or np.abs(a - n) < 1e-6 * np.abs(a + n))


RULES = {   # checker -> rule, in the tables
    **{name: partial(cs231n, limit=limit) for name, limit in CS231N.items()},
    "PyTorch gradcheck": torch_gradcheck,
    "PyTorch gradcheck, fast mode": torch_fast_gradcheck,
    "JAX check_grads, reverse": jax_check_grads,
    "HIPS autograd check_grads, reverse": autograd_check_grads,
}


# --- parts of several rules ----------------------------------------------------------------------------------

def _slope(forward, inputs, direction, h):
    """(f(x + h d) - f(x - h d))/2h, of y's shape; direction: name -> array, of the inputs that move."""
    plus, minus = (forward(*(x + step * direction[name] if name in direction else x for name, x in inputs.items()))[0]
                   for step in (h, -h))
    return (plus - minus) / (2 * h)


def _columns(forward, inputs, name, h):
    """The slope along each coordinate of one input, in order."""
    for unit in _units(inputs[name].shape):
        yield _slope(forward, inputs, {name: unit}, h)


def _units(shape):
    """Arrays of this shape that are 1 at one place and 0 elsewhere, in order."""
    for index in np.ndindex(shape):
        unit = np.zeros(shape)
        unit[index] = 1
        yield unit


def _unit_length(vector):
    return vector / np.sqrt((vector * vector).sum())


def _tuple(gradients):
    return gradients if isinstance(gradients, tuple) else (gradients,)


def _fitting(gradients, inputs, wanted):
    """The wanted inputs' gradients in order; None if one is missing or has not its input's shape."""
    found = _tuple(gradients)[:len(wanted)]     # behind them may be None for optional inputs that are not there
    fit = [g is not None and np.shape(g) == inputs[name].shape for name, g in zip(wanted, found)]
    return found if len(fit) == len(wanted) and all(fit) else None


def _agree_in_a_direction(forward, backward, inputs, wanted, rng, step, close):
    """Whether close(a, n) for a standard normal tangent t of all inputs and cotangent v: a = t'(J'v), n = v'(slope)."""
    y, cache = forward(*inputs.values())
    t = {name: rng.standard_normal(inputs[name].shape) for name in wanted}
    v = rng.standard_normal(y.shape)
    gradients = _fitting(backward(v, cache), inputs, wanted)
    return gradients is not None and \
        bool(close(_along(gradients, t), (v * _slope(forward, inputs, t, step)).sum()))


def _along(gradients, direction):
    return sum((g * d).sum() for g, d in zip(gradients, direction.values(), strict=True))


def _nothing_from_nothing(backward, cache, y):
    """Whether backward maps the cotangent 0 to exactly 0."""
    return all(g is None or bool(np.all(g == 0)) for g in _tuple(backward(np.zeros(y.shape), cache)))
