"""`course check` on a toy assignment: it passes, and whatever is spoiled is found."""

import pytest
import toy

from minifl.course import cheats, proof, wrong_submissions
from minifl.course.assignments import Choice, Mistake, Patch
from minifl.errors import InputError


@pytest.fixture(autouse=True)
def few_cheats(monkeypatch):
    """The toy's test of what raises is passed by what raises; the cheats that end processes are test_cheats.py's."""
    monkeypatch.setattr(cheats, "HONEST", {"refuses"})
    monkeypatch.setattr(cheats, "LOUD", ())


@pytest.fixture
def failed(monkeypatch, tmp_path):
    """Installs a toy assignment, checks it, returns what failed: what -> detail."""
    def run(students=(), **options):
        monkeypatch.setattr(proof, "STUDENTS", students)
        toy.install(monkeypatch, tmp_path / "repository", **options)
        rows = list(proof.check("hw1"))
        assert len(rows) > 10 + 7 * len(students)
        return {row.what: row.detail for row in rows if not row.passed}
    return run


def test_a_sound_assignment_passes(failed):
    assert failed(students=proof.STUDENTS) == {}


def test_points_that_do_not_add_up(failed):
    assert set(failed(tests=toy.TESTS.replace('"squaring", 1', '"squaring", 2'))) == {"points of tests are those of the sheet"}


@pytest.mark.parametrize("old, new, said", [
    ("- double and square", "- earn 6 points", "the head says 6 points, it should be 5"),
    ("What is twice a number?", "What is twice a number? (3 points)", "minifl.toy.double says 3 points, it should be 2")])
def test_points_in_texts_that_do_not_add_up(failed, old, new, said):
    assert failed(sheet=toy.SHEET.replace(old, new)) == {"points in what a student reads add up": said}


def test_a_function_whose_only_test_needs_another_one(failed):
    tests = toy.TESTS.replace("    expect(np.allclose(y, factor", """    student("minifl.toy").square(x)\n    expect(np.allclose(y, factor""")
    found = failed(tests=tests)
    assert {what: detail for what, detail in found.items() if "needs no other one" in what} == {
        "each function has a test that needs no other one, but for the forward pass of a backward pass": "minifl.toy.double"}


def test_a_solution_in_a_given_docstring(failed):
    leak = toy.SOURCE.replace('"""Given."""', '"""Given. twice_the_number_that_came_in = x + x return twice_the_number_that_came_in * 1.0 + 0.0"""')
    found = failed(source=leak)
    assert found and all("no text of a solution" in what for what in found)
    assert "of minifl/toy.py in minifl/toy.py" in next(iter(found.values()))


def test_a_derivation_in_the_tests(failed):
    found = failed(tests=toy.TESTS.replace('"""It doubles."""', '"""It doubles: the sum of x with itself is x plus x, which is what we return here."""'))
    assert found and all("no text of a solution" in what for what in found)


def test_the_key_of_the_questions_in_a_given_docstring(failed):
    leak = toy.SOURCE.replace('"""Given."""', '"""Given. The number is added up as often as the factor says, so two summands make it large."""')
    found = failed(source=leak)
    assert found and all("no text of a solution" in what for what in found)
    assert "of answers_key.md in minifl/toy.py" in next(iter(found.values()))


def test_the_key_itself_in_the_folder(failed):
    found = failed(assignment=toy.ASSIGNMENT._replace(given=(*toy.ASSIGNMENT.given, "minifl/course/hw1/answers_key.md")))
    assert any("no text of a solution" in what and "of answers_key.md in " in detail for what, detail in found.items())


def test_a_question_without_a_key(failed):
    with pytest.raises(InputError, match=r"hw1/answers_key.md: has answers to nothing; the sheet asks for why twice"):
        failed(key="# hw1\n")


def test_a_test_that_passes_on_the_stub(failed):
    found = failed(tests=toy.TESTS.replace("def doubles(student, given):\n", "def doubles(student, given):\n    return\n"))
    assert any("exactly the tests with points fail" in what for what in found)
    assert any("wrong submission, doubling" in what for what in found)


def test_a_given_test_that_fails(failed):
    assert any("exactly the tests" in what for what in failed(tests=toy.TESTS.replace(".ones(3)), 1)", ".ones(3)), 2)")))


def test_a_reference_that_is_wrong_in_a_variant(failed):
    choices = {"scale": toy.ASSIGNMENT.choices["scale"] | {
        "thrice": Choice("", (Patch("minifl/toy.py", "= x + x\n", "= x + x + x + x\n"),))}}
    found = failed(assignment=toy.ASSIGNMENT._replace(choices=choices))
    assert "scale=thrice: with the reference all pass" in found and "published: with the reference all pass" not in found


def test_a_variant_for_which_the_published_solution_will_do(failed):
    tests = toy.TESTS.replace('factor = {"published": 2, "thrice": 3}[given.variant["scale"]]', "factor = y[0] / x[0]").replace(
        "    factor = y[0] / x[0]\n    y = student", "    y = student").replace("    expect(np.allclose(y, factor", "    factor = y[0] / x[0]\n    expect(np.allclose(y, factor")
    assert any("the published solution is none" in what for what in failed(tests=tests))


@pytest.mark.parametrize("old, new, said", [
    ("    return secret_of", "    raise TypeError\n    return secret_of", "lost squaring"), ("* 1.0", "* 1.00", "lost nothing")])
def test_a_mistake_that_costs_points_of_another_part_or_none(failed, old, new, said):
    mistakes = (*toy.ASSIGNMENT.mistakes, Mistake("doubling", "both", "minifl/toy.py", old, new))
    assert list(failed(assignment=toy.ASSIGNMENT._replace(mistakes=mistakes)).values()) == [said]


def test_a_part_without_wrong_submissions(failed):
    assert "every part has wrong submissions" in failed(assignment=toy.ASSIGNMENT._replace(mistakes=toy.ASSIGNMENT.mistakes[:1]))


def test_a_function_that_no_test_needs(failed):
    extra = toy.SOURCE + """

def halve(x):
    \"\"\"Half of x.\"\"\"
    return x / 2
"""
    sheet = toy.SHEET.replace("## squaring", "### `minifl.toy.halve`, 1 point\n\n## squaring")
    found = failed(source=extra, sheet=sheet, tests=toy.TESTS.replace('"doubling", 2', '"doubling", 3'))
    assert found == {"each function costs points of its part if it alone is not written": "minifl.toy.halve"}


def test_a_helper_that_only_solutions_use(failed):
    """One that was added to the source, and that nobody thought of."""
    source = toy.SOURCE.replace("def cube", "def _plain(x):\n    return x\n\n\ndef cube")
    source = source.replace("= x + x\n", "= x + _plain(x)\n")
    choices = {"scale": {"published": Choice("")}}
    mistakes = (Mistake("doubling", "half of it", "minifl/toy.py", "= x + _plain(x)\n", "= x\n"), toy.ASSIGNMENT.mistakes[1])
    found = failed(proof.STUDENTS, source=source, assignment=toy.ASSIGNMENT._replace(choices=choices, mistakes=mistakes))
    assert len(found) == 3 and all("no text of a solution" in what for what in found)
    assert set(found.values()) == {"_plain of minifl/toy.py, which only solutions use and no task mentions"}


@pytest.mark.parametrize("old, new, name", [("def double", "def twice", "minifl.toy.double"),
                                            ("def secret_of_the_squares", "def secret", "minifl.toy.secret_of_the_squares")])
def test_what_was_renamed_in_the_source(failed, old, new, name):
    with pytest.raises(InputError, match=f"{name}: minifl.toy defines nothing of that name"):
        failed(source=toy.SOURCE.replace(old, new))


@pytest.mark.parametrize("options, name", [
    ({"sheet": toy.SHEET.replace("minifl.toy.square", "minifl.toys.square")}, "minifl.toys.square"),
    ({"assignment": toy.ASSIGNMENT._replace(withheld=("minifl.play.secret",))}, "minifl.play.secret")])
def test_what_is_in_no_file_of_the_assignment(failed, options, name):
    with pytest.raises(InputError, match=f"{name}: is in none of the files of hw1: minifl/toy.py"):
        failed(**options)


def test_a_submission_that_ends_the_process(failed):
    mistake = Mistake("doubling", "leaves", "minifl/toy.py", "= x + x\n", "= __import__('os')._exit(0)\n")
    found = failed(assignment=toy.ASSIGNMENT._replace(mistakes=(*toy.ASSIGNMENT.mistakes, mistake)))
    assert "the process ended" in found["wrong submission, doubling: leaves"]


def test_a_mistake_that_does_not_fit(failed):
    with pytest.raises(ValueError, match="has to occur once"):
        failed(assignment=toy.ASSIGNMENT._replace(mistakes=(Mistake("doubling", "x", "minifl/toy.py", "nowhere", "y"),)))


def test_a_stub_that_does_not_import(failed):
    found = failed(source=toy.SOURCE + "\nTABLE = secret_of_the_squares(3)\n")
    assert any("stubs import" in what and "NameError" in detail for what, detail in found.items())


def test_a_process_that_cannot_try_anything_proves_nothing(failed, monkeypatch):
    monkeypatch.setattr(proof, "_trial", lambda folder, submissions, unwritten=(): ["no module named numpy"] * len(submissions))
    found = failed()
    assert found["scale=thrice: the published solution is none"] == "loses no module named numpy"
    for label in ("published", "scale=thrice"):
        assert {f"{label}: stubs import", f"{label}: with the reference all pass"} <= set(found)


def test_mutants_keep_the_reference_for_its_own_calls():
    """feature norm's mutant must not spoil mv_norm_backward, which calls feature_norm_backward."""
    from minifl.course import assignments
    wrong = [w for w in wrong_submissions.wrong_submissions(assignments.load("hw2")) if "no radial term" in w.what
             and w.what.startswith("feature_norm_backward")]
    assert len(wrong) == 1 and wrong[0].file == "minifl/layers/norm.py"
    namespace = {"__name__": "norm", "__file__": "norm.py"}
    exec(compile(wrong[0].text, "norm.py", "exec"), namespace)
    import numpy as np
    from minifl.layers import norm
    x, dy = np.random.default_rng(0).standard_normal((2, 1, 2, 5))
    for name in ("mv_norm", "feature_norm"):
        y, cache = namespace[name](x)
        np.testing.assert_array_equal(y, getattr(norm, name)(x)[0])
        same = np.allclose(namespace[f"{name}_backward"](dy, cache), getattr(norm, f"{name}_backward")(dy, cache))
        assert same == (name == "mv_norm")
