"""Assignment 3: its variants and the wrong submissions."""

from types import SimpleNamespace
from unittest import mock

import numpy as np
import pytest

from minifl.course import assignments, running
from minifl.course.hw3 import tests
from minifl.gradcheck.mutants import BLOCK, MUTANTS
from minifl.layers import conv, pool

HW3 = assignments.load("hw3")
TESTS = running.tests_in(tests)
PUBLISHED = assignments.variant_of(HW3, "")
PARTS = {"conv2d": (conv, "convolution"), "max_pool2d": (pool, "pooling"), "avg_pool2d": (pool, "pooling"),
         "global_avg_pool": (pool, "pooling")}


def lost(student, seed=0):
    """The parts and the names of the tests that fail here."""
    given = running.Given("somebody" if seed else "", PUBLISHED, seed)
    outcomes = [running.run(test, student, given) for test in TESTS]
    return {outcome.part for outcome in outcomes if not outcome.passed}, {o.name for o in outcomes if not o.passed}


@pytest.mark.parametrize("axis, value, part", [
    ("kernel", "pytorch", "convolution"), ("kernel", "flipped", "convolution"), ("ties", "last", "pooling"),
    ("ties", "shared", "pooling"), ("block", "inside", "residual block"), ("block", "halved", "residual block")])
def test_the_published_solution_fails_in_other_variants(axis, value, part):
    given = running.Given("", PUBLISHED | {axis: value})
    outcomes = [running.run(test, running.local, given) for test in TESTS]
    assert {outcome.part for outcome in outcomes if not outcome.passed} == {part}


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if mutant.layer in PARTS],
                         ids=lambda mutant: f"{mutant.layer}: {mutant.mistake}")
@pytest.mark.parametrize("seed", [1])      # a hidden test's; `course check` has them on the public ones
def test_mutants_of_layers_lose_their_part(mutant, seed):
    where, part = PARTS[mutant.layer]

    def student(name):
        module = running.local(name)
        if module is not where:
            return module
        return SimpleNamespace(**{**vars(module), f"{mutant.layer}_backward": mutant.wrong})

    parts, names = lost(student, seed)
    assert parts == {part} and names != {"conv_bias_gradient"} or mutant.mistake == "db as a mean over pixels"


@pytest.mark.parametrize("mutant", [mutant for mutant in MUTANTS if (mutant.module, mutant.attribute) == BLOCK],
                         ids=lambda mutant: mutant.mistake)
@pytest.mark.parametrize("seed", [1])
def test_mutants_of_the_block_lose_its_part(mutant, seed):
    with mock.patch.object(mutant.module, mutant.attribute, mutant.wrong):
        assert lost(running.local, seed)[0] == {"residual block"}


@pytest.mark.parametrize("answer", [lambda x: 0 * x, lambda x: np.nan * x, lambda x: x],
                         ids=["zeros", "nan", "the input"])
def test_what_is_no_answer(answer):
    """In place of the gradient of average pooling."""
    def student(name):
        module = running.local(name)
        if module is not pool:
            return module
        wrong = {"avg_pool2d": lambda x, **options: (pool.avg_pool2d(x, **options)[0], x),
                 "avg_pool2d_backward": lambda dy, x: answer(x)}
        return SimpleNamespace(**{**vars(module), **wrong})

    assert lost(student) == ({"pooling"}, {"avg_gradient"})
