"""What Gradescope reads, and the zip that is uploaded there."""

import json
import os
import re
import shlex
import stat
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from minifl.course import assignments, carve, container, gradescope
from minifl.course.judge import Graded
from minifl.course.running import Outcome

ROOT = Path(__file__).resolve().parents[2]
RIGHT = Outcome("a", "It adds.", "adding", 1.5, 1.5, "", "line 3", 0.1)
WRONG = Outcome("b", "It divides.", "dividing", 2.0, 0.5, "is 3, not 4", "line 5", 0.2)


def test_results():
    graded = Graded("hw2", "ada", {"eps": "root"}, [RIGHT, WRONG], [WRONG, RIGHT], ["norm.py is missing"],
                    ["your code tried to read /secret"])
    results = gradescope.results(graded)
    assert json.loads(json.dumps(results)) == results
    assert results["score"] == 4.0 and results["execution_time"] == 0.3 and results["stdout_visibility"] == "hidden"
    assert "hw2, graded for ada: eps root" in results["output"] and "norm.py is missing" in results["output"]
    assert "/secret" not in json.dumps(results)
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


def test_the_bundle_grades_as_gradescope_runs_it(tmp_path):
    """Unpacked into a folder that stands for /autograder, its run_autograder grades a submission in it."""
    hidden, out = tmp_path / "hidden", tmp_path / "hw2.zip"
    hidden.mkdir()
    (hidden / "hw2.json").write_text('{"seeds": [7]}')
    assignment = assignments.load("hw2")
    gradescope.bundle(assignment, out, hidden)
    autograder = tmp_path / "autograder"
    with zipfile.ZipFile(out) as zipped:
        names = zipped.namelist()
        modes = {name: stat.S_IMODE(zipped.getinfo(name).external_attr >> 16) for name in names}
        zipped.extractall(autograder / "source")
    assert {"setup.sh", "requirements.txt", "run_autograder", "hidden/hw2.json", "minifl/cli.py"} <= set(names)
    assert modes["setup.sh"] == modes["run_autograder"] == 0o755 and not [n for n in names if n.endswith(".pyc")]
    carve.carve(assignment, autograder / "submission", student="ada@example.org", reference=True)
    (autograder / "submission_metadata.json").write_text(json.dumps({"users": [{"email": "ada@example.org"}]}))
    environment = {**os.environ, "AUTOGRADER": str(autograder), "PYTHON": sys.executable}
    result = subprocess.run(["bash", str(autograder / "source/run_autograder")], env=environment, cwd=tmp_path,
                            capture_output=True, text=True)
    assert result.returncode == 0, result.stdout + result.stderr
    results = json.loads((autograder / "results/results.json").read_text())
    points = sum(assignments.parts(assignment).values())
    assert sum(test["max_score"] for test in results["tests"]) == pytest.approx(points)
    assert results["score"] == pytest.approx(points) and "ada@example.org" in results["output"]
    assert "DONE" not in result.stdout and "the list of calls (seccomp) there" in result.stdout


@pytest.fixture(scope="module")
def bundled(tmp_path_factory):
    """The folder of an unpacked bundle."""
    folder = tmp_path_factory.mktemp("bundled")
    gradescope.bundle(assignments.load("hw2"), folder / "hw2.zip", weak=True)
    with zipfile.ZipFile(folder / "hw2.zip") as zipped:
        zipped.extractall(folder / "autograder/source")
    return folder / "autograder"


def test_the_recipe_of_an_image(bundled):
    """Its steps and commands name what is in the bundle, and the page has every limit of the container in each command."""
    source = bundled / "source"
    recipe = (source / "Dockerfile").read_text(encoding="utf-8")
    assert re.search(r"^FROM \$\{BASE\}\nCOPY \. /autograder/source\nRUN bash /autograder/source/setup.sh$", recipe, re.M)
    assert json.loads(re.search("^ENTRYPOINT (.*)$", recipe, re.M)[1])[-1] == "/autograder/source/grade"
    for script in ("grade", "setup.sh", "run_autograder"):
        assert subprocess.run(["bash", "-n", source / script]).returncode == 0
    page = (source / "README.md").read_text(encoding="utf-8").replace("\\\n", "")
    runs = [shlex.split(line) for line in page.splitlines() if line.startswith("docker run ")]
    assert len(runs) == 2 and all(
        {"none", "--read-only", "no-new-privileges", "--pids-limit", "--memory", "ALL"} <= set(run) for run in runs)
    assert container.FLAGS in (ROOT / "docs/teaching.md").read_text(encoding="utf-8")
    assert "docker build -t minifl-hw2 ." in page and runs[0][-1] == "minifl-hw2"
    assert runs[1][-4:] == ["minifl-hw2", "/class/submissions", "--out", "/class/results"]


def test_the_image_tries_its_sandbox_and_grades(bundled):
    """What its entry point does, in a folder that stands for /autograder; with arguments, as of `course grade`."""
    carve.carve(assignments.load("hw2"), bundled / "bob")
    environment = {**os.environ, "AUTOGRADER": str(bundled), "PYTHON": sys.executable}
    done = subprocess.run(["bash", bundled / "source/grade", bundled / "bob", "--out", bundled / "results"], env=environment,
                          capture_output=True, text=True)
    assert done.returncode == 0 and "run a program   " in done.stderr and "bob:    0.0 of 27" in done.stdout, done
    assert " --weak-sandbox " in (bundled / "source/grade").read_text(encoding="utf-8")


def test_the_same_content_is_the_same_zip(tmp_path):
    for name in "ab":
        gradescope.bundle(assignments.load("hw2"), tmp_path / name)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
