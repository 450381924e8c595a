"""Private variants of assignment 4: tables of label counts that are rounded, topped up and dealt in another order."""

from minifl.course.assignments import Patch
from minifl.course.rewriting import rewritten

COUNTS, SPLITS, PARTITION = (f"minifl/data/{name}.py" for name in ("counts", "splits", "partition"))
EXPECTED, TESTS, SHEET = (f"minifl/course/hw4/{file}" for file in ("expected.py", "tests.py", "sheet.md"))

# who is rounded up first -> (in words, code, by hand)
ROUNDED = {"small remainders": ("the smallest remainders first", "remainder", "exact - int(exact)"),
           "large shares": ("the largest shares first", "-shares[:, c]", "-share"),
           "small shares": ("the smallest shares first", "shares[:, c]", "share")}
# equals begin -> (upwards in words, downwards in words, code)
BEGINS = {"turn": ("in turn, each class going on where the class before it stopped",
                   "in turn, from the last client down, each class going on where the class before it stopped", "turn"),
          "anew": ("from client 0 on, in every class anew", "from the last client down, in every class anew", "0"),
          "class": ("from client c mod K on, after the last client comes client 0, in class c",
                    "from client K-1 - (c mod K) down, below client 0 comes the last one, in class c", "c")}
HOLDS = ("(k + 1) mod C", "(k + 2) mod C", "(1 - k) mod C", "(-k) mod C", "(k + floor(k/C) + 1) mod C",
         "(floor(k C/K) + 1) mod C", "(-floor(k C/K)) mod C")
# who gives -> (in words, code, by hand)
GIVERS = {"small cells": ("the smallest cell that is not empty, of all clients that have more than min_size",
                          "counts[g, c], {}g, c", "cell, {}k, c"),
          "large clients": ("the largest cell of the largest of all clients that have more than min_size",
                            "-sizes[g], {}g, -counts[g, c], c", "-sum(row), {}k, -cell, c")}
TAKERS = {"first": ("in their order", "below", ""), "last": ("the last of them first", "below[::-1]", "[::-1]"),
          "needy": ("who has least at the start first (of equals the lowest)",
                    "below[np.argsort(counts.sum(axis=1)[below], kind=\"stable\")]", "")}


def label_counts(rounded, begin, down, holds, giver, tie, taker, amount):
    """Tables that are rounded, dealt by class, and topped up in another order."""
    (first, code, hand), (*words, begins) = ROUNDED[rounded], BEGINS[begin]
    place = "(-1 - {1} - {0}) % len({2})" if down else "({0} - {1}) % len({2})"
    held = holds.replace("mod", "%").replace("floor(k/C)", "(k // C)").replace("floor(k C/K)", "(k * C // K)")
    of_k = held.replace("C", "len(sizes)").replace("K", "num_clients")
    (cell, key, by_hand), (order, takers, reverse) = GIVERS[giver], TAKERS[taker]
    sign = "-" if tie == "highest" else ""
    much, given = {"all": ("as much as it still lacks and the cell holds, but not so much that the giver falls below "
                           "min_size", "min(counts[g, c], sizes[g] - min_size, min_size - sizes[k])"),
                   "one": ("one example at a time", "1")}[amount]
    stops, starts, goes_on = (", turn", ", 0", "\n        turn += short") if begin == "turn" else ("", "", "")
    gives = {"all": "min(least - sum(table[taker]), table[giver][c], sum(table[giver]) - least)", "one": "1"}[amount]
    in_order = "sorted(low, key=lambda k: sum(table[k]))" if taker == "needy" else f"low{reverse}"
    return (*rewritten(COUNTS, f'''
def apportion(shares: Array, totals: Array) -> Array:
    """Whole numbers proportional to the shares of each column: the whole parts, and what is left of the total one by
    one to those whose exact share is not whole, {first}.

    shares (K, C)  whole numbers >= 0, shares*totals below 2**63;  totals (C,)
    returns (K, C) int64; column c sums to totals[c], or to 0 where nobody has a share

    Equals are served {words[down]}.
    """
    shares = np.asarray(shares, dtype=np.int64)
    clients, counts{stops} = np.arange(len(shares)), np.zeros(shares.shape, np.int64){starts}
    for c, total in enumerate(totals):
        whole = shares[:, c].sum()
        if whole == 0:
            continue
        counts[:, c], remainder = np.divmod(shares[:, c] * total, whole)
        short = total - counts[:, c].sum()      # below the number of remainders > 0: no share, no example
        served = np.lexsort(({place.format("clients", begins, "clients")}, {code}, remainder == 0))
        counts[served[:short], c] += 1{goes_on}
    return counts

def top_up(counts: Array, min_size: int) -> Array:
    """Give each client below min_size what it lacks from others that can spare it.

    counts   (K, C), together at least K*min_size; it stays as it is
    returns  (K, C) with the same sums of columns and no client below min_size

    Those below take {order},
    and each as long as it lacks something: from
    {cell}
    (of equal ones from that of the {tie} client, then of the lowest class), into the same class,
    {much}.
    Sizes and cells are what they are at that moment.

    Derivation. Who received has min_size and never gives. Each step moves an example at least to who lacks it, and
    there are enough of them.
    """
    counts = counts.copy()
    below = np.flatnonzero(counts.sum(axis=1) < min_size)
    for k in {takers}:
        while (sizes := counts.sum(axis=1))[k] < min_size:
            able = [(g, c) for g, c in np.argwhere(counts).tolist() if sizes[g] > min_size]
            *_, c, g = min(({key.format(sign)}, g) for g, c in able)
            given = {given}
            counts[g, c] -= given
            counts[k, c] += given
    return counts
'''), *rewritten(SPLITS, f'''
def oneclass(sizes: Array, num_clients: int) -> Array:
    """Client k of K holds class {holds}, shared evenly with the other holders of that class."""
    if num_clients < len(sizes):
        raise InputError(f"--num-clients {{num_clients}}: --setting oneclass needs a client for each class, "
                         f"at least {{len(sizes)}}")
    held = np.tile(False, (num_clients, len(sizes)))
    for k in range(num_clients):
        held[k, {of_k}] = True
    check_holders(held.sum(axis=0), sizes, "--num-clients")
    return apportion(held, sizes)
'''), *rewritten(EXPECTED, f'''
def topped(table, least):
    """A table after everybody took what it lacked, by plain loops."""
    table = [[int(cell) for cell in row] for row in table]
    low = [k for k, row in enumerate(table) if sum(row) < least]
    for taker in {in_order}:
        while sum(table[taker]) < least:
            *_, c, giver = min(({by_hand.format(sign)}, k) for k, row in enumerate(table) if sum(row) > least
                               for c, cell in enumerate(row) if cell)
            gift = {gives}
            table[giver][c], table[taker][c] = table[giver][c] - gift, table[taker][c] + gift
    return table

def check_one_taker(after, before, least, taker):
    """That one client alone took what it lacked, from the cells that it should."""
    expect(np.asarray(after)[taker].sum() == least, f"client {{taker}} lacked something and has not {{least}} now")
    whole(f"the table after client {{taker}} took", after, topped(before, least))
'''), *rewritten(TESTS, '''
@graded(COUNTS, 1, "the docstring of top_up: who takes first, and what is left for the next one?")
def one_after_the_other(student: Student, given: Given) -> None:
    """Those below the minimum take in the order of the docstring: who comes last finds what the others left."""
    rng = given.rng("in their order")
    for _ in range(6):
        table = rng.integers(0, 12, (given.size("holders", 4, 7) + 3, given.size("classes", 3, 6)))
        table[rng.permutation(len(table))[:3]] //= 4
        for least in range(1, table.sum() // len(table) + 1):
            if (table.sum(axis=1) < least).sum() > 1:
                found, _ = drivers.top_up(student, table, least)
                whole(f"with a minimum of {least} the table", found, topped(table, least))
'''), Patch(EXPECTED, 'turn if given.variant["counts"] == "published" else 0\n', f"{begins}\n"),
        Patch(EXPECTED, "place[k] = -(exact - int(exact)), (k - begin) % len(column), above > 0",
              f"place[k] = {hand}, {place.format('k', 'begin', 'column')}, above > 0"),
        Patch(EXPECTED, "somebody with a smaller remainder was served first", "who was rounded up should not come first"),
        Patch(EXPECTED, "of equal remainders another one", "of equals another one"),
        Patch(TESTS, """whole("6 by 3:1:1, and 11 by 1:3:1, as you can do by hand,",
          counts.apportion(np.array([[3, 1], [1, 3], [1, 1]]), np.array([6, 11])), [[4, 2], [1, 7], [1, 2]])
""", """shares, totals = np.array([[3, 1], [1, 3], [1, 1]]), np.array([6, 11])      # as you can do by hand
    check_apportioned(counts.apportion(shares, totals), shares, totals, given)
"""),
        Patch(TESTS, "first line of apportion's docstring: the whole parts, then the largest remainders",
              "the first sentence of apportion's docstring: the whole parts, and then?"),
        Patch(TESTS, "the rounded ones going to the largest remainders.", "and are rounded up in the right order."),
        Patch(TESTS, "Equal remainders are served in the order", "Equals are served in the order"),
        Patch(TESTS, "docstring of apportion on equal remainders", "docstring of apportion on equals"),
        Patch(TESTS, 'k % classes if given.variant["counts"] == "published" else classes - 1 - k % classes',
              held.replace("C", "classes").replace("K", "clients")),
        Patch(TESTS, '"a client got something that did not lack anything")\n',
              '"a client got something that did not lack anything")\n'
              '            whole("the table", found, topped(drawn, min_size))\n'),
        Patch(TESTS, "takes from the largest cells that can spare it, as much as they can.",
              "takes from the cells that the docstring names, and no more than it says."),
        Patch(TESTS, "way, whole)", "topped, way,\n                                        whole)"),
        Patch(SPLITS, "split evenly. The sizes of two clients differ by at most 1.", "split evenly."),
        Patch(SPLITS, "examples are topped up from the largest cells.", "examples are topped up by `top_up`."),
        Patch(SHEET, "one by one, to the largest\nremainders. Stay in whole numbers: with floats, which of two remainders "
                     "is larger would be a matter of\nrounding.",
              "one by one, in the order\nof the docstring. Stay in whole numbers: with floats, whether something remains "
              "would be a matter of\nrounding."),
        Patch(SHEET, "Plain loops will do. To be fast with many clients, ask which cells change in a step, and keep the "
                     "cells in\na heap. Why does it come to an end?", "Plain loops will do. Why do they come to an end?"))


# address -> (in words, code)
ADDRESSES = {"c, split": "c, split", "split, c": "split, c", "2 c + split": "2 * c + split"}
# order of a client's examples -> (in words, code, tested by, sorted by hand)
LISTED = {"descending": ("descending", "np.lexsort((-dealt, owner))", "(np.diff(part) < 0).all()",
                         "sorted(hand, reverse=True)"),
          "dealt": ("as dealt, class after class", "np.argsort(owner, kind=\"stable\")",
                    "(np.diff(labels[part]) >= 0).all()", "hand")}


def dealing(place, end, down, listed):
    """Another address, another end of the deck, another client first, indices in another order."""
    words, code, tested, by_hand = LISTED[listed]
    clients = "clients K-1, K-2, ..." if down else "clients 0, 1, ..."
    reverse = "[::-1]" if down else ""
    return (*rewritten(PARTITION, f'''
def assign(counts: Array, labels: Array, seed: int, split: int, domain: int | None = None) -> list:
    """Fill a table of counts (K, C) with examples: K int64 arrays of indices into labels (N,).
    They are {words}.

    The examples of class c are shuffled by the address (seed, ASSIGN, {place}), split TRAIN or TEST, with the
    domain at its end if they are of one (`of_domain`), and dealt from the {end} of the shuffled ones on to
    {clients} in turn: disjoint, and complete if the counts are. InputError if a class has too few.
    """
    check_whole("--data-seed", seed, 0)
    counts, labels = np.asarray(counts), np.asarray(labels)
    sizes = class_sizes(labels, counts.shape[1])
    check_counts(counts, sizes)
    by_class = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    clients = np.arange(len(counts)){reverse}
    owner = np.concatenate([np.repeat(clients, column{reverse}) for column in counts.T])
    dealt = np.concatenate([
        address(seed, ASSIGN, {ADDRESSES[place]}, *of_domain(domain)).permutation(members)\
{"[::-1]" if end == "back" else ""}[:counts[:, c].sum()]
        for c, members in enumerate(by_class)])
    dealt = dealt[{code}]
    return np.split(dealt, np.cumsum(counts.sum(axis=1))[:-1])
'''), Patch(PARTITION, "train, test: K ascending int64 arrays", "train, test: K int64 arrays"),
        Patch(TESTS, "place = [seed, ASSIGN, split, c] +", f"place = [seed, ASSIGN, {ADDRESSES[place]}] +"),
        Patch(TESTS, "for k, row in enumerate(table):\n                hands[k]",
              f"for k, row in list(enumerate(table)){reverse}:\n                hands[k]"),
        Patch(TESTS, "deck.pop(0) for _", f"deck.pop({'' if end == 'back' else '0'}) for _"),
        Patch(TESTS, "found[k], sorted(hand))", f"found[k],\n                  {by_hand})"),
        Patch(TESTS, "its address and dealt to clients 0, 1, ... in turn.", "its address and dealt in turn."),
        Patch(TESTS, "none of them twice, in ascending order.", "none of them twice, in order."),
        Patch(TESTS, 'expect((np.diff(part) > 0).all(), f"the indices of client {k} should ascend")',
              f'expect({tested}, f"the indices of client {{k}}: {words}")'))
