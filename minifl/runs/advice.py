"""What a run's settings and partition already tell about its outcome, said once before it starts."""

import numpy as np

from minifl.data.partition import Partition
from minifl.fl.participation import clients_per_round, looked_at, own_models
from minifl.runs.settings import Settings


def advice(settings: Settings, partition: Partition) -> list[str]:
    """Sentences, each with its reason; none for a run in which nothing is unusual."""
    return [sentence for rule in (_method, _batch_norm, _small_clients, _missing_data, _schedules, _samples)
            for sentence in rule(settings, partition)]


def _method(settings, partition):
    method, counts = settings.method(), _of_those_who_train(partition)
    yield from method.advice(settings, counts)
    for reason, applies in method.is_fedavg(settings, counts).items():
        if applies:
            yield f"This {settings.algorithm} equals FedAvg: {reason}."
            return


def _batch_norm(settings, partition):
    if settings.bn_stats is None:
        return
    classes = (_of_those_who_train(partition) > 0).sum(axis=1)
    single = int((classes == 1).sum())
    if single:
        yield (f"Batch norm, and {single} of {len(classes)} clients hold one class only: their batches are standardized "
               f"within that class, which takes out what tells it from others. The paper's Table 4 has chance there: "
               f"9.6 % for --bn-stats global, 10.0 % for local. --norm gn, ln and fn see one example at a time.")
    if settings.bn_stats == "local":
        yield ("--bn-stats local: there is a model for each client. Accuracy of all examples is their mean on the whole "
               "test set; the mean over clients is of each on its own part, where its batch norms can tell its classes "
               "without a look at the image.")
    if settings.batch_size == 1:
        yield "Batch norm with --batch-size 1: of one vector it leaves 0, so dense layers learn nothing."


def _small_clients(settings, partition):
    sizes = partition.counts.sum(axis=1)
    small = int(((sizes > 0) & (sizes < settings.batch_size)).sum())
    if small and settings.last_batch == "full":
        yield (f"{small} of {len(sizes)} clients hold fewer training examples than a batch of {settings.batch_size} "
               f"(the smallest {sizes[sizes > 0].min()}): their batches repeat examples.")


def _missing_data(settings, partition):
    sizes, tests = partition.counts.sum(axis=1), partition.test_counts.sum(axis=1)
    empty = int((sizes == 0).sum())
    if empty:
        yield f"{empty} of {len(sizes)} clients hold no training examples and never take part."
    absent = np.flatnonzero(partition.counts.sum(axis=0) == 0)
    if len(absent):
        yield (f"No client holds training examples of class {', '.join(map(str, absent))}: nobody learns them. Their "
               f"test examples belong to no client: they count in the global accuracy, not in the mean over clients.")
    untested = int((tests == 0).sum())
    if untested:
        yield f"{untested} of {len(tests)} clients have no test examples: the mean over clients leaves them out."


def _schedules(settings, partition):
    if settings.lr_schedule == "step" and settings.lr_step_rounds >= settings.rounds:
        yield (f"--lr-step-rounds {settings.lr_step_rounds} with {settings.rounds} rounds: the learning rate never "
               f"changes.")
    elif settings.lr_schedule == "step" and settings.lr_decay == 1:
        yield "--lr-decay 1: the learning rate never changes."
    if settings.dropout_rate == 1:
        yield "--dropout-rate 1: no client ever answers, so the model stays as it is."


def _samples(settings, partition):
    clients, trained = len(partition.counts), len(_of_those_who_train(partition))
    a_round = clients_per_round(settings, trained)
    of = f"of {settings.local_eval_clients} clients, chosen by the seed, the same ones each time (--local-eval-clients)"
    if own_models(settings) and len(looked_at(settings, range(clients))) < clients:
        yield (f"There are {clients:,} models, too many to test each: accuracies are {of}; the record's tested_clients are "
               f"their numbers.")
    if settings.local_eval_every and a_round > settings.local_eval_clients:
        yield (f"A round has {a_round:,} clients, too many to test each one's own model: local_accuracy is {of}; the "
               f"record's local_clients are their numbers.")


def _of_those_who_train(partition):
    """Counts (k, C) of the clients that hold training examples."""
    return partition.counts[partition.counts.sum(axis=1) > 0]
