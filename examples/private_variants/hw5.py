"""Private variants of assignment 5: FedProx with another term around another place, SCAFFOLD with scaled controls, server
optimizers with another step (hw5_server.py).

`hw5` at the end says what is drawn. The functions are written out as that student's reference solution has them.
"""

from hw5_server import GAINS, NUMERATORS, PLACES, STARTS, along, divisor, fedyogi, server

from minifl.course.assignments import Choice, Patch
from minifl.course.rewriting import rewritten

PROX, SCAFFOLD = (f"minifl/fl/algorithms/{name}.py" for name in ("fedprox", "scaffold"))
TESTS, SHEET, KEY = (f"minifl/course/hw5/{file}" for file in ("tests.py", "sheet.md", "answers_key.md"))

# term of u, without its factor -> (by hand, for complex numbers, too; factor of the slope; the slope; in code)
TERMS = {
    "||u||^2": ("sum(u * u for u in gap)", 2, "u", "u"),
    "sum_i u_i^4": ("sum(u**4 for u in gap)", 4, "u^3", "u**3"),
    "||u||^4": ("sum(u * u for u in gap) ** 2", 4, "||u||^2 u", "(u * u).sum(axis=1, keepdims=True) * u"),
    "sum_i log(1 + u_i^2)": ("sum(np.log(1 + u * u) for u in gap)", 2, "u/(1 + u^2)", "u / (1 + u * u)"),
    "sum_i (sqrt(1 + u_i^2) - 1)": ("sum((1 + u * u) ** 0.5 - 1 for u in gap)", 1, "u/sqrt(1 + u^2)",
                                    "u / (1 + u * u) ** 0.5")}
# weight of the e-th batch, from e = 1 -> code
WEIGHTS = {"e": "step + 1", "e^2": "(step + 1) ** 2", "1/e": "1 / (step + 1)", "2^e": "2.0**step", "1/2^e": "0.5**step"}


def plus(number, what):
    """ "- 0.5 w": a summand of a formula, or of code."""
    size = "" if abs(number) == 1 else f"{abs(number):g} "
    return f"{'-' if number < 0 else '+'} {size}{what if size else what.removeprefix('* ')}"


def fedprox(term, place, factor):
    """The term mu factor term(theta - place w)."""
    by_hand, times, slope, code = TERMS[term]
    times, u = f"{times * factor:g}", f"theta {plus(-place, 'w')}"
    return (*rewritten(PROX, f'''
"""FedProx (after Li et al. 2020, "Federated optimization in heterogeneous networks"): clients stay near {place} w.

    client k minimizes  F_k(theta) + {factor} mu {term},  u = {u},  w the server's parameters
    server: as FedAvg

mu = 0 is FedAvg, to the bit. The paper's mu is 0.01 (its experimental set-up).
"""
'''), *rewritten(PROX, f'''
def is_fedavg(self, settings, counts):
    return {{"--mu 0: there is no proximal term": self.mu == 0}}

def gradient(self, work, theta, x, y):
    """As FedAvg's, but the gradient is that of the objective with the proximal term.

    Derivation. The term's gradient is {times} mu {slope} with u = {u}.
    """
    loss, g, seen = super().gradient(work, theta, x, y)
    u = theta {plus(-place, "* work.w")}
    return loss, g + {times} * self.mu * {code}, seen
''', of="FedProx"), Patch(PROX, "from minifl.fl.participation import steps_of\n", ""), *rewritten(TESTS, f'''
def penalty_of(mu: float, given: Given) -> Callable:
    """The term of your variant, as a function of the list {u}; of complex numbers, too."""
    return lambda gap: {factor} * mu * {by_hand}
'''), Patch(TESTS, "[derivative(*own, classes, penalty_of(mu, given))\n"
                   "                                                  for own in zip(theta, w, x, y)], 1e-11)",
            f"[derivative(*own, classes, penalty_of(mu, given))\n"
            f"                                                  for own in zip(theta, {place} * w, x, y)], 1e-11)"),
        Patch(TESTS, "what are its value and its slope at theta = w, and", f"what is its slope at theta = {place} w, and"),
        Patch(TESTS, "for mu, at in ((0.0, theta), (0.7, w)):", f"for mu, at in ((0.0, theta), (0.7, {place} * w)):"),
        Patch(TESTS, 'where = "at theta = w" if at is w else', f'where = "at theta = {place} w" if mu else'),
        Patch(TESTS, "expect(((near_by - far) * (theta - w)).sum() > 0, \"the step goes against the gradient and should "
                     "pull theta to w\")",
              f"expect(((near_by - far) * (theta - {place} * w)).sum() > 0,\n"
              f"           \"the step goes against the gradient and should pull theta to {place} w\")"),
        Patch(SHEET, "it grows with the distance from w\n", f"yours grows with the distance from {place} w\n"),
        Patch(KEY, "mu = 0, or a single local step, which begins at w, where the term's gradient is 0.",
              f"mu = 0. (A single local step is none: it begins at w, where u = {1 - place:g} w.)"))


def scaffold(gamma, kappa, sent, part, weight):
    """Controls gamma times a gradient, the server's kappa times their mean; sent times the change is sent."""
    a, b, code = -1 / gamma, 1 / (gamma * kappa), WEIGHTS[weight]
    controls = f"{plus(a, 'c_k')} {plus(b, 'c')}"
    without = f"{plus(-a, 'c_k')} {plus(-b, 'c')}".removeprefix("+ ")
    renewed = f"{gamma} found" if part == 1 else f"{1 - part} c_k {plus(part * gamma, 'found')}"
    new = f"{gamma} * found" if part == 1 else f"{1 - part} * control {plus(part * gamma, '* found')}"
    return (*rewritten(SCAFFOLD, f'''
"""SCAFFOLD (after Karimireddy et al. 2020, Algorithm 1): control variates take the drift out of the local steps.

    client k:   theta <- theta - lr (grad F_k(theta) {controls})          E times
                c_k+ = {renewed}
    option I:   found = the mean gradient at w over the batches of the round, where the e-th batch (e = 1, 2, ...) of a
                client has the weight {weight}; the weights are divided by their sum
    option II:  found = the mean gradient along the way, without another pass over the data (`Scaffold.message`)
                it sends {sent} times the change of its control
    server:     w <- w + server_lr sum_{{k in S}} (n_k / n_S) (theta_k - w)
                c: what keeps the equation below (`Scaffold.server`)

All controls start at 0. S are the clients that answered, n_S their examples, n those of all clients. A client's control
stands for {gamma} times its gradient. After each round the server holds

    c = {kappa} sum_k (n_k / n) c_k

over all clients, those too that did not answer, and a minimum of sum_k (n_k/n) F_k stays one, because there
c_k = {gamma} grad F_k and c = 0.
"""

def _mean_gradient_at_server(work):
    """(K, P): each client's gradient at w, averaged over the batches of its steps with the weights {weight}."""
    xp = get_xp(work.w)
    total, weights = xp.zeros_like(work.w), 0
    for step in range(work.x.shape[1]):
        _, g, _ = loss_and_grad(work.model, work.w, *work.batch(step), work.smoothing)
        weight = (work.active[:, step, None] * ({code})).astype(work.w.dtype)
        total += weight * g
        weights = weights + weight
    return total / weights
'''), *rewritten(SCAFFOLD, f'''
def gradient(self, work, theta, x, y):
    """As FedAvg's, but the gradient is what the step takes: corrected by the client's control and the server's."""
    loss, g, seen = super().gradient(work, theta, x, y)
    return loss, g {plus(a, '* work.own["control"]')} {plus(b, '* work.server["control"]')}, seen

def message(self, work, theta):
    """FedAvg's message, and {sent} times the change of the client's control, named "control".

    The client keeps the new control, "control", too.

    work.steps (K, 1) is E, with momentum E', what the weights of the steps add up to (local.py).

    Derivation of option II:
        theta = w - lr sum_e (g_e {controls}),   hence
        (w - theta)/(E lr) = mean_e(g_e) {controls},   and
        found = mean_e(g_e) = {without} + (w - theta)/(E lr)
    With momentum E' takes the place of E, and found is the mean with the weights of the steps.
    """
    message, _ = super().message(work, theta)
    control = work.own["control"]
    if self.scaffold_option == "II":
        found = {-a:g} * control {plus(-b, '* work.server["control"]')} - message["update"] / (work.steps * work.lr)
    else:
        found = _mean_gradient_at_server(work)
    new = {new}
    return message | {{"control": {sent} * (new - control)}}, {{"control": new}}

def server(self, model, w, mean, state, share):
    """FedAvg's step with a learning rate, and the server's new control.

    Derivation. For c to stay {kappa} times the sum over all clients of (n_k/n) c_k,
        c <- c {plus(kappa, 'sum_(k in S)')} (n_k / n) (c_k+ - c_k),
    what was sent is {sent} times the change, and its mean is short of the factor n_S/n, the share.
    """
    control = state["control"] {plus(kappa / sent, '* share')} * mean["control"]
    return w + self.server_lr * mean["update"], {{"control": control}}
''', of="Scaffold"), Patch(
    SCAFFOLD, 'return {"with one client in all, its control equals the server\'s": len(', f'''return {{
            "with one client in all, the server's control is {kappa} times its control":
                len('''),
        *rewritten(TESTS, f'''
def sign(given: Given) -> float:
    """Of a control, against the gradient that it stands for: your factor."""
    return {gamma}

def renewed(old: Array, found: Array, given: Given) -> Array:
    """The control after one that was `old` found a gradient."""
    return {1 - part} * old + {part} * sign(given) * found
'''), Patch(TESTS, "slopes - sign(given) * (control - common) for",
                  f"slopes {plus(a, '* control')} {plus(b, '* common')} for"),
        Patch(TESTS, "slopes[-1] - own + common", f"slopes[-1] {plus(a, '* own')} {plus(b, '* common')}"),
        Patch(TESTS, "a_way(start, sign(given) * control, sign(given) * common,", "a_way(start, control, common,"),
        Patch(TESTS, "np.array(new) - own, 1e-10)", f"{sent} * (np.array(new) - own), 1e-10)"),
        Patch(TESTS, "np.array(new) - own)\n", f"{sent} * (np.array(new) - own))\n"),
        Patch(TESTS, "with momentum too; what is sent is the change.",
              f"with momentum too;\n    what is sent is {sent} times the change."),
        Patch(TESTS, "    means = [sum(slope(w[k], x[k, e], y[k, e], classes)[1] for e in range(done[k])) / done[k] "
                     "for k in range(len(w))]\n",
              f"    weights = [{code} for step in range(most)]\n"
              "    means = [sum(weights[e] * slope(w[k], x[k, e], y[k, e], classes)[1] for e in range(done[k]))\n"
              "             / sum(weights[:done[k]]) for k in range(len(w))]\n"),
        Patch(TESTS, "and its control by as much as the clients' weighted sum.",
              "and its control so that it stays your multiple of the clients' sum."),
        Patch(TESTS, "[a + share * b for a, b in zip(control, change)]",
              f"[a {plus(kappa / sent, '* share')} * b for a, b in zip(control, change)]"),
        Patch(TESTS, '"c = sum_k (n_k/n) c_k, at the top', f'"c = {kappa} sum_k (n_k/n) c_k, at the top'),
        Patch(TESTS, "the server's control is the weighted sum of all clients'; N c = sum c_k if equal.",
              f"the server's control is {kappa} times the weighted sum of all clients'."),
        Patch(TESTS, 'found["state"]["control"], total / sum(', f'found["state"]["control"], {kappa} * total / sum('),
        Patch(TESTS, "what is grad F_k - c_k + c at the minimum, when c_k = grad F_k there?",
              f"what does it come to at the minimum, when c_k = {gamma} grad F_k there?"),
        Patch(SHEET, "mean[\"control\"] is the mean of what the clients of S sent, with the weights n_k/n_S. By how much "
                     "does\nthe sum over all clients of (n_k/n) c_k change ",
              f"mean[\"control\"] is the mean of what the clients of S sent, {sent} times their changes, with the weights\n"
              "n_k/n_S. By how much does the sum over all clients of (n_k/n) c_k change\n"),
        Patch(SHEET, "Let c\nchange by as much.", f"Let c\nchange by {kappa} times as much."),
        Patch(SHEET, "a batch of a step that it does not do is no batch of its.",
              f"a batch of a step that it does not do is no batch of its. The e-th has the weight {weight}."),
        Patch(SHEET, "Write down where a client is after E corrected steps from w, and solve for their mean.",
              "Write down where a client is after E corrected steps from w, and solve for their mean,\nwhich is `found`."),
        Patch(SHEET, "so that the difference\n  of the two takes", "so that both\n  together take"),
        Patch(KEY, "whose control is the server's, so that the correction is 0;",
              f"where the server's control is {kappa} times its control,\nso that the correction is 0;"),
        Patch(KEY, "the controls are\nthese numbers (published, and half: the average of two equal numbers is the same "
                   "number) or minus these (negative),", f"the controls are\n{gamma} times these numbers,"))


def hw5(draw):
    """The variant of one student."""
    term, place = draw("term", list(TERMS)), draw("place of clients", [0.5, 2, 0.25, -0.5, -1])
    factor = draw("factor of the term", [0.25, 0.5, 1, 2, 3])
    gamma, kappa = draw("factor of a control", [2, -2, 0.5, -0.5, -1, 4]), draw("factor of the server's", [-1, 4, -2])
    sent, part = draw("factor of what is sent", [2, 0.5, -0.5]), draw("part that is renewed", [1, 0.75, 0.5])
    weight = draw("weight of a batch", list(WEIGHTS))
    gain, numerator, place_of_tau = draw("gain", list(GAINS)), draw("numerator", list(NUMERATORS)), draw("tau", list(PLACES))
    root, times, start = draw("root", [0.5, 0.25, 0.75]), draw("factor of tau", [2, 3, 0.5]), draw("start", list(STARTS))
    end = draw("end of v", ["stop", "pass"])
    target, size = draw("target of v", [2, 4, 8]), draw("step of v", [0.5, 0.75, 1.25, 1.5])
    return {
        "prox": Choice(f"FedProx: the term is {factor} mu {term} with u = theta {plus(-place, 'w')}.",
                       fedprox(term, place, factor)),
        "control": Choice(
            f"SCAFFOLD: a control stands for {gamma} times a gradient, the server's is {kappa} times the clients' mean, "
            f"{sent} times the change is sent.", scaffold(gamma, kappa, sent, part, weight)),
        "server": Choice(
            f"server optimizers: m grows by {gain} D, a step goes along {along(numerator, gain)} and is divided by "
            f"{divisor(place_of_tau, root, times)}.", server(gain, numerator, place_of_tau, root, times, start)),
        "yogi": Choice(f"FedYogi: v goes towards {target} D^2 by steps of {size} (1 - beta2) D^2.",
                       fedyogi(target, size, end == "stop", root))}
