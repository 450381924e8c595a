"""Patches that put whole functions, written out, in the place of published ones: for private variants."""

import ast
import textwrap
from functools import lru_cache

from minifl.course.assignments import ROOT, Patch


def rewritten(file: str, text: str, of: str = "") -> tuple[Patch, ...]:
    """A Patch for each function in `text` that `file` has, too, and for its docstring, if `text` begins with one.

    What else stands in `text` goes with the function below it, at the end with the one above.
    of       the class whose methods these are
    Raises ValueError if there is nothing to replace.
    """
    source, own = (ROOT / file).read_text(encoding="utf-8"), textwrap.dedent(text).strip("\n").splitlines()
    lines, published = source.splitlines(), _published(source, of)
    found = [node for node in ast.parse("\n".join(own)).body if _name(node) in published]
    if not found:
        raise ValueError(f"{file}: nothing of {', '.join(published)} is in {text[:80]!r}")
    begins, ends = [0, *(node.end_lineno for node in found[:-1])], [*(node.end_lineno for node in found[:-1]), len(own)]
    patches = []
    for node, begin, end in zip(found, begins, ends):
        old, new = published[_name(node)], "\n".join(own[begin:end]).strip("\n")
        patches.append(Patch(file, "\n".join(lines[_first(old) - 1:old.end_lineno]),
                             textwrap.indent(new, "    " if of else "")))
    return tuple(patches)


@lru_cache(50)
def _published(source, of):
    """name -> node of a source's functions, or of those of a class."""
    body = ast.parse(source).body
    if of:
        body = next((node.body for node in body if isinstance(node, ast.ClassDef) and node.name == of), [])
    return {_name(node): node for node in body if _name(node)}


def _name(node):
    """Of a function its name, of a docstring "docstring", of anything else nothing."""
    if isinstance(node, ast.FunctionDef):
        return node.name
    return "docstring" if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) else None


def _first(node):
    """The first line of a statement, with its decorators."""
    return min([node.lineno, *(each.lineno for each in getattr(node, "decorator_list", ()))])
