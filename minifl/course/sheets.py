"""The problem sheet of an assignment, minifl/course/hwN/sheet.md: what is taken out of the source, for how many points.

    # hw2: Feature norm, MV and layer norm                       title, then the hours and the goals
    ## feature norm                                              a part
    ### `minifl.layers.norm.feature_norm_backward`, 4 points     a function of it, by its qualified name
    Find dy_i/dx_j for one vector x ...                          its task, up to the next heading

A student writes the whole body of the function; after "### `minifl.data.partition.assign` from `by_class` on" what comes
from the statement that begins so on.
"""

import re
from typing import NamedTuple

from minifl.errors import InputError

HEAD = re.compile(r"# (\w+): (.+)\n\nExpected time: (.+) hours\.")
FUNCTION = re.compile(r"`([\w.]+)`(?: from `(.+)` on)?, (\d+) points?$")


class Task(NamedTuple):
    """A function that is a student's to write."""
    assignment: str
    part: str
    points: int
    function: str    # its qualified name, "minifl.models.resnet.ResNet._block_backward"
    begin: str       # how the first statement begins that is taken out; "": all of the body is
    text: str        # the task; "" where the docstring says it all


class Sheet(NamedTuple):
    """A problem sheet."""
    title: str
    hours: str       # expected time, such as "4 to 6"
    head: str        # the Markdown before the first part: title, hours, goals
    tasks: tuple     # Tasks


def parse(text: str, file: str) -> Sheet:
    """The Sheet of a Markdown text. Raises InputError, naming file and line, for one that does not read as above."""
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    begin = HEAD.match(head)
    if begin is None:
        raise InputError(f"{file}: begins with {head[:60]!r}; it has to begin with '# hw2: TITLE', an empty line, and "
                         "'Expected time: 4 to 6 hours.'")
    tasks = []
    for section in parts:
        part, *functions = re.split(r"^### ", section, flags=re.MULTILINE)
        part, _, more = part.partition("\n")
        if more.strip() or not functions:
            raise InputError(f"{file}: '## {part}' has to be followed by '### `minifl.layers.norm.shift`, 1 point': only "
                             "what stands under a function reaches a student.")
        for function in functions:
            line, _, task = function.partition("\n")
            found = FUNCTION.match(line)
            if found is None:
                raise InputError(f"{file}: '### {line}' has to read as '### `minifl.layers.norm.shift`, 1 point'.")
            tasks.append(Task(begin[1], part, int(found[3]), found[1], found[2] or "", task.strip("\n")))
    return Sheet(begin[2], begin[3], head, tuple(tasks))
