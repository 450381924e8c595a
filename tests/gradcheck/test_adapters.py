"""Functions of other forms and libraries under the check: none of these libraries is imported by the package."""

import subprocess
import sys

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.gradcheck import check, from_jax, from_torch, from_vjp
from minifl.gradcheck.adapters import as_numpy

X, W = (np.random.default_rng(i).standard_normal(shape) for i, shape in enumerate([(3, 4), (4, 2)]))


class Tensor:
    """What a library's array may look like: it is no NumPy array, lives on a device, remembers its history."""

    def __init__(self, array):
        self.array = array

    def detach(self):
        return Tensor(self.array)

    def cpu(self):
        return self

    def __array__(self, dtype=None, copy=None):
        return np.asarray(self.array, dtype)


def test_a_plain_function_with_its_vjp():
    report = check(*from_vjp(lambda x, w: x @ w, lambda x, w, dy: (dy @ w.T, x.T @ dy)), {"x": X, "w": W})
    report.assert_passed()
    assert [b.name for b in report.blocks] == ["x", "w"]
    wrong = check(*from_vjp(lambda x, w: x @ w, lambda x, w, dy: (dy @ w.T, dy.T @ x)), {"x": X, "w": W})
    assert "transposed" in str(wrong)


def test_arrays_of_a_library():
    def f(x):
        assert isinstance(x, Tensor)
        return Tensor(np.sin(x.array))

    def vjp(x, dy):
        return Tensor(np.cos(x.array) * dy.array)

    assert check(*from_vjp(f, vjp, convert=Tensor), {"x": X}).passed
    with pytest.raises(InputError, match="returned str, which is no array of numbers"):
        as_numpy("text")


def test_an_adapter_does_not_import_its_library():
    """In a process of its own: this one may have imported them."""
    code = ("import sys, minifl.gradcheck as g\n"
            "assert not {'torch', 'jax', 'hypothesis', 'pytest'} & set(sys.modules)\n"
            "for adapter in (g.from_torch, g.from_jax):\n"
            "    try: adapter(abs)\n"
            "    except ValueError as error: assert 'nobody has imported' in str(error)\n"
            "    else: raise SystemExit(1)\n")
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch():
    torch = pytest.importorskip("torch", reason="PyTorch's functions are checked where it is installed")
    layer_norm = torch.nn.functional.layer_norm
    report = check(*from_torch(lambda x, gain, bias: layer_norm(x, (4,), gain, bias)),
                   {"x": X, "gain": X[0] + 2, "bias": X[1]})
    report.assert_passed()
    single = check(*from_torch(lambda x: layer_norm(x, (4,))), {"x": X.astype(np.float32)})
    assert single.passed and 1e-7 < single.blocks[0].tolerance < 1e-4
    module = torch.nn.Linear(4, 2, bias=False, dtype=torch.float64)
    weight = module.weight.detach().numpy()
    assert check(*from_torch(lambda x, weight: torch.func.functional_call(module, {"weight": weight}, (x,))),
                 {"x": X, "weight": weight}).passed

    class Wrong(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            ctx.save_for_backward(x)
            return x * x

        @staticmethod
        def backward(ctx, dy):
            return ctx.saved_tensors[0] * dy

    assert "off by the factor 0.5" in str(check(*from_torch(Wrong.apply), {"x": X}))


def test_jax():
    jax = pytest.importorskip("jax", reason="JAX's functions are checked where it is installed")
    report = check(*from_jax(lambda x, w: jax.nn.gelu(x @ w, approximate=False)), {"x": X, "w": W})
    report.assert_passed()
    assert report.blocks[0].tolerance > 1e-7     # JAX computes in float32 unless told otherwise
    labels = np.array([0, 1, 1])
    assert check(*from_jax(lambda z, y: -jax.nn.log_softmax(z)[jax.numpy.arange(3), y]), {"z": X, "y": labels}).passed
