"""What holds for several assignments alike: what a student runs, variants together, answers that are none, stubs."""

import functools
from unittest import mock

import numpy as np
import pytest
from folders import graded

from minifl.course import assignments, carve, running
from minifl.course.hw4 import averaging, collapse
from minifl.data import counts, partition, splits
from minifl.fl import diagnostics, local
from minifl.fl.algorithms import fedopt, fedprox, fedyogi, scaffold
from minifl.fl.algorithms.fedavg import FedAvg

HW4, HW5 = map(assignments.load, ("hw4", "hw5"))


@pytest.mark.parametrize("reference", [True, False])
@pytest.mark.parametrize("name, student, points", [("hw1", "ada", 24)])
def test_what_a_student_runs(tmp_path, name, student, points, reference):
    """grade.py of a folder with the reference prints all points, of a fresh one none; `course check` runs those of all."""
    assignment = assignments.load(name)
    carve.write_tree(assignment, tmp_path, student=student, reference=reference)
    assert graded(tmp_path) == (({*assignments.parts(assignment)}, f"{points}.0 of {points} points", 0) if reference else
                                (set(), f"0.0 of {points} points", 1))


@pytest.mark.parametrize("assignment, variant", [(each, variant) for each in (HW4, HW5) for variant in assignments.variants(each)],
                         ids=lambda value: ",".join(value.values()) if isinstance(value, dict) else value.name)
def test_every_combination_of_patches_fits(assignment, variant):
    for file in assignment.files:
        text = assignments.source(assignment, variant, file)
        compile(text, file, "exec")
        assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("assignment, variant, same", [     # same: parts in which the published solution is right
    (HW4, {"momentum": "nesterov", "weights": "equal", "counts": "reversed", "length": "one"}, {"dealing the examples"}),
    (HW4, {"momentum": "averaged", "weights": "equal", "counts": "reversed", "length": "published"},
     {"dealing the examples", "collapse"}),
    (HW5, {"prox": "whole", "control": "half", "server": "inside", "yogi": "stop"}, set()),
    (HW5, {"prox": "absolute", "control": "negative", "server": "corrected", "yogi": "stop"}, set())])
def test_combinations_are_solved_and_a_published_solution_is_none(tmp_path, assignment, variant, same):
    parts, published = assignments.parts(assignment), assignments.variant_of(assignment, "")
    carve.write_tree(assignment, tmp_path, variant=variant, reference=True)
    points = sum(parts.values())
    assert graded(tmp_path) == ({*parts}, f"{points}.0 of {points} points", 0)
    for file in assignment.files:
        (tmp_path / file).write_text(assignments.source(assignment, published, file))
    right, _, code = graded(tmp_path)
    assert (right, code) == (same, 1)


def leaves(change):
    """A function of an answer that changes its arrays and numbers."""
    def changed(answer):
        if isinstance(answer, (tuple, list)):
            return type(answer)(map(changed, answer))
        if isinstance(answer, dict):
            return {name: changed(value) for name, value in answer.items()}
        return None if answer is None else change(answer)
    return changed


ANSWERS = {"zeros": leaves(lambda value: 0 * np.asarray(value)),
           "nan": leaves(lambda value: np.nan * np.asarray(value)),
           "None": lambda answer: None, "a scalar": lambda answer: 1.0}
FUNCTIONS = [(HW4, local, "local_sgd", "local steps"), (HW4, local, "weight_of_steps", "weights of the steps"),
             (HW4, averaging, "mean_message", "federated averaging"), (HW4, FedAvg, "message", "federated averaging"),
             (HW4, FedAvg, "server", "federated averaging"), (HW4, counts, "apportion", "label counts"),
             (HW4, splits.TABLES, "oneclass", "label counts"), (HW4, counts, "top_up", "label counts"),
             (HW4, partition, "assign", "dealing the examples"), (HW4, diagnostics, "spectrum", "collapse"),
             (HW4, diagnostics, "class_means", "collapse"), (HW4, collapse, "lowest_loss", "collapse"),
             (HW4, collapse, "at_the_floor", "collapse"),
             (HW5, fedprox.FedProx, "gradient", "FedProx"), (HW5, scaffold.Scaffold, "gradient", "SCAFFOLD"),
             (HW5, scaffold.Scaffold, "message", "SCAFFOLD"), (HW5, scaffold.Scaffold, "server", "SCAFFOLD"),
             (HW5, scaffold, "_mean_gradient_at_server", "SCAFFOLD"),
             (HW5, fedopt.FedOpt, "server_state", "server optimizers"), (HW5, fedopt.FedOpt, "server", "server optimizers"),
             (HW5, fedyogi.FedYogi, "second_moment", "FedYogi")]


def run_here(assignment, student="", seed=0):
    """The Outcomes of an assignment's tests in this process."""
    given = running.Given(student, assignments.variant_of(assignment, ""), seed)
    tests = assignments.tests(assignment, given.variant)
    return [running.run(test, running.local, given) for test in running.tests_in(tests)]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("assignment, where, name, part", FUNCTIONS, ids=[f"{f[0].name}: {f[3]}, {f[2]}" for f in FUNCTIONS])
def test_what_is_no_answer_costs_points_of_its_part_alone(assignment, where, name, part, answer):
    table = isinstance(where, dict)
    right = where[name] if table else getattr(where, name)

    @functools.wraps(right)     # a setting is asked for the names of its parameters
    def wrong(*args, **options):
        return answer(right(*args, **options))
    with mock.patch.dict(where, {name: wrong}) if table else mock.patch.object(where, name, wrong):
        assert {outcome.part for outcome in run_here(assignment) if not outcome.passed} == {part}


@pytest.mark.parametrize("assignment", [HW4, HW5], ids=lambda assignment: assignment.name)
def test_students_of_all_shapes_can_solve_it(assignment):
    for student in range(12):
        for outcome in run_here(assignment, f"student {student}", student % 3):
            assert outcome.passed, f"{student}: {outcome.name}: {outcome.message}"


@pytest.mark.parametrize("assignment, more, gone", [
    (HW4, 0, ("Derivation", "heapq.", "lexsort", "Cauchy", "momentum^", "log1p")),
    (HW5, 1, ("Derivation", "mean_e(g_e)", "mu (theta", "sign(", "share * "))], ids=["hw4", "hw5"])
def test_stubs_hold_neither_derivations_nor_formulas(tmp_path, assignment, more, gone):
    """more: what is abstract in the source already, as second_moment of FedOpt."""
    carve.write_tree(assignment, tmp_path)
    text = "".join((tmp_path / file).read_text() for file in assignment.files)
    assert text.count("raise NotImplementedError") == sum(each is assignment for each, *_ in FUNCTIONS) + more
    assert not [word for word in gone if word in text]


def test_docstrings_of_a_variant_of_hw5_state_it():
    def text(file, **values):
        return assignments.source(HW5, assignments.variant_of(HW5, "") | values, f"minifl/fl/algorithms/{file}.py")

    assert "F_k(theta) + mu ||theta - w||_1" in text("fedprox", prox="absolute")
    assert "lr (grad F_k(theta) + c_k - c)" in text("scaffold", control="negative")
    assert "c_k+ = -mean_e(g_e) = c_k - c - (w - theta)/(E lr)" in text("scaffold", control="negative")
    assert "c_k+ = (c_k + mean_e(g_e))/2" in text("scaffold", control="half")
    assert "server_lr m / sqrt(v + server_tau^2)" in text("fedopt", server="inside")
    assert "There is no bias correction" not in text("fedopt", server="corrected")
    assert "min((1 - beta2) D^2, |v - D^2|)" in text("fedyogi", yogi="stop")
