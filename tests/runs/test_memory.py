"""The memory estimate against what NumPy allocates, and runs that would not fit refused before anything is made."""

import tracemalloc
from itertools import pairwise
from types import SimpleNamespace

import numpy as np
import pytest
import scipy.special  # noqa: F401  (importing it takes memory, too: before anything is measured)

from minifl.data.partition import make_partition
from minifl.errors import InputError
from minifl.fl.client import local_work
from minifl.fl.rounds import federated_rounds, start
from minifl.runs import memory
from minifl.runs.run import Placement
from minifl.runs.settings import settings_for

RNG = np.random.default_rng(0)
DATA = SimpleNamespace(x_train=RNG.integers(0, 256, (200, 32, 32, 3), dtype=np.uint8), y_train=np.arange(200) % 10,
                       x_test=RNG.integers(0, 256, (40, 32, 32, 3), dtype=np.uint8), y_test=np.arange(40) % 10,
                       num_classes=10, image_shape=(32, 32, 3))
SMALL = {"model": "cnn", "batch_size": 16, "local_steps": 2, "num_clients": 4, "setting": "iid", "rounds": 1}
CASES = {
    "cnn": (1, {}),
    "cnn-thin": (1, {"width": 0.25, "norm": "fn"}),
    "cnn-ln-scaffold": (3, {"norm": "ln", "algorithm": "scaffold", "batch_size": 4}),
    "cnn-bn-local": (1, {"norm": "bn", "bn_stats": "local", "norm_affine": "learnable", "width": 0.25}),
    "cnn-steps": (1, {"width": 0.1, "local_steps": 40}),
    "cnn-epochs": (3, {"width": 0.1, "local_steps": None, "local_epochs": 2}),
    "cnn-gelu-before": (1, {"width": 0.25, "activation": "gelu", "norm": "gn", "norm_position": "before"}),
    "mlp": (1, {"model": "mlp", "norm": "ln"}),
    "mlp-wide": (2, {"model": "mlp", "width": 4.0, "batch_size": 2, "momentum": 0.9, "weight_decay": 0.1}),
    **{f"mlp-wide, {name}": (2, {"model": "mlp", "width": 3.0, "batch_size": 2, "algorithm": name})
       for name in ("moon", "fedsam", "localadam", "fedper", "ditto")},
    "cnn-moon": (1, {"width": 0.25, "algorithm": "moon"}),
    "mlp-batch": (1, {"model": "mlp", "width": 0.5, "batch_size": 256, "algorithm": "fedprox"}),
    "resnet18": (1, {"model": "resnet18", "width": 0.125, "batch_size": 8}),
    "resnet18-ln": (2, {"model": "resnet18", "width": 0.125, "norm": "ln", "batch_size": 4}),
    "resnet18-bn": (1, {"model": "resnet18", "width": 0.125, "norm": "bn", "batch_size": 4}),
    "vit": (1, {"model": "vit", "batch_size": 8}),
    "vit-ln": (2, {"model": "vit", "norm": "ln", "norm_position": "before", "norm_affine": "learnable",
                   "batch_size": 4}),
}


def measured(function):
    """The most bytes that function() has at a time, NumPy's arrays among them."""
    tracemalloc.start()
    try:
        before = tracemalloc.get_traced_memory()[0]
        function()
        return tracemalloc.get_traced_memory()[1] - before
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("together, chosen", CASES.values(), ids=CASES)
def test_an_estimate_lies_between_the_measured_peak_and_twice_that(together, chosen):
    settings = settings_for("cifar10", SMALL | chosen)
    model, method = settings.network(10, (32, 32, 3)), settings.method()
    partition = make_partition("iid", DATA.y_train, DATA.y_test, 10, 4, 0)
    need, calls = memory._of_run(settings, DATA, partition.counts.sum(axis=1),
                                 Placement(workers=1, clients_per_call=together))
    state = start(method, model.spec.init(0).astype(np.float32), model.statistics.init(0).astype(np.float32))
    assert calls == 1
    call = measured(lambda: local_work(settings, model, method, DATA, partition, state, list(range(together))))
    assert call <= need.call <= 2 * call
    run = measured(lambda: list(federated_rounds(settings, model, method, state, DATA, partition, workers=1,
                                                 clients_per_call=together)))
    assert run <= need.total(calls) <= 2 * run


@pytest.mark.parametrize("chosen", [{"model": "mlp"}, {"width": 0.5}, {"model": "resnet18", "width": 0.25}])
def test_making_the_first_parameters(chosen):
    settings = settings_for("cifar10", SMALL | chosen)
    model = settings.network(10, (32, 32, 3))
    peak = measured(lambda: model.spec.init(0).astype(np.float32))
    assert 0.98 * peak <= memory.estimate(settings, model).start <= 1.2 * peak     # some hundred bytes are generators


def test_a_partition():
    for clients, classes in ((2000, 10), (2000, 100)):
        labels = np.arange(2000) % classes
        peak = measured(lambda: make_partition("iid", labels, labels, classes, clients, 0))
        memory.check_partition(clients, classes, 2 * peak)
        with pytest.raises(InputError, match=rf"--num-clients {clients}: .* at most \d+ fit"):
            memory.check_partition(clients, classes, peak)


def of_run(place, **chosen):
    """Settings, sizes and bytes of a run of four clients on DATA."""
    settings = settings_for("cifar10", SMALL | chosen)
    partition = make_partition("iid", DATA.y_train, DATA.y_test, 10, 4, 0)
    need, calls = memory._of_run(settings, DATA, partition.counts.sum(axis=1), place)
    return settings, partition, need.total(calls)


@pytest.mark.parametrize("place, chosen, options", [
    (Placement(workers=4), {}, ("--workers", "--width")),
    (Placement(clients_per_call=4), {"batch_size": 256}, ("--clients-per-call", "--batch-size", "--width")),
    (Placement(), {"local_steps": 800, "width": 0.1}, ("--local-steps", "--batch-size")),
    (Placement(), {"local_steps": None, "local_epochs": 300, "width": 0.1}, ("--local-epochs",)),
])
def test_what_the_message_says_would_fit_does(place, chosen, options):
    settings, partition, total = of_run(place, **chosen)
    memory.check_fits(settings, DATA, partition, place, available=total)
    memory.check_fits(settings, DATA, partition, place, available=3 * total, processes=3)
    available = round(0.7 * total)
    with pytest.raises(InputError) as caught:
        memory.check_fits(settings, DATA, partition, place, available=available)
    words = str(caught.value).partition("It would fit with ")[2].replace(",", "").rstrip(".").split()
    named = {name: value for name, value in pairwise(words) if name.startswith("--")}
    assert set(options) <= named.keys()
    for name, value in named.items():
        field, value = name[2:].replace("-", "_"), float(value) if name == "--width" else int(value)
        on_place = field in Placement._fields
        changed = settings_for("cifar10", SMALL | chosen | ({} if on_place else {field: value}))
        memory.check_fits(changed, DATA, partition, place._replace(**{field: value}) if on_place else place,
                          available=available)


def test_where_nothing_fits_the_message_says_so():
    settings, partition, _ = of_run(Placement())
    with pytest.raises(InputError, match="No smaller --width, --batch-size or --local-steps alone would fit"):
        memory.check_fits(settings, DATA, partition, Placement(), available=1000)


def test_on_a_gpu_its_free_memory_counts_and_the_images_are_on_it():
    settings, partition, _ = of_run(Placement())
    for free, fits in ((10**10, True), (10**7, False)):
        xp = SimpleNamespace(cuda=SimpleNamespace(Device=lambda: SimpleNamespace(mem_info=(free, 10**12))))
        place = Placement(xp, "cuda (Testing 9000)")
        if fits:
            memory.check_fits(settings, DATA, partition, place)
            need, _ = memory._of_run(settings, DATA, partition.counts.sum(axis=1), place)
            assert need.data == DATA.x_train.nbytes + DATA.x_test.nbytes
        else:
            with pytest.raises(InputError, match="10 MB are free on the GPU"):
                memory.check_fits(settings, DATA, partition, place)


@pytest.mark.parametrize("clients, kept", [(3, 3), (25, 20)])
def test_where_diagnosed_clients_ended_is_counted(clients, kept):
    """Until the end of the round, of 20 of them at most."""
    plain, diagnosed = (settings_for("cifar10", SMALL | {"num_clients": clients, "diagnose": diagnose})
                        for diagnose in (False, True))
    sizes = np.full(clients, 10)
    (before, _), (after, _) = (memory._of_run(settings, DATA, sizes, Placement()) for settings in (plain, diagnosed))
    size = plain.network(DATA.num_classes, DATA.image_shape).spec.size
    assert after.state - before.state == kept * 4 * size


def test_where_nobody_knows_nothing_is_checked(monkeypatch):
    settings, partition, _ = of_run(Placement())
    monkeypatch.setattr(memory, "free", lambda xp: None)
    memory.check_fits(settings, DATA, partition, Placement())
    memory.check_partition(10**15, 10)


def test_free_memory_of_this_machine():
    assert memory.free(np) is None or 10**6 < memory.free(np) < 10**15


@pytest.mark.parametrize("option, value", [
    ("--width", "1000"), ("--batch-size", "100000000"), ("--batch-size", "1" + 400 * "0"), ("--local-steps", "1000000"),
    ("--local-epochs", "1000000"), ("--num-clients", "9000000")])
def test_a_run_that_does_not_fit_ends_before_anything_is_made(option, value, data_dir, tmp_path, cli, monkeypatch):
    monkeypatch.setattr(memory, "free", lambda xp: 4 * 10**9)

    def never(*args):
        raise AssertionError("memory was taken")

    monkeypatch.setattr("minifl.params.Spec.init", never)
    monkeypatch.chdir(tmp_path)
    for command in ("train", "sweep"):
        results = []
        begin = measured(lambda: results.append(cli(command, "--data", "cifar10", "--data-dir", data_dir, "--setting", "iid",
                                                    "--device", "cpu", option, value)))
        (code, _, error), = results
        assert code == 2 and error.startswith("Error: ") and "4 GB are free" in error and error.count("\n") == 1
        assert "fit" in error and begin < 10**8
        assert list(tmp_path.iterdir()) == []
