"""Layers of other forms, a line each: losses with their gradient, several outputs, objects, options; whose failure it is."""

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.gradcheck import check, from_loss, from_object, from_outputs, from_vjp, with_options
from minifl.gradcheck.strategies import inputs, sweep

X, W = (np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(3, 4), (4, 2)]))


class Linear:
    """Parameters and gradients as attributes; the classes after it have them at the other places that people put them."""

    def __init__(self, W):
        self.W = W

    def forward(self, x):
        self.x = x
        return x @ self.W

    def backward(self, dout):
        self.dW = self.x.T @ dout
        return dout @ self.W.T


class InLists(Linear):
    def __init__(self, W):
        self.params, self.grads = [W], [np.zeros_like(W)]

    W = property(lambda self: self.params[0])

    def backward(self, dout):
        self.grads[0] += self.x.T @ dout       # added up over calls, until somebody sets it to 0
        return dout @ self.params[0].T


class AllReturned(Linear):
    def backward(self, dout):
        return dout @ self.W.T, self.x.T @ dout


class Called:
    def __init__(self, W):
        self.linear = Linear(W)

    def __call__(self, x):
        return self.linear.forward(x)

    def backward(self, dout):
        dx = self.linear.backward(dout)
        self.grad_W = self.linear.dW
        return dx


class InDictionaries:
    def __init__(self):
        self.params, self.grads = {"W": np.zeros((4, 2))}, {}

    def forward(self, x):
        self.x = x
        return x @ self.params["W"]

    def backward(self, dout):
        self.grads["dW"] = self.x.T @ dout
        return dout @ self.params["W"].T


@pytest.mark.parametrize("pair", [
    from_object(Linear, "W"), from_object(Linear(W * 0), "W"), from_object(lambda: Linear(W * 0), "W"),
    from_object(lambda W: Linear(W), "W"), from_object(Linear, W="dW"), from_object(Linear, W=lambda layer: layer.dW),
    from_object(InLists, "W"), from_object(InLists, W=lambda layer: layer.grads[0]), from_object(AllReturned, "W"),
    from_object(Called, "W"), from_object(InDictionaries, "W")])
def test_where_parameters_and_gradients_are(pair):
    check(*pair, {"x": X, "W": W}).assert_passed()
    for factor in ({"x": 2.0, "W": 1.0}, {"x": 1.0, "W": 2.0}):
        def wrong(dy, cache):
            return tuple(g * f for g, f in zip(pair[1](dy, cache), factor.values()))
        report = check(pair[0], wrong, {"x": X, "W": W})
        assert [b.name for b in report.blocks if not b.passed] == [name for name, f in factor.items() if f != 1]


def test_an_object_that_is_there_is_not_changed():
    layer = Linear(W.copy())
    assert check(*from_object(layer, "W"), {"x": X, "W": 2 * W}).passed
    assert np.array_equal(layer.W, W) and not hasattr(layer, "dW") and not hasattr(layer, "x")


def test_a_loss_whose_backward_takes_nothing():
    class Loss:
        def forward(self, x, t):
            self.d = x - t
            return float((self.d ** 2).sum())

        def backward(self):
            return 2 * self.d, -2 * self.d

    report = check(*from_object(Loss), {"x": X, "t": X + 1})
    assert report.passed and [b.name for b in report.blocks] == ["x", "t"]
    assert check(*from_object(Loss), [X, X + 1]).blocks[1].name == "t"


def test_what_an_object_lacks_is_named():
    class Nothing:
        def backward(self, dy):
            return dy

    class Forgets(Linear):
        def backward(self, dout):
            return dout @ self.W.T

    with pytest.raises(InputError, match="Nothing has neither forward nor __call__"):
        check(*from_object(Nothing), {"x": X})
    with pytest.raises(InputError, match=r"Linear has no parameter V: neither obj.V nor obj.params\[\"V\"\]"):
        check(*from_object(Linear(W), "V"), {"x": X, "V": W})
    with pytest.raises(InputError, match=r"Forgets has no gradient of W: neither obj.dW"):
        check(*from_object(Forgets, "W"), {"x": X, "W": W})
    with pytest.raises(InputError, match="has no attribute gW, where the gradient of W should be"):
        check(*from_object(Forgets, W="gW"), {"x": X, "W": W})


# ---- losses and several outputs

@pytest.mark.parametrize("gradients", [
    lambda dx, dw: (dx, dw), lambda dx, dw: ((dx, dw),), lambda dx, dw: ({"w": dw, "x": dx},), lambda dx, dw: ([dx, dw],)])
def test_a_loss_with_its_gradients(gradients):
    def loss(x, w):
        y = x @ w
        return (y * y).sum(), *gradients(2 * y @ w.T, 2 * x.T @ y)

    report = check(*from_loss(loss), [X, W])
    report.assert_passed()
    assert [b.name for b in report.blocks] == ["x", "w"]

    def half(x, w):
        y = x @ w
        return (y * y).sum(), *gradients(2 * y @ w.T, x.T @ y)

    assert [b.passed for b in check(*from_loss(half), [X, W]).blocks] == [True, False]


def test_a_loss_of_another_form():
    with pytest.raises(InputError, match="from_loss is for one that returns"):
        check(*from_loss(lambda x: x.sum()), {"x": X})
    with pytest.raises(InputError, match="the gradients are called dx, the function's arguments x"):
        check(*from_loss(lambda x: (x.sum(), {"dx": x})), {"x": X})


def outputs(x):
    return x.sum(axis=0), x * x, x


def outputs_backward(dsum, dsquare, x):
    assert dsum.shape == x.shape[1:] and dsquare.shape == x.shape and dsum.dtype == x.dtype
    return dsum + 2 * x * dsquare


@pytest.mark.parametrize("dtype", [float, np.float32])
def test_several_outputs(dtype):
    assert check(*from_outputs(outputs, outputs_backward), {"x": X.astype(dtype)}).passed
    assert check(*from_outputs(lambda x: (outputs(x)[:2], x), lambda dy, x: outputs_backward(*dy, x)), {"x": X}).passed
    for wrong in (lambda a, b, x: a + x * b, lambda a, b, x: 2 * x * b, lambda a, b, x: a + 0 * x):
        assert not check(*from_outputs(outputs, wrong), {"x": X.astype(dtype)}).passed
    with pytest.raises(InputError, match="from_outputs is for one that returns"):
        check(*from_outputs(lambda x: x, outputs_backward), {"x": X})
    with pytest.raises(InputError, match="forward returned 3 values; .* from_outputs for several outputs"):
        check(outputs, outputs_backward, {"x": X})


# ---- options that a call writes into

def counted(x, state):
    state["calls"] = state.get("calls", 0) + 1
    assert state["mode"] == "train"
    return x * state["calls"], state["calls"]


def test_a_mutable_option_is_fresh_for_each_call_and_example():
    def backward(dy, calls):
        return dy * calls

    given = {"mode": "train"}
    assert check(with_options(counted, state=given), backward, {"x": X}).passed
    assert sweep(counted, backward, inputs(x="N D").map(lambda x: (x, {"state": given})), examples=5).passed
    from minifl.gradcheck.pytest import gradient_cases, layer
    gradient_cases({"counted": (counted, backward)}, counted=layer({"x": "N D"}, examples=5, state=given))("counted")
    assert given == {"mode": "train"}


# ---- what code is given, and whose failure it is

def test_dy_of_a_number_is_an_array():
    seen = []

    def backward(dy, x):
        seen.append(type(dy))
        return 2 * x * dy

    for dtype in (float, np.float32):
        assert check(lambda x: ((x * x).sum(), x), backward, {"x": X.astype(dtype)}).passed
    assert check(*from_vjp(lambda x: float((x * x).sum()), lambda x, dy: backward(dy, x)), {"x": X}).passed
    assert set(seen) == {np.ndarray}


@pytest.mark.parametrize("factor, passes", [(1, True), (1.001, False)])
def test_code_of_float32_alone(factor, passes):
    def forward(x, w):
        assert x.dtype == w.dtype == np.float32
        return np.tanh(x @ w), (x, w, np.tanh(x @ w))

    def backward(dy, cache):
        x, w, y = cache
        assert dy.dtype == np.float32
        dz = dy * (1 - y * y)
        return dz @ w.T, x.T @ dz * np.float32(factor)

    report = check(forward, backward, {"x": X.astype(np.float32), "w": W.astype(np.float32)})
    assert report.passed == passes and [b.passed for b in report.blocks] == [True, passes]
    with pytest.raises(AssertionError):
        check(forward, backward, {"x": X, "w": W})


def broken_forward(x):
    return x.missing, x


@pytest.mark.parametrize("forward, backward, role, line", [
    (broken_forward, lambda dy, x: dy, "forward", "return x.missing, x"),
    (lambda x: (x, x), lambda dy, x: broken_forward(dy), "backward", "return x.missing, x")])
def test_what_raises_is_called_by_its_name_and_line(forward, backward, role, line):
    found = sweep(forward, backward, inputs(x="N D"), examples=3)
    other = {"forward": "backward", "backward": "forward"}[role]
    with pytest.raises(AssertionError) as failure:
        found.assert_passed()
    said = str(failure.value)
    assert said.startswith(f"{role} raises an error\n") and f"{role} raises AttributeError" in said
    assert f"{other} raises" not in said and "the backward pass is wrong" not in said
    assert "in broken_forward" in said and line in said and "test_objects.py" in said
    with pytest.raises(AttributeError) as raised:
        check(forward, backward, {"x": X})
    assert raised.traceback[-1].name == "broken_forward"
