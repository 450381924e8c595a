"""What an assignment is: its files, its variants, and its source texts as a student's variant has them.

Each is a folder minifl/course/hwN with assignment.py (ASSIGNMENT, never handed out) and tests.py (handed out).
A variant changes the mathematics: where eps sits, the scale, the axes, the position. It is a list of replacements in the
source, which apply to solution, docstring and task alike, so its reference is made and checked like the published one.
"""

import hashlib
from importlib import import_module
from itertools import product
from pathlib import Path
from typing import NamedTuple

import minifl
from minifl.course.regions import regions
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
    title: str
    goals: tuple         # what a student can do afterwards, sentences
    hours: str           # expected time, such as "4 to 6"
    files: tuple         # the files with its regions, which a student edits and hands in
    given: tuple         # the files that are handed out besides: an allowlist
    choices: dict        # axis -> {value: Choice}
    mistakes: tuple = ()


def load(name):
    """The Assignment of that name. Raises InputError for an unknown one."""
    if name not in NAMES:
        raise InputError(f"assignment {name!r} is unknown; valid are {', '.join(NAMES)}.")
    return import_module(f"minifl.course.{name}.assignment").ASSIGNMENT


def tests(name):
    """The module of an assignment's public tests."""
    return import_module(f"minifl.course.{name}.tests")


def variant_of(assignment, student):
    """axis -> value for a student, a fixed function of the id; the published one for the empty id."""
    return {axis: list(values)[_number(assignment.name, student, axis) % len(values) if student else 0]
            for axis, values in assignment.choices.items()}


def parse_variant(assignment, text):
    """axis -> value from "eps=root,scale=one"; axes that are left out are as published. InputError if unknown."""
    variant = variant_of(assignment, "")
    for item in filter(None, text.split(",")):
        axis, _, value = item.partition("=")
        if value not in assignment.choices.get(axis, {}):
            valid = "; ".join(f"{axis}={'|'.join(values)}" for axis, values in assignment.choices.items())
            raise InputError(f"--variant {item!r} is unknown for {assignment.name}; valid are {valid}.")
        variant[axis] = value
    return variant


def variants(assignment):
    """All of them, the published one first."""
    axes = assignment.choices
    return [dict(zip(axes, values)) for values in product(*axes.values())]


def source(assignment, variant, file):
    """A file's text, with marks and solutions, as the variant has it. ValueError if a replacement does not fit once."""
    text = (ROOT / file).read_text(encoding="utf-8")
    for axis, value in variant.items():
        for patch in assignment.choices[axis][value].patches:
            if patch.file == file:
                if text.count(patch.old) != 1:
                    raise ValueError(f"{assignment.name}, {axis}={value}: {patch.old!r} occurs {text.count(patch.old)} "
                                     f"times in {file}, it has to occur once")
                text = text.replace(patch.old, patch.new)
    return text


def parts(assignment):
    """part -> points, in the order of the source."""
    points = {}
    for file in assignment.files:
        for region in regions((ROOT / file).read_text(encoding="utf-8")):
            if region.assignment == assignment.name and region.part:
                points[region.part] = points.get(region.part, 0) + region.points
    return points


def _number(*words):
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:4], "big")
