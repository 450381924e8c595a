"""Gradient checks of a module's layers as pytest cases, in three lines:

    import mylayers
    from minifl.gradcheck.pytest import gradient_cases
    test_gradients = gradient_cases(mylayers, scale={"x": "K N D", "gain": "K D"}, swish={"x": "K N D"})

Every pair name, name_backward of the module is a case; one without shapes fails, so none is forgotten.
"""

from functools import partial
from typing import NamedTuple

import pytest

from minifl.errors import InputError
from minifl.gradcheck.strategies import EXAMPLES, inputs, sweep

ENDING = "_backward"


class Layer(NamedTuple):
    """How a layer is drawn and checked; made by `layer`."""
    shapes: object      # name -> symbolic shape, or a strategy
    fixed: tuple
    drawn: dict         # sizes, values, special of `strategies.inputs`
    checked: dict       # options of `strategies.sweep`
    keywords: dict      # of the forward pass


def layer(shapes, *, fixed=(), sizes=None, values=None, special=None, examples=None, instrument=None, tolerance=None,
          coordinates=None, **keywords):
    """A layer that needs more than its shapes.

    shapes    name -> symbolic shape; or a strategy of inputs, as strategies.sweep takes it
    fixed     names of inputs without a gradient
    sizes, values, special     of strategies.inputs
    examples, instrument, tolerance, coordinates     of strategies.sweep and check
    keywords  options of the forward pass: layer({"x": "K N D"}, eps=0.1)
    """
    drawn = {"sizes": sizes, "values": values, "special": special}
    checked = {"examples": examples, "instrument": instrument, "tolerance": tolerance, "coordinates": coordinates}
    return Layer(shapes, tuple(fixed), _given(drawn), _given(checked), keywords)


def gradient_cases(module, /, *, examples=EXAMPLES, sizes=None, values=None, special=(), fixed=(), seed=0, **layers):
    """A parametrized test with one case for each layer of a module.

    layers   name -> {input: symbolic shape}, or layer(...) with options of its own
    examples, sizes, values, special, fixed, seed     for all layers that do not say otherwise
    A case fails, with the report of the smallest wrong example, if backward is not the derivative of forward; if the
    module has a *_backward without shapes here or without its forward; if shapes are given for what the module lacks.
    """
    functions = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    own = [name for name, value in functions.items() if getattr(value, "__module__", None) in (None, module.__name__)]
    names = [name.removesuffix(ENDING) for name in own if name.endswith(ENDING)]
    names = list(dict.fromkeys([*names, *layers])) or [module.__name__]

    @pytest.mark.parametrize("name", names)
    def test(name):
        said = _missing(module, functions, layers, name)
        if not said:
            chosen = layers[name] if isinstance(layers[name], Layer) else layer(layers[name])
            try:
                said = _wrong(functions, name, chosen, {"sizes": sizes, "values": values, "special": special}, fixed,
                              {"examples": examples, "seed": seed})
            except InputError as error:
                said = str(error)
        if said:
            pytest.fail(f"{module.__name__}.{name}: {said}", pytrace=False)

    return test


def _missing(module, functions, layers, name):
    """What is not there for a case, "" if everything is."""
    pair = f"{name} and {name}{ENDING}"
    if name == module.__name__ and name not in layers:
        return f"the module has no pair of functions name, name{ENDING}, so nothing is checked"
    lacking = [function for function in (name, name + ENDING) if function not in functions]
    if lacking:
        return f"the module has no function {' and no function '.join(lacking)}; a case needs the pair {pair}"
    if name not in layers:
        return (f"the module has the pair {pair}, and no shapes are given for it; add "
                f'{name}={{"x": "K N D", ...}} to gradient_cases, a symbolic shape for each argument')
    return ""


def _wrong(functions, name, chosen, drawn, fixed, checked):
    """What the sweep of a layer found, "" if it passed."""
    strategy, unchanging = chosen.shapes, chosen.fixed
    if isinstance(chosen.shapes, dict):
        own = drawn | chosen.drawn
        own["values"] = {name: value for name, value in (own["values"] or {}).items() if name in chosen.shapes}
        strategy = inputs(chosen.shapes, **own)
        unchanging = unchanging or tuple(name for name in fixed if name in chosen.shapes)
    found = sweep(partial(functions[name], **chosen.keywords), functions[name + ENDING], strategy, fixed=unchanging,
                  **(checked | chosen.checked))
    return "" if found.passed else f"the backward pass is wrong\n{found}" if found.reports else str(found)


def _given(options):
    return {name: value for name, value in options.items() if value is not None}
