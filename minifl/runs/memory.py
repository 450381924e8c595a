"""How much memory a run will take, said before it starts: a run that does not fit ends with a message, at once.

Everything is counted in bytes from shapes alone, nothing is allocated: the plan of the network, K clients in a call, N
examples in a batch, E local steps, P parameters. What lives longest:

    batches      (K, E, N, H, W, C) float32: all steps' are made at once (client.py)
    parameters   (K, P) a few times: where the client began, theta, this step's gradient and the last one, blocks of it
    caches       what the layers keep of a batch for their backward passes; the columns of convolutions most of all
    transient    what the hungriest layer has besides while it computes, e.g. the gradients of its columns

The caches and transients are in minifl/models/footprint.py, the rest is here, as client.py and rounds.py are written.
tests/runs/test_memory.py measures: an estimate lies between the peak of what NumPy allocates and twice that.
"""

from dataclasses import replace
from math import prod
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np

from minifl.data.dataset import Dataset
from minifl.data.partition import Partition
from minifl.errors import InputError
from minifl.fl.diagnostics import MOST_CLIENTS
from minifl.fl.evaluate import chunk_size
from minifl.fl.participation import clients_per_round, own_models, steps_of
from minifl.models import footprint
from minifl.models.footprint import FLOAT
from minifl.runs.settings import Settings

PARTITION = 4 * 8, 300   # bytes of a cell of the table of label counts and of a client, while a partition is made


class Need(NamedTuple):
    """Bytes that a run takes, by what they are for."""
    start: int           # making the first parameters, before anything else
    state: int           # the server's parameters and the clients' kept arrays, all the time, and the sums of a round
    data: int            # the images, if they are to be moved to the device
    batches: int         # of one call of local work
    parameters: int      # of one call: arrays (K, P)
    activations: int     # of one call: caches and what comes and goes
    test: int            # one chunk of test images on its way through the network
    save: int            # writing a checkpoint

    @property
    def call(self) -> int:
        """One call of local work on K clients."""
        return self.batches + self.parameters + self.activations

    def total(self, calls: int = 1) -> int:
        """The run, with so many calls, or chunks of test images, at a time."""
        return max(self.start, self.state + self.data + max(calls * max(self.call, self.test), self.save))


def estimate(settings: Settings, model: Any, clients_at_once: int = 1, *, steps: int | None = None, keeping: int = 0,
             waiting: int = 0, data: int = 0, on_gpu: bool = False) -> Need:
    """The Need of a run of `settings` with the network `model`.

    clients_at_once  K, clients of one call
    steps            the most local steps of any client; default settings.local_steps
    keeping          how many clients will have arrays that they keep between rounds
    waiting          clients whose messages wait to be added up while others work
    data             bytes of the images that will lie on the device
    on_gpu           matrices that overlap are copied before a product, as CuPy does
    """
    k, n, steps = clients_at_once, settings.batch_size, settings.local_steps if steps is None else steps
    p, method = FLOAT * model.spec.size, settings.method()
    kept = sum(array.shape[1] for array in method.client_state(np.zeros((1, 1)), np.zeros((1, 0))).values())
    layers = FLOAT * sum(entry.size for entry in model.spec.entries if entry.name in method.personal_blocks(model))
    parts = footprint.parts(model, on_gpu=on_gpu)
    pixel = prod(model.image_shape)
    pixels = steps * n * pixel
    # held, a client's batches weigh 4 bytes a pixel; stacking holds them twice, and making the last 6 more
    making, held = (4 * k + max(6, 4 * k)) * pixels, 4 * k * pixels
    with_cache = k * (p * (4 + kept + method.working) + layers
                      + max(p + n * footprint.cached(parts), footprint.backward(parts, n)))
    without = k * (p * (7 + 3 * kept + method.working + (2 if own_models(settings) else 0)) + layers)
    states = len(method.server_state(np.zeros(0)))
    own = keeping * (kept * p + layers)
    largest = max((entry.size for entry in model.spec.entries), default=0)
    return Need(
        start=2 * p + max(p, 2 * FLOAT * largest),   # in float64, drawn block by block, then copied to float32
        state=p * (4 + 2 * states + 2 * kept) + own + waiting * p * (1 + 2 * kept),
        data=data,
        batches=max(held, making - max(with_cache, without)),     # what is made before the steps has their room
        parameters=k * p * (5 + kept),
        activations=max(with_cache, without) - k * p * (5 + kept),
        # a chunk in bytes and two float32 copies, then one of them; of a client, theta and what it sends are there, too
        test=_chunk(settings, on_gpu) * max(9 * pixel, 5 * pixel + footprint.forward(parts)) + k * p * (2 + 2 * kept),
        save=2 * own)


def check_partition(num_clients: int, num_classes: int, available: int | None = None) -> None:
    """InputError if the table of label counts of so many clients, with their lists of examples, does not fit."""
    available = free(np) if available is None else available
    each = PARTITION[0] * num_classes + PARTITION[1]
    if available is not None and num_clients * each > available:
        raise InputError(f"--num-clients {num_clients}: their label counts and lists of examples take about "
                         f"{_shown(num_clients * each)} of memory, and {_shown(available)} are free here; at most "
                         f"{_rounded(available // each)} fit.")


def check_fits(settings: Settings, dataset: Dataset, partition: Partition, place: Any, *, processes: int = 1,
               available: int | None = None) -> None:
    """InputError if a run takes more memory than is free where it will compute; the message says what would fit.

    place      the run's Placement: array module, workers, clients_per_call
    processes  such runs at a time
    available  bytes; default `free`; where nobody knows, nothing is checked
    """
    available = free(place.xp) if available is None else available
    if available is None:
        return
    available //= processes
    sizes = partition.counts.sum(axis=1)
    need, calls = _of_run(settings, dataset, sizes, place)
    if need.total(calls) <= available:
        return
    share = f", for each of {processes} runs at a time" if processes > 1 else ""
    raise InputError(f"this run takes about {_shown(need.total(calls))} of memory, and {_shown(available)} are free "
                     f"{'here' if place.xp is np else 'on the GPU'}{share}. Most of it is "
                     f"{_most(need, calls, settings)}. {_remedies(settings, dataset, sizes, place, available)}")


def free(xp: ModuleType) -> int | None:
    """Bytes that xp's device has left: on a GPU what CUDA says, on Linux what the kernel can give without swapping
    (MemAvailable), None elsewhere."""
    if xp is not np:
        return xp.cuda.Device().mem_info[0]
    try:
        with open("/proc/meminfo", encoding="utf-8") as f:
            lines = dict(line.split(":", 1) for line in f)
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, KeyError, ValueError):
        return None


def _of_run(settings, dataset, sizes, place):
    """(Need, calls at a time) of a run; sizes (clients,) are their numbers of training examples."""
    trained = int((sizes > 0).sum())
    sampled = clients_per_round(settings, trained)
    on_gpu = place.xp is not np
    at_once = min(place.clients_per_call or (sampled if on_gpu else 1), sampled)
    calls = 1 if on_gpu else min(place.workers, -(-sampled // at_once))
    waiting = 0 if on_gpu else max(0, min(2 * place.workers * at_once, sampled) - calls * at_once)
    images = dataset.x_train.nbytes + dataset.x_test.nbytes
    on_device = images if on_gpu and images <= free(place.xp) // 2 else 0      # else they stay on the host: run.py
    model = settings.network(dataset.num_classes, dataset.image_shape)
    need = estimate(settings, model, at_once,
                    steps=steps_of(settings, int(sizes.max())), keeping=min(trained, settings.rounds * sampled),
                    waiting=waiting, data=on_device, on_gpu=on_gpu)
    if settings.diagnose:   # where these clients ended is kept until the end of the round
        need = need._replace(state=need.state + FLOAT * model.spec.size * min(MOST_CLIENTS, sampled))
    if on_gpu:      # a CUDA graph has memory of its own, beside that of the ordinary steps that it is compared with
        return need, 2
    return need, max(calls, min(place.workers, -(-len(dataset.x_test) // _chunk(settings, on_gpu))))


def _chunk(settings, on_gpu):
    return chunk_size(on_gpu, by_chunk=settings.bn_stats == "batch")


def _most(need, calls, settings):
    """For people: what takes the most, and how much."""
    state = "the state between rounds: the server's parameters and what clients keep"
    parts = {state: need.state, "the data set": need.data, "the test images on their way": calls * need.test,
             f"the batches of all local steps ({settings.batch_size} images each)": calls * need.batches,
             "parameters, gradients and messages of the clients at work": calls * need.parameters,
             "activations and their gradients": calls * need.activations, "making the first parameters": need.start}
    name = max(parts, key=parts.get)
    return f"{_shown(parts[name])} for {name}"


def _remedies(settings, dataset, sizes, place, available):
    """What would fit, each alone, as a sentence."""
    def fits(settings=settings, **changed):
        try:
            need, calls = _of_run(settings, dataset, sizes, place._replace(**changed))
        except InputError:      # a width that the groups of a norm do not divide
            return False
        return need.total(calls) <= available

    steps = "local_steps" if settings.local_epochs is None else "local_epochs"
    sampled = clients_per_round(settings, int((sizes > 0).sum()))
    default = 1 if place.xp is np else sampled
    found = {
        "workers": _largest(lambda v: fits(workers=v), place.workers if place.xp is np else 1),
        "clients-per-call": _largest(lambda v: fits(clients_per_call=v),
                                     min(place.clients_per_call or default, sampled)),
        **{name.replace("_", "-"): _largest(lambda v, name=name: fits(replace(settings, **{name: v})),
                                            getattr(settings, name)) for name in ("batch_size", steps)},
        "width": next((f"{width:.2g}" for width in (float(f"{settings.width / 2 ** i:.2g}") for i in range(1, 24))
                       if fits(replace(settings, width=width))), None)}
    options = [f"--{name} {value}" for name, value in found.items() if value]
    if not options:
        return (f"No smaller --width, --batch-size or --{steps.replace('_', '-')} alone would fit; make several of "
                f"them smaller, or take another --model or --algorithm, or fewer clients.")
    return f"It would fit with {' or '.join(filter(None, [', '.join(options[:-1]), options[-1]]))}."


def _largest(fits, value):
    """The largest whole number from 1 to below `value` that fits, of two digits; None if there is none."""
    low, high = 0, value
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    low = _rounded(low)
    return low if low and fits(low) else None


def _rounded(value):
    """Downwards, to two digits."""
    digits = 10 ** max(0, len(str(value)) - 2)
    return value // digits * digits


def _shown(size):
    """Bytes for people."""
    units, size = ("MB", "GB", "TB", "PB", "EB"), min(size, 10**30)     # more is no float
    power = next((i for i in range(len(units)) if size < 1e9 * 1000 ** i), len(units) - 1)
    return f"{size / 10 ** (6 + 3 * power):,.3g} {units[power]}"
