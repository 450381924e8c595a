"""Answers in prose: collected side by side, marked by hand in a table, in the marks of the next call."""

import csv

import pytest

from minifl.course import answers, assignments, grading, marks, one, results
from minifl.course.running import Outcome
from minifl.course.uploads import Entry
from minifl.errors import InputError

HW2 = assignments.load("hw2")
FIRST, SECOND = (question.name for question in assignments.sheet(HW2).questions[:2])


def kept(own, **said):
    graded = {"assignment": "hw2", "student": own, "variant": {}, "hidden": [], "notes": [], "evidence": [],
              "public": [Outcome("t", "It is.", "MV norm", 10.0, 7.0, "no", "line", 0.1)._asdict()]}
    return grading.record(own, Entry((own,), ()), HW2, "graded", graded=graded, answers=said)


def table(out):
    with open(out / "marks.csv", encoding="utf-8-sig", newline="") as file:
        return list(csv.DictReader(file))


def fill(out, **cells):
    rows = table(out)
    for row in rows:
        if row["id"] == "ada" and row["question"] == FIRST:
            row |= cells
    (out / "marks.csv").write_bytes(results.spreadsheet(rows))


def test_from_answers_to_marks(tmp_path):
    known = {"ada": kept("ada", **{FIRST: "The mean.\n## emmy\nNothing."}), "emmy": kept("emmy")}
    first = marks.collect(tmp_path, HW2, known)
    text = (tmp_path / "answers" / f"{results.file_name(FIRST)}.md").read_text()
    assert text.count("\n## ") == 2 and "    The mean.\n    ## emmy\n" in text and "(nothing)" in text and "A full answer" in text
    assert first["ada"][FIRST].points is None and first["emmy"][FIRST].points == 0
    rows = {row["id"]: row for row in grading.rows(HW2, known, [], None, first)}
    assert rows["ada"]["mark"] == 7.0 and rows["ada"]["points"] == 10 and "by hand" not in rows["ada"]     # nothing is marked yet

    fill(tmp_path, points="1,5", comment="=and the length?")
    known["zoe"] = kept("zoe", **{SECOND: "Late."})
    second = marks.collect(tmp_path, HW2, known)
    assert second["ada"][FIRST] == (1.5, 2, "=and the length?") == marks.collect(tmp_path, HW2, known)["ada"][FIRST]
    rows = {row["id"]: row for row in grading.rows(HW2, known, [], None, second)}
    questions = sum(question.points for question in assignments.sheet(HW2).questions)
    assert (rows["ada"]["mark"], rows["ada"]["by hand"], rows["ada"]["points"]) == (8.5, 1.5, 10 + questions)
    assert rows["zoe"]["to be marked"] == 1
    results.table(tmp_path, "hw2", list(rows.values()), known, second)
    said = (tmp_path / "feedback/ada.txt").read_text()
    assert f"{FIRST}: 1.5 of 2, =and the length?" in said and f"Mark: 8.5 of {10 + questions}" in said

    known["ada"] = kept("ada", **{FIRST: "The mean, and the length."})      # handed in again
    again = marks.collect(tmp_path, HW2, known)["ada"][FIRST]
    assert again == (None, 2, "1.5 points before the answer changed. =and the length?")


@pytest.mark.parametrize("cells, said", [({"points": "3"}, "'3' points for"), ({"points": "-1"}, "'-1' points"), ({"points": "x"}, "'x' points"),
                                         ({"question": "what?"}, "for 'what\\?'; questions are"), ({"question": SECOND}, "stands there twice")])
def test_a_table_that_cannot_be_read_stays(tmp_path, cells, said):
    marks.collect(tmp_path, HW2, {"ada": kept("ada", **{FIRST: "a"})})
    fill(tmp_path, **{"points": "1"} | cells)
    before = (tmp_path / "marks.csv").read_bytes()
    with pytest.raises(InputError, match=said):
        marks.collect(tmp_path, HW2, {"ada": kept("ada")})
    assert (tmp_path / "marks.csv").read_bytes() == before


def test_who_and_what_helped_is_shown_and_not_marked(tmp_path):
    marks.collect(tmp_path, HW2, {"ada": kept("ada", help="Emmy.\n## emmy"), "emmy": kept("emmy")})
    text = (tmp_path / "answers/help.md").read_text()
    assert "## ada\n\n    Emmy.\n    ## emmy\n" in text and "## emmy\n\n(nothing)" in text
    assert "help" not in (tmp_path / "marks.csv").read_text()


def test_marks_of_who_is_not_there_stay(tmp_path):
    known = {own: kept(own, **{FIRST: "a"}) for own in ("ada", "emmy")}
    marks.collect(tmp_path, HW2, known)
    fill(tmp_path, points="2")
    marks.collect(tmp_path, HW2, {"emmy": known["emmy"]})
    assert marks.collect(tmp_path, HW2, known)["ada"][FIRST].points == 2


def test_what_is_taken_from_a_submission(tmp_path):
    """Bounded, and fit to be shown."""
    variant = assignments.variant_of(HW2, "")
    form = answers.form(HW2, variant)
    (tmp_path / answers.FILE).write_text(form.replace(answers.ROOM, "tab\tbell\x07 " + "x" * 30_000, 1), encoding="utf-8")
    found = one.prose(HW2, variant, tmp_path)
    assert found[FIRST].startswith("tab    bell? xx") and len(found[FIRST]) == one.LONGEST_ANSWER and found[SECOND] == ""
    (tmp_path / answers.FILE).write_bytes(b"\xff" * 300_000)
    assert set(one.prose(HW2, variant, tmp_path).values()) == {""}
    (tmp_path / answers.FILE).unlink()
    assert set(one.prose(HW2, variant, tmp_path)) == {*answers.key(HW2), answers.HELP.name}
