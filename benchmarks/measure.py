"""What the benchmarks share: the machine in words, alternating runs with medians, the record."""

import ctypes
import json
import multiprocessing
import os
import platform
import shlex
import sys
from pathlib import Path
from statistics import median
from time import perf_counter

import numpy as np

from minifl import blas
from minifl.atomic import replacing

CORE_NAMES = ("scipy_openblas_get_corename64_", "openblas_get_corename64_", "openblas_get_corename")


def machine():
    """Processor, cores, versions, and which kernels NumPy's BLAS runs (an environment variable can change that)."""
    processor = platform.processor() or platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        first = cpuinfo.read_text(encoding="utf-8").split("\n\n")[0]
        lines = dict(line.split(":", 1) for line in first.splitlines() if ":" in line)
        fields = {name.strip(): value.strip() for name, value in lines.items()}
        processor = fields.get("model name", processor) + f", family {fields.get('cpu family')}"
    return {"processor": processor, "cores": len(os.sched_getaffinity(0)), "python": platform.python_version(),
            "numpy": np.__version__, "blas": blas_kernels(),
            "environment": {name: os.environ[name] for name in ("OPENBLAS_CORETYPE", "OPENBLAS_L2_SIZE")
                            if name in os.environ}}


def blas_kernels():
    """File name -> name of its kernels, of the OpenBLAS that NumPy runs."""
    found = {}
    for path in blas.threads():
        library = ctypes.CDLL(path)
        for name in CORE_NAMES:
            if hasattr(library, name):
                function = getattr(library, name)
                function.restype = ctypes.c_char_p
                found[Path(path).name] = function().decode()
                break
    return found


def in_words(description):
    """One line for people."""
    kernels = ", ".join(f"{name} ({kernel})" for name, kernel in description["blas"].items())
    return (f"{description['processor']}, {description['cores']} cores; Python {description['python']}, NumPy "
            f"{description['numpy']}, {kernels}")


def seconds(function):
    """How long one call takes."""
    begin = perf_counter()
    function()
    return perf_counter() - begin


class Elsewhere:
    """Sides in a process of their own, so that memory, threads and settings of one library do not meet the other's.

    make  () -> {name: function} and what is to be closed at the end; it is called there, and may import what it likes
    """

    def __init__(self, make):
        context = multiprocessing.get_context("fork")
        self.pipe, there = context.Pipe()
        self.process = context.Process(target=_serve, args=(there, make))
        self.process.start()
        self.names = self.pipe.recv()

    def result(self, name):
        """What the function of that name returns there. Raises RuntimeError with the reason if it fails."""
        return self._ask(name, True)

    def seconds(self, name):
        """How long one call of it takes there."""
        return self._ask(name, False)

    def _ask(self, name, wanted):
        self.pipe.send((name, wanted))
        good, answer = self.pipe.recv()
        if not good:
            raise RuntimeError(answer)
        return answer

    def close(self):
        self.pipe.send(None)
        self.process.join()


def _serve(pipe, make):
    sides, closing = make()
    pipe.send(list(sides))
    while (asked := pipe.recv()) is not None:
        name, wanted = asked
        try:
            pipe.send((True, sides[name]() if wanted else seconds(sides[name])))
        except Exception as error:     # torch.compile needs a compiler, and fails in many ways without one
            pipe.send((False, f"{type(error).__name__}: {(str(error).splitlines() or [''])[0]}"))
    for each in closing:
        each.close()


def alternating(sides, repetitions, *, clock=seconds, say=lambda text: None):
    """Median and all seconds of each side, {name: function}, a call of each in turn: what else the machine does meets
    all alike. Each is called once before, unmeasured. clock(function) gives the seconds of a call."""
    for name, function in sides.items():
        say(f"warming up: {name}")
        clock(function)
    taken = {name: [] for name in sides}
    for repetition in range(repetitions):
        say(f"repetition {repetition + 1} of {repetitions}")
        for name, function in sides.items():
            taken[name].append(clock(function))
    return {name: {"median": median(all_), "all": all_} for name, all_ in taken.items()}


def say(text):
    """Progress, on standard error."""
    print(text, file=sys.stderr, flush=True)


def command():
    """The command line of this program."""
    return shlex.join(["python", *sys.argv])


def write(path, record):
    """Write the record of a benchmark as JSON."""
    with replacing(path) as f:
        f.write((json.dumps(record, indent=1, ensure_ascii=False) + "\n").encode())


def largest_difference(found, expected):
    """max |a - b| / max |b| over the blocks of two dicts, the worst block and its value."""
    def relative(name):
        return float(np.abs(found[name] - expected[name]).max() / np.abs(expected[name]).max())
    worst = max(expected, key=relative)
    return worst, relative(worst)
