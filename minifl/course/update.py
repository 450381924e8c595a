"""A student's folder, brought to the present version of the package: what they wrote stays, what was handed out is new.

Of an assignment's files the new text is taken, with the body of each function that the student has begun, and what they have
added to a file or class, behind the same neighbour as before. Answers in prose keep their words. What changed of what was
handed out is the package's. A copy of the whole folder, as it was, is beside it.
"""

import ast
import re
import shutil
import tempfile
from pathlib import Path
from typing import NamedTuple

from minifl import reading
from minifl.atomic import write
from minifl.course import answers, assignments, carve, readme
from minifl.course.assignments import Assignment
from minifl.course.regions import begin, end, named
from minifl.errors import InputError

STUB = "raise NotImplementedError"


class Kept(NamedTuple):
    """A new text, and what has to be said of it."""
    text: str
    said: list


def settings_of(folder: str | Path) -> dict:
    """What settings.json of a carved folder says. InputError for a folder that is none."""
    try:
        found = reading.json_file(Path(folder) / carve.SETTINGS)
        return {"version": "without a number", "handed_out": ""} | {
            key: found[key] for key in ("assignment", "student", "variant")} | {
            key: str(found[key]) for key in ("version", "handed_out", "keep_back") if key in found}
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder}: has no {carve.SETTINGS} as `course carve` writes it ({error}); give a student's folder."
                         ) from None


def update(assignment: Assignment, folder: str | Path, policy: str = readme.POLICY) -> tuple[Path | None, list[str]]:
    """Bring a student's folder to the present version. Returns (the copy of what was there, what was done), (None, []) if
    what was handed out is the same. InputError, and nothing is changed, if it cannot be done."""
    folder, before = Path(folder), settings_of(folder)
    said = []
    with tempfile.TemporaryDirectory(prefix="minifl-update-") as made:
        fresh = Path(made)
        carve.write_tree(assignment, fresh, student=before["student"], variant=before["variant"], policy=policy,
                         keep_back="keep_back" in before)
        if settings_of(fresh)["handed_out"] == before["handed_out"]:
            return None, []
        new = {}
        for path in sorted(path for path in fresh.rglob("*") if path.is_file()):
            name = path.relative_to(fresh).as_posix()
            text, old = path.read_text(encoding="utf-8"), _text(folder / name)
            if name in assignment.files and old is not None:
                text, more = kept(text, old, [task.function.removeprefix(f"{assignments.module(name)}.") for task in
                                              assignments.tasks(assignment, before["variant"], name)])
                said += [f"{name}: {line}" for line in more]
            elif name == answers.FILE and old is not None:
                text, more = _answered(assignment, before["variant"], old)
                said += [f"{name}: {line}" for line in more]
            if text != old:
                new[name] = text
    copy, number = folder.with_name(f"{folder.resolve().name}.before"), 1
    while copy.exists():
        copy, number = folder.with_name(f"{folder.resolve().name}.before-{number}"), number + 1
    try:
        shutil.copytree(folder, copy, symlinks=True)
    except (OSError, shutil.Error) as error:
        raise InputError(f"{copy}: cannot be written ({error}); nothing is changed.") from None
    for name, text in new.items():
        write(folder / name, text.encode())
    return copy, [*said, *(f"{name}: new" for name in new if name not in (*assignment.files, answers.FILE))]


def kept(new: str, old: str, functions: list[str]) -> Kept:
    """A file's new text with what a student wrote into the old one. functions: the names of those that are theirs."""
    try:
        old_tree = ast.parse(old)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        return Kept(old, [f"stays as it is: it cannot be read ({error})"])
    new_lines, old_lines, said, edits = new.split("\n"), old.split("\n"), [], []
    here, there = named(ast.parse(new)), named(old_tree)
    for name in functions:
        if isinstance(there.get(name), ast.FunctionDef):
            margin = " " * (here[name].col_offset + 4)
            theirs, ours = _body(old_lines, there[name], margin), _body(new_lines, here[name], margin)
            if _words(theirs) not in (_words(ours), STUB.split()):
                first, last = _place(new_lines, here[name])
                edits.append((first, last, theirs.split("\n")))
                said.append(f"{name} is yours, as it was")
        else:
            said.append(f"{name} was not there: it is to be written")
    _added(ast.parse(new), old_tree, new_lines, old_lines, "", edits, said)
    for name, node in here.items():
        if name in there and name not in functions and isinstance(node, ast.FunctionDef):
            if ast.dump(node) != ast.dump(there[name]):
                said.append(f"{name} is as it is handed out now; yours was another")
    edits.sort(key=lambda edit: edit[:2])
    for first, last, lines in edits[::-1]:      # of one place the last first
        new_lines[first:last] = lines
    text = "\n".join(new_lines)
    try:
        ast.parse(text)
    except SyntaxError as error:
        return Kept(old, [f"stays as it is: yours and what is new do not fit together ({error})"])
    return Kept(text, said)


def _added(new, old, new_lines, old_lines, prefix, edits, said):
    """What a student has added to a module or class, behind the statement that it followed."""
    known = {ast.dump(node) for node in new.body}
    names = {name: node for node in new.body for name in named(ast.Module([node], []))}
    behind = end(new_lines, new.body[0])
    for before, node in zip([None, *old.body], old.body):
        defined = [name for name in named(ast.Module([node], [])) if "." not in name]
        if any(name in names for name in defined) or ast.dump(node) in known:
            same = next((names[name] for name in defined if name in names), None)
            if same is not None:
                behind = end(new_lines, same)
                if isinstance(node, ast.ClassDef) and isinstance(same, ast.ClassDef):
                    _added(same, node, new_lines, old_lines, f"{node.name}.", edits, said)
            if all(name in names for name in defined):
                continue
        if before is None and isinstance(node, ast.Expr):
            continue        # the docstring
        lines = old_lines[end(old_lines, before) if before else 0:end(old_lines, node)]     # empty lines above it, too
        edits.append((behind, behind, lines))
        said.append(f"{prefix}{', '.join(defined) or f'line {node.lineno}'} is yours, as it was")


def _place(lines, node):
    """(first, last) of the lines of a function's body, behind its docstring."""
    first = node.body[0] if ast.get_docstring(node) is not None else None
    at = begin(lines, first) if first is not None and len(node.body) > 1 else node.body[0].lineno - 1
    return at, end(lines, node)


def _body(lines, node, margin):
    """The text of a function's body, without its docstring, moved to a margin."""
    if node.body[0].lineno == node.lineno:       # def f(x): return x
        return "\n".join(f"{margin}{ast.unparse(statement)}" for statement in node.body)
    first, last = _place(lines, node)
    own = re.match(r"\s*", lines[node.body[0].lineno - 1])[0]
    return "\n".join(re.sub(f"^{own}", margin, line) for line in lines[first:last])


def _words(text):
    """A body as it is compared, whatever its stub says."""
    return re.sub(r"raise NotImplementedError\([^)]*\)", STUB, text).split()


def _answered(assignment, variant, old):
    """The present form with the answers of an old one; the old one as it is where its questions were others."""
    questions, form = assignments.sheet(assignment, variant).questions, answers.form(assignment, variant)
    headings = [{line for line in text.splitlines() if line.startswith("## ")} for text in (old, form)]
    if not headings[1] <= headings[0]:
        return Kept(old, ["stays as it is; there are other questions now"])
    found, parts = answers.read(old, questions), form.split(answers.ROOM)
    own = [found[question.name] or answers.ROOM for question in questions]
    return Kept("".join(part + answer for part, answer in zip(parts, [*own, ""])), ["the answers are yours, as they were"])


def _text(path):
    """A file's text, None if it is not there or is none."""
    try:
        return reading.whole(path, 1 << 22).decode("utf-8-sig")
    except (OSError, UnicodeDecodeError):
        return None
