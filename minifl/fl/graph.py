"""The local steps of a call as one CUDA graph: recorded once, then launched as a whole in every round.

A local step of the paper's CNN is some hundred small kernels. Python gives them to the GPU one by one, and many a kernel
is done sooner than the next one is asked for: the GPU waits. A graph is the list of all kernels of all local steps, with
their arguments; `launch` does it without Python. The eager loop, `function` below, is what is recorded, and it stays the
oracle: the tests run both and compare every bit.

What a graph holds are addresses, not values. Hence:
    - what differs from round to round (parameters, batches, controls, learning rate, ...) is copied before each launch
      into arrays that belong to the graph, and the results are copied out after it;
    - all memory that is used while recording comes from a pool of its own, which lives as long as the graph: any other
      owner of that memory would be overwritten by the next launch. It is as much as the eager loop takes, besides;
    - an ordinary run on the same stream, with the same pool, comes before: it compiles kernels, makes the BLAS allocate
      its workspace and fills the pool. A recording in which the pool still changed is made once more;
    - Python's numbers and branches are recorded as they are. So there is a graph for each `key`: what decides on them.
A recording can go wrong without an error, e.g. with an address on the host in it. So the first launch is compared with
the eager loop on that round's numbers. Whatever fails, the eager loop goes on, and a warning says why.
"""

import warnings
from contextlib import suppress
from typing import NamedTuple

from minifl.backend import get_xp, to_host

LIMIT = 4           # graphs of a run, each with its memory; calls of further shapes are eager
RECORDINGS = 3      # attempts until the pool no longer changes
TOLERANCE = 1e-3    # of the largest change of a parameter, in the comparison with the eager loop: far above rounding


class Recorded(NamedTuple):
    """A graph and all that must live as long as it."""
    graph: object
    inputs: dict      # name -> array that the graph reads
    results: tuple    # arrays that it writes
    pool: object      # where all of these and what lies between them are


class Graphs:
    """The graphs of one run on a GPU, made as they are needed."""

    def __init__(self):
        self.recorded = {}      # key and shapes -> Recorded
        self.compared = set()   # those of them whose first launch equalled the eager loop
        self.works = True

    def __call__(self, function, key, work, running):
        """function(work, running), by a graph where there is one.

        function  (Work, running statistics (K, S)) -> theta (K, P), losses (K, E), running (K, S); it depends on `key`,
                  which is hashable, and on the arrays and the learning rate that it is given, on nothing else
        """
        if not self.works:
            return function(work, running)
        inputs = _inputs(work, running)
        key = key, tuple((name, array.shape, array.dtype) for name, array in inputs.items())
        try:
            if key in self.recorded:
                return self._launch(function, key, work, running, inputs)
            if len(self.recorded) < LIMIT:
                results, self.recorded[key] = _record(function, work, inputs)
                return results
        except Exception as error:   # CuPy, CUDA and cuBLAS raise many types
            self._stop(f"{type(error).__name__}: {error}")
        return function(work, running)

    def _launch(self, function, key, work, running, inputs):
        results = _launch(self.recorded[key], inputs)
        if key not in self.compared:
            expected = function(work, running)
            if not _agree(results, expected, work.w):
                self._stop("its results are not those of the eager loop")
                return expected
            self.compared.add(key)
        return results

    def _stop(self, why):
        self.works, self.recorded = False, {}
        warnings.warn(f"the local steps run without CUDA graphs, which is slower but changes no result: {why}",
                      RuntimeWarning, stacklevel=2)


def _inputs(work, running):
    """name -> array of all that a launch reads: the arrays of a Work, and its learning rate as one."""
    return {
        "w": work.w, "x": work.x, "y": work.y, "active": work.active, "counts": work.counts, "steps": work.steps,
        "lr": get_xp(work.w).full((), work.lr, dtype=work.w.dtype), "running": running,
        **{("server", name): array for name, array in work.server.items()},
        **{("own", name): array for name, array in work.own.items()}}


def _work(work, inputs):
    """The Work whose arrays are those of `inputs`, and the running statistics: the inverse of _inputs."""
    arrays = {name: inputs[name] for name in ("w", "x", "y", "active", "counts", "steps", "lr")}
    return work._replace(server={name: inputs["server", name] for name in work.server},
                         own={name: inputs["own", name] for name in work.own}, **arrays), inputs["running"]


def _record(function, work, inputs):
    """The results of an ordinary run, and what was Recorded after it."""
    xp = get_xp(work.w)
    xp.cuda.get_current_stream().synchronize()            # what the inputs are made by
    stream, pool = xp.cuda.Stream(non_blocking=True), xp.cuda.MemoryPool()   # recording waits for no other stream
    with stream, xp.cuda.using_allocator(pool.malloc):
        own = {name: array.copy() for name, array in inputs.items()}
        results = function(*_work(work, own))
        for _ in range(RECORDINGS):
            before = pool.total_bytes()
            graph, recorded = _capture(stream, lambda: function(*_work(work, own)))
            if pool.total_bytes() == before:
                break
        else:
            raise RuntimeError(f"memory was allocated in each of {RECORDINGS} recordings")
    stream.synchronize()
    return tuple(array.copy() for array in results), Recorded(graph, own, recorded, pool)


def _capture(stream, function):
    """(graph of what function() asks of the stream, its results, which hold nothing before a launch)."""
    stream.begin_capture()
    try:
        results = function()
    except BaseException:
        with suppress(Exception):     # the stream must not stay in capture; the first error is the one that says why
            stream.end_capture()
        raise
    return stream.end_capture(), results


def _launch(recorded, inputs):
    for name, array in inputs.items():
        recorded.inputs[name][...] = array
    recorded.graph.launch()
    return tuple(array.copy() for array in recorded.results)


def _agree(found, expected, w):
    """Whether two (theta, losses, running) are the same; where the latter is not finite, it is not compared."""
    for a, b, change in zip(found, expected, (expected[0] - w, expected[1], expected[2])):
        if b.size:
            xp = get_xp(b)
            apart, size = to_host(xp.stack([xp.abs(a - b).max(), xp.abs(change).max()])).tolist()
            if size < float("inf") and not apart <= TOLERANCE * size:
                return False
    return True
