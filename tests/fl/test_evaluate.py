"""The accuracies of a hand-worked case, and what must not change them."""

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest

from minifl.fl import evaluate as module
from minifl.fl.evaluate import evaluate, predict, test_record
from minifl.models import MLP, Arrangement
from minifl.params import Spec


class Brightness:
    """A model whose logits are the image's channels: the brightest channel is the predicted class."""
    num_classes = 4
    spec = statistics = Spec(())

    def forward(self, p, x):
        return x[:, :, 0, 0, :] * 255, None


def images_of(classes):
    """Images (M, 1, 1, 4) that `Brightness` takes for these classes, all logits 0 or 200."""
    return (np.eye(4)[np.asarray(classes)] * 200).astype(np.uint8)[:, None, None, :]


# ten examples of classes 0, 1, 2; of class 3 there is none
LABELS = np.array([0, 0, 0, 0, 1, 1, 1, 2, 2, 2])
PREDICTED = [0, 0, 0, 1, 1, 3, 3, 2, 2, 0]                                                # right: 3/4, 1/3, 2/3
CLIENTS = [np.array(part, int) for part in ([0, 1, 2, 3, 4, 7], [], [5, 6], [8], [9])]    # 5/6, -, 0/2, 1/1, 0/1
P = {"nothing": np.zeros((1, 0))}   # what `Brightness` is made of


def test_by_hand():
    result = evaluate(Brightness(), [P], images_of(PREDICTED), LABELS, CLIENTS)
    assert result["accuracy"] == pytest.approx(6 / 10, abs=1e-15)
    assert result["client_accuracy"] == [5 / 6, None, 0, 1, 0]
    assert result["client_mean_accuracy"] == pytest.approx((5 / 6 + 0 + 1 + 0) / 4, abs=1e-15)
    assert result["class_accuracy"] == pytest.approx([3 / 4, 1 / 3, 2 / 3, None])
    # a right answer costs log(1 + 3 exp(-200)) = 0, a wrong one 200 more
    assert result["test_loss"] == pytest.approx(4 * 200 / 10, rel=1e-12)
    assert set(result) == {"accuracy", "client_mean_accuracy", "client_accuracy", "class_accuracy", "test_loss"}


def test_numbers_are_plain_python_for_the_record():
    result = evaluate(Brightness(), [P], images_of(PREDICTED), LABELS, CLIENTS)
    clients = [value for value in result.pop("client_accuracy") if value is not None]
    for value in (*clients, *result.pop("class_accuracy")[:3], *result.values()):
        assert type(value) is float


def test_client_mean_of_clients_of_equal_size_is_the_global_accuracy():
    clients = np.arange(10).reshape(5, 2)
    result = evaluate(Brightness(), [P], images_of(PREDICTED), LABELS, clients)
    assert result["client_mean_accuracy"] == pytest.approx(result["accuracy"], abs=1e-15)


def test_models_that_were_not_tested_are_left_out():
    """Of five clients' models those of clients 0 and 2 were; 0 has all answers of `PREDICTED`, 2 says 0 always."""
    tests = [(np.array(PREDICTED), 800.0), None, (np.zeros(10, int), 1200.0), None, None]
    result = test_record(tests, LABELS, CLIENTS, 4)
    assert result["client_accuracy"] == [5 / 6, None, 0, None, None]
    assert result["client_mean_accuracy"] == pytest.approx(5 / 12, abs=1e-15)
    assert result["accuracy"] == pytest.approx((6 + 4) / 20, abs=1e-15)
    assert result["class_accuracy"] == pytest.approx([(3 + 4) / 8, 1 / 6, 2 / 6, None])
    assert result["test_loss"] == pytest.approx(100, abs=1e-12)


def test_no_client_has_test_examples():
    result = evaluate(Brightness(), [P], images_of(PREDICTED), LABELS, [np.array([], int)] * 3)
    assert result["client_mean_accuracy"] is None and result["accuracy"] == pytest.approx(0.6)
    assert result["client_accuracy"] == [None] * 3


@pytest.fixture(scope="module")
def case():
    rng = np.random.default_rng(0)
    model = MLP(4, (3, 3, 2), (8, 6), Arrangement("ln"))
    images = rng.integers(0, 256, (53, 3, 3, 2), dtype=np.uint8)
    return model, model.spec.views(model.spec.init(0)[None]), images, rng.integers(0, 4, 53)


def test_chunks_change_no_prediction(case):
    reference, loss = predict(*case, chunk=1)
    assert len(np.unique(reference)) > 1 and reference.shape == (53,)
    for chunk in (7, 53, 1000):
        predicted, total = predict(*case, chunk=chunk)
        np.testing.assert_array_equal(predicted, reference)
        assert total == pytest.approx(loss, rel=1e-12)


def test_threads_change_no_bit(case, monkeypatch):
    monkeypatch.setattr(module, "CHUNK_ON_CPU", 10)
    clients = [np.arange(53)]
    with ThreadPoolExecutor(3) as pool:
        model, p, *test_set = case
        assert evaluate(model, [p], *test_set, clients, pool_map=pool.map) == evaluate(model, [p], *test_set, clients)
