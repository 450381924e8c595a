"""What a study would cost, against numbers worked out by hand."""

import pytest

from handmade import cell_of, small_embedded

from minifl.paper import STUDIES, cost
from minifl.paper.study import cells
from minifl.runs.settings import settings_for

# The released CNN on 32x32 images: 2 for each multiply-add of two convolutions and three dense layers.
CNN = 2 * (28 * 28 * 64 * 75 + 10 * 10 * 64 * 1600 + 1600 * 384 + 384 * 192 + 192 * 10)


def test_a_cell_by_hand():
    """400 rounds of 10 clients, 10 steps of 32 images, forward and backward; 40 tests of 10 000 images, forward."""
    settings = cell_of(STUDIES["figure4"], "vanilla", rounds=400).settings[0]
    found = cost.cost(settings, 0.001)
    images, tested = 400 * 10 * 10 * 32, 40 * 10_000
    assert found.training_flops == images * 3 * CNN and found.testing_flops == tested * CNN
    assert found.seconds == pytest.approx(0.001 * (images + tested / 3), rel=1e-12)


def training_images(**chosen):
    settings = settings_for("cifar10", {"rounds": 10, "local_eval_every": 0, **chosen})
    return cost.cost(settings, 0.0).training_flops / 3 / CNN


def test_rounds_of_an_epoch():
    """The last batch of an epoch is full, too: the stream goes on (batches.py), so there are 1563 of 32 images."""
    assert training_images(setting="iid", num_clients=1, local_epochs=1) == 10 * 1563 * 32
    assert training_images(setting="iid", num_clients=10, local_epochs=2, batch_size=50) == 10 * 10 * 200 * 50


def test_participation():
    assert training_images(participation=0.5) == training_images(clients_per_round=5) == 10 * 5 * 10 * 32
    assert training_images(participation=0.01) == 10 * 1 * 10 * 32


def test_tests_of_the_model():
    def tests(**chosen):
        return cost.cost(settings_for("cifar10", {"rounds": 10, **chosen}), 0.0).testing_flops / CNN / 10_000
    assert [tests(eval_every=n) for n in (1, 5, 7, 10, 100)] == [10, 2, 2, 1, 1]       # the last round always is


def test_a_plan_needs_no_files_of_the_papers_data(monkeypatch):
    """Others are loaded."""
    assert cost.facts("cifar10", "/nowhere") == (10, (32, 32, 3), 50_000, 10_000)
    monkeypatch.setattr(cost, "load", lambda name, folder: small_embedded(80, 40))
    assert cost.facts("embedded") == (10, (32, 32, 3), 80, 40)
    assert {settings.data for study in STUDIES.values() for cell in cells(study) for settings in cell.settings} == \
        cost.DATA.keys()


def measured_batches(monkeypatch, settings):
    seen = []
    monkeypatch.setattr(cost, "loss_and_grad", lambda model, theta, x, y: seen.append((theta.dtype, x.shape, y.shape)))
    seconds = cost.measure_step(settings)
    assert seconds > 0 and len(seen) == cost.REPEATS and len(set(seen)) == 1
    dtype, x, y = seen[0]
    assert dtype == "float32" and x[0] == 1 and y == x[:2]
    return x[1:]


def test_a_large_network_is_measured_on_a_part_of_its_batch(monkeypatch):
    small, large = (next(cell.settings[0] for cell in cells(STUDIES[name])) for name in ("figure4", "table5"))
    assert measured_batches(monkeypatch, small) == (32, 32, 32, 3)
    batch, *image = measured_batches(monkeypatch, large)
    assert image == [224, 224, 3] and 2 <= batch < 32
    flops = large.network(7, (224, 224, 3)).flops
    assert batch == 2 or 3 * batch * flops <= cost.MOST_FLOPS < 3 * (batch + 1) * flops
    huge = cell_of(STUDIES["figure4"], "centralized").settings[0]
    monkeypatch.setattr(cost, "MOST_FLOPS", 3 * CNN * 100.5)
    assert measured_batches(monkeypatch, huge)[0] == 100


def test_a_measured_step():
    settings = settings_for("cifar10", {"model": "mlp", "width": 0.02, "norm": "bn"})
    assert 0 < cost.measure_step(settings) < 1


def test_which_runs_share_a_measurement():
    one = settings_for("cifar10", {})
    same = settings_for("cifar10", {"lr": 0.5, "seed": 3, "rounds": 7, "setting": "iid", "algorithm": "fedyogi"})
    assert cost.same_network(one) == cost.same_network(same)
    for other in ({"norm": "fn"}, {"width": 0.5}, {"model": "mlp"}, {"batch_size": 8}, {"bias": "hidden"}):
        assert cost.same_network(one) != cost.same_network(settings_for("cifar10", other))
