"""What a round costs when more clients take part in it: time in proportion, memory as --clients-per-call bounds it.

    python benchmarks/scale.py [--device cpu|cuda] [--repetitions N] [--largest N] [--json FILE]

10 to 1 000 clients are sampled in a round, of 1 000 with 20 images each; FedAvg, the paper's CNN at 1/8 of its width,
2 local steps of 8 images. For each number of clients and 1, 4 and 16 of them in a call the program measures the median
seconds of a round and of the processor for it, which other work on the machine disturbs less, and in a run of its own
the peak memory beyond what was there before (tracemalloc, which sees NumPy's arrays; on a GPU what the process took from
the device). On the CPU all of a number of clients must end with the same bits, and from 100 clients on memory must not
grow, or the program fails. One worker, so that what is measured is the work and not how well calls of unequal size fill
several.
"""

import argparse
import tracemalloc
from pathlib import Path
from statistics import median
from time import process_time

import numpy as np

import measure
from minifl.backend import choose_device, to_host
from minifl.data.dataset import make_dataset
from minifl.data.partition import Partition
from minifl.errors import InputError
from minifl.fl.rounds import federated_rounds, start
from minifl.runs.run import on_device
from minifl.runs.settings import settings_for

CLIENTS, PER_CALL = (10, 30, 100, 300, 1_000), (1, 4, 16)
REGISTERED, EACH, CLASSES, SHAPE = 1_000, 20, 10, (32, 32, 3)
WARM_UP = {"cpu": 1, "cuda": 3}    # turns that are not counted: kernels are compiled, graphs recorded and compared
TURN = 100          # clients of a case in a turn at least: few clients do several rounds
BOUNDED = 1.1       # peak memory from 100 clients on, relative to that of 100, and
TABLES = 2e6        # bytes besides: a table of Python's own (of interned strings, 1 MB) grows in one run or another;
                    # 900 clients more whose updates were all kept would take 45 MB


class Case:
    """So many turns of so many clients, so many in a call; `states` is what is left to do of them."""

    def __init__(self, clients, per_call, turns, data, partition, xp):
        self.clients, self.per_call, self.each = clients, per_call, max(1, TURN // clients)
        rounds = turns * self.each
        settings = settings_for("cifar10", {
            "norm": "fn", "width": 1 / 8, "batch_size": 8, "local_steps": 2, "num_clients": REGISTERED,
            "rounds": rounds, "clients_per_round": clients, "eval_every": rounds, "local_eval_every": 0})
        model, method = settings.network(CLASSES, SHAPE), settings.method()
        begin = start(method, xp.asarray(model.spec.init(0).astype(np.float32)))
        self.states = federated_rounds(settings, model, method, begin, data, partition, clients_per_call=per_call)


def clients_data():
    """The data set and who holds what of it."""
    rng = np.random.default_rng(0)
    n = REGISTERED * EACH
    data = make_dataset("noise", rng.integers(0, 256, (n, *SHAPE), dtype=np.uint8), rng.integers(0, CLASSES, n),
                        rng.integers(0, 256, (10, *SHAPE), dtype=np.uint8), np.arange(CLASSES), "abcdefghij", "noise")
    examples = np.arange(n).reshape(REGISTERED, EACH)
    counts = np.zeros((REGISTERED, CLASSES), np.int64)
    np.add.at(counts, (np.arange(REGISTERED)[:, None], data.y_train[examples]), 1)
    return data, Partition(counts, counts * 0, list(examples), [np.zeros(0, np.int64)] * REGISTERED)


def times(cases, turns, uncounted):
    """For each case the median over its turns of a round's seconds and of the processor's, and w at the end. The cases
    in turn, so that what else the machine does meets all alike."""
    seconds, processor, ends = [[] for _ in cases], [[] for _ in cases], [None] * len(cases)
    for turn in range(turns):
        for i, case in enumerate(cases):
            begin, rounds = process_time(), [next(case.states) for _ in range(case.each)]
            if turn >= uncounted:
                processor[i].append((process_time() - begin) / case.each)
                seconds[i].append(sum(record["seconds"] for _, record in rounds) / case.each)
            ends[i] = to_host(rounds[-1][0].w)
    return [(median(a), median(b), w) for a, b, w in zip(seconds, processor, ends)]


def peak(case, xp):
    """Most bytes that the rounds of a turn of the case had beyond what was there before."""
    if xp is np:
        tracemalloc.start()
        for _ in case.states:
            pass
        most = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return most
    xp.get_default_memory_pool().free_all_blocks()
    before, _ = xp.cuda.Device().mem_info
    least = min(xp.cuda.Device().mem_info[0] for _ in case.states)     # what CuPy frees it keeps
    return before - least


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--repetitions", type=int, default=5, help="Turns of each case that are timed.")
    parser.add_argument("--largest", type=int, default=max(CLIENTS), help="Most clients in a round.")
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    numbers = [n for n in CLIENTS if n <= arguments.largest]
    if not numbers or arguments.repetitions < 1:
        parser.error(f"--largest of at least {CLIENTS[0]} and --repetitions of at least 1 are needed")
    try:
        xp, device = choose_device(arguments.device)
    except InputError as error:
        parser.error(str(error))
    machine = measure.machine() | {"device": device}
    print(f"{measure.in_words(machine)}; {device}; {arguments.repetitions} turns of each case")
    data, partition = clients_data()
    data = on_device(data, xp)

    def case(clients, per_call, turns):
        return Case(clients, per_call, turns, data, partition, xp)

    grid = [(clients, per_call) for per_call in PER_CALL for clients in numbers]
    uncounted = WARM_UP[arguments.device]
    turns = uncounted + arguments.repetitions
    measured = times([case(*of, turns) for of in grid], turns, uncounted)
    ends = {of: w for of, (*_, w) in zip(grid, measured)}
    print(f"{'per call':>8} {'clients':>8} {'s/round':>9} {'ms/client':>10} {'to first':>9} {'CPU ms/client':>14} "
          f"{'to first':>9} {'peak MB':>8}  same bits")
    lines, failed = [], False
    for (clients, per_call), (seconds, processor, w) in zip(grid, measured):
        line = {"per_call": per_call, "clients": clients, "seconds_per_round": seconds,
                "seconds_per_client": seconds / clients, "cpu_seconds_per_client": processor / clients}
        first, *_ = [other for other in (*lines, line) if other["per_call"] == per_call]
        line |= {"to_first": line["seconds_per_client"] / first["seconds_per_client"],
                 "cpu_to_first": line["cpu_seconds_per_client"] / first["cpu_seconds_per_client"],
                 "peak_bytes": peak(case(clients, per_call, uncounted), xp),
                 "same_bits": bool((w == ends[clients, 1]).all())}
        lines.append(line)
        bound = max([TABLES + BOUNDED * other["peak_bytes"] for other in lines
                     if (other["per_call"], other["clients"]) == (per_call, 100)], default=0)
        grown = clients > 100 and line["peak_bytes"] > bound
        failed |= xp is np and (grown or not line["same_bits"])
        print(f"{per_call:>8} {clients:>8} {seconds:>9.3f} {1e3 * line['seconds_per_client']:>10.2f} "
              f"{line['to_first']:>9.2f} {1e3 * line['cpu_seconds_per_client']:>14.2f} {line['cpu_to_first']:>9.2f} "
              f"{line['peak_bytes'] / 1e6:>8.1f}  {'yes' if line['same_bits'] else 'NO'}{'  GROWN' if grown else ''}",
              flush=True)
    if arguments.json:
        measure.write(arguments.json, {"command": measure.command(), "machine": machine, "registered": REGISTERED,
                                       "repetitions": arguments.repetitions, "lines": lines})
    raise SystemExit(failed)


if __name__ == "__main__":
    main()
