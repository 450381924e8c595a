"""A Grid of Flower in this process: messages go straight to the ClientApp, and a federation takes half a second.

It serves the tests of the strategy, and lets them do to nodes and replies what happens on a real network.
"""

import itertools

import numpy as np
import pytest

pytest.importorskip("flwr", reason="Flower is not installed: pip install -e '.[flower]'")

from flwr.app import Array, ArrayRecord, Context, Error, Message, RecordDict
from flwr.proto.node_pb2 import NodeInfo
from flwr.serverapp import Grid
from flwr.supercore.task_identity import TaskIdentity

from minifl.data.registry import load
from minifl.data.table import read_csv, write_csv
from minifl.flower import client, federate, server
from minifl.flower.nodes import Terms
from minifl.runs import record
from minifl.runs.run import split, train
from minifl.runs.settings import settings_for

NUMBERS = itertools.count(1)
SMALL = {"data": "cifar10", "rounds": 3, "num_clients": 3, "setting": "disjoint", "norm": "fn", "local_steps": 2,
         "width": 0.05, "batch_size": 4, "eval_every": 1, "local_eval_every": 2}


class InProcess(Grid):
    """The nodes 0 .. count-1, node ids 100 and on.

    there    (node id, message) -> whether it answers at all; None: yes
    tamper   (node id, reply) -> the reply that arrives; None: as it is
    """

    def __init__(self, count, data_dir, state_dir, *, there=None, tamper=None, names=None):
        TaskIdentity.run_id, TaskIdentity.node_id, TaskIdentity.task_id = 1, 1, 1
        self.there, self.tamper, self.sent = there, tamper, []
        self.names = names or {}
        self.contexts = {}
        for i in range(count):
            self.add(100 + i, {"partition-id": i, "num-partitions": count, "data-dir": str(data_dir),
                               "state-dir": str(state_dir)})

    def add(self, node, config):
        """A node joins."""
        self.contexts[node] = Context(run_id=1, node_id=node, node_config=config, state=RecordDict(), run_config={})

    def leave(self, node):
        """A node is gone."""
        del self.contexts[node]

    def get_node_ids(self):
        return list(self.contexts)

    def get_nodes(self):
        return [NodeInfo(node_id=node, name=self.names.get(node, "")) for node in self.contexts]

    def send_and_receive(self, messages, *, timeout=None):
        """Replies in the reverse order of the messages: arrival must not matter."""
        replies = []
        for message in messages:
            node = message.metadata.dst_node_id
            message.metadata.__dict__["_message_id"] = f"message {next(NUMBERS)}"
            self.sent.append(message)
            if self.there and not self.there(node, message):
                continue
            try:
                reply = client.app(message, self.contexts[node])
            except Exception as error:      # as Flower answers for an app that raises
                reply = Message(Error(code=1, reason=f"{type(error).__name__}: {error}"), reply_to=message)
            replies.append(self.tamper(node, reply) if self.tamper else reply)
        return replies[::-1]

    def set_run(self, run):
        raise NotImplementedError

    run = property(set_run)
    create_message = push_messages = pull_messages = set_run


def begun(out, data_dir, given=None, start=None, **chosen):
    """A run directory that `federate` would begin; returns settings, data set and partition, too."""
    chosen = SMALL | chosen
    dataset = load(chosen["data"], data_dir)
    settings = settings_for(chosen["data"], chosen)
    partition = split(settings, dataset, given)
    federate.begin(settings, dataset, partition, out, nodes=2, wait=1, timeout=9, clip_update=None, tls=False,
                   start=start)
    return settings, dataset, partition


def terms(**changed):
    """How the federation is run."""
    return Terms(**{"nodes": 2, "wait": 0.0, "timeout": 9.0, "clip_update": None, "named_nodes": False} | changed)


def served(out, data_dir, grid=None, **changed):
    """Do the run directory `out` with the nodes of a grid; returns the grid."""
    grid = grid or InProcess(2, data_dir, out / federate.CLIENTS)
    server.serve(grid, out, data_dir, terms(**changed))
    return grid


def same(one, other):
    """Whether two run directories hold the same rounds, byte for byte, and the same model."""
    assert (one / record.ROUNDS).read_text(encoding="utf-8") == (other / record.ROUNDS).read_text(encoding="utf-8")
    a, b = np.load(one / record.MODEL), np.load(other / record.MODEL)
    assert a.files == b.files
    for name in a.files:
        np.testing.assert_array_equal(a[name], b[name], err_msg=name)
    return True


def trained(out, settings, dataset, partition):
    """The run of the same settings in this process."""
    for _ in train(settings, dataset, partition, out):
        pass
    return out


def changed_array(reply, name, change):
    """The reply with the array of that name changed by a function of the numpy array."""
    arrays = reply.content["arrays"]
    others = {key: value for key, value in arrays.items() if key != name}
    reply.content["arrays"] = ArrayRecord(others | {name: Array(change(arrays[name].numpy().copy()))})
    return reply


__all__ = [*(name for name in dir() if name[0] != "_"), "read_csv", "write_csv"]
