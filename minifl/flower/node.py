"""What a node does: the local work of its clients, with its own data and disk. The code of the in-process loop does it.

A node is a SuperNode with a number, partition-id, among num-partitions of them; it has the clients k with
k mod num-partitions = partition-id. Every message starts a new process, so a Task says all that there is to know.
"""

import json
from pathlib import Path
from typing import Any, NamedTuple

from minifl.backend import Array
from minifl.data.lists import identity
from minifl.data.dataset import Dataset
from minifl.data.partition import Listed, Partition, of_lists
from minifl.data.registry import load
from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.client import Diverged, local_work
from minifl.fl.evaluate import predict
from minifl.fl.parallel import in_order
from minifl.fl.rounds import Reply, State, own_accuracies
from minifl.flower import client_state
from minifl.models.network import Network
from minifl.runs.run import split
from minifl.runs.settings import LISTS, Settings, settings_for


class Task(NamedTuple):
    """What the server says of a run and its data; a node has the same of both, or it cannot take part."""
    settings: str       # JSON
    run: str            # a name for what is kept on the node's disk
    data: str           # sha256 of the data set
    partition: str      # sha256 of it, see minifl/data/lists.py


class Job(NamedTuple):
    """What is asked of the clients of a node in one round."""
    round: int          # from 0
    clients: list       # their numbers, ascending
    since: list         # of each the last round (from 1) that counted, 0 if none did
    oldest: int         # round of the oldest checkpoint that the server may go on from
    test_own: list      # those of which the own model is tested


class Here(NamedTuple):
    """A run on this node."""
    settings: Settings
    method: FedAvg
    model: Network
    dataset: Dataset
    partition: Partition
    folder: Path        # of what the clients keep
    workers: int


class Outcome(NamedTuple):
    """What came of a job: client -> Reply, and client -> why there is none; those whose loss was not finite."""
    replies: dict
    trouble: dict
    diverged: list


def clients_of(node: int, nodes: int, num_clients: int) -> list[int]:
    """The clients of a node."""
    return list(range(node, num_clients, nodes))


def come_in(task: Task, given: Any, data_dir: str | Path, state_dir: str | Path, workers: int) -> Here:
    """The run on this node; given: the label counts (K, C) or the lists (train, test) if no setting makes the partition.

    Raises InputError if the data or their partition are not those of the server.
    """
    chosen = json.loads(task.settings)
    settings = settings_for(chosen.get("data"), chosen)
    dataset = load(settings.data, data_dir)
    if dataset.sha256 != task.data:
        raise InputError(f"the node has other data than the server: sha256 {dataset.sha256[:16]} ({dataset.source}), "
                         f"the server's begins with {task.data[:16]}.")
    if settings.setting == LISTS and given is not None:
        given = of_lists(given[0], given[1], dataset.y_train, dataset.y_test, dataset.num_classes, Listed)
    partition = split(settings, dataset, given)
    if identity(partition) != task.partition:
        raise InputError(f"the node makes another partition than the server: sha256 {identity(partition)[:16]}, the "
                         f"server's begins with {task.partition[:16]}; is it another version of minifl?")
    model = settings.network(dataset.num_classes, dataset.image_shape)
    return Here(settings, settings.method(), model, dataset, partition, state_dir / task.run, workers)


def train(here: Here, job: Job, w: Array, server: dict, running: Array) -> Outcome:
    """The local work of a job's clients: an Outcome. The server sent w (P,), server: name -> (P,), running (S,)."""
    sizes = statistics.kept_sizes(here.settings, here.model, here.method)

    def work(turn):
        k, since = turn
        try:
            own = client_state.load(here.folder, k, since, sizes) if sizes else {}
            state = State(job.round, w, server, {k: own} if own else {}, running)
            theta, after, message, keeps, losses = local_work(here.settings, here.model, here.method, here.dataset,
                                                              here.partition, state, [k])
            tested = own_accuracies(here.settings, here.model, *here.method.own_model(theta, after, keeps), here.dataset,
                                    here.partition.test[k]) if k in job.test_own else None
            keeps = {name: array[0] for name, array in keeps.items()}
            if keeps:       # before the reply leaves: if that is lost, this is passed over
                client_state.save(here.folder, k, job.round + 1, keeps)
                client_state.tidy(here.folder, k, job.round + 1, since, job.oldest)
            return k, Reply({name: sent[0] for name, sent in message.items()}, losses[0].item(), keeps, tested), None
        except (Diverged, InputError) as error:
            return k, None, error

    with in_order(here.workers) as pool_map:
        done = list(pool_map(work, zip(job.clients, job.since)))
    return Outcome({k: reply for k, reply, _ in done if reply}, {k: str(error) for k, _, error in done if error},
                   [k for k, _, error in done if isinstance(error, Diverged)])


def test(here: Here, job: Job, w: Array, running: Array) -> tuple:
    """What `predict` says of the models of a job's clients: client -> (predicted classes (M,), summed loss); trouble.

    It is asked where every client has a model of its own, since batch norms or layers stay with their clients.
    """
    sizes = statistics.kept_sizes(here.settings, here.model, here.method)
    tests, trouble = {}, {}
    with in_order(here.workers) as pool_map:
        for k, since in zip(job.clients, job.since):
            try:
                own = client_state.load(here.folder, k, since, sizes)
            except InputError as error:
                trouble[k] = str(error)
                continue
            state = State(job.round, w, {}, {k: own} if own else {}, running)
            p = statistics.global_model(here.settings, here.model, state, k)
            tests[k] = predict(here.model, p, here.dataset.x_test, here.dataset.y_test, pool_map=pool_map)
    return tests, trouble


test.__test__ = False   # type: ignore[attr-defined]    # a name that pytest would collect
