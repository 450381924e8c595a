"""Private variants of assignment 4: local steps along another mixture of gradient and velocity, means with other weights;
tables of label counts (hw4_tables.py); the floor, and the rank (hw4_collapse.py).

`hw4` at the end says what is drawn. The functions are written out as that student's reference solution has them.
"""

from hw4_collapse import LENGTHS, MISSING, NOT_FINITE, RANKS, SCALES, collapse, rank
from hw4_tables import ADDRESSES, BEGINS, GIVERS, HOLDS, LISTED, ROUNDED, TAKERS, dealing, label_counts

from minifl.course.assignments import Choice, Patch
from minifl.course.rewriting import rewritten

LOCAL, FEDAVG = "minifl/fl/local.py", "minifl/fl/algorithms/fedavg.py"
AVERAGING, EXPECTED, TESTS, EXPERIMENT, KEY = (f"minifl/course/hw4/{file}" for file in (
    "averaging.py", "expected.py", "tests.py", "experiment.py", "answers_key.md"))

# where weight decay stands -> (in g, in the step, in code: g, step, and by hand)
DECAYS = {"in g": (" + weight_decay theta", "", "g = g + weight_decay * theta", "", " + weight_decay * theta[i]", ""),
          "in the step": ("", " + weight_decay theta", "", " + weight_decay * theta", "", " + weight_decay * theta[i]"),
          "from the start": ("", " + weight_decay (theta - w)", "", " + weight_decay * (theta - begin)", "",
                             " + weight_decay * (theta[i] - w[i])")}
# running statistics -> (in the docstring, code, by hand)
RUNNING = {"a little": ("running += MOMENTUM (seen - running)", "running + MOMENTUM * (seen - running)",
                        "s + MOMENTUM * (sum(point[i] for point in batch) / n - s)"),
           "the most": ("running = MOMENTUM running + (1 - MOMENTUM) seen", "MOMENTUM * running + (1 - MOMENTUM) * seen",
                        "MOMENTUM * s + (1 - MOMENTUM) * sum(point[i] for point in batch) / n")}


def local_steps(a, b, enters, velocity, decay, running):
    """theta -= lr (a g + b v), with the velocity before or after g has entered it, and in what part."""
    words_g, words_step, code_g, code_step, hand_g, hand_step = DECAYS[decay]
    seen, code_seen, hand_seen = RUNNING[running]
    v = f"v = momentum v + {'' if enters == '1' else f'({enters}) '}g"
    step = f"theta -= lr ({a} g + {b} v{words_step})"
    first, then = (v, step) if velocity == "new" else (step, v)
    entered = "velocity = momentum * velocity + " + ("g" if enters == "1" else f"({enters}) * g")
    move = f"move = {a} * g + {b} * velocity{code_step}"
    code = [entered, move] if velocity == "new" else [move, entered]
    lines = "\n        ".join([code_g, *code] if code_g else code)
    at = " " * 43
    # weight_s = a + b (1 - momentum^r) / (1 - momentum) of what enters, r = E - s + 1 or E - s velocities
    factor = f"{b}" if enters == "1" else f"{b} ({enters})"
    r, last = ("E - s + 1", "E") if velocity == "new" else ("E - s", "E - 1")
    geometric = ("steps - momentum * (1 - momentum ** steps) / (1 - momentum)" if velocity == "new" else
                 "steps - (1 - momentum ** steps) / (1 - momentum)")
    inner = "momentum (1 - momentum^E)" if velocity == "new" else "(1 - momentum^E)"
    return (*rewritten(LOCAL, f'''
def local_sgd(gradient, w, x, y, *, lr, running=None, active=None, momentum=0.0, weight_decay=0.0):
    """Run up to E local steps on K clients at once.

    gradient  (theta (K, P), x (K, N, ...), y (K, N)) -> loss (K,), gradient (K, P), statistics of the batch (K, S)
    w         (P,) the server's parameters, or (K, P) where each client begins
    x, y      (K, E, N, H, W, C) and (K, E, N): a batch of N for each client and step
    lr        learning rate
    running   (K, S) running statistics of batch norm before the first step; None where nobody asks for them
    active    (K, E) bool, True first: a client does not move in steps where it is False; None: all steps of all clients
    returns   theta (K, P) after the last step, losses (K, E) before each step, 0 where not active, running (K, S)

        theta = w, v = 0;  for each step:  g = grad(theta){words_g}
{at}{first}
{at}{then}
{at}{seen}
    """
    xp = get_xp(w)
    begin = xp.broadcast_to(w, (x.shape[0], w.shape[-1]))
    theta, velocity = begin.copy(), xp.zeros_like(begin)
    losses = xp.zeros(x.shape[:2], dtype=w.dtype)
    for step in range(x.shape[1]):
        loss, g, seen = gradient(theta, x[:, step], y[:, step])
        {lines}
        if active is not None:
            loss = xp.where(active[:, step], loss, xp.zeros_like(loss))
            move = xp.where(active[:, step, None], move, xp.zeros_like(move))
            seen = seen if running is None else xp.where(active[:, step, None], seen, running)
        losses[:, step] = loss
        theta -= lr * move
        if running is not None:
            running = {code_seen}
    return theta, losses, running

def weight_of_steps(steps, momentum):
    """How many times lr*gradient `steps` steps add up to: a = sum over steps of their weight in theta.

    steps    whole number E >= 1, or an array of them, one for each client
    returns  float or array: `local_sgd` ends at theta = w - lr sum_s weight_s grad_s, without weight decay, where
             grad_s is the gradient of step s, and a = sum_s weight_s

    Derivation. The gradient of step s (1 .. E) moves theta by {a} at its own step, and is in the velocity of {r}
    steps with the powers of momentum from 0 on. So its weight is
        {a} + {factor} (1 - momentum^({r}))/(1 - momentum), and
        a = {a} E + {factor} [E - {inner}/(1 - momentum)] / (1 - momentum)
    which for momentum 0 is {a} E + {b} ({last}).
    """
    steps = np.asarray(steps, dtype=float)
    entered = {geometric}
    return {a} * steps + {b} * ({enters}) * entered / (1 - momentum)
'''), *rewritten(EXPECTED, f'''
def moved(velocity, g, momentum, rule):
    """(next velocity, what lr is multiplied with) of one number: the rule of your variant."""
    following = ({enters}) * g + velocity * momentum
    return following, {a} * g + {b} * {"following" if velocity == "new" else "velocity"}
'''), Patch(EXPECTED, "slope[i] + weight_decay * theta[i], momentum, rule)", f"slope[i]{hand_g}, momentum, rule)"),
        Patch(EXPECTED, "theta[i] -= lr * direction\n", f"theta[i] -= lr * (direction{hand_step})\n"),
        Patch(EXPECTED, "s + MOMENTUM * (sum(point[i] for point in batch) / n - s)", hand_seen),
        Patch(TESTS, "local.weight_of_steps(7, 0.0), 7)", 'local.weight_of_steps(7, 0.0), sum(step_weights(7, 0.0, "")))'),
        Patch(TESTS, 'the two geometric sums: over the steps t >= s, then', "the two sums: over the steps t >= s, then"),
        Patch(EXPERIMENT, "10, 20, 0.1\n", f"10, 20, {0.1 / (a + max(b, 0)):.2g}\n"))


def averaging(power, sent, rate, first):
    """Weights by powers of n_k, and messages that are a multiple of theta - w. first: of g in the first local step."""
    p = f"p_k = n_k^{power} / sum_j n_j^{power}"
    return (*rewritten(AVERAGING, f'''
"""The server's mean of what clients sent; minifl/fl/rounds.py adds it up while the messages come in.

    mean = sum_k p_k message_k,      {p}

k and j run over the clients that answered.
"""

def mean_message(messages, sizes):
    """The mean of the messages of the clients that answered in a round.

    messages  of each of them what it sent, a dict: name -> array; all have the same names
    sizes     of each of them n_k > 0, the number of its training examples
    returns   a new dict: name -> sum_k p_k message_k
    """
    parts, mean = [float(size) ** {power} for size in sizes], {{}}
    for message, part in zip(messages, parts):
        for name, sent in message.items():
            mean[name] = mean.get(name, 0) + part / sum(parts) * sent
    return mean
'''), *rewritten(FEDAVG, f'''
def message(self, work, theta):
    """What the clients send after their steps ended at theta (K, P), and what they keep.

    Returns message: name -> (K, ...), and name -> (K, P) for the names in `kept`.
    """
    return {{"update": {sent} * (theta - work.w)}}, {{}}

def moved(self, message):
    """How far a client's message says that its parameters moved, theta - w: (..., P)."""
    return message["update"] / {sent}

def server(self, model, w, mean, state, share):
    """The server's step: next w (P,) and state.

    mean    name -> (...): sum_k p_k message_k over the clients that answered
    share   the part of all clients' training examples that these hold, in (0, 1]
    """
    return w + {rate} * mean["update"] / {sent}, state
''', of="FedAvg"), *rewritten(EXPECTED, f'''
def p(sizes, given):
    """The weights of those that answered."""
    total = sum(n ** {power} for n in map(float, sizes))
    return [n ** {power} / total for n in map(float, sizes)]
'''), Patch(FEDAVG, """then E times  theta <- theta - lr grad F_k(theta)
    server:    w <- w + sum_k p_k (theta_k - w),      p_k = n_k / sum_j n_j

n_k is the number of client k's training examples, j runs over the clients that answered. With --client-weights uniform
n_k is 1 for everyone, here and in all other methods: p_k = 1/m for m clients that answered.
""", f"""then E steps, see local.py; it sends  update_k = {sent} (theta - w)
    server:    w <- w + {rate} sum_k p_k update_k / ({sent}),      {p}

n_k is the number of client k's training examples, k and j run over the clients that answered.
"""), Patch(TESTS, "[[t - b for t, b in zip(*rows)]", f"[[{sent} * (t - b) for t, b in zip(*rows)]"),
        Patch(TESTS, "[a + b for a, b in zip(w, update)]", f"[a + {rate} / {sent} * b for a, b in zip(w, update)]"),
        Patch(TESTS, "answered], given), w, np.zeros(d)", "answered], given), w, w"),
        Patch(TESTS, "w = w + weight * (centers[k] + (1 - lr * curvatures[k]) ** steps * (before - centers[k]))",
              f"w = w + {rate} * weight * ((1 - lr * curvatures[k]) ** steps - 1) * (before - centers[k])"),
        Patch(TESTS, "takes the whole mean, and", "takes the mean as it should, and"),
        Patch(KEY, """= -lr grad F_k(w), so w becomes w - lr sum_k p_k grad F_k(w), a step on F = sum_k p_k F_k, with p_k by
numbers of examples (then F is the mean loss of all examples) or equal for all (the mean of the clients' losses).""",
              f"""= -{first} lr grad F_k(w), so w becomes w - {rate * first} lr sum_k p_k grad F_k(w), a step on
F = sum_k p_k F_k with the p_k of averaging.py, which is not the mean loss of all examples."""))


def hw4(draw):
    """The variant of one student."""
    a, b = draw("gradient in a step", [0.5, 2, 3]), draw("velocity in a step", [0.25, 1.5, 2, 3, -0.25])
    enters, velocity = draw("gradient in v", ["1", "1 - momentum"]), draw("velocity", ["new", "old"])
    decay, running = draw("weight decay", list(DECAYS)), draw("running statistics", list(RUNNING))
    power, sent, rate = draw("power of n_k", ["0.5", "1.5", "2", "-0.5", "-1"]), draw("update", ["-1", "2", "-2", "0.5"]), \
        draw("server's rate", [0.75, 1.25, 1.5])
    table = (draw("rounded up", list(ROUNDED)), draw("equals begin", list(BEGINS)), draw("downwards", [0, 1]),
             draw("oneclass", list(HOLDS)), draw("giver", list(GIVERS)), draw("of equal givers", ["lowest", "highest"]),
             draw("takers", list(TAKERS)), draw("amount", ["all", "one"]))
    deal = (draw("address", list(ADDRESSES)), draw("deck from", ["front", "back"]), draw("last client first", [0, 1]),
            draw("indices", list(LISTED)))
    length, others = draw("length of a feature", list(LENGTHS)), draw("bound of the others", [0.5, 2, 3])
    spectrum = (draw("values", ["descending", "ascending"]), draw("scale of values", list(SCALES)),
                draw("rank", ["entropy 2", "entropy 3", "squares 1", "squares 2", "largest 1", "largest 2"]),
                draw("rank of zeros", ["0", "1", "-1"]), draw("not finite", list(NOT_FINITE)),
                draw("no images", list(MISSING)))
    return {
        "momentum": Choice(
            f"local steps: theta -= lr ({a} g + {b} v) with the velocity v {'after' if velocity == 'new' else 'before'} g "
            f"has entered it, by {enters}; weight decay is {decay}.",
            local_steps(a, b, enters, velocity, decay, running)),
        "weights": Choice(
            f"averaging: p_k is proportional to n_k^{power}; a client sends {sent} (theta - w), and the server goes {rate} "
            "times the mean way.", averaging(power, sent, rate, a + b * (velocity == "new"))),
        "counts": Choice(
            f"label counts: rounded up are {ROUNDED[table[0]][0]}; in `oneclass` client k holds class {table[3]}; who lacks "
            "something takes as the docstring of top_up says.", label_counts(*table)),
        "dealing": Choice(
            f"dealing: from the {deal[1]} of each class, shuffled at (seed, ASSIGN, {deal[0]}), to the "
            f"{'last' if deal[2] else 'first'} client first; indices are {LISTED[deal[3]][0]}.", dealing(*deal)),
        "length": Choice(
            f"collapse: features have length {length}; vectors of other classes may be {others} times as long as the own "
            "one.", collapse(length, others)),
        "rank": Choice(
            f"effective rank: {RANKS[spectrum[2].split()[0]][0]} of shares, as the head of diagnostics.py says; a class "
            f"without images has the mean {MISSING[spectrum[5]][0]}.", rank(*spectrum))}
