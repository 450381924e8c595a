"""Gradient checks of a module's layers as pytest cases, in three lines:

    import mylayers
    from minifl.gradcheck.pytest import gradient_cases
    test_gradients = gradient_cases(mylayers, scale={"x": "K N D", "gain": "K D"}, swish={"x": "K N D"})

Every pair name (or name_forward), name_backward of the module is a case; one without shapes fails, so none is forgotten.
"""

from collections.abc import Callable, Iterable
from typing import Any

import pytest

from minifl.errors import InputError
from minifl.gradcheck import modules
from minifl.gradcheck.modules import layer
from minifl.gradcheck.strategies import EXAMPLES

ADD = 'add {name}={{"x": "K N D", ...}} to gradient_cases'

__all__ = ["gradient_cases", "layer"]


def gradient_cases(module: Any, /, *, examples: int = EXAMPLES, sizes: dict | None = None, values: Any = None,
                   special: Any = (), fixed: Iterable[str] = (), seed: int = 0, **layers: Any) -> Callable:
    """A parametrized test with one case for each layer of a module.

    module   or a dictionary of pairs, name -> (forward, backward)
    layers   name -> {input: symbolic shape}, or layer(...) with options of its own
    examples, sizes, values, special, fixed, seed     for all layers that do not say otherwise
    A case fails, with the report of the smallest wrong example, if backward is not the derivative of forward; if the
    module has a *_backward without shapes here or without its forward; if shapes are given for what the module lacks.
    """
    found, title = modules.pairs(module, layers), getattr(module, "__name__", "layers")

    @pytest.mark.parametrize("name", [*found] or [title])
    def test(name):
        if not found:
            said = (f"the module has no pair of functions name, name{modules.BACKWARD} or name{modules.FORWARD}, "
                    f"name{modules.BACKWARD}, so nothing is checked")
        else:
            said = modules.missing(found, layers, name, ADD)
        if not said:
            try:
                done = modules.swept(found[name], layers[name], {"sizes": sizes, "values": values, "special": special},
                                     fixed, {"examples": examples, "seed": seed})
                said = "" if done.passed else modules.verdict(done)
            except InputError as error:
                said = str(error)
        if said:
            pytest.fail(f"{title}.{name}: {said}", pytrace=False)

    return test
