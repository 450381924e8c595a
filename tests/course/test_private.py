"""Variants that an instructor's private file draws: of a toy assignment, and those of the example."""

import json
from pathlib import Path

import pytest
import toy

from minifl.cli import main
from minifl.course import assignments, carve, cheats, judge, private, proof
from minifl.errors import InputError

FILE = '''
SALT = "a salt"

from minifl.course.assignments import Choice, Patch

TOY, TESTS = "minifl/toy.py", "minifl/course/hw1/tests.py"


def hw1(draw):
    factor, exponent = draw("factor", [4, 5, 7]), draw("exponent", [3, 4, 5, 6])
    return {
        "scale": Choice(f"Twice is {factor} times.", (
            Patch(TOY, "= x + x\\n", f"= {factor} * x\\n"), Patch(TESTS, '{"published": 2,', f'{{"published": {factor},'))),
        "square": Choice(f"A square is to the power of {exponent}.", (
            Patch(TOY, "exponent=2", f"exponent={exponent}"), Patch(TESTS, "np.allclose(y, x * x)", f"np.allclose(y, x**{exponent})")))}
'''


@pytest.fixture
def file(assignment, monkeypatch, tmp_path):
    """text -> the toy assignment as the private file of that text draws its variants."""
    published = assignment

    def written(text):
        toy.write(tmp_path / "mine.py", text)
        salt, functions = private.read(tmp_path / "mine.py", ("hw1",))
        return published._replace(private=str(tmp_path / "mine.py"), salt=salt, draw=functions.get("hw1"))
    return written


def variants(assignment, count=60):
    return [assignments.variant_of(assignment, str(student)) for student in range(count)]


def test_a_variant_is_drawn_for_each_student_and_remembers_what_was_drawn(file):
    of = file(FILE)
    drawn = variants(of)
    assert len({tuple(variant.items()) for variant in drawn}) == 12 and drawn == variants(of)
    assert drawn != variants(of._replace(salt="another"))
    assert {**drawn[0], "factor": "", "exponent": ""} == {"scale": "published", "private": "yes", "factor": "", "exponent": ""}
    assert assignments.variant_of(of, "") == {"scale": "published"}
    count, share = assignments.odds(of)
    assert count == pytest.approx(12) and share == pytest.approx(1 / 12)
    for variant in drawn[:5]:       # what was drawn is all that sources are made from
        assert f"= {variant['factor']} * x\n" in assignments.source(of, variant, "minifl/toy.py")
        assert f"exponent={variant['exponent']}" in assignments.source(of, variant, "minifl/toy.py")


def test_a_salt_alone_draws_published_variants_that_an_id_does_not_tell(file, assignment):
    of = file('SALT = "s"')
    assert variants(of) != variants(assignment) and {v["scale"] for v in variants(of)} == {"published", "thrice"}


def test_published_axes_are_published_unless_they_are_drawn_by_name(file):
    of = file('SALT = "s"\ndef hw1(draw):\n    draw("scale", ["published", "thrice"])\n    return {}')
    assert {v["scale"] for v in variants(of)} == {"published", "thrice"}
    thrice = next(variant for variant in variants(of) if variant["scale"] == "thrice")
    assert "x + x + x" in assignments.source(of, thrice, "minifl/toy.py")


def test_it_is_carved_solved_and_graded_with_tests_of_its_own(file, tmp_path, assignment):
    of = file(FILE)
    variant = assignments.variant_of(of, "ada")
    carve.carve(of, tmp_path / "ada", student="ada", reference=True)
    readme = (tmp_path / "ada/README.md").read_text()
    assert f"Twice is {variant['factor']} times." in readme and "Twice is two times." not in readme
    assert json.loads((tmp_path / "ada/minifl/course/settings.json").read_text())["variant"] == variant
    assert judge.grade(of, tmp_path / "ada", student="ada", limits=toy.SHORT).earned == 5
    toy.write(tmp_path / "copied/minifl/toy.py", toy.SOURCE)
    assert judge.grade(of, tmp_path / "copied", student="ada", limits=toy.SHORT).earned == 1       # it refuses nan
    assert judge.grade(assignment, tmp_path / "copied", student="", limits=toy.SHORT).earned == 5  # public tests are as they were
    with pytest.raises(InputError, match="give it as --private"):
        carve.carve(assignment, tmp_path / "new", student="ada", variant=variant)
    with pytest.raises(InputError, match="is not of this private file"):
        carve.carve(of, tmp_path / "new", student="ada", variant=variant | {"factor": "99"})


def test_check_is_of_the_drawn_variants(file, monkeypatch):
    monkeypatch.setattr(proof, "STUDENTS", ())
    monkeypatch.setattr(cheats, "HONEST", {"refuses"})
    monkeypatch.setattr(cheats, "LOUD", ())

    def rows(text):
        of = file(text)
        monkeypatch.setattr(assignments, "load", lambda name, private=None: of)
        return {row.what: row.passed for row in proof.check("hw1", private="mine.py")}

    found = rows(FILE)
    assert all(found.values()) and "grace's: no published solution is one" in found
    assert not any("wrong submission" in what for what in found)      # their texts are gone
    kept = rows(FILE.replace('Patch(TOY, "= x + x\\n", f"= {factor} * x\\n"), ', "").replace("{factor},'))", "2,'),)"))
    assert all(kept.values()) and any("wrong submission, doubling" in what for what in kept)
    spoiled = rows(FILE.replace('f"= {factor} * x', 'f"= 1 + {factor} * x'))
    assert [what for what, passed in spoiled.items() if not passed and "with the reference all pass" in what]
    copied = rows(FILE.replace('[4, 5, 7]', '[2]').replace("[3, 4, 5, 6]", "[2]"))
    assert [what for what, passed in copied.items() if not passed and "no published solution is one" in what]


@pytest.mark.parametrize("text, said", [
    ("", "has no SALT"), ("SALT = ''", "has no SALT"), ("SALT = 3", "has no SALT"), ("SALT = 's'; hw1 = 3", "hw1 should be a function"),
    ("SALT = 's'\ndef hw9(draw): pass", "hw9 should be a function, for one of hw1"), ("import nothing_of_that_name", "ModuleNotFoundError"),
    ("SALT = 's'\ndef hw1(draw): return 3", "and has 3"),
    ("SALT = 's'\nfrom minifl.course.assignments import *\ndef hw1(draw): return {'a': Choice('', (Patch('f', 'a', 'b')))}", "and has Choice"), ("SALT = 's'\ndef hw1(draw): 1/0", "hw1 raises ZeroDivisionError"),
    ("SALT = 's'\ndef hw1(draw): draw('a', [1]), draw('a', [2])", "and once more from"),
    ("SALT = 's'\ndef hw1(draw): draw('scale', ['other'])", "is a published axis")])
def test_a_private_file_that_is_none(file, text, said):
    with pytest.raises(InputError, match=said):
        assignments.variant_of(file(text), "ada")


def test_modules_of_a_variant_import_each_other_and_leave_the_public_ones_alone(file, assignment):
    toy.write(assignments.ROOT / "minifl/course/hw1/expected.py", "FACTOR = 2\n")
    toy.write(assignments.ROOT / "minifl/course/hw1/tests.py",
              "from minifl.course.hw1 import expected\nfrom minifl.course.hw1.expected import FACTOR\n")
    of = file("""
SALT = "s"
from minifl.course.assignments import Choice, Patch
def hw1(draw):
    factor = draw("factor", [5, 6])
    return {"factor": Choice("", (Patch("minifl/course/hw1/expected.py", "= 2", f"= {factor}"),))}
""")
    for student in ("ada", "emmy", "grace", "sofja"):
        variant = assignments.variant_of(of, student)
        tests = assignments.tests(of, variant)
        assert tests.FACTOR == tests.expected.FACTOR == int(variant["factor"])
    assert assignments.tests(assignment, {"scale": "published"}).FACTOR == 2
    toy.write(assignments.ROOT / "minifl/course/hw1/tests.py", "import minifl.course.hw1.expected\n")
    with pytest.raises(ImportError, match="write 'from minifl.course.hw1.expected import"):
        assignments.tests(assignment, {"scale": "published"})


def test_on_the_command_line(tmp_path, capsys):
    toy.write(tmp_path / "mine.py", 'SALT = "s"')
    for arguments, said in ((["list", "--private", str(tmp_path / "mine.py")], "27 variants, published"),
                            (["list"], "The repository is public"),
                            (["solve", "hw1", "--out", str(tmp_path / "best"), "--student", "ada", "--private",
                              str(tmp_path / "mine.py")], "hw1 for ada"),
                            (["grade", str(tmp_path / "best"), "--assignment", "hw1", "--student", "ada", "--private", str(tmp_path / "mine.py")],
                             "Mark: 24.0 of 24"),
                            (["bundle", "hw3", "--private", str(tmp_path / "mine.py"), "--out", str(tmp_path / "hw3.zip")], "MB")):
        with pytest.raises(SystemExit) as exit_:
            main(["course", *arguments])
        assert exit_.value.code == 0 and said in capsys.readouterr().out


# ---- the example

EXAMPLE = Path(__file__).resolve().parents[2] / "examples/private_variants/variants.py"


@pytest.fixture(scope="module", params=["hw1", "hw2", "hw3", "hw4", "hw5", "hw6"])
def example(request):
    return assignments.load(request.param, EXAMPLE)


def test_patches_of_the_example_fit_each_other(example):
    for student in range(8):
        variant = assignments.variant_of(example, f"student {student}")
        for file in (*example.files, f"minifl/course/{example.name}/expected.py"):
            compile(text := assignments.source(example, variant, file), file, "exec")
            texts = [text, *([assignments.students(example, variant, file)] if file in example.files else [])]
            own = set("\n".join(texts).splitlines()) - set((assignments.ROOT / file).read_text().splitlines())
            assert not [line for line in own if len(line) > 120]


def test_the_example_is_solved_by_its_reference_and_not_by_the_published_one(example, tmp_path):
    variant, points = assignments.variant_of(example, "ada"), sum(assignments.parts(example).values())
    carve.write_tree(example, tmp_path, student="ada", variant=variant)
    assert not list(proof._leaks(example, variant, tmp_path))
    texts = [{file: assignments.source(example, of, file) for file in example.files}
             for of in (variant, assignments.variant_of(example, ""))]
    right, copied = (sum(outcome[3] for outcome in outcomes) for outcomes in proof._trial(tmp_path, texts))
    assert right == points and copied <= 0.15 * points


def test_two_of_sixty_rarely_share_a_variant_of_the_example(example):
    _, share = assignments.odds(example)
    assert 60 * 59 / 2 * share < 0.5
