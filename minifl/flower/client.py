"""The ClientApp: what a node is asked, and what it answers. Flower starts a process for every message.

A node's own configuration (flower-supernode --node-config):

    partition-id, num-partitions   which clients it has: k with k mod num-partitions = partition-id
    data-dir                       folder of its data files; without it MINIFL_DATA, else ./data
    state-dir                      folder of what its clients keep between rounds; without it ./minifl-clients
    workers                        threads over its clients; 1 without it
"""

from pathlib import Path

import numpy as np
from flwr.app import ConfigRecord, Context, Message, MetricRecord, RecordDict
from flwr.clientapp import ClientApp

from minifl.errors import InputError
from minifl.flower import node, packing

app = ClientApp()


@app.query()
def introduce(message: Message, context: Context) -> Message:
    """Who this node is, and whether it has the data of the run."""
    found = {"partition-id": _number(context, "partition-id"), "num-partitions": _number(context, "num-partitions"),
             "problem": ""}
    try:
        _come_in(message, context)
    except InputError as error:
        found["problem"] = str(error)
    return Message(RecordDict({packing.NODE: ConfigRecord(found)}), reply_to=message)


@app.train()
def train(message: Message, context: Context) -> Message:
    """The local work of some clients, from what the server sent."""
    here = _come_in(message, context)
    job, sent = packing.unpack_job(message.content[packing.JOB]), _sent(here, message)
    outcome = node.train(here, job, sent["w"], {name: sent[name] for name in here.method.broadcast},
                         sent["statistics"])
    losses = MetricRecord()
    for k, reply in outcome.replies.items():
        losses[str(k)] = reply.loss
        if reply.tested:        # one number if it has no test examples of its own
            losses[f"{k}/tested"] = [value for value in reply.tested if value is not None]
    return Message(RecordDict({
        packing.ARRAYS: packing.pack({f"{k}/{name}": array for k, reply in outcome.replies.items()
                                for name, array in reply.message.items()}),
        packing.LOSSES: losses,
        packing.TROUBLE: ConfigRecord({str(k): reason for k, reason in outcome.trouble.items()}),
        packing.DIVERGED: ConfigRecord({"clients": outcome.diverged}),
    }), reply_to=message)


@app.evaluate()
def evaluate(message: Message, context: Context) -> Message:
    """The tests of the models of some clients that have batch norms or layers of their own."""
    here = _come_in(message, context)
    sent = _sent(here, message)
    tests, trouble = node.test(here, packing.unpack_job(message.content[packing.JOB]), sent["w"], sent["statistics"])
    return Message(RecordDict({
        packing.ARRAYS: packing.pack({f"{k}/predicted": predicted for k, (predicted, _) in tests.items()}),
        packing.LOSSES: MetricRecord({str(k): loss for k, (_, loss) in tests.items()}),
        packing.TROUBLE: ConfigRecord({str(k): reason for k, reason in trouble.items()}),
    }), reply_to=message)


def _come_in(message, context):
    """The run on this node, from a message and the node's configuration."""
    task = packing.unpack_task(message.content[packing.TASK])
    given = packing.unpack_partition(message.content.get(packing.PARTITION))
    config = context.node_config
    data_dir = config.get("data-dir")
    return node.come_in(task, given, Path(data_dir) if data_dir else None,
                        Path(config.get("state-dir") or "minifl-clients"), int(config.get("workers", 1)))


def _sent(here, message):
    """What the server sent: w (P,), statistics (S,) and what the method broadcasts."""
    size, dtype = here.model.spec.size, np.float32
    form = {"w": ((size,), dtype), "statistics": ((here.model.statistics.size,), dtype)}
    return packing.unpack(message.content[packing.ARRAYS], form | dict.fromkeys(here.method.broadcast, ((size,), dtype)))


def _number(context, name):
    value = context.node_config.get(name)
    return value if isinstance(value, int) and not isinstance(value, bool) else -1
