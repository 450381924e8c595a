"""What an assignment is: its files, its variants, and its source texts as a student's variant has them.

Each is a folder minifl/course/hwN with sheet.md (what is taken out of the source, for how many points, and the tasks),
assignment.py (ASSIGNMENT: from which files, what is given, the variants; never handed out) and tests.py (handed out).
A variant changes the mathematics: where eps sits, the scale, the axes, the position. It is a list of replacements in source
and sheet, which apply to solution, docstring and task alike, so its reference is made and checked like the published one.
Whoever reads the repository has all published variants' solutions; those of an instructor's private file are drawn from it
(private.py).
"""

import builtins
import hashlib
from collections.abc import Callable
from importlib import import_module
from itertools import product
from math import prod
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import NamedTuple

import minifl
from minifl.course import private as private_files
from minifl.course import regions, sheets
from minifl.errors import InputError

ROOT = Path(minifl.__file__).resolve().parent.parent
NAMES = ("hw1", "hw2", "hw3", "hw4", "hw5", "hw6")
PRIVATE = "private"    # in the variants of a private file: for which the choices are that file's


class Patch(NamedTuple):
    """In `file`, relative to the repository, the text `old`, which occurs exactly once, becomes `new`."""
    file: str
    old: str
    new: str
    whole: bool = False     # old is the name of a function, which is replaced whole, when all else is done; see rewriting.py


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
    choices: dict        # axis -> {value: Choice}, the published ones
    mistakes: tuple = ()
    withheld: tuple = ()   # qualified names of what is left out of the files: it would give a solution away
    patches: tuple = ()    # of every variant
    private: str = ""               # the instructor's private file
    salt: str = ""                  # its SALT
    draw: Callable | None = None    # its function hwN, where it has one


def load(name: str, private: str | Path | None = None) -> Assignment:
    """The Assignment of that name; its variants are drawn by the private file, where one is given. Raises InputError for an
    unknown one, and for a private file that is none."""
    if name not in NAMES:
        raise InputError(f"assignment {name!r} is unknown; valid are {', '.join(NAMES)}.")
    assignment = import_module(f"minifl.course.{name}.assignment").ASSIGNMENT
    if private is None:
        return assignment
    salt, functions = private_files.read(private, NAMES)
    return assignment._replace(private=str(private), salt=salt, draw=functions.get(name))


def variant_of(assignment: Assignment, student: str) -> dict[str, str]:
    """axis, or name of what a private file draws -> value: for a student a fixed function of the id, and of the private
    file's salt; for the empty id the published one."""
    if not student:
        return _published(assignment)
    salted = [assignment.salt] if assignment.salt else []
    return _drawn(assignment, lambda name, values: values[_number(*salted, assignment.name, student, name) % len(values)])[0]


def parse_variant(assignment: Assignment, text: str) -> dict[str, str]:
    """axis -> value from "eps=root,scale=one"; what is left out is as published, or the first of what a private file draws
    from. InputError if unknown."""
    wanted, valid = dict(item.partition("=")[::2] for item in filter(None, text.split(","))), {}

    def pick(name, values):
        valid[name] = [str(value) for value in values]
        return values[valid[name].index(wanted[name]) if wanted.get(name) in valid[name] else 0]

    variant, _ = _drawn(assignment, pick)
    for name, value in wanted.items():
        if value not in valid.get(name, ()):
            known = "; ".join(f"{name}={'|'.join(values)}" for name, values in valid.items())
            raise InputError(f"--variant {f'{name}={value}'!r} is unknown for {assignment.name}; valid are {known}.")
    return variant


def variants(assignment: Assignment) -> list[dict[str, str]]:
    """All published ones, that without patches first."""
    axes = assignment.choices
    return [dict(zip(axes, values)) for values in product(*axes.values())]


def chosen(assignment: Assignment, variant: dict) -> dict[str, list[Choice]]:
    """axis -> the Choices of a variant on it, in the order of their patches: the published one, that of the private file.
    InputError for a variant of another private file, or of one that is not given."""
    found = {axis: [assignment.choices[axis][value]] for axis, value in variant.items() if axis in assignment.choices}
    if PRIVATE in variant:
        if assignment.draw is None:
            raise InputError(f"{assignment.name}: the variant {variant} is drawn by a private file; give it as --private.")
        for axis, choice in private_files.recalled(assignment.draw, tuple(variant.items()), Choice, Patch).items():
            found.setdefault(axis, []).append(choice)
    return found


def odds(assignment: Assignment, students: int = 20) -> tuple[float, float]:
    """(how many variants there are, the probability that two students share one), as some students' draws tell: exact if
    what is drawn does not depend on what was drawn before."""
    numbers = []
    for student in map(str, range(students)):
        sizes = {}

        def pick(name, values):
            sizes[name] = len(values)
            return values[_number(student, name) % len(values)]

        _drawn(assignment, pick)
        numbers.append(prod(sizes.values()))
    return sum(numbers) / students, sum(1 / number for number in numbers) / students


def source(assignment: Assignment, variant: dict, file: str) -> str:
    """A file's text, with solutions, as the variant has it. InputError if it is not there, ValueError if a replacement does
    not fit once."""
    try:
        text = (ROOT / file).read_text(encoding="utf-8")
    except FileNotFoundError:
        raise InputError(f"{assignment.name}: {file} is not in the package (moved or renamed?).") from None
    patches = [("every variant", patch) for patch in assignment.patches]
    patches += [(f"{axis} {variant.get(axis, PRIVATE)}", patch) for axis, choices in chosen(assignment, variant).items()
                for choice in choices for patch in choice.patches]
    for where, patch in patches:
        if patch.file == file and not patch.whole:
            if text.count(patch.old) != 1:
                raise ValueError(f"{assignment.name}, {where}: {patch.old!r} occurs {text.count(patch.old)} "
                                 f"times in {file}, it has to occur once")
            text = text.replace(patch.old, patch.new)
    whole = {patch.old: patch.new for _, patch in patches if patch.file == file and patch.whole}
    return regions.replaced(text, whole) if whole else text


def tests(assignment: Assignment, variant: dict) -> ModuleType:
    """The public tests as the variant has them, and with them expected.py and drivers.py: modules of their own, which import
    each other, and which nobody else imports, so that several variants can be judged in one process."""
    here, made = f"minifl.course.{assignment.name}", {}

    def importing(name, globals_=None, locals_=None, fromlist=(), level=0):
        if level == 0 and fromlist and name.startswith(f"{here}."):
            return module_of(name)
        if level == 0 and fromlist and name == here:
            return SimpleNamespace(**{each: module_of(f"{here}.{each}") for each in fromlist})
        if level or name == here or name.startswith(f"{here}."):
            raise ImportError(f"{here}: write 'from {here}.expected import ...', so that it is the variant's")
        return builtins.__import__(name, globals_, locals_, fromlist, level)

    def module_of(name):
        if name not in made:
            made[name], file = ModuleType(name), f"{name.replace('.', '/')}.py"
            made[name].__dict__.update(__file__=str(ROOT / file), __builtins__=vars(builtins) | {"__import__": importing})
            exec(compile(source(assignment, variant, file), str(ROOT / file), "exec"), vars(made[name]))
        return made[name]

    return module_of(f"{here}.tests")


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


def _published(assignment):
    return {axis: next(iter(values)) for axis, values in assignment.choices.items()}


def _drawn(assignment, pick):
    """(variant, axis -> Choice of the private file) if pick(name, values) chooses each value that is drawn."""
    variant, drawn = _published(assignment), {}

    def draw(name, values):
        values = list(values)
        if not set(values) <= set(assignment.choices.get(name, values)):
            raise ValueError(f"{name!r} is a published axis with {list(assignment.choices[name])}; draw from these, or take "
                             "another name")
        if drawn.setdefault(name, values) != values:
            raise ValueError(f"{name!r} is drawn from {drawn[name]}, and once more from {values}; take another name")
        value = pick(name, values)
        variant[name] = str(value)
        return value

    if assignment.draw is None:
        for axis, values in assignment.choices.items():
            draw(axis, values)
        return variant, {}
    variant[PRIVATE] = "yes"
    return variant, private_files.call(assignment.draw, draw, Choice, Patch)


def _number(*words):
    return int.from_bytes(hashlib.sha256("\0".join(words).encode()).digest()[:4], "big")
