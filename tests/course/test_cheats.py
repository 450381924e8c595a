"""The cheats of `course check`, where layers of the sandbox are missing, as root and not; and that they are told apart."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import toy
from test_sandbox import AS_ROOT, WHOLE, weaker

from minifl.course import cheats, judge, process

BY_NAME = {cheat.name: cheat for cheat in (*cheats.QUIET, *cheats.LOUD)}


def test_there_are_thirty():
    assert len(BY_NAME) == len(cheats.QUIET) + len(cheats.LOUD) >= 30


@WHOLE
@pytest.mark.parametrize("without", [["landlock"], ["calls"], pytest.param(["user"], marks=AS_ROOT),
                                     pytest.param(["landlock", "calls", "user"], marks=AS_ROOT)], ids="+".join)
def test_no_cheat_earns_a_point_where_a_layer_is_missing(monkeypatch, assignment, tmp_path, without):
    monkeypatch.setattr(process, "FOLDER", weaker(tmp_path / "weaker", *without))
    monkeypatch.setattr(cheats, "LOUD", cheats.LOUD[:1])
    wrong = {name: what for name, what in cheats.tried(assignment) if what}
    if "calls" in without:     # who is told can be closed there: then the process ends, and says no more
        wrong = {name: what for name, what in wrong.items() if not what.startswith("nobody sees it")}
    if {"calls", "user"} <= set(without):
        wrong.pop("a thread")     # root's number of processes has no limit
    assert wrong == {}


@AS_ROOT
@WHOLE
def test_no_cheat_earns_a_point_for_who_is_not_root():
    code = ("from minifl.course import assignments, cheats\n"
            "print([name for name, what in cheats.tried(assignments.load('hw2')) if what])")
    able = ["--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"]
    done = subprocess.run(["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", *able, sys.executable, "-B", "-c", code],
                          capture_output=True, encoding="utf-8", cwd="/",
                          env={**os.environ, "PYTHONPATH": str(Path(cheats.__file__).parents[2])})
    assert done.stdout == "[]\n", done.stderr


def test_what_is_possible_is_found(monkeypatch, assignment):
    """And what is not seen, and what earns points."""
    possible, unseen = cheats.Cheat("adds", "1 + 1", "."), cheats.Cheat("hides", "raise KeyError", "the hidden numbers")
    earns = cheats.Cheat("doubles", "x = arguments[0]\nreturn x + x", ".")
    monkeypatch.setattr(cheats, "QUIET", (possible, unseen))
    monkeypatch.setattr(cheats, "LOUD", (earns,))
    found = dict(cheats.tried(assignment))
    assert found["adds"] == "was possible" and found["hides"].startswith("nobody") and found["doubles"] == "earns 2"


@pytest.mark.parametrize("name", ["a signal that has no name", "answers that no reader expects", "a protocol that does not answer"])
def test_while_it_is_imported_nothing_ends_the_grader(assignment, tmp_path, name):
    tools = cheats.TOOLS.format(names=[], hw="hw1", package="/", secret="/secret")
    code = BY_NAME[name].code.strip("\n").replace("return", "kept =")
    toy.write(tmp_path / "submission/minifl/toy.py", toy.SOURCE + tools + code)
    graded = judge.grade(assignment, tmp_path / "submission", limits=cheats.SLOW)
    assert len(graded.public) == 4 and (graded.notes or graded.earned in (0, 5))
