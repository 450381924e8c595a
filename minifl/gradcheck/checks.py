"""Run the instruments over the registry and the networks; each result is one line of the report."""

import inspect
import zlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pkgutil import iter_modules

import numpy as np

import minifl.fast
import minifl.layers
from minifl.gradcheck import jacobians, networks
from minifl.gradcheck.cases import CASES, Case
from minifl.gradcheck.blocks import MOST
from minifl.gradcheck.calls import BITS, CACHE, LAYOUT, LINEAR
from minifl.gradcheck.check import check
from minifl.gradcheck.instruments import COMPLEX_TOLERANCE, EXTRAPOLATED_TOLERANCE, block_error, jacobian
from minifl.gradcheck.properties import ADJOINT, ELSEWHERE, SYMMETRIC
from minifl.layers import batchnorm, norm
from minifl.models.network import Network
from minifl.rng import CHECK, address

DRAWS = 20   # attempts to find a network with gradients to compare
SHORT = {BITS: "bits", CACHE: "cache", LINEAR: "linear", LAYOUT: "layout", ADJOINT: "adjoint",   # properties, in a line
         ELSEWHERE: "elsewhere", SYMMETRIC: "symmetry"}


@dataclass(frozen=True)
class Result:
    """One check: of what, on which shape, by which instrument, its worst block error and the tolerance."""
    name: str
    shape: str
    instrument: str
    error: float
    block: str
    tolerance: float

    @property
    def passed(self) -> bool:
        return self.error <= self.tolerance


def check_case(case: Case, number: int, seed: int) -> list[Result]:
    """One case by `check`: by complex step the worst block and the properties, by central differences the worst block.
    The tolerances are the instruments' own, whatever rounding there is, and every number is compared."""
    inputs = case.draw(address(seed, CHECK, number, 0))
    shape = "x".join(map(str, next(iter(inputs.values())).shape))
    results = []
    for instrument, tolerance in (("complex step", COMPLEX_TOLERANCE), ("central", EXTRAPOLATED_TOLERANCE)):
        report = check(case.forward, case.backward, inputs, fixed=case.fixed, instrument=instrument,
                       seed=(seed, CHECK, number), tolerance=tolerance, coordinates=MOST)
        block = max(report.blocks, key=lambda block: block.error)
        results.append(Result(f"{case.layer}: {case.what}", shape, instrument, block.error, block.name, tolerance))
        if instrument == "complex step":
            properties = report.properties
    return results + [Result(f"{case.layer}: {case.what}", shape, SHORT[p.name], p.error, "all", p.tolerance)
                      for p in properties]


def check_layers(seed: int, layer: str | None = None) -> Iterator[Result]:
    """Every case of the registry, or those of one layer."""
    for number, case in enumerate(CASES):
        if layer in (None, case.layer):
            yield from check_case(case, number, seed)


def closed_form_jacobians(rng: np.random.Generator) -> tuple:
    """For each norm (name, forward, backward, x, its Jacobian (d, d) as jacobians.py has it): x is one example
    (1, 1, d), for batch norm the one channel of a batch (1, d, 1)."""
    d = 9
    x = rng.standard_normal((1, 1, d))
    v = x[0, 0]
    gain, bias = rng.standard_normal((1, d)), rng.standard_normal((1, d))
    return (
        ("shift", norm.shift, norm.shift_backward, x, jacobians.shift_jacobian(v)),
        ("feature_norm", norm.feature_norm, norm.feature_norm_backward, x,
         jacobians.feature_norm_jacobian(v, norm.EPS)),
        ("feature_norm, below the clamp", lambda x: norm.feature_norm(x, eps=100.0), norm.feature_norm_backward, x,
         jacobians.feature_norm_jacobian(v, 100.0)),
        ("rms_norm", lambda x: norm.rms_norm(x, eps=0.1), norm.rms_norm_backward, x,
         jacobians.rms_norm_jacobian(v, 0.1)),
        ("mv_norm", norm.mv_norm, norm.mv_norm_backward, x, jacobians.mv_norm_jacobian(v, norm.EPS)),
        ("group_norm", lambda x: norm.group_norm(x, groups=3), norm.group_norm_backward, x,
         jacobians.group_norm_jacobian(v, 3, norm.EPS)),
        ("instance_norm", norm.instance_norm, norm.instance_norm_backward, x.reshape(1, 1, 3, 3, 1),
         jacobians.mv_norm_jacobian(v, norm.EPS)),
        ("layer_norm", lambda x: norm.layer_norm(x, gain, bias, eps=0.1), norm.layer_norm_backward, x,
         jacobians.layer_norm_jacobian(v, gain[0], 0.1)),
        ("batch_norm", lambda x: batchnorm.batch_norm(x, eps=0.1), batchnorm.batch_norm_backward, x.reshape(1, d, 1),
         jacobians.layer_norm_jacobian(v, np.ones(d), 0.1)),
    )


def check_jacobians(seed: int, layer: str | None = None) -> Iterator[Result]:
    """The norms' whole Jacobians against their closed forms."""
    for name, forward, backward, x, closed in closed_form_jacobians(address(seed, CHECK, len(CASES))):
        if layer in (None, backward.__name__.removesuffix("_backward")):
            error = block_error(jacobian(forward, backward, x), closed)
            yield Result(f"{name}: closed form", "x".join(map(str, x.shape)), "Jacobian", error, "J", COMPLEX_TOLERANCE)


def check_networks(seed: int, layer: str | None = None, quick: bool = False) -> Iterator[Result]:
    """Every network: the loss gradient by complex step, and the adjoint test at the start and after 20 steps;
    for batch norm another in evaluation mode.

    layer: only the networks of that model (cnn) or the one of that full name
    """
    for name, model in networks.networks(quick).items():
        if layer in (None, name, name.split(":")[0]):
            yield from check_network(name, model, seed)


def check_network(name: str, model: Network, seed: int) -> Iterator[Result]:
    """One network, as `check_networks` says."""
    rng, theta, x, labels, trained, statistics = living_network(model, seed, zlib.crc32(name.encode()))
    shape = "x".join(map(str, x.shape))
    error, block = networks.loss_gradient_error(model, theta, x, labels)
    yield Result(name, shape, "complex step", error, block, COMPLEX_TOLERANCE)
    for when, at in (("0", theta), ("20", trained)):
        error, block = networks.adjoint_error(model, at, x, rng)
        yield Result(name, shape, f"adjoint@{when}", error, block, COMPLEX_TOLERANCE)
    if statistics:
        error, block = networks.adjoint_error(model, theta, x, rng, statistics)
        yield Result(name, shape, "evaluation", error, block, COMPLEX_TOLERANCE)


def living_network(model: Network, seed: int, number: int) -> tuple:
    """(rng, theta, images, labels, theta after 20 steps, statistics) of the first draw with gradients to compare."""
    for attempt in range(DRAWS):
        rng = address(seed, CHECK, number, attempt)
        theta, x, labels = networks.draw(model, rng)
        statistics = networks.draw_statistics(model, rng, theta, x, labels)
        trained = networks.train(model, theta, x, labels)
        if all(networks.comparable(model, at, x, labels, given)
               for at, given in ((theta, {}), (trained, {}), (theta, statistics))):
            break
    return rng, theta, x, labels, trained, statistics


def names() -> list[str]:
    """What `run` takes as `layer`: the layers of the registry, in its order, and the models."""
    models = (name.split(":")[0] for name in networks.networks())
    return list(dict.fromkeys([*(case.layer for case in CASES), *models]))


def unregistered() -> list[str]:
    """Names of `*_backward` functions in minifl.layers and minifl.fast ("fast.conv2d_backward") without a case, and of
    cases without such a function."""
    found = set()
    for room, before in ((minifl.layers, ""), (minifl.fast, "fast.")):
        for info in iter_modules(room.__path__):
            module = import_module(f"{room.__name__}.{info.name}")
            found |= {before + name for name, function in inspect.getmembers(module, inspect.isfunction)
                      if name.endswith("_backward") and not name.startswith("_")
                      and function.__module__ == module.__name__}
    return sorted(found ^ {f"{case.layer}_backward" for case in CASES})


def run(seed: int = 0, layer: str | None = None, quick: bool = False) -> Iterator[Result]:
    """All results; with `layer` only that layer's or model's, with `quick` all layers and a part of the networks."""
    yield from check_layers(seed, layer)
    yield from check_jacobians(seed, layer)
    yield from check_networks(seed, layer, quick)


def failed(results: Iterable) -> list:
    """Those that did not pass; an error that is nan passes no tolerance."""
    return [result for result in results if not result.passed]
