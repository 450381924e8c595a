"""`course`: carve, solve, grade, hide, bundle, list, check on the command line."""

import json
import subprocess
import sys
import zipfile

import pytest

from minifl.cli import main
from minifl.course import assignments, layers, proof, sandbox


def course(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    with pytest.raises(SystemExit) as exit_:
        main(["course", *map(str, arguments)])
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def test_from_carving_to_a_mark(tmp_path, capsys):
    """An instructor's way: carve, solve, hide, grade both, results for Gradescope."""
    code, out, _ = course(capsys, "carve", "hw1", "--out", tmp_path / "ada", "--student", "ada")
    assert code == 0 and "hw1 for ada" in out
    stubs = subprocess.run([sys.executable, "-B", "grade.py"], cwd=tmp_path / "ada", capture_output=True, text=True)
    assert stubs.returncode == 1 and "not written yet" in stubs.stdout and stubs.stderr == ""
    assert course(capsys, "solve", "hw1", "--out", tmp_path / "best", "--student", "ada")[0] == 0
    assert course(capsys, "hide", "hw1", "--out", tmp_path / "hidden", "--seeds", "1")[0] == 0
    code, out, _ = course(capsys, "grade", tmp_path / "ada", tmp_path / "best", "--assignment", "hw1", "--as", "best=ada2",
                          "--hidden", tmp_path / "hidden")
    assert code == 0 and "Mark: 0.0 of 24" in out and "it was graded as 'ada2'" in out and "Hidden tests" in out
    assert out.splitlines()[-1] == "2 graded (2 now), 0 not graded, 0 of the roster handed in nothing."
    code, _, _ = course(capsys, "grade", tmp_path / "best", "--student", "ada", "--assignment", "hw1", "--json",
                        tmp_path / "results.json")
    assert code == 0 and json.loads((tmp_path / "results.json").read_text())["score"] == 24


def test_what_a_weak_sandbox_lacks_is_printed(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(sandbox, "tried", lambda: ({}, {}))
    (tmp_path / "ada").mkdir()
    code, out, _ = course(capsys, "grade", tmp_path / "ada", "--assignment", "hw3", "--weak-sandbox")
    assert code == 0 and out.count("weak sandbox: ") == len(layers.LAYERS) and "Landlock is missing: code that" in out


def test_variants(tmp_path, capsys):
    code, out, _ = course(capsys, "carve", "hw3", "--out", tmp_path / "a", "--variant", "ties=last")
    assert code == 0 and "ties last" in out
    assert json.loads((tmp_path / "a/minifl/course/settings.json").read_text())["variant"]["ties"] == "last"


@pytest.mark.parametrize("arguments, said", [
    (("carve", "hw9", "--out", "new"), "'hw9' is unknown; valid are hw1, hw2"),
    (("carve", "hw3", "--out", "full"), "exists and is not an empty folder"),
    (("solve", "hw3", "--out", "full"), "exists and is not an empty folder"),
    (("carve", "hw3", "--out", "new", "--variant", "ties=none"), "valid are"),
    (("grade", "nowhere", "--assignment", "hw3"), "nowhere: is not there"),
    (("grade", "full"), "Missing option '--assignment'"),
    (("grade", "full", "--assignment", "hw9"), "'hw9' is unknown"),
    (("grade", "full", "--assignment", "hw3", "--hidden", "full"), "holds neither hw3.json nor hw3.py"),
    (("grade", "full", "full", "--assignment", "hw3", "--json", "r.json"), "--json is for one submission"),
    (("check", "hw9"), "'hw9' is unknown"),
    (("hide", "hw9", "--out", "new"), "'hw9' is unknown"),
    (("bundle", "hw3", "--out", "full/mine.txt"), "exists; name a new file"),
    (("carve", "hw3", "--out", "full/mine.txt"), "exists and is not an empty folder"),
    (("carve", "hw3", "--out", "full/mine.txt/new"), "--out full/mine.txt/new: cannot be written"),
    (("solve", "hw3", "--out", "/proc/new/folder"), "--out /proc/new/folder: cannot be written"),
    (("carve", "hw3", "--out", "n" * 300), "cannot be the name of a file: File name too long"),
    (("hide", "hw3", "--out", "full/mine.txt"), "cannot be written"),
    (("hide", "hw3", "--out", "n" * 300), "cannot be the name of a file: File name too long"),
    (("bundle", "hw3", "--out", "full/mine.txt/new.zip"), "cannot be written"),
    (("bundle", "hw3", "--out", "n" * 300), "cannot be the name of a file: File name too long"),
    (("grade", "n" * 300, "--assignment", "hw3"), "cannot be the name of a file: File name too long"),
    (("grade", "full", "--assignment", "hw3", "--hidden", "n" * 300), "cannot be the name of a file: File name too long"),
    (("carve", "hw3", "--out", "new", "--student", "a\x1b[2J"), "none of them for control"),
    (("carve", "hw3", "--out", "new", "--student", "a" * 101), "at most 100 characters"),
])
def test_bad_input_is_refused_and_nothing_lost(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "full").mkdir()
    (tmp_path / "full/mine.txt").write_text("work")
    code, _, err = course(capsys, *arguments)
    assert code == 2 and said in err and "Traceback" not in err
    assert (tmp_path / "full/mine.txt").read_text() == "work" and not (tmp_path / "new").exists()


def test_a_folder_that_cannot_be_written(tmp_path, capsys, monkeypatch):
    """As another user than root would meet it."""
    def refused(*_, **__):
        raise PermissionError(13, "Permission denied")
    for name in ("mkdtemp", "mkdir"):
        with monkeypatch.context() as patched:
            patched.setattr(*(("tempfile.mkdtemp", refused) if name == "mkdtemp" else ("pathlib.Path.mkdir", refused)))
            for command in ("carve", "solve", "hide", "bundle"):
                if name == "mkdir" or command in ("carve", "solve"):
                    code, _, err = course(capsys, command, "hw3", "--out", tmp_path / "new/folder")
                    assert code == 2 and "cannot be written (Permission denied)" in err and "Traceback" not in err


def test_hidden_seeds_are_not_drawn_again(tmp_path, capsys):
    assert course(capsys, "hide", "hw2", "hw3", "--out", tmp_path)[0] == 0
    seeds = [json.loads((tmp_path / f"{name}.json").read_text())["seeds"] for name in ("hw2", "hw3")]
    assert len({*seeds[0], *seeds[1]}) == 4
    code, _, err = course(capsys, "hide", "hw3", "--out", tmp_path)
    assert code == 2 and "is there already" in err
    assert json.loads((tmp_path / "hw3.json").read_text())["seeds"] == seeds[1]


def test_list(capsys):
    code, out, _ = course(capsys, "list")
    assert code == 0
    for name in assignments.NAMES:
        assignment = assignments.load(name)
        assert f"{name}: {assignments.sheet(assignment).title} ({sum(assignments.parts(assignment).values())} points" in out
    assert "      2 points  by hand: a tie\n" in out
    assert "variant ties = published | last | shared" in out


def test_check_tells_what_does_not_hold_by_its_exit_code(capsys, monkeypatch):
    rows = {True: proof.Row("hw2", "stubs import", True), False: proof.Row("hw2", "stubs import", False, "NameError")}
    for good in (True, False):
        monkeypatch.setattr(proof, "check", lambda name, jobs, private, good=good: [rows[good]])
        code, out, _ = course(capsys, "check", "hw2")
        assert code == (0 if good else 1) and ("all good" in out) == good and ("NameError" in out) != good


def test_a_zip_of_a_class(tmp_path, capsys):
    """As Moodle hands it out: a folder for each student, and one who handed in something else."""
    for name, command in (("ada", "solve"), ("emmy", "carve")):
        assert course(capsys, command, "hw1", "--out", tmp_path / name, "--student", name)[0] == 0
    with zipfile.ZipFile(tmp_path / "class.zip", "w") as zipped:
        for name in ("ada", "emmy"):
            for file in (tmp_path / name).rglob("*"):
                zipped.write(file, f"{name}_1_assignsubmission_file_/{file.relative_to(tmp_path / name)}")
        zipped.writestr("zoe_2_assignsubmission_file_/essay.pdf", "%PDF")
        zipped.writestr("eve_3_assignsubmission_file_/hw1.zip", "no archive")
    code, out, _ = course(capsys, "grade", tmp_path / "class.zip", "--assignment", "hw1", "--out", tmp_path / "results")
    assert code == 0 and "3 graded (3 now), 1 not graded" in out
    marks = {row["id"]: row["mark"] for row in json.loads((tmp_path / "results/results.json").read_text())["results"]}
    assert marks == {"ada": 24, "emmy": 0, "zoe": 0, "eve": None}
    assert course(capsys, "grade", tmp_path / "class.zip", "--assignment", "hw1", "--json", "r.json")[:2] == (2, "")
