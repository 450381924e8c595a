"""Answers in prose, marked by hand: those to one question side by side, and a table for points and comments.

In a folder of results:
    answers/QUESTION.md   what a full answer has, and each student's answer; help.md: who and what helped
    marks.csv             id, question, points, of, comment, answer: points and comments are the instructor's to fill in; the
                          next call of `course grade` adds them to the marks, and students read them in their feedback

An answer that is empty has 0 points. One that changes after it was marked is to be marked again; what it had is kept as a
comment.
"""

from pathlib import Path
from typing import NamedTuple

from minifl import reading
from minifl.atomic import write
from minifl.course import answers, assignments, results, roster
from minifl.course.assignments import Assignment
from minifl.course.identity import file_name, hash_of
from minifl.errors import InputError

FILE = "marks.csv"
COLUMNS = {name: name for name in ("id", "question", "points", "of", "comment", "answer")}


class Mark(NamedTuple):
    """What one answer of a student got."""
    points: float | None    # None: not marked yet
    of: int
    comment: str


def collect(out: str | Path, assignment: Assignment, known: dict[str, dict]) -> dict[str, dict[str, Mark]]:
    """Write the answers of all records, and the table as far as it is filled in. Returns id -> {question: Mark}. InputError,
    naming the line, for a table that cannot be read; it stays as it is."""
    questions = assignments.sheet(assignment).questions
    graded = {own: record for own, record in known.items() if record["status"] == "graded"}
    if not questions or not graded:
        return {}
    path = Path(out) / FILE
    filled, found, rows = _read(path, questions) if path.exists() else {}, {}, []
    helped = [line for own, record in graded.items()
              for line in (f"## {own}", "", _shown(record.get("answers", {}).get(answers.HELP.name, "")), "")]
    write(Path(out) / "answers" / f"{answers.HELP.name}.md",
          "\n".join([f"# {answers.HELP.text}", "", *helped]).encode("utf-8", "replace"))
    for question in questions:
        text = [f"# {question.name}, {question.points} points", "", *_key(assignment, question)]
        for own, record in graded.items():
            answer = record.get("answers", {}).get(question.name, "")
            text += [f"## {own}", "", _shown(answer), ""]
            mark, said = filled.get((own, question.name), (Mark(None, question.points, ""), ""))
            is_ = hash_of(answer)
            if said not in ("", is_):
                was = "" if mark.points is None else f"{mark.points:g} points before the answer changed. "
                mark = Mark(None, question.points, f"{was}{mark.comment}")
            if not answer:
                mark = mark._replace(points=mark.points or 0.0)
            found.setdefault(own, {})[question.name] = mark
            rows.append({"id": own, "question": question.name, "points": "" if mark.points is None else mark.points,
                         "of": question.points, "comment": mark.comment, "answer": is_})
        write(Path(out) / "answers" / f"{file_name(question.name)}.md", "\n".join(text).encode("utf-8", "replace"))
    rows += [{"id": own, "question": question, "points": "" if mark.points is None else mark.points, "of": mark.of,
              "comment": mark.comment, "answer": said} for (own, question), (mark, said) in filled.items()
             if own not in graded]     # who is not there now is not forgotten
    content = results.spreadsheet(rows)
    if not path.exists() or reading.whole(path) != content:
        write(path, content)
    return found


def _shown(answer):
    """An answer, moved to the right: no line of it is a heading, another student's say."""
    return "\n".join(f"    {line}".rstrip() for line in answer.splitlines()) or "(nothing)"


def _key(assignment, question):
    wanted = answers.key(assignment, assignments.variant_of(assignment, ""))[question.name]
    return ["A full answer, to the published variant:", "", *(f"> {line}".rstrip() for line in wanted.splitlines()), ""]


def _read(path, questions):
    """(id, question) -> (Mark, hash of the answer that it is of)."""
    points, found = {question.name: question.points for question in questions}, {}
    for line, row in roster.rows(path, COLUMNS, ("id", "question", "points")):
        cells = {name: cell.removeprefix("'") if cell[1:2] in results.FORMULA else cell for name, cell in row.items()}
        name = cells.get("question", "")
        try:
            given = float(cells["points"].replace(",", ".")) if cells.get("points") else None
        except ValueError:
            given = -1.0
        if name not in points or given is not None and not 0 <= given <= points[name]:
            valid = ", ".join(f"{question} (0 to {most})" for question, most in points.items())
            raise InputError(f"{path}, line {line}: {cells.get('points')!r} points for {name!r}; questions are {valid}.")
        if (cells["id"], name) in found:
            raise InputError(f"{path}, line {line}: {cells['id']}, {name} stands there twice.")
        found[cells["id"], name] = Mark(given, points[name], cells.get("comment", "")), cells.get("answer", "")
    return found
