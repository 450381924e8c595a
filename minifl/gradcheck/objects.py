"""Layers that are objects, seen as pairs: forward and backward are methods, caches and gradients are attributes."""

import copy
import inspect
from collections.abc import Callable
from typing import Any

from minifl.errors import InputError
from minifl.gradcheck.adapters import as_numpy

HOLDERS = ("params", "parameters", "weights")                       # attributes that hold parameters by name or in a list
GRADIENT_HOLDERS = ("grads", "gradients", "grad", "dparams")        # the same of their gradients
GRADIENT_NAMES = ("d{}", "d_{}", "grad_{}", "{}_grad", "g{}", "{}_gradient", "d{}_")    # W -> dW, grad_W, ...


def from_object(layer: str, *parameters: Any, **gradients: Any) -> tuple[Callable, Callable]:
    """The pair of a layer with methods forward(*inputs) -> y (or __call__) and backward(dy) -> gradients of the inputs.

    layer       a class or function that makes an object, or an object; each call of the pair's forward makes or copies
                one, so that no call sees what another has left behind. Parameters that the class or function has as
                arguments are given to it; the others are put where the object has them: obj.W, obj.params["W"]
    parameters  names of the parameters, whose gradients backward leaves in the object: obj.dW, obj.grads["W"], or
                obj.grads[i] for the i-th (GRADIENT_NAMES and GRADIENT_HOLDERS are the names that are tried)
    gradients   the same, parameter=attribute or parameter=function of the object, for gradients at other places

        check(*from_object(Affine, "W", "b"), {"x": x, "W": W, "b": b})

    The inputs of the check are those of forward, then the parameters in the order in which they are named here. A
    backward that takes no dy, as that of a loss, is taken for dy = 1.
    Raises InputError for an object without these methods, parameters or gradients.
    """
    names = [*parameters, *gradients]
    makes = isinstance(layer, type) or not hasattr(layer, "backward")
    given = [name for name in names if makes and name in _arguments(layer)]

    def forward(*inputs):
        count = len(inputs) - len(names)
        values = dict(zip(names, inputs[count:]))
        obj = layer(**{name: values[name] for name in given}) if makes else copy.deepcopy(layer)
        for name in names:
            if name not in given:
                _put(obj, name, names.index(name), values[name])
        y = as_numpy(_forward(obj)(*inputs[:count]))
        return y, (obj, count, _held(obj, names, gradients))

    def backward(dy, cache):
        obj, count, held = cache
        if any(map(callable, gradients.values())):
            obj = copy.deepcopy(obj)        # nobody knows where its gradients are, and they may be added to what is there
        for attribute, value in held.items():
            setattr(obj, attribute, copy.deepcopy(value))
        method = obj.backward
        dx = method(dy) if _arguments(method) else method()
        found = list(dx) if isinstance(dx, (tuple, list)) else [dx]
        if not _arguments(method):
            found = [None if g is None else dy * g for g in found]
        found = found if dx is not None or count == 1 else []
        if len(found) < count + len(names):
            found = [*found, *[None] * (count - len(found))][:count]
            found += [_gradient(obj, name, i, gradients.get(name)) for i, name in enumerate(names)]
        return tuple(None if g is None else as_numpy(g) for g in found)

    if hasattr(layer, "forward"):
        forward.__signature__ = inspect.Signature([*_required(layer), *(    # type: ignore[attr-defined]
            inspect.Parameter(name, inspect.Parameter.POSITIONAL_OR_KEYWORD) for name in names)])
    return forward, backward


def _required(layer):
    """The arguments that forward of a class or object has to have."""
    arguments = list(inspect.signature(layer.forward).parameters.values())[int(isinstance(layer, type)):]
    return [a for a in arguments if a.default is a.empty and a.kind == a.POSITIONAL_OR_KEYWORD]


def _held(obj, names, gradients):
    """Attributes that hold gradients, as they are before backward: what is added to them is added to this."""
    wanted = [*GRADIENT_HOLDERS, *(form.format(name) for name in names for form in GRADIENT_NAMES),
              *(where for where in gradients.values() if isinstance(where, str))]
    return {attribute: copy.deepcopy(value) for attribute, value in getattr(obj, "__dict__", {}).items()
            if attribute in wanted}


def _forward(obj):
    for name in ("forward", "__call__"):
        if hasattr(obj, name):
            return getattr(obj, name)
    raise InputError(f"{type(obj).__name__} has neither forward nor __call__; from_object is for a layer with forward and "
                     "backward.")


def _arguments(function):
    """Names of a function's arguments; "*" for those of which nothing is known."""
    try:
        return list(inspect.signature(function).parameters)
    except (TypeError, ValueError):
        return ["*"]


def _put(obj, name, place, value):
    """Give an object its parameter: obj.name, or in a dictionary or list of parameters."""
    if hasattr(obj, name):
        return setattr(obj, name, value)
    for holder in HOLDERS:
        held = getattr(obj, holder, None)
        if isinstance(held, dict) and name in held:
            held[name] = value
            return None
        if isinstance(held, list) and place < len(held):
            held[place] = value
            return None
    raise InputError(f"{type(obj).__name__} has no parameter {name}: neither obj.{name} nor {_listed(HOLDERS, name)}; a "
                     f"function of {name} that makes the object can be given instead: from_object(lambda {name}: ..., "
                     f"{name!r}).")


def _gradient(obj, name, place, where):
    """The gradient that backward has left for a parameter; where: an attribute, a function of the object, or None."""
    if callable(where):
        return where(obj)
    if where is not None:
        if not hasattr(obj, where):
            raise InputError(f"{type(obj).__name__} has no attribute {where}, where the gradient of {name} should be.")
        return getattr(obj, where)
    names = [form.format(name) for form in GRADIENT_NAMES]
    for attribute in names:
        if hasattr(obj, attribute):
            return getattr(obj, attribute)
    for holder in GRADIENT_HOLDERS:
        held = getattr(obj, holder, None)
        if isinstance(held, dict):
            for key in (name, *names):
                if key in held:
                    return held[key]
        elif isinstance(held, (list, tuple)) and place < len(held):
            return held[place]
    raise InputError(f"{type(obj).__name__} has no gradient of {name}: neither {', '.join(f'obj.{n}' for n in names[:4])} "
                     f"nor {_listed(GRADIENT_HOLDERS, name)}; say where it is, from_object(..., {name}=\"attribute\") or "
                     f"{name}=function of the object.")


def _listed(holders, name):
    return ", ".join(f'obj.{holder}["{name}"]' for holder in holders[:2])


