"""MOON: weight 0 is FedAvg; the first round of a client has no contrast; what it keeps is where its steps ended."""

import numpy as np
import pytest

from by_hand import LINEAR, close
from declared_values import NOT_NEGATIVE, POSITIVE
from plain import Plain, cosine, softmax_loss, through_network
from small_problem import final, network, problem, run, settings_of

from minifl.fl.algorithms.fedavg import Work
from minifl.fl.algorithms.moon import MOON
from minifl.fl.client import local_work
from minifl.fl.rounds import start

DECLARED = {"moon_weight": (1.0, NOT_NEGATIVE), "moon_tau": (0.5, POSITIVE)}
HARD = {"moon_weight": 0.7, "moon_tau": 0.3}
FEDAVG = {"moon_weight": 0}, {"moon_weight": 0.1}
SGD = [{"moon_weight": 0}]
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}


class Oracle(Plain):
    """Example by example: -log of the positive's part in exp(cos/tau)."""

    def begin(self, settings, model, w, own):
        self.previous = own.get("previous", w)
        return w

    def objective(self, settings, model, theta, x, y, counts, w):
        tau = settings.moon_tau

        def of_outputs(logits, features, embeddings):
            loss, dlogits = softmax_loss(logits, y, settings.label_smoothing)
            dfeature = np.zeros_like(features)
            for n, z in enumerate(features):
                to_server, by_server, _ = cosine(z, self.feature(model, w, x)[n])
                to_previous, by_previous, _ = cosine(z, self.feature(model, self.previous, x)[n])
                up, down = np.exp(to_server / tau), np.exp(to_previous / tau)
                loss += settings.moon_weight * -np.log(up / (up + down)) / len(features)
                dfeature[n] = settings.moon_weight * down / (up + down) / tau * (by_previous - by_server) / len(features)
            return loss, dlogits, dfeature, 0 * embeddings
        return through_network(model, theta, x, of_outputs)

    def feature(self, model, theta, x):
        return model.feature(model.forward(model.spec.views(theta[None]), x[None])[1])[0]

    def kept(self, settings, model, w, answer, state, own):
        return {"previous": answer.theta}


def test_the_term_of_features_by_hand():
    """A hidden layer of weights w maps the example (1, 0) to its first row: z+ = (1, 0), z- = (0, 1), z = (3, 0), tau 1/2:
    cross-entropy log 3 of equal logits, and log(1 + exp(-2))."""
    model = type(LINEAR)(num_classes=3, image_shape=(2,), hidden=(2,))

    def theta(row):
        blocks = {"dense1.weight": [[row, (0, 0)]], "classifier.weight": np.zeros((1, 2, 3))}
        return np.concatenate([np.ravel(blocks[entry.name]) for entry in model.spec.entries])[None]

    work = Work(model=model, w=theta((1.0, 0.0)), server={}, own={"previous": theta((0.0, 1.0))}, counts=None, x=None, y=None,
                active=None, steps=None, lr=None)
    loss, gradient, _ = MOON().gradient(work, theta((3.0, 0.0)), np.array([[[1.0, 0.0]]]), np.array([[0]]))
    close(loss, [np.log(3) + np.log1p(np.exp(-2))])
    rows = model.spec.views(gradient)["dense1.weight"][0]
    close(rows, [[0, 0], [0, 0]])     # the ReLU of 0 lets nothing through: the second feature cannot be pushed down


@pytest.mark.parametrize("norm", ["ln", "bn"])
def test_before_its_first_round_a_client_has_no_contrast(norm):
    """Its previous model is then the server's: the term is log 2, without a gradient."""
    moon, fedavg = (run(settings_of(name, rounds=1, norm=norm), network(norm), *problem())[0] for name in ("moon", "fedavg"))
    np.testing.assert_allclose(moon[0].w, fedavg[0].w, rtol=0, atol=1e-15)
    assert moon[1]["train_loss"] == pytest.approx(fedavg[1]["train_loss"] + np.log(2), rel=1e-14)
    assert np.abs(final("moon", rounds=2) - final("fedavg", rounds=2)).max() > 1e-3


def test_a_client_keeps_where_its_own_steps_ended_with_batch_norms_of_its_own():
    for options in ({}, {"norm": "bn", "bn_stats": "local"}):
        settings, model, (data, partition) = settings_of("moon", rounds=1, **options), network(options.get("norm", "ln")), problem()
        begin = start(settings.method(), model.spec.init(3), model.statistics.init(3))
        theta, _, _, kept, _ = local_work(settings, model, settings.method(), data, partition, begin, [0, 3])
        assert kept["previous"].tobytes() == theta.tobytes()
