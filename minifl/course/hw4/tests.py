"""Public tests of assignment 4; expected.py says what should come out, one client and one number at a time."""

import numpy as np

from minifl.course.hw4 import drivers
from minifl.course.hw4.expected import (SMALL, a_problem, a_table, check_apportioned, check_one_taker, length_of,
                                        lowest, near, p, plain_loss, step_weights, way, whole)
from minifl.course.running import Given, Student, expect, graded
from minifl.rng import ASSIGN, address

LOCAL, WEIGHTS, AVERAGE = "local steps", "weights of the steps", "federated averaging"
COUNTS, DEALING, COLLAPSE = "label counts", "dealing the examples", "collapse"


# ---- local steps

@graded(LOCAL, 1, "the equations of local_sgd with momentum and weight_decay 0, and its 'returns'")
def plain_steps(student: Student, given: Given) -> None:
    """Steps of plain SGD from the server's parameters end where they should, with the loss before each step."""
    w, x, y = a_problem(given)
    found = drivers.local_steps(student, w.copy(), x, y, lr=0.3)
    ways = [way(w, own, scales, "", lr=0.3) for own, scales in zip(x, y)]
    near("theta", found["theta"], [end[0] for end in ways])
    near("losses", found["losses"], [end[1] for end in ways])
    expect(found["running"] is None, "without running statistics the third answer should be None")
    expect(found["calls"] == x.shape[1], f"the gradient was asked for {found['calls']} times in "
           f"{x.shape[1]} steps")


@graded(LOCAL, 1, "the line of v: what does it start from, what enters it, and what moves theta?")
def momentum_and_decay(student: Student, given: Given) -> None:
    """Momentum and weight decay, each alone and both."""
    w, x, y = a_problem(given)
    for momentum, decay in ((0.6, 0.0), (0.0, 0.4), (0.7, 0.3)):
        options = {"lr": 0.2, "momentum": momentum, "weight_decay": decay}
        found = drivers.local_steps(student, w.copy(), x, y, **options)
        near(f"theta (momentum {momentum}, weight_decay {decay})", found["theta"],
             [way(w, own, scales, given.variant["momentum"], **options)[0] for own, scales in zip(x, y)])


@graded(LOCAL, 2, "`active` in the docstring of local_sgd: what of a client may change in such a step?")
def stragglers(student: Student, given: Given) -> None:
    """A client does only the steps in which it is active."""
    w, x, y = a_problem(given)
    rng, rule = given.rng("stragglers"), given.variant["momentum"]
    clients, most = x.shape[:2]
    done = rng.permutation([1, most, *rng.integers(1, most, clients - 2)])
    active, running = np.arange(most) < done[:, None], rng.standard_normal((clients, len(w)))
    for options in ({"lr": 0.3}, {"lr": 0.1, "momentum": 0.5, "weight_decay": 0.2}):
        found = drivers.local_steps(student, w.copy(), x, y, active=active, running=running.copy(),
                                                                 **options)
        ways = [way(w, *own, rule, steps=steps, running=list(begin), **options)
                for *own, steps, begin in zip(x, y, done, running)]
        for i, what in enumerate(("theta", "losses", "running")):
            near(f"{what} (steps done: {done.tolist()})", found[what], [end[i] for end in ways])


@graded(LOCAL, 1, "`w` and `running` in the docstring of local_sgd")
def begins_and_statistics(student: Student, given: Given) -> None:
    """Clients may begin at parameters of their own; w stays as it is; running statistics follow the batches."""
    w, x, y = a_problem(given)
    rng = given.rng("begins")
    begins, running = rng.standard_normal((len(x), len(w))), rng.standard_normal((len(x), len(w)))
    for begin in (begins, w):
        found = drivers.local_steps(student, begin.copy(), x, y, lr=0.3, running=running.copy())
        near("w, which is the server's, after the steps: it", found["w"], begin, 0)
        every = np.broadcast_to(begin, begins.shape)
        near("where the first step begins: it", found["began"], every)
        ways = [way(*own, "", lr=0.3, running=list(seen)) for *own, seen in zip(every, x, y, running)]
        near("theta", found["theta"], [end[0] for end in ways])
        near("running", found["running"], [end[2] for end in ways])


@graded(WEIGHTS, 1, "your weight_s: how often does a single gradient come back? Try E = 1, 2 and 3 by hand")
def weights_of_few_steps(student: Student, given: Given) -> None:
    """Right for one to three steps and without momentum."""
    local = student("minifl.fl.local")
    near("weight_of_steps(7, 0.0)", local.weight_of_steps(7, 0.0), 7)
    for momentum in (0.5, float(given.rng("momentum").uniform(0.1, 0.9))):
        for steps in (1, 2, 3):
            near(f"weight_of_steps({steps}, {momentum:.2g})", local.weight_of_steps(steps, momentum),
                 sum(step_weights(steps, momentum, given.variant["momentum"])))


@graded(WEIGHTS, 2, "the two geometric sums: over the steps t >= s, then over s = 1 .. E")
def weights_of_many_steps(student: Student, given: Given) -> None:
    """Right for many steps, and for an array of numbers of steps."""
    local = student("minifl.fl.local")
    rng = given.rng("many steps")
    for momentum in (0.9, float(rng.uniform(0.1, 0.95))):
        steps = rng.integers(4, 40, given.size("clients", 3, 5))
        near(f"weight_of_steps({steps.tolist()}, {momentum:.2g})", local.weight_of_steps(steps, momentum),
             [sum(step_weights(n, momentum, given.variant["momentum"])) for n in steps], 1e-11)


# ---- federated averaging

@graded(AVERAGE, 1, "the server's line at the top of fedavg.py: what of a client stands in the sum?")
def what_a_client_sends(student: Student, given: Given) -> None:
    """FedAvg's message holds what the server adds up, and a client keeps nothing."""
    rng = given.rng("message")
    w, theta = rng.standard_normal((2, given.size("clients", 3, 5), given.size("d", 2, 5)))
    sent, kept = drivers.message(student, w, theta)
    expect(set(sent) == {"update"}, f"the message should be named update, found {sorted(sent)}")
    near("the update", sent["update"], [[t - b for t, b in zip(*rows)] for rows in zip(theta, w)])
    expect(len(kept) == 0, f"a client of FedAvg keeps nothing, found {sorted(kept)}")


@graded(AVERAGE, 1, "the server's line at the top of fedavg.py, and `mean` in the docstring of FedAvg.server")
def the_servers_step(student: Student, given: Given) -> None:
    """The server's step starts from w, takes the whole mean, and leaves the state alone."""
    rng = given.rng("server")
    w, update, kept = rng.standard_normal((3, given.size("d", 2, 5)))
    for share in (1.0, 0.3):
        after, state = drivers.server(student, w, {"update": update}, {"kept": kept}, share)
        near(f"w (share {share})", after, [a + b for a, b in zip(w, update)])
        expect(set(state) == {"kept"} and np.array_equal(state["kept"], kept), "the state should stay as it is")


@graded(AVERAGE, 2, "p_k at the top of averaging.py: over whom does j run?")
def mean_of_messages(student: Student, given: Given) -> None:
    """The mean has the weights p_k, for every name and shape, and the messages stay as they are."""
    rng = given.rng("messages")
    for clients in (1, given.size("clients", 3, 5)):
        shapes = {"update": (given.size("d", 2, 5),), "square": (), "table": (2, 3)}
        messages = [{name: rng.standard_normal(shape) for name, shape in shapes.items()} for _ in range(clients)]
        sizes = rng.integers(1, 50, clients).tolist()
        handed = [{name: np.array(sent) for name, sent in message.items()} for message in messages]
        mean = student("minifl.course.hw4.averaging").mean_message(handed, sizes)
        expect(set(mean) == set(shapes), f"the mean should have the names {sorted(shapes)}, found {sorted(mean)}")
        for name in shapes:
            total = 0
            for weight, message in zip(p(sizes, given), messages):
                total = total + weight * message[name]
            near(f"the mean of {name} (sizes {sizes})", mean[name], total)
            for before, after in zip(messages, handed):
                near(f"{name} of a client, which is the client's: it", after[name], before[name], 0)


@graded(AVERAGE, 1, "if only some answer: their p_k add up to 1, and the step starts from w")
def rounds_with_missing_clients(student: Student, given: Given) -> None:
    """Rounds on a quadratic, in which some clients do not answer, go where the equations say."""
    rng = given.rng("rounds")
    clients, d, lr, steps = given.size("clients", 3, 5), given.size("d", 2, 5), 0.2, given.size("steps", 4, 6)
    w, centers, curvatures = rng.standard_normal(d), rng.standard_normal((clients, d)), rng.uniform(0.5, 1.5, clients)
    sizes = rng.integers(1, 20, clients).tolist()
    answering = [list(range(clients)), [clients - 1], [0, clients - 1], list(range(1, clients))]
    found = drivers.rounds(student, w, centers, curvatures, sizes, answering, lr, steps)
    for number, answered in enumerate(answering, start=1):
        weights, before, w = p([sizes[k] for k in answered], given), w, np.zeros(d)
        for weight, k in zip(weights, answered):
            # each step of client k shrinks its distance to the center by 1 - lr a_k
            w = w + weight * (centers[k] + (1 - lr * curvatures[k]) ** steps * (before - centers[k]))
        near(f"w after round {number}, in which {answered} of {clients} clients answered,", found[number - 1], w)


# ---- label counts

@graded(COUNTS, 2, "first line of apportion's docstring: the whole parts, then the largest remainders")
def largest_remainders(student: Student, given: Given) -> None:
    """apportion gives whole numbers that sum to the totals, the rounded ones going to the largest remainders."""
    counts, rng = student("minifl.data.counts"), given.rng("apportion")
    whole("6 by 3:1:1, and 11 by 1:3:1, as you can do by hand,",
          counts.apportion(np.array([[3, 1], [1, 3], [1, 1]]), np.array([6, 11])), [[4, 2], [1, 7], [1, 2]])
    for _ in range(5):
        shape = given.size("holders", 4, 7), given.size("classes", 3, 6)
        shares, totals = rng.integers(0, 10**6, shape) * rng.integers(0, 2, shape), rng.integers(0, 200, shape[1])
        check_apportioned(counts.apportion(shares, totals), shares, totals, given)


@graded(COUNTS, 2, "the docstring of apportion on equal remainders: where does the line of a class begin?")
def equal_remainders(student: Student, given: Given) -> None:
    """Equal remainders are served in the order that the docstring gives, with huge shares too."""
    counts, rng = student("minifl.data.counts"), given.rng("ties")
    shape = given.size("holders", 4, 7), given.size("classes", 3, 6) + 3
    totals = rng.integers(1, 3 * shape[0], shape[1])
    for shares in (np.ones(shape, dtype=np.int64), rng.integers(1, 3, shape), 2**57 - rng.integers(0, 3, shape)):
        check_apportioned(counts.apportion(shares, totals), shares, totals, given)


@graded(COUNTS, 2, "the docstring of oneclass")
def one_class_each(student: Student, given: Given) -> None:
    """Each client holds the one class that the docstring says, and a class is shared by its holders."""
    splits = student("minifl.data.splits")
    classes = given.size("classes", 3, 6)
    for clients in (classes, classes + 1, 2 * classes + 2):
        sizes = given.rng("oneclass", clients).integers(clients, 90, classes)
        found = np.asarray(splits.label_counts("oneclass", sizes, clients, 0))
        held = [[False] * classes for _ in range(clients)]
        for k in range(clients):
            held[k][k % classes if given.variant["counts"] == "published" else classes - 1 - k % classes] = True
        expect(found.shape == (clients, classes) and ((found > 0) == held).all(),
               f"with {clients} clients and {classes} classes client 0 holds {np.flatnonzero(found[0])}, the last one "
               f"{np.flatnonzero(found[-1])}: not the classes that it should")
        check_apportioned(found, np.array(held, dtype=np.int64), sizes, given)


@graded(COUNTS, 1, "'returns' in the docstring of top_up")
def smallest_clients(student: Student, given: Given) -> None:
    """Dirichlet partitions keep the minimum size and all examples; nobody gets or gives more than has to be."""
    splits = student("minifl.data.splits")
    classes, clients = given.size("classes", 3, 6), given.size("holders", 4, 7)
    for seed in range(4):
        sizes = given.rng("sizes", seed).integers(20, 60, classes)
        drawn, least = None, int(sizes.sum()) // clients
        for min_size in (0, 1, 5, least):
            found = np.asarray(splits.label_counts("dirichlet", sizes, clients, seed, dirichlet_alpha=0.1,
                                                   min_size=min_size))
            drawn = found if drawn is None else drawn
            expect(found.shape == drawn.shape and (found.sum(axis=0) == sizes).all() and found.min() >= 0,
                   "topping up should only move examples from client to client")
            before, after = drawn.sum(axis=1), found.sum(axis=1)
            expect(after.min() >= min_size, f"a client has {after.min()} examples, below min_size {min_size}")
            expect((after[before < min_size] == min_size).all(), "a client took more than it lacked")
            expect((found <= drawn)[before >= min_size].all(), "a client got something that did not lack anything")
        expect(before.min() < least, "label_counts, which is given, should draw uneven clients")


@graded(COUNTS, 1, "the docstring of top_up: from which cell does who lacks something take, and how much?")
def largest_cells_first(student: Student, given: Given) -> None:
    """A client that lacks something takes from the largest cells that can spare it, as much as they can."""
    rng = given.rng("largest cells")
    for top in (4, 9, 9):
        table = rng.integers(1, top, (given.size("holders", 4, 7), given.size("classes", 3, 6)))
        table[rng.integers(len(table))] = 0
        for least in range(1, table.sum() // len(table) + 1):
            small = np.flatnonzero(table.sum(axis=1) < least)
            if len(small) == 1:
                after, unchanged = drivers.top_up(student, table, least)
                expect(np.array_equal(unchanged, table), "the counts that top_up was given should stay as they are")
                check_one_taker(after, table, least, small[0])


@graded(COUNTS, 1, "the docstring of top_up: who takes first, and what is left for the next one?")
def one_after_the_other(student: Student, given: Given) -> None:
    """Those below the minimum take in their order: who comes last finds what the others left."""
    table = np.array([[10, 0], [1, 7], [0, 0], [0, 1]])
    whole("with a minimum of 3 what you can do by hand,", drivers.top_up(student, table, 3)[0],
          [[5, 0], [1, 7], [3, 0], [2, 1]])
    rng = given.rng("in their order")
    for _ in range(6):
        table = rng.integers(0, 12, (given.size("holders", 4, 7) + 3, given.size("classes", 3, 6)))
        table[rng.permutation(len(table))[:3]] //= 4
        for least in range(1, table.sum() // len(table) + 1):
            small = np.flatnonzero(table.sum(axis=1) < least)
            if len(small) > 1:      # without the last of them, then with it
                first = np.asarray(drivers.top_up(student, np.delete(table, small[-1], axis=0), least)[0])
                then = drivers.top_up(student, np.insert(first, small[-1], table[small[-1]], axis=0), least)[0]
                whole("who comes last changed what the others took: the table",
                      drivers.top_up(student, table, least)[0], then)


# ---- dealing

@graded(DEALING, 1, "the first two sentences of assign's docstring, on disjoint and complete")
def fills_the_table(student: Student, given: Given) -> None:
    """Every client gets as many examples of each class as its row says, none of them twice, in ascending order."""
    partition = student("minifl.data.partition")
    table, labels = a_table(given)
    for split in (0, 1):
        found = [np.asarray(part) for part in partition.assign(table, labels, 3, split)]
        expect(len(found) == len(table), f"{len(found)} clients got examples, there are {len(table)}")
        for k, (part, row) in enumerate(zip(found, table)):
            expect(part.dtype.kind in "iu", f"the indices of client {k} should be whole numbers, found {part.dtype}")
            expect((np.diff(part) > 0).all(), f"the indices of client {k} should ascend")
            whole(f"the label counts of client {k}", np.bincount(labels[part], minlength=len(row)), row)
        everyone = np.concatenate(found)
        expect(len(np.unique(everyone)) == len(everyone), "an example went to two clients")


@graded(DEALING, 2, "assign's docstring: which generator shuffles the examples of class c, and who is dealt first?")
def deals_by_address(student: Student, given: Given) -> None:
    """The examples of a class are shuffled at its address and dealt to clients 0, 1, ... in turn."""
    partition = student("minifl.data.partition")
    table, labels = a_table(given)
    for seed, split, domain in ((0, 0, None), (5, 1, None), (5, 0, 2)):
        hands = [[] for _ in table]
        for c in range(table.shape[1]):
            place = [seed, ASSIGN, split, c] + ([] if domain is None else [domain + 1])
            deck = address(*place).permutation([i for i, label in enumerate(labels) if label == c]).tolist()
            for k, row in enumerate(table):
                hands[k] += [deck.pop(0) for _ in range(row[c])]
        options = {} if domain is None else {"domain": domain}
        found = partition.assign(table, labels, seed, split, **options)
        for k, hand in enumerate(hands):
            whole(f"what client {k} got (data seed {seed}, split {split}, domain {domain})", found[k], sorted(hand))


# ---- collapse

@graded(COLLAPSE, 2, "effective_rank at the top of diagnostics.py: the entropy of which shares?")
def effective_rank(student: Student, given: Given) -> None:
    """Singular values and the effective rank: 1 on a line, all directions alike, and in between."""
    diagnostics = student("minifl.fl.diagnostics")
    rng = given.rng("rank")
    n, d = given.size("images", 6, 9), given.size("features", 3, 5)
    left, right = np.linalg.qr(rng.standard_normal((n, n)))[0], np.linalg.qr(rng.standard_normal((d, d)))[0]
    for name, values in (("all alike", [2.5] * d), ("a line", [3.0]), ("two directions", [3.0, 1.0]),
                         ("random", np.sort(rng.uniform(0.1, 4, d))[::-1])):
        rows = sum(value * np.outer(left[:, i], right[i]) for i, value in enumerate(values))
        found, rank = diagnostics.spectrum(rows)
        near(f"the singular values ({name})", found, [*values, *[0] * (d - len(values))])
        entropy = 0.0
        for value in values:
            entropy -= value / sum(values) * np.log(value / sum(values))
        near(f"the effective rank ({name})", rank, np.exp(entropy), 1e-10)


@graded(COLLAPSE, 1, "the task of spectrum, and effective_rank at the top of diagnostics.py")
def no_rank(student: Student, given: Given) -> None:
    """Features that are all 0 have the rank 0; numbers that are not finite have none."""
    diagnostics = student("minifl.fl.diagnostics")
    n, d = given.size("images", 6, 9), given.size("features", 3, 5)
    values, rank = diagnostics.spectrum(np.zeros((n, d)))
    near("the singular values of zeros", values, [0] * d)
    near("the effective rank of zeros", rank, 0)
    for bad in (np.nan, np.inf):
        rows = given.rng("bad").standard_normal((n, d))
        rows[1, 2] = bad
        values, rank = diagnostics.spectrum(rows)
        expect(np.shape(values) == (min(n, d),) and np.isnan(values).all() and np.isnan(rank),
               f"with {bad} among the features the {min(n, d)} values and the rank should be NaN")


@graded(COLLAPSE, 1, "the docstring of class_means: over which images, and what of a class without any?")
def accuracy_of_each_class(student: Student, given: Given) -> None:
    """Means over each class, of numbers, of rows, and of what a collapsed model says right."""
    diagnostics = student("minifl.fl.diagnostics")
    rng, classes = given.rng("means"), given.size("classes", 3, 6) + 1
    labels = rng.permutation([*range(classes - 1), *rng.integers(0, classes - 1, 8)])      # nobody of the last class
    right = labels == 0                                         # of a model that says class 0 all the time
    for values in (right, rng.standard_normal(len(labels)), rng.standard_normal((len(labels), 3))):
        found = np.asarray(diagnostics.class_means(values, labels, classes))
        shape = (classes,) + np.shape(values)[1:]
        expect(found.shape == shape, f"the means have the shape {found.shape}, it should be {shape}")
        expect(np.isnan(found[-1]).all(), "the mean of a class without images should be NaN")
        for c in range(classes - 1):
            mine = [values[i] for i in range(len(labels)) if labels[i] == c]
            near(f"the mean of class {c}", found[c], sum(mine[1:], 0.0 + mine[0]) / len(mine))


@graded(COLLAPSE, 2, "your inequality for a margin: how many weight vectors stand in it, and how long is a feature?")
def the_floor(student: Student, given: Given) -> None:
    """A search among the weights and features that there are comes down to lowest_loss, and no further."""
    collapse, rng = student("minifl.course.hw4.collapse"), given.rng("floor")
    mine = given.size("classes", 3, 6), given.size("features", 3, 5)
    for classes, d, product in ((2, 1, 0.5), (*mine, 0.8), (12, 2, 1.5)):
        radius = product / length_of(d, given)
        floor, found = collapse.lowest_loss(classes, d, radius), lowest(rng, classes, d, radius, length_of(d, given))
        here = f"lowest_loss({classes}, {d}, {radius:.3g})"
        expect(np.ndim(floor) == 0 and np.isfinite(floor), f"{here} should be a number")
        expect(floor <= found * (1 + 1e-9), f"{here} = {floor:.4g}, but there are lower losses: {found:.4g}")
        expect(floor >= found * (1 - 1e-3), f"{here} = {floor:.4g}, but a search gets no lower than {found:.4g}")
    tiny = collapse.lowest_loss(*mine, 30 / length_of(mine[1], given))
    expect(0 < tiny < 1e-15, f"at a large radius the floor is tiny and not 0: lowest_loss is {tiny:.4g}")


@graded(COLLAPSE, 1, "your inequalities of lowest_loss: when are both equalities?")
def reaching_the_floor(student: Student, given: Given) -> None:
    """at_the_floor has the lengths that it may have, and a loss of class k as low as any that a search finds."""
    collapse = student("minifl.course.hw4.collapse")
    classes, d = given.size("classes", 3, 6), given.size("features", 3, 5)
    length = length_of(d, given)
    found = lowest(given.rng("reaching"), classes, d, 0.6 / length, length)
    for k, product, most in [*((k, 0.6, found * (1 + 1e-9)) for k in range(classes)), (1, 30, 1e-20)]:
        radius = product / length
        w, g = (np.asarray(part, dtype=float) for part in collapse.at_the_floor(classes, d, radius, k))
        expect(w.shape == (classes, d) and g.shape == (d,), f"w and g have the shapes {w.shape} and {g.shape}, they "
               f"should have {(classes, d)} and {(d,)}")
        longest = max(np.sqrt((row * row).sum()) for row in w)
        expect(longest <= radius * (1 + SMALL), f"a weight vector is {longest / radius:.2g} times as long as it may be")
        near("the length of g", np.sqrt((g * g).sum()), length)
        loss = plain_loss(w, g, k)
        expect(loss <= most, f"the loss of class {k} is {loss:.4g}, there are losses of {most:.4g} with the radius "
               f"{radius:.3g}")


@graded(COLLAPSE, 1, "what keeps the features of the plain network from growing?")
def a_client_with_one_class(student: Student, given: Given) -> None:
    """Trained on one class, the plain network falls through your floor; feature norm comes down to it and stays."""
    rng = given.rng("one class")
    classes, hidden = given.size("classes", 3, 6), given.size("hidden", 14, 19)
    labels = np.repeat(np.arange(classes), 5)
    x = rng.random((classes, given.size("inputs", 6, 9)))[labels] + 0.3 * rng.random((len(labels), 1))
    radius, k = 1.5 / hidden**0.5, int(rng.integers(classes))
    # n makes features sqrt(d) long. If yours have length 1, weights that are so much longer make the same logits
    scale = hidden**0.5 / length_of(hidden, given)
    floor = student("minifl.course.hw4.collapse").lowest_loss(classes, hidden, radius * scale)
    for norm in ("none", "fn"):
        found = drivers.one_class(
            norm, x, labels, k, hidden=hidden, radius=radius, steps=120, lr=0.5, seed=int(rng.integers(1000)))
        says = np.asarray(found["says"][-1]) == k
        if norm == "none":
            last = found["losses"][-1]
            expect(last < floor / 2, f"the plain network's loss falls to {last:.2e}, your floor under feature norm is "
                   f"{floor:.2e}: it should be far above")
            wrong = student("minifl.fl.diagnostics").class_means(~says, labels, classes)
            expect(np.mean(wrong) < 0.5, "the plain network should say its own class of nearly everything")
        else:
            lowest = min(found["losses"])
            expect(lowest >= floor * (1 - 1e-9), f"feature norm's loss is {lowest:.3e}, below your floor {floor:.3e}")
            expect(lowest <= floor * 1.1, f"feature norm's loss stays at {lowest:.3e}, far above your {floor:.3e}")
