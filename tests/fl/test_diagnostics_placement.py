"""--diagnose changes nothing, and sees the same however and wherever the work is done."""

import json
from types import SimpleNamespace

import numpy as np
import pytest

from diagnosing import KEYS, diagnosed, network, run, seen
from small_problem import COUNTS, problem
from standin import device   # noqa: F401

from minifl.fl import rounds
from minifl.fl.rounds import federated_rounds, start
from minifl.fl.statistics import POLICIES


def bits(results):
    return [(state.w.tobytes(), state.statistics.tobytes(), [a.tobytes() for a in state.server.values()],
             {k: [a.tobytes() for a in own.values()] for k, own in state.own.items()},
             {name: value for name, value in line.items() if name not in ("seconds", "diagnostics")})
            for state, line in results]


METHODS = [("none", dict(algorithm="fedavg")), ("none", dict(algorithm="scaffold", dropout_rate=0.3)),
           ("fn", dict(algorithm="fedyogi", participation=0.6)), ("fn", dict(algorithm="fedaws"))]
BATCH_NORMS = [("bn", dict(algorithm="scaffold", norm="bn", bn_stats=policy)) for policy in POLICIES]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("norm, options", METHODS + BATCH_NORMS, ids=str)
def test_no_bit_depends_on_it_and_it_depends_on_no_placement(norm, options, dtype):
    model, options = network(norm), options | {"local_eval_every": 2}
    _, plain = run(model, diagnosed(**options, diagnose=False), dtype=dtype)
    _, reference = run(model, diagnosed(**options), dtype=dtype)
    assert seen(plain) == [] and [line["round"] for line in seen(reference)] == [2, 4, 5]
    assert bits(reference) == bits(plain)
    for place in ({"workers": 1}, {"workers": 2}, {"clients_per_call": 3, "workers": 1},
                  {"clients_per_call": 3, "workers": 2}, {"clients_per_call": 5}):
        _, other = run(model, diagnosed(**options), dtype=dtype, **place)
        assert bits(other) == bits(plain) and seen(other) == seen(reference)
    _, more = run(model, diagnosed(**options, eval_every=1), dtype=dtype)
    assert [line for line in seen(more) if line["round"] in (2, 4, 5)] == seen(reference)


def test_of_a_call_with_many_clients_no_more_is_kept_than_is_looked_at(monkeypatch):
    """A view of theta (25, P) would hold all of it."""
    def diagnose(settings, model, before, after, data, ended, **options):
        kept.append([(end.client, end.theta.shape, end.theta.base, end.running.base) for end in ended])

    kept, of = [], problem(np.tile(COUNTS, (5, 1)))
    monkeypatch.setattr(rounds, "diagnose", diagnose)
    model = network("bn")
    run(model, diagnosed(norm="bn", num_clients=25, rounds=1), of=of, clients_per_call=25)
    assert kept == [[(k, (1, model.spec.size), None, None) for k in range(20)]]


def test_its_time_is_not_the_rounds(monkeypatch):
    clock, original = [0.0], rounds.diagnose

    def diagnose(*arguments, **options):
        clock[0] += 1000
        return original(*arguments, **options)

    monkeypatch.setattr(rounds, "perf_counter", lambda: clock[0])
    monkeypatch.setattr(rounds, "diagnose", diagnose)
    _, results = run(network(), diagnosed())
    assert clock == [3000] and [line["seconds"] for _, line in results] == [0] * 5


@pytest.mark.parametrize("clients_per_call", [None, 2])
@pytest.mark.parametrize("norm, options", METHODS[:2] + BATCH_NORMS, ids=str)
def test_on_the_device_as_by_numpy(device, norm, options, clients_per_call):     # noqa: F811
    xp, _ = device
    model, settings, (data, partition) = network(norm), diagnosed(**options), problem()

    def lines(asarray, images=None, **place):
        there = SimpleNamespace(**{name: asarray(getattr(data, name)) for name in ("x_train", "y_train", "y_test")},
                                x_test=(images or asarray)(data.x_test))
        first = start(settings.method(), asarray(model.spec.init(3)), asarray(model.statistics.init(3)))
        return seen(federated_rounds(settings, model, settings.method(), first, there, partition, **place))

    expected = lines(np.asarray)
    for images in (xp.asarray, np.asarray):     # test images that the device has no room for stay on the host
        for found, line in zip(lines(xp.asarray, images, clients_per_call=clients_per_call), expected, strict=True):
            assert found.keys() == KEYS
            for name in ("round", "clients", "local_before", "local_after"):
                assert found[name] == line[name]
            assert found["drift"].keys() == line["drift"].keys()
            for name in line["drift"]:
                np.testing.assert_allclose(found["drift"][name], line["drift"][name], rtol=1e-10)
            for name in KEYS - {"round", "clients", "local_before", "local_after", "drift"}:
                np.testing.assert_allclose(found[name], line[name], rtol=1e-10, atol=1e-10)
            json.dumps(found, allow_nan=False)
