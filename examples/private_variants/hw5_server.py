"""Private variants of assignment 5: server optimizers with another start, mean and step, and Yogi with another target."""

from minifl.course.assignments import Patch
from minifl.course.rewriting import rewritten

OPT, YOGI = (f"minifl/fl/algorithms/{name}.py" for name in ("fedopt", "fedyogi"))
TESTS, SHEET, KEY = (f"minifl/course/hw5/{file}" for file in ("tests.py", "sheet.md", "answers_key.md"))

# factor of D in m -> code with beta1 as {b}
GAINS = {"1": "1", "(1 - beta1^2)": "(1 - {b}**2)", "2 (1 - beta1)": "2 * (1 - {b})", "(1 - beta1)/2": "(1 - {b}) / 2"}
NUMERATORS = ("plain", "corrected", "ahead")
# place of tau -> (formula, code of v and tau, by hand)
PLACES = {"outside": ("v^{r} + {f} tau", "v**{r} + {f} * self.server_tau", "v**{r} + {f} * tau"),
          "inside": ("(v + {f} tau)^{r}", "(v + {f} * self.server_tau) ** {r}", "(v + {f} * tau) ** {r}"),
          "square": ("(v + {f} tau^2)^{r}", "(v + {f} * self.server_tau**2) ** {r}", "(v + {f} * tau * tau) ** {r}"),
          "largest": ("max(v^{r}, {f} tau)", "get_xp(v).maximum(v**{r}, {f} * self.server_tau)", "max(v**{r}, {f} * tau)")}
# v at the start -> (code, by hand with server_v0 0.04 and server_tau 0.3)
STARTS = {"server_v0^2": ("self.server_v0**2", "0.04**2"), "2 server_v0": ("2 * self.server_v0", "0.08"),
          "server_tau^2": ("self.server_tau**2", "0.3**2"),
          "server_v0 + server_tau^2": ("self.server_v0 + self.server_tau**2", "0.04 + 0.3**2")}


def along(numerator, gain):
    """What the server's step goes along, as a formula."""
    return {"plain": "m", "corrected": "m/ones", "ahead": f"beta1 m + {gain} D"}[numerator]


def divisor(place, root, times):
    """What it is divided by, as a formula."""
    return PLACES[place][0].format(r=root, f=times)


def server(gain, numerator, place, root, times, start):
    """m with a gain, a step along m, m/ones or ahead of m, divided by another root with tau in another place."""
    _, code, by_hand = (text.format(r=root, f=times) for text in PLACES[place])
    ones, of_state, more, along_code, along_hand, part = {
        "plain": ("", "", "", "m", "m[i]", "mean"),
        "corrected": (f"             ones <- beta1 ones + {gain}                from ones = 0, (P,) like m\n",
                      ', "ones": xp.zeros_like(w)', ', "ones": ones', "m / ones", "m[i] / ones", "1"),
        "ahead": ("", "", "", "(self.beta1 * m + gain * update)", "beta * m[i] + gain * d", "beta * mean + gain")}[numerator]
    explained = ("`ones` is what m would be if every D were 1: m/ones is a mean whose weights sum to 1.\n" if ones else "")
    counted = "\n    ones = self.beta1 * state[\"ones\"] + gain" if ones else ""
    stated = STARTS[start]
    return (*rewritten(OPT, f'''
"""Adaptive server optimizers (after Reddi et al. 2021, "Adaptive federated optimization", Algorithm 2).

    clients: as FedAvg;  D = sum_k p_k (theta_k - w) stands for the negative gradient
    server:  m <- beta1 m + {gain} D          from m = 0
             v <- second moment of D, see the subclasses        from v = {start}
{ones}             w <- w + server_lr ({along(numerator, gain)}) / ({divisor(place, root, times)})

Powers are those of each entry; m and v are the new ones, tau is server_tau.
{explained}FedAdagrad, FedAdam and FedYogi differ in v only.
"""
'''), *rewritten(OPT, f'''
def server_state(self, w):
    """The moments, name -> (P,), before the first round."""
    xp = get_xp(w)
    v = xp.full_like(w, {stated[0]})
    return {{"m": xp.zeros_like(w), "v": v{of_state}}}

def server(self, model, w, mean, state, share):
    """Next w (P,) and moments, by the equations in this file's first lines; D is mean["update"]."""
    update, gain = mean["update"], {GAINS[gain].format(b="self.beta1")}
    m = self.beta1 * state["m"] + gain * update
    v = self.second_moment(state["v"], update){counted}
    step = {along_code} / ({code})
    return w + self.server_lr * step, {{"m": m, "v": v{more}}}
''', of="FedOpt"),
        Patch(OPT, 'help="What is added to the root of the second moment."', 'help="Tau, next to the second moment."'),
        Patch(OPT, 'help="Second moment at the start."', 'help="See where v starts."'),
        *([Patch(SHEET, "their names are m and v.", "their names are m, v and ones.")] if ones else []),
        *rewritten(TESTS, f'''
def divided(m: float, v: float, tau: float, given: Given) -> float:
    """m over the root, of one number, as in your variant."""
    return m / ({by_hand})
'''), Patch(TESTS, '{"m": 0.0, "v": 0.04} | ({"ones": 0.0} if given.variant["server"] == "corrected" else {})',
            f'{{"m": 0.0, "v": {stated[1]}{", " + chr(34) + "ones" + chr(34) + ": 0.0" if ones else ""}}}'),
        Patch(TESTS, '    if given.variant["server"] != "corrected":\n        del state["ones"]\n',
              "" if ones else '    del state["ones"]\n'),
        Patch(TESTS, 'list(w)\n    for number, update in',
              f'list(w)\n    gain = {GAINS[gain].format(b="beta")}\n    for number, update in'),
        Patch(TESTS, "ones = beta * ones + (1 - beta)\n", "ones = beta * ones + gain\n"),
        Patch(TESTS, "m[i] = beta * m[i] + (1 - beta) * d", "m[i] = beta * m[i] + gain * d"),
        Patch(TESTS, 'mean = m[i] / ones if given.variant["server"] == "corrected" else m[i]', f"mean = {along_hand}"),
        Patch(TESTS, "    for t in range(1, 6):\n",
              f'    beta, mean = options["beta1"], 0.0\n    gain = {GAINS[gain].format(b="beta")}\n'
              "    for t in range(1, 6):\n"),
        Patch(TESTS, '        part = 1 if given.variant["server"] == "corrected" else 1 - options["beta1"] ** t\n',
              f"        mean = beta * mean + gain\n        part = {part}\n"))


def fedyogi(target, size, stops, root):
    """v goes towards target D^2 by size (1 - beta2) D^2."""
    last = (f"It never passes {target} D^2: where less than a step is left, it stops there." if stops else
            f"It may pass {target} D^2, by less than a step.")
    step = "min({0} (1 - beta2) D^2, |v - {1} D^2|)" if stops else "{0} (1 - beta2) D^2"
    code = ("get_xp(v).minimum(step, abs(gap))" if stops else "step")
    rounds = target / 2 / size * 1e6
    return (*rewritten(YOGI, f'''
"""FedYogi (after Reddi et al. 2021, Algorithm 2; fedopt.py has its common part).

v moves towards {target} D^2 by a step of {size} (1 - beta2) D^2.
{last}
From 0 it grows as fast as v <- v - {size} (1 - beta2) (v - {target} D^2)/{target}, Adam's way to the same place, and it
falls more slowly. Default values are the paper's: server_lr 0.01, beta 0.9 and 0.99, tau 1e-3, v0 1e-6.
"""
'''), *rewritten(YOGI, f'''
def second_moment(self, v, update):
    """v (P,) and D (P,) -> next v.

    Derivation. The step goes down where v > {target} D^2 and up where v < {target} D^2:
        v <- v - {step.format(size, target)} sign(v - {target} D^2)
    """
    square = update * update
    step, gap = {size} * (1 - self.beta2) * square, v - {target} * square
    return v - {code} * get_xp(v).sign(gap)
''', of="FedYogi"), *rewritten(TESTS, f'''
def stops(given: Given) -> bool:
    """Whether your v stops at {target} D^2."""
    return {stops}
'''), Patch(TESTS, "    step = (1 - beta) * update**2\n",
            f"    step, end = {size} * (1 - beta) * update**2, {target} * update**2\n"),
        Patch(TESTS, '("far above D^2", 5 * update**2, 5 * update**2 - step)',
              f'("far above {target} D^2", 5 * end, 5 * end - step)'),
        Patch(TESTS, '("D^2", update**2, update**2), ("a little below D^2", update**2 - 1.5 * step,\n'
                     '                                                           update**2 - 0.5 * step)):',
              f'("{target} D^2", end, end),\n'
              f'                           ("a little below {target} D^2", end - 1.5 * step, end - 0.5 * step)):'),
        Patch(TESTS, "with Adam's v <- beta2 v + (1 - beta2) D^2 beside it", "with Adam's way beside it"),
        Patch(TESTS, "adam = beta * v + (1 - beta) * update * update",
              f"adam = v - {size} * (1 - beta) * (v / {target} - update * update)"),
        Patch(TESTS, "from far above D^2, v should fall", f"from far above {target} D^2, v should fall"),
        Patch(TESTS, "square, step = update**2, (1 - beta) * update**2",
              f"square, step = {target} * update**2, {size} * (1 - beta) * update**2"),
        Patch(TESTS, "steps beside D^2: it", f"steps beside {target} D^2: it"),
        Patch(TESTS, "for _ in range(60):", "for _ in range(400):"),
        Patch(TESTS, '"after 60 times the same update v is not within a step of D^2"',
              f'"after 400 times the same update v is not within a step of {target} D^2"'),
        Patch(SHEET, "At v = D^2 it stays.", f"Yours goes\ntowards {target} D^2, and at v = {target} D^2 it stays."),
        Patch(SHEET, "the **moments** m and v are running means of D and of D²",
              "the **moments** m and v follow D and a multiple of D²"),
        Patch(KEY, "Yogi: v falls by 0.01 * 0.0001 = 1e-6 a\nround: half a million rounds.",
              f"Yogi: v falls from {target} by {size} * 0.01 * 0.0001 =\n{size}e-6 a round: {rounds:,.0f} rounds."),
        Patch(KEY, "The step is divided by sqrt(v): once Adam's v has fallen to D^2 the steps of this\n"
                   "entry are as large as in the loud rounds; Yogi's stay a hundred times smaller for a very long time,",
              f"The step is divided by about v^{root}: it grows as Adam's v falls to its\n"
              "multiple of D^2; Yogi's stays about as small for a very long time,"))
