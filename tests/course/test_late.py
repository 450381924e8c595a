"""Late days: what a time, a term and a table of them come to."""

import json
from datetime import datetime

import pytest

from minifl.course import late, results
from minifl.course.roster import Student
from minifl.errors import InputError

DUE = datetime(2026, 12, 1, 23, 59)


@pytest.mark.parametrize("text, expected", [
    ("2026-12-01 23:59", 0), ("2026-11-01", 0), ("2026-12-01 23:59:01", 1), ("2026-12-02T23:59", 1), ("2026-12-03 00:00", 2),
    ("2026-12-01T23:59+05:00", 0), ("2026-12-02T23:59:01Z", 2), ("2026-12-02 10:00:00 +0100", 1), ("2026-12-02 10:00:00 UTC", 1)])
def test_days(text, expected):
    assert late.days(late.moment(text, "x"), DUE) == expected


def test_zones():
    due = late.moment("2026-12-01T23:59-08:00", "x")
    assert late.days(late.moment("2026-12-02T07:59Z", "x"), due) == 0 and late.days(late.moment("2026-12-02T08:00Z", "x"), due) == 1
    with pytest.raises(InputError, match="--due 'monday' is no time; valid are 2026-12-01 23:59"):
        late.moment("monday", "--due")


@pytest.mark.parametrize("days, earlier, free, expected", [
    (0, [9], 0, 1), (1, [], 0, 0.9), (2, [], 2, 1), (3, [], 2, 0.9), (2, [1], 2, 0.9), (2, [1, 5], 2, 0.8), (11, [], 0, 0), (99, [], 3, 0)])
def test_factor(days, earlier, free, expected):
    assert late.factor(days, earlier, free, 10) == pytest.approx(expected)


def test_a_class(tmp_path):
    (tmp_path / "t.csv").write_text("SID;Submission Time\nada;2026-12-03 12:00:00 +0000\nEMMY;2026-12-05 12:00\nzoe;\n")
    (tmp_path / "hw1").mkdir()
    (tmp_path / "hw1/results.json").write_text(json.dumps({"results": [{"id": "ada", "days late": 1}, {"id": "emmy", "days late": None}]}))
    rules = late.rules("2026-12-01 23:59", tmp_path / "t.csv", 2, 10, [tmp_path / "hw1"])
    of = {student.id: late.columns(rules, student) for student in (Student("ada"), Student("a1", email="emmy", days=1), Student("zoe"))}
    assert [(one["days late"], one["factor"]) for one in of.values()] == [(2, 0.9), (4, 0.9), (None, 1.0)]


@pytest.mark.parametrize("content, said", [
    ("id\nada\n", "has no column submitted"), ("id,submitted\nada,soon\n", "line 2: submitted 'soon' is no time"),
    ("id,submitted\nada,2026-12-01\nADA,2026-12-02\n", "line 3: 'ada' stands there twice")])
def test_what_is_no_table_of_times(tmp_path, content, said):
    (tmp_path / "t.csv").write_text(content)
    with pytest.raises(InputError, match=said):
        late.rules("2026-12-01", tmp_path / "t.csv", 0, 10, [])
    (tmp_path / "t.csv").write_text("id,submitted\n")
    with pytest.raises(InputError, match="--earlier .*holds no results.json"):
        late.rules("2026-12-01", tmp_path / "t.csv", 0, 10, [tmp_path])


def test_a_student_reads_why():
    assert results._mark({"mark": 18.0, "points": 20, "days late": 3, "factor": 0.9}) == "Mark: 18 of 20, 3 days late: x 0.9\n"
