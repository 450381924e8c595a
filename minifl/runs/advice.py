"""What a run's settings and partition already tell about its outcome, said once before it starts."""

import numpy as np

from minifl.fl.participation import clients_per_round, looked_at, steps_of


def advice(settings, partition):
    """Sentences, each with its reason; none for a run in which nothing is unusual."""
    return [sentence for rule in (_methods_that_cannot_learn, _methods_that_are_fedavg, _batch_norm, _small_clients,
                                  _missing_data, _schedules, _samples) for sentence in rule(settings, partition)]


def _methods_that_cannot_learn(settings, partition):
    counts = _of_those_who_train(partition)
    single = int(((counts > 0).sum(axis=1) == 1).sum())
    everybody = single == len(counts) > 0
    who = "All clients hold" if everybody else f"{single} of {len(counts)} clients hold"
    if single and settings.algorithm == "fedlc":
        yield (f"{who} one class only. FedLC takes absent classes out of the softmax, so their loss and gradient are "
               f"identically 0" + (": nothing will be learned, accuracy stays at chance." if everybody else
                                   " and they learn nothing."))
    if everybody and settings.algorithm == "fedrs" and settings.fedrs_alpha < 1:
        yield ("All clients hold one class only. FedRS weakens what pushes their features apart: the paper reports "
               "10 %, chance, for it.")
    if settings.algorithm == "feddecorr" and settings.batch_size < 3:
        yield (f"FedDecorr with batches of {settings.batch_size}: standardized over so few examples all features are "
               f"+1, -1 or 0, so their correlations say nothing.")


def _methods_that_are_fedavg(settings, partition):
    counts = _of_those_who_train(partition)
    steps = {steps_of(settings, n) for n in counts.sum(axis=1).tolist()}
    all_classes = bool((counts > 0).all())
    one_a_round = "a round has one client only, so there is nothing to weigh against it"
    alone = clients_per_round(settings, len(counts)) == 1
    reasons = {
        "fedprox": {
            "--mu 0: there is no proximal term": settings.mu == 0,
            "the only local step begins at the server's parameters, where the proximal term is 0": steps == {1}},
        "scaffold": {
            "with one client in all, its control equals the server's": len(counts) == 1 and settings.server_lr == 1},
        "feddecorr": {"--decorr-weight 0: there is no penalty": settings.decorr_weight == 0},
        "fedlc": {
            "--fedlc-tau 0: there are no margins, and no class is absent": settings.fedlc_tau == 0 and all_classes,
            "each client holds as many examples of every class: the margins are equal, and softmax does not see a "
            "constant": bool((counts == counts[:, :1]).all())},
        "fedrs": {
            "--fedrs-alpha 1: no logit is scaled": settings.fedrs_alpha == 1,
            "each client holds every class: no logit is scaled": all_classes},
        "fedavgm": {"--beta1 0 and --server-lr 1: no momentum": settings.beta1 == 0 and settings.server_lr == 1},
        "fednova": {
            "all clients do the same number of steps, so normalizing by it changes nothing; see --local-epochs":
                len(steps) == 1,
            one_a_round: alone},
        "fedexp": {one_a_round: alone},
    }
    for reason, applies in reasons.get(settings.algorithm, {}).items():
        if applies:
            yield f"This {settings.algorithm} equals FedAvg: {reason}."
            return


def _batch_norm(settings, partition):
    if settings.norm != "bn":
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
    if settings.bn_stats == "local" and len(looked_at(settings, range(clients))) < clients:
        yield (f"There are {clients:,} models, too many to test each: accuracies are {of}; the record's tested_clients are "
               f"their numbers.")
    if settings.local_eval_every and a_round > settings.local_eval_clients:
        yield (f"A round has {a_round:,} clients, too many to test each one's own model: local_accuracy is {of}; the "
               f"record's local_clients are their numbers.")


def _of_those_who_train(partition):
    """Counts (k, C) of the clients that hold training examples."""
    return partition.counts[partition.counts.sum(axis=1) > 0]
