"""Assignment 4: its variants together, answers that are none, the mean as in rounds.py, its experiment."""

import functools
import os
import re
import subprocess
import sys
from unittest import mock

import numpy as np
import pytest

from minifl.course import assignments, carve, running
from minifl.course.hw4 import averaging, collapse, tests
from minifl.data import counts, partition, splits
from minifl.fl import diagnostics, local
from minifl.fl.algorithms.fedavg import FedAvg
from minifl.fl.rounds import Reply, collect

HW4 = assignments.load("hw4")
PUBLISHED = assignments.variant_of(HW4, "")
TESTS = running.tests_in(tests)
TOGETHER = [{"momentum": "nesterov", "weights": "equal", "counts": "reversed", "length": "one"},
            {"momentum": "averaged", "weights": "equal", "counts": "reversed", "length": "published"}]


def lost():
    """The parts that lose points here."""
    outcomes = [running.run(test, running.local, running.Given("", PUBLISHED)) for test in TESTS]
    return {outcome.part for outcome in outcomes if not outcome.passed}


def started(folder, *command):
    """What a command printed in a student's folder, and its exit code."""
    done = subprocess.run([sys.executable, "-B", *command], cwd=folder, env={**os.environ, "PYTHONPATH": str(folder)},
                          capture_output=True, text=True, timeout=60)
    return done.stdout + done.stderr, done.returncode


@pytest.mark.parametrize("variant", assignments.variants(HW4), ids=lambda variant: ",".join(variant.values()))
def test_every_combination_of_patches_fits(variant):
    for file in HW4.files:
        text = assignments.source(HW4, variant, file)
        compile(text, file, "exec")
        assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("variant", TOGETHER, ids=lambda variant: ",".join(variant.values()))
def test_combinations_are_solved_and_a_published_solution_is_none(tmp_path, variant):
    carve.write_tree(HW4, tmp_path, variant=variant, reference=True)
    printed, code = started(tmp_path, "grade.py")
    assert code == 0 and "33.0 of 33 points" in printed, printed
    for file in HW4.files:
        (tmp_path / file).write_text(assignments.source(HW4, PUBLISHED, file))
    printed, code = started(tmp_path, "grade.py")
    right = set(re.findall(r"^(.*?) +\[#{20}\]", printed, re.M))
    same = {"dealing the examples"} | ({"collapse"} if variant["length"] == "published" else set())
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
FUNCTIONS = [(local, "local_sgd", "local steps"), (local, "weight_of_steps", "weights of the steps"),
             (averaging, "mean_message", "federated averaging"), (FedAvg, "message", "federated averaging"),
             (FedAvg, "server", "federated averaging"), (counts, "apportion", "label counts"),
             (splits.TABLES, "oneclass", "label counts"), (counts, "top_up", "label counts"),
             (partition, "assign", "dealing the examples"), (diagnostics, "spectrum", "collapse"),
             (diagnostics, "class_means", "collapse"), (collapse, "lowest_loss", "collapse"),
             (collapse, "at_the_floor", "collapse")]


@pytest.mark.filterwarnings("ignore:invalid value encountered in cast")
@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
@pytest.mark.parametrize("where, name, part", FUNCTIONS, ids=[f[1] for f in FUNCTIONS])
def test_what_is_no_answer_costs_points_of_its_part_alone(where, name, part, answer):
    table = isinstance(where, dict)
    right = where[name] if table else getattr(where, name)

    @functools.wraps(right)     # a setting is asked for the names of its parameters
    def wrong(*args, **options):
        return answer(right(*args, **options))
    with mock.patch.dict(where, {name: wrong}) if table else mock.patch.object(where, name, wrong):
        assert lost() == {part}


def test_students_of_all_shapes_can_solve_it():
    for student in range(12):
        for test in TESTS:
            outcome = running.run(test, running.local, running.Given(f"student {student}", PUBLISHED, student % 3))
            assert outcome.passed, f"{student}: {outcome.name}: {outcome.message}"


def test_the_mean_is_that_of_the_federated_loop_to_the_bit():
    rng = np.random.default_rng(0)
    sizes = [3.0, 11.0, 7.0, 1.0]
    sent = [{"update": rng.standard_normal(9), "square": rng.standard_normal()} for _ in sizes]
    replies = [Reply({name: np.asarray(value) for name, value in own.items()}, 0.0, {}) for own in sent]
    mean, *_ = collect(range(4), replies, np.array(sizes) / sum(sizes))
    found = averaging.mean_message(sent, sizes)
    for name in ("update", "square"):
        np.testing.assert_array_equal(found[name], mean[name])


def test_the_experiment_shows_the_collapse(tmp_path):
    carve.write_tree(HW4, tmp_path, reference=True)
    printed, code = started(tmp_path, "-m", "minifl.course.hw4.experiment")
    assert code == 0, printed
    rows = {(norm, int(round_)): [float(word.rstrip("%")) for word in rest] for norm, round_, *rest in
            (line.split() for line in printed.splitlines()[1:])}
    for round_ in (1, 2):
        assert rows["none", round_][1:3] == [100, 0]                      # own class, all others
    assert rows["fn", 10][2] > rows["none", 10][2] + 10                   # at about the same accuracy of the server's
    assert abs(rows["fn", 10][0] - rows["none", 10][0]) < 5
    assert rows["none", 60][3] > 10 * rows["none", 1][3]                  # features grow
    assert {row[3] for (norm, _), row in rows.items() if norm == "fn"} == {4.9}     # sqrt(24)
    assert rows["fn", 60][4] > 2 * rows["none", 60][4]                    # and fill fewer directions


def test_stubs_hold_neither_derivations_nor_formulas(tmp_path):
    carve.write_tree(HW4, tmp_path)
    text = "".join((tmp_path / file).read_text() for file in HW4.files)
    assert text.count("raise NotImplementedError") == len(FUNCTIONS)
    for gone in ("Derivation", "heapq.", "lexsort", "Cauchy", "momentum^", "log1p"):
        assert gone not in text
