"""Assignment 1: every combination of its variants, other right ways to solve it, and what its tests say of wrong ones.
The rest is in test_assignments.py and test_proof.py."""

import pytest
from folders import failed

from minifl.course import assignments, carve

HW1 = assignments.load("hw1")
PUBLISHED = assignments.variant_of(HW1, "")
@pytest.fixture(scope="module")
def reference(tmp_path_factory):
    folder = tmp_path_factory.mktemp("reference")
    carve.write_tree(HW1, folder, variant=PUBLISHED, reference=True)
    return folder


def test_each_combination_of_the_variants_has_its_solution(tmp_path, reference):
    part = {"weight": "linear layer", "loss": "softmax cross-entropy", "difference": "gradient checker"}
    for number, variant in enumerate(assignments.variants(HW1)):
        folder = tmp_path / str(number)
        carve.write_tree(HW1, folder, variant=variant, reference=True)
        assert failed("hw1", folder, variant, range(4)) == {}, variant
        lost = {part for part, _ in failed("hw1", reference, variant).values()}
        assert lost == {part[axis] for axis, value in variant.items() if value != "published"}


OTHER_CHECKER = '''
import numpy as np

FLOOR = 1e-6


def complex_step(f, inputs, v, wanted):
    found = {}
    for name in wanted:
        found[name] = np.zeros(inputs[name].shape)
        for i in range(inputs[name].size):
            x = np.array(inputs[name], dtype=complex)
            x.flat[i] = x.flat[i] + 1e-8j
            y, _ = f(*[x if key == name else inputs[key] for key in inputs])
            found[name].flat[i] = np.sum(v * np.imag(y)) / 1e-8
    return found


def central_difference(f, inputs, v, wanted):
    found = {}
    for name in wanted:
        found[name] = np.zeros(inputs[name].shape)
        for i in range(inputs[name].size):
            def at(step):
                x = np.array(inputs[name], dtype=float)
                x.flat[i] += step
                return np.sum(v * f(*[x if key == name else inputs[key] for key in inputs])[0])

            found[name].flat[i] = DIFFERENCE
    return found


def jacobian(f, backward, x):
    y, cache = f(x)
    j = np.empty((y.size, x.size))
    for row, unit in enumerate(np.eye(y.size)):
        dx = backward(unit.reshape(y.shape), cache)
        j[row] = np.ravel(dx[0] if type(dx) is tuple else dx)
    return j


def block_error(analytic, numeric):
    if analytic is None or analytic.shape != numeric.shape or not np.isfinite(analytic).all():
        return float("inf")
    if not (np.abs(numeric) >= FLOOR).any():
        return float("inf")
    return np.max(np.abs(analytic - numeric)) / max(np.max(np.abs(analytic)), np.max(np.abs(numeric)))
'''
SECOND = "(at({0}) - at(-{0})) / (2 * {0})".format
FOURTH = "(8 * (at({0}) - at(-{0})) - (at(2 * {0}) - at(-2 * {0}))) / (12 * {0})".format


@pytest.mark.parametrize("variant, difference, right", [
    ("published", SECOND(1e-6), True), ("published", SECOND(2e-5), True), ("published", SECOND(1e-8), False),
    ("published", SECOND(1e-4), False), ("fourth", FOURTH(5e-4), True), ("fourth", FOURTH(1.5e-3), True),
    ("fourth", SECOND(7e-6), False), ("fourth", FOURTH(1e-5), False), ("fourth", FOURTH(1e-2), False)])
def test_another_checker(tmp_path, variant, difference, right):
    """A plain one is right with steps near the best, for all of many seeds, and wrong with steps far from it."""
    variant = PUBLISHED | {"difference": variant}
    carve.write_tree(HW1, tmp_path, variant=variant, reference=True)
    (tmp_path / "minifl/gradcheck/instruments.py").write_text(OTHER_CHECKER.replace("DIFFERENCE", difference))
    found = failed("hw1", tmp_path, variant, range(20) if right else (0,))
    assert set(found) <= {"central_difference_accuracy", "central_difference_inputs"}
    assert ("central_difference_accuracy" in found) == (not right)


def test_the_tests_compute_no_difference_and_no_complex_step():
    """They are handed out, and would be the answer."""
    for file in ("tests.py", "drivers.py", "expected.py"):
        text = (assignments.ROOT / "minifl/course/hw1" / file).read_text()
        assert ".imag" not in text and "1j * h" not in text and "/ (2 *" not in text


def test_a_stub_has_neither_helpers_nor_derivations():
    text = assignments.students(HW1, PUBLISHED, "minifl/gradcheck/instruments.py")
    for gone in ("STEP", "sides", "each_coordinate", "same_branches", "extrapolated", "1e-30"):
        assert gone not in text
    assert text.count("raise NotImplementedError") == 4
    for file in HW1.files:
        assert "Derivation" not in assignments.students(HW1, PUBLISHED, file)
