"""What may come from a client, known before any has worked."""

import numpy as np
import pytest

from minifl.data.registry import load
from minifl.fl.algorithms import ALGORITHMS
from minifl.fl.client import local_work
from minifl.flower import replies
from minifl.flower.replies import Refused
from minifl.runs.run import first_state, split
from minifl.runs.settings import settings_for

SMALL = {"num_clients": 3, "setting": "disjoint", "local_steps": 2, "width": 0.05, "batch_size": 4}
CASES = {name: {"algorithm": name} for name in ALGORITHMS} | {
    "scaffold, option I": {"algorithm": "scaffold", "scaffold_option": "I"},
    "batch norm": {"norm": "bn"}, "batch norm that stays": {"norm": "bn", "bn_stats": "local", "algorithm": "scaffold"},
    "fednova, batch norm": {"norm": "bn", "algorithm": "fednova"}}


@pytest.mark.parametrize("chosen", CASES.values(), ids=CASES)
def test_the_form_is_that_of_a_real_message(chosen, data_dir):
    settings, dataset = settings_for("cifar10", SMALL | chosen), load("cifar10", data_dir)
    model, method = settings.network(10, (32, 32, 3)), settings.method()
    state = first_state(settings, model)
    _, _, message, _, _ = local_work(settings, model, method, dataset, split(settings, dataset), state, [1])
    found = {name: (sent[0].shape, sent[0].dtype) for name, sent in message.items()}
    assert replies.expected(settings, model, method, state, 10) == found


def checked(message, loss=1.0, tested=None, method="fedavg", **options):
    form = {name: (array.shape, array.dtype) for name, array in message.items()}
    return replies.checked(message, form, loss, tested, method=ALGORITHMS[method](), **{"test_own": False} | options)


UPDATE = np.array([3, 4], np.float32)      # of length 5


def test_what_is_right_passes():
    reply = checked({"update": UPDATE}, clip_update=5.0, tested=(0.5, None), test_own=True)
    assert reply.message["update"] is UPDATE and reply.loss == 1.0 and reply.tested == (0.5, None) and reply.kept == {}
    assert checked({"update": UPDATE}, tested=(0.5, 0.25)).tested is None      # nobody asked for it


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("name", ["update", "square"])
def test_no_number_may_be_infinite(bad, name):
    message = {"update": UPDATE.copy(), "square": np.float32(1)}
    message[name] = np.where(np.arange(np.size(message[name])) == 0, np.float32(bad), message[name]).reshape(
        np.shape(message[name]))
    with pytest.raises(Refused, match=f"1 of the .* numbers of {name} are not finite"):
        checked(message)


@pytest.mark.parametrize("loss", [float("nan"), float("inf"), None, 1, "1", [1.0], True])
def test_the_loss_is_a_finite_number(loss):
    with pytest.raises(Refused, match="its loss is"):
        checked({"update": UPDATE}, loss=loss)


@pytest.mark.parametrize("tested", [None, (0.5,), (1.5, 0.5), (-0.1, None), (None, "x"), (float("nan"), 0.5),
                                    [0.5, 0.5]])
def test_accuracies_are_from_0_to_1(tested):
    with pytest.raises(Refused, match="accuracies of its own model"):
        checked({"update": UPDATE}, tested=tested, test_own=True)


def test_the_length_is_that_of_the_whole_update():
    with pytest.raises(Refused, match="has the length 5, more than --clip-update 4.99"):
        checked({"update": UPDATE}, clip_update=4.99)
    nova = {"direction": UPDATE, "steps": np.float32(10)}
    assert checked(nova, method="fednova", clip_update=50.0)
    with pytest.raises(Refused, match="has the length 50"):
        checked(nova, method="fednova", clip_update=49.0)


def test_a_length_beyond_float32_is_not_taken_for_small():
    huge = np.full(4, 3e38, np.float32)
    with pytest.raises(Refused, match=r"has the length 6e\+38"):
        checked({"update": huge}, clip_update=1e38)
