"""Local steps of one client, against plain loops."""

import json
from dataclasses import replace

import numpy as np
import pytest

from handmade import TINY, cell_of, put, small_embedded

from minifl.blas import one_thread
from minifl.errors import InputError
from minifl.fl.batches import local_batches
from minifl.fl.diagnostics import probe
from minifl.models import loss_and_grad
from minifl.paper import STUDIES, collapse
from minifl.paper.naming import run_name
from minifl.paper.study import cells
from minifl.runs import provenance
from minifl.runs.run import split, train
from minifl.runs.settings import settings_for

PAPER = {name: STUDIES[name].paper for name in ("figure2", "figure3")}


@pytest.fixture(scope="module")
def data():
    return small_embedded()


@pytest.fixture(scope="module")
def settings():
    return settings_for("embedded", {"width": 0.1, "batch_size": 8, "seed": 3, "lr": 0.004})


@pytest.fixture(scope="module")
def theta(settings, data):
    """Parameters that tell some of the classes apart: after 150 steps on all of them."""
    model = settings.network(10, (32, 32, 3))
    theta = model.spec.init(1).astype(np.float32)[None]
    for step in range(150):
        x, y = local_batches(data.x_train, data.y_train, np.arange(400), 0, step, 0, steps=1, batch_size=32,
                             augment="none")
        theta -= np.float32(0.1) * loss_and_grad(model, theta, x, y)[1]
    return theta[0]


def stepped(settings, data, theta, norm, client, steps):
    """Plain SGD: (model, parameters after so many steps, loss of the batch after them)."""
    model = replace(settings, norm=norm).network(10, (32, 32, 3))
    theta = theta.copy()
    own = np.flatnonzero(data.y_train == client)
    for step in range(steps + 1):
        x, y = local_batches(data.x_train, data.y_train, own, settings.seed, step, client, steps=1, batch_size=8,
                             augment="crop-flip")
        assert (y == client).all()
        loss, g, _ = loss_and_grad(model, theta[None], x, y)
        if step == steps:
            return model, theta, loss[0]
        theta -= np.float32(settings.lr) * g[0]


def logits_of(model, theta, images):
    p = model.spec.views(theta[None])
    return np.concatenate([model.forward(p, image[None, None].astype(np.float32) / 255)[0][0] for image in images])


def test_overfitting_against_plain_loops(settings, data, theta):
    found = collapse.overfitting(settings, data, theta)
    wanted = {"pre-trained": stepped(settings, data, theta, "none", 0, 0),
              "vanilla": stepped(settings, data, theta, "none", 0, 5), "FN": stepped(settings, data, theta, "fn", 0, 5)}
    assert found.keys() == wanted.keys() == PAPER["figure2"].keys()
    for label, (model, after, _) in wanted.items():
        right = {c: [] for c in range(10)}
        for c, row in zip(data.y_test.tolist(), logits_of(model, after, data.x_test)):
            right[c].append(int(row.argmax()) == c)
        assert found[label] == pytest.approx([np.mean(right[c]) for c in range(10)], rel=1e-12)
    assert np.count_nonzero(found["vanilla"]) > 3 and len(set(map(tuple, found.values()))) == 3


def test_both_networks_begin_with_the_same_predictions(settings, data, theta):
    plain, fn = (replace(settings, norm=norm).network(10, (32, 32, 3)) for norm in ("none", "fn"))
    assert collapse._of_classes(plain, theta, data) == collapse._of_classes(fn, theta, data)


def test_nothing_of_the_local_steps_is_left_in_what_they_began_with(settings, data, theta):
    before = theta.copy()
    collapse.overfitting(settings, data, theta)
    np.testing.assert_array_equal(theta, before)


def test_features_against_plain_loops(settings, data, theta, monkeypatch):
    monkeypatch.setattr(collapse, "MARKS", (0, 2, 5))
    found = collapse.features(settings, data, theta)
    chosen = probe(data.y_test, 10, settings.seed)[::2]
    assert np.bincount(data.y_test[chosen]).tolist() == [10] * 10
    for label, norm in (("vanilla", "none"), ("FN", "fn")):
        assert [look["step"] for look in found[label]] == [0, 2, 5]
        for look in found[label]:
            model, after, loss = stepped(settings, data, theta, norm, 1, look["step"])
            p = model.spec.views(after[None])
            w = p["classifier.weight"][0].astype(float)
            assert look["classifier_norms"] == pytest.approx([np.linalg.norm(w[:, c]) for c in range(10)], rel=1e-5)
            assert look["loss"] == pytest.approx(float(loss), rel=1e-5)
            g = []
            for i in chosen:
                _, cache = model.forward(p, data.x_test[i][None, None].astype(np.float32) / 255)
                g.append(model.feature(cache)[0, 0].astype(float))
            g = np.array(g)
            lengths = [np.linalg.norm(row) for row in g]
            assert look["feature_norms"] == pytest.approx(lengths[::5], rel=1e-5) and len(lengths[::5]) == 20
            for name, matrix in (("singular_values", g), ("direction_singular_values", g / np.array(lengths)[:, None])):
                squares = np.linalg.eigvalsh(matrix.T @ matrix)[::-1][:len(look[name])]
                assert look[name] == pytest.approx(np.sqrt(np.maximum(squares, 0)), rel=1e-4, abs=1e-4 * look[name][0])
    assert found["FN"][0]["feature_norms"] == pytest.approx([len(w) ** 0.5] * 20, rel=1e-4)      # sqrt(d)
    assert found["vanilla"][0]["classifier_norms"] == found["FN"][0]["classifier_norms"]


def test_a_network_whose_features_are_all_zero(settings, data, theta):
    model = settings.network(10, (32, 32, 3))
    found = collapse._look(model, settings, data, 0 * theta, np.arange(10), 0)
    assert found["singular_values"] == found["direction_singular_values"] == [0] * len(found["singular_values"])
    assert json.loads(json.dumps(found, allow_nan=False)) == found


# ---- of runs

def study(name, **base):
    return TINY._replace(name=name, kind="closeup", rows={"one class": {"setting": "oneclass"}}, columns={"": {}},
                         paper=PAPER[name], base={**TINY.base, "data": "embedded", "lr": 0.3, **base}, rounds=1)


def test_the_files_of_measurements(tmp_path):
    for name in ("figure2", "figure3"):
        own = study(name)
        found = collapse.starts(own, cells(own, seeds=[0, 4]), tmp_path)
        runs = [(f"{name}-{run_name(s)}.json", tmp_path / run_name(s)) for s in cells(own, seeds=[0, 4])[0].settings]
        initial = [(f"{name}-seed{seed}.json", None) for seed in (0, 4)]
        assert [(file.name, run) for _, _, run, file in found] == (runs if name == "figure2" else initial + runs)
        assert {file.parent for *_, file in found} == {tmp_path}
        if name == "figure3":
            assert [label for label, *_ in found] == ["initialization"] * 2 + ["one class"] * 2


def test_the_initialization_of_other_data_has_a_file_of_its_own(tmp_path):
    own = STUDIES["figure3"]
    names = {data: collapse.starts(own, cells(own, data=data), tmp_path)[0][3].name for data in (None, "embedded")}
    assert names == {None: "figure3-seed0.json", "embedded": "figure3-embedded-seed0.json"}


def test_a_longer_run_has_another_model(tmp_path):
    own = study("figure2")
    longer = replace(cells(own)[0].settings[0], rounds=20)
    put(tmp_path, longer, [0.1] * 20, every=1)
    (_, settings, run, file), = collapse.starts(own, cells(own), tmp_path)
    assert run == tmp_path / run_name(settings) and "rounds1-" in file.name


def test_a_measurement_begins_with_the_models_of_the_run(tmp_path, data, monkeypatch):
    monkeypatch.setattr(provenance, "_commit", lambda: "a commit")
    monkeypatch.setattr(collapse, "MARKS", (0, 1))
    own = study("figure3")
    (_, settings, _, _), (_, _, run, file) = collapse.starts(own, cells(own), tmp_path)
    for _ in train(settings, data, split(settings, data), run):
        pass
    model = settings.network(10, (32, 32, 3))
    local = replace(settings, lr=0.05, batch_size=32, augment="crop-flip")      # defaults, not the run's
    begun = {None: model.spec.init(settings.seed).astype(np.float32)}
    with np.load(run / "model.npz") as saved:
        blocks = {name: saved[name][None] for name in saved}
        begun[run] = model.spec.flatten(blocks, like=np.zeros((1, 1), np.float32))[0]
    for start, theta in begun.items():
        found = collapse.measure(own, settings, start, data)
        with one_thread():      # as `measure` does, also where NumPy was imported before minifl
            assert {label: found[label] for label in ("vanilla", "FN")} == collapse.features(local, data, theta)
        assert found["begins"] == (start.name if start else "initialization")
        assert (found["lr"], found["batch_size"], found["classes"][0]) == (0.05, 32, "disc")
        collapse.save(file, found)
        held = collapse.read(file)
        assert {name: held[name] for name in found} == found and held["commit"] == "a commit"
    two = collapse.measure(study("figure2"), settings, run, data)
    assert {name: two[name] for name in PAPER["figure2"]} == collapse.overfitting(local, data, begun[run])


def test_a_run_without_its_model(tmp_path, data):
    own = study("figure2")
    (_, settings, run, file), = collapse.starts(own, cells(own), tmp_path)
    put(tmp_path, settings, [0.1])
    with pytest.raises(InputError, match="model.npz does not exist: .* only its record was kept"):
        collapse.measure(own, settings, run, data)


def test_reading(tmp_path):
    assert collapse.read(tmp_path / "none.json") is None
    (tmp_path / "damaged.json").write_text("{")
    with pytest.raises(InputError, match="damaged.json cannot be read"):
        collapse.read(tmp_path / "damaged.json")


def test_clients_and_steps_of_the_paper():
    """The paper's Figure 2: five steps on class 0. Figure 3: client 1 alone, 20 images."""
    assert (collapse.STEPS, collapse.CLIENT_OF_2, collapse.CLIENT_OF_3) == (5, 0, 1)
    assert cell_of(STUDIES["figure2"], "one-class FedAvg").settings[0].norm == "none"
