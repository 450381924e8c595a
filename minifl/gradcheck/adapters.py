"""Functions that are not written as our pairs, seen as pairs: plain f with vjp, losses that return their gradient, several
outputs, options, and callables of other libraries. Classes are in objects.py.

None of them imports a library: whoever has a PyTorch function has imported PyTorch. Arrays come in as NumPy's, become the
library's, and what comes back becomes NumPy's again, so a check never sees anything else.
"""

import copy
import inspect
import sys
from collections.abc import Callable, Iterable
from typing import Any

import numpy as np

from minifl.errors import InputError


def as_numpy(value: Any) -> np.ndarray:
    """The NumPy array of anything that has one: a number, a tensor (detached and moved to the host first), an array."""
    for step in ("detach", "cpu"):
        value = getattr(value, step, lambda value=value: value)()
    if hasattr(value, "get") and not isinstance(value, dict):   # CuPy's way to the host
        value = value.get()
    array = np.asarray(value)
    if array.dtype.kind not in "biufc":
        raise InputError(f"a function returned {type(value).__name__}, which is no array of numbers")
    return array


def from_vjp(f: Callable, vjp: Callable, *, convert: Callable = lambda array: array) -> tuple[Callable, Callable]:
    """The pair (forward, backward) of a plain f(*inputs) -> y with vjp(*inputs, dy) -> gradients.

    vjp      returns the gradient of sum(dy*y) for each differentiable input, one array or a tuple
    convert  NumPy array -> the array that f and vjp take, such as jax.numpy.asarray or torch.from_numpy; what they
             return becomes a NumPy array by itself
    """
    def forward(*inputs):
        return as_numpy(f(*map(convert, inputs))), inputs

    def backward(dy, inputs):
        return _arrays(vjp(*map(convert, inputs), convert(dy)))

    return like(f, forward), backward


def from_loss(function: Callable) -> tuple[Callable, Callable]:
    """The pair of a function that returns a loss and its gradients at once: (loss, dx), (loss, dx, dw), (loss, (dx, dw)),
    or (loss, {"x": dx, "w": dw}) with a gradient for each argument by name.
    """
    def forward(*inputs):
        result = function(*inputs)
        if not isinstance(result, (tuple, list)) or len(result) < 2:
            raise InputError(f"the function returned {type(result).__name__}; from_loss is for one that returns "
                             "(loss, gradient), (loss, gradient, ...) or (loss, {name: gradient}).")
        loss, *gradients = result
        if len(gradients) == 1 and isinstance(gradients[0], dict):
            gradients = _by_name(function, inputs, gradients[0])
        elif len(gradients) == 1 and isinstance(gradients[0], (tuple, list)):
            gradients = gradients[0]
        return as_numpy(loss), _arrays(tuple(gradients))

    def backward(dy, gradients):
        return tuple(None if gradient is None else dy * gradient for gradient in gradients)

    return like(function, forward), backward


def from_outputs(forward: Callable, backward: Callable) -> tuple[Callable, Callable]:
    """The pair of functions with several outputs: *outputs, cache = forward(*inputs), and gradients =
    backward(*douts, cache). Where forward returns ((y, z), cache), backward takes ((dy, dz), cache).

    The check sees one array, all outputs behind one another.
    """
    def together(*inputs):
        result = forward(*inputs)
        if not isinstance(result, (tuple, list)) or len(result) < 2:
            raise InputError(f"forward returned {type(result).__name__}; from_outputs is for one that returns "
                             "(y, z, ..., cache) or ((y, z, ...), cache).")
        *outputs, cache = result
        nested = len(outputs) == 1 and isinstance(outputs[0], (tuple, list))
        outputs = [as_numpy(y) for y in (outputs[0] if nested else outputs)]
        shapes = [(y.shape, y.dtype.type(0).real.dtype) for y in outputs]
        return np.concatenate([y.ravel() for y in outputs]), (shapes, nested, cache)

    def apart(dy, cache):
        shapes, nested, cache = cache
        ends = np.cumsum([int(np.prod(shape)) for shape, _ in shapes])[:-1]
        douts = [part.reshape(shape).astype(dtype if dy.dtype.kind == "f" else dy.dtype)
                 for part, (shape, dtype) in zip(np.split(dy, ends), shapes)]
        return backward(tuple(douts), cache) if nested else backward(*douts, cache)

    return like(forward, together), apart


def with_options(function: Callable, **options: Any) -> Callable:
    """The function with options that are not differentiated, copied freshly for each call: a dictionary that a call
    writes into, such as bn_param={"mode": "train"}, is the same for the next.
    """
    def with_these(*inputs):
        return function(*inputs, **copy.deepcopy(options))

    return like(function, with_these, without=options) if options else function


def like(function: Callable, adapted: Callable, without: Iterable[str] = ()) -> Callable:
    """The adapted function with the names that `function` has for its arguments, where it tells them."""
    adapted.__wrapped__ = function   # type: ignore[attr-defined]
    try:
        signature = inspect.signature(function)
    except (TypeError, ValueError):     # of some builtins and ufuncs
        return adapted
    adapted.__signature__ = signature.replace(   # type: ignore[attr-defined]
        parameters=[argument for name, argument in signature.parameters.items() if name not in without])
    adapted.__name__ = getattr(function, "__name__", adapted.__name__)
    return adapted


def _by_name(function, inputs, gradients):
    """Gradients in the order of the function's arguments; None where there is none."""
    names = list(inspect.signature(function).parameters)[:len(inputs)]
    if not set(names) & set(gradients):
        raise InputError(f"the gradients are called {', '.join(map(str, gradients))}, the function's arguments "
                         f"{', '.join(names)}; from_loss takes a gradient for an argument by its name.")
    return tuple(gradients.get(name) for name in names)


def from_torch(function: Callable) -> tuple[Callable, Callable]:
    """The pair of a PyTorch function of tensors, differentiated by autograd: functions, modules (called on their
    inputs), torch.autograd.Function.apply. For a module's parameters as inputs:

        from_torch(lambda x, weight, bias: torch.func.functional_call(layer, {"weight": weight, "bias": bias}, (x,)))

    Raises InputError if nobody has imported torch.
    """
    torch = _imported("torch", "from_torch")

    def forward(*inputs):
        if any(map(np.iscomplexobj, inputs)):     # PyTorch wants all of them to be
            inputs = [array if np.asarray(array).dtype.kind in "biu" else np.asarray(array, complex) for array in inputs]
        tensors = [torch.from_numpy(np.array(array)) for array in inputs]
        for tensor in tensors:
            tensor.requires_grad_(tensor.is_floating_point() or tensor.is_complex())
        y = function(*tensors)
        return as_numpy(y), (y, tensors)

    def backward(dy, cache):
        y, tensors = cache
        wanted = [tensor for tensor in tensors if tensor.requires_grad]
        cotangent = torch.from_numpy(np.array(dy)).to(dtype=y.dtype, device=y.device)
        return _arrays(torch.autograd.grad(y, wanted, cotangent, retain_graph=True, allow_unused=True))

    return forward, backward


def from_jax(function: Callable) -> tuple[Callable, Callable]:
    """The pair of a JAX function of arrays, differentiated by jax.vjp.

    JAX computes in float32 unless jax.config.update("jax_enable_x64", True); the check then has float32's tolerances.
    Raises InputError if nobody has imported jax.
    """
    jax = _imported("jax", "from_jax")

    def forward(*inputs):
        floats = [i for i, array in enumerate(inputs) if np.asarray(array).dtype.kind in "fc"]

        def of_floats(*chosen):
            arguments = list(inputs)
            for i, array in zip(floats, chosen):
                arguments[i] = array
            return function(*arguments)

        y, pull = jax.vjp(of_floats, *(jax.numpy.asarray(inputs[i]) for i in floats))
        return as_numpy(y), (pull, y.dtype)

    def backward(dy, cache):
        pull, dtype = cache
        return _arrays(pull(jax.numpy.asarray(dy, dtype=dtype)))

    return forward, backward


def _arrays(gradients):
    """A gradient, or a tuple of them, as a tuple of NumPy arrays; None stays."""
    gradients = gradients if isinstance(gradients, (tuple, list)) else (gradients,)
    return tuple(None if gradient is None else as_numpy(gradient) for gradient in gradients)


def _imported(library, adapter):
    if library not in sys.modules:
        raise InputError(f"{adapter} is for functions of {library}, and nobody has imported {library}.")
    return sys.modules[library]
