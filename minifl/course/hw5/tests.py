"""Public tests of assignment 5; expected.py has softmax regression by plain loops, drivers.py calls what you write."""

from collections.abc import Callable

import numpy as np

from minifl.backend import Array
from minifl.course.hw5 import drivers
from minifl.course.hw5.expected import SMALL, a_batch, derivative, minimum, near, slope, some_clients
from minifl.course.running import Given, Student, expect, graded

PROX, SCAFFOLD, SERVER, YOGI = "FedProx", "SCAFFOLD", "server optimizers", "FedYogi"


# ---- FedProx

def penalty_of(mu: float, given: Given) -> Callable:
    """The term of your variant, as a function of the list theta - w; of complex numbers, too."""
    if given.variant["prox"] == "absolute":
        return lambda gap: mu * sum((u * u) ** 0.5 for u in gap)
    factor = mu if given.variant["prox"] == "whole" else mu / 2
    return lambda gap: factor * sum(u * u for u in gap)


@graded(PROX, 2, "the objective at the top of fedprox.py: where does theta stand in it?")
def proximal_gradient(student: Student, given: Given) -> None:
    """The gradient is the derivative of the objective with the term; the loss that is recorded leaves the term out."""
    classes, w, theta, x, y = a_batch(given, "prox")
    for mu in (0.01, float(given.rng("mu").uniform(0.3, 2))):
        loss, g = drivers.gradient(student, "fedprox", {"mu": mu}, classes, w, theta, {}, {}, x, y)
        near(f"the gradient (mu = {mu:.3g})", g, [derivative(*own, classes, penalty_of(mu, given))
                                                  for own in zip(theta, w, x, y)], 1e-11)
        near(f"the loss (mu = {mu:.3g})", loss, [slope(*own, classes)[0] for own in zip(theta, x, y)])


@graded(PROX, 1, "the term: what are its value and its slope at theta = w, and at mu = 0?")
def prox_and_fedavg(student: Student, given: Given) -> None:
    """Without the term, and where it has its minimum, FedProx is FedAvg, bit for bit."""
    classes, w, theta, x, y = a_batch(given, "prox and avg")
    for mu, at in ((0.0, theta), (0.7, w)):
        loss, g = drivers.gradient(student, "fedprox", {"mu": mu}, classes, w, at, {}, {}, x, y)
        plain_loss, plain = drivers.gradient(student, "fedavg", {}, classes, w, at, {}, {}, x, y)
        where = "at theta = w" if at is w else f"with mu = {mu:g}"
        expect(np.array_equal(g, plain) and np.array_equal(loss, plain_loss),
               f"loss or gradient differ from FedAvg's {where}")
    far, near_by = (drivers.gradient(student, "fedprox", {"mu": mu}, classes, w, theta, {}, {}, x, y)[1]
                    for mu in (0.0, 5.0))
    expect(((near_by - far) * (theta - w)).sum() > 0, "the step goes against the gradient and should pull theta to w")


# ---- SCAFFOLD

def sign(given: Given) -> int:
    """Of a control, against the gradient that it stands for."""
    return -1 if given.variant["control"] == "negative" else 1


def renewed(old: Array, found: Array, given: Given) -> Array:
    """The control after one that was `old` found a gradient."""
    return (old + found) / 2 if given.variant["control"] == "half" else sign(given) * found


@graded(SCAFFOLD, 2, "the client's line at the top of scaffold.py")
def corrected_gradient(student: Student, given: Given) -> None:
    """A step's gradient is corrected by the client's control and the server's, each with its sign."""
    classes, w, theta, x, y = a_batch(given, "corrected")
    rng = given.rng("controls")
    own, common = rng.standard_normal(theta.shape), rng.standard_normal(theta.shape[1])
    loss, g = drivers.gradient(student, "scaffold", {}, classes, w, theta, {"control": common},
                                                            {"control": own}, x, y)
    found = [slope(*mine, classes) for mine in zip(theta, x, y)]
    near("the gradient", g, [slopes - sign(given) * (control - common) for (_, slopes), control in zip(found, own)])
    near("the loss", loss, [value for value, _ in found])


def a_way(w: Array, own: Array, common: Array, x: Array, y: Array, classes: int, lr: float, momentum: float) -> tuple:
    """Of one client's corrected steps: theta, the mean gradient on the way, and what the steps' weights add up to."""
    theta, velocity, slopes = w.copy(), 0, []
    for batch, labels in zip(x, y):
        slopes.append(slope(theta, batch, labels, classes)[1])
        velocity = momentum * velocity + slopes[-1] - own + common
        theta = theta - lr * velocity
    weights = [sum(momentum**i for i in range(len(x) - s)) for s in range(len(x))]
    return theta, sum(a * g for a, g in zip(weights, slopes)) / sum(weights), sum(weights)


@graded(SCAFFOLD, 3, "your line for theta after E steps: which signs, and what is the whole way divided by?")
def the_mean_gradient_on_the_way(student: Student, given: Given) -> None:
    """Option II finds the mean gradient that a client met on its way, with momentum too; what is sent is the change."""
    classes, w, _, _, _ = a_batch(given, "way")
    rng, steps, n, d = given.rng("batches"), given.size("steps", 2, 4), given.size("batch", 3, 5), given.size("d", 2, 4)
    x, y = rng.standard_normal((len(w), steps, n, d)), rng.integers(0, classes, (len(w), steps, n))
    own, common = rng.standard_normal(w.shape), rng.standard_normal(w.shape[1])
    for lr, momentum in ((0.1, 0.0), (0.02, 0.0), (0.05, 0.6)):
        ways = [a_way(start, sign(given) * control, sign(given) * common, *mine, classes, lr, momentum)
                for start, control, *mine in zip(w, own, x, y)]
        theta, weight = np.array([end[0] for end in ways]), float(ways[0][2])
        sent, kept = drivers.message(student, "scaffold", {}, classes, w, theta, {"control": common}, {"control": own}, x,
                                     y, np.ones(x.shape[:2], bool), weight, lr)
        expect(set(sent) == {"update", "control"} and set(kept) == {"control"},
               f"update and control should be sent and control kept, found {sorted(sent)} and {sorted(kept)}")
        new = [renewed(old, found, given) for old, (_, found, _) in zip(own, ways)]
        here = f"(lr {lr}, momentum {momentum})"
        near(f"what the clients keep {here}", kept["control"], new, 1e-10)
        near(f"the controls that are sent {here}", sent["control"], np.array(new) - own, 1e-10)
        near(f"the updates {here}", sent["update"], theta - w)


def batches(given: Given) -> tuple:
    """classes, w, theta, the batches x and y of all steps, how many of them each client does, their mean gradients at w."""
    classes, w, theta, _, _ = a_batch(given, "at the server")
    rng, most, n, d = given.rng("batches"), given.size("steps", 2, 4), given.size("batch", 3, 5), given.size("d", 2, 4)
    x, y = rng.standard_normal((len(w), most, n, d)), rng.integers(0, classes, (len(w), most, n))
    done = rng.permutation([1, most, *rng.integers(1, most + 1, len(w) - 2)])
    means = [sum(slope(w[k], x[k, e], y[k, e], classes)[1] for e in range(done[k])) / done[k] for k in range(len(w))]
    return classes, w, theta, x, y, done, means


@graded(SCAFFOLD, 1, "option I at the top of scaffold.py: whose gradient, where, and over which batches?")
def the_gradient_at_the_server(student: Student, given: Given) -> None:
    """_mean_gradient_at_server is over the batches of the steps that a client does."""
    classes, w, _, x, y, done, means = batches(given)
    found = drivers.gradient_at_the_server(student, classes, w, x, y, np.arange(x.shape[1]) < done[:, None])
    near(f"the mean gradients (steps done: {done.tolist()})", found, means)


@graded(SCAFFOLD, 1, "option I at the top of scaffold.py: what does a client keep, and what does it send?")
def option_one(student: Student, given: Given) -> None:
    """With option I the mean gradient at the server's parameters makes the client's control."""
    classes, w, theta, x, y, done, means = batches(given)
    rng = given.rng("controls of option I")
    own, common = rng.standard_normal(w.shape), rng.standard_normal(w.shape[1])
    sent, kept = drivers.message(student,
        "scaffold", {"scaffold_option": "I"}, classes, w, theta, {"control": common}, {"control": own}, x, y,
        np.arange(x.shape[1]) < done[:, None], done, 0.1)
    new = [renewed(old, mean, given) for old, mean in zip(own, means)]
    near(f"what the clients keep (steps done: {done.tolist()})", kept["control"], new)
    near("the controls that are sent", sent["control"], np.array(new) - own)


@graded(SCAFFOLD, 2, "the task of Scaffold.server: by how much does the sum change?")
def the_servers_control(student: Student, given: Given) -> None:
    """The server moves by server_lr times the mean, and its control by as much as the clients' weighted sum."""
    rng = given.rng("server")
    w, control, update, change = rng.standard_normal((4, given.size("d", 2, 4) * 3))
    for share, rate in ((1.0, 1.0), (0.4, 1.0), (float(rng.uniform(0.1, 0.9)), 0.5)):
        after, state = drivers.server(student,
            "scaffold", {"server_lr": rate}, w, {"update": update, "control": change}, {"control": control}, share)
        here = f"(share {share:.2g}, server_lr {rate:g})"
        near(f"w {here}", after, [a + rate * b for a, b in zip(w, update)])
        expect(set(state) == {"control"}, f"the server keeps its control, found {sorted(state)}")
        near(f"the server's control {here}", state["control"], [a + share * b for a, b in zip(control, change)])


@graded(SCAFFOLD, 1, "c = sum_k (n_k/n) c_k, at the top of scaffold.py: over whom, and with which weights?")
def controls_add_up(student: Student, given: Given) -> None:
    """However few clients answer, the server's control is the weighted sum of all clients'; N c = sum c_k if equal."""
    classes, w, x, y = some_clients(given, "adding up")
    for equal in (False, True):
        if equal:
            least = min(len(labels) for labels in y)
            x, y = [own[:least] for own in x], [own[:least] for own in y]
        clients = len(x)
        answering = [[0, clients - 1], [1], list(range(clients)), [0]]
        for option in ("I", "II"):
            for found in drivers.rounds(student,
                    "scaffold", {"scaffold_option": option}, classes, w, x, y, answering, lr=0.1, steps=2):
                total = sum(len(labels) * kept["control"] for labels, kept in zip(y, found["own"]))
                near(f"the server's control (option {option}, {'equal' if equal else 'unequal'} clients)",
                     found["state"]["control"], total / sum(len(labels) for labels in y))
            expect(np.abs(total).max() > 1e-3, "the controls should not stay 0")


@graded(SCAFFOLD, 1, "the client's line: what is grad F_k - c_k + c at the minimum, when c_k = grad F_k there?")
def the_minimum_is_a_fixed_point(student: Student, given: Given) -> None:
    """With exact controls nobody leaves the minimum of all, where FedAvg's clients walk away."""
    classes, _, x, y = some_clients(given, "minimum")
    best, slopes = minimum(x, y, classes)
    everyone = [list(range(len(x)))] * 2
    own = [{"control": sign(given) * g} for g in slopes]
    for option in ("I", "II"):
        for found in drivers.rounds(student, "scaffold", {"scaffold_option": option}, classes, best, x, y, everyone,
                                    lr=0.3, steps=4, state={"control": np.zeros_like(best)}, own=own):
            near(f"w after a round from the minimum (option {option})", found["w"], best, 1e-9)
            for kept, exact in zip(found["own"], own):
                near("a client's control there", kept["control"], exact["control"], 1e-8)
    away = best + given.rng("away").standard_normal(best.shape)
    end = drivers.rounds(student, "scaffold", {}, classes, away, x, y, everyone, lr=0.3, steps=4)[-1]["w"]
    expect(np.linalg.norm(end - best) < np.linalg.norm(away - best), "from elsewhere SCAFFOLD should come closer to it")
    moved = drivers.rounds(student, "fedavg", {}, classes, best, x, y, everyone, lr=0.3, steps=4)[-1]["w"]
    expect(np.abs(moved - best).max() > 1e-5, "FedAvg should leave the minimum")


# ---- server optimizers

def numbers(given: Given, purpose: str) -> tuple:
    """w and some updates (T, P), one of whose numbers is always 0, and options of a server optimizer."""
    rng = given.rng(purpose)
    w, *updates = rng.standard_normal((given.size("rounds", 3, 5) + 1, given.size("p", 4, 7)))
    for update in updates:
        update[1] = 0
    return w, updates, {"server_lr": 0.2, "beta1": float(rng.uniform(0.3, 0.9)), "server_tau": 0.3, "server_v0": 0.04}


def divided(m: float, v: float, tau: float, given: Given) -> float:
    """m over the root, of one number, as in your variant."""
    return m / (v + tau * tau) ** 0.5 if given.variant["server"] == "inside" else m / (v**0.5 + tau)


@graded(SERVER, 1, "'from ...' in the equations at the top of fedopt.py")
def starting_moments(student: Student, given: Given) -> None:
    """The server starts from the moments that the equations name."""
    w, _, options = numbers(given, "start")
    state = drivers.start(student, "squares", options, w)
    expected = {"m": 0.0, "v": 0.04} | ({"ones": 0.0} if given.variant["server"] == "corrected" else {})
    expect(set(state) == set(expected), f"the server should keep {sorted(expected)}, found {sorted(state)}")
    for name, value in expected.items():
        near(name, state[name], np.full_like(w, value))


@graded(SERVER, 2, "the server's lines at the top of fedopt.py: what is averaged with what, and where does tau stand?")
def moments_and_steps(student: Student, given: Given) -> None:
    """Some rounds with v <- D^2, number by number."""
    w, updates, options = numbers(given, "steps")
    state = {name: np.full_like(w, value) for name, value in (("m", 0.1), ("v", 0.04), ("ones", 0.0))}
    if given.variant["server"] != "corrected":
        del state["ones"]
    m, ones, beta, expected = [0.1] * len(w), 0.0, options["beta1"], list(w)
    for number, update in enumerate(updates, start=1):
        w, state = drivers.server(student, "squares", options, w, {"update": update}, state, 0.5)
        ones = beta * ones + (1 - beta)
        for i, d in enumerate(update):
            m[i] = beta * m[i] + (1 - beta) * d
            mean = m[i] / ones if given.variant["server"] == "corrected" else m[i]
            expected[i] += options["server_lr"] * divided(mean, d * d, options["server_tau"], given)
        near(f"m after round {number}", state["m"], m)
        near(f"v after round {number}", state["v"], update * update)
        near(f"w after round {number}", w, expected)


@graded(SERVER, 1, "m with the same D in every round, from its start: what part of D is it after t rounds?")
def the_same_update_again(student: Student, given: Given) -> None:
    """With the same update in every round the server goes its way, by steps whose lengths you can sum up by hand."""
    w, updates, options = numbers(given, "again")
    state, update = drivers.start(student, "squares", options, w), updates[0]
    for t in range(1, 6):
        after, state = drivers.server(student, "squares", options, w, {"update": update}, state, 1.0)
        part = 1 if given.variant["server"] == "corrected" else 1 - options["beta1"] ** t
        near(f"the step of round {t}", after - w,
             [options["server_lr"] * divided(part * d, d * d, options["server_tau"], given) for d in update])
        w = after


# ---- FedYogi

def stops(given: Given) -> bool:
    """Whether your v stops at D^2."""
    return given.variant["yogi"] == "stop"


@graded(YOGI, 1, "the sentence on v at the top of fedyogi.py: which way, and how far?")
def one_step_of_v(student: Student, given: Given) -> None:
    """v moves towards the square of the update, down and up, by a step of the right size."""
    rng, beta = given.rng("v"), float(given.rng("beta").uniform(0.5, 0.95))
    update = rng.uniform(0.5, 2, given.size("p", 4, 7)) * rng.choice([-1, 1], given.size("p", 4, 7))
    step = (1 - beta) * update**2
    for what, v, after in (("far above D^2", 5 * update**2, 5 * update**2 - step), ("0", 0 * update, step),
                           ("D^2", update**2, update**2), ("a little below D^2", update**2 - 1.5 * step,
                                                           update**2 - 0.5 * step)):
        near(f"v, from {what}, beta2 = {beta:.2g}: it",
             drivers.second_moment(student, {"beta2": beta}, v, update), after)
    near("v, when the update is 0: it", drivers.second_moment(student, {"beta2": beta}, step, 0 * update), step)


@graded(YOGI, 1, "the sentence on v at the top of fedyogi.py, with Adam's v <- beta2 v + (1 - beta2) D^2 beside it")
def against_adam(student: Student, given: Given) -> None:
    """v grows from 0 as fast as Adam's, falls more slowly, and for it the sign of the update does not matter."""
    rng = given.rng("adam")
    update, beta = rng.uniform(0.5, 2, given.size("p", 4, 7)), 0.99
    high, low = update**2 * rng.uniform(20, 90, len(update)), np.zeros_like(update)
    for name, v in (("above", high), ("below", low)):
        yogi = np.asarray(drivers.second_moment(student, {"beta2": beta}, v, update), dtype=float)
        adam = beta * v + (1 - beta) * update * update
        if name == "below":
            near("v after a step from 0, as Adam's: it", yogi, adam)
        else:
            expect(((adam < yogi) & (yogi < v)).all(), "from far above D^2, v should fall, and more slowly than Adam's")
        near("v with -D: it", drivers.second_moment(student, {"beta2": beta}, v, -update), yogi, 0)


@graded(YOGI, 1, "the sentence on v at the top of fedyogi.py: what happens when less than a step is left?")
def close_to_the_square(student: Student, given: Given) -> None:
    """With the same update again and again v comes to its square and stays about there, on the side that it should."""
    rng = given.rng("close")
    update, beta = rng.uniform(0.5, 2, given.size("p", 4, 7)), float(rng.uniform(0.6, 0.9))
    square, step = update**2, (1 - beta) * update**2
    for part in (0.3, -0.3, 0.8):
        v = drivers.second_moment(student, {"beta2": beta}, square + part * step, update)
        near(f"v, from {part:g} steps beside D^2: it", v,
             square if stops(given) else square + (part - (1 if part > 0 else -1)) * step)
    v = square * rng.uniform(0.1, 3, len(update))
    for _ in range(60):
        v = np.asarray(drivers.second_moment(student, {"beta2": beta}, v, update), dtype=float)
    expect((np.abs(v - square) <= step * (1 + SMALL)).all(),
           "after 60 times the same update v is not within a step of D^2")
