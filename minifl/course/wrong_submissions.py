"""Wrong submissions that have to lose the points of their part and no others: the registry's mutants of the gradient checks,
and an assignment's own mistakes."""

import ast
import inspect
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from minifl.course import assignments
from minifl.gradcheck.mutants import MUTANTS

# The reference keeps a namespace of its own: where it calls the function that the mutant replaces, it calls the right one.
APART = '''
import importlib
import types

_right = {{"__name__": __name__, "__file__": __file__}}
exec(compile({reference!r}, __file__, "exec"), _right)
globals().update({{name: value for name, value in _right.items() if not name.startswith("__")}})
_wrong = {{"get_xp": importlib.import_module("minifl.backend").get_xp, {module!r}: types.SimpleNamespace(**_right)}}
for _name in {others!r}:
    _wrong[_name] = importlib.import_module(f"minifl.layers.{{_name}}")
exec(compile({wrong!r}, __file__, "exec"), _wrong)
{function} = _wrong[{name!r}]
'''
# A method is replaced where it stands.
IN_PLACE = '''{reference}

import sys as _sys
{module} = _sys.modules[__name__]
{wrong}
{function} = {name}
'''


class Wrong(NamedTuple):
    """A wrong submission: the text of one file; the others are the reference's."""
    part: str
    what: str
    file: str
    text: str


def wrong_submissions(assignment: assignments.Assignment) -> Iterator[Wrong]:
    """All of an assignment, for the published variant. ValueError for a mistake that does not fit once."""
    variant = assignments.variant_of(assignment, "")
    for file in assignment.files:
        reference = assignments.source(assignment, variant, file)
        for task in assignments.tasks(assignment, variant, file):
            function = task.function.removeprefix(f"{assignments.module(file)}.")
            for mutant in MUTANTS:
                if function == _replaced(mutant):
                    yield Wrong(task.part, f"{function}: {mutant.mistake}", file, _text(reference, file, function, mutant))
    mistakes = list(mistakes_of(assignment, variant))
    for mistake in assignment.mistakes:
        if mistake.what not in [wrong.what for wrong in mistakes]:
            raise ValueError(f"{assignment.name}, mistake {mistake.what!r}: {mistake.old!r} has to occur once in "
                             f"{mistake.file}")
    yield from mistakes


def mistakes_of(assignment: assignments.Assignment, variant: dict) -> Iterator[Wrong]:
    """The assignment's own mistakes, as far as their texts occur once in the variant."""
    for mistake in assignment.mistakes:
        reference = assignments.source(assignment, variant, mistake.file)
        if reference.count(mistake.old) == 1:
            yield Wrong(mistake.part, mistake.what, mistake.file, reference.replace(mistake.old, mistake.new))


def _replaced(mutant):
    """The name of the function that a mutant stands in the place of; in a network only that of a method."""
    if mutant.module is None:
        return f"{mutant.layer}_backward"
    return f"{mutant.module.__name__}.{mutant.attribute}" if inspect.isclass(mutant.module) else ""


def _text(reference, file, function, mutant):
    module, (wrong, names) = Path(file).stem, _closure(mutant.wrong)
    template = IN_PLACE if "." in function else APART
    return template.format(reference=reference, module=module, function=function, wrong=wrong,
                           name=mutant.wrong.__name__, others=sorted(names - {module, "get_xp"}))


def _closure(function):
    """(source of a function and of what it uses of its module, the modules that these import)."""
    tree = ast.parse(Path(inspect.getsourcefile(function)).read_text(encoding="utf-8"))
    for node in ast.walk(tree):         # types have names, too, which the text has no use for
        if isinstance(node, ast.arg):
            node.annotation = None
        elif isinstance(node, ast.FunctionDef):
            node.returns = None
    own, imported = {}, set()
    for node in tree.body:
        if isinstance(node, ast.FunctionDef):
            own[node.name] = node
        elif isinstance(node, ast.Assign):
            own.update((target.id, node) for target in node.targets if isinstance(target, ast.Name))
        elif isinstance(node, ast.ImportFrom):
            imported |= {alias.asname or alias.name for alias in node.names}
    needed, todo, used = [], [function.__name__], set()
    while todo:
        name = todo.pop()
        if name in own and own[name] not in needed:
            needed.append(own[name])
            names = {node.id for node in ast.walk(own[name]) if isinstance(node, ast.Name)}
            todo += sorted(names)
            used |= names & imported
    return "\n\n".join(ast.unparse(node) for node in sorted(needed, key=lambda node: node.lineno)), used
