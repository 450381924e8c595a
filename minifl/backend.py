"""NumPy or CuPy: chosen once by --device, afterwards the array decides.

`choose_device` is called by the command line; everything below it takes `xp = get_xp(x)` from an array it
was given. Layers and algorithms never move data between host and device.
"""

import ctypes

import numpy as np

from minifl.errors import InputError

DEVICES = ("auto", "cpu", "cuda")


def on_cpu(x):
    """Whether x is a numpy array or number."""
    return isinstance(x, (np.ndarray, np.generic))


def get_xp(x):
    """The array module (numpy or cupy) that x belongs to."""
    if on_cpu(x):
        return np
    import cupy
    return cupy.get_array_module(x)


def erf(x):
    """The error function, elementwise, from SciPy or CuPy's copy of it (NumPy has none)."""
    if on_cpu(x):
        from scipy import special
    else:
        from cupyx.scipy import special
    return special.erf(x)


def to_host(x):
    """x as a numpy array; a copy only if it lies on a GPU."""
    return x if on_cpu(x) else x.get()


def choose_device(name):
    """Return (xp, description) for name in auto, cpu, cuda.

    auto takes a working GPU if there is one and the CPU otherwise; the description says which.
    Raises InputError if the name is unknown or if cuda was asked for and does not work.
    """
    if name not in DEVICES:
        raise InputError(f"--device {name!r} is unknown; valid are {', '.join(DEVICES)}.")
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


def keep_freed_memory():
    """Have glibc reuse the memory of freed arrays instead of giving it back to the system at once.

    A local step allocates and frees the same arrays of a few megabytes over and over; by default each is mapped
    anew and its pages are faulted in again, which cost 6 % of a step of the paper's CNN and 20 % of one of a
    quarter of its width (medians on 2 cores, EPYC). Elsewhere than on glibc nothing happens.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    m_trim_threshold, m_mmap_threshold, m_arena_max = -1, -3, -8   # malloc.h
    mallopt(m_arena_max, 1)             # one heap for all threads: what one frees another can use
    mallopt(m_mmap_threshold, 1 << 25)  # 32 MB, the largest it takes
    mallopt(m_trim_threshold, 1 << 30)
