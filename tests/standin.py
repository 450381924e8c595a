"""A stand-in for CuPy where no GPU is, and the fixture `device`: it here, CuPy where a GPU is.

The stand-in is as strict as CuPy about what meets what: a NumPy function given a device array, or a device
array combined with a NumPy array, is an error. It computes with NumPy underneath, so results must agree to
the bit where the same calls are made.

Its `cuda` records graphs: while a stream captures, each call is written down with its arrays, and a launch does them
again in place, with what the arrays hold by then. So a number that was read before, or an array that was not copied
into one of the graph's, stays as it was when it was recorded. What a GPU cannot do meanwhile is an error here, too.
"""

import operator
import sys
import weakref
from contextlib import contextmanager
from types import ModuleType
from typing import ClassVar

import numpy as np
import pytest
import scipy.special


class DeviceArray:
    """A NumPy array on "the device". Reductions and picked elements stay there, as arrays without axes."""
    __array_ufunc__ = None   # NumPy array + device array goes to our operators, which refuse it

    def __init__(self, host):
        self._host = np.asarray(host)

    def __array__(self, *args, **kwargs):
        raise TypeError("implicit conversion of a device array to NumPy")

    def __len__(self):
        return len(self._host)

    def __float__(self):
        return float(self.get())

    def __bool__(self):
        return bool(self.get())

    def __getitem__(self, index):
        return done(lambda host, index: host[index], self, index)

    def __setitem__(self, index, value):
        done(operator.setitem, self, index, value)

    def __getattr__(self, name):
        if name.startswith("__"):   # not NumPy's protocols, by which it would read the array silently
            raise AttributeError(name)
        if name in ("item", "tolist"):
            return getattr(self.get(), name)
        found = getattr(self._host, name)
        if callable(found):
            return lambda *args, **kwargs: done(lambda host, *rest, **kw: getattr(host, name)(*rest, **kw), self, *args,
                                                **kwargs)
        return wrap(found)

    def get(self):
        not_in_capture("a copy to the host")
        return self._host.copy()


def _operators():
    for name in "add sub mul truediv floordiv pow matmul and or xor eq ne lt le gt ge".split():
        function = getattr(operator, f"{name}_" if name in ("and", "or") else name)
        setattr(DeviceArray, f"__{name}__", lambda a, b, f=function: done(f, a, b))
        setattr(DeviceArray, f"__r{name}__", lambda a, b, f=function: done(f, b, a))
    for name in ("iadd", "isub", "imul"):
        def in_place(a, b, f=getattr(operator, name)):
            done(f, a, b)
            return a
        setattr(DeviceArray, f"__{name}__", in_place)
    for name in ("neg", "invert"):
        setattr(DeviceArray, f"__{name}__", lambda a, f=getattr(operator, name): done(f, a))


_operators()


def unwrap(value):
    """The NumPy value under a device array, in tuples and lists too. NumPy arrays are refused."""
    if isinstance(value, DeviceArray):
        return value._host
    if isinstance(value, (tuple, list)):
        return type(value)(map(unwrap, value))
    if isinstance(value, np.ndarray):
        raise TypeError("a NumPy array where a device array is needed")
    return value


def wrap(value):
    return DeviceArray(value) if isinstance(value, (np.ndarray, np.generic)) else value


def done(function, *args, **kwargs):
    """The function of the host's arrays, on the device; written down if a graph is being recorded."""
    args, kwargs = tuple(map(unwrap, args)), {name: unwrap(value) for name, value in kwargs.items()}
    result = wrap(function(*args, **kwargs))
    if Stream.capturing is not None:
        out = result._host if isinstance(result, DeviceArray) else None
        given = [*args, *kwargs.values()]
        fresh = out is not None and out.base is None and not any(out is array for array in given)
        Stream.capturing.calls.append((function, args, kwargs, out, fresh))
    return result


def on_device(function):
    """A NumPy function that takes and returns device arrays."""
    return lambda *args, **kwargs: done(function, *args, **kwargs)


def not_in_capture(what):
    if Stream.capturing is not None:
        raise RuntimeError(f"{what}: operation not permitted when stream is capturing")


class StandIn:
    """The module: NumPy's names on device arrays, and `cuda`."""
    def __init__(self, numpy=np):
        self._numpy = numpy
        if numpy is np:
            self.cuda = Cuda()

    def __getattr__(self, name):
        found = getattr(self._numpy, name)
        if isinstance(found, ModuleType):
            return StandIn(found)
        return on_device(found) if callable(found) and not isinstance(found, type) else found    # else inf, float32

    def asarray(self, x, dtype=None):
        if isinstance(x, DeviceArray):
            return x if dtype in (None, x._host.dtype) else x.astype(dtype)
        not_in_capture("a copy from the host")
        return DeviceArray(np.array(x, dtype))

    def get_array_module(self, *arrays):
        return self if any(isinstance(x, DeviceArray) for x in arrays) else np


class Stream:
    """A stream; what is asked of it is done at once."""
    capturing = None      # the stream that records
    current: ClassVar = []      # those of the `with` blocks around

    def __init__(self, null=False, non_blocking=False):
        self.null, self.calls = null, []

    def __enter__(self):
        Stream.current.append(self)
        return self

    def __exit__(self, *_):
        Stream.current.pop()

    def synchronize(self):
        not_in_capture("a wait for the stream")

    def begin_capture(self):
        if self.null:
            raise RuntimeError("cannot capture on the default (legacy) stream")
        assert Stream.current[-1] is self and Cuda.pool is not None, "work would not be recorded, or use others' memory"
        self.calls, Stream.capturing = [], self

    def end_capture(self):
        assert Stream.capturing is self
        Stream.capturing = None
        for *_, out, fresh in self.calls:       # a GPU has done nothing yet
            if fresh and out.dtype.kind == "f" and out.flags.writeable:
                out.fill(np.nan)
        return Graph(self.calls)


class Graph:
    def __init__(self, calls):
        self.calls, self.pool = calls, weakref.ref(Cuda.pool)

    def launch(self):
        not_in_capture("a launch")
        assert self.pool() is not None, "the memory of a graph was given away"
        for function, args, kwargs, out, _ in self.calls:
            again = function(*args, **kwargs)
            if out is not None and out.flags.writeable and not np.may_share_memory(again, out):
                out[...] = again


class MemoryPool:
    def malloc(self, size):
        raise AssertionError("the stand-in allocates with NumPy")

    def total_bytes(self):
        return 0


class Cuda:
    """cupy.cuda, as far as minifl uses it."""
    Stream, MemoryPool, pool = Stream, MemoryPool, None
    default = Stream(null=True)

    def get_current_stream(self):
        return Stream.current[-1] if Stream.current else Cuda.default

    @contextmanager
    def using_allocator(self, malloc):
        before, Cuda.pool = Cuda.pool, malloc.__self__
        try:
            yield
        finally:
            Cuda.pool = before


@pytest.fixture(params=["stand-in", "cupy"])
def device(request, monkeypatch):
    """(array module, relative tolerance against NumPy)."""
    if request.param == "stand-in":
        monkeypatch.setitem(sys.modules, "cupy", StandIn())
        monkeypatch.setitem(sys.modules, "cupyx", StandIn())
        monkeypatch.setitem(sys.modules, "cupyx.scipy", StandIn(scipy))
        return sys.modules["cupy"], 0.0
    cupy = pytest.importorskip("cupy", reason="no GPU here, nor CuPy")
    try:
        cupy.ones(1).sum()
    except Exception as error:  # drivers and loaders raise many types
        pytest.skip(f"no GPU here: {error}")
    return cupy, 1e-11
