"""What a student reads first: README.md of the assignment, and READER.md, which is the same for all.

README.md is the head of the problem sheet, files, variant, points, then working.md (installing, handing in, grading), and
the rules of working together: policy.md, or an instructor's own.
"""

from pathlib import Path

from minifl.course import answers, assignments, running
from minifl.course.assignments import Assignment

READER, WORKING, POLICY = ((Path(__file__).parent / name).read_text(encoding="utf-8")
                           for name in ("reader.md", "working.md", "policy.md"))


def readme(assignment: Assignment, variant: dict, policy: str = POLICY) -> str:
    """The text of README.md."""
    tests = [test for test in running.tests_in(assignments.tests(assignment, variant)) if test.points]
    parts, sheet = assignments.parts(assignment), assignments.sheet(assignment, variant)
    choices = [choices[-1].what for choices in assignments.chosen(assignment, variant).values()]
    lines = [sheet.head.rstrip(), "", "## Your files", "",
             "Write what raises NotImplementedError; the docstrings say what each function takes and returns, and hold "
             "the tasks. You hand in these files:", "",
             *(f"- `{file}`" for file in assignment.files),
             *([f"- `{answers.FILE}`, with your answers to its questions in prose"] if sheet.questions else []), "",
             "Helpers of your own go into the same files.", ""]
    if any(choices):
        lines += ["## Your variant", "", "Published solutions may differ from what you are asked for. For you:", "",
                  *(f"- {choice}" for choice in choices if choice), ""]
    lines += ["## Points", "", "| part | points | public tests |", "|---|---|---|"]
    for part, points in parts.items():
        lines.append(f"| {part} | {points} | {', '.join(f'`{t.__name__}`' for t in tests if t.part == part)} |")
    if sheet.questions:
        by_hand = sum(question.points for question in sheet.questions)
        lines.append(f"| questions in `{answers.FILE}` | {by_hand} | none: marked by hand |")
    working = WORKING.format(part=next(iter(parts)), test=tests[0].__name__, answers=answers.FILE)
    return "\n".join([*lines, "", working.rstrip(), "", policy.rstrip(), ""])
