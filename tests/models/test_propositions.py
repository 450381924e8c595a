"""The paper's Propositions 1 and 2: norms that can be left out without any change.

    Proposition 1   n after every activation    =  n after the last one only
    Proposition 2   n_MV after every activation =  s after the inner ones, n_MV after the last

Both need a scale-equivariant network: activations that are (leaky) ReLU and no biases after the first layer. Residual
networks are in test_resnet.py.
"""

from dataclasses import replace

import numpy as np
import pytest

from minifl.gradcheck.networks import draw, train
from minifl.models import CNN, MLP, Arrangement, loss_and_grad

NETWORKS = {"mlp": MLP(4, (3, 4, 2), (12, 10, 8)), "cnn": CNN(4, (16, 18, 2), (4, 6), (12, 8))}
PAIRS = {"proposition 1": ("fn-all", "fn"), "proposition 2": ("ln", "ln-reduced")}

every_network = pytest.mark.parametrize("network", NETWORKS.values(), ids=NETWORKS)
every_pair = pytest.mark.parametrize("pair", PAIRS.values(), ids=PAIRS)
every_activation = pytest.mark.parametrize("activation", ["relu", "leaky-relu"])


def both(network, pair, **choices):
    """The network in two arrangements, and a common draw of theta, images and labels."""
    models = [replace(network, arrangement=Arrangement(norm, **choices)) for norm in pair]
    return models, draw(models[0], np.random.default_rng(22))


def logits(model, theta, x):
    return model.forward(model.spec.views(theta), x)[0]


def difference(a, b):
    """Relative to the largest number."""
    return np.abs(a - b).max() / np.abs(b).max()


@every_network
@every_pair
@every_activation
@pytest.mark.parametrize("position", ["after", "before"])
def test_the_reduced_network_is_the_same_function_with_the_same_gradient(network, pair, activation, position):
    (full, reduced), (theta, x, labels) = both(network, pair, activation=activation, position=position)
    assert difference(logits(full, theta, x), logits(reduced, theta, x)) < 1e-12
    gradients = [loss_and_grad(model, theta, x, labels)[1] for model in (full, reduced)]
    for part in full.spec.slices.values():
        assert np.abs(gradients[1][:, part]).max() > 1e-6
        assert difference(gradients[0][:, part], gradients[1][:, part]) < 1e-11


@every_network
@every_pair
@every_activation
def test_both_train_to_the_same_parameters(network, pair, activation):
    """50 steps at the paper's learning rate. A far larger one magnifies rounding errors as it would any other
    difference, since n divides by the length of a vector, which a step may bring close to 0."""
    (full, reduced), (theta, x, labels) = both(network, pair, activation=activation)
    trained = [train(model, theta, x, labels, steps=50, lr=0.01) for model in (full, reduced)]
    assert difference(trained[0], theta) > 0.1   # they did move
    assert difference(*trained) < 1e-9


@every_network
@every_pair
def test_a_hidden_bias_breaks_the_equality(network, pair):
    """The negative control: after other scales the same bias weighs differently."""
    (full, reduced), (theta, x, _) = both(network, pair, bias="hidden")
    assert difference(logits(full, theta, x), logits(reduced, theta, x)) > 0.05


@every_network
@every_pair
@pytest.mark.parametrize("other", ["gelu", "elu", "tanh", "softplus"])
def test_another_activation_breaks_the_equality(network, pair, other):
    """Lemma 1: only two straight halves scale."""
    (full, reduced), (theta, x, _) = both(network, pair, activation=other)
    assert difference(logits(full, theta, x), logits(reduced, theta, x)) > 0.05


@every_network
def test_the_pairs_are_not_equal_to_each_other(network):
    """A negative control: another norm at the end, or none, is not the same network."""
    models, (theta, x, _) = both(network, ("fn", "ln", "none"))
    fn, ln, none = (logits(model, theta, x) for model in models)
    assert difference(fn, ln) > 0.05 and difference(none, fn) > 0.05
