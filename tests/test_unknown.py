"""A choice between names ends with an error that says which names there are, also where a list of them was made longer."""

import numpy as np
import pytest

from minifl.data import augment, splits
from minifl.errors import InputError
from minifl.fl import local, participation, statistics
from minifl.fl.algorithms.feddecorr import FedDecorr
from minifl.fl.algorithms.scaffold import Scaffold
from minifl.models import arrangement, blocks, build, norms
from minifl.models.vit import ViT


class Chosen:
    """Settings in which everything is called "mine"."""
    local_epochs, batch_size = 1, 4

    def __getattr__(self, name):
        return "mine"


@pytest.fixture
def mine(monkeypatch):
    """Every list of names has one more, as whoever adds a norm or a split of their own would begin."""
    monkeypatch.setitem(norms.NORMS, "mine", norms.Norm("mine", "mine", "mine", "none of the kinds"))


def test_a_norm_of_an_unknown_kind_is_no_batch_norm(mine):
    with pytest.raises(InputError, match="--norm mine: the kind of norm 'mine' is unknown; valid are identity, s, n, mv"):
        build("mlp", 10, (8, 8, 3), arrangement.Arrangement("mine"))
    plain = arrangement.Arrangement("bn")
    x = np.zeros((1, 2, 3))
    for call in (lambda: blocks.normalize(plain, x, {}, "norm1", "mine"),
                 lambda: blocks.normalize_backward(plain, x, None, {}, "norm1", "mine")):
        with pytest.raises(InputError, match="the kind of norm 'mine' is unknown; valid are .* bn"):
            call()


def test_every_kind_that_is_said_to_be_valid_is_one():
    x = np.random.default_rng(0).standard_normal((1, 2, 3, 3, 4))
    assert {kind for norm in norms.NORMS.values() for kind in norm[:3]} == set(norms.KINDS)
    for kind in norms.KINDS:
        y, cache = blocks.normalize(arrangement.Arrangement(), x, {}, "norm1", kind)
        assert blocks.normalize_backward(arrangement.Arrangement(), y, cache, {}, "norm1", kind).shape == x.shape


@pytest.mark.parametrize("call, message", [
    (lambda: splits.label_counts("mine", [10, 10], 2, 0), "--setting 'mine' .* iid, .*dirichlet-balanced"),
    (lambda: augment.augment("mine", np.zeros((2, 4, 4, 3), np.uint8), 0, 0, 0), "--augment 'mine' .* none, crop"),
    (lambda: local.learning_rate(Chosen(), 3), "--lr-schedule 'mine' .* constant, cosine, step"),
    (lambda: participation.batch_sizes(Chosen(), 9), "--last-batch 'mine' .* full, partial"),
    (lambda: participation.client_weights(Chosen(), [9]), "--client-weights 'mine' .* examples, uniform"),
    (lambda: statistics.send(Chosen(), None, FedDecorr(), None, 0, 0), "--bn-stats 'mine' .* global, local, batch"),
    (lambda: Scaffold(scaffold_option="mine"), "--scaffold-option 'mine' .* II, I"),
    (lambda: FedDecorr(decorr_form="mine"), "--decorr-form 'mine' .* published, released"),
    (lambda: ViT(token="mine").plan, "--vit-token 'mine' .* class, mean"),
    (lambda: build("mine", 10, (8, 8, 3)), "--model 'mine' .* cnn, "),
])
def test_what_is_not_known_is_said(mine, call, message):
    with pytest.raises(InputError, match=message):
        call()
