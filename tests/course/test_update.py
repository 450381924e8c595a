"""A folder that was handed out is brought to the present version, and what a student wrote is never lost."""

import ast
import json
import shutil

import pytest

from minifl.cli import main
from minifl.course import answers, assignments, carve, update
from minifl.course.regions import named
from minifl.errors import InputError

HW2 = assignments.load("hw2")
NORM = "minifl/layers/norm.py"
OLD = '''"""A module."""
import numpy as np

EPS = 1e-5


def first(x):
    """As it was.

    Task: write it.
    """
    raise NotImplementedError("yours to write")


def given(x):
    """Given."""
    return x


class Net:
    """A class."""

    def method(self, x):
        """Old words."""
        raise NotImplementedError("yours to write")


def last(x):
    """The last."""
    y = given(x)
    raise NotImplementedError("yours to write")
'''
NEW = OLD.replace("As it was.", "As it is now.").replace("    return x\n", "    return x + 0\n").replace("Old words", "New words").replace(
    "EPS = 1e-5\n", "EPS = 1e-5\nMORE = 2\n").replace('"yours to write"', '"hw9: yours to write"')
FUNCTIONS = ["first", "Net.method", "last"]


def test_nothing_written_is_the_new_text():
    assert update.kept(NEW, OLD, FUNCTIONS).text == NEW == update.kept(NEW, NEW, FUNCTIONS).text


def test_what_was_written_stays_and_what_was_handed_out_is_new():
    mine = OLD.replace('''    Task: write it.
    """
    raise NotImplementedError("yours to write")
''', '''    Task: write it.
    """
    # my comment
    s = """two
  lines"""
    return helper(x) + 1   # done

    # and after it
''').replace('''        raise NotImplementedError("yours to write")
''', '''        return self.own(x)

    def own(self, x):
        return -x
''').replace("import numpy as np\n", "import numpy as np\nimport math\n").replace("def given(x)", '''TABLE = [1, 2]     # mine


def helper(x):
    """Mine, too."""
    return math.pi * x


def given(x)''') + "\n\nif TABLE:\n    TABLE.append(3)\n"
    found = update.kept(NEW, mine, FUNCTIONS)
    for text in ('# my comment\n    s = """two\n  lines"""\n    return helper(x) + 1   # done\n', "# and after it", "As it is now.", "return x + 0",
                 "MORE = 2", "TABLE = [1, 2]     # mine", "    return math.pi * x\n", "import math", "        return self.own(x)\n",
                 "    def own(self, x):\n        return -x\n", "New words", "if TABLE:\n    TABLE.append(3)\n", '"hw9: yours to write"'):
        assert text in found.text, text
    assert found.text.count("NotImplementedError") == 1 and found.text.count("my comment") == 1
    assert found.text.index("TABLE =") < found.text.index("def helper") < found.text.index("class Net") < found.text.index("def own") < found.text.index("def last") < found.text.index("if TABLE")
    assert {line.split(" ")[0] for line in found.said} == {"first", "Net.method", "math", "TABLE", "helper", "Net.own", "line", "given"}
    space = {}
    exec(found.text, space)
    assert space["first"](1) == 1 + 3.141592653589793 and space["Net"]().method(2) == -2 and space["TABLE"] == [1, 2, 3]
    assert update.kept(NEW, found.text, FUNCTIONS).text == found.text       # once more changes nothing


@pytest.mark.parametrize("body", ['    return x\n', "  return x\n", "\treturn x\n"])
def test_other_margins_and_no_docstring(body):
    mine = OLD.replace(OLD[OLD.index('    """As it was'):OLD.index("def given")], f"{body}\n\n")
    assert update.kept(NEW, mine, FUNCTIONS).text == NEW.replace(
        'write it.\n    """\n    raise NotImplementedError("hw9: yours to write")', 'write it.\n    """\n    return x')
    one_line = OLD.replace(OLD[OLD.index("def first"):OLD.index("def given")], "def first(x): return x\n\n\n")
    assert ast.dump(ast.parse(update.kept(NEW, one_line, FUNCTIONS).text)) == ast.dump(ast.parse(update.kept(NEW, mine, FUNCTIONS).text))


def test_what_cannot_be_read_or_does_not_fit_stays():
    for mine in (OLD + "def f(:\n", "\x00", OLD.replace('    raise NotImplementedError("yours to write")', "    return 1\n  # x\n   +", 1)):
        assert update.kept(NEW, mine, FUNCTIONS).text == mine and "stays as it is" in update.kept(NEW, mine, FUNCTIONS).said[0]


@pytest.fixture
def folder(tmp_path):
    """A student's folder of an older version: another text in a docstring and in grade.py, a solution, an answer, a file."""
    carve.carve(HW2, tmp_path / "ada", student="ada", reference=True)
    settings = json.loads((tmp_path / "ada" / carve.SETTINGS).read_text())
    (tmp_path / "ada" / carve.SETTINGS).write_text(json.dumps(settings | {"version": "0.0.9", "handed_out": "0" * 16}))
    for name, old, new in ((NORM, "Normal", "Formal"), ("grade.py", "Points", "Marks"), (answers.FILE, answers.ROOM, "It is the mean.")):
        text = (tmp_path / "ada" / name).read_text()
        assert old in text
        (tmp_path / "ada" / name).write_text(text.replace(old, new, 1))
    (tmp_path / "ada/notes.txt").write_text("mine")
    return tmp_path / "ada"


def files(folder):
    return {path.relative_to(folder).as_posix(): path.read_text() for path in folder.rglob("*") if path.is_file()}


def test_a_folder(folder, capsys, tmp_path):
    before = files(folder)
    with pytest.raises(SystemExit) as exit_:
        main(["course", "update", str(folder)])
    said, after = capsys.readouterr().out, files(folder)
    assert exit_.value.code == 0 and "from version 0.0.9" in said and "shift is yours, as it was" in said and "grade.py: new" in said
    assert files(tmp_path / "ada.before") == before
    variant = assignments.variant_of(HW2, "ada")
    tasks = assignments.tasks(HW2, variant, NORM)
    text = next(task.text for task in tasks if task.text)
    assert "Formal" not in after[NORM] and text.splitlines()[0] in after[NORM] and "NotImplementedError" not in after[NORM]
    assert "Points" in after["grade.py"] and "It is the mean." in after[answers.FILE] and after["notes.txt"] == "mine"
    assert answers.read(after[answers.FILE], assignments.sheet(HW2, variant).questions) == answers.read(
        before[answers.FILE], assignments.sheet(HW2, variant).questions)
    with pytest.raises(SystemExit):
        main(["course", "update", str(folder)])
    assert "nothing to do" in capsys.readouterr().out and files(folder) == after and len(list(tmp_path.iterdir())) == 2


def test_another_copy_and_other_questions(folder, tmp_path):
    shutil.copytree(folder, tmp_path / "ada.before")
    (folder / answers.FILE).write_text("## of old, 3 points\nmine\n")
    copy, said = update.update(HW2, folder)
    assert copy == tmp_path / "ada.before-1" and any("other questions now" in line for line in said)
    assert (folder / answers.FILE).read_text() == "## of old, 3 points\nmine\n"


@pytest.mark.parametrize("name", assignments.NAMES)
def test_every_assignment(name):
    """Stubs stay stubs, and a solution's bodies are the solution's."""
    assignment = assignments.load(name)
    variant = assignments.variant_of(assignment, "ada")
    for file in assignment.files:
        stubs, solved = assignments.students(assignment, variant, file), assignments.source(assignment, variant, file)
        tasks = [task.function.removeprefix(f"{assignments.module(file)}.") for task in assignments.tasks(assignment, variant, file)]
        assert update.kept(stubs, stubs, tasks) == (stubs, [])
        there, here = (named(ast.parse(text)) for text in (solved, update.kept(stubs, solved, tasks).text))
        for task in tasks:
            assert [ast.dump(node) for node in there[task].body[1:]] == [ast.dump(node) for node in here[task].body[1:]]


def test_what_is_no_folder_of_a_student(tmp_path):
    with pytest.raises(InputError, match="give a student's folder"):
        update.settings_of(tmp_path)
