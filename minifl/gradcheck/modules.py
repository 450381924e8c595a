"""The layers of a module, found by their names, and what is told of each: its shapes and options.

A layer is a pair name, name_backward or name_forward, name_backward. Shapes stand in a dictionary, name -> {input: symbolic
shape}, name -> layer(...) with options, or name -> function of rng that draws the inputs.
"""

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck.adapters import with_options
from minifl.gradcheck.strategies import inputs, st, sweep
from minifl.gradcheck.sweeps import Sweep

BACKWARD, FORWARD = "_backward", "_forward"
ADAPTERS = ("minifl.gradcheck.adapters", "minifl.gradcheck.objects")    # what they made is the module's own


class Layer(NamedTuple):
    """How a layer is drawn and checked; made by `layer`."""
    shapes: object      # name -> symbolic shape, a function of rng, or a strategy
    fixed: tuple
    drawn: dict         # sizes, values, special of `strategies.inputs`
    checked: dict       # options of `strategies.sweep`
    keywords: dict      # of the forward pass


def layer(shapes: Any, *, fixed: Iterable[str] = (), sizes: dict | None = None, values: Any = None,
          special: Any = None, examples: int | None = None, also: Iterable[str] | None = None,
          instrument: str | None = None, tolerance: float | None = None, coordinates: int | None = None,
          precision: str | None = None, budget: float | None = None, **keywords: Any) -> Layer:
    """A layer that needs more than its shapes.

    shapes    name -> symbolic shape; or a function rng -> {name: array}; or a strategy of inputs, as strategies.sweep
              takes it
    fixed     names of inputs without a gradient
    sizes, values, special     of strategies.inputs
    examples, also, instrument, tolerance, coordinates, precision, budget     of strategies.sweep and check
    keywords  options of the forward pass, copied freshly for each call: layer({"x": "K N D"}, eps=0.1)
    """
    drawn = {"sizes": sizes, "values": values, "special": special}
    checked = {"examples": examples, "also": also, "instrument": instrument, "tolerance": tolerance,
               "coordinates": coordinates, "precision": precision, "budget": budget}
    return Layer(shapes, tuple(fixed), _given(drawn), _given(checked), keywords)


def pairs(module: Any, named: Iterable[str] = ()) -> dict[str, tuple]:
    """name -> (forward, backward) of a module's layers, None for what is not there. module: or a dictionary of pairs.

    named   besides those whose backward the module itself defines: an imported layer that somebody asks for
    """
    if isinstance(module, dict):
        return {name: _pair(name, pair) for name, pair in module.items()} | {
            name: (None, None) for name in named if name not in module}
    functions = {name: value for name, value in vars(module).items() if callable(value) and not name.startswith("_")}
    own = [name for name, value in functions.items()
           if getattr(value, "__module__", None) in (None, module.__name__, *ADAPTERS)]
    names = [name.removesuffix(BACKWARD) for name in own if name.endswith(BACKWARD)]
    return {name: (functions.get(name + FORWARD, functions.get(name)), functions.get(name + BACKWARD))
            for name in dict.fromkeys([*names, *named])}


def missing(found: Any, shapes: dict, name: str, form: str) -> str:
    """What is not there for a layer's check, in one sentence, "" if everything is. found: what `pairs` returns; form: how
    shapes are written for a {name}."""
    forward, backward = found.get(name, (None, None))
    pair = f"{name} (or {name}{FORWARD}) and {name}{BACKWARD}"
    lacking = [name] * (forward is None) + [name + BACKWARD] * (backward is None)
    if lacking:
        return f"the module has no function {' and no function '.join(lacking)}; a case needs the pair {pair}"
    if name not in shapes:
        return (f"the module has the pair {getattr(forward, '__name__', name)} and {name}{BACKWARD}, and no shapes are "
                f"given for it; {form.format(name=name)}, a symbolic shape for each argument")
    return ""


def swept(pair: tuple, chosen: Any, drawn: Any, fixed: Iterable[str], checked: dict) -> Sweep:
    """The Sweep of a pair; chosen: what its shapes are, drawn, fixed, checked: options where it has none of its own."""
    chosen = chosen if isinstance(chosen, Layer) else layer(chosen)
    strategy, unchanging = chosen.shapes, chosen.fixed
    if isinstance(strategy, dict):
        own = drawn | chosen.drawn
        own["values"] = {name: value for name, value in (own.get("values") or {}).items() if name in chosen.shapes}
        unchanging = unchanging or tuple(name for name in fixed if name in chosen.shapes)
        strategy = inputs(chosen.shapes, **own)
    elif callable(strategy) and not isinstance(strategy, st.SearchStrategy):
        strategy = st.integers(0, 2 ** 32 - 1).map(lambda seed: _arrays(chosen.shapes(np.random.default_rng(seed))))
    elif not isinstance(strategy, st.SearchStrategy):
        raise InputError(f"the shapes are {strategy!r}; they should be a dictionary, name -> symbolic shape such as 'K N "
                         "D', or a function of rng that returns a dictionary, name -> array.")
    return sweep(with_options(pair[0], **chosen.keywords), pair[1], strategy, fixed=unchanging, **(checked | chosen.checked))


def verdict(found: Any) -> str:
    """What a Sweep that did not pass says."""
    return f"{found.verdict}\n{found}" if found.reports else str(found)


def _arrays(inputs):
    if not isinstance(inputs, dict):
        raise InputError(f"the function that draws the inputs returned {type(inputs).__name__}; it should return a "
                         "dictionary, name -> array.")
    return inputs


def _pair(name, pair):
    if not isinstance(pair, (tuple, list)) or len(pair) != 2 or not all(map(callable, pair)):
        raise InputError(f"{name} is {type(pair).__name__}; it should be a pair of functions, (forward, backward).")
    return tuple(pair)


def _given(options):
    return {name: value for name, value in options.items() if value is not None}
