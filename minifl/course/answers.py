"""Questions that are answered in prose and marked by hand: the form that a student fills in, and what is read from it.

A carved folder has answers.md: a heading and the question, quoted, for each of the sheet's Questions, with room below.

    ## what is lost, 2 points
    > Which vectors does J map to 0, and why?
    (the student's words)

What a full answer contains stands in minifl/course/hwN/answers_key.md under "## NAME", and is handed out to nobody.
"""

import re

from minifl.course import assignments
from minifl.course.assignments import Assignment
from minifl.course.sheets import Question
from minifl.errors import InputError

FILE, KEY = "answers.md", "answers_key.md"
ROOM = "(your answer)"
HELP = Question("help", 0, "Who and what helped you with this assignment, programs that write code or text included?")
HEAD = """# {name}: answers

Answer below each question, in your own words: 3 to 6 sentences, or a few lines of derivation. Formulas may be typed
as in the docstrings (J'dy, sum_i x_i, ||x||). Leave the headings as they are, and hand this file in with the others:
a person reads it.
"""


def form(assignment: Assignment, variant: dict) -> str:
    """The text of answers.md before anything is answered; "" for an assignment without questions."""
    questions = assignments.sheet(assignment, variant).questions
    lines = [HEAD.format(name=assignment.name)]
    for question in (*questions, HELP):
        quoted = "\n".join(f"> {line}".rstrip() for line in question.text.splitlines())
        lines.append(f"{_heading(question)}\n\n{quoted}\n\n{ROOM}\n")
    return "\n".join(lines) if questions else ""


def read(text: str, questions: tuple[Question, ...]) -> dict[str, str]:
    """name -> what was answered, for each of the Questions and HELP, "" for nothing, from the text of an answers.md.

    What stands under a heading that is none of the form's belongs to the answer before it. The question, quoted, and the
    room left for it are no answer; a quotation of the student's own, elsewhere, is.
    """
    questions = (*questions, HELP)
    found = {question.name: [] for question in questions}
    own = []     # the lines of the answer at hand; before the first heading nobody's
    headings = {_words(_heading(question)): question for question in questions}
    for line in text.lstrip("\ufeff").splitlines():
        question = headings.get(_words(line))
        if question is not None:
            own = found[question.name]
        else:
            own.append(line.rstrip())
    return {question.name: _answer(found[question.name], question) for question in questions}


def key(assignment: Assignment, variant: dict | None = None) -> dict[str, str]:
    """name -> what a full answer contains, of the variant, by default as published; {} for an assignment without questions.
    InputError unless it has the sheet's questions, in their order."""
    names = [question.name for question in assignments.sheet(assignment, variant).questions]
    if not names:
        return {}
    file = f"minifl/course/{assignment.name}/{KEY}"
    sections = re.split(r"^## ", assignments.source(assignment, variant or {}, file), flags=re.MULTILINE)[1:]
    found = {name.strip(): words.strip() for name, words in (section.split("\n", 1) for section in sections)}
    if list(found) != names or not all(found.values()):
        raise InputError(f"{file}: has answers to {', '.join(found) or 'nothing'}; the sheet asks for {', '.join(names)}.")
    return found


def _heading(question):
    return f"## {question.name}" + f", {question.points} point{'s' * (question.points != 1)}" * (question.points > 0)


def _answer(lines, question):
    """What of the lines under a heading is an answer."""
    quoted = [f"> {line}".rstrip() for line in question.text.splitlines()]
    rest = [line for line in lines if line.strip() != ROOM]
    while rest and not rest[0]:
        rest.pop(0)
    while rest and quoted and rest[0].strip() == quoted[0]:
        rest.pop(0)
        quoted.pop(0)
    return "\n".join(rest).strip("\n")


def _words(line):
    """A line as it is compared: editors change blanks and case."""
    return " ".join(line.split()).casefold()
