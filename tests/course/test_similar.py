"""Which submissions are alike: a copy in other words is, two right ones are not, and what was handed out does not count."""

import re
import zipfile

import pytest

from minifl.cli import main
from minifl.course import assignments, carve, fingerprints, similar

HW2 = assignments.load("hw2")
NORM, JACOBIANS = HW2.files
GIVEN = similar.given(HW2, [])
OWN = '''

def helper(v):
    """Mine."""
    total, n = 0.0, 0
    while n < v.size and total >= -1:
        total += v.flat[n] ** 3 / (n + 1) - v.max() * 7
        n = n + 1 if total % 2 else n + 2
    return {"a": [total, n], "b": (v.sum(), v.min() - total)} if n > 4 else None


def other(w, k=3):
    for i, j in zip(range(k), reversed(range(k))):
        w[i, j] = w[j, i] * 0.5 - (w.trace() if i == j else w.T @ w)[i]
    assert w.shape == (k, k) and not w.any()
    return [w[i].std() for i in range(k) if w[i].mean() > 1e-3]
'''
COPY = """

def looks_different(array, *, m=5):          # not copied
    for first, second in zip(range(m), reversed(range(m))):
        array[first, second] = array[second, first] * 0.25 - (array.trace() if first == second else array.T @ array)[first]
    assert array.shape == (m, m) and not array.any()
    return [array[first].std() for first in range(m) if array[first].mean() > 2e-3]


def mine(values):
    summed, at = 0.5, 1
    while at < values.size and summed >= -2:
        summed += values.flat[at] ** 2 / (at + 3) - values.max() * 9      # my idea
        at = at + 1 if summed % 3 else at + 5
    return {"x": [summed, at], "y": (values.sum(), values.min() - summed)} if at > 6 else None
"""


def one(name, *more, student=""):
    """A solved submission with further code in its first file."""
    variant = assignments.variant_of(HW2, student)
    files = {file: assignments.source(HW2, variant, file) for file in HW2.files}
    files[NORM] += "".join(more)
    return similar.of(name, fingerprints.own(files), GIVEN)


def test_tokens():
    text = 'def f(x):   # comment\n    """Doc\n    string."""\n    return x.mean(axis=1) + 1e-5j * "a" if np.sqrt(x) else None\n'
    assert fingerprints.tokens(text) == [(word, 1) for word in "def N ( N ) :".split()] + [(word, 4) for word in (
        "return N . mean ( N = 0 ) + 0 * S if N . sqrt ( N ) else None".split())]


def test_a_copy_in_other_words_is_found():
    ones = [one("ada", OWN), one("emmy", COPY, student="emmy"), one("zoe"), one("max", student="max")]
    first, *others = similar.pairs(ones, [], similar.published(HW2, [], GIVEN)[0])
    assert {first.one.name, first.two.name} == {"ada", "emmy"} and first.share > 0.8
    assert {pair.share for pair in others} == {0.0}       # both right, and so what the reference says
    ours, theirs = similar.passages(first)
    assert any("while n < v.size" in text for _, text in ours) and any("while at < values.size" in text for _, text in theirs)
    number = int(re.search(rf"{NORM} (\d+)-", ours[0][0])[1])
    assert number >= assignments.source(HW2, {}, NORM).count("\n")
    text = similar.report(HW2, ones, [first, *others], [], ["eve: is a link"], 0.5)
    assert "## 1 pairs" in text and "### ada and emmy" in text and "- eve: is a link" in text and "no proof" in text


def test_what_was_handed_out_and_what_everybody_writes_do_not_count():
    stubs = {file: assignments.students(HW2, assignments.variant_of(HW2, ""), file) for file in HW2.files}
    assert similar.of("nothing", fingerprints.own(stubs), GIVEN).runs == {}
    everybody = [one(str(number), OWN) for number in range(similar.LEAST_CLASS + 1)]
    assert {pair.share for pair in similar.pairs(everybody, [], one("reference"))} == {0.0}
    assert {pair.share for pair in similar.pairs(everybody[:2], [], one("reference"))} == {1.0}


def test_pasted_oracles_and_the_published_solution_are_named():
    oracle = (assignments.ROOT / "minifl/course/hw2/expected.py").read_text()
    pasted = oracle[oracle.index("def feature_norm_by_hand"):oracle.index("def problems")].replace("number", "z")
    stubs = {file: assignments.students(HW2, assignments.variant_of(HW2, ""), file) for file in HW2.files}
    ones = [one("ada"), similar.of("eve", fingerprints.own({**stubs, NORM: stubs[NORM] + pasted}), GIVEN)]
    public = similar.with_published(ones, similar.published(HW2, ["ada"], GIVEN))
    shares = {(pair.one.name, pair.two.name): pair.share for pair in public}
    assert shares["ada", "the reference solution"] == 1.0 and shares["ada", "expected.py of the tests"] < 0.1
    assert shares["eve", "expected.py of the tests"] > 0.9 and shares["eve", "the reference solution"] < 0.3


def test_what_nobody_should_write_ends(tmp_path):
    texts = ['"' * 50_000, "'''\\" * 50_000, '"""\\' * 50_000, "(" * 200_000, "\\" * 200_000, "0e" * 90_000, "\x00\xff" * 1000]
    for number, text in enumerate(texts):
        (tmp_path / f"{number}.py").write_text(text)
    found = fingerprints.read_from((tmp_path,), [f"{number}.py" for number in range(len(texts))])
    assert found == "takes more than 60 s to read" or max(len(of) for _, of in found.values()) <= fingerprints.MOST


def test_the_command(tmp_path, capsys):
    """A class, an earlier term, an archive that is none; and the export that other tools read."""
    for name, more, folder in (("ada", "", "class"), ("emmy", OWN, "class"), ("old", COPY, "2025")):
        carve.carve(HW2, tmp_path / folder / name, student=name, reference=True)
        with open(tmp_path / folder / name / NORM, "a") as file:
            file.write(more)
    with zipfile.ZipFile(tmp_path / "class/zoe.zip", "w") as zipped:
        zipped.writestr("norm.py", "x")
    (tmp_path / "class/no.zip").write_text("no archive")
    with pytest.raises(SystemExit) as exit_:
        main(["course", "similar", str(tmp_path / "class"), "--assignment", "hw2", "--also", str(tmp_path / "2025"), "--out",
              str(tmp_path / "report.md"), "--export", str(tmp_path / "export")])
    said = capsys.readouterr().out
    assert exit_.value.code == 0 and "emmy, earlier: 2025" in said and "3 submissions, 1 pairs of 6 at 50% or more, 1 unread" in said
    assert "- no: " in (tmp_path / "report.md").read_text()
    assert {path.name for path in (tmp_path / "export/submissions").iterdir()} == {"ada", "emmy", "zoe", "earlier%3A%202025", "published"}
    assert (tmp_path / "export/handed-out/norm.py").exists()
