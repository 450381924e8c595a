"""Pairs of a forward and a backward pass before all checkers: the rules of checker_rules.py and our own instruments.

A pair is a case of the registry at the inputs that our checks draw for it, or the loss of a network as a function of
its parameter blocks.
"""

import zlib
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import replace
from functools import cache
from time import perf_counter
from typing import NamedTuple
from unittest import mock

import numpy as np

from checker_rules import CS231N, RULES, cs231n_error
from minifl.gradcheck import mutants as ours
from minifl.gradcheck import networks
from minifl.gradcheck.cases import CASES
from minifl.gradcheck.checks import living_network
from minifl.layers.loss import softmax_cross_entropy, softmax_cross_entropy_backward
from minifl.rng import CHECK, address

WRONG = 1e-10       # relative to a block: gradients that differ by less are the same, rounded differently
OURS = "minifl, "
SUITE, RAISED = OURS + "all instruments", OURS + "error"


class Pair(NamedTuple):
    """What a rule is given, and the address of its random numbers."""
    forward: Callable
    backward: Callable
    inputs: dict
    wanted: list
    place: tuple


class Trial(NamedTuple):
    """One pair before all checkers.

    where     layer or network;  case  of the layer, "" for a network;  mistake  "" if nothing is wrong
    off       how far the wrong gradient is off, relative to its block
    rejected  the checkers that did not accept it
    """
    where: str
    case: str
    mistake: str
    seed: int
    off: float
    rejected: frozenset


def wrong_trials(mutant, seed, seconds):
    """A Trial for each case in which the mutant is wrong, or for its network."""
    for number, case, pair in _pairs(mutant.layer, seed):
        right = gradients(pair)
        if mutant.module is None:
            pair = pair._replace(backward=mutant.wrong)
            replaced = nullcontext()
        else:
            replaced = mock.patch.object(mutant.module, mutant.attribute, mutant.wrong)
        with replaced:
            off = how_far_off(right, gradients(pair))
            rejected = rejecting(pair, seconds) if off > WRONG else set()
        if off > WRONG:
            rejected |= _noticing(mutant, number, seed, seconds)
            yield Trial(mutant.layer, case, mutant.mistake, seed, off, frozenset(rejected))


def right_trials(chosen, seed, seconds):
    """A Trial for each case of the layers that the mutants are of, and for each of their networks."""
    for mutant in {mutant.layer: mutant for mutant in chosen}.values():
        if mutant.module is None:
            right = next(case.backward for case in CASES if case.layer == mutant.layer)
        else:
            right = getattr(mutant.module, mutant.attribute)
        for number, case, pair in _pairs(mutant.layer, seed):
            rejected = rejecting(pair, seconds) | _noticing(replace(mutant, wrong=right), number, seed, seconds)
            yield Trial(mutant.layer, case, "", seed, 0.0, frozenset(rejected))


def case_pair(case, number, seed):
    """CASES[number], maybe with another backward, at the inputs that our checks draw for it."""
    inputs = case.draw(address(seed, CHECK, number, 0))
    return Pair(case.forward, case.backward, inputs, [name for name in inputs if name not in case.fixed],
                (seed, CHECK, number, 0, 1))


def network_pair(name, seed):
    """The loss (1,) of the first client's network as a function of its parameter blocks, at the draw of our checks."""
    model, number = _networks()[name], zlib.crc32(name.encode())
    theta, x, labels = (array[:1] for array in _living_draw(name, seed))

    def forward(*blocks):
        logits, cache = model.forward(dict(zip(model.spec.slices, blocks)), x)
        loss, loss_cache = softmax_cross_entropy(logits, labels)
        return loss, (cache, loss_cache)

    def backward(dloss, caches):
        cache, loss_cache = caches
        gradients = model.backward(softmax_cross_entropy_backward(dloss, loss_cache), cache)
        return tuple(gradients[name] for name in model.spec.slices)

    return Pair(forward, backward, model.spec.views(theta), list(model.spec.slices), (seed, CHECK, number, 0, 1))


_networks = cache(networks.networks)


@cache
def _living_draw(name, seed):
    """theta, images, labels: what checks.py takes of this network."""
    _, theta, x, labels, *_ = living_network(_networks()[name], seed, zlib.crc32(name.encode()))
    return theta, x, labels


def rejecting(pair, seconds=None):
    """The names of the rules that do not accept a pair; what raises is not accepted.

    seconds: a Counter to which each rule's time is added. The rows of cs231n share one measurement.
    """
    error, time = _judge(cs231n_error, pair)
    said = {name: error <= limit for name, limit in CS231N.items()}
    times = dict.fromkeys(CS231N, time)
    for name in RULES.keys() - CS231N.keys():
        said[name], times[name] = _judge(RULES[name], pair)
    if seconds is not None:
        seconds.update(times)
    return {name for name, accepted in said.items() if accepted is not True}


def _judge(rule, pair):
    """(what a rule says, nan if something raised; the seconds that it took)."""
    start = perf_counter()
    try:
        with np.errstate(all="ignore"):
            said = rule(pair.forward, pair.backward, pair.inputs, pair.wanted, address(*pair.place))
    except Exception:   # whatever a wrong backward raises: shapes that do not fit, mostly
        said = np.nan
    return said, perf_counter() - start


def _pairs(layer, seed):
    """(number, what, pair) of each case of a layer, or (None, "", pair) of a network."""
    if layer in _networks():
        yield None, "", network_pair(layer, seed)
    for number, case in enumerate(CASES):
        if case.layer == layer:
            yield number, case.what, case_pair(case, number, seed)


def _noticing(mutant, number, seed, seconds):
    """The names of our instruments that notice a mutant in CASES[number], or in its network."""
    start = perf_counter()
    alone = tuple(case if i == number else replace(case, backward=_elsewhere) for i, case in enumerate(CASES))
    with mock.patch.object(ours, "CASES", alone):
        names = ours.caught(mutant, seed)
    seconds[SUITE] += perf_counter() - start
    return {OURS + name for name in names} | ({SUITE} if names else set())


def _elsewhere(dy, cache):
    """Of no layer: for cases that are not to be run."""


def gradients(pair):
    """A pair's gradients for one random cotangent, a list of arrays; None where backward raises or gives no numbers."""
    y, cache = pair.forward(*pair.inputs.values())
    v = address(*pair.place, 1).standard_normal(y.shape)
    try:
        with np.errstate(all="ignore"):
            found = pair.backward(v, cache)
            found = found if isinstance(found, tuple) else (found,)
            return [np.asarray(g, dtype=float) for g in found[:len(pair.wanted)]]
    except Exception:
        return None


def how_far_off(right, wrong):
    """Largest difference of two lists of gradients, relative to a block's largest entry; inf where the wrong ones have
    another form or are not finite."""
    if wrong is None or [g.shape for g in wrong] != [g.shape for g in right]:
        return np.inf
    if not all(np.all(np.isfinite(g)) for g in wrong):
        return np.inf
    return max(float(np.abs(a - b).max() / max(np.abs(a).max(), np.abs(b).max(), np.finfo(float).tiny))
               for a, b in zip(right, wrong))
