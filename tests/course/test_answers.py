"""Questions in prose: the form, what is read from it, and the keys, which only the instructor has."""

import pytest
import toy

from minifl.course import answers, assignments, carve
from minifl.course.sheets import Question

QUESTIONS = (Question("why a", 2, "Why is\nthat so?"), Question("why b", 1, "And this?"))
FORM = """# hw1: answers

Words of ours.

## why a, 2 points

> Why is
> that so?

(your answer)

## why b, 1 point

> And this?

(your answer)

## help

> Who and what helped you with this assignment, programs that write code or text included?

(your answer)
"""


def test_the_form_is_handed_out(assignment, tmp_path):
    carve.carve(assignment, tmp_path / "hw1")
    text = (tmp_path / "hw1/answers.md").read_text()
    assert text[:text.index("\n## help")].endswith("## why twice, 2 points\n\n> Why is the sum of a number with itself\n> twice the number?\n\n(your answer)\n")
    assert answers.read(text, assignments.sheet(assignment).questions) == {"why twice": "", "help": ""}


def test_without_questions_there_is_no_form(monkeypatch, tmp_path):
    bare = toy.install(monkeypatch, tmp_path / "repository", sheet=toy.SHEET[:toy.SHEET.index("## Questions")], key="")
    carve.carve(bare, tmp_path / "hw1")
    assert not (tmp_path / "hw1/answers.md").exists() and "- `answers.md`" not in (tmp_path / "hw1/README.md").read_text()


@pytest.mark.parametrize("edit, found", [
    (lambda text: text, ("", "", "")),
    (lambda text: "", ("", "", "")),
    (lambda text: text.replace("(your answer)", "As it is.", 1), ("As it is.", "", "")),
    (lambda text: text.replace("\n## help", "\nSo.\n\n## Therefore\n\n> quoted\n- x\n\n## help"),
     ("", "So.\n\n## Therefore\n\n> quoted\n- x", "")),
    (lambda text: text.replace("> Why is\n> that so?\n\n(your answer)\n", "  As it is. \n"), ("  As it is.", "", "")),
    (lambda text: text.replace("## help", "##  Help ") + "Emmy.\n", ("", "", "Emmy.")),
    (lambda text: "\ufeff" + text.replace("\n", "\r\n") + "Emmy.", ("", "", "Emmy.")),
    (lambda text: text.replace("> Why is", "(2) > Why is"), ("(2) > Why is\n> that so?", "", "")),     # edited: shown as it is
])
def test_what_is_read(edit, found):
    assert answers.read(edit(FORM), QUESTIONS) == dict(zip(("why a", "why b", "help"), found))


@pytest.mark.parametrize("name", assignments.NAMES)
def test_every_assignment_asks_and_has_a_key(name):
    assignment = assignments.load(name)
    questions = assignments.sheet(assignment).questions
    assert 2 <= len(questions) <= 4 and list(answers.key(assignment)) == [question.name for question in questions]
    for variant in assignments.variants(assignment)[::3]:
        form = answers.form(assignment, variant)
        assert max(map(len, form.splitlines())) <= 120 and set(answers.read(form, questions).values()) == {""}


def test_the_numbers_of_drift_by_hand():
    """hw5's key: where FedAvg rests with two quadratic losses, and that it is the minimum with one step alone."""
    said = answers.key(assignments.load("hw5"))["drift by hand"]
    assert "(b - a)/(2 - a - b)" in " ".join(said.split())

    def rests(steps, lr=0.1, w=0.3):
        for _ in range(400):
            ends = [w, w]
            for _ in range(steps):
                ends = [ends[0] - lr * (ends[0] - 1), ends[1] - lr * 3 * (ends[1] + 1)]
            w = sum(ends) / 2
        a, b = (1 - lr) ** steps, (1 - 3 * lr) ** steps
        assert abs(w - (b - a) / (2 - a - b)) < 1e-12
        return w

    assert abs(rests(1) + 1 / 2) < 1e-12 < abs(rests(2) + 1 / 2) and abs(rests(300)) < 1e-12


def test_the_numbers_of_a_quiet_round():
    """hw5's key: 69 rounds, and half a million."""
    said = answers.key(assignments.load("hw5"))["a quiet round"]
    v, rounds = 1.0, 0
    while v > 0.5:
        v, rounds = 0.99 * v + 0.01 * 0.01**2, rounds + 1
    assert rounds == 69 and "about 69 rounds" in said and round(0.5 / (0.01 * 0.01**2)) == 500_000


def test_the_numbers_of_the_matrix_nobody_writes():
    """hw3's key."""
    said = " ".join(answers.key(assignments.load("hw3"))["the matrix nobody writes"].split())
    pixels = 32 * 32 * 64
    assert f"{pixels}^2, about {pixels**2 / 1e9:.1f}e9 numbers, {4 * pixels**2 / 1e9:.0f} GB in float32, of which {3 * 3 * 64}" in said
