"""Results in order, no more of them waiting than promised, and what ends the work: errors, checks, signals."""

import signal
import subprocess
import sys
import threading
from itertools import count

import pytest

from minifl.fl.parallel import Interrupted, Signals, in_order


class Stop(Exception):
    pass


WORKERS = (0, 1, 2, 3, 8)


@pytest.mark.parametrize("workers", WORKERS)
@pytest.mark.parametrize("items", [0, 1, 5, 40])
def test_results_are_in_the_order_of_the_items(workers, items):
    with in_order(workers) as pool_map:
        assert list(pool_map(lambda i: i * i, range(items))) == [i * i for i in range(items)]
        assert list(pool_map(str, range(items))) == [str(i) for i in range(items)]     # the pool can be used again


def test_order_does_not_depend_on_who_is_done_first():
    """Of each pair of items the first waits for the second."""
    done = [threading.Event() for _ in range(8)]

    def work(i):
        if i % 2 == 0:
            assert done[i + 1].wait(20)
        done[i].set()
        return i

    with in_order(2) as pool_map:
        assert list(pool_map(work, range(8))) == list(range(8))


def test_work_is_done_at_the_same_time():
    barrier = threading.Barrier(3)
    with in_order(3) as pool_map:
        assert sorted(pool_map(lambda i: barrier.wait(20), range(6))) == [0, 0, 1, 1, 2, 2]


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_no_more_than_twice_the_workers_wait_to_be_taken(workers):
    """Counted where they are handed out: an item that was given to the pool and whose result was not taken yet."""
    taken, waiting = 0, []

    def items():
        for i in range(50):
            waiting.append(i + 1 - taken)
            yield i

    with in_order(workers) as pool_map:
        for result in pool_map(lambda i: i, items()):
            assert result == taken
            taken += 1
    assert taken == 50 and max(waiting) == 2 * workers


def test_without_workers_nothing_is_done_before_it_is_asked_for():
    here, done = threading.get_ident(), []
    with in_order(0) as pool_map:
        results = pool_map(lambda i: (done.append(i), threading.get_ident())[1], range(5))
        assert done == []
        assert next(results) == here and done == [0]
        assert list(results) == [here] * 4


@pytest.mark.parametrize("workers", WORKERS)
def test_what_the_function_raises_comes_out_at_its_place(workers):
    def work(i):
        if i >= 3:
            raise ValueError(f"item {i}")
        return i

    before, results = threading.active_count(), []
    with pytest.raises(ValueError, match="^item 3$"), in_order(workers) as pool_map:
        for result in pool_map(work, range(20)):
            results.append(result)
    assert results == [0, 1, 2]
    assert threading.active_count() == before


@pytest.mark.parametrize("workers", WORKERS)
def test_check_is_called_before_each_result(workers):
    checks, seen = [], []
    with in_order(workers, lambda: checks.append(None)) as pool_map:
        for result in pool_map(lambda i: i, range(6)):
            seen.append((result, len(checks)))
    assert seen == [(i, i + 1) for i in range(6)] and len(checks) == 6


@pytest.mark.parametrize("workers", WORKERS)
def test_check_ends_the_work(workers):
    calls, results, begun = count(1), [], []

    def check():
        if next(calls) == 4:
            raise Stop

    before = threading.active_count()
    with pytest.raises(Stop), in_order(workers, check) as pool_map:
        for result in pool_map(lambda i: (begun.append(i), i)[1], range(1000)):
            results.append(result)
    assert results == [0, 1, 2]
    assert len(begun) <= 3 + max(1, 2 * workers)
    assert threading.active_count() == before


def leave_by_check(results, stop):
    stop.append(True)
    with pytest.raises(Stop):
        next(results)


def leave_by_closing(results, stop):
    results.close()


@pytest.mark.parametrize("leave", [leave_by_check, leave_by_closing])
def test_work_that_has_not_begun_is_cancelled(leave):
    """Two workers are busy with items 1 and 2 when the caller leaves: item 3, which waits, is never begun."""
    begun, busy, release, stop = [], [threading.Event() for _ in range(3)], threading.Event(), []

    def work(i):
        begun.append(i)
        if i:
            busy[i].set()
            assert release.wait(20)
        return i

    def check():
        if stop:
            raise Stop

    with in_order(2, check) as pool_map:
        results = pool_map(work, range(100))
        assert next(results) == 0
        assert busy[1].wait(20) and busy[2].wait(20)
        leave(results, stop)
        release.set()
    assert sorted(begun) == [0, 1, 2]


def test_what_a_worker_raises_cancels_what_waits():
    begun, busy, release = [], threading.Event(), threading.Event()

    def work(i):
        begun.append(i)
        if i == 0:
            assert busy.wait(20)
            raise ValueError
        busy.set()
        assert release.wait(20)

    with in_order(2) as pool_map:
        with pytest.raises(ValueError):
            next(pool_map(work, range(100)))
        release.set()
    assert set(begun) <= {0, 1, 2}    # the worker that raised may have begun the next one


@pytest.fixture
def handler():
    """A handler of SIGINT and SIGTERM that counts, in place of pytest's; put back at the end."""
    caught = []
    before = {signum: signal.signal(signum, lambda number, frame: caught.append(number))
              for signum in (signal.SIGINT, signal.SIGTERM)}
    yield caught
    for signum, old in before.items():
        signal.signal(signum, old)


BOTH = pytest.mark.parametrize("signum", [signal.SIGINT, signal.SIGTERM])
STOPPING = "Stopping after the clients at work; the same signal once more ends at once.\n"


@BOTH
def test_a_signal_waits_for_check(handler, signum):
    with Signals() as signals:
        signals.check()
        signal.raise_signal(signum)         # nothing happens here
        with pytest.raises(Interrupted) as caught:
            signals.check()
    assert caught.value.signum == signum and str(caught.value) == signum.name
    assert isinstance(caught.value, KeyboardInterrupt)
    assert handler == []


@BOTH
def test_the_same_signal_again_ends_the_process(handler, signum):
    program = f"""
import signal
from minifl.fl.parallel import Signals
try:
    with Signals():
        signal.raise_signal({signum:d})
        print("first", flush=True)
        signal.raise_signal({signum:d})
        print("second", flush=True)
except BaseException as error:
    print(error, flush=True)
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert ended.stdout == "first\n" and ended.returncode == -signum
    assert ended.stderr == STOPPING     # so that nobody wonders whether it was heard


def test_the_other_signal_waits_too(handler, capfd):
    with Signals() as signals:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted) as caught:
            signals.check()
    assert caught.value.signum in (signal.SIGINT, signal.SIGTERM) and capfd.readouterr().err == STOPPING
    signal.raise_signal(signal.SIGINT)
    assert handler == [signal.SIGINT]       # the handlers of before are back


@BOTH
@pytest.mark.parametrize("stderr", ["None", "open(os.devnull)", "open('/dev/full', 'w')", "io.StringIO()"])
def test_a_signal_is_heard_where_nothing_can_be_written(signum, stderr):
    program = f"""
import io, os, signal, sys
from minifl.fl.parallel import Interrupted, Signals
signal.signal({signum:d}, signal.SIG_DFL)
sys.__stderr__ = {stderr}
with Signals() as signals:
    signal.raise_signal({signum:d})
    try:
        signals.check()
    except Interrupted:
        print("heard")
"""
    ended = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "heard\n", "")


@BOTH
def test_handlers_come_back_however_the_block_ends(handler, signum):
    before = signal.getsignal(signum)
    with Signals():
        assert signal.getsignal(signum) != before
    assert signal.getsignal(signum) == before
    with pytest.raises(ValueError), Signals():
        raise ValueError
    assert signal.getsignal(signum) == before
    with Signals():                         # one within the other: each puts back what it found
        with Signals() as inner:
            signal.raise_signal(signum)
            with pytest.raises(Interrupted):
                inner.check()
    assert signal.getsignal(signum) == before and handler == []


@BOTH
def test_signals_that_are_ignored_stay_ignored(handler, signum):
    signal.signal(signum, signal.SIG_IGN)   # as under nohup, or in the background of a shell
    with Signals() as signals:
        assert signal.getsignal(signum) == signal.SIG_IGN
        signal.raise_signal(signum)
        signals.check()
    assert signal.getsignal(signum) == signal.SIG_IGN


def test_in_a_thread_signals_are_left_to_the_main_thread(handler):
    problems = []

    def inside():
        try:
            before = signal.getsignal(signal.SIGINT)
            with Signals() as signals:
                assert signal.getsignal(signal.SIGINT) == before
                signals.check()
        except BaseException as error:
            problems.append(error)

    thread = threading.Thread(target=inside)
    thread.start()
    thread.join(20)
    assert problems == []


@BOTH
def test_a_signal_ends_work_in_threads_between_two_results(handler, signum):
    done = []
    with pytest.raises(Interrupted), Signals() as signals, in_order(2, signals.check) as pool_map:
        for result in pool_map(lambda i: i, range(1000)):
            done.append(result)
            if result == 5:
                signal.raise_signal(signum)
    assert done == list(range(6))
