"""Shapes and numbers drawn by hypothesis, `inputs`, for a check on each, `sweep`.

    from minifl.gradcheck.strategies import inputs, sweep
    print(sweep(scale, scale_backward, inputs(x="K N D", gain="K D")))

A letter is a size, everywhere the same. Whoever needs other sizes or numbers names a strategy or a function for them,
or writes a strategy: of dicts name -> array, or of pairs of such a dict and the keyword options of forward for it.
"""

from typing import Any

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck.sweeps import EXAMPLES, SPECIAL, Sweep, st, sweep

__all__ = ["EXAMPLES", "SPECIAL", "Drawn", "Sweep", "inputs", "st", "sweep"]

SIZES = st.integers(1, 5)     # of a letter: 1, odd ones and even ones
MANY, FEW = 600, 3            # in inputs with an array of more numbers than that, the letters end at 3


class Drawn(dict):
    """name -> array, and what it was drawn as: `sizes`, symbol -> size, with "special" -> the kind of numbers."""
    sizes: dict
    plain: tuple    # names of the standard normal ones, which may as well be special numbers


def inputs(shapes: dict | None = None, /, *, sizes: dict | None = None, values: Any = None, special: Any = (),
           **named: Any) -> Any:
    """A strategy of a layer's inputs, name -> float64 array in this order.

    shapes   name -> symbolic shape, such as x="K N D", kernel="K 3 3 C F" with whole numbers, t="" for one number; as
             a dict, or as keyword arguments (named)
    sizes    symbol -> a strategy of sizes (st.sampled_from([5, 7])), a number, or a function of the sizes that are drawn
             (lambda sizes: 2 * sizes["D"]). Default 1 to 5
    values   name -> (rng, sizes) -> array, for others than standard normal numbers: labels, variances
    special  of "zeros", "ties", "large", "small", "saturation", "rows of zeros": these kinds of numbers are drawn, too, as
             often as normal ones
    Raises InputError for a shape, size, name or kind that there is not.
    """
    sizes, values = dict(sizes or {}), dict(values or {})
    shapes = {name: _symbols(name, text) for name, text in {**(shapes or {}), **named}.items()}
    if not shapes or set(values) - set(shapes):
        raise InputError(f"values for {', '.join(values) or 'nothing'}, shapes for {', '.join(shapes) or 'nothing'}: there "
                         "must be an input, and values only for inputs that have a shape.")
    if set(special) - set(SPECIAL):
        raise InputError(f"special={tuple(special)!r}; valid are {', '.join(SPECIAL)}.")
    plain = list(dict.fromkeys(s for shape in shapes.values() for s in shape if isinstance(s, str) and s not in sizes))

    @st.composite
    def drawn(draw):
        found = {symbol: draw(SIZES) for symbol in plain}
        for symbol, size in sizes.items():
            if not callable(size):
                found[symbol] = draw(size) if isinstance(size, st.SearchStrategy) else size
        if max(_count(shape, found, sizes) for shape in shapes.values()) > MANY:
            found |= {symbol: min(found[symbol], FEW) for symbol in plain}
        _derive(found, sizes)
        kind = draw(st.sampled_from(("", *special))) if special else ""
        rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
        arrays = Drawn((name, _array(name, shape, found, values, kind, rng)) for name, shape in shapes.items())
        arrays.sizes = found | ({"special": kind} if kind else {})
        arrays.plain = tuple(name for name in shapes if name not in values and not kind)
        return arrays

    return drawn()


def _symbols(name, text):
    """Sizes and symbols of a symbolic shape."""
    parts = text.split() if isinstance(text, str) else list(text)
    parts = [int(part) if str(part).isdigit() else part for part in parts]
    if not all(isinstance(part, int) or str(part).isidentifier() for part in parts):
        raise InputError(f"shape {text!r} of {name}: it should be letters and whole numbers with spaces, such as 'K N 3'.")
    return tuple(parts)


def _derive(found, sizes):
    """Add the sizes that are functions of others, in their order."""
    for symbol, size in sizes.items():
        if callable(size):
            found[symbol] = size(found)


def _count(shape, found, sizes):
    """Numbers of an array, with the sizes that are drawn."""
    found = dict(found)
    _derive(found, sizes)
    return int(np.prod([found[s] if isinstance(s, str) else s for s in shape]))


def _array(name, shape, found, values, kind, rng):
    size = tuple(found[s] if isinstance(s, str) else s for s in shape)
    if name not in values:
        x = rng.standard_normal(size)
        return SPECIAL[kind](rng, x) if kind else x
    array = np.asarray(values[name](rng, found))
    if array.shape != size:
        raise InputError(f"values of {name} have shape {array.shape}, its shape is {size}.")
    return array
