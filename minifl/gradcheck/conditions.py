"""For which shapes a pair is wrong, if it is not wrong for all: the plainest condition on sizes that tells them apart."""

from itertools import combinations
from typing import Any

CLIENTS, EXAMPLES = "K", "N"     # the symbols that every layer of ours has first
MEANING = {CLIENTS: " (several clients)", EXAMPLES: " (several examples)"}
NUMBERS = {"large": "large numbers", "small": "small numbers", "float32": "numbers in float32"}   # or "numbers with ..."
MOST_NAMED = 2                   # conditions that fit equally well


def separating(wrong: Any, right: Any, ours: bool = False) -> str:
    """The condition that all of the wrong examples meet and none of the right ones, in words; "" if there is none.

    ours           whether K are the clients, as in every layer of ours; elsewhere it may be a kernel's size
    wrong, right   lists of dicts, symbol -> size, and "special" -> how the numbers were drawn, if not plainly
    """
    if not wrong or not right:
        return ""
    symbols = [name for name in wrong[0] if name != "special" and all(name in example for example in (*wrong, *right))]
    for rank in _conditions(symbols, wrong, MEANING if ours else {EXAMPLES: MEANING[EXAMPLES]}):
        found = [words for words, holds in rank if all(map(holds, wrong)) and not any(map(holds, right))]
        if found:
            return " or for ".join(found[:MOST_NAMED])
    return ""


def _conditions(symbols, wrong, meaning):
    """Lists of (words, example -> whether it holds), the plainest first; in one list all are as plain."""
    kinds = sorted({example.get("special") or "" for example in wrong})
    if all(kinds):
        words = " or ".join(NUMBERS.get(kind, f"numbers with {kind}") for kind in kinds)
        yield [(words, lambda e: e.get("special") in kinds)]
    yield [(f"{a} > 1{meaning.get(a, '')}", lambda e, a=a: e[a] > 1) for a in symbols]
    yield [(f"{a} = 1", lambda e, a=a: e[a] == 1) for a in symbols]
    yield [(f"{parity} {a}", lambda e, a=a, odd=odd: e[a] % 2 == odd) for a in symbols
           for parity, odd in (("odd", 1), ("even", 0))]
    pairs = list(combinations(symbols, 2))
    yield [(f"{a} different from {b}", lambda e, a=a, b=b: e[a] != e[b]) for a, b in pairs]
    yield [(f"{a} = {b}", lambda e, a=a, b=b: e[a] == e[b]) for a, b in pairs]
    yield [(f"{a} > 1 and {b} > 1", lambda e, a=a, b=b: e[a] > 1 and e[b] > 1) for a, b in pairs]
    yield [(f"{a} > 1 or {b} > 1", lambda e, a=a, b=b: e[a] > 1 or e[b] > 1) for a, b in pairs]
    yield [(f"{a} > {b}", lambda e, a=a, b=b: e[a] > e[b]) for a, b in (*pairs, *((b, a) for a, b in pairs))]
    yield [(f"{a} >= {t}", lambda e, a=a, t=t: e[a] >= t) for a in symbols for t in sorted({e[a] for e in wrong})]
    yield [(f"{a} <= {t}", lambda e, a=a, t=t: e[a] <= t) for a in symbols for t in sorted({e[a] for e in wrong})]


def axes(shapes: Any) -> dict:
    """name -> shape as symbol -> size, for inputs of which no symbols are known."""
    return {f"axis {axis} of {name}": size for name, shape in shapes.items() for axis, size in enumerate(shape)}
