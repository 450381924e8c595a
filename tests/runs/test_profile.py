"""A profile changes nothing, counts every layer once, and leaves no trace. How fast anything is is not tested."""

import sys
import threading

import numpy as np
import pytest

import minifl.models
from minifl.data import registry
from minifl.fl import client, rounds
from minifl.fl.algorithms import ALGORITHMS
from minifl.models import cnn, mlp, resnet, vit
from minifl.runs import profile, profile_table, run
from minifl.runs.profile import AROUND, BACKWARD, FORWARD, LOSS, OWN_TESTS, Profile
from minifl.runs.run import Placement, split, train
from minifl.runs.settings import settings_for

BASE = {"rounds": 2, "local_steps": 2, "batch_size": 4, "width": 0.05, "setting": "iid", "local_eval_every": 2}
WATCHED = [minifl.models, cnn, mlp, resnet, vit, client, rounds, run,
           *{sys.modules[method.__module__] for method in ALGORITHMS.values()}]


def trained(data_dir, out, workers=1, clients_per_call=None, profiled=True, stop=None, **chosen):
    """A short run: (Profile, its settings, records). stop: a round after which the run is left."""
    dataset = registry.load("cifar10", data_dir)
    settings = settings_for("cifar10", BASE | chosen)
    lines = train(settings, dataset, split(settings, dataset), out, Placement(workers=workers,
                                                                             clients_per_call=clients_per_call))
    measured = Profile(settings.network(10, (32, 32, 3)), workers)
    if not profiled:
        return measured, settings, list(lines)
    with measured:
        return measured, settings, [line for line, _ in zip(lines, range(stop or settings.rounds))]


def names():
    """All that the modules look up."""
    return [{name: id(value) for name, value in vars(module).items()} for module in WATCHED]


@pytest.mark.parametrize("chosen", [{}, {"norm": "bn", "algorithm": "scaffold"}, {"model": "vit", "momentum": 0.9}])
def test_no_bit_changes(data_dir, tmp_path, chosen):
    _, _, without = trained(data_dir, tmp_path / "without", profiled=False, **chosen)
    _, _, with_ = trained(data_dir, tmp_path / "with", workers=2, **chosen)
    assert with_ == without
    models = [(tmp_path / name / "model.npz").read_bytes() for name in ("with", "without")]
    assert models[0] == models[1]


SEQUENTIAL = ("none", "fn", "fn-all", "ln", "ln-reduced", "gn", "rms", "bn")
NETWORKS = [
    *({"model": "cnn", "norm": norm} for norm in (*SEQUENTIAL, "in")),
    *({"model": "mlp", "norm": norm} for norm in SEQUENTIAL),
    *({"model": "resnet18", "norm": norm} for norm in (*SEQUENTIAL, "in", "fn-inside", "fn-mv-inside")),
    *({"model": "vit", "norm": norm} for norm in ("none", "fn", "ln", "gn", "rms", "bn")),
    {"model": "cnn", "activation": "gelu", "norm_position": "before", "norm": "ln", "norm_affine": "learnable"},
    {"model": "cnn", "head": "cosine", "standardize_weights": True},
    {"model": "vit", "norm": "ln", "norm_position": "before"},
    {"model": "vit", "vit_token": "mean"},
    {"model": "resnet8", "algorithm": "feddecorr"},
    {"model": "cnn", "algorithm": "fedaws"},
]


@pytest.mark.parametrize("chosen", NETWORKS, ids=lambda chosen: "-".join(map(str, chosen.values())))
def test_every_row_of_the_plan_is_there(data_dir, tmp_path, chosen):
    """As often as there were steps, forward and backward, with its FLOPs; no more rows than the plan and the loss."""
    chosen = chosen | ({"groups": 1} if chosen.get("norm") == "gn" else {})
    measured, settings, _ = trained(data_dir, tmp_path / "run", clients_per_call=3, rounds=1, local_steps=1, **chosen)
    assert measured.steps == 10 and measured.rounds == 1
    plan = measured.model.plan
    assert {name for name, direction in measured.spent if direction} == {*(row.name for row in plan), LOSS}
    layers, around = profile_table.lines(measured, settings.batch_size)
    assert [line.name for line in layers] == [*(row.name for row in plan), LOSS]
    assert [line.name for line in around] == list(AROUND)
    first = next(row.name for row in plan if row.flops) if chosen["model"] != "mlp" else None
    for row, line in zip(plan, layers[:-1], strict=True):
        flops = row.flops * settings.batch_size
        assert line.flops == (flops, flops if row.name == first else 2 * flops)
    for row in plan:
        forward, backward = (measured.spent[row.name, direction] for direction in (FORWARD, BACKWARD))
        if row.flops:
            assert forward.calls == backward.calls == 4               # of 3, 3, 3 and 1 of the clients
            assert forward.passes == 10 and backward.passes == (10 if row.name == first else 20)
        assert forward.calls and (backward.calls or row.name == "flatten")
    assert sum(sum(line.flops) for line in layers) == settings.batch_size * (
        3 * measured.model.flops - sum(row.flops for row in plan if row.name == first))


def test_layers_without_names_are_told_apart_by_their_order(data_dir, tmp_path):
    measured, _, _ = trained(data_dir, tmp_path / "run", workers=2)
    shapes = {row.name: np.prod(row.shape).item() for row in measured.model.plan}
    for name, before in (("pool1", "norm1"), ("pool2", "norm2")):
        for direction in (FORWARD, BACKWARD):
            assert measured.spent[name, direction].calls == measured.steps == 40
            assert measured.spent[name, direction].nbytes == 40 * 4 * 4 * (shapes[name] + shapes[before])
    assert measured.spent["flatten", BACKWARD].nbytes == 0    # a view


def test_the_second_gradient_of_option_one_is_counted(data_dir, tmp_path):
    measured, _, _ = trained(data_dir, tmp_path / "run", algorithm="scaffold", scaffold_option="I", model="mlp")
    assert measured.steps == 2 * 40 and measured.spent["dense1", BACKWARD].passes == 4 * 40


@pytest.mark.parametrize("workers", [1, 2, 3])
def test_nothing_is_counted_twice(data_dir, tmp_path, workers):
    """No more seconds than the threads had; the one that adds up the messages is a thread more."""
    measured, settings, lines = trained(data_dir, tmp_path / "run", workers=workers, eval_every=1, norm="ln")
    assert measured.rounds == 2 and measured.evaluation > 0 and measured.spent[OWN_TESTS, None].calls == 10
    spent = {key: value.seconds for key, value in measured.spent.items()}
    assert all(seconds >= 0 for seconds in spent.values()) and measured.thread_seconds > 0
    assert sum(spent.values()) <= measured.seconds * (workers + 1)
    here = sum(spent[key, None] for key in (profile.SERVER, profile._WAITING))
    assert here <= measured.seconds and sum(spent.values()) - here <= measured.seconds * workers
    shares = [line.share for lines in profile_table.lines(measured, settings.batch_size) for line in lines]
    assert all(share >= 0 for share in shares)


def test_a_call_in_a_call_belongs_to_the_outer_layer_or_is_taken_from_what_surrounds_it(monkeypatch):
    """By a clock that goes on by 1 whenever it is read."""
    time = iter(range(1000))
    monkeypatch.setattr(profile, "perf_counter", lambda: next(time))
    measured = Profile(minifl.models.build("mlp", 10, (4, 4, 1)), 1)
    x = np.ones((2, 3, 4))
    inner = measured._layer(lambda x, p, name: x * 2)
    outer = measured._layer(lambda x, p, name: inner(x, p, "dense2"))
    work = measured._around(lambda: (outer(x, {}, "dense1"), inner(x, {}, "dense2"), inner(x, {}, "unknown")), "work",
                            leaf=False)
    inner(x, {}, "dense2")      # outside of any work
    work()
    spent = {key: (value.seconds, value.calls) for key, value in measured._thread.spent.items()}
    assert spent == {("dense1", FORWARD): (1, 1), ("dense2", FORWARD): (1, 1), ("work", None): (3, 1)}
    assert measured._thread.spent["dense1", FORWARD].passes == 2


def test_everything_is_put_back_also_after_an_exception(data_dir, tmp_path):
    before = names()
    measured = Profile(settings_for("cifar10", BASE).network(10, (32, 32, 3)), 1)
    with pytest.raises(ZeroDivisionError), measured:
        changed = {name for now, then in zip(names(), before) for name in then if now[name] != then[name]}
        assert {"convolve", "round_batches", "server_step", "flat_gradient"} < changed
        assert not [name for name in changed if name.startswith("_")]      # of other modules
        raise ZeroDivisionError
    assert names() == before
    trained(data_dir, tmp_path / "run")
    assert names() == before


def test_what_cannot_be_replaced_leaves_nothing_replaced(monkeypatch):
    monkeypatch.delattr(rounds, "evaluate")
    before = names()
    with pytest.raises(AttributeError), Profile(minifl.models.build("mlp", 10, (4, 4, 1)), 1):
        pass
    assert names() == before


def test_a_run_that_stops_counts_whole_rounds(data_dir, tmp_path, monkeypatch):
    """A failure in the second round."""
    calls, evaluated = [], client._finite_losses

    def failing(*args):
        calls.append(threading.get_ident())
        if len(calls) == 15:
            raise RuntimeError("stop")
        return evaluated(*args)

    monkeypatch.setattr(client, "_finite_losses", failing)
    dataset, settings = registry.load("cifar10", data_dir), settings_for("cifar10", BASE)
    with pytest.raises(RuntimeError), Profile(settings.network(10, (32, 32, 3)), 2) as measured:
        list(train(settings, dataset, split(settings, dataset), tmp_path / "run", Placement(workers=2)))
    assert (measured.rounds, measured.steps) == (1, 20) and measured.spent["conv1", FORWARD].calls == 20
