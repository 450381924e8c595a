"""NumPy or CuPy: chosen once by --device, afterwards the array decides.

`choose_device` is called by the command line; everything below it takes `xp = get_xp(x)` from an array it
was given. Layers and algorithms never move data between host and device.
"""

import ctypes
import warnings
from functools import lru_cache
from types import ModuleType
from typing import Any

import numpy as np

from minifl.errors import InputError, unknown

DEVICES = ("auto", "cpu", "cuda")
PRECISIONS = ("fp32", "tf32")
Array = np.ndarray      # in annotations: an array of NumPy, or of CuPy, which has the same interface


def on_cpu(x: Any) -> bool:
    """Whether x is a numpy array or number."""
    return isinstance(x, (np.ndarray, np.generic))


def get_xp(x: Any) -> ModuleType:
    """The array module (numpy or cupy) that x belongs to."""
    if on_cpu(x):
        return np
    import cupy
    return cupy.get_array_module(x)


def erf(x: Array) -> Array:
    """The error function, elementwise, from SciPy or CuPy's copy of it (NumPy has none)."""
    if on_cpu(x):
        from scipy import special
    else:
        from cupyx.scipy import special
    return special.erf(x)


def constant(rows: tuple, like: Array) -> Array:
    """The matrix of these rows, a tuple of tuples, with the dtype of `like` and where it lies. Not to be written to.

    It is made once: a copy from the host in the middle of a step would make a GPU wait, and in a CUDA graph it would be
    recorded with an address that soon holds something else.
    """
    return _constant(rows, get_xp(like), like.dtype, getattr(getattr(like, "device", None), "id", None))


@lru_cache(maxsize=64)
def _constant(rows, xp, dtype, gpu):   # the number of the GPU that is in use
    return xp.asarray(rows, dtype=dtype)


def to_host(x: Any) -> Any:
    """x as a numpy array; a copy only if it lies on a GPU."""
    return x if on_cpu(x) else x.get()


def choose_device(name: str, precision: str = "fp32") -> tuple[ModuleType, str]:
    """Return (xp, description) for name in auto, cpu, cuda, with products of that precision (`choose_precision`).

    auto takes a working GPU if there is one and the CPU otherwise; the description says which.
    Raises InputError if the name is unknown, if cuda was asked for and does not work, and as `choose_precision`.
    """
    xp, description = _choose(name)
    choose_precision(xp, precision)
    return xp, description


DEFAULT_MATH, TF32_MATH = 0, 3     # cublasMath_t in cublas_api.h; CuPy names only the first


def choose_precision(xp: ModuleType, name: str) -> None:
    """What products of float32 matrices on xp's device are computed in, from now on and in all threads.

    fp32  float32, as on the CPU, whatever CUPY_TF32 says
    tf32  tensor cores: factors rounded to 10 bits of mantissa instead of 23, sums in float32 (a relative error of about
          1e-3 instead of 1e-7); only on GPUs from compute capability 8.0 (Ampere) on
    Nothing but products changes. Raises InputError if the name is unknown or xp's device has no such products.
    """
    if name not in PRECISIONS:
        raise unknown("--precision", name, PRECISIONS)
    if xp is np:
        if name == "tf32":
            raise InputError("--precision tf32 is of NVIDIA's tensor cores, and this runs on the CPU, which has fp32 "
                             "only; valid here: --precision fp32.")
        return
    linalg = xp._core._routines_linalg
    wanted = linalg.COMPUTE_TYPE_TF32 if name == "tf32" else linalg.COMPUTE_TYPE_DEFAULT
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")     # of an older GPU: said below, as an error
        linalg.set_compute_type(xp.float32, wanted)
    if linalg.get_compute_type(xp.float32) != wanted:
        raise InputError(f"--precision {name} is not to be had on this GPU: it takes compute capability 8.0 (Ampere) "
                         f"or newer; valid here: --precision fp32.")
    _set_cublas_mode(xp, TF32_MATH if name == "tf32" else DEFAULT_MATH)


def _set_cublas_mode(xp, mode):
    """What the batched products go by (matmul of more than two axes, all of ours): CuPy's compute type is for the others."""
    xp.cuda.cublas.setMathMode(xp.cuda.get_cublas_handle(), mode)


def _choose(name):
    """(xp, description) of the device of that name."""
    if name not in DEVICES:
        raise unknown("--device", name, DEVICES)
    if name == "cpu":
        return np, "cpu (NumPy)"
    cupy, problem = _working_cupy()
    if cupy is not None:
        properties = cupy.cuda.runtime.getDeviceProperties(0)
        return cupy, f"cuda ({properties['name'].decode()}, CuPy {cupy.__version__})"
    if name == "cuda":
        raise InputError(f"--device cuda does not work here: {problem}. Valid here: --device cpu.")
    return np, f"cpu (NumPy; no GPU: {problem})"


def _working_cupy():
    """(cupy, None) if a product on the GPU succeeds, else (None, what is missing)."""
    try:
        import cupy
    except ModuleNotFoundError:
        return None, "CuPy is not installed (pip install 'minifl[gpu]')"
    except ImportError as error:  # a CUDA library that CuPy wants is missing
        return None, f"CuPy is installed, but cannot be imported ({_first_line(error)})"
    try:
        if cupy.cuda.runtime.getDeviceCount() < 1:
            return None, "no CUDA device was found"
        one = cupy.ones((2, 2))
        if float((one @ one).sum()) != 8.0:
            return None, "a 2x2 product on the GPU is wrong"
    except Exception as error:  # the CUDA runtime, driver and library loaders raise many types
        return None, (f"CuPy {cupy.__version__} is installed, but the GPU does not answer "
                      f"({_first_line(error)})")
    return cupy, None


def _first_line(error):
    return str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__


def keep_freed_memory() -> None:
    """Have glibc reuse the memory of freed arrays instead of giving it back to the system at once.

    A local step allocates and frees the same arrays of a few megabytes over and over; by default each is mapped
    anew and its pages are faulted in again, which cost 6 % of a step of the paper's CNN and 20 % of one of a
    quarter of its width (medians on 2 cores, EPYC). Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    m_trim_threshold, m_mmap_threshold = -1, -3   # malloc.h
    mallopt(m_mmap_threshold, 1 << 25)  # 32 MB, the largest it takes
    mallopt(m_trim_threshold, 1 << 30)
