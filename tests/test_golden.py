"""minifl against PyTorch, float64: every layer, the networks in their arrangements, 20 local SGD steps.

The answers lie in tests/golden/*.npz, written by tests/golden/make_golden.py; the cases are in layer_cases.py and
network_cases.py. No PyTorch is needed here. Run as a program, this file prints the worst error of each group.
"""

import inspect
import sys
from functools import cache, partial
from importlib import import_module
from pathlib import Path
from pkgutil import iter_modules

import numpy as np
import pytest

GOLDEN = Path(__file__).resolve().parent / "golden"
sys.path.insert(0, str(GOLDEN))

from drawing import condensed, joined, split, uniform                           # noqa: E402
from layer_cases import LAYERS                                                  # noqa: E402
from minifl import fast, layers                                                 # noqa: E402
from minifl.fl.local import local_sgd                                           # noqa: E402
from minifl.models import loss_and_grad                                         # noqa: E402
from minifl.models.arrangement import ACTIVATIONS, POSITIONS                    # noqa: E402
from minifl.models.norms import NORMS as TABLE                                  # noqa: E402
from network_cases import (INSIDE, NETWORKS, NORMALIZED, NORMS, RESNET18, RESNET18_SGD, SGD,    # noqa: E402
                           Network, Residual)

TOLERANCE = 1e-10

FUNCTIONS = {}   # name -> function, of every module in minifl.layers
for _, _module, _ in iter_modules(layers.__path__):
    FUNCTIONS |= dict(inspect.getmembers(import_module(f"minifl.layers.{_module}"), inspect.isfunction))


@cache
def golden(file):
    """case -> tensor -> PyTorch's answer."""
    with np.load(GOLDEN / file, allow_pickle=False) as stored:
        return {case: split(stored[case], stored[f"{case}/layout"]) for case in stored.files
                if f"{case}/layout" in stored.files}


def relative_error(ours, theirs):
    """The worst client's max|ours - theirs| / max|theirs|; where theirs is all 0, ours must be too."""
    if ours.shape != theirs.shape or ours.dtype != theirs.dtype:
        return np.inf
    ours, theirs = (a.reshape(len(a), -1) for a in (ours, theirs))
    distance, size = abs(ours - theirs).max(axis=1), abs(theirs).max(axis=1)
    ratios = [d / s if s else (0.0 if d == 0 else np.inf) for d, s in zip(distance, size)]
    return np.max(ratios)   # not max(ratios), which may drop a nan


def errors(ours, theirs):
    """tensor -> relative error; inf for a tensor that only one side has."""
    return {name: relative_error(ours[name], theirs[name]) if name in ours and name in theirs else np.inf
            for name in ours | theirs}


def disagreements(ours, theirs):
    """Tensors whose error is above the tolerance, or is not a number."""
    return {name: error for name, error in errors(ours, theirs).items() if not error <= TOLERANCE}


def layer_tensors(name, functions=FUNCTIONS):
    """y and the gradient of each argument for the drawn cotangent."""
    case = LAYERS[name]
    inputs = case.inputs(name)
    y, saved = functions[case.layer](*inputs.values(), **case.options)
    gradients = functions[f"{case.layer}_backward"](uniform(f"{name}.dy", y.shape), saved)
    gradients = gradients if isinstance(gradients, tuple) else (gradients,)
    named = zip(inputs, gradients)   # without bias, or for labels, there is no argument or no gradient
    return {"y": y} | {f"d{argument}": gradient for argument, gradient in named}


def network_tensors(name):
    """Logits, loss and the gradient of every block; with batch norm its running statistics and what they lead to."""
    case = (NETWORKS | NORMALIZED)[name]
    model, theta = _model_and_theta(name, case)
    x, y = case.batch(name)
    logits, _ = model.forward(model.spec.views(theta), x)
    loss, gradient, seen = loss_and_grad(model, theta, x, y)
    start = _statistics(model, case)
    return ({"logits": logits, "loss": loss} | _blocks("grad", model.spec, gradient)
            | _with_batch_norm(model, theta, start + 0.1 * (seen - start), x))


def sgd_tensors(name):
    """Losses before each step and every block after the last; with batch norm as above."""
    case = SGD[name]
    model, theta = _model_and_theta(name, case)
    x, y = case.batch(name)
    theta, losses, running = local_sgd(partial(loss_and_grad, model), theta[0], x, y, lr=case.lr,
                                       running=_statistics(model, case))
    return ({"losses": losses} | _blocks("after", model.spec, theta)
            | _with_batch_norm(model, theta, running, x[:, -1]))


def _model_and_theta(name, case):
    model, blocks = case.model, case.parameters(name)
    theta = np.empty((len(next(iter(blocks.values()))), model.spec.size))
    return model, model.spec.flatten(blocks, like=theta)


def _statistics(model, case):
    """Where running statistics begin, (K, S)."""
    return np.tile(model.statistics.init(0), (case.clients, 1))


def _blocks(prefix, spec, flat):
    return {f"{prefix} {name}": block for name, block in spec.views(flat).items()}


def _with_batch_norm(model, theta, running, x):
    if not model.statistics.size:
        return {}
    logits, _ = model.forward(model.spec.views(theta) | model.statistics.views(running), x)
    return _blocks("running", model.statistics, running) | {"evaluation logits": logits}


GROUPS = {
    "layers": (LAYERS, layer_tensors),
    "networks": (NETWORKS, network_tensors),
    "normalized": (NORMALIZED, network_tensors),
    "sgd": (SGD, sgd_tensors),
}
CASES = [(group, name) for group, (cases, _) in GROUPS.items() for name in cases]


@cache
def ours(group, name):
    """What is compared of minifl's answer."""
    return condensed(GROUPS[group][1](name))


@pytest.mark.parametrize("group, name", CASES, ids=[name for _, name in CASES])
def test_agrees_with_pytorch(group, name):
    wrong = disagreements(ours(group, name), golden(f"{group}.npz")[name])
    assert not wrong, f"{name}: relative errors {wrong}"


@pytest.mark.parametrize("name", [name for name, case in LAYERS.items() if case.layer in fast.__all__])
def test_fast_forms_are_pytorchs_too(name):
    assert not disagreements(condensed(layer_tensors(name, vars(fast))), golden("layers.npz")[name])


@pytest.mark.parametrize("name", SGD)
def test_sgd_moved_as_far_as_pytorch(name):
    """The parameters could agree because they hardly move: what they moved by agrees as well."""
    start = condensed({f"after {block}": value for block, value in SGD[name].parameters(name).items()})
    samples = [block for block in start if not block.endswith(".norm")]   # which a block's length need not do
    moved = [{block: tensors[block] - start[block] for block in samples}
             for tensors in (ours("sgd", name), golden("sgd.npz")[name])]
    assert not disagreements(*moved)
    for block, value in moved[1].items():
        assert abs(value).max() > 1e-3 * abs(start[block]).max(), block


@pytest.mark.parametrize("name", [name for name in SGD if name not in RESNET18_SGD])
def test_sgd_does_not_amplify_rounding(name):
    """Else two correct programs would differ after 20 steps. A start 1e-13 away ends less than 1e-10 away."""
    case = SGD[name]
    model, theta = _model_and_theta(name, case)
    nearby = theta * (1 + uniform(f"{name}.nearby", theta.shape, 1e-13))
    ends = [_blocks("after", model.spec, local_sgd(partial(loss_and_grad, model), start[0], *case.batch(name),
                                                   lr=case.lr)[0]) for start in (theta, nearby)]
    assert not disagreements(*ends)


@pytest.mark.parametrize("group", GROUPS)
def test_each_file_has_its_cases_and_origin(group):
    assert set(golden(f"{group}.npz")) == set(GROUPS[group][0])
    with np.load(GOLDEN / f"{group}.npz", allow_pickle=False) as stored:
        assert "PyTorch" in str(stored["made_by"]) and "make_golden.py" in str(stored["made_by"])


def test_every_layer_is_covered():
    pairs = {name for name in FUNCTIONS if f"{name}_backward" in FUNCTIONS and not name.startswith("_")}
    assert pairs == {case.layer for case in LAYERS.values()}


def clamped_vectors(name):
    """The vectors (..., d) whose lengths the clamp is about."""
    case = LAYERS[name]
    (a,) = case.inputs(name).values()
    if case.layer == "unit_columns":
        return np.swapaxes(a, 1, 2)
    if case.layer == "instance_norm":
        a = np.moveaxis(a, -1, 2)
        return a.reshape(*a.shape[:3], -1) - a.mean(axis=(3, 4))[..., None]
    v = a.reshape(*a.shape[:2], -1)
    return v - v.mean(axis=2, keepdims=True) if case.layer == "mv_norm" else v


@pytest.mark.parametrize("name", [name for name in LAYERS if "clamp" in name])
def test_clamp_cases_lie_where_they_say(name):
    below = np.linalg.norm(clamped_vectors(name), axis=-1) < LAYERS[name].options.get("eps", 1e-5)
    assert below.all() if "below" in name else 0 < below.sum() < below.size


def met(kind, norm, option):
    return {case.arrangement[option] for case in NETWORKS.values()
            if type(case) is kind and case.channels and case.arrangement["norm"] == norm}


@pytest.mark.parametrize("norm", NORMS)
@pytest.mark.parametrize("option, values", [
    ("position", set(POSITIONS)), ("learnable", {False, True}), ("bias", {"none", "hidden", "all"}),
    ("activation", {"relu", "leaky-relu"})])
def test_every_option_meets_every_norm(norm, option, values):
    assert values <= met(Network, norm, option)


@pytest.mark.parametrize("norm", TABLE)
def test_every_norm_is_met_by_residual_networks(norm):
    assert set(NORMS) | set(INSIDE) == set(TABLE)
    assert met(Residual, norm, "position") == set(POSITIONS) and met(Residual, norm, "learnable") == {False, True}


def test_every_activation_is_met():
    assert {case.arrangement["activation"] for case in NETWORKS.values()} == set(ACTIVATIONS)


def test_resnet_18_has_its_full_size():
    """The paper's form of it; the number by hand is in tests/models/test_resnet.py."""
    for case in (*RESNET18.values(), *RESNET18_SGD.values()):
        assert case.model.spec.size == 11_164_352


def test_the_released_cnn_has_its_full_size():
    """Of the paper's released code; with each of the three norms of its Figure 4."""
    released = {case.arrangement["norm"]: case.model.spec.size for cases, _ in GROUPS.values()
                for name, case in cases.items() if name.startswith("released-full-size")}
    assert released == dict.fromkeys(("none", "fn", "ln"), 797_248)


def test_running_statistics_are_compared():
    """Those of PyTorch's modules, momentum 0.1; after 20 steps they are far from where they began."""
    compared = [tensors for name, tensors in golden("sgd.npz").items() if "-bn-" in name]
    assert len(compared) >= 4
    for tensors in compared:
        for name in (name for name in tensors if name.startswith("running")):
            assert abs(tensors[name] - name.endswith("variance")).max() > 0.05, name
        assert "evaluation logits" in tensors


def test_joined_tensors_are_split_again():
    tensors = {"a": np.arange(6.0).reshape(2, 3), "b.norm": np.array([7.0]), "c d": np.ones((2, 1, 2))}
    again = split(*joined(tensors))
    assert list(again) == list(tensors)
    for name, tensor in tensors.items():
        np.testing.assert_array_equal(again[name], tensor)


@pytest.mark.parametrize("group", GROUPS)
def test_a_relative_error_of_1e_8_is_reported(group):
    """One number of each tensor in turn, in the last client, is changed."""
    name = list(GROUPS[group][0])[-1]
    theirs = golden(f"{group}.npz")[name]
    assert not disagreements(theirs, theirs)
    for tensor, value in theirs.items():
        changed = value.copy()
        last = changed[-1:].reshape(-1)
        last[abs(last).argmax()] *= 1 + 1e-8
        changed[-1:] = last.reshape(changed[-1:].shape)
        wrong = disagreements(theirs | {tensor: changed}, theirs)
        assert set(wrong) == {tensor} and wrong[tensor] == pytest.approx(1e-8, rel=1e-3)


def test_other_disagreements_are_reported():
    one = {"y": np.ones((2, 3))}
    nan = np.where(np.eye(2, 3) * [[0], [1]], np.nan, 1.0)
    for y in (np.ones((2, 1)), nan, np.ones((2, 3), np.float32), np.eye(2, 3)):
        assert disagreements({"y": y}, one)
    assert disagreements({}, one) and disagreements(one | {"dx": np.ones(2)}, one)
    assert disagreements({"y": np.array([1.0, 1e-300])}, {"y": np.array([1.0, 0.0])})
    assert not disagreements({"y": np.array([1.0, 0.0])}, {"y": np.array([1.0, 0.0])})


if __name__ == "__main__":
    for group, (cases, _) in GROUPS.items():
        found = {(name, tensor): error for name in cases
                 for tensor, error in errors(ours(group, name), golden(f"{group}.npz")[name]).items()}
        worst = max(found, key=found.get)
        print(f"{group}: {len(cases)} cases, {len(found)} tensors, worst relative error {found[worst]:.1e} "
              f"in {', '.join(worst)}")
