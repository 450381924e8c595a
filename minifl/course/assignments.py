"""What an assignment is: its files, its variants, and its source texts as a student's variant has them.

Each is a folder minifl/course/hwN with sheet.md (what is taken out of the source, for how many points, and the tasks),
assignment.py (ASSIGNMENT: from which files, what is given, the variants; never handed out) and tests.py (handed out).
A variant changes the mathematics: where eps sits, the scale, the axes, the position. It is a list of replacements in source
and sheet, which apply to solution, docstring and task alike, so its reference is made and checked like the published one.
"""

import hashlib
from importlib import import_module
from itertools import product
from pathlib import Path
from types import ModuleType
from typing import NamedTuple

import minifl
from minifl.course import regions, sheets
from minifl.errors import InputError

ROOT = Path(minifl.__file__).resolve().parent.parent
NAMES = ("hw1", "hw2", "hw3", "hw4", "hw5", "hw6")


class Patch(NamedTuple):
    """In `file`, relative to the repository, the text `old`, which occurs exactly once, becomes `new`."""
    file: str
    old: str
    new: str


class Choice(NamedTuple):
    """One value on an axis of the variants; the first of each axis is as published and has no patches."""
    what: str            # for the student's README: what holds for them
    patches: tuple = ()


class Mistake(NamedTuple):
    """A wrong submission of one part, as a replacement in the reference of the published variant."""
    part: str
    what: str            # the mistake, in a sentence
    file: str
    old: str
    new: str


class Assignment(NamedTuple):
    """One assignment."""
    name: str
    files: tuple         # the files with its functions, which a student edits and hands in
    given: tuple         # the files that are handed out besides: an allowlist
    choices: dict        # axis -> {value: Choice}
    mistakes: tuple = ()
    withheld: tuple = ()   # qualified names of what is left out of the files: it would give a solution away
    patches: tuple = ()    # of every variant


def load(name: str) -> Assignment:
    """The Assignment of that name. Raises InputError for an unknown one."""
    if name not in NAMES:
        raise InputError(f"assignment {name!r} is unknown; valid are {', '.join(NAMES)}.")
    return import_module(f"minifl.course.{name}.assignment").ASSIGNMENT


def tests(name: str) -> ModuleType:
    """The module of an assignment's public tests."""
    return import_module(f"minifl.course.{name}.tests")


def variant_of(assignment: Assignment, student: str) -> dict[str, str]:
    """axis -> value for a student, a fixed function of the id; the published one for the empty id."""
    return {axis: list(values)[_number(assignment.name, student, axis) % len(values) if student else 0]
            for axis, values in assignment.choices.items()}


def parse_variant(assignment: Assignment, text: str) -> dict[str, str]:
    """axis -> value from "eps=root,scale=one"; axes that are left out are as published. InputError if unknown."""
    variant = variant_of(assignment, "")
    for item in filter(None, text.split(",")):
        axis, _, value = item.partition("=")
        if value not in assignment.choices.get(axis, {}):
            valid = "; ".join(f"{axis}={'|'.join(values)}" for axis, values in assignment.choices.items())
            raise InputError(f"--variant {item!r} is unknown for {assignment.name}; valid are {valid}.")
        variant[axis] = value
    return variant


def variants(assignment: Assignment) -> list[dict[str, str]]:
    """All of them, the published one first."""
    axes = assignment.choices
    return [dict(zip(axes, values)) for values in product(*axes.values())]


def source(assignment: Assignment, variant: dict, file: str) -> str:
    """A file's text, with solutions, as the variant has it. InputError if it is not there, ValueError if a replacement does
    not fit once."""
    try:
        text = (ROOT / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{assignment.name}: {file} is not in the package (moved or renamed?).") from None
    chosen = {f"{axis}={value}": assignment.choices[axis][value].patches for axis, value in variant.items()}
    for where, patches in ({"every variant": assignment.patches} | chosen).items():
        for patch in patches:
            if patch.file == file:
                if text.count(patch.old) != 1:
                    raise ValueError(f"{assignment.name}, {where}: {patch.old!r} occurs {text.count(patch.old)} "
                                     f"times in {file}, it has to occur once")
                text = text.replace(patch.old, patch.new)
    return text


def sheet(assignment: Assignment, variant: dict | None = None) -> sheets.Sheet:
    """The Sheet as the variant has it, by default as published. InputError for a name that is in none of the files."""
    at = f"minifl/course/{assignment.name}/sheet.md"
    found = sheets.parse(source(assignment, variant or {}, at), at)
    for name in (*(task.function for task in found.tasks), *assignment.withheld):
        if not any(_of(name, file) for file in assignment.files):
            raise InputError(f"{name}: is in none of the files of {assignment.name}: {', '.join(assignment.files)}.")
    return found


def tasks(assignment: Assignment, variant: dict, file: str) -> list[sheets.Task]:
    """The Tasks of a file."""
    return [task for task in sheet(assignment, variant).tasks if _of(task.function, file)]


def students(assignment: Assignment, variant: dict, file: str) -> str:
    """A file's text as it is handed out: stubs with tasks. InputError, with its name, for a function that is not there."""
    return regions.cut(*_taken(assignment, variant, file))


def solutions(assignment: Assignment, variant: dict, file: str) -> set[tuple]:
    """What of a file may not reach a student, see `regions.solutions`."""
    return regions.solutions(*_taken(assignment, variant, file))


def parts(assignment: Assignment) -> dict[str, int]:
    """part -> points, in the order of the sheet."""
    points = {}
    for task in sheet(assignment).tasks:
        points[task.part] = points.get(task.part, 0) + task.points
    return points


def module(file: str) -> str:
    """A file's name as a module."""
    return file.removesuffix(".py").replace("/", ".")


def _taken(assignment, variant, file):
    withheld = [name for name in assignment.withheld if _of(name, file)]
    return source(assignment, variant, file), module(file), tasks(assignment, variant, file), withheld


def _of(name, file):
    """Whether a qualified name is one of the file's."""
    return name.startswith(f"{module(file)}.")


def _number(*words):
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:4], "big")
