"""A student's own grade.py and the grader give the same points for the same file."""

import os
import re
import subprocess
import sys

import pytest
from toy import SHORT, SOURCE as REFERENCE

from minifl.course import carve, judge

HOW_TEXT_IS_KEPT = {
    "a coding line": lambda text: ("# -*- coding: latin-1 -*-\n" + text).encode("latin-1"),
    "a Cyrillic coding line": lambda text: ("# coding: koi8-r\n" + text.replace("\xe4", "\u0436")).encode("koi8-r"),
    "a byte order mark": lambda text: text.encode("utf-8-sig"),
    "a byte order mark and another coding": lambda text: ("# coding: latin-1\n" + text).encode("utf-8-sig"),
    "UTF-8": lambda text: text.encode(),
    "UTF-8 that claims to be Latin-1": lambda text: ("# coding: latin-1\n" + text).encode(),
    "Latin-1 that does not say so": lambda text: text.encode("latin-1"),
    "an unknown coding": lambda text: ("# coding: klingon\n" + text).encode(),
    "UTF-16": lambda text: text.encode("utf-16"),
    "Windows' lines": lambda text: text.replace("\n", "\r\n").encode(),
    "old Macintosh lines": lambda text: text.replace("\n", "\r").encode(),
    "tabs": lambda text: text.replace("    ", "\t").encode(),
    "tabs and spaces": lambda text: text.replace("    return", "\treturn", 1).encode(),
    "a form feed": lambda text: text.replace("\n\n\n", "\n\f\n\n").encode(),
    "no line's end at the end": lambda text: text.rstrip().encode(),
    "a zero byte": lambda text: text.encode() + b"\0",
}


@pytest.mark.parametrize("kept", HOW_TEXT_IS_KEPT)
def test_a_students_own_grading_and_ours_agree(assignment, tmp_path, kept):
    """Point by point, however the student's editor keeps the text of a right solution."""
    home = tmp_path / "home"
    carve.carve(assignment, home, student="", reference=True)
    text = REFERENCE.replace("import numpy as np\n", "import numpy as np\nSIGN = '\xe4'\n")
    (home / "minifl/toy.py").write_bytes(HOW_TEXT_IS_KEPT[kept](text))
    own = subprocess.run([sys.executable, "-B", "grade.py"], cwd=home, capture_output=True, encoding="utf-8", env=os.environ
                         | {"PYTHONUTF8": "1"}).stdout
    graded = judge.grade(assignment, home, limits=SHORT)
    said = re.findall(r"^  (ok|FAIL|todo) .*\[(\w+)\]$", own, re.MULTILINE)
    assert {name: word == "ok" for word, name in said} == {o.name: o.passed for o in graded.public}
    assert f"{graded.earned:.1f} of 5 points" in own.splitlines()[-1]
    assert any("cannot be imported" in note for note in graded.notes) == (graded.earned == 0)
