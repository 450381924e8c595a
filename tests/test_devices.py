"""Layers and federated rounds on arrays that are not NumPy's: a stand-in for CuPy, or CuPy on a GPU (standin.py)."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from standin import DeviceArray, StandIn, device   # noqa: F401

from minifl.backend import get_xp, to_host
from minifl.data.augment import AUGMENTATIONS, augment, crop_and_flip
from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.fast import conv2d_backward
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.batches import local_batches
from minifl.fl.rounds import federated_rounds, start
from minifl.fl.statistics import POLICIES
from minifl.gradcheck.cases import CASES
from minifl.gradcheck.networks import draw, networks
from minifl.models import MLP, Arrangement, loss_and_grad
from minifl.runs.run import on_device as on_device_of_run
from minifl.runs.settings import settings_for


def assert_close(found, expected, tolerance):
    """Device value(s) against NumPy's, by the largest difference relative to the largest number."""
    if isinstance(expected, tuple):
        assert len(found) == len(expected)
        for a, b in zip(found, expected):
            assert_close(a, b, tolerance)
    elif expected is None:
        assert found is None
    else:
        assert not isinstance(found, np.ndarray), "came back on the host"
        found = to_host(found)
        assert found.dtype == expected.dtype and found.shape == expected.shape
        difference = np.abs(found - expected).max(initial=0)     # 0 of what networks without batch norm saw
        assert difference <= tolerance * np.abs(expected).max(initial=0)


def test_layers_on_the_device_equal_numpy(device):
    xp, tolerance = device
    rng = np.random.default_rng(0)
    for case in CASES:
        inputs = case.draw(rng)
        y, cache = case.forward(*inputs.values())
        v = rng.standard_normal(y.shape)
        y_device, cache_device = case.forward(*map(xp.asarray, inputs.values()))
        this = max(tolerance, 1e-13 if case.backward is conv2d_backward else 0)   # it adds in another order there
        assert_close(y_device, y, this)
        assert_close(case.backward(xp.asarray(v), cache_device), case.backward(v, cache), this)


def test_networks_on_the_device_equal_numpy(device):
    xp, tolerance = device
    for model in networks().values():
        theta, x, labels = draw(model, np.random.default_rng(1))
        expected = loss_and_grad(model, theta, x, labels)
        this = max(tolerance, 0 if isinstance(model, MLP) else 1e-11)
        assert_close(loss_and_grad(model, *map(xp.asarray, (theta, x, labels))), expected, this)


def test_augmentation_on_the_device(device):
    xp, _ = device
    rng = np.random.default_rng(2)
    arrays = rng.integers(0, 256, (6, 5, 4, 3)), rng.integers(0, 9, (6, 2)), rng.random(6) < 0.5
    assert_close(crop_and_flip(*map(xp.asarray, arrays)), crop_and_flip(*arrays), 0)


@pytest.mark.parametrize("name", AUGMENTATIONS)
def test_batches_on_the_device_equal_numpys_to_the_bit_wherever_the_images_lie(device, name):
    xp, _ = device
    rng = np.random.default_rng(5)
    images, labels = rng.integers(0, 256, (50, 9, 8, 3), dtype=np.uint8), rng.integers(0, 4, 50)
    assert_close(augment(name, xp.asarray(images), 1, 2, 3), augment(name, images, 1, 2, 3), 0)

    def batches(images, labels, noise):
        return local_batches(images, labels, np.arange(5, 40), 0, 3, 1, steps=3, batch_size=4, augment=name, noise=noise)

    for x in (images, xp.asarray(images)):
        for noise in (None, ([0.3], 7)):
            assert_close(batches(x, xp.asarray(labels), noise), batches(images, labels, noise), 0)


def test_images_that_would_fill_the_device_stay_on_the_host(device, monkeypatch):
    xp, _ = device
    images, labels = np.zeros((10, 4, 4, 3), np.uint8), np.arange(10) % 2
    data = make_dataset("cifar10", images, labels, images, labels, "ab", "zeros")
    monkeypatch.setattr(xp, "cuda", SimpleNamespace(Device=lambda: SimpleNamespace(mem_info=(free, 10**12))),
                        raising=False)
    for free, moved in ((4 * 480, True), (4 * 480 - 1, False)):      # train and test images are 480 bytes each
        there = on_device_of_run(data, xp)
        assert [isinstance(array, np.ndarray) for array in (there.y_train, there.y_test)] == [False] * 2
        assert [not isinstance(array, np.ndarray) for array in (there.x_train, there.x_test)] == [moved] * 2
    assert on_device_of_run(data, np) is data


METHODS = {name: {"algorithm": name} for name in ALGORITHMS} | {
    f"bn-{policy}": {"algorithm": "scaffold", "norm": "bn", "bn_stats": policy} for policy in POLICIES}


@pytest.mark.parametrize("clients_per_call", [None, 2])
@pytest.mark.parametrize("method", METHODS.values(), ids=METHODS)
def test_federated_rounds_on_the_device_equal_numpy(device, method, clients_per_call):
    """On the device all clients go through the layers at once, masked as they have 10, 4 and 2 steps; on the CPU one
    after the other."""
    xp, _ = device
    rng = np.random.default_rng(3)
    model = MLP(3, (4, 4, 3), (6, 5), Arrangement(method.get("norm", "ln"), learnable=True, bias="hidden"))
    arrays = {"x_train": rng.integers(0, 256, (30, 4, 4, 3), dtype=np.uint8),
              "x_test": rng.integers(0, 256, (9, 4, 4, 3), dtype=np.uint8),
              "y_train": rng.integers(0, 3, 30), "y_test": rng.integers(0, 3, 9)}
    train, test = ([np.arange(20), np.arange(20, 27), np.arange(0), np.arange(27, 30)],
                   [np.arange(4), np.arange(4, 9), np.arange(0), np.arange(0)])
    counts, test_counts = (np.array([np.bincount(arrays[labels][part], minlength=3) for part in parts])
                           for labels, parts in (("y_train", train), ("y_test", test)))
    settings = settings_for("cifar10", dict(
        method, rounds=4, local_epochs=2, batch_size=4, lr=0.1, eval_every=2, local_eval_every=3,
        participation=0.7, dropout_rate=0.2, momentum=0.5, weight_decay=0.01, lr_schedule="cosine"))

    def run(asarray, **place):
        data = SimpleNamespace(**{name: asarray(array) for name, array in arrays.items()})
        return list(federated_rounds(settings, model, settings.method(),
                                     start(settings.method(), asarray(model.spec.init(0)),
                                           asarray(model.statistics.init(0))), data,
                                     Partition(counts, test_counts, train, test), **place))

    found = list(zip(run(np.asarray), run(xp.asarray, clients_per_call=clients_per_call), strict=True))
    assert {record["clients"] for (_, record), _ in found} == {1, 2}      # of three, of whom two are sampled
    for (state, record), (on_device, record_device) in found:
        assert_close(on_device.w, state.w, 1e-11)
        assert_close(on_device.statistics, state.statistics, 1e-11)
        assert on_device.server.keys() == state.server.keys() and on_device.own.keys() == state.own.keys()
        for name, array in state.server.items():
            assert_close(on_device.server[name], array, 1e-11)
        for k, kept in state.own.items():
            for name, array in kept.items():
                assert_close(on_device.own[k][name], array, 1e-11)
        assert record_device.keys() == record.keys()
        for name in record.keys() - {"seconds"}:
            if isinstance(record[name], list):
                assert record_device[name] == record[name]      # accuracies and numbers of clients
            else:
                assert record_device[name] == pytest.approx(record[name], rel=1e-11)
    last = found[-1][0][1]
    assert {"accuracy", "local_accuracy", "local_own_accuracy", "sampled", "failed", "lr"} <= last.keys()


@pytest.mark.parametrize("options", [{"scaffold_option": "I"}, {"scaffold_option": "I", "local_epochs": 1}])
def test_scaffolds_option_one_on_the_device(device, options):
    xp, _ = device
    rng = np.random.default_rng(4)
    model, settings = MLP(2, (3, 3, 1), (4,)), settings_for("cifar10", dict(
        algorithm="scaffold", rounds=2, batch_size=2, lr=0.1, augment="none", **options))
    images, labels = rng.integers(0, 256, (9, 3, 3, 1), dtype=np.uint8), np.arange(9) % 2
    parts = [np.arange(6), np.arange(6, 9)]
    counts = np.array([[3, 3], [2, 1]])

    def run(asarray):
        data = SimpleNamespace(x_train=asarray(images), y_train=asarray(labels), x_test=asarray(images),
                               y_test=asarray(labels))
        first = start(settings.method(), asarray(model.spec.init(0)))
        return [state for state, _ in federated_rounds(settings, model, settings.method(), first, data,
                                                       Partition(counts, counts, parts, parts))]

    assert_close(run(xp.asarray)[-1].w, run(np.asarray)[-1].w, 1e-11)


def test_the_stand_in_refuses_what_cupy_refuses():
    x, host = DeviceArray(np.ones(3)), np.ones(3)
    xp = StandIn()
    for wrong in (lambda: np.exp(x), lambda: np.stack([x, x]), lambda: np.asarray(x), lambda: x + host,
                  lambda: host * x, lambda: xp.exp(host), lambda: xp.stack([x, host]),
                  lambda: x[np.arange(2)], lambda: x.__setitem__(0, host[:1])):
        with pytest.raises(TypeError):
            wrong()


def test_the_stand_in_is_not_numpy(monkeypatch):
    monkeypatch.setitem(sys.modules, "cupy", StandIn())
    x = sys.modules["cupy"].asarray([1.0, 2.0])
    assert get_xp(x) is sys.modules["cupy"] and not isinstance(x, np.ndarray)
    assert isinstance(x.sum(), DeviceArray) and float(x.sum()) == 3.0 and isinstance(x[0], DeviceArray)
    view = x.reshape(2, 1)
    view[...] = 5.0
    assert to_host(x).tolist() == [5.0, 5.0]
    assert type(sys.modules["cupy"].inf) is float and sys.modules["cupy"].float32 is np.float32
