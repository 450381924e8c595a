"""Assignment 4, with its variants and wrong submissions. Never handed out."""

from minifl.course.assignments import Assignment, Choice, Mistake, Patch

HERE = "minifl/course/hw4"
AVERAGING, COLLAPSE, FEDAVG = f"{HERE}/averaging.py", f"{HERE}/collapse.py", "minifl/fl/algorithms/fedavg.py"
LOCAL, DIAGNOSTICS = "minifl/fl/local.py", "minifl/fl/diagnostics.py"
COUNTS, SPLITS, PARTITION = "minifl/data/counts.py", "minifl/data/splits.py", "minifl/data/partition.py"

V = """v = momentum v + grad(theta) + weight_decay theta
                                           theta -= lr v
"""
CODE = "            g = velocity = momentum * velocity + g\n"
ENTERS = """enters the velocity of step t >= s with momentum^(t-s), so its weight is
    (1 - momentum^(E-s+1)) / (1 - momentum), and
        a = sum_s weight_s = [E - momentum (1 - momentum^E) / (1 - momentum)] / (1 - momentum)
"""
SUM = "    return (steps - momentum * (1 - momentum ** steps) / (1 - momentum)) / (1 - momentum)\n"

NESTEROV = (
    Patch(LOCAL, V, """g = grad(theta) + weight_decay theta,  v = momentum v + g
                                           theta -= lr (g + momentum v)
"""),
    Patch(LOCAL, CODE, """            velocity = momentum * velocity + g
            g = g + momentum * velocity
"""),
    Patch(LOCAL, ENTERS, """enters the velocity of step t >= s with momentum^(t-s), and so theta
    with momentum^(t-s+1), at t = s besides with 1. So its weight is (1 - momentum^(E-s+2)) / (1 - momentum), and
        a = sum_s weight_s = [E - momentum^2 (1 - momentum^E) / (1 - momentum)] / (1 - momentum)
"""),
    Patch(LOCAL, SUM, SUM.replace("steps - momentum *", "steps - momentum ** 2 *")))

AVERAGED = (
    Patch(LOCAL, V, """v = momentum v + (1 - momentum) (grad(theta) + weight_decay theta)
                                           theta -= lr v
"""),
    Patch(LOCAL, CODE, CODE.replace("+ g", "+ (1 - momentum) * g")),
    Patch(LOCAL, ENTERS, """enters the velocity of step t >= s with (1 - momentum) momentum^(t-s),
    so its weight is 1 - momentum^(E-s+1), and
        a = sum_s weight_s = E - momentum (1 - momentum^E) / (1 - momentum)
"""),
    Patch(LOCAL, SUM, "    return steps - momentum * (1 - momentum ** steps) / (1 - momentum)\n"))

EQUAL = (
    Patch(AVERAGING, "p_k = n_k / sum_j n_j\n", "p_k = 1 / (number of clients that answered)\n"),
    Patch(AVERAGING, "k and j run over the clients that answered.", "k runs over the clients that answered."),
    Patch(AVERAGING, "n_k > 0, the number of its training examples\n",
          "n_k > 0, the number of its training examples; they do not count here\n"),
    Patch(AVERAGING, "    total, mean = sum(sizes), {}\n    for message, size in zip(messages, sizes):\n",
          "    mean = {}\n    for message in messages:\n"),
    Patch(AVERAGING, "+ size / total * sent", "+ sent / len(messages)"),
    Patch(FEDAVG, "p_k = n_k / sum_j n_j\n\nn_k is the number of client k's training examples, j runs over the clients "
          "that answered. With --client-weights uniform\nn_k is 1 for everyone, here and in all other methods: p_k = 1/m "
          "for m clients that answered.\n",
          "p_k = 1 / (number of clients that answered)\n\nk runs over those clients.\n"))

REVERSED = (
    Patch(SPLITS, "Every class is split evenly. The sizes of two clients differ by at most 1.",
          "Every class is split evenly."),
    Patch(SPLITS, "Client k holds class k mod C, shared", "Client k holds class C-1 - (k mod C), shared"),
    Patch(SPLITS, "    held = np.arange(num_clients)[:, None] % len(sizes) == np.arange(len(sizes))\n",
          "    held = np.arange(num_clients)[:, None] % len(sizes) == np.arange(len(sizes))[::-1]\n"),
    Patch(COUNTS, "    Equal remainders are served in turn, each class going on where the class before it stopped, so "
          "that equal\n    shares give clients of equal size (to within 1).\n",
          "    Equal remainders are served from client 0 on, in every class anew.\n"),
    Patch(COUNTS, "    clients, counts, turn = np.arange(len(shares)), np.zeros(shares.shape, np.int64), 0\n",
          "    clients, counts = np.arange(len(shares)), np.zeros(shares.shape, np.int64)\n"),
    Patch(COUNTS, "np.lexsort(((clients - turn) % len(clients), -remainder))", "np.lexsort((clients, -remainder))"),
    Patch(COUNTS, "        counts[served[:short], c] += 1\n        turn += short\n",
          "        counts[served[:short], c] += 1\n"))

ONE = (
    Patch(COLLAPSE, "Feature norm gives all\nfeatures one length;",
          "Feature norm gives all\nfeatures one length, here 1: x/||x||, without the sqrt(d) of the paper;"),
    Patch(COLLAPSE, "d: features have length sqrt(d)\n", "d: of a feature, which has length 1\n"),
    Patch(COLLAPSE, ">= -2 R sqrt(d), with", ">= -2 R, with"),
    Patch(COLLAPSE, "log(1 + (C - 1) exp(-2 R sqrt(d))).", "log(1 + (C - 1) exp(-2 R)), whatever d is."),
    Patch(COLLAPSE, "np.exp(-2 * radius * np.sqrt(features))", "np.exp(-2 * radius)"),
    Patch(COLLAPSE, "g (d,) of length sqrt(d)\n", "g (d,) of length 1\n"),
    Patch(COLLAPSE, "g = sqrt(d) u, w_k", "g = u, w_k"),
    Patch(COLLAPSE, "    return w, np.sqrt(features) * u\n", "    return w, u\n"))

ASSIGNMENT = Assignment(
    name="hw4",
    files=(LOCAL, AVERAGING, FEDAVG, COUNTS, SPLITS, PARTITION, COLLAPSE, DIAGNOSTICS),
    given=("minifl/__init__.py", "minifl/backend.py", "minifl/declared.py", "minifl/errors.py", "minifl/params.py",
           "minifl/rng.py", "minifl/data/augment.py", "minifl/data/own_split.py", "minifl/fl/evaluate.py",
           "minifl/fl/participation.py", "minifl/fl/statistics.py",
           *(f"minifl/layers/{name}.py" for name in (
               "__init__", "activations", "attention", "batchnorm", "conv", "linear", "loss", "norm",
               "pool", "smoothing", "tokens", "weights")),
           *(f"minifl/fast/{name}.py" for name in ("__init__", "conv", "filtering", "pool")),
           *(f"minifl/models/{name}.py" for name in (
               "__init__", "arrangement", "blocks", "cnn", "mlp", "network", "norms", "resnet", "vit")),
           f"{HERE}/drivers.py", f"{HERE}/expected.py", f"{HERE}/experiment.py"),
    choices={
        "momentum": {
            "published": Choice("local steps: momentum is the heavy ball's, v = momentum v + g and theta -= lr v."),
            "nesterov": Choice("local steps: momentum is Nesterov's, v = momentum v + g and "
                               "theta -= lr (g + momentum v).", NESTEROV),
            "averaged": Choice("local steps: the velocity is an average of gradients, v = momentum v + (1 - momentum) "
                               "g and theta -= lr v.", AVERAGED)},
        "weights": {
            "published": Choice("averaging: clients count by their training examples, p_k = n_k / sum_j n_j."),
            "equal": Choice("averaging: all clients that answered count alike, whatever they hold.", EQUAL)},
        "counts": {
            "published": Choice("label counts: in `oneclass` client k holds class k mod C; equal remainders are served "
                                "in turn, each class going on where the one before it stopped."),
            "reversed": Choice("label counts: in `oneclass` client k holds class C-1 - (k mod C); equal remainders are "
                               "served from client 0 on, in every class anew.", REVERSED)},
        "length": {
            "published": Choice("collapse: features of d numbers have length sqrt(d), as the paper's feature norm "
                                "makes them."),
            "one": Choice("collapse: features have length 1, whatever d is.", ONE)}},
    mistakes=(
        Mistake("local steps", "clients that are not active go on", LOCAL,
                "            g = xp.where(active[:, step, None], g, xp.zeros_like(g))\n", ""),
        Mistake("local steps", "running statistics of clients that are not active go on", LOCAL,
                "seen if running is None else xp.where(active[:, step, None], seen, running)", "seen"),
        Mistake("local steps", "the loss of steps that a client does not do", LOCAL,
                "            loss = xp.where(active[:, step], loss, xp.zeros_like(loss))\n", ""),
        Mistake("local steps", "weight decay away from zero", LOCAL, "g = g + weight_decay * theta",
                "g = g - weight_decay * theta"),
        Mistake("local steps", "weight decay after momentum", LOCAL, "        theta -= lr * g\n",
                "        theta -= lr * (g + (weight_decay * theta if momentum else 0))\n"),
        Mistake("local steps", "momentum of theta instead of the gradient", LOCAL,
                "g = velocity = momentum * velocity + g", "g = velocity = momentum * theta + g"),
        Mistake("local steps", "the server's w is overwritten", LOCAL,
                "theta = xp.broadcast_to(w, (x.shape[0], w.shape[-1])).copy()",
                "theta = w if w.ndim == 2 else xp.broadcast_to(w, (x.shape[0], w.shape[-1])).copy()"),
        Mistake("local steps", "running statistics with the weights exchanged", LOCAL,
                "running + MOMENTUM * (seen - running)", "seen + MOMENTUM * (running - seen)"),
        Mistake("weights of the steps", "the number of steps", LOCAL, SUM, "    return steps * 1.0\n"),
        Mistake("weights of the steps", "one step too many in the outer sum", LOCAL,
                "return (steps - momentum * (1 - momentum ** steps)", "return (steps - (1 - momentum ** (steps + 1))"),
        Mistake("weights of the steps", "every step as if it were followed by endless others", LOCAL, SUM,
                "    return steps / (1 - momentum)\n"),
        Mistake("federated averaging", "the unweighted mean", AVERAGING, "+ size / total * sent",
                "+ sent / len(messages)"),
        Mistake("federated averaging", "the sum", AVERAGING, "+ size / total * sent", "+ size * sent"),
        Mistake("federated averaging", "models instead of updates are sent and added to w", FEDAVG,
                'return {"update": theta - work.w}, {}', 'return {"update": theta}, {}'),
        Mistake("federated averaging", "the mean of the updates in the place of w", FEDAVG,
                'return w + mean["update"], state', 'return mean["update"], state'),
        Mistake("federated averaging", "the step shrinks with the clients that do not answer", FEDAVG,
                'return w + mean["update"], state', 'return w + share * mean["update"], state'),
        Mistake("federated averaging", "the first client's message is added to", AVERAGING,
                "mean[name] = mean.get(name, 0) + size / total * sent",
                "sent *= size / total\n            mean[name] = mean.get(name, 0) + sent"),
        Mistake("label counts", "rounding instead of the largest remainder", COUNTS,
                "counts[served[:short], c] += 1", "counts[:, c] += 2 * remainder >= whole"),
        Mistake("label counts", "the smallest remainders", COUNTS, "% len(clients), -remainder))",
                "% len(clients), remainder))"),
        Mistake("label counts", "remainders as floats", COUNTS, "% len(clients), -remainder))",
                "% len(clients), -((shares[:, c] / whole * total) % 1)))"),
        Mistake("label counts", "every class begins with client 0", COUNTS, "        turn += short\n", ""),
        Mistake("label counts", "neighbours share a class", SPLITS, "np.arange(num_clients)[:, None] % len(sizes) ==",
                "np.arange(num_clients)[:, None] * len(sizes) // num_clients =="),
        Mistake("label counts", "a giver falls below the minimum", COUNTS,
                "given = min(-count, sizes[giver] - min_size, min_size - sizes[k])",
                "given = min(-count, min_size - sizes[k])"),
        Mistake("label counts", "the smallest cell gives", COUNTS, "count, giver, c = heapq.heappop(cells)",
                "count, giver, c = cells.pop(cells.index(max(cells)))"),
        Mistake("label counts", "the last client's of equal cells gives", COUNTS,
                "count, giver, c = heapq.heappop(cells)",
                "cells.sort(key=lambda cell: (cell[0], -cell[1]))\n            count, giver, c = cells.pop(0)"),
        Mistake("label counts", "the table that was given is changed", COUNTS,
                "counts, sizes = counts.copy(), counts.sum(axis=1).tolist()",
                "sizes = counts.sum(axis=1).tolist()"),
        Mistake("dealing the examples", "not shuffled", PARTITION,
                "address(seed, ASSIGN, split, c, *of_domain(domain)).permutation(members)[:counts[:, c].sum()]",
                "members[:counts[:, c].sum()]"),
        Mistake("dealing the examples", "training and test examples are shuffled alike", PARTITION,
                "address(seed, ASSIGN, split, c, *of", "address(seed, ASSIGN, 0, c, *of"),
        Mistake("dealing the examples", "in the order in which they were dealt", PARTITION,
                "np.lexsort((dealt, owner))", "np.argsort(owner, kind=\"stable\")"),
        Mistake("dealing the examples", "one shuffle for all classes", PARTITION,
                "address(seed, ASSIGN, split, c, *of", "address(seed, ASSIGN, split, 0, *of"),
        Mistake("collapse", "the rank from squared singular values", DIAGNOSTICS,
                "share = values[values > 0] / values.sum()",
                "share = values[values > 0] ** 2 / (values ** 2).sum()"),
        Mistake("collapse", "the entropy itself", DIAGNOSTICS, "return values, np.exp(-(share * np.log(share)).sum())",
                "return values, -(share * np.log(share)).sum()"),
        Mistake("collapse", "a class without images has the mean 0", DIAGNOSTICS,
                "np.full((classes, *values.shape[1:]), np.nan)", "np.zeros((classes, *values.shape[1:]))"),
        Mistake("collapse", "means over all images", DIAGNOSTICS, "values[labels == c].mean(axis=0)",
                "np.where(labels == c, values.T, 0).T.mean(axis=0)"),
        Mistake("collapse", "C terms in the floor", COLLAPSE, "np.log1p((classes - 1) *", "np.log1p(classes *"),
        Mistake("collapse", "only the own weight vector can grow", COLLAPSE, "np.exp(-2 * radius", "np.exp(-radius"),
        Mistake("collapse", "a tiny floor is 0", COLLAPSE, "np.log1p((classes - 1) *", "np.log(1 + (classes - 1) *"),
        Mistake("collapse", "the other weight vectors are 0", COLLAPSE, "w = -radius * np.ones", "w = 0 * np.ones"),
        Mistake("collapse", "always class 0", COLLAPSE, "    w[k] = radius * u\n", "    w[0] = radius * u\n")))
