"""Local steps as a CUDA graph: the eager loop's bits, whatever changes between rounds and whatever goes wrong."""

import gc
import sys
import warnings
from types import SimpleNamespace

import numpy as np
import pytest

from standin import StandIn, Stream, device   # noqa: F401

from minifl.backend import to_host
from minifl.data.partition import Partition
from minifl.fl import graph
from minifl.fl.client import Diverged
from minifl.fl.graph import Graphs
from minifl.fl.rounds import federated_rounds, start
from minifl.models import CNN, MLP, Arrangement
from minifl.runs.settings import settings_for

SIZES = (20, 7, 8, 3)     # training examples of the clients: with local_epochs they do 10, 4, 4 and 2 steps
CASES = {
    "fedavg": {},
    "momentum, decay, schedule": {"momentum": 0.5, "weight_decay": 0.01, "lr_schedule": "cosine"},
    "unequal steps": {"local_epochs": 2, "momentum": 0.5},
    "scaffold, sampled": {"algorithm": "scaffold", "participation": 0.5, "lr_schedule": "step", "lr_step_rounds": 1,
                          "lr_decay": 0.5},
    "scaffold, dropouts": {"algorithm": "scaffold", "dropout_rate": 0.3, "local_epochs": 2, "momentum": 0.5},
    "fedprox, sampled": {"algorithm": "fedprox", "participation": 0.5},
    "fedlc, sampled": {"algorithm": "fedlc", "participation": 0.5},
    "batch norm": {"algorithm": "scaffold", "norm": "bn", "participation": 0.5},
    "batch norm, local": {"norm": "bn", "bn_stats": "local", "participation": 0.5},
    "cnn": {"model": "cnn", "norm": "fn", "lr_schedule": "cosine"},
}
NAMES = ("w", "x", "y", "active", "counts", "steps", "lr", "running", ("server", "control"), ("own", "control"))


def run(asarray, options, rounds=7, **place):
    """The states after each round; `asarray` puts arrays where they shall be."""
    rng, shape = np.random.default_rng(0), (16, 16, 1) if options.get("model") == "cnn" else (4, 4, 3)
    arrays = {"x_train": rng.integers(0, 256, (38, *shape), dtype=np.uint8), "y_train": rng.integers(0, 3, 38),
              "x_test": rng.integers(0, 256, (6, *shape), dtype=np.uint8), "y_test": np.arange(6) % 3}
    parts = np.split(np.arange(38), np.cumsum(SIZES)[:-1])
    counts = np.array([np.bincount(arrays["y_train"][part], minlength=3) for part in parts])
    settings = settings_for("cifar10", {"rounds": rounds, "batch_size": 4, "lr": 0.1, "eval_every": rounds,
                                        "local_eval_every": 0, "num_clients": 4} | options)
    arrangement = Arrangement(options.get("norm", "ln"), learnable=options.get("norm") != "fn")
    model = (CNN(3, shape, (2, 16), (5,), arrangement) if options.get("model") == "cnn" else
             MLP(3, shape, (6, 5), arrangement))
    method, data = settings.method(), SimpleNamespace(**{name: asarray(array) for name, array in arrays.items()})
    begin = start(method, asarray(model.spec.init(0)), asarray(model.statistics.init(0)))
    partition = Partition(counts, counts * 0, parts, [np.zeros(0, int)] * len(parts))
    return [state for state, _ in federated_rounds(settings, model, method, begin, data, partition, **place)]


def assert_same_bits(found, expected):
    for a, b in zip(found, expected, strict=True):
        pairs = [(a.w, b.w), (a.statistics, b.statistics), *((a.server[n], b.server[n]) for n in b.server),
                 *((a.own[k][n], b.own[k][n]) for k in b.own for n in b.own[k])]
        assert a.own.keys() == b.own.keys()
        for x, y in pairs:
            np.testing.assert_array_equal(to_host(x), to_host(y))


@pytest.fixture
def launches(device, monkeypatch):   # noqa: F811
    """A list that grows with each launch of a graph; a warning of any kind is an error."""
    counted, before = [], graph._launch
    monkeypatch.setattr(graph, "_launch", lambda *args: counted.append(gc.collect()) or before(*args))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        yield counted


@pytest.mark.parametrize("clients_per_call", [None, 2])
@pytest.mark.parametrize("options", CASES.values(), ids=CASES)
def test_graphs_have_the_bits_of_the_eager_loop_and_numpys(device, launches, options, clients_per_call):   # noqa: F811
    xp, _ = device
    found = run(xp.asarray, options, clients_per_call=clients_per_call)
    assert launches
    eager = run(xp.asarray, options, clients_per_call=clients_per_call, cuda_graphs=False)
    assert_same_bits(found, eager)
    if isinstance(xp, StandIn) and options.get("model") != "cnn":     # convolutions are other products there
        assert_same_bits(found, run(np.asarray, options, clients_per_call=clients_per_call or 4))


SCAFFOLD = {"algorithm": "scaffold", "norm": "bn", "participation": 0.5, "lr_schedule": "cosine", "local_epochs": 2}
FEDLC = {"algorithm": "fedlc", "participation": 0.5}


@pytest.mark.parametrize("forgotten, options", [(name, FEDLC if name == "counts" else SCAFFOLD)
                                                for name in NAMES if name != "steps"], ids=str)   # that is for messages
def test_an_input_that_is_not_copied_is_noticed(device, monkeypatch, forgotten, options):   # noqa: F811
    """By the comparison of the first launch, which then goes on without graphs; and, without it, by the bits."""
    xp, _ = device
    options, launch = {"rounds": 12} | options, graph._launch

    def forgetful(recorded, inputs):
        return launch(recorded, {name: array for name, array in inputs.items() if name != forgotten})

    monkeypatch.setattr(graph, "_launch", forgetful)
    eager = run(xp.asarray, options, cuda_graphs=False)
    with pytest.warns(RuntimeWarning, match="not those of the eager loop"):
        assert_same_bits(run(xp.asarray, options), eager)
    monkeypatch.setattr(graph, "_agree", lambda *_: True)
    with pytest.raises((AssertionError, Diverged)):     # FedLC's margins of other clients are infinite
        assert_same_bits(run(xp.asarray, options), eager)


def test_what_a_launch_reads_is_all_that_a_client_has_at_hand(device):   # noqa: F811
    xp, _ = device
    seen = []

    class Spy(Graphs):
        def __call__(self, function, key, work, running):
            seen.append((graph._inputs(work, running), work))
            return super().__call__(function, key, work, running)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("minifl.fl.rounds.Graphs", Spy)
        run(xp.asarray, {"algorithm": "scaffold"}, rounds=1)
    inputs, work = seen[0]
    assert set(inputs) == set(NAMES)
    assert set(work._fields) - {"model", "server", "own", "sizes", "smoothing", "descend"} <= set(NAMES)     # these are in a graph's key or not in it at all


def test_a_recording_that_fails_is_ended_and_said_once(device, monkeypatch):   # noqa: F811
    xp, _ = device
    eager = run(xp.asarray, {}, cuda_graphs=False)
    update = graph._capture

    def reads_the_host(stream, function):
        def reading():
            results = function()
            float(results[1].sum())
            return results
        return update(stream, reading)

    monkeypatch.setattr(graph, "_capture", reads_the_host)
    with pytest.warns(RuntimeWarning) as caught:
        assert_same_bits(run(xp.asarray, {}), eager)
    ours = [str(w.message) for w in caught if "CUDA graphs" in str(w.message)]
    assert len(ours) == 1 and "Error: " in ours[0]
    assert Stream.capturing is None
    monkeypatch.setattr(graph, "_capture", update)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert_same_bits(run(xp.asarray, {}), eager)      # the stream of before is of no harm


def test_an_interruption_while_recording_ends_the_recording(device, monkeypatch):   # noqa: F811
    xp, _ = device
    capture = graph._capture

    def interrupted(stream, function):
        def stop():
            raise KeyboardInterrupt
        return capture(stream, stop)

    monkeypatch.setattr(graph, "_capture", interrupted)
    with pytest.raises(KeyboardInterrupt):
        run(xp.asarray, {}, rounds=1)
    assert Stream.capturing is None


@pytest.mark.parametrize("sizes, recordings", [([0, 0], 1), ([0, 8, 8, 8], 2), ([0, 8, 8, 16, 16, 24], None)])
def test_a_recording_counts_if_the_pool_stayed_as_it_was(monkeypatch, sizes, recordings):
    """The pool's size before and after each recording; None: it never did."""
    xp = StandIn()
    monkeypatch.setitem(sys.modules, "cupy", xp)
    captured, capture, told = [], graph._capture, iter(sizes)
    monkeypatch.setattr(graph, "_capture", lambda *args: captured.append(1) or capture(*args))
    monkeypatch.setattr(xp.cuda.MemoryPool, "total_bytes", lambda self: next(told))
    eager = run(xp.asarray, {}, cuda_graphs=False)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert_same_bits(run(xp.asarray, {}), eager)
    if recordings:
        assert len(captured) == recordings and not caught
    else:
        assert len(captured) == graph.RECORDINGS
        assert ["memory was allocated in each of 3 recordings" in str(w.message) for w in caught] == [True]


def test_the_number_of_graphs_is_bounded(device, launches, monkeypatch):   # noqa: F811
    xp, _ = device
    recorded, record = [], graph._record
    monkeypatch.setattr(graph, "_record", lambda *args: recorded.append(1) or record(*args))
    options = {"dropout_rate": 0.4, "local_epochs": 2}
    monkeypatch.setattr(graph, "LIMIT", 2)
    assert_same_bits(run(xp.asarray, options, 12), run(xp.asarray, options, 12, cuda_graphs=False))
    assert len(recorded) == 2 and launches


def test_no_graph_on_the_cpu(monkeypatch):
    monkeypatch.setattr(graph, "_record", None)
    run(np.asarray, {}, rounds=2)


def test_cupy_has_what_graphs_need():
    cuda = pytest.importorskip("cupy", reason="CuPy's wheel is not installed (cupy-cuda12x; no GPU needed)").cuda
    for owner, names in ((cuda.Stream, ("begin_capture", "end_capture", "synchronize", "__enter__")),
                         (cuda.Graph, ("launch",)), (cuda.MemoryPool, ("malloc", "total_bytes"))):
        assert [name for name in names if not callable(getattr(owner, name, None))] == []
    assert callable(cuda.using_allocator) and callable(cuda.get_current_stream)
