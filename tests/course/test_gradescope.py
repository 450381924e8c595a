"""What Gradescope reads, and the zip that is uploaded there."""

import json
import os
import stat
import subprocess
import sys
import zipfile

import pytest

from minifl.course import assignments, carve, gradescope
from minifl.course.judge import Graded
from minifl.course.running import Outcome

RIGHT = Outcome("a", "It adds.", "adding", 1.5, 1.5, "", "line 3", 0.1)
WRONG = Outcome("b", "It divides.", "dividing", 2.0, 0.5, "is 3, not 4", "line 5", 0.2)


def test_results():
    graded = Graded("hw2", "ada", {"eps": "root"}, [RIGHT, WRONG], [WRONG, RIGHT], ["norm.py is missing"])
    results = gradescope.results(graded)
    assert json.loads(json.dumps(results)) == results
    assert results["score"] == 4.0 and results["execution_time"] == 0.6 and results["stdout_visibility"] == "hidden"
    assert "hw2, graded for ada: eps root" in results["output"] and "norm.py is missing" in results["output"]
    assert [t["visibility"] for t in results["tests"]] == ["visible"] * 2 + ["after_published"] * 2
    assert results["tests"][0] == {"name": "adding: a", "score": 1.5, "max_score": 1.5, "status": "passed",
                                   "output": "It adds.", "visibility": "visible"}
    assert results["tests"][1]["output"] == "It divides.\nis 3, not 4\nLook at: line 5"
    hidden = results["tests"][2]
    assert hidden["name"] == "dividing: b (hidden)" and hidden["status"] == "failed"
    assert "is 3" not in hidden["output"] and "Look at: line 5" in hidden["output"]


def test_the_student_of_the_metadata(tmp_path):
    file = tmp_path / "m.json"
    file.write_text(json.dumps({"users": [{"email": "ada@example.org"}, {"email": "b@example.org"}]}))
    assert gradescope.student_of(file) == "ada@example.org"
    for text in ("", "{}", '{"users": []}', '{"users": [{}]}', "[]"):
        file.write_text(text)
        assert gradescope.student_of(file) == ""
    assert gradescope.student_of(tmp_path / "none") == ""


@pytest.mark.parametrize("reference", [True, False])
def test_the_bundle_grades_as_gradescope_runs_it(tmp_path, reference):
    """Unpacked into a folder that stands for /autograder, its run_autograder grades a submission in it."""
    hidden, out = tmp_path / "hidden", tmp_path / "hw3.zip"
    hidden.mkdir()
    (hidden / "hw3.json").write_text('{"seeds": [7]}')
    assignment = assignments.load("hw3")
    gradescope.bundle(assignment, out, hidden)
    autograder = tmp_path / "autograder"
    with zipfile.ZipFile(out) as zipped:
        names = zipped.namelist()
        modes = {name: stat.S_IMODE(zipped.getinfo(name).external_attr >> 16) for name in names}
        zipped.extractall(autograder / "source")
    assert {"setup.sh", "requirements.txt", "run_autograder", "hidden/hw3.json", "minifl/cli.py"} <= set(names)
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755 and not [n for n in names if n.endswith(".pyc")]
    carve.carve(assignment, autograder / "submission", student="ada@example.org", reference=reference)
    (autograder / "submission_metadata.json").write_text(json.dumps({"users": [{"email": "ada@example.org"}]}))
    environment = {**os.environ, "AUTOGRADER": str(autograder), "PYTHON": sys.executable}
    result = subprocess.run(["bash", str(autograder / "source/run_autograder")], env=environment, cwd=tmp_path,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    results = json.loads((autograder / "results/results.json").read_text())
    points = sum(assignments.parts(assignment).values())
    assert sum(test["max_score"] for test in results["tests"]) == pytest.approx(points)
    assert results["score"] == (pytest.approx(points) if reference else 0) and "ada@example.org" in results["output"]


def test_the_same_content_is_the_same_zip(tmp_path):
    for name in "ab":
        gradescope.bundle(assignments.load("hw3"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
