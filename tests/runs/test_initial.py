"""Starting from a model: what is taken, and what does not fit."""

import pickle
import zipfile
from dataclasses import replace

import numpy as np
import pytest

from minifl.errors import InputError
from minifl.runs import initial
from minifl.runs.run import first_state
from minifl.runs.settings import settings_for

SHAPE = (8, 8, 3)
CHOSEN = {"model": "mlp", "width": 0.05}


def network(**chosen):
    settings = settings_for("cifar10", CHOSEN | chosen)
    return settings, settings.network(4, SHAPE)


def blocks_of(model, seed=3, spec=None):
    return {name: view[0].astype(np.float32) for name, view in
            (spec or model.spec).views((spec or model.spec).init(seed)[None]).items()}


def saved(path, blocks):
    np.savez(path, **blocks)
    return path


def begun(path, settings, model):
    start = initial.read(path)
    return first_state(replace(settings, init_from=start.sha256), model, start=start)


def test_parameters_are_taken_by_name_whatever_their_order(tmp_path):
    settings, model = network()
    blocks = blocks_of(model)
    state = begun(saved(tmp_path / "m.npz", dict(reversed(blocks.items()))), settings, model)
    assert state.w.dtype == np.float32 and state.round == 0
    for name, view in model.spec.views(state.w[None]).items():
        np.testing.assert_array_equal(view[0], blocks[name])
    assert not np.array_equal(state.w, first_state(settings, model).w)
    wide = saved(tmp_path / "w.npz", {name: block.astype(np.float64) for name, block in blocks.items()})
    np.testing.assert_array_equal(begun(wide, settings, model).w, state.w)


def test_the_hash_is_of_names_and_numbers(tmp_path):
    _, model = network()
    blocks = blocks_of(model)
    hashes = [initial.read(saved(tmp_path / "m.npz", changed)).sha256 for changed in (
        blocks, dict(reversed(blocks.items())), {name: 2 * block for name, block in blocks.items()},
        {name + "x": block for name, block in blocks.items()})]
    assert hashes[0] == hashes[1] and len(set(hashes)) == 3
    compressed = tmp_path / "c.npz"
    np.savez_compressed(compressed, **blocks)
    assert initial.read(compressed).sha256 == hashes[0]
    (tmp_path / "again.npz").write_bytes(initial.read(compressed).content())
    assert initial.read(tmp_path / "again.npz").sha256 == hashes[0]


def test_another_norm_and_running_statistics(tmp_path):
    _, batch = network(norm="bn")
    running = blocks_of(batch, spec=batch.statistics) | {"dense1.norm.mean": np.full(10, 5, np.float32)}
    assert running.keys() >= {"dense1.norm.mean", "dense1.norm.variance"}
    full = saved(tmp_path / "bn.npz", blocks_of(batch) | running | {"clients/dense1.norm.mean": np.zeros((2, 10), np.float32)})
    settings, model = network(norm="bn")
    state = begun(full, settings, model)
    np.testing.assert_array_equal(model.statistics.views(state.statistics[None])["dense1.norm.mean"][0], 5)
    for norm in ("none", "fn", "ln"):       # the same parameters, no statistics
        other, plain = network(norm=norm)
        np.testing.assert_array_equal(begun(full, other, plain).w, state.w)
    without = saved(tmp_path / "plain.npz", blocks_of(batch))
    np.testing.assert_array_equal(begun(without, settings, model).statistics, first_state(settings, model).statistics)


@pytest.mark.parametrize("change, words", [
    (lambda b: b.pop("classifier.weight"), r"lacks classifier.weight \(10, 4\)"),
    (lambda b: b.update({"classifier.bias": np.zeros(4, np.float32)}), "classifier.bias is of no layer"),
    (lambda b: b.update({"classifier.weight": np.zeros((10, 5), np.float32)}), r"is \(10, 5\), not \(10, 4\)"),
    (lambda b: b.update({"classifier.weight": b["classifier.weight"].T.copy()}), r"is \(4, 10\), not \(10, 4\)"),
    (lambda b: b.update({"classifier.weight": np.zeros((10, 4), np.int64)}), "classifier.weight is int64"),
    (lambda b: b.update({"classifier.weight": np.full((10, 4), np.nan, np.float32)}), "classifier.weight has .* not finite"),
    (lambda b: b.update({"classifier.weight": np.full((10, 4), 1e300)}), "classifier.weight has .* not finite"),
])
def test_what_does_not_fit(tmp_path, change, words):
    settings, model = network()
    blocks = blocks_of(model)
    change(blocks)
    with pytest.raises(InputError, match=f"--init-from .*m.npz: .*{words}"):
        begun(saved(tmp_path / "m.npz", blocks), settings, model)


class Evil:
    def __reduce__(self):
        return print, ("unpickled",)


def test_what_is_no_model(tmp_path, capsys):
    saved(tmp_path / "objects.npz", {"w": np.array([Evil()], dtype=object)})
    (tmp_path / "pickle.npz").write_bytes(pickle.dumps(Evil()))
    (tmp_path / "text").write_text("no model")
    np.save(tmp_path / "one.npy", np.zeros(3))
    with zipfile.ZipFile(tmp_path / "raw.npz", "w") as archive:
        archive.writestr("w", b"bytes")
    (tmp_path / "empty").mkdir()
    for name in ("objects.npz", "pickle.npz", "text", "one.npy", "raw.npz", "empty", "missing"):
        with pytest.raises(InputError, match=f"--init-from .*{name}"):
            initial.read(tmp_path / name)
    assert capsys.readouterr().out == ""


def test_more_than_any_network_is_not_unpacked(tmp_path, monkeypatch):
    monkeypatch.setattr(initial, "LIMIT", 10_000)
    np.savez_compressed(tmp_path / "m.npz", w=np.zeros(10_000, np.float32))
    with pytest.raises(InputError, match="40,[0-9]* bytes unpacked, at most 10,000"):
        initial.read(tmp_path / "m.npz")


def test_settings_and_start_belong_together(tmp_path):
    settings, model = network()
    start = initial.read(saved(tmp_path / "m.npz", blocks_of(model)))
    for chosen, given in ((replace(settings, init_from=start.sha256), None), (settings, start),
                          (replace(settings, init_from="0" * 64), start)):
        with pytest.raises(InputError, match="--init-from"):
            first_state(chosen, model, start=given)
