"""Problem sheets: how they read, and that those of the assignments are of that form."""

from configparser import ConfigParser
from pathlib import Path

import pytest

from minifl.course import assignments
from minifl.course.sheets import Question, Task, parse
from minifl.errors import InputError

TEXT = """# hw2: Norms

Expected time: 5 to 7 hours. Afterwards you can:

- derive

## one

### `m.f`, 1 point

### `m.A.g` from `two = ` on, 3 points

Write `a*b`.

    So it is.

## two

### `n.f`, 2 points
Say.

## Questions

### what is lost, 1 point

Which, and
why?

### and what not, 2 points

Say.
"""


def test_a_sheet():
    sheet = parse(TEXT, "sheet.md")
    assert (sheet.title, sheet.hours) == ("Norms", "5 to 7")
    assert sheet.head == TEXT[:TEXT.index("## one")]
    assert sheet.tasks == (Task("hw2", "one", 1, "m.f", "", ""),
                           Task("hw2", "one", 3, "m.A.g", "two = ", "Write `a*b`.\n\n    So it is."),
                           Task("hw2", "two", 2, "n.f", "", "Say."))
    assert sheet.questions == (Question("what is lost", 1, "Which, and\nwhy?"), Question("and what not", 2, "Say."))


@pytest.mark.parametrize("old, new, said", [
    ("# hw2: Norms", "Norms", "sheet.md: begins with 'Norms"), ("Expected time: 5", "Time: 5", "sheet.md: begins with"),
    ("## one\n", "## one\n\nSome words.\n", "'## one' has to be followed by '### "),
    ("### `n.f`, 2 points\nSay.\n", "", "'## two' has to be followed by"),
    ("### what is lost, 1 point\n", "### what is lost\n", "'### what is lost' under '## Questions' has to read as"),
    ("what is lost", "`m.f`", "under '## Questions' has to read as"), ("Which, and\nwhy?\n", "", "the question below"),
    ("and what not", "what is lost", "each of another name"), ("## Questions\n", "## Questions\n\nWords.\n", "by nothing else"),
    ("`m.f`, 1 point", "m.f, 1 point", "'### m.f, 1 point' has to read as"),
    ("f`, 1 point", "f`, one point", "has to read as"), (" from `two = ` on", " from two", "has to read as")])
def test_a_sheet_of_another_form_is_an_error(old, new, said):
    assert TEXT.count(old) == 1
    with pytest.raises(InputError, match=said):
        parse(TEXT.replace(old, new), "sheet.md")


@pytest.mark.parametrize("name", assignments.NAMES)
def test_the_sheets_of_the_assignments(name):
    assignment = assignments.load(name)
    sheet = assignments.sheet(assignment)
    assert {task.assignment for task in sheet.tasks} == {name} and sheet.head.count("\n- ") >= 4
    functions = [task.function for task in sheet.tasks]
    assert len(set(functions)) == len(functions) and len(set(assignment.withheld)) == len(assignment.withheld)
    assert all(assignments.tasks(assignment, {}, file) for file in assignment.files)
    assert [task.function for task in sheet.tasks if not task.text] in ([], ["minifl.layers.norm.shift"])


def test_all_texts_are_installed_with_the_package():
    config = ConfigParser()
    config.read(Path(__file__).parents[2] / "setup.cfg")
    folder = assignments.ROOT / "minifl/course"
    patterns = config["options.package_data"]["minifl.course"].split(", ")
    assert {path for pattern in patterns for path in folder.glob(pattern)} == set(folder.rglob("*.md"))
