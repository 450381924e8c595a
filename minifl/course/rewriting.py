"""Whole functions, written out, in the place of published ones: for private variants."""

import textwrap

from minifl.course.assignments import ROOT, Patch
from minifl.course.regions import defined


def rewritten(file: str, text: str, of: str = "") -> tuple[Patch, ...]:
    """A Patch for each function in `text` that `file` has, too, and for its docstring, if `text` begins with one.

    What else stands in `text` goes with the function below it, at the end with the one above.
    of       the class whose methods these are
    Raises ValueError if there is nothing to replace.
    """
    published, own = defined((ROOT / file).read_text(encoding="utf-8")), textwrap.dedent(text).strip("\n").splitlines()
    found = [(name, node.end_lineno) for name, node in defined("\n".join(own)).items()
             if (f"{of}.{name}" if of else name) in published and "." not in name]
    if not found:
        raise ValueError(f"{file}: nothing of {', '.join(published)} is in {text[:80]!r}")
    begins, ends = [0, *(end for _, end in found[:-1])], [*(end for _, end in found[:-1]), len(own)]
    texts = ["\n".join(own[begin:end]).strip("\n") for begin, end in zip(begins, ends)]
    return tuple(Patch(file, f"{of}.{name}" if of else name, textwrap.indent(new, "    " if of else ""), whole=True)
                 for (name, _), new in zip(found, texts))
