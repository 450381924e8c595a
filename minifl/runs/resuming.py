"""Going on with a run: after it was stopped, or to more rounds than it was begun for.

A run that goes on to more rounds gives the bits of a run of so many rounds from the start, with two exceptions. With
the cosine schedule every round depends on their number, so such a run is refused. And its record has one test more: the
last round of before was tested because it was the last, also where --eval-every and --local-eval-every did not ask for it.
"""

from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

from minifl.backend import choose_precision
from minifl.data.dataset import Dataset
from minifl.data.partition import Partition
from minifl.errors import InputError
from minifl.fl import statistics
from minifl.fl.rounds import due
from minifl.runs import checkpoint, initial, record
from minifl.runs.locking import locked
from minifl.runs.provenance import environment
from minifl.runs.run import Placement, do_rounds, first_state, last_test
from minifl.runs.settings import settings_for


def resume(out: str | Path, config: dict, dataset: Dataset, partition: Partition, place: Any = Placement(),
           rounds: int | None = None) -> tuple:
    """Go on with the run in `out` from its newest checkpoint.

    config, dataset, partition   from `reopen`
    rounds   None, or more rounds than the run has
    returns  an iterator as of `train` over the rounds that are missing, sentences about where it goes on
    What the run holds at its end is the same to the bit as if it had never stopped, its times apart. Raises
    InputError if it has ended, if it was made on another kind of device or with another precision, as `more_rounds`,
    and as `train`.
    """
    if "federation" in config:
        raise InputError(f"{out} was begun by federate, whose clients keep their own state; go on with: "
                         f"python cli.py federate --resume {out}")
    kind = str(config.get("device")).split()[0]
    if kind != place.device.split()[0]:
        raise InputError(f"{out} was begun on {config.get('device')}, which rounds differently from {place.device}; "
                         f"resume it with --device {kind}.")
    precision = config.get("precision", "fp32")
    if place.precision not in (None, precision):
        raise InputError(f"{out} was begun with --precision {precision}, which rounds differently from "
                         f"{place.precision}; resume it with --precision {precision}, or leave that out.")
    choose_precision(place.xp, precision)
    with ExitStack() as lock:
        out = lock.enter_context(locked(out))
        if record.read_config(out) != config:
            raise InputError(f"{out} was overwritten by another process meanwhile; look at it before going on.")
        messages = []
        if rounds is None:
            refuse_ended(out)
        else:
            config, messages = more_rounds(out, config, rounds, place.device)
        settings = settings_for(config["settings"].get("data"), config["settings"])
        model = settings.network(dataset.num_classes, dataset.image_shape)
        first = first_state(settings, model, place.xp, initial.of_run(out, settings))
        sizes = statistics.kept_sizes(settings, model, settings.method())
        state, last, found = newest_state(out, config, first, sizes, place.device)
        return do_rounds(lock.pop_all(), settings, model, dataset, partition, out, place, state, last), messages + found


def refuse_ended(out: str | Path) -> None:
    """InputError if the run in `out` has ended, so that there is nothing to resume."""
    ended = record.read_end(out)
    if ended and ended["status"] in record.COMPLETE:
        finished = ended["status"] == "finished"
        checkpoint.remove(out, but=finished)   # in case that it was killed just before it did
        raise InputError(f"{out} has {ended['status']} after round {ended['rounds_done']}: there is nothing to "
                         f"resume." + (" It goes on to more rounds with --rounds." if finished else "")
                         + (f" ({ended['message']})" if ended["message"] else ""))


def newest_state(out: str | Path, config: dict, first: Any, sizes: Any, device: str) -> tuple:
    """From where the run directory `out`, which is locked, goes on; its record is cut there.

    first    State before the first round, on the run's device
    sizes    name -> length of what each client keeps
    returns  the State, the record of the last evaluation up to it (None without one), sentences about it
    """
    state, messages = checkpoint.latest(out, first, record.count_whole_rounds(out), sizes, record.origin(config),
                                        record.line_seals(out))
    messages.append(f"Resuming after round {state.round} of {config['settings']['rounds']}.")
    last = last_test(record.cut(out, state.round, device, config.get("precision", "fp32")))
    return state, last, messages


def check_rounds(out: str | Path, config: dict, rounds: int) -> bool:
    """Whether `rounds` are more than the run has. InputError if they are fewer, or too many for its schedule."""
    settings, done = settings_for(config["settings"].get("data"), config["settings"]), record.count_rounds(out)
    if rounds < settings.rounds:
        raise InputError(f"--resume {out}: --rounds {rounds} is fewer than the run's {settings.rounds}, of which "
                         f"{done} are done; only more are valid.")
    if rounds > settings.rounds and settings.lr_schedule == "cosine":
        raise InputError(f"--resume {out}: --rounds {rounds} differs from the run's {settings.rounds}, and with "
                         f"--lr-schedule cosine the learning rate of every round depends on their number; begin a new "
                         f"run: python cli.py train --config {Path(out) / record.CONFIG} --rounds {rounds}")
    return rounds > settings.rounds


def more_rounds(out: str | Path, config: dict, rounds: int, device: str) -> tuple:
    """Let the run in `out`, which is locked, have so many rounds; its config says when that was and by what.

    returns  the new config, sentences about what will be different from a run of so many rounds from the start
    Raises InputError as `check_rounds`; if it has diverged, or if it has finished and its last state is not known.
    """
    if not check_rounds(out, config, rounds):
        refuse_ended(out)
        return config, []
    old = settings_for(config["settings"].get("data"), config["settings"])
    ended, messages = record.read_end(out), []
    if ended and ended["status"] == "diverged":
        refuse_ended(out)
    if ended and ended["status"] == "finished":
        record.check(out, *record.ENDED_WITH)
        if checkpoint.newest_round(out) != old.rounds or record.count_whole_rounds(out) != old.rounds:
            raise InputError(f"{out} has finished after round {ended['rounds_done']} and lacks its last checkpoint or a "
                             f"part of its record: it is from before finished runs kept a checkpoint, or something was "
                             f"removed. Begin anew: python cli.py train --config {out / record.CONFIG} --rounds {rounds}")
        if due(old, old.rounds - 1) != due(replace(old, rounds=rounds), old.rounds - 1):
            messages.append(f"Round {old.rounds} was tested because it was the last; this stays in the record, though a "
                            f"run of {rounds} rounds from the start would not have all of it.")
    messages.append(f"The run goes on to {rounds} rounds instead of {old.rounds}.")
    extended = {"rounds": [old.rounds, rounds], "done": record.count_rounds(out),
                **environment(device, config.get("precision", "fp32"))}
    config = config | {"settings": config["settings"] | {"rounds": rounds},
                       "extended": [*config.get("extended", []), extended]}
    record.reopen_end(out)
    record.write_config(out, config)
    return config, messages
