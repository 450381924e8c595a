"""The rules of other gradient checkers: their verdicts just inside and just outside of each tolerance, by hand."""

from functools import partial

import numpy as np
import pytest

from checker_rules import (CS231N, RULES, autograd_check_grads, cs231n, cs231n_error, jax_check_grads,
                           torch_fast_gradcheck, torch_gradcheck)

from minifl.gradcheck.cases import CASES
from minifl.gradcheck.wrong_batchnorm import bn_eps_ignored, bn_no_radial
from minifl.gradcheck.wrong_activations import relu_straight_through

ONE = {"x": np.array([[[1.0]]])}
CS_WRONG, CS_OKAY, CS_HAPPY = (partial(cs231n, limit=limit) for limit in (1e-2, 1e-4, 1e-7))
EVERY = [CS_WRONG, CS_OKAY, CS_HAPPY, torch_gradcheck, torch_fast_gradcheck, jax_check_grads, autograd_check_grads]
PROJECTING = [torch_fast_gradcheck, jax_check_grads, autograd_check_grads]


def rng():
    return np.random.default_rng(3)


def times(factor):
    """A pair's forward and its right backward for y = factor x, and a wrong one off by a relative error."""
    return (lambda x: (factor * x, None)), (lambda error: lambda dy, cache: factor * (1 + error) * dy)


def normals(*shapes):
    """|t| and |v|, the first numbers that a rule draws."""
    draw = rng()
    return [draw.standard_normal(shape) for shape in shapes]


def test_the_table_has_every_rule():
    assert [rule.keywords["limit"] for rule in list(RULES.values())[:3]] == list(CS231N.values()) == [1e-2, 1e-4, 1e-7]
    assert list(RULES.values())[3:] == EVERY[3:]


@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("layer", ["linear", "layer_norm", "attention"])
def test_right_backward_passes_are_accepted(rule, layer):
    case = next(case for case in CASES if case.layer == layer)
    assert rule(case.forward, case.backward, case.draw(rng()), list(case.draw(rng())), rng()) is True


# ---- tolerances, y = x at 1 if nothing else is said: n = 1 (times v, t, u), a = 1 + e

def relative_edge(rule):
    """(factor of y, the relative error e at which the rule changes its mind)."""
    t, v = normals(1, 1)
    size = abs(float(t[0] * v[0]))
    if rule is jax_check_grads:
        return 1.0, 1e-5 * (1 + 1 / size)              # e |n| = 1e-5 + 1e-5 |n|
    if rule is autograd_check_grads:
        return 1e4, 2e-6 / (1 - 1e-6)                  # e / (2 + e) = 1e-6; the absolute tolerance is out of reach
    if rule in (torch_gradcheck, torch_fast_gradcheck):
        return 1.0, 1e-5 + 1e-3                        # u = v = 1, as they have one entry
    limit = rule.keywords["limit"]
    return 1.0, 2 * limit / (1 - limit)                # e / (2 + e) = limit


@pytest.mark.parametrize("rule", EVERY)
def test_relative_tolerance(rule):
    factor, edge = relative_edge(rule)
    forward, backward = times(factor)
    for share, verdict in ((0.99, True), (1.01, False), (-0.97, True), (-1.02, False)):
        assert rule(forward, backward(share * edge), ONE, ["x"], rng()) is verdict, share


@pytest.mark.parametrize("rule", EVERY)
def test_step_and_absolute_tolerance(rule):
    """y = K x³ at 0, whose derivative is 0: a step h along t gives n = v K h² t³, and a = 0."""
    t, v = (abs(float(a[0])) for a in normals(1, 1))
    if rule is jax_check_grads:
        edge = 1e-5 / (1 - 1e-5) / (1e-4**2 * t**3 * v)        # n = 1e-5 + 1e-5 n
    elif rule is autograd_check_grads:
        edge = 1e-6 / (0.5e-6**2 * t**3 * v)
    elif rule in (torch_gradcheck, torch_fast_gradcheck):
        edge = 1e-5 / (1 - 1e-3) / 1e-6**2
    else:
        edge = rule.keywords["limit"] * 1e-8 / (1e-5**2 * t)   # |n| / 1e-8 = limit; its v is the first that is drawn
    for share, verdict in ((0.99, True), (1.01, False)):
        def forward(x):
            return share * edge * x**3, None
        assert rule(forward, lambda dy, cache: 0 * dy, {"x": np.zeros((1, 1, 1))}, ["x"], rng()) is verdict, share


def test_absolute_tolerance_of_autograd_alone():
    t, v = normals(1, 1)
    forward, backward = times(1e-2)
    edge = 1e-6 / abs(1e-2 * float(t[0] * v[0]))
    assert autograd_check_grads(forward, backward(0.99 * edge), ONE, ["x"], rng())
    assert not autograd_check_grads(forward, backward(1.01 * edge), ONE, ["x"], rng())


def test_torch_compares_every_entry_of_the_jacobian():
    for share, verdict in ((0.99, True), (1.01, False)):    # 0 by the true Jacobian: the absolute tolerance alone
        def backward(dy, cache):
            return dy + share * 1e-5 * dy[..., [1, 0]] * [1, 0]
        assert torch_gradcheck(lambda x: (x, None), backward, {"x": np.ones((1, 1, 2))}, ["x"], rng()) is verdict


def test_torch_scales_the_fast_tolerance_by_its_directions():
    draw = rng()
    u, v = (a / np.linalg.norm(a) for a in (draw.random(4), draw.random(4)))
    edge = (1e-5 * u.sum() * v.sum() + 1e-3 * (u @ v)) / (u @ v)
    for share, verdict in ((0.99, True), (1.01, False)):
        assert torch_fast_gradcheck(lambda x: (x, None), lambda dy, cache: dy * (1 + share * edge),
                                    {"x": np.ones(4)}, ["x"], rng()) is verdict


def test_cs231n_by_hand():
    # n = v, a = 1.5 v, relative error 0.5/2.5 everywhere; of a 0 against 0 it is 0
    assert cs231n_error(lambda x: (x, None), lambda dy, cache: 1.5 * dy, {"x": np.ones((1, 2, 3))}, ["x"], rng()) == \
        pytest.approx(0.2, rel=1e-9)
    assert cs231n_error(lambda x: (0 * x, None), lambda dy, cache: 0 * dy, ONE, ["x"], rng()) == 0


# ---- what one number does not see

@pytest.mark.parametrize("rule", PROJECTING)
def test_an_error_that_the_directions_do_not_see_is_accepted(rule):
    draw = rng()
    t = draw.random(2) if rule is torch_fast_gradcheck else draw.standard_normal(2)
    unseen = np.array([t[1], -t[0]])         # t'unseen = 0

    def identity(x):
        return x, None

    def backward(dy, cache):
        return dy + dy.sum() * unseen

    assert rule(identity, backward, {"x": np.ones(2)}, ["x"], rng())
    assert not rule(identity, lambda dy, cache: dy + dy.sum() * t, {"x": np.ones(2)}, ["x"], rng())
    for whole in (torch_gradcheck, CS_WRONG):
        assert not whole(identity, backward, {"x": np.ones(2)}, ["x"], rng())


def test_errors_of_two_inputs_cancel_for_those_that_take_them_together():
    t, s = normals(1, 1)

    def backward(dy, cache):
        return dy + s * dy, dy - t * dy      # t s - s t = 0

    for rule in EVERY:
        accepted = rule(lambda x, z: (x + z, None), backward, {"x": np.ones(1), "z": np.ones(1)}, ["x", "z"], rng())
        assert accepted is (rule in (jax_check_grads, autograd_check_grads))


# ---- not fooled

@pytest.mark.parametrize("rule", EVERY)
@pytest.mark.parametrize("worst", [np.nan, np.inf, -np.inf])
def test_a_gradient_that_is_not_a_number_is_rejected(rule, worst):
    def backward(dy, cache):
        return np.where(np.arange(dy.size) == 1, worst, dy)

    with np.errstate(invalid="ignore"):
        assert rule(lambda x: (x, None), backward, {"x": np.ones(3)}, ["x"], rng()) is False
        for order in ((0, 1), (1, 0)):       # whichever block has it
            def two(dy, cache):
                both = dy, backward(dy, cache)
                return both[order[0]], both[order[1]]
            assert not rule(lambda x, z: (x + z, None), two, {"x": np.ones(3), "z": np.ones(3)}, ["x", "z"], rng())


@pytest.mark.parametrize("rule", EVERY)
def test_where_the_function_is_not_a_number_jax_alone_is_content(rule):
    with np.errstate(invalid="ignore"):
        accepted = rule(lambda x: (x * np.nan, None), lambda dy, cache: dy * np.nan, ONE, ["x"], rng())
    assert accepted is (rule is jax_check_grads)


@pytest.mark.parametrize("rule", EVERY)
def test_a_right_gradient_of_another_shape(rule):
    """cs231n's difference broadcasts."""
    assert rule(lambda x: (x, None), lambda dy, cache: dy[None], {"x": np.ones((2, 3))}, ["x"], rng()) is \
        (rule in (CS_WRONG, CS_OKAY, CS_HAPPY))


@pytest.mark.parametrize("rule", EVERY)
def test_a_missing_gradient(rule):
    inputs = {"x": np.ones(3), "z": np.ones(3)}
    assert rule(lambda x, z: (x + z, None), lambda dy, cache: dy, inputs, ["x", "z"], rng()) is False
    assert rule(lambda x, z: (x + z, None), lambda dy, cache: dy, inputs, ["x"], rng()) is True
    assert rule(lambda x: (x, None), lambda dy, cache: (dy, None), {"x": np.ones(3)}, ["x"], rng()) is True


@pytest.mark.parametrize("rule", EVERY)
def test_torch_alone_runs_backward_twice(rule):
    calls = []

    def backward(dy, cache):
        calls.append(None)
        return dy * (1 + 1e-12 * len(calls))

    assert rule(lambda x: (x, None), backward, {"x": np.ones(2)}, ["x"], rng()) is \
        (rule not in (torch_gradcheck, torch_fast_gradcheck))


@pytest.mark.parametrize("rule", [torch_gradcheck, torch_fast_gradcheck])
@pytest.mark.parametrize("added, verdict", [(0.0, True), (1e-9, False)])
def test_torch_wants_0_for_0(rule, added, verdict):
    assert rule(lambda x: (x, None), lambda dy, cache: dy + added, {"x": np.ones(2)}, ["x"], rng()) is verdict


@pytest.mark.parametrize("rule", EVERY)
def test_inputs_stay_as_they_are(rule):
    x = np.ones((2, 3))
    rule(lambda x: (x * x, x), lambda dy, cache: 2 * cache * dy, {"x": x}, ["x"], rng())
    np.testing.assert_array_equal(x, np.ones((2, 3)))


# ---- against PyTorch itself

def case_of(layer, what):
    return next(case for case in CASES if (case.layer, case.what) == (layer, what))


def pairs_for_torch():
    """name -> (forward, backward, inputs), right ones and wrong ones; random directions decide none of them."""
    identity, scaled = times(1.0)
    calls = []

    def not_twice(dy, cache):
        calls.append(None)
        return dy * (1 + 1e-9 * len(calls))

    pairs = {f"off by {e:.3e}": (identity, scaled(e), ONE) for e in (0.0, 1.009e-3, 1.011e-3, -1.009e-3, -1.011e-3)}
    pairs |= {f"cubic {k:.3e}": (lambda x, k=k: (k * x**3, None), lambda dy, cache: 0 * dy, {"x": np.zeros((1, 1, 1))})
              for k in (0.99e7, 1.02e7)}
    pairs |= {"nan": (identity, lambda dy, cache: dy * np.nan, ONE), "not twice the same": (identity, not_twice, ONE),
              "something from nothing": (identity, lambda dy, cache: dy + 1e-9, ONE),
              "another shape": (identity, lambda dy, cache: np.ones((2, 1, 1)), {"x": np.ones((1, 2, 1))})}
    wrong = {("linear", "bias"): None, ("relu", "vector"): relu_straight_through, ("layer_norm", "vector"): None,
             ("batch_norm", "vector"): bn_no_radial, ("attention", "2 heads"): None, ("sigmoid", "map"): None}
    for (layer, what), mutant in wrong.items():
        case = case_of(layer, what)
        pairs[layer] = case.forward, case.backward, case.draw(rng())
        if mutant:
            pairs[layer + ", wrong"] = case.forward, mutant, case.draw(rng())
    case = case_of("batch_norm", "vector")
    pairs["batch_norm, wrong by less than the tolerance"] = case.forward, bn_eps_ignored, case.draw(rng())
    return pairs


@pytest.mark.parametrize("fast", [False, True])
@pytest.mark.parametrize("name", pairs_for_torch())
def test_the_verdicts_are_those_of_torch(name, fast):
    torch = pytest.importorskip("torch")
    forward, backward, inputs = pairs_for_torch()[name]

    class Function(torch.autograd.Function):
        @staticmethod
        def forward(ctx, *tensors):
            y, ctx.cache = forward(*(tensor.detach().numpy() for tensor in tensors))
            return torch.from_numpy(np.array(y))

        @staticmethod
        def backward(ctx, dy):
            found = backward(dy.numpy(), ctx.cache)
            found = found if isinstance(found, tuple) else (found,)
            return tuple(torch.from_numpy(np.array(g)) for g in found[:len(inputs)])

    try:
        theirs = torch.autograd.gradcheck(Function.apply, tuple(torch.tensor(x, requires_grad=True)
                                                                for x in inputs.values()), fast_mode=fast)
    except RuntimeError:    # GradcheckError is one
        theirs = False
    rule = torch_fast_gradcheck if fast else torch_gradcheck
    forward, backward, inputs = pairs_for_torch()[name]
    assert rule(forward, backward, inputs, list(inputs), rng()) is theirs


def test_the_pairs_for_torch_are_accepted_and_rejected():
    verdicts = [torch_gradcheck(*pair, list(pair[2]), rng()) for pair in pairs_for_torch().values()]
    assert len(verdicts) >= 12 and 6 <= sum(verdicts) <= len(verdicts) - 6
