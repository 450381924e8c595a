"""Assignment 2: every combination of its variants, and what its tests say of wrong norms. More is in test_proof.py."""

from types import SimpleNamespace

import numpy as np
import pytest

from minifl.course import assignments, running
from minifl.course.hw2 import tests
from minifl.gradcheck import wrong_norms
from minifl.layers import norm

HW2 = assignments.load("hw2")
TESTS = running.tests_in(tests)
PUBLISHED = assignments.variant_of(HW2, "")


def solved(variant):
    """`student` of the reference of a variant."""
    modules = {}
    for file in HW2.files:
        namespace = {"__name__": file}
        exec(assignments.source(HW2, variant, file), namespace)
        modules[file.removesuffix(".py").replace("/", ".")] = SimpleNamespace(**namespace)
    return modules.__getitem__


def failed(student, variant, seed=0):
    """name -> Outcome of the tests that fail."""
    given = running.Given(f"somebody {seed}" if seed else "", variant, seed)
    outcomes = [running.run(test, student, given) for test in TESTS]
    return {outcome.name: outcome for outcome in outcomes if not outcome.passed}


def patched(**functions):
    """`student` of the published solution but for some functions of norm.py."""
    student = solved(PUBLISHED)

    def other(name):
        module = student(name)
        return SimpleNamespace(**{**vars(module), **functions}) if name.endswith("norm") else module

    return other


@pytest.mark.parametrize("variant", assignments.variants(HW2), ids=lambda variant: ",".join(variant.values()))
def test_each_combination_of_the_variants_has_its_solution(variant):
    for seed in range(3):
        assert failed(solved(variant), variant, seed) == {}
    lost = {outcome.part for outcome in failed(solved(PUBLISHED), variant).values()}
    expected = set() if variant == PUBLISHED else {"feature norm", "MV norm", "layer norm"}
    if (variant["eps"], variant["scale"]) != ("published", "published"):
        expected.add("Jacobians")          # of one vector: the axes are nothing to them
    assert lost == expected


@pytest.mark.parametrize("variant", assignments.variants(HW2), ids=lambda variant: ",".join(variant.values()))
def test_docstrings_of_a_variant_state_it(variant):
    text = assignments.source(HW2, variant, "minifl/layers/norm.py")
    eps = {"published": "max(eps, ||x||)", "exchanged": "sqrt(||x||² + eps)", "added": "(||x|| + eps)"}
    c = {"published": "sqrt(d) x", "unit": "x", "unbiased": "sqrt(d-1) x"}
    assert f'"""n(x) = {c[variant["scale"]]} / {eps[variant["eps"]]}, the FN layer' in text
    sigma = {"published": "sqrt(q + eps)", "exchanged": "max(eps, sqrt(q))", "added": "sqrt(q) + eps"}
    q = {"published": "mean(xc*xc)", "unit": "sum(xc*xc)", "unbiased": "sum(xc*xc)/(d-1)"}
    assert f"q = {q[variant['scale']]}    sigma = {sigma[variant['eps']]}    h = xc/sigma" in text
    assert ("the C channels at one place" in text) == (variant["axes"] == "places")
    assert all(len(line) <= 120 for line in text.splitlines())


ANSWERS = {"zeros": lambda dy: 0 * dy, "nan": lambda dy: np.nan * dy, "dy": lambda dy: dy, "a scalar": lambda dy: 1.0,
           "None": lambda dy: None, "too flat": lambda dy: dy.reshape(-1)}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("layer", ["shift", "feature_norm", "mv_norm", "layer_norm", "affine"])
def test_what_is_no_gradient(layer, answer):
    right = getattr(norm, f"{layer}_backward")

    def backward(dy, cache):
        found = right(dy, cache)
        return (answer(dy), *found[1:]) if isinstance(found, tuple) else answer(dy)

    found = failed(patched(**{f"{layer}_backward": backward}), PUBLISHED)
    name = {"layer_norm": "layer_norm_gradient", "affine": "affine_gradients"}.get(layer, f"{layer}_gradient")
    assert name in found and len({outcome.part for outcome in found.values()}) == 1


def test_a_message_names_the_direction_in_which_something_is_missing():
    for wrong, layer, words in ((wrong_norms.fn_no_radial, "feature_norm", "a multiple of x"),
                                (wrong_norms.mv_no_centring, "mv_norm", "a multiple of the vector of ones"),
                                (wrong_norms.ln_no_radial, "layer_norm", "a multiple of h"),
                                (wrong_norms.mv_unbiased, "mv_norm", "times what it should be")):
        outcome = failed(patched(**{f"{layer}_backward": wrong}), PUBLISHED)[f"{layer}_gradient"]
        assert words in outcome.message and "np." not in outcome.message


def test_a_mistake_below_the_clamp_is_seen_there_and_nowhere_else():
    outcome = failed(patched(feature_norm_backward=wrong_norms.fn_radial_below_clamp), PUBLISHED)
    assert set(outcome) == {"feature_norm_gradient_near_eps"}


FORWARDS = {
    "float64 whatever comes in": (lambda f: lambda x, *p, **o: f(x * np.float64([1]), *p, **o), "float32"),
    "real parts only": (lambda f: lambda x, *p, **o: f(x.real, *p, **o), "complex"),
    "eps is not passed on": (lambda f: lambda x, *p, eps=None: f(x, *p), "eps"),
}


@pytest.mark.parametrize("change, word", FORWARDS.values(), ids=FORWARDS)
@pytest.mark.parametrize("layer", ["feature_norm", "mv_norm", "layer_norm"])
def test_what_is_no_forward_pass(layer, change, word):
    found = failed(patched(**{layer: change(getattr(norm, layer))}), PUBLISHED)
    assert found and {outcome.part for outcome in found.values()} == {layer.replace("_", " ").replace("mv", "MV")}
    assert any(word in outcome.message for outcome in found.values())


def test_a_stub_has_neither_helpers_nor_derivations():
    text = assignments.students(HW2, PUBLISHED, "minifl/layers/norm.py")
    for gone in ("_to_sphere", "_vectors", "def rms_norm", "def group_norm", "Derivation", "Identit", "(*)"):
        assert gone not in text
    assert "def _per_channel" in text and text.count("raise NotImplementedError") == 10
