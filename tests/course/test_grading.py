"""A class in one command: each submission a line, none of them another's matter, nothing graded twice, nothing lost."""

import csv
import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

from minifl.cli import main
from minifl.course import assignments, batch, carve, grading, results, roster
from minifl.course.judge import Graded
from minifl.course.running import Outcome
from minifl.course.uploads import Entry
from minifl.errors import InputError

HW2 = assignments.load("hw2")
NORM = "minifl/layers/norm.py"
LIMITS = {"seconds": 1, "total": 20, "megabytes": 1024}


def grade(capsys, *arguments):
    """(exit code, stdout, stderr)."""
    with pytest.raises(SystemExit) as exit_:
        main(["course", "grade", "--assignment", "hw2", "--seconds", "1", *map(str, arguments)])
    captured = capsys.readouterr()
    return exit_.value.code, captured.out, captured.err


def table(out):
    """id or submission -> row of results.csv."""
    with open(out / "results.csv", encoding="utf-8-sig", newline="") as file:
        return {row["id"] or row["submission"]: row for row in csv.DictReader(file)}


@pytest.fixture(scope="module")
def solved(tmp_path_factory):
    """id -> a solved folder of theirs."""
    folder = tmp_path_factory.mktemp("solved")
    for name in ("ada", "emmy"):
        carve.carve(HW2, folder / name, student=name, reference=True)
    return folder


@pytest.fixture
def room(tmp_path, solved):
    """A class: two who solved it, one as a zip; who sleeps, ends the process, handed in no archive or a link, claims to be
    another, or is on no roster."""
    folder = tmp_path / "class"
    shutil.copytree(solved / "ada", folder / "ada")
    shutil.make_archive(str(folder / "noetheremmy_7_8_hw2"), "zip", solved / "emmy")
    for name, code in (("sleeper", "import time; time.sleep(1000)"), ("exits", "import os; os._exit(0)")):
        (folder / name).mkdir()
        (folder / name / "norm.py").write_text(code)
    shutil.copytree(solved / "emmy", folder / "claims")
    (folder / "no.zip").write_text("no archive")
    (folder / "link").symlink_to(solved / "emmy")
    shutil.copytree(solved / "emmy", folder / "stranger")
    ids = ["ada", "emmy", "sleeper", "exits", "claims", "no", "link", "absent"]
    (tmp_path / "class.csv").write_text("id,name\n" + "".join(f"{own},{own} Noether\n" for own in ids))
    return folder


def test_a_class_with_bad_submissions(room, tmp_path, capsys):
    out = tmp_path / "results"
    arguments = (room, "--roster", tmp_path / "class.csv", "--out", out, "--jobs", "4", "--total", "10")
    code, said, err = grade(capsys, *arguments)
    assert (code, err) == (0, "") and "5 graded (5 now), 3 not graded, 1 of the roster handed in nothing" in said
    rows = table(out)
    assert {own: (row["status"], row["mark"]) for own, row in rows.items()} == {
        "ada": ("graded", "27.0"), "emmy": ("graded", "27.0"), "sleeper": ("graded", "0.0"), "exits": ("graded", "0.0"),
        "claims": ("graded", rows["claims"]["mark"]), "no": ("not graded", ""), "link": ("not graded", ""),
        "absent": ("nothing handed in", ""), "stranger": ("not graded", "")}
    assert float(rows["claims"]["mark"]) < 27 and "says that the student is 'emmy'" in rows["claims"]["evidence"]
    assert "fits nobody on the roster" in rows["stranger"]["why"] and rows["link"]["why"] == "is a link"
    feedback = (out / "feedback/claims.txt").read_text()
    assert "emmy" not in feedback and "Points of the tests" in feedback
    assert "emmy" in (out / "evidence/claims.txt").read_text() and "zip archive" in (out / "feedback/no.txt").read_text()
    assert {row["id"]: row["mark"] for row in json.loads((out / "results.json").read_text())["results"]}["ada"] == 27.0

    # again: nothing is graded twice, but what has changed
    before = {path: path.stat().st_mtime_ns for path in (out / "records").iterdir()}
    (room / "exits/norm.py").write_text("import os; os._exit(1)")
    code, said, _ = grade(capsys, *arguments)
    assert code == 0 and "5 graded (1 now)" in said
    assert [path.name for path, when in before.items() if path.stat().st_mtime_ns != when] == ["exits.json"]
    assert [path.name for path in (out / "earlier").iterdir()] == ["exits-1.json"]
    code, said, _ = grade(capsys, *arguments, "--again", " ADA")
    assert "5 graded (1 now)" in said and {path.name for path in (out / "earlier").iterdir()} == {"exits-1.json", "ada-1.json"}
    assert grade(capsys, "--out", out)[0] == 0 and table(out)["ada"]["mark"] == "27.0"      # the tables alone
    assert "fits nobody" in table(out)["stranger"]["why"] and grade(capsys, "--out", out)[0] == 0 and "stranger" in table(out)
    (tmp_path / "times.csv").write_text("id,submitted\nada,2026-12-03 00:01\nemmy,2026-12-01 12:00\n")
    late = ("--due", "2026-12-01 12:00", "--submitted", tmp_path / "times.csv", "--late-days", "1", "--late-percent", "50")
    assert grade(capsys, "--out", out, *late)[0] == 0 and table(out)["emmy"]["mark"] == "27.0"
    assert (table(out)["ada"]["days late"], table(out)["ada"]["factor"], table(out)["ada"]["mark"]) == ("2", "0.5", "13.5")
    assert "2 days late: x 0.5" in (out / "feedback/ada.txt").read_text()
    assert grade(capsys, "--out", out, room / "ada", "--student", "ada", "--seconds", "2")[1].count("(as before)") == 0


def test_one_submission(solved, capsys, tmp_path):
    code, said, _ = grade(capsys, solved / "emmy", "--student", "Ada", "--json", tmp_path / "r.json")
    assert code == 0 and "its minifl/course/settings.json says that the student is 'emmy', it was graded as 'ada'" in said
    assert "Mark:" in said and json.loads((tmp_path / "r.json").read_text())["score"] < 27


@pytest.mark.parametrize("arguments, said", [
    (("class", "--student", "ada"), None), (("class/ada", "class/emmy", "--student", "ada"), "--student is for one submission, here are 2"),
    (("class/ada", "--as", "eve=ada"), "no submission is called so"), (("class/ada", "--as", "eve"), "is not NAME=ID"),
    (("class/ada", "--again", "eve"), "--again eve: no submission given here is theirs"), ((), "no submission is given"), (("class/ada", "--due", "2026-12-01"), "needs --submitted"),
    (("class/ada", "--submitted", "m.json"), "need --due"), (("class/ada", "--gradescope", "m.json"), "names no e-mail address"),
    (("class/ada", "--out", "other"), "holds results of hw1, not of hw2"), (("class/ada", "--out", "broken"), "is no record of a grade")])
def test_bad_input(tmp_path, capsys, monkeypatch, arguments, said):
    monkeypatch.chdir(tmp_path)
    for name in ("ada", "emmy"):
        (tmp_path / "class" / name).mkdir(parents=True)
    (tmp_path / "m.json").write_text('{"users": [{"email": " "}]}')
    results.keep(tmp_path / "other", grading.record("ada", Entry(("ada",), ()), assignments.load("hw1"), why="no"))
    (tmp_path / "broken/records").mkdir(parents=True)
    (tmp_path / "broken/records/ada.json").write_text("[]")
    code, _, err = grade(capsys, *arguments)
    assert code == (2 if said else 0) and (said or "") in err and "Traceback" not in err


def test_two_submissions_of_one_and_names_given():
    one, two, three = (Entry((name,), ()) for name in ("ada.zip", "ADA", "emmy"))
    owners, lost = grading.owned([one, two, three], None, {}, None)
    assert owners == {"emmy": three} and [record["why"] for record in lost] == ["2 submissions are ada's: ada.zip and ADA; give one"] * 2
    owners, lost = grading.owned([one, two], [roster.Student("ada")], {"ADA": "zoe"}, None)
    assert owners == {"ada": one, "zoe": two} and lost == []


JOB = {"assignment": "hw2", "student": "ada", "basis": "", "known": "", "variant": None, "hidden": None, "private": None, "limits": LIMITS}


def test_a_judge_that_ends_is_a_line_and_the_tools_own_error_is_loud(solved, capsys, monkeypatch, tmp_path):
    """Killed from outside, or by an error of its own: the others are graded."""
    jobs = [JOB | {"paths": [str(solved / "ada")]}, JOB | {"paths": [7]}]
    answers = {str(job["paths"]): answer for job, answer in batch.run(jobs, 2)}
    assert answers[str(jobs[0]["paths"])]["status"] == "graded"
    failed = answers["[7]"]
    assert failed["status"] == "failed" and not failed["stopped"] and "TypeError" in failed["said"]
    monkeypatch.setattr(batch, "run", lambda jobs, at_a_time: [(job, failed) for job in jobs])
    code, said, err = grade(capsys, solved / "ada", "--out", tmp_path / "out")
    assert code == 1 and "TypeError" in err and table(tmp_path / "out")["ada"]["status"] == "not graded"
    monkeypatch.setattr(batch, "run", lambda jobs, at_a_time: [(job, {"status": "refused", "why": "no Landlock"}) for job in jobs])
    code, _, err = grade(capsys, solved / "ada", "--out", tmp_path / "out")
    assert code == 2 and "no Landlock" in err


def test_a_judge_that_hangs_is_ended(monkeypatch):
    process = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(100)"], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                               stderr=subprocess.PIPE)
    monkeypatch.setattr(batch, "PATIENCE", 0)
    answer = batch._answer(process, JOB | {"limits": {"total": 0.5}})
    assert answer == {"status": "failed", "why": "took more than 0.5 s", "stopped": True} and process.poll() is not None


def alive(folder):
    """Processes that work in a folder or for somebody who does."""
    found = []
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            with open(f"/proc/{name}/environ", "rb") as file:
                if f"TMPDIR={folder}".encode() in file.read() or os.readlink(f"/proc/{name}/cwd").startswith(str(folder)):
                    found.append(int(name))
        except OSError:
            continue
    return found


@pytest.mark.skipif(not os.path.isdir("/proc/self"), reason="looks for processes in /proc")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_what_ends_the_batch_ends_all_of_it(tmp_path, number):
    """Ctrl-C, and the parent's death: the processes that grade, and a submission's that sleeps, go with it."""
    (tmp_path / "class/sleeper").mkdir(parents=True)
    (tmp_path / "class/sleeper/norm.py").write_text("import time; time.sleep(1000)")
    process = subprocess.Popen([sys.executable, "-m", "minifl", "course", "grade", "class", "--assignment", "hw2", "--seconds", "100"],
                               cwd=tmp_path, env=os.environ | {"TMPDIR": str(tmp_path)}, stdout=subprocess.DEVNULL,
                               stderr=subprocess.DEVNULL)
    ends = time.monotonic() + 30
    while len(alive(tmp_path)) < 3 and time.monotonic() < ends:
        time.sleep(0.1)
    assert len(alive(tmp_path)) == 3
    process.send_signal(number)
    process.wait(30)
    while alive(tmp_path) and time.monotonic() < ends:
        time.sleep(0.1)
    assert alive(tmp_path) == []


def test_nothing_is_imported_from_the_folder_where_the_instructor_is(tmp_path, solved):
    """Which may be a student's, with a minifl of its own, and a json.py."""
    shutil.copytree(solved / "ada", tmp_path / "ada")
    for name in ("minifl/__init__.py", "minifl/course/one.py", "minifl/course/uploads.py", "json.py", "numpy.py"):
        (tmp_path / "ada" / name).write_text(f"open({str(tmp_path / 'ran')!r}, 'w')\n")
    shutil.make_archive(str(tmp_path / "ada/hw2"), "zip", solved / "ada")
    for more in ((".",), ("hw2.zip",)):
        done = subprocess.run([sys.executable, str(assignments.ROOT / "cli.py"), "course", "grade", *more, "--assignment", "hw2"],
                              cwd=tmp_path / "ada", capture_output=True, text=True)
        assert done.returncode == 0 and "of 27" in done.stdout, done.stderr
    subprocess.run([sys.executable, str(assignments.ROOT / "cli.py"), "course", "similar", ".", "--assignment", "hw2", "--out", "r.md"],
                   cwd=tmp_path / "ada", check=True)
    assert not (tmp_path / "ran").exists()


def test_the_hash_sees_what_marks_depend_on(tmp_path):
    (tmp_path / "hw2.json").write_text('{"seeds": [1]}')
    first = batch.basis(HW2, {"variant": None}, tmp_path)
    assert first == batch.basis(HW2, {"variant": None}, tmp_path, None) != batch.basis(HW2, {"variant": "eps=root"}, tmp_path)
    (tmp_path / "hw2.json").write_text('{"seeds": [2]}')
    assert first != batch.basis(HW2, {"variant": None}, tmp_path)


def test_cells_are_no_formulas():
    text = results.spreadsheet([{"id": "=1+1", "name": "@x", "mark": -1.5, "why": "+a", "more": "-b\n"}]).decode("utf-8-sig")
    assert list(csv.reader(text.splitlines(True)))[1] == ["'=1+1", "'@x", "-1.5", "'+a", "'-b\n"]


@pytest.mark.parametrize("text", ["..", ".", "a/b", "../x", "CON:", "\xfc" * 100, "a" * 100, "a b", "=x"])
def test_names_of_files(text, tmp_path):
    name = results.file_name(text)
    (tmp_path / f"{name}-1.json").write_text("")
    assert "/" not in name and not name.startswith(".") and len(list(tmp_path.iterdir())) == 1
    assert len({results.file_name(text + more) for more in ("", "/", "a", "A")}) == 4


def test_students_are_not_told_of_hidden_tests_and_evidence():
    wrong = Outcome("b", "It divides.", "dividing", 2.0, 0.5, "secret number 4711", "line 5", 0.2)
    plain = Graded("hw2", "ada", {}, [wrong], [wrong], [], ["your code tried to read /4712"])._asdict()
    plain |= {kind: [one._asdict() for one in plain[kind]] for kind in ("public", "hidden")}
    kept = grading.record("ada", Entry(("ada",), ()), HW2, "graded", graded=plain, claims=["tried /etc/passwd"])
    assert results.feedback(kept).count("4711") == 1 and results.feedback(kept).count("with other shapes and seeds") == 1
    assert "4712" in results.evidence(kept) and "4712" not in results.feedback(kept)
    assert results.evidence(kept).count("4711") == 2 and "passwd" in results.evidence(kept) and "passwd" not in results.feedback(kept)


def test_a_folder_of_results_needs_whole_records(tmp_path):
    results.keep(tmp_path, grading.record("ada", Entry(("ada",), ()), HW2, why="no"))
    assert list(results.records(tmp_path, "hw2")) == ["ada"]
    with pytest.raises(InputError, match="holds results of hw2"):
        results.records(tmp_path, "hw3")
    results.keep(tmp_path, grading.record("emmy", Entry(("emmy",), ()), HW2, why="no"))
    kept = json.loads((tmp_path / "records/emmy.json").read_text())
    (tmp_path / "records/emmy.json").write_text(json.dumps(kept | {"status": "graded", "graded": {"public": [], "hidden": [], "old": 1}}))
    assert "another version" in results.records(tmp_path, "hw2")["emmy"]["why"]
    results.keep(tmp_path, grading.record("emmy", Entry(("emmy",), ()), HW2, why="new"))
    assert json.loads((tmp_path / "earlier/emmy-1.json").read_text())["graded"]["old"] == 1      # and it is not lost
