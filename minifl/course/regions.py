"""Solutions as they are marked in the source, and how a source file becomes a student's.

    # course: hw2, feature norm, 4 points      assignment, part, points of this region
    # task: Differentiate y_i by x_j ...        what the docstring's derivation becomes, one or more lines
    v = dy.reshape(...)                         the solution
    # course: end

A region stands inside one function, one region a function. In the student's file its lines become a NotImplementedError,
and in the function's docstring everything from the line that begins with "Derivation" on becomes the task. A region

    # course: hw2, not handed out
    def rms_norm_backward(dy, cache): ...
    # course: end

is left out of the student's file: what would give the solution away. Marks never reach a student.
"""

import ast
import io
import re
import textwrap
import tokenize
from typing import NamedTuple

MARK = re.compile(r"\s*# course: (.*)$")
SOLUTION = re.compile(r"(hw\d+), (.+), (\d+) points?$")
WITHHELD = re.compile(r"(hw\d+), not handed out$")
TASK = re.compile(r"\s*# task: (.*)$")
DERIVATION = "Derivation"
WORD = re.compile(r"\w+|[^\w\s]")
EVERYONES = re.compile(r"^(\s*)(?:def .*:|xp = get_xp\(\w+\))$")   # lines that any function may begin with
LENGTHS = {"code": 12, "text": 14}   # so many in a row are nobody's by chance


class Region(NamedTuple):
    """One marked region of a source file; lines count from 0."""
    assignment: str
    part: str        # "" where it is only not handed out
    points: int
    function: str    # the function that it is in: "feature_norm", "ResNet._block_backward"; "" if not handed out
    task: str
    first: int       # the line of its opening mark
    last: int        # the line of its closing mark


def regions(source):
    """The Regions of a source text. Raises ValueError, with the line, for marks that do not fit together."""
    lines, found, opened = source.splitlines(), [], None
    for number, line in enumerate(lines):
        mark = MARK.match(line)
        if mark is None:
            continue
        if mark[1] == "end":
            if opened is None:
                raise ValueError(f"line {number + 1}: a region ends that did not begin")
            found.append(_region(source, lines, *opened, number))
            opened = None
        elif opened is not None:
            raise ValueError(f"line {number + 1}: a region begins inside that of line {opened[0] + 1}")
        else:
            kind = SOLUTION.match(mark[1]) or WITHHELD.match(mark[1])
            if kind is None:
                raise ValueError(f"line {number + 1}: {mark[1]!r} is neither 'hw2, the part, 4 points', nor 'hw2, not "
                                 "handed out', nor 'end'")
            opened = number, kind
    if opened is not None:
        raise ValueError(f"line {opened[0] + 1}: a region begins that does not end")
    return found


def cut(source, assignment):
    """The student's text: solutions of the assignment become stubs and tasks, other assignments' marks go."""
    lines = source.splitlines()
    for region in reversed(regions(source)):
        inside = lines[region.first + 1:region.last]
        if region.assignment != assignment:
            lines[region.first:region.last + 1] = [line for line in inside if not TASK.match(line)]
        elif not region.part:
            del lines[region.first:region.last + 1]
        else:
            indent = re.match(r"\s*", lines[region.first])[0]
            name = region.function.rpartition(".")[2]
            lines[region.first:region.last + 1] = [
                f'{indent}raise NotImplementedError("{assignment}, {region.part}: {name} is yours to write")']
            _set_task(lines, source, region)
    return _tidy(lines)


def stripped(source):
    """The text with its solutions and without any marks: the reference."""
    return _tidy([line for line in source.splitlines() if not MARK.match(line) and not TASK.match(line)])


def solutions(source, assignment):
    """The shingles of an assignment that no student's folder may hold: of its regions' code, as code or in a text, and
    of derivations but for what the student's docstring, or that of the function's forward pass, has to state too."""
    lines, students, code, derivations = source.splitlines(), _docstrings(cut(source, assignment)), set(), set()
    for region in regions(source):
        if region.assignment == assignment:
            text = "\n".join(EVERYONES.sub(rf"\g<1>everyones_{number}", line) for number, line in enumerate(
                lines[region.first + 1:region.last]) if not TASK.match(line))
            tokens, _ = _tokens(textwrap.dedent(text))
            bare = " ".join('""' if token[-1] in "\"'" else token for token in tokens)
            code |= _runs("code", tokens) | _runs("text", WORD.findall(bare))
            if region.part:
                derivation = _runs("text", WORD.findall("\n".join(_derivation(lines, source, region)[2])))
                names = region.function, region.function.removesuffix("_backward")
                stated = [students.get(name, "") for name in names]
                derivations |= derivation.difference(*(_runs("text", WORD.findall(text)) for text in stated))
    return code | derivations


def shingles(text, python=True):
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


def _docstrings(source):
    """Qualified name -> docstring of every function."""
    found = {}

    def walk(node, prefix):
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                if isinstance(child, ast.FunctionDef):
                    found[f"{prefix}{child.name}"] = ast.get_docstring(child) or ""
                walk(child, f"{prefix}{child.name}.")

    walk(ast.parse(source), "")
    return found


def _region(source, lines, first, kind, last):
    if kind.re is WITHHELD:
        return Region(kind[1], "", 0, "", "", first, last)
    tasks = [TASK.match(line)[1] for line in lines[first + 1:last] if TASK.match(line)]
    name, _ = _enclosing(source, first)
    return Region(kind[1], kind[2], int(kind[3]), name, "\n".join(tasks), first, last)


def _enclosing(source, line):
    """(qualified name, node) of the innermost function around a line (from 0)."""
    best = None

    def walk(node, prefix):
        nonlocal best
        for child in ast.iter_child_nodes(node):
            if isinstance(child, (ast.FunctionDef, ast.ClassDef)):
                name = f"{prefix}{child.name}"
                if child.lineno - 1 <= line < child.end_lineno and isinstance(child, ast.FunctionDef):
                    best = name, child
                walk(child, f"{name}.")

    walk(ast.parse(source), "")
    if best is None:
        raise ValueError(f"line {line + 1}: a solution stands outside of any function")
    return best


def _derivation(lines, source, region):
    """(first, last, lines) of the docstring's part from "Derivation" on; first is None without a docstring, and
    without a derivation the part is empty and lies at the docstring's end."""
    _, node = _enclosing(source, region.first)
    if ast.get_docstring(node) is None:
        return None, None, []
    begin, end = node.body[0].lineno - 1, node.body[0].end_lineno - 1
    for number in range(begin, end + 1):
        if lines[number].strip().removeprefix('"""').startswith(DERIVATION):
            text = lines[number:end + 1]
            return number, end, [*text[:-1], text[-1].replace('"""', "")]
    return end, end, []


def _set_task(lines, source, region):
    """Put the task in the place of the derivation; lines are those of source but for what comes after the docstring."""
    first, last, derivation = _derivation(lines, source, region)
    if first is None or not (derivation or region.task):
        return
    indent = " " * (_enclosing(source, region.first)[1].col_offset + 4)
    points = f"{region.points} point{'s' * (region.points != 1)}"
    task = [f"{indent}{text}".rstrip() for text in
            (f"Task ({region.assignment}, {region.part}, {points}):", *region.task.splitlines())]
    if derivation:
        lines[first:last + 1] = [*task, f'{indent}"""']
    else:
        head = lines[last].rstrip().removesuffix('"""').rstrip()
        lines[last:last + 1] = [*([head] if head.strip() else []), "", *task, f'{indent}"""']


def _tidy(lines):
    """Lines as a text; no more than two empty ones in a row, as deleted regions leave them behind."""
    text = re.sub(r"\n{4,}", "\n\n\n", "\n".join(lines).strip("\n"))
    return f"{text}\n"
