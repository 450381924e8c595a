"""Who takes part in a round, who of them answers, how many steps they do, how much each counts, whose models are tested."""

import numpy as np

from minifl.errors import InputError, unknown
from minifl.rng import DROPOUT, LOOK, SAMPLE, address

LAST_BATCHES = ("full", "partial")         # of --local-epochs
CLIENT_WEIGHTS = ("examples", "uniform")
ONE_A_ROUND = "a round has one client only, so there is nothing to weigh against it"     # why a method may be FedAvg


def clients_per_round(settings, available):
    """How many clients a round samples from the `available` ones that hold examples; at least 1.

    Raises InputError if --clients-per-round is more than there are, or if there is none.
    """
    if not available:
        raise InputError("no client holds training examples; --partition must give some to at least one client.")
    if settings.clients_per_round is None:
        return max(1, round(settings.participation * available))
    if settings.clients_per_round > available:
        raise InputError(f"--clients-per-round {settings.clients_per_round} is more than the {available} clients "
                         f"that hold training examples.")
    return settings.clients_per_round


def sample(settings, clients, round_):
    """The clients of one round, ascending: without replacement, each subset of that size equally likely."""
    count = clients_per_round(settings, len(clients))
    if count == len(clients):
        return list(clients)
    chosen = address(settings.seed, SAMPLE, round_).choice(len(clients), count, replace=False, shuffle=False)
    return [clients[i] for i in sorted(chosen.tolist())]


def failed(settings, clients, round_):
    """Those of the sampled clients that do not answer, each with probability dropout_rate."""
    if settings.dropout_rate == 0:
        return []
    return [k for k in clients if address(settings.seed, DROPOUT, round_, k).random() < settings.dropout_rate]


def looked_at(settings, clients):
    """Those of the clients whose own models are tested, ascending: all, or local_eval_clients of them.

    Which ones follows from the seed alone: of the same clients they are the same in every round, and each subset of that
    size is equally likely. A test of one client's model costs as much as one of the global model.
    """
    if len(clients) <= settings.local_eval_clients:
        return list(clients)
    place = address(settings.seed, LOOK).random(max(clients) + 1)     # of client k the k-th number, however many there are
    return sorted(sorted(clients, key=place.__getitem__)[:settings.local_eval_clients])


def own_models(settings):
    """Whether there is a model for each client: the server's, but for what stays with the client (statistics.py)."""
    return settings.bn_stats == "local" or settings.method().personal


def whose_models(settings, clients):
    """The record's entry on the clients whose models were tested as the global one, where these are not one or all."""
    tested = looked_at(settings, range(clients))
    return {"tested_clients": tested} if own_models(settings) and len(tested) < clients else {}


def steps_of(settings, examples):
    """Local steps of a client with that many examples n in a round.

    local_steps, or with local_epochs E as many full batches as cover E n examples, ceil(E n / B); with last_batch "partial"
    E times ceil(n / B).
    """
    if settings.local_epochs is None:
        return settings.local_steps
    if settings.last_batch == "full":
        return -(-settings.local_epochs * examples // settings.batch_size)
    if settings.last_batch == "partial":
        return settings.local_epochs * -(-examples // settings.batch_size)
    raise unknown("--last-batch", settings.last_batch, LAST_BATCHES)


def batch_sizes(settings, examples):
    """The sizes of the batches of these steps: all full but, with last_batch "partial", the last one of every epoch, which
    has what is left of the examples."""
    sizes = (settings.batch_size,) * steps_of(settings, examples)
    if settings.last_batch == "full":
        return sizes
    epoch = sizes[:len(sizes) // settings.local_epochs]
    return (*epoch[:-1], examples - sum(epoch[:-1])) * settings.local_epochs


def client_weights(settings, examples):
    """What each client counts in means over clients, up to a factor: (K,) float; examples: (K,), of each.

    Clients without examples never take part and count nothing.
    """
    examples = np.asarray(examples, dtype=float)
    if settings.client_weights == "examples":
        return examples
    if settings.client_weights == "uniform":
        return (examples > 0).astype(float)
    raise unknown("--client-weights", settings.client_weights, CLIENT_WEIGHTS)
