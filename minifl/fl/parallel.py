"""Work in threads with results in order, and signals taken between two pieces of it."""

import os
import signal
import sys
import threading
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from typing import Any

from minifl.backend import keep_freed_memory
from minifl.blas import one_thread


@contextmanager
def in_order(workers: int, check: Callable[[], Any] = lambda: None) -> Iterator[Callable]:
    """Yield a map(function, items) that runs in `workers` threads and yields results in the order of the items.

    The BLAS has one thread for each of them meanwhile (minifl/blas.py), and memory that is freed stays with the process.
    At most 2*workers results wait to be taken, so memory does not grow with the number of items. workers = 0: no threads.
    `check` is called before each result is given out; what it raises stops the work.
    """
    if not workers:
        yield lambda function, items: _checked(map(function, items), check)
        return
    keep_freed_memory()
    with one_thread(), ThreadPoolExecutor(workers) as pool:
        def ordered(function, items):
            waiting = deque()
            try:
                for item in items:
                    waiting.append(pool.submit(function, item))
                    if len(waiting) == 2 * workers:
                        check()
                        yield waiting.popleft().result()
                while waiting:
                    check()
                    yield waiting.popleft().result()
            finally:
                for future in waiting:
                    future.cancel()
        yield ordered


def _checked(results, check):
    for result in results:
        check()
        yield result


class Interrupted(KeyboardInterrupt):
    """A signal asked the run to stop; `signum` says which."""

    def __init__(self, signum):
        super().__init__(signal.Signals(signum).name)
        self.signum = signum


class Signals:
    """Inside `with Signals() as signals`, SIGINT and SIGTERM wait until `signals.check()`, which raises Interrupted.

    An exception at any other place could leave a lock of the thread pool taken or a state half changed. So the same
    signal once more ends the process at once, without an exception. Signals that the process was told to ignore
    stay ignored. The first one says on stderr what it waits for.
    """

    def __enter__(self):
        self.signum, self.before = None, {}
        if threading.current_thread() is threading.main_thread():
            for signum in (signal.SIGINT, signal.SIGTERM):
                if signal.getsignal(signum) not in (signal.SIG_IGN, None):   # None: a program around Python has it
                    self.before[signum] = signal.signal(signum, self._handle)
        return self

    def __exit__(self, *_):
        for signum, handler in self.before.items():
            signal.signal(signum, handler)

    def _handle(self, signum, _):
        first, self.signum = self.signum is None, signum
        signal.signal(signum, signal.SIG_DFL)
        if first:
            _say("Stopping after the clients at work; the same signal once more ends at once.")

    def check(self) -> None:
        if self.signum is not None:
            raise Interrupted(self.signum)


def _say(line):
    """Write a line to stderr, past Python's buffers: what a handler interrupts may be writing to them."""
    with suppress(AttributeError, OSError, ValueError):     # no stderr, or a closed one
        stderr = sys.__stderr__.fileno()
        progress = "\n" if os.isatty(stderr) else ""        # the cursor may stand behind a bar
        os.write(stderr, f"{progress}{line}\n".encode())
