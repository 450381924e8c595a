"""The ServerApp: does a run directory that was begun (`federate`), round by round, and keeps its record.

Configuration of a run (pyproject.toml of the app, or flwr run --run-config):

    out            the run directory
    data-dir       folder of the server's data files; without it MINIFL_DATA, else ./data
    nodes          how many SuperNodes there are
    wait           seconds for which nodes are awaited
    timeout        seconds after which a round goes on without those that did not answer
    clip-update    the longest update that is believed; 0: any
    named-nodes    whether the key of partition-id I must be registered under the name node-I
    workers        threads of the server's tests of the model

Given once more after the server or the SuperLink was killed, the run goes on from its newest checkpoint.
"""

import json
from pathlib import Path
from typing import Any

from flwr.app import Context
from flwr.serverapp import ServerApp

from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.parallel import in_order
from minifl.fl.participation import own_models
from minifl.flower import client_state
from minifl.flower.federate import CLIENTS
from minifl.flower.node import Task
from minifl.flower.nodes import Terms
from minifl.flower.strategy import KNOWN, Rounds
from minifl.runs import initial, record
from minifl.runs.locking import locked
from minifl.runs.resuming import newest_state, refuse_ended
from minifl.runs.run import first_state, keeping, reopen
from minifl.runs.settings import settings_for

DEVICE = "cpu (NumPy)"

app = ServerApp()


@app.main()
def main(grid: Any, context: Context) -> None:
    """Do what is left of the run."""
    config = context.run_config
    terms = Terms(nodes=int(config["nodes"]), wait=float(config["wait"]), timeout=float(config["timeout"]),
                  clip_update=float(config["clip-update"]) or None, named_nodes=bool(config["named-nodes"]))
    serve(grid, Path(config["out"]), config.get("data-dir") or None, terms, int(config["workers"]))


def serve(grid: Any, out: str | Path, data_dir: str | Path, terms: Any, workers: int = 1) -> None:
    """Do the rounds that the run directory `out` lacks, with the nodes of the grid."""
    with locked(out):
        config, dataset, partition = reopen(out, data_dir)
        refuse_ended(out)
        settings = settings_for(dataset.name, config["settings"])
        model = settings.network(dataset.num_classes, dataset.image_shape)
        state = first_state(settings, model, start=initial.of_run(out, settings))
        last, messages = None, []
        if record.count_rounds(out):
            sizes = {KNOWN: 1} if statistics.kept_sizes(settings, model, settings.method()) else {}
            state, last, messages = newest_state(out, config, state, sizes, DEVICE)
        for message in messages:
            say(message)
        task = Task(json.dumps(config["settings"]), config["federation"]["id"], dataset.sha256,
                    config["partition"]["sha256"])

        def save_model(state):
            full = _with_local(state, out / CLIENTS / task.run, settings, model)
            blocks = statistics.saved(settings, model, full, len(partition.train))
            if config["federation"]["elsewhere"]:
                blocks = statistics.without_clients(blocks)
            record.save_model(out, blocks)

        with in_order(workers) as pool_map, keeping(settings, out, state, last, save_model, 1) as keep:
            strategy = Rounds(task, settings, model, state, dataset, partition, keep, terms, out, pool_map, say)
            strategy.start(grid, strategy.broadcast(), num_rounds=settings.rounds - state.round,
                           timeout=terms.timeout, evaluate_fn=strategy.finish_round)


def say(text: str) -> None:
    """A line in the log of the SuperLink."""
    print(text, flush=True)


def _with_local(state, folder, settings, model):
    """The state with what the clients keep, as far as they are on this machine."""
    if not own_models(settings):
        return state
    sizes, own = statistics.kept_sizes(settings, model, settings.method()), {}
    for k, known in state.own.items():
        try:
            own[k] = client_state.load(folder, k, int(known[KNOWN].item()), sizes)
        except InputError:
            continue
    return state._replace(own=own)
