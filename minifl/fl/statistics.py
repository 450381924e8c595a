"""Whose are the running statistics of batch norm? `--bn-stats`; and with which a network is tested.

While training every client normalizes by its own batches, whatever the policy, and gathers running statistics in its
local steps (local.py). Then:

    global   FedAvg + BN. A client begins with the server's statistics and sends its own at the end of its steps; the
             server takes their mean, weighted by examples as the model's is: s <- sum_k p_k s_k. Its model is tested
             with s. The variance is that mean of variances, too: that of all examples together would have the spread of
             the clients' means besides. No server optimizer, control variate or proximal term sees statistics.
    local    FedBN (Li et al. 2021, "FedBN", Algorithm 1). Statistics, gain and bias of each batch norm stay with their
             client from round to round and are never sent; all else is averaged. There are as many models as clients,
             each the server's parameters with one client's batch norms, and each is tested on the whole test set as
             well as on its client's part (evaluate.py); of many clients those of a sample (participation.looked_at). A
             client that has not taken part yet has them as they start.
    batch    No running statistics. The model is tested with those of each batch of test images: its answers depend on
             which images are tested together, so these are a fixed mixture of the test set (evaluate.py).

A network without batch norm has no statistics, S = 0, and all of this vanishes.

The same holds for the parameter blocks that a method leaves with the clients (`personal_blocks`, as FedPer's last layers):
they are never sent, there are as many models as clients, and tests are those of FedBN.
"""

import numpy as np

from minifl.backend import get_xp, to_host
from minifl.errors import unknown
from minifl.fl.participation import own_models

POLICIES = ("global", "local", "batch")


def own_blocks(settings, model):
    """The arrays of parameters that a client keeps instead of the server's: name -> names of the blocks in it, in order."""
    groups = {"affine": model.batch_norm_blocks} if settings.bn_stats == "local" else {}
    method = settings.method()
    if method.personal:
        elsewhere = groups.get("affine", ())
        groups["layers"] = tuple(name for name in method.personal_blocks(model) if name not in elsewhere)
    return groups


def begin(settings, model, state, clients):
    """Where the clients' steps begin: theta (K, P) and running statistics (K, S)."""
    xp = get_xp(state.w)
    theta, running = xp.tile(state.w, (len(clients), 1)), xp.tile(state.statistics, (len(clients), 1))
    if own_models(settings):
        views = model.spec.views(theta) | model.statistics.views(running)
        for i, k in enumerate(clients):
            for name, block in _own(settings, model, state, k).items():
                views[name][i] = block[0]
    return theta, running


def send(settings, model, algorithm, work, theta, running):
    """What the clients send and keep, as the algorithm's message and `keep` do, with what stays with them and its
    statistics."""
    if settings.bn_stats not in (*POLICIES, None):
        raise unknown("--bn-stats", settings.bn_stats, POLICIES)
    groups = own_blocks(settings, model) if own_models(settings) else {}
    names, sent = [name for group in groups.values() for name in group], theta
    if names:
        sent = theta.copy()
        _overwrite(model, sent, work.w, names)     # what does not leave the client has not moved, for the server
    message, kept = algorithm.message(work, sent)
    for array in (*message.values(), *kept.values()) if names else ():
        if array.shape == theta.shape:         # a control variate of it would be applied to it
            _overwrite(model, array, get_xp(theta).zeros_like(array), names)
    kept = kept | algorithm.keep(work, theta) | {group: _joined(model, theta, blocks) for group, blocks in groups.items()}
    if settings.bn_stats == "local":
        return message, kept | {"statistics": running}
    return message | ({"statistics": running} if settings.bn_stats == "global" else {}), kept


def kept_sizes(settings, model, algorithm):
    """name -> length of each array that a client keeps between rounds."""
    first = algorithm.client_state(np.zeros((1, model.spec.size)), np.zeros((1, model.statistics.size)))
    sizes = {name: array.shape[1] for name, array in first.items()}
    if settings.bn_stats == "local":
        sizes["statistics"] = model.statistics.size
    blocks = model.spec.slices
    return sizes | {group: sum(blocks[name].stop - blocks[name].start for name in names)
                    for group, names in own_blocks(settings, model).items()}


def tested(settings, model, theta, running):
    """The named views of theta (K, P) and running (K, S) with which a network is tested."""
    with_running = model.statistics.size and settings.bn_stats != "batch"
    return model.spec.views(theta) | (model.statistics.views(running) if with_running else {})


def global_models(settings, model, state, clients, looked=None):
    """What is tested as the global model: named views of one network or, with local statistics, of one per client, None
    for those that are not in `looked`, if that is given."""
    if not own_models(settings):
        return [global_model(settings, model, state, 0)]
    looked = range(clients) if looked is None else set(looked)
    return [global_model(settings, model, state, k) if k in looked else None for k in range(clients)]


def global_model(settings, model, state, client):
    """Named views of the global model, with local statistics that of one client."""
    shared = tested(settings, model, state.w[None], state.statistics[None])
    return shared | _own(settings, model, state, client)


def saved(settings, model, state, clients):
    """The model by name, on the host: the server's blocks (*shape) and, with local statistics, what each client has
    instead of some of them, clients/NAME (clients, *shape)."""
    shared = tested(settings, model, state.w[None], state.statistics[None])
    blocks = {name: to_host(view[0]) for name, view in shared.items()}
    if own_models(settings):
        own = [_own(settings, model, state, k) for k in range(clients)]
        blocks |= {f"clients/{name}": np.concatenate([to_host(p[name]) for p in own]) for name in own[0]}
    return blocks


def saved_shapes(settings, model, clients):
    """name -> shape of what `saved` returns."""
    entries = model.spec.entries + (() if settings.bn_stats == "batch" else model.statistics.entries)
    shapes = {entry.name: entry.shape for entry in entries}
    if own_models(settings):
        names = [name for group in own_blocks(settings, model).values() for name in group]
        statistics = model.statistics.slices if settings.bn_stats == "local" else ()
        shapes |= {f"clients/{name}": (clients, *shapes[name]) for name in (*statistics, *names)}
    return shapes


def without_clients(arrays):
    """Of what `saved` and `saved_shapes` return, what is the server's."""
    return {name: array for name, array in arrays.items() if not name.startswith("clients/")}


def restored(blocks, clients, xp):
    """The models of `global_models`, those of all clients, from what `saved` returned, on xp's device."""
    arrays = {name: xp.asarray(array) for name, array in blocks.items()}
    shared = {name: array[None] for name, array in arrays.items() if not name.startswith("clients/")}
    own = {name.removeprefix("clients/"): array for name, array in arrays.items() if name.startswith("clients/")}
    return [shared | {name: array[k:k + 1] for name, array in own.items()} for k in range(clients if own else 1)]


def _own(settings, model, state, k):
    """name -> (1, *shape): what client k has of its own, blocks and, with local batch norms, their statistics."""
    groups, own = own_blocks(settings, model) if own_models(settings) else {}, state.own.get(k)
    if own is None:
        views = model.spec.views(state.w[None])
        found = {name: views[name] for names in groups.values() for name in names}
    else:
        found = {name: block for group, names in groups.items() for name, block in _split(model, own[group], names).items()}
    if settings.bn_stats == "local":
        found = model.statistics.views((state.statistics if own is None else own["statistics"])[None]) | found
    return found


def _joined(model, theta, names):
    """theta (K, P) -> (K, A): these blocks, one after the other."""
    views = model.spec.views(theta)
    blocks = [views[name].reshape(len(theta), -1) for name in names]
    return get_xp(theta).concatenate(blocks, axis=1) if blocks else theta[:, :0]


def _split(model, flat, names):
    """(A,) -> name -> (1, *shape): the inverse, of one client."""
    blocks, start = {}, 0
    for entry in model.spec.entries:
        if entry.name in names:
            blocks[entry.name] = flat[start:start + entry.size].reshape(1, *entry.shape)
            start += entry.size
    return blocks


def _overwrite(model, flat, other, names):
    """Put these blocks of `other` (K, P) into `flat` (K, P)."""
    for name in names:
        flat[:, model.spec.slices[name]] = other[:, model.spec.slices[name]]
