"""A Strategy of Flower that is the federated loop of minifl/fl/rounds.py, with the clients on nodes.

    configure_train      line_up: who is asked; a message to each node that has some of them
    aggregate_train      the replies are checked, put in the order of the clients, and taken: the method's server step
    configure_evaluate   only where something stays with the clients: their models are tested where they are
    aggregate_evaluate   (the same)
    finish_round         the global model is tested, the round goes into the record and the checkpoint

Replies arrive in any order; added up in the order of the clients they give the bits of the in-process loop. A client
whose node does not answer, or whose reply is refused, was absent: the round is that of the others, and the record says
who and why.
"""

from collections.abc import Callable, Iterable, Iterator
from time import perf_counter
from typing import Any

import numpy as np
from flwr.app import ArrayRecord, ConfigRecord, Message, MessageType, MetricRecord, RecordDict
from flwr.serverapp.strategy import Strategy

from minifl.fl import statistics
from minifl.fl.client import Diverged
from minifl.fl.evaluate import evaluate, test_record
from minifl.fl.participation import looked_at, own_models, whose_models
from minifl.fl.rounds import Reply, due, finite, line_up, of_own_models, take, trained_on
from minifl.flower import replies as rules
from minifl.flower import packing
from minifl.flower.node import Job, clients_of
from minifl.flower.nodes import Nodes
from minifl.flower.replies import Refused
from minifl.runs import checkpoint

KNOWN = "round"     # what the server's State has of a client: the last round that counted, (1,) in w's dtype


class Rounds(Strategy):
    """See above.

    task      Task of the run
    state     State to begin with, `own` as of KNOWN
    keep      (state, line) -> None, called after every round
    terms     Terms (nodes.py)
    folder    the run directory, whose checkpoints say how far back a server may go
    say       (text) -> None: what is worth a line in the log
    """

    def __init__(self, task, settings, model, state, dataset, partition, keep, terms, folder, pool_map, say):
        self.task, self.settings, self.model, self.method = task, settings, model, settings.method()
        self.state, self.dataset, self.partition = state, dataset, partition
        self.keep, self.terms, self.folder, self.pool_map = keep, terms, folder, pool_map
        self.trained, self.weights = trained_on(settings, partition)
        self.form = rules.expected(settings, model, self.method, state, dataset.num_classes)
        self.keeps = bool(statistics.kept_sizes(settings, model, self.method))
        self.nodes = Nodes(terms, self.said(), say)
        self.sent, self.asked, self.looked, self.answered, self.absent = {}, [], [], [], {}
        self.record, self.tested, self.tests, self.begin = {}, [], None, 0.0

    def summary(self) -> None:
        """Nothing: the run directory says what this is."""

    def broadcast(self) -> ArrayRecord:
        """What all nodes get, as an ArrayRecord."""
        server = {name: self.state.server[name] for name in self.method.broadcast}
        return packing.pack({"w": self.state.w, "statistics": self.state.statistics, **server})

    # training

    def configure_train(self, server_round: int, arrays: Any, config: dict, grid: Any) -> list[Message]:
        """The messages of a round; who has no node is absent."""
        self.begin = perf_counter()
        self.asked, self.record = line_up(self.settings, self.trained, self.state.round)
        self.looked = looked_at(self.settings, self.asked) if due(self.settings, self.state.round)[1] else []
        self.nodes.meet(grid)
        return self.messages(arrays, self.asked, MessageType.TRAIN, self.looked)

    def aggregate_train(self, server_round: int, replies: Iterable[Message]) -> tuple:
        """The method's server step with the replies that hold."""
        found, diverged = self.answers(replies, self.reply_of)
        if not found and self.asked and set(diverged) == set(self.asked):
            raise Diverged(f"{self.absent[diverged[0]]} (all {len(diverged)} clients that were asked say so)")
        self.answered = sorted(found)
        self.state, self.tested, _ = take(self.method, self.model, self.state, self.weights, self.answered,
                                          [found[k] for k in self.answered], self.record, self.absent)
        return self.broadcast(), None

    def reply_of(self, k: int, message: Message) -> Reply:
        """The Reply of client k in a node's message; Refused if it is not as it must be."""
        arrays, losses = _parts(k, message)
        tested = losses.get(f"{k}/tested")
        if isinstance(tested, list) and len(tested) == 1 and not len(self.partition.test[k]):
            tested = [*tested, None]
        reply = rules.checked(packing.unpack(arrays, self.form), self.form, losses.get(str(k)),
                              tuple(tested) if isinstance(tested, list) else None, method=self.method,
                              test_own=k in self.looked, clip_update=self.terms.clip_update)
        counted = np.array([self.state.round + 1], dtype=self.state.w.dtype)
        return reply._replace(kept={KNOWN: counted} if self.keeps else {})

    # tests

    def configure_evaluate(self, server_round: int, arrays: Any, config: dict, grid: Any) -> list[Message]:
        """Messages only where every client has a model of its own, to those that are looked at."""
        self.tests = None
        if not own_models(self.settings) or not due(self.settings, self.state.round - 1)[0]:
            return []
        self.tests = {}
        return self.messages(arrays, looked_at(self.settings, range(len(self.partition.train))), MessageType.EVALUATE, [])

    def aggregate_evaluate(self, server_round: int, replies: Iterable[Message]) -> None:
        """What the clients' models say of the test images."""
        if self.tests is not None:
            self.tests, _ = self.answers(replies, self.test_of)
            if self.absent:
                self.record["untested"] = [{"client": k, "reason": self.absent[k]} for k in sorted(self.absent)]

    def test_of(self, k: int, message: Message) -> tuple:
        """(predicted classes (M,), summed loss) of client k; Refused if it is not as it must be."""
        arrays, losses = _parts(k, message)
        predicted = packing.unpack(arrays, {"predicted": ((len(self.dataset.y_test),), np.int64)})["predicted"]
        loss = losses.get(str(k))
        if not isinstance(loss, float) or not np.isfinite(loss):
            raise Refused(f"the loss of its test is {loss!r}, and must be a finite number")
        return predicted, loss

    def finish_round(self, server_round: int, arrays: Any) -> Any:
        """The evaluate_fn of `start`: tests the global model where that is due, and keeps the round."""
        if not server_round:
            return None
        round_ = self.state.round - 1
        test, test_own = due(self.settings, round_)
        self.record["seconds"] = perf_counter() - self.begin
        if test and own_models(self.settings):
            if self.tests:
                clients = len(self.partition.test)
                self.record |= finite(test_record([self.tests.get(k) for k in range(clients)], self.dataset.y_test,
                                                  self.partition.test, self.dataset.num_classes), self.state.round)
                self.record |= whose_models(self.settings, clients)
        elif test:
            models = statistics.global_models(self.settings, self.model, self.state, len(self.partition.test))
            self.record |= finite(evaluate(self.model, models, self.dataset.x_test, self.dataset.y_test,
                                           self.partition.test, pool_map=self.pool_map), self.state.round)
        if test_own:
            self.record |= of_own_models(self.tested, self.asked, self.looked, self.answered)
        self.keep(self.state, self.record)
        return None

    # messages

    def messages(self, arrays: Any, clients: Any, kind: Any, test_own: bool) -> list[Message]:
        """A message to each node with some of the clients; the others are absent."""
        self.absent, self.sent = {}, {}
        oldest = checkpoint.oldest(self.folder)
        clients, out = set(clients), []
        for i in range(self.terms.nodes):
            mine = [k for k in clients_of(i, self.terms.nodes, len(self.partition.train)) if k in clients]
            if i not in self.nodes.ids:
                self.absent |= dict.fromkeys(mine, self.nodes.why_not(i))
            elif mine:
                job = Job(self.state.round, mine, [self.known(k) for k in mine], oldest,
                          [k for k in mine if k in test_own])
                content = RecordDict({packing.ARRAYS: arrays, packing.JOB: packing.pack_fields(job), **self.said()})
                message = Message(content, self.nodes.ids[i], kind, group_id=str(self.state.round + 1))
                self.sent[i] = message, mine
                out.append(message)
        return out

    def said(self) -> dict:
        """The records that every message has: the task, and the partition if no setting makes it."""
        return {packing.TASK: packing.pack_fields(self.task), **packing.pack_partition(self.settings, self.partition)}

    def known(self, k: int) -> int:
        """The last round (from 1) of client k that counted; 0 if none did."""
        return int(self.state.own[k][KNOWN].item()) if k in self.state.own else 0

    def answers(self, replies: Iterable[Message], read: Callable) -> tuple:
        """client -> read(client, message), where that holds; the others are absent. And those that diverged."""
        found, diverged = {}, []
        for clients, message, reason in self.matched(replies):
            for k in clients:
                try:
                    if reason:
                        raise Refused(reason)
                    found[k] = read(k, message)
                except Refused as refusal:
                    self.absent[k] = str(refusal)
                    diverged += [k] if reason is None and k in _diverged(message) else []
        return found, diverged

    def matched(self, replies: Iterable[Message]) -> Iterator:
        """(clients, message, why it is no answer or None) for every node that was asked."""
        by_id = {reply.metadata.reply_to_message_id: reply for reply in replies}
        for i, (message, clients) in self.sent.items():
            reply = by_id.get(message.metadata.message_id)
            if reply is None:
                yield clients, None, f"node {i} did not answer in time"
            elif reply.has_error():
                reason = next(iter(reply.error.reason.strip().splitlines()), "") if reply.error.reason else ""
                yield clients, None, f"node {i} did not answer ({reason[:200] or f'error {reply.error.code}'})"
            else:
                yield clients, reply, None
        self.sent = {}


def _parts(k, message):
    """The arrays of client k in a node's message, and the node's numbers; Refused if it says that there are none."""
    trouble = packing.own(message, packing.TROUBLE, ConfigRecord)
    if str(k) in trouble:
        raise Refused(f"{trouble[str(k)]!s:.500}")
    arrays = packing.own(message, packing.ARRAYS, ArrayRecord)
    return ArrayRecord({name.removeprefix(f"{k}/"): array for name, array in arrays.items() if name.startswith(f"{k}/")}), \
        packing.own(message, packing.LOSSES, MetricRecord)


def _diverged(message):
    """The clients of a node's message whose loss was not finite."""
    record = message.content.get(packing.DIVERGED)
    listed = record.get("clients") if isinstance(record, ConfigRecord) else None
    return listed if isinstance(listed, list) else []
