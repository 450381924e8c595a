"""FedExP: updates that agree are FedAvg to the bit; the more they differ, the farther it goes."""

import numpy as np
import pytest

from by_hand import FIRST, a_round, begin, close
from declared_values import NOT_NEGATIVE
from of_methods import trajectory_of
from plain import Plain, average
from small_problem import CLASSES, SHAPE, difference, final, network, problem, run, settings_of

from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.fl.algorithms.fedexp import FedExP

DECLARED = {"fedexp_epsilon": (1e-3, NOT_NEGATIVE)}
HARD = {"fedexp_epsilon": 1e-5}
SGD = [{}]


class Oracle(Plain):

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        n, update = sum(answer.weight for answer in answers), average(answers) - w
        squares = sum(answer.weight / n * sum((answer.theta - w) ** 2) for answer in answers)
        return w + max(1.0, squares / (2 * (sum(update ** 2) + settings.fedexp_epsilon))) * update, state


def one_image(clients, examples):
    """Clients whose examples are all copies of one image, so that their updates agree to the bit."""
    image = np.random.default_rng(4).integers(0, 256, SHAPE, dtype=np.uint8)
    images, labels = np.stack([image] * examples * clients), np.full(examples * clients, 2)
    data = make_dataset("one", images, labels, images, labels, "abcd", "one image")
    counts = np.zeros((clients, CLASSES), np.int64)
    counts[:, 2] = examples
    parts = list(np.arange(len(images)).reshape(clients, examples))
    return data, Partition(counts, counts, parts, parts)


def test_with_aligned_updates_it_is_fedavg_to_the_bit():
    fedexp, fedavg = (run(settings_of(name, augment="none"), network(), *one_image(3, 2))[-1][0].w
                      for name in ("fedexp", "fedavg"))
    assert fedexp.tobytes() == fedavg.tobytes()
    assert difference(fedexp, network().spec.init(3)) > 0.01


def test_it_goes_farther_the_same_way_where_updates_differ():
    w = network().spec.init(3)
    step, fedavg = (final(name, rounds=1) - w for name in ("fedexp", "fedavg"))
    eta = np.linalg.norm(step) / np.linalg.norm(fedavg)
    assert eta > 1.05
    np.testing.assert_allclose(step, eta * fedavg, rtol=0, atol=1e-14)
    floored = final("fedexp", rounds=1, fedexp_epsilon=1e3)     # makes the ratio small
    assert floored.tobytes() == final("fedavg", rounds=1).tobytes()


@pytest.mark.parametrize("kind", ["easy", "hard"])
def test_it_extrapolates_in_the_trajectories(kind):
    """Else its floor of 1 would hide the formula."""
    settings, norm = trajectory_of("fedexp", kind)
    plain, _ = trajectory_of("fedavg", kind)
    ours, reference = (run(each, network(norm), *problem()) for each in (settings, plain))
    first = next(i for i, (_, record) in enumerate(reference) if record["clients"] > 1)
    w = network(norm).spec.init(3)
    assert np.linalg.norm(ours[first][0].w - w) > 1.05 * np.linalg.norm(reference[first][0].w - w)


def test_by_hand():
    method = FedExP(fedexp_epsilon=0.5)
    one = a_round(method, begin(method), [(3, -1), (-2, 2)], examples=(2, 2))
    # squares 10 and 8, mean 9; D = (0.5, 0.5), square 0.5; eta = 9/(2 (0.5 + 0.5)) = 4.5
    close(one.w, [3.25, 4.25])                             # (1, 2) + 4.5 (0.5, 0.5)
    two = a_round(method, one, FIRST)
    # squares 4 and 20, mean 3/4*4 + 1/4*20 = 8; D = (2, -1), square 5; 8/(2*5.5) < 1: eta = 1
    close(two.w, [5.25, 3.25])
    three = a_round(method, two, [(2, 0), (-4, 8)])
    # squares 4 and 80, mean 3 + 20 = 23; D = (0.5, 2), square 4.25; eta = 23/(2*4.75) = 46/19
    close(three.w, [5.25 + 23 / 19, 3.25 + 92 / 19])
