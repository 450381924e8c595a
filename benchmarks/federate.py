"""What a round costs more when its clients are in other processes: Flower's time and bytes against the run of `train`.

    python benchmarks/federate.py [--nodes 2,4,8] [--rounds N] [--more-steps N] [--json FILE]

8 clients of the embedded data (setting disjoint), the paper's CNN at 1/4 of its width with feature norm, all clients in
every round. For each number of SuperNodes the program does the rounds in this process, on Flower over the loopback
interface, and in this process again; then once more with SCAFFOLD, which sends twice as much, and with many more local
steps, which sends the same. It fails unless both sides wrote the same record and the same model, bit by bit.

Seconds are from one line of the record to the next, so tests and writing are in them on both sides; medians without the
first round, in which the nodes introduce themselves. The processor's seconds are those of all processes of a side.
Bytes are counted by a forwarder between the SuperNodes and the SuperLink: the contents of their TCP connections, with
HTTP heads, polling and heartbeats, without the heads of TCP and IP. What the SuperLink says to its ServerApp and a
SuperNode to its ClientApp stays on one machine and is not counted. The floor is what the method has to send: down for
each node, up for each client. Flower's own count, of the whole run, is in the record.
"""

import argparse
import asyncio
import os
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from statistics import median
from time import perf_counter, process_time
from typing import NamedTuple

import numpy as np

import measure
from minifl.data.registry import load
from minifl.errors import InputError
from minifl.flower import federate
from minifl.flower.loopback import LOOPBACK
from minifl.flower.replies import expected
from minifl.runs import record
from minifl.runs.run import Placement, default_workers, first_state, split, train
from minifl.runs.settings import settings_for

CLIENTS, STEPS = 8, 10
SETTINGS = {"data": "embedded", "setting": "disjoint", "num_clients": CLIENTS, "width": 0.25, "norm": "fn",
            "eval_every": 1, "local_eval_every": 0}
POLL = 0.02             # seconds between looks at the record
IDLE = 0.5              # load of the machine before the start above which the record says so


class Case(NamedTuple):
    nodes: int
    algorithm: str
    local_steps: int


class Moment(NamedTuple):
    """When a round was in the record; processor's seconds and bytes until then."""
    seconds: float
    processor: float
    down: int = 0
    up: int = 0


class Forwarder:
    """Passes connections to a port of the loopback interface on, in a thread, and counts their bytes.

    port  where it listens; counts: {"up": bytes to the port behind, "down": bytes from there}
    """

    def __init__(self, behind):
        self.behind, self.counts = behind, {"up": 0, "down": 0}
        self.loop = asyncio.new_event_loop()
        self.thread = threading.Thread(target=self.loop.run_forever, daemon=True)

    def __enter__(self):
        self.thread.start()
        self.server = self._there(asyncio.start_server(self._connection, LOOPBACK, 0))
        self.port = self.server.sockets[0].getsockname()[1]
        return self

    def __exit__(self, *_):
        self._there(self._end())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self.thread.join()
        self.loop.close()

    def _there(self, coroutine):
        return asyncio.run_coroutine_threadsafe(coroutine, self.loop).result(10)

    async def _end(self):
        self.server.close()
        tasks = asyncio.all_tasks() - {asyncio.current_task()}
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _connection(self, reader, writer):
        behind = None
        with suppress(OSError, asyncio.CancelledError):     # at the end the processes are killed
            from_behind, behind = await asyncio.open_connection(LOOPBACK, self.behind)
            await asyncio.gather(self._pass(reader, behind, "up"), self._pass(from_behind, writer, "down"))
        for end in filter(None, [writer, behind]):
            end.close()

    async def _pass(self, reader, writer, direction):
        while content := await reader.read(1 << 16):
            self.counts[direction] += len(content)
            writer.write(content)
            await writer.drain()
        writer.write_eof()


def cases(nodes, more_steps):
    """The rows: each number of nodes, and for the middle one SCAFFOLD and more local steps."""
    middle = nodes[len(nodes) // 2]
    return [*(Case(n, "fedavg", STEPS) for n in nodes), Case(middle, "scaffold", STEPS),
            Case(middle, "fedavg", more_steps)]


def processor_of(roots):
    """Seconds of the processor that these processes, all that they started and their ended children took (proc(5))."""
    parent, ticks = {}, {}
    for file in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):     # it has just ended
            fields = file.read_text(encoding="utf-8").rpartition(")")[2].split()    # from the third field on, the state
            parent[int(file.parent.name)], ticks[int(file.parent.name)] = int(fields[1]), sum(map(int, fields[11:15]))
    found = new = set(roots) & set(ticks)
    while new := {pid for pid in parent if parent[pid] in new} - found:
        found |= new
    return sum(ticks[pid] for pid in found) / os.sysconf("SC_CLK_TCK")


def in_process(settings, dataset, partition, out):
    """The run of `train`: the Moment of each round."""
    return [Moment(perf_counter(), process_time())
            for _ in train(settings, dataset, partition, out, Placement(workers=default_workers()))]


def federated(settings, dataset, partition, out, nodes):
    """The same on Flower: the Moment of each round, and Flower's own count of the whole run's bytes."""
    config = federate.begin(settings, dataset, partition, out, nodes=nodes, wait=120.0, timeout=600.0, clip_update=None,
                            tls=False)
    made = federate.federation(out, config, None, 1, measure.say)
    with Forwarder(made.port) as forwarder:
        made._supernode = through(made, forwarder.port)
        with made:
            processes = {process.pid for process in (made.superlink, *made.supernodes)}
            moments = [Moment(perf_counter(), processor_of(processes), **forwarder.counts)
                       for _ in federate.follow(out, made)]
            traffic = made.listed().get("network-traffic")
    federate.close(out, settings, settings.network(dataset.num_classes, dataset.image_shape), len(partition.train))
    ended = record.read_end(out)
    if ended["status"] != "finished":
        raise RuntimeError(f"the federation {ended['status']}: {ended['message']}")
    return moments, traffic


def through(made, port):
    """What starts a SuperNode of the Federation `made` that reaches the SuperLink at another port."""
    start = made._supernode

    def start_there(i):
        own, made.port = made.port, port
        try:
            return start(i)
        finally:
            made.port = own
    return start_there


def per_round(moments):
    """Field -> what it grew by in each round but the first."""
    return {name: np.diff([getattr(moment, name) for moment in moments]).tolist() for name in Moment._fields}


def floor(settings, dataset, nodes):
    """Bytes that a round has to send: down to each node what the method broadcasts, up each client's message."""
    model, method = settings.network(dataset.num_classes, dataset.image_shape), settings.method()
    state = first_state(settings, model)
    message = expected(settings, model, method, state, dataset.num_classes)
    return {"down": nodes * state.w.nbytes * (1 + len(method.broadcast)),
            "up": CLIENTS * sum(int(np.prod(shape)) * dtype.itemsize for shape, dtype in message.values())}


def same(one, other):
    """Whether two run directories hold the same lines and the same models, bit by bit."""
    if (one / record.ROUNDS).read_bytes() != (other / record.ROUNDS).read_bytes():
        return False
    with np.load(one / record.MODEL) as a, np.load(other / record.MODEL) as b:
        return set(a) == set(b) and all(a[name].dtype == b[name].dtype and a[name].shape == b[name].shape
                                        and a[name].tobytes() == b[name].tobytes() for name in a)


def line_of(case, before, there, after, least):
    """The record's line of a case from what its rounds took: before and after in this process, between on Flower."""
    here = {name: median(before[name] + after[name]) for name in ("seconds", "processor")}
    took = {name: median(there[name]) for name in Moment._fields}
    return {**case._asdict(), "clients": CLIENTS, "in_process_seconds": here["seconds"],
            "federated_seconds": took["seconds"], "overhead_seconds": took["seconds"] - here["seconds"],
            "ratio": took["seconds"] / here["seconds"], "in_process_cpu_seconds": here["processor"],
            "federated_cpu_seconds": took["processor"], "down_bytes": took["down"], "up_bytes": took["up"],
            "down_floor": least["down"], "up_floor": least["up"], "down_to_floor": took["down"] / least["down"],
            "up_to_floor": took["up"] / least["up"],
            "all": {"in process, before": before["seconds"], "federated": there["seconds"],
                    "in process, after": after["seconds"], "down": there["down"], "up": there["up"]}}


def measured(case, dataset, rounds, folder):
    """The record's line of a case; its runs are put into the folder."""
    settings = settings_for(SETTINGS["data"], SETTINGS | {"rounds": rounds, "algorithm": case.algorithm,
                                                          "local_steps": case.local_steps})
    partition = split(settings, dataset)
    before = per_round(in_process(settings, dataset, partition, folder / "before"))
    moments, traffic = federated(settings, dataset, partition, folder / "federation", case.nodes)
    after = per_round(in_process(settings, dataset, partition, folder / "after"))
    return line_of(case, before, per_round(moments), after, floor(settings, dataset, case.nodes)) | {
        "flower_counts": traffic,
        "same_bits": all(same(folder / "federation", folder / other) for other in ("before", "after"))}


def numbers(text):
    """Numbers of nodes, from text with commas."""
    found = [int(part) for part in text.split(",")]
    if not all(1 <= n <= CLIENTS for n in found):
        raise ValueError
    return found


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--nodes", type=numbers, default=[2, 4, 8], help=f"SuperNodes, each from 1 to {CLIENTS}.")
    parser.add_argument("--rounds", type=int, default=4)
    parser.add_argument("--more-steps", type=int, default=300, help="Local steps of the row with more work.")
    parser.add_argument("--json", type=Path, help="Write the record there.")
    arguments = parser.parse_args()
    if arguments.rounds < 2 or arguments.more_steps < 1:
        parser.error("--rounds of at least 2 (the first is not counted) and --more-steps of at least 1 are needed")
    try:
        federate.check_installed()
    except InputError as error:
        parser.error(str(error))
    federate.POLL = POLL
    machine, busy = measure.machine(), os.getloadavg()[0]
    note = f"load of the machine before the start: {busy:.1f}" + (", other work ran beside" if busy > IDLE else "")
    print(f"{measure.in_words(machine)}; Flower {federate.FLOWER}, {arguments.rounds} rounds; {note}")
    print(f"{'nodes':>5} {'clients':>7} {'algorithm':>9} {'steps':>5} {'s here':>7} {'s there':>8} {'overhead':>8} "
          f"{'ratio':>6} {'CPU here':>8} {'there':>6} {'kB down':>8} {'/ floor':>7} {'kB up':>7} {'/ floor':>7}  "
          "same bits")
    dataset, lines = load(SETTINGS["data"], None), []
    for case in cases(arguments.nodes, arguments.more_steps):
        measure.say(f"{case}")
        with tempfile.TemporaryDirectory() as folder:
            line = measured(case, dataset, arguments.rounds, Path(folder))
        lines.append(line)
        if arguments.json:      # after each row: one takes minutes, and the next may fail
            measure.write(arguments.json, {"command": measure.command(), "machine": machine, "flower": federate.FLOWER,
                                           "rounds": arguments.rounds, "note": note, "lines": lines})
        print(f"{case.nodes:>5} {CLIENTS:>7} {case.algorithm:>9} {case.local_steps:>5} "
              f"{line['in_process_seconds']:>7.2f} {line['federated_seconds']:>8.2f} {line['overhead_seconds']:>8.2f} "
              f"{line['ratio']:>6.1f} {line['in_process_cpu_seconds']:>8.2f} {line['federated_cpu_seconds']:>6.1f} "
              f"{line['down_bytes'] / 1e3:>8.0f} {line['down_to_floor']:>7.3f} {line['up_bytes'] / 1e3:>7.0f} "
              f"{line['up_to_floor']:>7.3f}  {'yes' if line['same_bits'] else 'NO'}", flush=True)
    raise SystemExit(not all(line["same_bits"] for line in lines))


if __name__ == "__main__":
    main()
