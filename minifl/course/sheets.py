"""The problem sheet of an assignment, minifl/course/hwN/sheet.md: what is taken out of the source, for how many points.

    # hw2: Feature norm, MV and layer norm                       title, then the hours and the goals
    ## feature norm                                              a part
    ### `minifl.layers.norm.feature_norm_backward`, 4 points     a function of it, by its qualified name
    Find dy_i/dx_j for one vector x ...                          its task, up to the next heading
    ## Questions                                                 what is answered in prose and marked by hand
    ### what is lost, 2 points                                   a question's short name
    Which vectors does J map to 0, and why?                      the question, up to the next heading

A student writes the whole body of the function; after "### `minifl.data.partition.assign` from `by_class` on" what comes
from the statement that begins so on. Points of questions are no points of a part: no test gives them.
"""

import re
from typing import NamedTuple

from minifl.errors import InputError

HEAD = re.compile(r"# (\w+): (.+)\n\nExpected time: (.+) hours\.")
FUNCTION = re.compile(r"`([\w.]+)`(?: from `(.+)` on)?, (\d+) points?$")
QUESTIONS = "Questions"
QUESTION = re.compile(r"([^`#>\n]+), (\d+) points?$")


class Task(NamedTuple):
    """A function that is a student's to write."""
    assignment: str
    part: str
    points: int
    function: str    # its qualified name, "minifl.models.resnet.ResNet._block_backward"
    begin: str       # how the first statement begins that is taken out; "": all of the body is
    text: str        # the task; "" where the docstring says it all


class Question(NamedTuple):
    """What a student answers in prose (answers.md), and a person marks."""
    name: str        # short, the answer's heading
    points: int
    text: str


class Sheet(NamedTuple):
    """A problem sheet."""
    title: str
    hours: str       # expected time, such as "4 to 6"
    head: str        # the Markdown before the first part: title, hours, goals
    tasks: tuple     # Tasks
    questions: tuple = ()    # Questions


def parse(text: str, file: str) -> Sheet:
    """The Sheet of a Markdown text. Raises InputError, naming file and line, for one that does not read as above."""
    head, *parts = re.split(r"^## ", text, flags=re.MULTILINE)
    begin = HEAD.match(head)
    if begin is None:
        raise InputError(f"{file}: begins with {head[:60]!r}; it has to begin with '# hw2: TITLE', an empty line, and "
                         "'Expected time: 4 to 6 hours.'")
    tasks, questions = [], ()
    for section in parts:
        part, *functions = re.split(r"^### ", section, flags=re.MULTILINE)
        part, _, more = part.partition("\n")
        if part.strip() == QUESTIONS:
            questions = _questions(more, functions, file)
            continue
        if more.strip() or not functions:
            raise InputError(f"{file}: '## {part}' has to be followed by '### `minifl.layers.norm.shift`, 1 point': only "
                             "what stands under a function reaches a student.")
        for function in functions:
            line, _, task = function.partition("\n")
            found = FUNCTION.match(line)
            if found is None:
                raise InputError(f"{file}: '### {line}' has to read as '### `minifl.layers.norm.shift`, 1 point'.")
            tasks.append(Task(begin[1], part, int(found[3]), found[1], found[2] or "", task.strip("\n")))
    return Sheet(begin[2], begin[3], head, tuple(tasks), questions)


def _questions(before, sections, file):
    found = []
    for section in sections:
        line, _, text = section.partition("\n")
        head = QUESTION.match(line)
        if head is None or not text.strip():
            raise InputError(f"{file}: '### {line}' under '## {QUESTIONS}' has to read as '### what is lost, 2 points', "
                             "with the question below.")
        found.append(Question(head[1], int(head[2]), text.strip("\n")))
    names = [question.name for question in found]
    if before.strip() or not found or len(set(names)) < len(names):
        raise InputError(f"{file}: '## {QUESTIONS}' has to be followed by questions, '### what is lost, 2 points', each of "
                         "another name, and by nothing else.")
    return tuple(found)
