"""A profile as a table: where the time of a run's rounds went, layer by layer and around them, per local step."""

from collections.abc import Iterator
from typing import NamedTuple

from minifl.models.network import Row
from minifl.runs.profile import AROUND, BACKWARD, FORWARD, LOSS, OWN_TESTS, Profile
from minifl.runs.summary import markdown

HEAD = "layer", "what", "forward ms", "backward ms", "ms", "share", "GFLOP", "GFLOP/s"


class Line(NamedTuple):
    """A row of the table. Seconds and FLOPs are those of one local step of one client; None: there are none."""
    name: str
    what: str
    forward: float | None
    backward: float | None
    share: float               # of the threads' seconds
    flops: tuple = (0, 0)      # forward, backward
    other: float = 0.0         # seconds of what is no layer

    @property
    def seconds(self) -> float:
        return (self.forward or 0) + (self.backward or 0) + self.other


def lines(profile: Profile, batch_size: int) -> tuple[list[Line], list[Line]]:
    """The Lines of the layers in forward order, then those of what is around them. Needs at least one local step."""
    plan = {row.name: row for row in profile.model.plan}
    known = [*plan, LOSS]
    other = [name for name, direction in profile.spent if direction and name not in known]
    layers = [_layer(profile, name, plan.get(name), batch_size) for name in [*known, *dict.fromkeys(other)]]
    around = [(name, what, profile.spent[name, None].seconds) for name, what in AROUND.items()]
    return layers, [Line(name, what, None, None, seconds / profile.thread_seconds, other=seconds / profile.steps)
                    for name, what, seconds in around]


def report(profile: Profile, batch_size: int) -> Iterator[str]:
    """The table, and what its numbers are of."""
    if not profile.steps:
        yield "Profile: no round with a local step has ended, so there is nothing to show."
        return
    layers, around = lines(profile, batch_size)
    whole = profile.thread_seconds / profile.steps
    of_layers, of_all = (sum(line.seconds for line in some) for some in (layers, layers + around))
    total = Line("all layers", "", sum(line.forward or 0 for line in layers), sum(line.backward or 0 for line in layers),
                 of_layers / whole, tuple(map(sum, zip(*(line.flops for line in layers)))))
    rest = Line("rest", "Python around these, waiting", None, None, 1 - of_all / whole, other=whole - of_all)
    yield (f"Profile of {profile.rounds} round{'s' * (profile.rounds > 1)}, "
           f"{profile.thread_seconds / profile.workers:.2f} s on {profile.workers} thread{'s' * (profile.workers > 1)}: "
           f"{profile.steps:,} local steps, each a batch of {batch_size} of one client. All but the shares is for one step.")
    yield markdown([HEAD, *map(cells, [*layers, total, *around, rest])])
    own = profile.spent[OWN_TESTS, None].seconds
    yield (f"Not in the table: {profile.evaluation:.2f} s of tests of the global model"
           + (f", {own:.2f} thread-seconds of tests of the clients' own models." if own else "."))
    yield (f"The layers took {of_layers * profile.steps:.2f} of {profile.thread_seconds:.2f} thread-seconds (round time x "
           f"threads): gap {100 * (1 - of_layers / whole):.1f} %; with the rows below them {of_all * profile.steps:.2f}: "
           f"gap {100 * (1 - of_all / whole):.1f} %.")


def cells(line: Line) -> tuple[str, ...]:
    """The cells of a Line; what is not there, and what is 0 by definition, is a dash."""
    flops = sum(line.flops)
    return (line.name, line.what, number(1e3 * (line.forward or 0), 3), number(1e3 * (line.backward or 0), 3),
            number(1e3 * line.seconds, 3), f"{100 * line.share:.1f} %", number(flops / 1e9, 4),
            number(flops and line.seconds and flops / line.seconds / 1e9, 1))


def number(value: float, digits: int) -> str:
    return f"{value:.{digits}f}" if value else "-"


def _layer(profile: Profile, name: str, row: Row | None, batch_size: int) -> Line:
    """The Line of one layer; row: its Row in the plan, if it has one."""
    directions = [profile.spent[name, direction] for direction in (FORWARD, BACKWARD)]
    flops = tuple(row.flops * batch_size * spent.passes / profile.steps if row else 0 for spent in directions)
    return Line(name, row.what if row else "", *(spent.seconds / profile.steps if spent.calls else None
                                                 for spent in directions),
                sum(spent.seconds for spent in directions) / profile.thread_seconds, flops)
