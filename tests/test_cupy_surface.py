"""Without a GPU: whatever minifl asks of `xp` or of an array exists in CuPy, with the keywords that it uses.

The CuPy wheel imports without a driver, so its functions and their signatures can be read anywhere. The
checker walks the source: `xp.NAME` and `get_xp(x).NAME`, nested names too, and what an ndarray is asked for.
"""

import ast
import inspect
import re
from pathlib import Path

import numpy as np
import pytest

import minifl

cupy = pytest.importorskip("cupy", reason="CuPy's wheel is not installed (cupy-cuda12x; no GPU needed)")

PACKAGE = Path(minifl.__file__).parent
FILES = sorted([*PACKAGE.glob("layers/*.py"), *PACKAGE.glob("fast/*.py"), *PACKAGE.glob("models/*.py"), *PACKAGE.glob("fl/**/*.py"),
                PACKAGE / "data" / "augment.py", PACKAGE / "params.py", PACKAGE / "backend.py"])
NO_ARRAYS = {"self", "spec", "statistics"}   # objects of our own with methods named like an array's
OF_ARRAYS = {name for name in dir(np.ndarray) if not name.startswith("_")}


def signature(function):
    """inspect.Signature of a CuPy function; where it is compiled, read from the first line of its docstring.

    None if neither says. Lines look like `absolute(x, /, out=None, \\*, casting='same_kind', dtype=None)` and
    `_ndarray_base.swapaxes(self, Py_ssize_t axis1, Py_ssize_t axis2) -> _ndarray_base`.
    """
    try:
        return inspect.signature(function)
    except (TypeError, ValueError):
        line = re.match(r"[\w.]+\((.*?)\)", (function.__doc__ or "").replace("\\*", "*"))
    if line is None:
        return None
    parameters = [re.sub(r"=.*", "=None", text).split()[-1] for text in line[1].split(", ") if text]
    return inspect.signature(eval(f"lambda {', '.join(parameters)}: None"))


def call_problem(function, call, arguments_before=0):
    """Why function cannot be called as in the ast.Call, or None. A method's self is an argument before."""
    if isinstance(function, type):   # xp.float32(...)
        return None
    accepted = signature(function)
    if accepted is None:
        return "has no readable signature"
    positional = [None] * (arguments_before + sum(not isinstance(a, ast.Starred) for a in call.args))
    keywords = {keyword.arg: None for keyword in call.keywords if keyword.arg}
    unpacked = len(keywords) < len(call.keywords) or any(isinstance(a, ast.Starred) for a in call.args)
    try:
        (accepted.bind_partial if unpacked else accepted.bind)(*positional, **keywords)
    except TypeError as error:
        return str(error)
    if any(p.kind is p.VAR_KEYWORD for p in accepted.parameters.values()):   # **kwargs: the documented ones
        for name in keywords:
            if name not in accepted.parameters and not re.search(rf"\b{name} ?[(:]", function.__doc__ or ""):
                return f"does not document the keyword {name!r}"
    return None


def xp_path(node):
    """['a', 'b'] for `xp.a.b` and `get_xp(x).a.b`, [] for the module itself, None for anything else."""
    if isinstance(node, ast.Attribute):
        before = xp_path(node.value)
        return None if before is None else [*before, node.attr]
    if isinstance(node, ast.Call):
        return [] if isinstance(node.func, ast.Name) and node.func.id == "get_xp" else None
    return [] if isinstance(node, ast.Name) and node.id in ("xp", "cupy") else None


def imported_names(tree):
    """Names that stand for modules and what was imported from them: their attributes are not an array's."""
    return {(alias.asname or alias.name).split(".")[0] for node in ast.walk(tree)
            if isinstance(node, (ast.Import, ast.ImportFrom)) for alias in node.names}


def names(node):
    """{a, b, c} for a.b.c; without a where it is no name."""
    if isinstance(node, ast.Attribute):
        return {node.attr} | names(node.value)
    return {node.id} if isinstance(node, ast.Name) else set()


def of_array(node, imported):
    """Whether the ast.Attribute looks like an ndarray's; what a module or an object of ours holds is not."""
    last = node.value.attr if isinstance(node.value, ast.Attribute) else getattr(node.value, "id", None)
    return node.attr in OF_ARRAYS and last not in NO_ARRAYS and not names(node.value) & imported


def uses(source):
    """Yield (line, what, object in CuPy or None, its ast.Call or None, whether it belongs to an array)."""
    tree = ast.parse(source)
    called = {id(node.func): node for node in ast.walk(tree) if isinstance(node, ast.Call)}
    imported = imported_names(tree)
    for node in ast.walk(tree):
        if not isinstance(node, ast.Attribute):
            continue
        path, call = xp_path(node), called.get(id(node))
        if path is not None:
            found = cupy
            for name in path:
                found = _looked_up(found, name)
            yield node.lineno, f"xp.{'.'.join(path)}", found, call, False
        elif of_array(node, imported):
            yield node.lineno, f"ndarray.{node.attr}", getattr(cupy.ndarray, node.attr, None), call, True


def _looked_up(module, name):
    """The attribute, None if there is none; what CuPy loads from CUDA's own libraries (cupy.cuda.cublas) is taken as it is
    where these are not installed."""
    try:
        return getattr(module, name, None)
    except ImportError:
        return Unloadable()


class Unloadable:
    def __getattr__(self, name):
        return lambda *args, **kwargs: None


def problems(source):
    """What in the source CuPy cannot do: a list of lines for people."""
    found = []
    for line, what, thing, call, is_method in uses(source):
        if thing is None:
            found.append(f"line {line}: CuPy has no {what}")
        elif call is not None and callable(thing):
            problem = call_problem(thing, call, arguments_before=int(is_method))
            found += [f"line {line}: CuPy's {what} {problem}"] if problem else []
    for node in ast.walk(ast.parse(source)):   # the walk knows the array module by its name
        if isinstance(node, ast.Assign) and isinstance(node.value, ast.Call) and xp_path(node.value) == []:
            found += [f"line {node.lineno}: call the array module xp" for target in node.targets
                      if not (isinstance(target, ast.Name) and target.id == "xp")]
    return found


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_all_that_minifl_uses_exists_in_cupy(file):
    assert problems(file.read_text()) == []


def test_the_walk_sees_what_the_package_uses():
    seen = {what for file in FILES for _, what, _, _, _ in uses(file.read_text())}
    assert {"xp.lib.stride_tricks.as_strided", "xp.take_along_axis", "xp.pad", "xp.swapaxes", "xp.where",
            "ndarray.astype", "ndarray.reshape", "ndarray.sum", "ndarray.strides"} <= seen


@pytest.mark.parametrize("source, reason", [
    ("xp.nonsense(x)", "no xp.nonsense"),
    ("get_xp(x).nonsense(x)", "no xp.nonsense"),
    ("xp.lib.stride_tricks.nonsense(x)", "no xp.lib.stride_tricks.nonsense"),
    ("xp.spacing(x)", "no xp.spacing"),                      # exists in NumPy
    ("f = xp.spacing", "no xp.spacing"),
    ("xp.sum(x, where=mask)", "where"),                      # exists in NumPy
    ("xp.exp(x, where=mask)", "where"),                      # a ufunc; exists in NumPy
    ("x.sum(axis=0, initial=1)", "initial"),                 # exists in NumPy
    ("(a + b).max(where=mask)", "where"),
    ("x.astype(dtype, device=d)", "device"),
    ("x[0].setflags(write=False)", "no ndarray.setflags"),   # exists in NumPy
    ("xp.pad(x, 1, values=0)", "values"),
    ("xp.swapaxes(x, 1)", "axis2"),
    ("xp.zeros()", "shape"),
    ("x.swapaxes(1)", "axis2"),
    ("xp.linalg.norm(x, where=mask)", "where"),
    ("module = get_xp(x)", "call the array module xp"),
])
def test_the_checker_finds_what_cupy_lacks(source, reason):
    assert any(reason in problem for problem in problems(source)), problems(source)


def test_examples_of_what_cupy_lacks_are_numpy():
    x = np.ones(3)
    assert np.spacing(1.0) > 0
    assert np.sum(x, where=x > 0) == x.sum(initial=0) == 3
    assert np.exp(x, where=x > 0, out=x.copy()).shape == (3,)
    x.setflags(write=False)


@pytest.mark.parametrize("source", [
    "xp = get_xp(x)",
    "xp.pad(x, 1, constant_values=0)",
    "xp.lib.stride_tricks.as_strided(x, shape=s, strides=t)",
    "xp.maximum(a, b, out=c)",
    "xp.float32(1)",
    "x.reshape(*x.shape[:2], -1)",
    "x.sum(axis=0, keepdims=True)",
    "x.swapaxes(1, 2)",
    "xp.zeros(*arguments, **keywords)",
    "parameters.get('conv1.bias')",
    "np.setbufsize(1); os.path.sep",
])
def test_the_checker_accepts_what_cupy_has(source):
    assert problems("import os, numpy as np\n" + source) == []
