"""Assignment 5: its variants together, answers that are none, and that a variant's docstrings state it."""

import os
import re
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from minifl.course import assignments, carve, running
from minifl.course.hw5 import tests
from minifl.fl.algorithms import fedopt, fedprox, fedyogi, scaffold

HW5 = assignments.load("hw5")
PUBLISHED = assignments.variant_of(HW5, "")
TESTS = running.tests_in(tests)
TOGETHER = [{"prox": "whole", "control": "half", "server": "inside", "yogi": "stop"},
            {"prox": "absolute", "control": "negative", "server": "corrected", "yogi": "stop"}]
FUNCTIONS = [(fedprox.FedProx, "gradient", "FedProx"), (scaffold.Scaffold, "gradient", "SCAFFOLD"),
             (scaffold.Scaffold, "message", "SCAFFOLD"), (scaffold.Scaffold, "server", "SCAFFOLD"),
             (scaffold, "_mean_gradient_at_server", "SCAFFOLD"), (fedopt.FedOpt, "server_state", "server optimizers"),
             (fedopt.FedOpt, "server", "server optimizers"), (fedyogi.FedYogi, "second_moment", "FedYogi")]


def graded(folder):
    """(parts with full points, exit code) of grade.py."""
    done = subprocess.run([sys.executable, "-B", "grade.py"], cwd=folder, capture_output=True, text=True, timeout=60,
                          env={**os.environ, "PYTHONPATH": str(folder)})
    return set(re.findall(r"^(.*?) +\[#{20}\]", done.stdout, re.M)), done.returncode


@pytest.mark.parametrize("variant", assignments.variants(HW5), ids=lambda variant: ",".join(variant.values()))
def test_every_combination_of_patches_fits(variant):
    for file in HW5.files:
        text = assignments.source(HW5, variant, file)
        compile(text, file, "exec")
        assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("variant", TOGETHER, ids=lambda variant: ",".join(variant.values()))
def test_combinations_are_solved_and_a_published_solution_has_nothing_right(tmp_path, variant):
    carve.write_tree(HW5, tmp_path, variant=variant, reference=True)
    assert graded(tmp_path) == ({*assignments.parts(HW5)}, 0)
    for file in HW5.files:
        (tmp_path / file).write_text(assignments.source(HW5, PUBLISHED, file))
    assert graded(tmp_path) == (set(), 1)


def leaves(change):
    """A function of an answer that changes its arrays and numbers."""
    def changed(answer):
        if isinstance(answer, tuple):
            return tuple(map(changed, answer))
        if isinstance(answer, dict):
            return {name: changed(value) for name, value in answer.items()}
        return change(answer)
    return changed


ANSWERS = {"zeros": leaves(lambda value: 0 * value), "nan": leaves(lambda value: np.nan * value),
           "None": lambda answer: None, "a scalar": lambda answer: 1.0}


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("where, name, part", FUNCTIONS, ids=[f"{f[0].__name__}.{f[1]}" for f in FUNCTIONS])
def test_what_is_no_answer_costs_points_of_its_part_alone(where, name, part, answer):
    right = getattr(where, name)
    with mock.patch.object(where, name, lambda *args: answer(right(*args))):
        outcomes = [running.run(test, running.local, running.Given("", PUBLISHED)) for test in TESTS]
    assert {outcome.part for outcome in outcomes if not outcome.passed} == {part}


def test_students_of_all_shapes_can_solve_it():
    for student in range(12):
        for test in TESTS:
            outcome = running.run(test, running.local, running.Given(f"student {student}", PUBLISHED, student % 3))
            assert outcome.passed, f"{student}: {outcome.name}: {outcome.message}"


def test_stubs_hold_neither_derivations_nor_formulas(tmp_path):
    carve.write_tree(HW5, tmp_path)
    text = "".join((tmp_path / file).read_text() for file in HW5.files)
    assert text.count("raise NotImplementedError") == len(FUNCTIONS) + 1      # second_moment of FedOpt is abstract
    for gone in ("Derivation", "mean_e(g_e)", "mu (theta", "sign(", "share * "):
        assert gone not in text


def test_docstrings_of_a_variant_state_it():
    def text(file, **values):
        return assignments.source(HW5, PUBLISHED | values, f"minifl/fl/algorithms/{file}.py")

    assert "F_k(theta) + mu ||theta - w||_1" in text("fedprox", prox="absolute")
    assert "lr (grad F_k(theta) + c_k - c)" in text("scaffold", control="negative")
    assert "c_k+ = -mean_e(g_e) = c_k - c - (w - theta)/(E lr)" in text("scaffold", control="negative")
    assert "c_k+ = (c_k + mean_e(g_e))/2" in text("scaffold", control="half")
    assert "server_lr m / sqrt(v + server_tau^2)" in text("fedopt", server="inside")
    assert "There is no bias correction" not in text("fedopt", server="corrected")
    assert "min((1 - beta2) D^2, |v - D^2|)" in text("fedyogi", yogi="stop")
