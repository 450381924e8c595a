"""Assignment 6: its variants and the wrong submissions."""

from types import SimpleNamespace

import numpy as np
import pytest
from folders import failed

from minifl.course import assignments, carve, running
from minifl.course.hw6 import tests
from minifl.paper import equivalence, one_class

HW6 = assignments.load("hw6")
TESTS = running.tests_in(tests)
PUBLISHED = assignments.variant_of(HW6, "")
OTHER = {"position": "before", "scale": "one", "loss": "sum"}
QUICK = {"fn_training"}   # left out where it says no more than fn_differences


def lost(student, variant=PUBLISHED, seed=0):
    """The parts of the tests that fail here."""
    given = running.Given("ada" if seed else "", variant, seed)
    chosen = [test for test in TESTS if test.__name__ not in QUICK]
    return {outcome.part for outcome in (running.run(test, student, given) for test in chosen) if not outcome.passed}


@pytest.mark.parametrize("variant", [PUBLISHED, OTHER], ids=str)
def test_the_reference_passes_hidden_tests(tmp_path, variant):
    """`course check` has it on the public ones, and stubs."""
    carve.write_tree(HW6, tmp_path, variant=variant, reference=True)
    assert failed("hw6", tmp_path, variant, (1,)) == {}


@pytest.mark.parametrize("axis, value, parts", [
    ("position", "before", {"proposition 1", "proposition 2"}), ("scale", "one", {"proposition 1", "floor"}),
    ("loss", "sum", {"theorem 1"})])
def test_the_published_solution_fails_in_other_variants(tmp_path, axis, value, parts):
    variant = PUBLISHED | {axis: value}
    carve.write_tree(HW6, tmp_path, variant=variant)
    for file in HW6.files:      # of what is given, chains.py, the variant's stays
        (tmp_path / file).write_text(assignments.source(HW6, PUBLISHED, file))
    assert {part for part, _ in failed("hw6", tmp_path, variant).values()} == parts


@pytest.mark.parametrize("module, function, answer", [
    (equivalence, "fn_network", lambda x, weights, *rest: np.zeros((len(x), weights[-1].shape[1]))),
    (equivalence, "fn_network", lambda x, weights, *rest: np.full((len(x), weights[-1].shape[1]), np.nan)),
    (equivalence, "fn_factor", lambda x, weights: np.ones(len(x))),
    (equivalence, "fn_compare", lambda x, labels, weights, *rest: {
        "output": 1e-16, "gradient": [1e-16] * len(weights), "trained": [1e-16] * len(weights)}),
    (equivalence, "fn_least_scale", lambda x, weights: 1e-5),
    (equivalence, "mv_network", lambda x, weights, everywhere: np.zeros((len(x), weights[-1].shape[1]))),
    (equivalence, "absorb_shift", lambda weights: [0 * weight for weight in weights]),
    (equivalence, "length_ratio", lambda v_a, v_b, eps: np.sqrt(v_a / v_b)),
    (one_class, "one_class_loss", lambda w, g: 0.0),
    (one_class, "bounds", lambda w, g: (0.0, 0.0, 0.0)),
    (one_class, "bounds", lambda w, g: (np.nan, np.nan, np.nan)),
    (one_class, "escape", lambda t, way, classes, m, d: (t * np.ones((classes, d)), t * np.ones((m, d)))),
    (one_class, "one_margin", lambda classes: (np.zeros((classes, 2)), np.zeros((1, 2)))),
    (one_class, "floor_with_fn", lambda classes, d, radius: np.log(classes)),
    (one_class, "at_the_floor", lambda u, classes, radius: (np.zeros((classes, len(u))), u)),
    (one_class, "at_the_floor", lambda u, classes, radius: None)])
def test_what_is_no_answer(module, function, answer):
    """Constants, zeros, nan, None and the like lose the part, and no other; the message is for a student."""
    part = {"fn": "proposition 1", "fl": "floor", "at": "floor"}.get(
        function[:2], "proposition 2" if module is equivalence else "theorem 1")

    def student(name):
        found = running.local(name)
        return SimpleNamespace(**{**vars(found), **({function: answer} if found is module else {})})

    assert lost(student) == lost(student, seed=1) == {part}
    outcomes = [running.run(test, student, running.Given("", PUBLISHED)) for test in TESTS if test.part == part
                and test.__name__ not in QUICK]
    assert not [outcome.message for outcome in outcomes if "Error:" in outcome.message]


def test_other_right_answers_are_right():
    """Solutions that are not the reference's, but right."""
    def factor(x, weights):
        lengths = []
        for norm in (equivalence.sphere, equivalence.identity):
            a = x
            for weight in weights[:-2]:
                a = norm(equivalence.leaky_relu(a @ weight))
            lengths.append(np.linalg.norm(equivalence.leaky_relu(a @ weights[-2]), axis=1))
        return lengths[0] / lengths[1]

    def absorb(weights):       # the last n_MV shifts before the classifier, too, so it may be centred
        found = equivalence.absorb_shift(weights)
        return [*found[:-1], found[-1] - found[-1].mean(axis=0)]

    def escape(t, way, classes, m, d):
        """In the first way w_k helps, and in the second the w_c do."""
        w, g = one_class.escape(t, way, classes, m, d)
        w[0], w[1:] = (w[0], w[1:]) if way == 2 else (np.eye(d)[0], w[1:]) if way == 0 else (w[0], -np.eye(d)[0])
        return w[:, ::-1].copy(), g[:, ::-1].copy()

    def one_margin(classes):
        w = np.full((classes, 1), -50.0)
        w[:2] = 0
        return w, np.ones((1, 1))

    mine = {equivalence: {"fn_factor": factor, "absorb_shift": absorb},
            one_class: {"escape": escape, "one_margin": one_margin}}

    def student(name):
        found = running.local(name)
        return SimpleNamespace(**{**vars(found), **mine[found]})

    assert lost(student) == set()


@pytest.mark.parametrize("mistake", HW6.mistakes, ids=lambda mistake: f"{mistake.part}: {mistake.what}")
def test_mistakes_lose_their_part(mistake):
    """On another student's hidden tests; `course check` has them on the public ones."""
    file, module = mistake.file, {"__name__": "wrong"}
    text = (assignments.ROOT / file).read_text()
    assert text.count(mistake.old) == 1
    exec(compile(text.replace(mistake.old, mistake.new), file, "exec"), module)

    def student(name):
        return SimpleNamespace(**module) if name.replace(".", "/") + ".py" == file else running.local(name)

    with np.errstate(over="ignore"):
        parts = lost(student, seed=2)
    only_in_training = mistake.what in ("both networks are trained with the gradients of one",
                                        "every step from the first weights")
    assert parts == (set() if only_in_training else {mistake.part})
