"""One BLAS thread in a run, also where NumPy was imported before minifl."""

import subprocess
import sys
import threading

import pytest

from minifl import blas
from minifl.fl.parallel import in_order

if not blas.threads():
    pytest.skip("no BLAS here whose threads can be asked", allow_module_level=True)

NUMPY_FIRST = """
import os
for name in ("OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "OMP_NUM_THREADS"):
    os.environ.pop(name, None)
import numpy
from minifl import blas
from minifl.fl.parallel import in_order
print(*blas.threads().values())
with in_order(2) as pool_map:
    print(*pool_map(lambda _: max(blas.threads().values()), range(3)))
print(*blas.threads().values())
"""


def set_all(number):
    for _, put, _ in blas._loaded():
        put(number)


@pytest.fixture(autouse=True)
def as_before():
    yield
    set_all(1)


def test_inside_there_is_one_thread_and_afterwards_as_many_as_before():
    set_all(2)
    if set(blas.threads().values()) != {2}:
        pytest.skip("this BLAS has one thread only")
    with pytest.raises(KeyError), blas.one_thread():
        assert set(blas.threads().values()) == {1}
        with blas.one_thread():
            assert set(blas.threads().values()) == {1}
        assert set(blas.threads().values()) == {1}
        raise KeyError
    assert set(blas.threads().values()) == {2}


def test_the_last_user_puts_the_number_back():
    set_all(2)
    if set(blas.threads().values()) != {2}:
        pytest.skip("this BLAS has one thread only")
    entered, leave = threading.Event(), threading.Event()

    def user():
        with blas.one_thread():
            entered.set()
            leave.wait(10)

    other = threading.Thread(target=user)
    with blas.one_thread():
        other.start()
        assert entered.wait(10)
    assert set(blas.threads().values()) == {1}
    leave.set()
    other.join()
    assert set(blas.threads().values()) == {2}


def test_where_numpy_was_imported_first_the_workers_have_one_thread_each():
    done = subprocess.run([sys.executable, "-c", NUMPY_FIRST], capture_output=True, text=True, check=True)
    before, inside, after = done.stdout.splitlines()
    assert set(inside.split()) == {"1"} and before == after


def test_without_a_list_of_loaded_libraries_nothing_is_done(monkeypatch):
    monkeypatch.setattr("builtins.open", lambda *_, **__: (_ for _ in ()).throw(OSError()))
    assert blas.threads() == {}
    with in_order(1) as pool_map:
        assert list(pool_map(abs, [-1])) == [1]
