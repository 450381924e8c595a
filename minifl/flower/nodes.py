"""Who the nodes of a federation are: Flower gives them random ids, and a new one after every start.

A node that is new is asked for its number, partition-id, and whether it has the run's data. The newest that answers to
a number has it. With keys of nodes a number belongs to the key that is registered under the name node-NUMBER.
"""

import time
from typing import Any, NamedTuple

from flwr.app import ConfigRecord, Message, MessageType, RecordDict

from minifl.flower import packing
from minifl.flower.replies import Refused

PAUSE = 1.0         # seconds between two looks for nodes


class Terms(NamedTuple):
    """How a federation is run."""
    nodes: int                      # how many there are
    wait: float                     # seconds for which they are awaited
    timeout: float                  # seconds after which a round goes on without those that did not answer
    clip_update: float | None       # the longest update that is believed; None: any
    named_nodes: bool               # whether nodes have keys, and are who these are registered for


class Nodes:
    """The nodes that take part. said: the records that every message has; say: (text) -> None, for the log."""

    def __init__(self, terms, said, say):
        self.terms, self.said, self.say = terms, said, say
        self.ids, self.starts = {}, {}              # partition-id -> node id, which start of it
        self.strangers, self.refused = {}, {}       # start, partition-id -> why it takes no part
        self.met = False                            # whether it has looked before

    def why_not(self, number: int) -> str:
        """Why the node of that number is not there, in words."""
        return f"its node {number} is not there" + (f": {self.refused[number]}" if number in self.refused else "")

    def meet(self, grid: Any) -> None:
        """Ask nodes that are new who they are. The first time all are awaited, later only if none is left.

        Raises TimeoutError if none has come at first.
        """
        end = time.monotonic() + self.terms.wait
        while True:
            there = list(grid.get_nodes())
            online = {node.node_id for node in there}
            self.ids = {i: id_ for i, id_ in self.ids.items() if id_ in online}
            known = set(self.ids.values())
            new = [node for node in there if node.node_id not in known and _start(node) not in self.strangers]
            if new:
                self.introduce(grid, new)
            if len(self.ids) >= (1 if self.met else self.terms.nodes):
                break
            if time.monotonic() > end:
                if not self.ids and not self.met:
                    raise TimeoutError(f"no node that takes part has come within {self.terms.wait:g} s; "
                                       + "; ".join(self.strangers.values()))
                break
            time.sleep(PAUSE)
        self.met = True

    def introduce(self, grid: Any, new: Any) -> None:
        """Who are these nodes? The newest that answers to a number has it."""
        content = RecordDict(self.said)
        messages = [Message(content, node.node_id, MessageType.QUERY) for node in new]
        answers = list(grid.send_and_receive(messages, timeout=self.terms.wait))
        for node, message in zip(new, messages):
            reply = next((r for r in answers if r.metadata.reply_to_message_id == message.metadata.message_id), None)
            try:
                if reply is None or reply.has_error():
                    raise Refused("it did not answer who it is" + (f" ({reply.error.reason})" if reply else ""))
                found = packing.own(reply, packing.NODE, ConfigRecord)
                number = _number_of(found, self.terms, node.name)
                self.refused.pop(number, None)
                if found.get("problem"):
                    self.refused[number] = f"{found['problem']!s:.500}"
                    raise Refused(self.refused[number])
                if number in self.ids:
                    self.strangers[self.starts[number]] = "it was started anew"
                self.ids[number], self.starts[number] = node.node_id, _start(node)
            except Refused as refusal:
                self.strangers[_start(node)] = str(refusal)
                self.say(f"Node {node.node_id} takes no part: {refusal}")


def _start(node):
    """One start of a node: with a key of its own a node has the same id after every start."""
    return node.node_id, node.last_activated_at


def _number_of(found, terms, name):
    """The number of the node that introduced itself so; Refused if this federation has no such node."""
    number, count = (found.get(key) for key in ("partition-id", "num-partitions"))
    if not isinstance(number, int) or not 0 <= number < terms.nodes or count != terms.nodes:
        raise Refused(f"it is partition-id {number!r} of num-partitions {count!r}; this federation has the nodes 0 to "
                      f"{terms.nodes - 1} of {terms.nodes}")
    if terms.named_nodes and name != f"node-{number}":
        raise Refused(f"its key is registered as {name!r}, and it says that it is node-{number}")
    return number
