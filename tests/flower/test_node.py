"""What a node does, without Flower."""

import json
from dataclasses import asdict

import numpy as np
import pytest

from minifl.data.registry import load
from minifl.data.table import partition_hash
from minifl.errors import InputError
from minifl.fl.client import local_work
from minifl.fl.rounds import State
from minifl.flower import node
from minifl.runs.run import first_state, split
from minifl.runs.settings import settings_for

CHOSEN = {"num_clients": 5, "setting": "disjoint", "norm": "fn", "local_steps": 2, "width": 0.05, "batch_size": 4}


def task_of(data_dir, **chosen):
    """(settings, Task) of a run."""
    settings, dataset = settings_for("cifar10", CHOSEN | chosen), load("cifar10", data_dir)
    partition = split(settings, dataset)
    return settings, node.Task(json.dumps(asdict(settings)), "run", dataset.sha256, partition_hash(partition.counts))


def test_every_client_is_on_one_node():
    for clients in (1, 2, 5, 12):
        for nodes in range(1, clients + 1):
            shares = [node.clients_of(i, nodes, clients) for i in range(nodes)]
            assert sorted(sum(shares, [])) == list(range(clients)) and all(shares)


@pytest.mark.parametrize("field, message", [("data", "other data than the server"),
                                            ("partition", "another partition than the server")])
def test_other_data_or_another_partition_is_refused(field, message, data_dir, tmp_path):
    _, task = task_of(data_dir)
    with pytest.raises(InputError, match=message):
        node.come_in(task._replace(**{field: "0" * 64}), None, data_dir, tmp_path, 1)


def test_settings_that_are_none_are_refused(data_dir, tmp_path):
    _, task = task_of(data_dir)
    with pytest.raises(InputError, match="unknown setting"):
        node.come_in(task._replace(settings=json.dumps({"data": "cifar10", "evil": 1})), None, data_dir, tmp_path, 1)


def test_the_work_is_that_of_the_loop_and_does_not_depend_on_the_process(data_dir, tmp_path):
    settings, task = task_of(data_dir, algorithm="scaffold")
    here = node.come_in(task, None, data_dir, tmp_path, 2)
    state = first_state(settings, here.model)
    job = node.Job(0, [1, 4], [0, 0], 0, [1, 4])
    first = node.train(here, job, state.w, state.server, state.statistics)
    again = node.train(node.come_in(task, None, data_dir, tmp_path / "elsewhere", 1), job, state.w, state.server,
                       state.statistics)
    _, _, message, _, losses = local_work(settings, here.model, here.method, here.dataset, here.partition, state,
                                          [1, 4])
    for outcome in (first, again):
        assert not outcome.trouble and list(outcome.replies) == [1, 4]
        for i, reply in enumerate(outcome.replies.values()):
            np.testing.assert_array_equal(reply.message["update"], message["update"][i])
            np.testing.assert_array_equal(reply.message["control"], message["control"][i])
            assert reply.loss == losses[i] and len(reply.tested) == 2
    assert len(list((tmp_path / "run").iterdir())) == 2


def test_the_next_round_begins_with_what_was_kept(data_dir, tmp_path):
    settings, task = task_of(data_dir, algorithm="scaffold")
    here = node.come_in(task, None, data_dir, tmp_path, 1)
    state = first_state(settings, here.model)
    kept = node.train(here, node.Job(0, [2], [0], 0, []), state.w, state.server, state.statistics).replies[2].kept
    second = node.train(here, node.Job(1, [2], [1], 0, []), state.w, state.server, state.statistics).replies[2]
    expected = local_work(settings, here.model, here.method, here.dataset, here.partition,
                          State(1, state.w, state.server, {2: kept}, state.statistics), [2])[2]
    np.testing.assert_array_equal(second.message["update"], expected["update"][0])
    forgetful = node.train(here, node.Job(1, [2], [0], 0, []), state.w, state.server, state.statistics).replies[2]
    assert (forgetful.message["update"] != expected["update"][0]).any()


def test_one_clients_trouble_is_not_the_others(data_dir, tmp_path):
    settings, task = task_of(data_dir, algorithm="scaffold")
    here = node.come_in(task, None, data_dir, tmp_path, 1)
    state = first_state(settings, here.model)
    outcome = node.train(here, node.Job(4, [0, 1], [3, 0], 0, []), state.w, state.server, state.statistics)
    assert list(outcome.replies) == [1] and list(outcome.trouble) == [0] and not outcome.diverged
    assert "what client 0 keeps was lost" in outcome.trouble[0]


def test_a_loss_that_is_not_finite_is_said(data_dir, tmp_path):
    settings, task = task_of(data_dir, norm="none")
    here = node.come_in(task, None, data_dir, tmp_path, 1)
    state = first_state(settings, here.model)
    outcome = node.train(here, node.Job(0, [0, 1], [0, 0], 0, []), state.w + np.float32(1e30), {}, state.statistics)
    assert not outcome.replies and outcome.diverged == [0, 1] and "round 1" in outcome.trouble[1]
