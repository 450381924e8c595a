"""--device: what is taken, what is said about it, and never a silent fallback."""

import sys
import warnings
from concurrent.futures import ThreadPoolExecutor
from types import SimpleNamespace

import numpy as np
import pytest

from minifl import backend
from minifl.backend import choose_device, choose_precision, get_xp, on_cpu, to_host
from minifl.errors import InputError


def fake_linalg(capability):
    """What CuPy has about products, on a GPU of that compute capability: an older one warns and keeps the default."""
    types = {}

    def set_compute_type(dtype, compute_type):
        if compute_type == 7 and capability < 80:
            warnings.warn("only available on GPUs with compute capability 8.0 or higher", stacklevel=2)
            compute_type = 1
        types[dtype] = compute_type

    return SimpleNamespace(COMPUTE_TYPE_DEFAULT=1, COMPUTE_TYPE_TF32=7, set_compute_type=set_compute_type,
                           get_compute_type=types.get)


def fake_cupy(devices=1, *, ones=np.ones, broken=None, capability=90):
    """A module that answers as CuPy does on a machine with so many GPUs."""
    def count():
        if broken:
            raise broken
        return devices

    runtime = SimpleNamespace(getDeviceCount=count, getDeviceProperties=lambda i: {"name": b"Testing 9000"})
    modes = []
    cublas = SimpleNamespace(setMathMode=lambda handle, mode: modes.append((handle, mode)), modes=modes)
    cuda = SimpleNamespace(runtime=runtime, cublas=cublas, get_cublas_handle=lambda: "handle")
    return SimpleNamespace(cuda=cuda, ones=ones, __version__="99.0", float32=np.float32,
                           _core=SimpleNamespace(_routines_linalg=fake_linalg(capability)))


PROBLEMS = {
    "not installed": (None, "CuPy is not installed"),
    "no device": (fake_cupy(0), "no CUDA device was found"),
    "no driver": (fake_cupy(broken=RuntimeError("cudaErrorNoDevice: no device\nmore")),
                  "CuPy 99.0 is installed, but the GPU does not answer (cudaErrorNoDevice: no device)"),
    "silent error": (fake_cupy(broken=RuntimeError()), "does not answer (RuntimeError)"),
    "wrong product": (fake_cupy(ones=np.zeros), "product"),
}


def test_cpu_is_numpy_whatever_is_installed(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy())
    assert choose_device("cpu") == (np, "cpu (NumPy)")


@pytest.mark.parametrize("name", ["", "gpu", "CUDA", "cuda:0"])
def test_an_unknown_device_is_named_with_the_valid_ones(name):
    with pytest.raises(InputError) as caught:
        choose_device(name)
    assert repr(name) in str(caught.value) and "auto, cpu, cuda" in str(caught.value)


@pytest.mark.parametrize("cupy, missing", PROBLEMS.values(), ids=PROBLEMS)
def test_cuda_that_does_not_work_is_an_error_that_says_what_is_missing(cupy, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    with pytest.raises(InputError) as caught:
        choose_device("cuda")
    assert missing in str(caught.value) and "--device cuda" in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("cupy, missing", PROBLEMS.values(), ids=PROBLEMS)
def test_auto_without_a_gpu_takes_the_cpu_and_says_why(cupy, missing, monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    xp, description = choose_device("auto")
    assert xp is np and description.startswith("cpu") and missing in description


def test_a_cupy_that_fails_to_import_is_not_called_missing(monkeypatch, tmp_path):
    (tmp_path / "cupy.py").write_text("raise ImportError('libnvrtc.so.13 cannot be opened')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cupy", raising=False)
    with pytest.raises(InputError, match="libnvrtc.so.13"):
        choose_device("cuda")
    assert "not installed" not in choose_device("auto")[1]


@pytest.mark.parametrize("name", ["auto", "cuda"])
def test_a_working_gpu_is_taken_and_named(name, monkeypatch):
    cupy = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert choose_device(name) == (cupy, "cuda (Testing 9000, CuPy 99.0)")


@pytest.mark.parametrize("precision, compute_type", [("fp32", 1), ("tf32", 7)])
def test_the_precision_of_products_is_set_on_a_gpu(precision, compute_type, monkeypatch):
    cupy = fake_cupy()
    monkeypatch.setitem(sys.modules, "cupy", cupy)
    assert choose_device("auto", precision)[0] is cupy
    assert cupy._core._routines_linalg.get_compute_type(np.float32) == compute_type
    assert cupy.cuda.cublas.modes == [("handle", 3 if precision == "tf32" else 0)]
    choose_precision(cupy, "fp32")
    assert cupy._core._routines_linalg.get_compute_type(np.float32) == 1 and cupy.cuda.cublas.modes[-1] == ("handle", 0)


def test_a_precision_that_the_device_has_not_is_an_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", fake_cupy(capability=75))
    with pytest.raises(InputError, match="--precision tf32 .* 8.0 .* valid here: --precision fp32"):
        choose_device("cuda", "tf32")
    with pytest.raises(InputError, match="--precision tf32 .* CPU, .* valid here: --precision fp32"):
        choose_device("cpu", "tf32")
    with pytest.raises(InputError, match="--precision 'fp16' is unknown; valid are fp32, tf32"):
        choose_device("cpu", "fp16")
    assert choose_device("cuda", "fp32")[0] is sys.modules["cupy"] and choose_device("cpu", "fp32")[0] is np


def test_the_real_cupy_has_what_sets_the_precision(monkeypatch):
    """Without a GPU its compute capability is unknown, so the default is set here, tf32 on a GPU only."""
    cupy = pytest.importorskip("cupy", reason="CuPy's wheel is not installed (cupy-cuda12x; no GPU needed)")
    linalg = cupy._core._routines_linalg
    assert linalg.COMPUTE_TYPE_TF32 != linalg.COMPUTE_TYPE_DEFAULT and callable(cupy.cuda.get_cublas_handle)
    monkeypatch.setattr(backend, "_set_cublas_mode", lambda xp, mode: None)     # cuBLAS is not to be had without CUDA
    monkeypatch.setenv("CUPY_TF32", "1")
    choose_precision(cupy, "fp32")
    assert linalg.get_compute_type(cupy.float32) == linalg.COMPUTE_TYPE_DEFAULT
    linalg.set_compute_type(cupy.float32, linalg.COMPUTE_TYPE_PEDANTIC)
    with ThreadPoolExecutor(1) as pool:     # it is the process's, not the thread's
        assert pool.submit(linalg.get_compute_type, cupy.float32).result() == linalg.COMPUTE_TYPE_PEDANTIC
    choose_precision(cupy, "fp32")


def test_the_real_cupy_without_a_gpu():
    cupy = pytest.importorskip("cupy", reason="CuPy's wheel is not installed (cupy-cuda12x; no GPU needed)")
    xp, description = choose_device("auto")
    if xp is np:
        with pytest.raises(InputError, match=cupy.__version__):
            choose_device("cuda")
        assert cupy.__version__ in description
    else:
        assert xp is cupy and choose_device("cuda")[0] is cupy


def test_numpy_arrays_stay_where_they_are():
    x = np.arange(3.0)
    assert on_cpu(x) and on_cpu(x[0])
    assert get_xp(x) is np and to_host(x) is x
