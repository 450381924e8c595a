"""What a folder hands out of other assignments: files with functions that these ask for, unless `carve --keep-back`."""

import ast
import re

from minifl.course import assignments, regions
from minifl.course.assignments import Assignment
from minifl.course.sheets import Task

YOURS = re.compile(r'raise NotImplementedError\("(\w+), [^"]*: (\w+) is yours to write"\)')


def handed_out(assignment: Assignment) -> dict[str, dict[str, list[Task]]]:
    """other assignment -> file -> the Tasks in it, of the files that are given; those of a layer in its fast form, too."""
    found = {}
    for name in assignments.NAMES:
        other = assignments.load(name)
        for file in other.files if name != assignment.name else ():
            tasks = assignments.tasks(other, assignments.variant_of(other, ""), file)
            for given in dict.fromkeys((file, file.replace("minifl/layers/", "minifl/fast/"))):
                if given in assignment.given:
                    here = regions.defined(assignments.source(assignment, {}, given))
                    named = [(task.function.rpartition(".")[2], task) for task in tasks]
                    found.setdefault(name, {})[given] = [
                        task._replace(function=f"{assignments.module(given)}.{own}") for own, task in named if own in here]
    return found


def kept_back(assignment: Assignment, variant: dict, file: str) -> str:
    """A given file without what other assignments ask for: their functions, and those that are left out there, raise
    NotImplementedError, which says so."""
    text = assignments.source(assignment, variant, file)
    for name, files in handed_out(assignment).items():
        if file in files:
            withheld = [function for function in assignments.load(name).withheld if _can_be_cut(text, function, file)]
            tasks = [task._replace(begin="", text="") for task in files[file]]
            tasks += [Task(name, tasks[0].part, 0, function, "", "") for function in withheld]
            text = regions.cut(text, assignments.module(file), tasks)
            text = re.sub(rf"\n *Task \({name}, .*, \d+ points?\)\.\n", "\n", text)
    said = r'raise NotImplementedError("\2 is kept back: put your own of \1 here, or wait until it is released")'
    return YOURS.sub(said, text)


def warning(assignment: Assignment) -> str:
    """What an instructor should know before handing it out; "" if there is nothing."""
    found = handed_out(assignment)
    of = ", ".join(f"{name} ({', '.join(files)})" for name, files in found.items())
    return f"{assignment.name} hands out published solutions of {of}: --keep-back leaves them out" if of else ""


def _can_be_cut(text, function, file):
    node = regions.defined(text).get(function.removeprefix(f"{assignments.module(file)}."))
    return isinstance(node, ast.FunctionDef) and ast.get_docstring(node) is not None and len(node.body) > 1
