"""What a sweep shows while its runs are at work: the round that each is at, and the time that is left."""

import signal
import sys
from datetime import timedelta
from shutil import get_terminal_size
from time import perf_counter
from typing import Any

import click

from minifl.fl.parallel import Signals
from minifl.runs import record
from minifl.runs.sweep import perform

SPARSE = 60      # seconds between reports where no terminal shows them in their place
BAR = 20         # characters


def show_sweep(runs: Any, jobs: int, options: Any) -> dict:
    """Do the runs. On a terminal lines that are kept up to date: all runs, and each at work; elsewhere a line for each
    start and end, and now and then these. Returns the failures.

    Ctrl-C stops all of them and ends the program.
    """
    failed = {run.path: "diverged" for run in runs if run.status == "diverged"}
    standing = Standing([run for run in runs if run.status not in record.COMPLETE])
    terminal, said = Block() if sys.stdout.isatty() else None, perf_counter()
    try:
        with Signals() as signals:
            for run, event, detail in perform(runs, jobs, options, check=signals.check):
                standing.take(run, event, detail)
                if event == "ended" and detail:
                    failed[run.path] = detail
                if terminal:
                    terminal.show(standing.lines())
                elif event != "round":
                    click.echo(f"{event} {run.path.name}" + (f" ({standing.ended}/{len(standing.runs)})" + (
                        f": {detail}" if detail else "") if event == "ended" else ""))
                elif perf_counter() - said >= SPARSE:
                    click.echo("\n".join(standing.lines()))
                    said = perf_counter()
    except KeyboardInterrupt as interrupt:
        click.echo("Interrupted; the same command goes on with what is left.", err=True)
        sys.exit(128 + getattr(interrupt, "signum", signal.SIGINT))
    return failed


class Standing:
    """Where the runs of a sweep are, from what `perform` tells. now: a clock, in seconds."""

    def __init__(self, runs, now=perf_counter):
        self.runs, self.now, self.begin = runs, now, now()
        self.rounds = {run.path: run.settings.rounds for run in runs}
        self.done, self.old = dict.fromkeys(self.rounds, 0), dict.fromkeys(self.rounds, 0)   # rounds; those not done now
        self.at_work, self.ended = {}, 0      # path -> when it started

    def take(self, run: Any, event: str, detail: Any) -> None:
        """Something happened."""
        path = run.path
        if event == "started":
            self.at_work[path], self.done[path], self.old[path] = self.now(), detail, detail
        elif event == "round":
            self.done[path], self.old[path] = detail, min(self.old[path], detail)    # a resumed run may have to go back
        else:
            del self.at_work[path]
            self.done[path], self.ended = self.rounds[path], self.ended + 1         # whatever is missing does not come

    def lines(self) -> list[str]:
        """All runs together, and each that is at work."""
        done, total = sum(self.done.values()), sum(self.rounds.values())
        filled = BAR * done // max(1, total)
        new = sum(self.done[path] - self.old[path] for path in self.done)
        return [f"[{'#' * filled}{'-' * (BAR - filled)}] {done}/{total} rounds, {self.ended}/{len(self.runs)} runs"
                + _left(self.now() - self.begin, new, total - done),
                *(f"  {path.name}  round {self.done[path]}/{self.rounds[path]}"
                  + _left(self.now() - start, self.done[path] - self.old[path], self.rounds[path] - self.done[path])
                  for path, start in self.at_work.items())]


def _left(seconds, done, missing):
    """How long what is missing takes if it goes on like what was done in so many seconds; nothing if that was nothing."""
    return f"  {timedelta(seconds=round(seconds / done * missing))} left" if done > 0 else ""


class Block:
    """Lines of a terminal that are written over again and again."""

    def __init__(self):
        self.height = 0

    def show(self, lines: Any) -> None:
        columns, rows = get_terminal_size()
        if len(lines) > rows - 1:
            lines = [*lines[:rows - 2], f"  and {len(lines) - (rows - 2)} more"]
        up = f"\x1b[{self.height}A" if self.height else ""
        click.echo(up + "".join(f"\r{line[:columns - 1]}\x1b[K\n" for line in lines) + "\x1b[J", nl=False)
        self.height = len(lines)
