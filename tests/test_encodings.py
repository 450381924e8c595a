"""Text is UTF-8 in every locale: whatever opens a text, or reads that of another process, says so."""

import ast
import inspect
import os
import subprocess
import sys
from pathlib import Path

import pytest

import minifl

ROOT = Path(minifl.__file__).parents[1]
FILES = sorted({*(ROOT / "minifl").rglob("*.py"), *(ROOT / "data_scripts").rglob("*.py"), *(ROOT / "benchmarks").rglob("*.py"),
                *(file for file in (ROOT / "tests").rglob("*.py") if not file.name.startswith("test_"))})
NO_TEXT = {"os", "tarfile", "zipfile", "Image", "archive", "zipped", "urllib", "request", "webbrowser"}   # their open()
MODE = {"open": 1, "fdopen": 1, "NamedTemporaryFile": 0, "TemporaryFile": 0}     # which argument it is
BINARY = {"NamedTemporaryFile", "TemporaryFile"}                                 # without it
PROCESSES = {"run", "Popen", "check_output"}


def unsaid(source):
    """The lines of a source text that open a text without naming its encoding."""
    for node in ast.walk(ast.parse(source)):
        if not isinstance(node, ast.Call) or not isinstance(node.func, (ast.Name, ast.Attribute)):
            continue
        method = isinstance(node.func, ast.Attribute)
        name, owner = (node.func.attr, getattr(node.func.value, "id", "")) if method else (node.func.id, "")
        given = {keyword.arg: keyword.value for keyword in node.keywords}
        if "encoding" in given:
            continue
        if name in MODE and not (name == "open" and owner in NO_TEXT):
            place = MODE[name] - (name == "open" and method and owner not in ("io", "gzip", "bz2", "lzma"))   # Path.open(mode)
            mode = given.get("mode") or (node.args[place] if len(node.args) > place else None)
            modes = [part.value for part in ast.walk(mode) if isinstance(part, ast.Constant)] if mode else []
            binary = owner in ("gzip", "bz2", "lzma") or name in BINARY
            if not (all("b" in mode for mode in modes if isinstance(mode, str)) if any(
                    isinstance(mode, str) for mode in modes) else binary):
                yield node.lineno
        elif name in ("read_text", "write_text", "TextIOWrapper"):
            yield node.lineno
        elif name in PROCESSES and {"text", "universal_newlines"} & given.keys():
            yield node.lineno


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(ROOT)))
def test_every_text_names_its_encoding(file):
    lines = list(unsaid(file.read_text(encoding="utf-8")))
    assert lines == [], f"{file}, lines {lines}: encoding is missing"


def test_what_is_found():
    source = inspect.cleandoc("""
        open(a); open(a, "w"); open(a, mode="r+"); path.open(); path.open("a"); io.open(a)
        os.fdopen(3, "r"); gzip.open(a, "rt"); NamedTemporaryFile("w"); path.read_text(); path.write_text(t); path.read_text(errors="x")
        subprocess.run(c, text=True); Popen(c, universal_newlines=True); TextIOWrapper(f)
        open(a, "rb"); path.open("rb"); os.open(a, 0); gzip.open(a); gzip.open(a, "rb"); tempfile.TemporaryFile(); Image.open(a)
        open(a, "ab" if b else "wb"); open(a, encoding="utf-8"); path.read_text(encoding="utf-8"); subprocess.run(c); zipped.open(m)
        subprocess.run(c, encoding="utf-8"); tarfile.open(a); path.read_bytes()""")
    found = list(unsaid(source))
    assert sorted(found) == [1] * 6 + [2] * 6 + [3] * 3


@pytest.mark.parametrize("arguments", [("list",), ("solve", "hw3", "--out", "new", "--student", "Ärger"),
                                       ("grade", "solved", "--assignment", "hw3", "--student", "Ärger"),
                                       ("bundle", "hw3", "--out", "new.zip")], ids=lambda arguments: arguments[0])
def test_the_course_in_a_locale_without_our_letters(tmp_path, arguments):
    """What is read and written is the same as in a UTF-8 locale; output may show other signs."""
    from minifl.course import assignments, carve
    carve.carve(assignments.load("hw3"), tmp_path / "solved", student="Ärger", reference=True)
    done = subprocess.run([sys.executable, "-B", "-m", "minifl", "course", *arguments], cwd=tmp_path, capture_output=True, env={
        **os.environ, "PYTHONPATH": str(ROOT), "LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0"})
    assert done.returncode == 0, done.stderr.decode(errors="replace")
    if arguments[0] == "solve":
        for file in (tmp_path / "solved").rglob("*"):
            assert file.is_dir() or file.read_bytes() == (tmp_path / "new" / file.relative_to(tmp_path / "solved")).read_bytes()
    if arguments[0] == "grade":
        assert b"Mark: 24.0 of 24" in done.stdout
