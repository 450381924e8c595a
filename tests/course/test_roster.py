"""Whose a submission is: by the names that platforms and instructors give, and never by two of them."""

import pytest

from minifl.course import roster
from minifl.errors import InputError

CLASS = "id;name;email;aliases;extra days\nADA@x.org;Lovelace, Ada;;123|al;2\nemmy;Amalie Emmy Noether;emmy@y.org;;\njm;Jos\xe9 Mart\xed;;;\na/b;;;;\n\n"


@pytest.fixture
def students(tmp_path):
    (tmp_path / "class.csv").write_bytes(CLASS.encode("utf-8-sig"))
    return roster.read(tmp_path / "class.csv")


def test_read(students, tmp_path):
    assert students[0] == roster.Student("ada@x.org", "Lovelace, Ada", "", ("123", "al"), 2)
    assert [student.id for student in students] == ["ada@x.org", "emmy", "jm", "a/b"] and students[1].days == 0
    (tmp_path / "plain.csv").write_text('ID,remark\n"a,b",x\n')
    assert roster.read(tmp_path / "plain.csv") == [roster.Student("a,b")]


@pytest.mark.parametrize("content, said", [
    ("name\nada\n", "line 1: has no column id"), ("", "line 1: has no column id"), ("id\nada\n\nADA \n", "line 4: ada stands in line 2 already"),
    ("id,extra days\nada,x\n", "line 2: invalid literal"), ("id,extra days\nada,-1\n", "line 2: extra days -1"),
    ("id,name\n,Ada\n", "line 2: no id"), ("id\nada,1\n", "line 2: 2 cells, the header has 1"), ("id\nad\x00a\n", "line 2: "),
    ('id\n"ada\n', "line 2: unexpected end"), ("id\n" + "a" * 101, "line 2: id"), (b"id\n\xff", "is not UTF-8 text"), (b"PK\x03\x04\xfe", "is not UTF-8")])
def test_what_is_no_roster(tmp_path, content, said):
    (tmp_path / "c.csv").write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(InputError, match="c.csv") as error:
        roster.read(tmp_path / "c.csv")
    assert said in str(error.value)


def test_a_roster_that_is_not_there_or_too_long(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="cannot be read"):
        roster.read(tmp_path)
    monkeypatch.setattr(roster, "MOST", 2)
    (tmp_path / "c.csv").write_text("id\n1\n2\n3\n")
    with pytest.raises(InputError, match="3 lines; at most 2"):
        roster.read(tmp_path / "c.csv")


@pytest.mark.parametrize("names, own", [
    (("lovelaceada_123_456_hw2.zip",), "ada@x.org"), (("lovelaceada_LATE_9_456_norm-1.py",), "ada@x.org"),
    (("xyz_123_456_hw2.zip",), "ada@x.org"), (("Ada Lovelace_77_assignsubmission_file_",), "ada@x.org"), (("ADA@x.org ",), "ada@x.org"),
    (("al.zip",), "ada@x.org"), (("Noether Amalie Emmy_1_assignsubmission_file_hw2.zip",), "emmy"), (("EMMY@Y.ORG",), "emmy"),
    (("a%2Fb",), "a/b"), (("martijose_5_6_hw2.zip",), "jm"), (("Jose\u0301 Marti\u0301_5_assignsubmission_onlinetext_",), "jm"), (("class.zip", "emmy"), "emmy")])
def test_names_that_platforms_make(students, names, own):
    assert roster.whose(students, names) == own


@pytest.mark.parametrize("name", ["hw2", "lovelace", "emmynoether_1_2_hw2.zip", "xyz_9_123_hw2.zip", "___", ""])
def test_what_fits_nobody(students, name):
    with pytest.raises(roster.Unknown, match="fits nobody on the roster; say whose it is: --as"):
        roster.whose(students, (name,))


def test_what_fits_two(students):
    twins = [*students, roster.Student("ada2", "Ada Lovelace")]
    with pytest.raises(roster.Unknown, match="fits ada@x.org and ada2"):
        roster.whose(twins, ("lovelaceada_5_456_hw2.zip",))
    with pytest.raises(roster.Unknown, match="fits ada@x.org and emmy"):       # the number is one's, the name another's
        roster.whose(students, ("amalieemmynoether_123_4_hw2.zip",))
    assert roster.whose(twins, ("lovelaceada_5_456_hw2.zip",), {"lovelaceada_5_456_hw2.zip": "ada2"}) == "ada2"


def test_the_outermost_name_counts(students):
    """A folder within an archive is its student's to name."""
    assert roster.whose(students, ("al.zip", "emmy")) == "ada@x.org"


def test_without_a_roster_the_name_is_the_id():
    assert roster.whose(None, ("Ada.zip", "hw2")) == "ada" and roster.whose(None, ("Ada L_1_assignsubmission_file_",)) == "ada l"
    assert roster.whose(None, ("a%2Fb.zip",)) == "a/b"
    with pytest.raises(roster.Unknown, match="none of them for control"):
        roster.whose(None, ("a\x1bb",))
