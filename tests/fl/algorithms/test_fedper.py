"""FedPer: nothing personal is FedAvg, everything is training alone; whose layers are where, and what is tested."""

import numpy as np
import pytest

from plain import Plain, average
from small_problem import batch, difference, final, network, problem, run, settings_of

from minifl.fl import statistics
from minifl.fl.evaluate import predict
from minifl.models import CNN, loss_and_grad

DECLARED = {"personal_layers": (1, ((0, 1, 10**6), (-1, 0.0, 1.5)))}
HARD = {"personal_layers": 2}
FEDAVG = {"personal_layers": 0}, {"personal_layers": 1}
TRAJECTORIES = {"clipped": ("clipped", HARD, "fn")}


def personal(settings, model):
    """(P,) bool: the parameters from the personal_layers-th last weight on."""
    mask, layers = np.zeros(model.spec.size, bool), 0
    for entry in reversed(model.spec.entries):
        if layers < settings.personal_layers:
            mask[model.spec.slices[entry.name]] = True
            layers += entry.name.endswith(".weight")
    return mask


class Oracle(Plain):

    def begin(self, settings, model, w, own):
        theta = w.copy()
        if "layers" in own:
            theta[personal(settings, model)] = own["layers"]
        return theta

    def kept(self, settings, model, w, answer, state, own):
        return {"layers": answer.theta[personal(settings, model)]}

    def server(self, settings, model, w, state, answers, lr, own, new, total):
        return np.where(personal(settings, model), w, average(answers)), state


@pytest.mark.parametrize("layers, blocks", [
    (0, []), (1, ["classifier.weight"]),
    (2, ["dense2.weight", "dense2.bias", "dense2.norm.gain", "dense2.norm.bias", "classifier.weight"])])
def test_the_last_layers_with_what_stands_behind_their_weights(layers, blocks):
    method = settings_of("fedper", personal_layers=layers).method()
    assert list(method.personal_blocks(network())) == blocks
    assert list(settings_of("fedper", personal_layers=4).method().personal_blocks(CNN(4, (16, 16, 1)))) == [
        "conv2.weight", "dense1.weight", "dense2.weight", "classifier.weight"]


def test_with_nothing_shared_every_client_trains_alone():
    data, partition = problem()
    model = network()
    settings = settings_of("fedper", personal_layers=100)
    final_state = run(settings, model, data, partition)[-1][0]
    assert final_state.w.tobytes() == model.spec.init(3).tobytes()
    for k in range(5):
        theta = model.spec.init(3)
        for t in range(settings.rounds):
            x, y = batch(settings, data, partition, t, k)
            for e in range(settings.local_steps):
                theta = theta - 0.1 * loss_and_grad(model, theta[None], x[e][None], y[e][None])[1][0]
        np.testing.assert_allclose(final_state.own[k]["layers"], theta, rtol=0, atol=1e-12)


def test_the_servers_own_layers_never_move_and_the_clients_do():
    model, settings = network(), settings_of("fedper")
    mask = personal(settings, model)
    state = run(settings, model, *problem())[-1][0]
    assert state.w[mask].tobytes() == model.spec.init(3)[mask].tobytes()
    assert difference(state.w[~mask], model.spec.init(3)[~mask]) > 0.01
    assert all(difference(kept["layers"], state.w[mask]) > 0.01 for kept in state.own.values())
    assert difference(state.w, final("fedavg")) > 0.01


def test_a_client_that_comes_late_begins_with_the_servers_layers():
    settings = settings_of("fedper", clients_per_round=2, rounds=1)
    state = run(settings, network(), *problem())[-1][0]
    absent = next(k for k in range(5) if k not in state.own)
    p = statistics.global_model(settings, network(), state, absent)
    assert p["classifier.weight"].tobytes() == network().spec.views(network().spec.init(3)[None])["classifier.weight"].tobytes()


@pytest.mark.parametrize("norm, options", [("ln", {}), ("bn", {"bn_stats": "local"}), ("bn", {})])
def test_accuracies_are_those_of_the_clients_models(norm, options):
    """The server's base, the client's layers: each on its own part, and the mean of them on the whole test set."""
    data, partition = problem()
    model = network(norm)
    settings = settings_of("fedper", norm=norm, eval_every=1, local_eval_every=1, rounds=2, **options)
    state, record = run(settings, model, data, partition)[-1]
    whole, own = [], []
    for k in range(5):
        theta = state.w.copy()
        theta[personal(settings, model)] = state.own[k]["layers"] if not options else theta[personal(settings, model)]
        views = model.spec.views(theta[None]) | statistics.global_model(settings, model, state, k)
        if not options:     # batch norms of their own are FedBN's, and tested there
            assert all((views[name] == block).all() for name, block in model.spec.views(theta[None]).items())
        right = predict(model, views, data.x_test, data.y_test)[0] == data.y_test
        whole.append(right.mean())
        own.append(right[partition.test[k]].mean())
    assert record["accuracy"] == pytest.approx(np.mean(whole)) and record["client_accuracy"] == pytest.approx(own)
    assert record["client_mean_accuracy"] == pytest.approx(np.mean(own))
    assert len(record["local_own_accuracy"]) == 5


def test_models_are_saved_with_each_clients_layers_and_read_again():
    settings, model = settings_of("fedper", rounds=2), network()
    state = run(settings, model, *problem())[-1][0]
    blocks = statistics.saved(settings, model, state, 5)
    assert {name: array.shape for name, array in blocks.items()} == statistics.saved_shapes(settings, model, 5)
    assert blocks["clients/classifier.weight"].shape == (5, 6, 4)
    for ours, again in zip(statistics.global_models(settings, model, state, 5), statistics.restored(blocks, 5, np), strict=True):
        assert {name: array.tobytes() for name, array in ours.items()} == {name: a.tobytes() for name, a in again.items()}
