"""One BLAS thread for each thread of ours, whoever imported NumPy first.

Clients are trained in parallel threads. Each of their products then runs on one BLAS thread: this is faster than one
client at a time on several, and it makes every bit of a run independent of the machine's number of cores.

minifl/__init__.py sets the variables that a BLAS reads when it is loaded. Where NumPy was loaded before minifl they come
too late, so a run tells the loaded library itself, and puts the number back at its end. That needs a Linux
(/proc/self/maps says which libraries are loaded) and an OpenBLAS or MKL; elsewhere the variables alone count.
"""

import ctypes
import threading
from collections.abc import Iterator
from contextlib import contextmanager

# (set, get) of OpenBLAS as NumPy's wheels, SciPy's wheels and distributions name them, of MKL and of BLIS
FUNCTIONS = (
    ("scipy_openblas_set_num_threads64_", "scipy_openblas_get_num_threads64_"),
    ("scipy_openblas_set_num_threads", "scipy_openblas_get_num_threads"),
    ("openblas_set_num_threads64_", "openblas_get_num_threads64_"),
    ("openblas_set_num_threads", "openblas_get_num_threads"),
    ("MKL_Set_Num_Threads", "MKL_Get_Max_Threads"),
    ("bli_thread_set_num_threads", "bli_thread_get_num_threads"),
)

_lock, _users, _before = threading.Lock(), 0, []


def threads() -> dict[str, int]:
    """file name -> threads of each BLAS that is loaded and can be asked."""
    return {path: get() for path, _, get in _loaded()}


@contextmanager
def one_thread() -> Iterator[None]:
    """Inside, every BLAS that is loaded has one thread; the numbers of before come back when the last user leaves."""
    global _users, _before
    with _lock:
        _users += 1
        if _users == 1:
            _before = [(put, get()) for _, put, get in _loaded()]
            for put, _ in _before:
                put(1)
    try:
        yield
    finally:
        with _lock:
            _users -= 1
            if _users == 0:
                for put, number in _before:
                    put(number)


def _loaded():
    """(path, set, get) of the libraries of this process that have such functions."""
    try:
        with open("/proc/self/maps", encoding="utf-8", errors="replace") as maps:
            paths = sorted({line.split(maxsplit=5)[5].strip() for line in maps if ".so" in line})
    except OSError:
        return []
    found = []
    for path in paths:
        name = path.rpartition("/")[2]
        if not name.startswith(("lib", "mkl_rt")) or not any(part in name for part in ("blas", "mkl_rt", "blis")):
            continue
        try:
            library = ctypes.CDLL(path)     # it is loaded already: this gives a handle to it
        except OSError:
            continue
        for put, get in FUNCTIONS:
            if hasattr(library, put) and hasattr(library, get):
                found.append((path, getattr(library, put), getattr(library, get)))
                break
    return found
