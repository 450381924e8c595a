"""The toy assignment in a repository of its own, and the grader on submissions to it."""

import sys
from pathlib import Path

import pytest

from minifl.course import judge

sys.path.insert(0, str(Path(__file__).resolve().parent))

import toy


@pytest.fixture
def assignment(monkeypatch, tmp_path):
    return toy.install(monkeypatch, tmp_path / "repository")


@pytest.fixture
def grade(assignment, tmp_path):
    """text of the submitted file -> Graded."""
    def graded(text, **options):
        toy.write(tmp_path / "submission/minifl/toy.py", text)
        return judge.grade(assignment, tmp_path / "submission", **{"student": "", "limits": toy.SHORT} | options)
    return graded
