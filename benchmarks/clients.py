"""What a round costs when many clients are registered and 20 of them take part.

    python benchmarks/clients.py [--json FILE]

SCAFFOLD keeps a control variate for each client, so it is the method whose state could grow with their number. For
100 to 100 000 registered clients with two examples each the program measures the median time of a round, taking a
round of each in turn, and the most memory that rounds allocate beyond what was there before (tracemalloc, which sees
NumPy's arrays). Where they fit into memory, it repeats the rounds with a control for every registered client from the
start, and checks that both end with the same bits.
"""

import argparse
import tracemalloc
from collections.abc import Callable
from pathlib import Path
from statistics import median
from typing import NamedTuple

import numpy as np

import measure
from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.fl.rounds import State, federated_rounds, start
from minifl.models import MLP
from minifl.runs.settings import settings_for

REGISTERED = (100, 1_000, 10_000, 100_000)
DENSE_LIMIT = 2e9        # bytes of the dense controls that are tried
EACH = 2                 # examples of a client
CLASSES, SHAPE = 10, (8, 8, 3)


class Case(NamedTuple):
    registered: int
    model: MLP
    rounds: Callable    # (state) -> iterator of (state, record)
    begin: State


def case(registered, rounds):
    """SCAFFOLD with so many registered clients, ready to begin."""
    rng = np.random.default_rng(0)
    n = EACH * registered
    data = make_dataset("noise", rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8), rng.integers(0, CLASSES, n),
                        rng.integers(0, 256, (10, *SHAPE), dtype=np.uint8), np.arange(CLASSES), "abcdefghij", "noise")
    examples = np.arange(n).reshape(registered, EACH)
    counts = np.zeros((registered, CLASSES), np.int64)
    np.add.at(counts, (np.arange(registered)[:, None], data.y_train[examples]), 1)
    partition = Partition(counts, counts * 0, list(examples), [np.zeros(0, np.int64)] * registered)
    settings = settings_for("cifar10", {"algorithm": "scaffold", "clients_per_round": 20, "rounds": rounds,
                                        "batch_size": EACH, "eval_every": rounds, "local_eval_every": 0})
    model, method = MLP(CLASSES, SHAPE, (100, 100)), settings.method()
    return Case(registered, model,
                lambda state: federated_rounds(settings, model, method, state, data, partition),
                start(method, model.spec.init(0).astype(np.float32)))


def times(cases):
    """Median seconds of a round of each case, a round of each in turn: what else the machine does hits all alike."""
    turns = zip(*(c.rounds(c.begin) for c in cases))
    seconds = [[record["seconds"] for _, record in turn] for turn in turns]
    return [median(column) for column in zip(*seconds)]


def memory(case):
    """Peak bytes of the rounds with sparse and, where it fits, with dense controls, and whether both end alike."""
    def run(state):
        tracemalloc.start()
        for state, _ in case.rounds(state):
            pass
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return state, peak

    state, peak = run(case.begin)
    p = case.model.spec.size
    line = {"peak_bytes": peak, "controls_kept": len(state.own), "controls_bytes": 4 * p * len(state.own),
            "dense_peak_bytes": None, "same_bits_as_dense": None}
    if 4 * p * case.registered <= DENSE_LIMIT:
        dense, peak = run(case.begin._replace(
            own={k: {"control": np.zeros(p, np.float32)} for k in range(case.registered)}))
        line["dense_peak_bytes"] = peak + 4 * p * case.registered
        line["same_bits_as_dense"] = bool(
            (dense.w == state.w).all() and (dense.server["control"] == state.server["control"]).all()
            and all((dense.own[k]["control"] == state.own[k]["control"]).all() for k in state.own))
    return line


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--json", type=Path, help="Write the record there.")
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    machine = measure.in_words(measure.machine())
    print(f"{machine}; SCAFFOLD, 20 clients per round, 10 local steps of {EACH} examples, {arguments.rounds} rounds")
    print(f"{'registered':>10} {'ms/round':>9} {'peak MB':>8} {'of it controls':>15} {'controls kept':>14} "
          f"{'dense peak MB':>14}  same bits")
    cases = [case(registered, arguments.rounds) for registered in REGISTERED]
    lines = []
    for this, seconds in zip(cases, times(cases)):
        line = {"registered": this.registered, "rounds": arguments.rounds, "seconds_per_round": seconds,
                **memory(this)}
        lines.append(line)
        dense = line["dense_peak_bytes"]
        print(f"{this.registered:>10} {1e3 * line['seconds_per_round']:>9.1f} {line['peak_bytes'] / 1e6:>8.1f} "
              f"{line['controls_bytes'] / 1e6:>15.1f} "
              f"{line['controls_kept']:>14} {'-' if dense is None else format(dense / 1e6, '.1f'):>14}  "
              f"{ {True: 'yes', False: 'NO', None: '-'}[line['same_bits_as_dense']]}", flush=True)
    if arguments.json:
        measure.write(arguments.json, {"command": measure.command(), "machine": machine, "lines": lines})
    raise SystemExit(any(line["same_bits_as_dense"] is False for line in lines))


if __name__ == "__main__":
    main()
