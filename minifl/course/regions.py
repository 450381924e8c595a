"""What is taken out of a source file, found by its syntax tree, and what of it may not reach a student.

Of a function that is a student's to write (`sheets.Task`) the body becomes a NotImplementedError, and in its docstring
everything from the line that begins with "Derivation" on becomes the task. What is not handed out, names of the module
that would give the solution away, goes whole, with the comments above it.
"""

import ast
import io
import re
import textwrap
import tokenize
from collections.abc import Sequence
from itertools import groupby

from minifl.course.sheets import Task
from minifl.errors import InputError

DERIVATION = re.compile(r'(?:^|""")\s*(?=Derivation)', re.MULTILINE)
WORD = re.compile(r"\w+|[^\w\s]")
EVERYONES = re.compile(r"^(\s*)(?:def .*:|xp = get_xp\(\w+\))$")   # lines that any function may begin with
LENGTHS = {"code": 12, "text": 14}   # so many in a row are nobody's by chance


def cut(source: str, module: str, tasks: list[Task], withheld: Sequence[str] = ()) -> str:
    """The student's text of a module: solutions of the tasks become stubs and tasks, what is withheld is left out.

    tasks, withheld  Tasks of the module, and qualified names in it
    Raises InputError, with the qualified name, for one that is not there.
    """
    lines, tree = source.splitlines(), ast.parse(source)
    edits = [(first, last, []) for first, last in _withheld(lines, tree, module, withheld)]
    for task in tasks:
        node = _function(tree, module, task)
        stub = f'raise NotImplementedError("{task.assignment}, {task.part}: {node.name} is yours to write")'
        indent = " " * (node.col_offset + 4)
        edits.append((*_body(lines, node, task), [indent + stub]))
        stated, _ = _docstring(lines, node)
        points = f"{task.points} point{'s' * (task.points != 1)}"
        head = f"Task ({task.assignment}, {task.part}, {points}){':' if task.text else '.'}"
        text = [head, *task.text.splitlines(), '"""']
        edits.append((node.body[0].lineno - 1, node.body[0].end_lineno,
                      [*stated.splitlines(), "", *(f"{indent}{line}".rstrip() for line in text)]))
    for first, last, new in sorted(edits, reverse=True):
        lines[first:last] = new
    text = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines).strip("\n"))     # no more than two empty lines in a row
    return f"{text}\n"


def solutions(source: str, module: str, tasks: list[Task], withheld: Sequence[str] = ()) -> set[tuple]:
    """The shingles that no student's folder may hold: of the code that is taken out, as code or in a text, and of
    derivations but for what the student's docstring, or that of the function's forward pass, has to state too."""
    lines, tree = source.splitlines(), ast.parse(source)
    students, code, derivations = named(ast.parse(cut(source, module, tasks, withheld))), set(), set()
    functions = [_function(tree, module, task) for task in tasks]
    bodies = [_body(lines, node, task) for node, task in zip(functions, tasks)]
    for first, last in (*_withheld(lines, tree, module, withheld), *bodies):
        text = "\n".join(EVERYONES.sub(rf"\g<1>everyones_{number}", line)
                         for number, line in enumerate(lines[first:last]))
        tokens, _ = _tokens(textwrap.dedent(text))
        bare = " ".join('""' if token[-1] in "\"'" else token for token in tokens)
        code |= _runs("code", tokens) | _runs("text", WORD.findall(bare))
    for node, task in zip(functions, tasks):
        name = task.function.removeprefix(f"{module}.")
        derivation = _runs("text", WORD.findall(_docstring(lines, node)[1]))
        stated = [ast.get_docstring(students[name]) or "" for name in (name, name.removesuffix("_backward"))
                  if isinstance(students.get(name), ast.FunctionDef)]
        derivations |= derivation.difference(*(_runs("text", WORD.findall(text)) for text in stated))
    return code | derivations


def left_over(source: str, students: str) -> list[str]:
    """Names that a module defines in a student's text, and that nothing else in it mentions, while the source does: what
    only solutions use."""
    def mentions(name, text):
        return len(re.findall(rf"\b{name}\b", text))

    return [name for name, node in named(ast.parse(students)).items()
            if not isinstance(node, (ast.Import, ast.ImportFrom)) and "." not in name
            and mentions(name, students) == 1 < mentions(name, source)]


def defined(source: str) -> dict[str, ast.stmt]:
    """name -> statement of the functions of a module and of its classes; "docstring" is that of the module."""
    tree = ast.parse(source)
    begin = {"docstring": tree.body[0]} if ast.get_docstring(tree) is not None else {}
    return begin | {name: node for name, node in named(tree).items() if isinstance(node, ast.FunctionDef)}


def replaced(source: str, new: dict[str, str]) -> str:
    """A module's text with other functions: name -> text, names as in `defined`. ValueError for one that is not there."""
    lines, nodes = source.splitlines(), defined(source)
    if unknown := set(new) - set(nodes):
        raise ValueError(f"there is no {', '.join(sorted(unknown))} to replace; there are {', '.join(nodes)}")
    for name in sorted(new, key=lambda name: nodes[name].lineno, reverse=True):
        first = min([nodes[name].lineno, *(each.lineno for each in getattr(nodes[name], "decorator_list", ()))])
        lines[first - 1:nodes[name].end_lineno] = new[name].splitlines()
    return "\n".join(lines) + "\n"


def shingles(text: str, python: bool = True) -> set[tuple]:
    """Every run of words and signs of a text, however it is laid out: of Python the tokens of its code, and the words and
    signs of its docstrings and comments."""
    if not python:
        return _runs("code", WORD.findall(text)) | _runs("text", WORD.findall(text))
    code, texts = _tokens(text)
    return _runs("code", code).union(*(_runs("text", WORD.findall(text.strip("\"'#"))) for text in texts))


def _tokens(text):
    """(tokens of the code, with "" for each docstring; strings and comments) of Python code."""
    layout = {tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT, tokenize.ENDMARKER}
    tokens = [t for t in tokenize.generate_tokens(io.StringIO(text).readline) if t.type not in layout]
    code = ['""' if t.string.startswith('"""') else t.string for t in tokens if t.type != tokenize.COMMENT]
    return code, [t.string for t in tokens if t.type in (tokenize.STRING, tokenize.COMMENT)]


def _runs(kind, words):
    length = LENGTHS[kind]
    return {(kind, *words[i:i + length]) for i in range(len(words) - length + 1)}


def named(tree: ast.Module) -> dict[str, ast.stmt]:
    """name -> statement that defines it, of a module and its classes: "EPS", "feature_norm", "ResNet._block"."""
    found = {}

    def walk(body, prefix):
        for node in body:
            if isinstance(node, (ast.FunctionDef, ast.ClassDef)):
                names = [node.name]
            elif isinstance(node, (ast.Import, ast.ImportFrom)):
                names = [alias.asname or alias.name for alias in node.names]
            else:
                targets = getattr(node, "targets", [getattr(node, "target", ast.Pass())])
                names = [name.id for target in targets for name in ast.walk(target)
                         if isinstance(name, ast.Name) and isinstance(name.ctx, ast.Store)]
            found.update((f"{prefix}{name}", node) for name in names)
            if isinstance(node, ast.ClassDef):
                walk(node.body, f"{prefix}{node.name}.")

    walk(tree.body, "")
    return found


def _statement(tree, module, name):
    """What defines a qualified name."""
    there = named(tree)
    node = there.get(name.removeprefix(f"{module}."))
    if node is None:
        raise InputError(f"{name}: {module} defines nothing of that name (moved or renamed?); there are {', '.join(there)}.")
    return node


def _function(tree, module, task):
    """The function that is a student's to write."""
    node = _statement(tree, module, task.function)
    if not isinstance(node, ast.FunctionDef) or ast.get_docstring(node) is None or len(node.body) == 1:
        raise InputError(f"{task.function}: has to be a function with a docstring, which a student gets, and a body.")
    return node


def _body(lines, node, task):
    """(first, last): the lines from 0 of what is taken out of a function, with comments; last is the one behind."""
    begins = [at for at, statement in enumerate(node.body[1:], 1)
              if lines[statement.lineno - 1].lstrip().startswith(task.begin)]
    if task.begin and len(begins) != 1:
        raise InputError(f"{task.function}: {len(begins)} of its statements begin with {task.begin!r}, it has to be one.")
    return begin(lines, node.body[begins[0] - 1]), end(lines, node)


def _withheld(lines, tree, module, names):
    """(first, last) of the lines of what is not handed out; statements that follow each other go together."""
    nodes, before, found = [_statement(tree, module, name) for name in names], None, []
    for name, node in zip(names, nodes):
        if node not in tree.body:
            raise InputError(f"{name}: is in a class, only what stands in the module itself can be left out.")
    for taken, run in groupby(tree.body, key=lambda node: node in nodes):
        *_, last = run
        if taken:
            found.append((begin(lines, before), end(lines, last)))
        before = last
    return found


def begin(lines: list[str], before: ast.stmt | None) -> int:
    """The first line that is not empty behind a statement, or of the file: comments above a statement are its own."""
    first = end(lines, before) if before else 0
    while not lines[first].strip():
        first += 1
    return first


def end(lines: list[str], node: ast.stmt) -> int:
    """The line behind a statement and the indented comments at its end."""
    last: int = node.end_lineno or node.lineno
    for number in range(last, len(lines)):
        if lines[number].startswith(" " * (node.col_offset + 1)):
            last = number + 1
        elif lines[number].strip():
            break
    return last


def _docstring(lines, node):
    """(what a function's docstring states, its derivation); the lines of the source without the quotes at the end."""
    text = "\n".join(lines[node.body[0].lineno - 1:node.body[0].end_lineno]).rstrip().removesuffix('"""')
    found = DERIVATION.search(text)
    at = found.end() if found else len(text)
    return text[:at].rstrip(), text[at:]
