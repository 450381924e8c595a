"""A pair of functions at one point, in the form that the check works with: named inputs, results that are arrays."""

import inspect
from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple

import numpy as np

from minifl.errors import InputError
from minifl.gradcheck.instruments import WIDE_STEP


class Point(NamedTuple):
    """Where a pair is checked."""
    forward: object     # (*inputs) -> y, cache
    gradient: object    # (dy, cache) -> name -> gradient of each wanted input, None where there is none
    inputs: dict        # name -> array, as given
    wanted: list        # the names to differentiate
    wide: dict          # inputs in float64 if forward computes in float64 then, else inputs
    exact: bool         # whether it does
    y: np.ndarray       # what forward gives
    v: np.ndarray       # the cotangent, of y's shape and dtype
    analytic: dict      # what backward says for it
    eps: float          # of the least precise format between inputs and gradients

    @property
    def step(self) -> float:
        """For extrapolated differences: where truncation h⁴ and rounding eps/h are alike."""
        return WIDE_STEP if self.exact else self.eps ** 0.2

    @property
    def whole(self) -> bool:
        """Whether backward gave a finite gradient of the right shape for every input."""
        return all(a is not None and a.shape == self.inputs[name].shape and bool(np.all(np.isfinite(a)))
                   for name, a in self.analytic.items())


def point(forward: Callable, backward: Callable, inputs: dict[str, np.ndarray], fixed: Iterable[str],
          rng: np.random.Generator) -> Point:
    """The Point of a pair, cotangent drawn from rng; its functions are given arrays, never NumPy's numbers. Raises
    InputError for inputs or results of another form, and for numbers to differentiate at that are not finite."""
    inputs = named(forward, inputs)
    forward = _of_arrays(forward)
    wanted = [name for name, array in inputs.items() if name not in fixed and array.dtype.kind == "f"]
    if not wanted or set(fixed) - set(inputs):
        raise InputError(f"fixed={tuple(fixed)!r} of the inputs {', '.join(inputs)}: there must be a float input that is "
                         "not fixed, and each fixed one must be an input.")
    for name in wanted:
        _require_finite(name, inputs[name])
    gradient = gradients(backward, inputs, wanted)
    y, cache = call(forward, copies(inputs))
    if y.dtype.kind == "c":
        raise InputError(f"forward's y has dtype {y.dtype} at real inputs; a gradient is that of real numbers.")
    v = rng.standard_normal(y.shape).astype(y.dtype)
    analytic = gradient(v.copy(), cache)
    wide = {name: array.astype(float) if name in wanted else array for name, array in inputs.items()}
    exact = _computes_in_float64(forward, wide, inputs)
    formats = [y.dtype, *(a.dtype for a in analytic.values() if a is not None and a.dtype.kind == "f")]
    if exact:
        formats += [inputs[name].dtype for name in wanted]
    eps = max(float(np.finfo(format).eps) for format in (*formats, np.float64))    # no instrument is more precise
    return Point(forward, gradient, inputs, wanted, wide if exact else inputs, exact, y, v, analytic, eps)


def _of_arrays(forward):
    """Forward, given arrays, where arithmetic made NumPy's numbers of arrays without axes, and with a y that stays what it
    is where forward writes into the same buffer in each call."""
    def with_arrays(*inputs):
        result = forward(*map(np.asarray, inputs))
        if isinstance(result, tuple) and len(result) == 2 and isinstance(result[0], np.ndarray):
            return result[0].copy(), result[1]
        return result

    with_arrays.__wrapped__ = forward       # type: ignore[attr-defined]
    return with_arrays


def _require_finite(name, array):
    off = ~np.isfinite(array)
    if off.any():
        index = tuple(map(int, np.argwhere(off)[0]))
        raise InputError(f"input {name} has {array[index]} at {list(index)} ({off.sum()} of {array.size} numbers are not "
                         "finite); a function is differentiated at finite numbers. An input that is not differentiated "
                         "can be named in fixed=(...).")


def _computes_in_float64(forward, wide, inputs):
    try:
        return call(forward, copies(wide))[0].dtype == np.float64
    except Exception:
        if all(wide[name].dtype == array.dtype for name, array in inputs.items()):
            raise
        return False     # written for the dtype of the inputs alone


def named(forward: Callable, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """name -> array; names from forward's arguments where only arrays are given."""
    if not isinstance(inputs, dict):
        arrays = [inputs] if isinstance(inputs, np.ndarray) else list(inputs)
        inputs = dict(zip(_argument_names(forward, len(arrays)), arrays))
    inputs = {name: np.asarray(array) for name, array in inputs.items()}
    for name, array in inputs.items():
        if array.dtype.kind not in "biuf":
            raise InputError(f"input {name} has dtype {array.dtype}; valid are real numbers: float, int, bool.")
    return inputs


def _argument_names(forward, count):
    try:
        arguments = inspect.signature(forward).parameters.values()
    except (TypeError, ValueError):     # of some builtins and ufuncs
        arguments = ()
    names = [a.name for a in arguments if a.kind in (a.POSITIONAL_ONLY, a.POSITIONAL_OR_KEYWORD)]
    return names[:count] if len(names) >= count else [f"input {i}" for i in range(count)]


def call(forward: Callable, inputs: dict[str, np.ndarray]) -> tuple[np.ndarray, Any]:
    """y as an array and cache. Raises InputError for a result of another form."""
    result = forward(*inputs.values())
    if not isinstance(result, tuple) or len(result) != 2:
        what = f"{len(result)} values" if isinstance(result, tuple) else type(result).__name__
        raise InputError(f"forward returned {what}; it should return (y, cache). In minifl.gradcheck there is from_vjp for "
                         "a plain function with a vjp, from_loss for one that returns its gradient, too, from_outputs for "
                         "several outputs, and from_object for a class.")
    y = np.asarray(result[0])
    if y.dtype.kind not in "fc":
        raise InputError(f"forward's y has dtype {y.dtype}; it should be an array of floats.")
    return y, result[1]


def gradients(backward: Callable, inputs: dict[str, np.ndarray], wanted: Sequence[str]) -> Callable:
    """(dy, cache) -> name -> gradient of the wanted inputs; InputError if their number does not fit."""
    def gradient(dy, cache):
        result = backward(np.asarray(dy), cache)
        result = result if isinstance(result, (tuple, list)) else (result,)
        if len(result) == len(inputs) != len(wanted):
            result = [g for name, g in zip(inputs, result) if name in wanted]
        if len(result) > len(wanted) and all(g is None for g in result[len(wanted):]):
            result = result[:len(wanted)]      # of optional inputs that are not there, as a linear layer's bias
        if len(result) != len(wanted):
            raise InputError(f"backward returned {len(result)} gradients for the inputs {', '.join(wanted)}; inputs "
                             "without a gradient can be named in fixed=(...).")
        return {name: None if g is None else np.array(g) for name, g in zip(wanted, result)}    # it may be a buffer

    return gradient


def restricted(forward: Callable, inputs: dict[str, np.ndarray], chosen: Any) -> tuple:
    """forward as a function of the chosen entries alone (name -> flat indices) of some inputs, and these entries."""
    if not chosen:
        return forward, inputs

    def of_these(*parts):
        arrays = []
        for (name, array), part in zip(inputs.items(), parts):
            if name in chosen:
                array = np.array(array, dtype=np.result_type(array, part), order="C")
                array.reshape(-1)[chosen[name]] = part
                part = array
            arrays.append(part)
        return forward(*arrays)

    return of_these, {name: array.ravel()[chosen[name]] if name in chosen else array for name, array in inputs.items()}


def along(forward: Callable, inputs: dict[str, np.ndarray], direction: Any) -> Callable:
    """t -> forward(inputs + t direction), t a number; direction: name -> array. The dtype stays, but for complex t."""
    def moved(name, array, t):
        there = array + t * direction[name]
        return there if np.iscomplexobj(there) else there.astype(array.dtype, copy=False)

    def on_line(t):
        return forward(*(moved(name, array, t) if name in direction else array.copy() for name, array in inputs.items()))

    return on_line


def copies(inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """A function that writes into its arguments shall not change the point."""
    return {name: array.copy() for name, array in inputs.items()}
