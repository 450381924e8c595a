"""The class: who is in it, and whose a submission is by the name that a learning platform or an instructor gave it.

A CSV file with a header, comma, semicolon or tab between the columns:

    id                the only one that has to be there; what `carve --student` was given
    name, email       as the platform has them
    aliases           further names or numbers, such as the platform's own id, with | between them
    extra days        late days beyond those of everybody

Nothing that a submission says counts: a file's or folder's name comes from the platform.
"""

import csv
import io
import re
import unicodedata
from pathlib import Path
from typing import NamedTuple
from urllib.parse import unquote

from minifl import reading
from minifl.course.identity import canonical, file_name
from minifl.errors import InputError

LARGEST, MOST = 1 << 22, 20_000     # bytes, students
COLUMNS = {"id": "id", "student": "id", "name": "name", "email": "email", "e-mail": "email", "aliases": "aliases",
           "lms id": "aliases", "extra days": "days"}
MOODLE = re.compile(r"(.+?)_(\d+)_assignsubmission_(?:file|onlinetext)_?(.*)", re.DOTALL)
CANVAS = re.compile(r"([^_]+)(?:_LATE)?_(\d+)_\d+_(.+)", re.DOTALL)


class Student(NamedTuple):
    """One of the class."""
    id: str
    name: str = ""
    email: str = ""
    aliases: tuple = ()
    days: int = 0        # late days beyond those of everybody


class Unknown(Exception):
    """A submission is nobody's, or fits several; its text says why."""


def read(path: str | Path) -> list[Student]:
    """The Students of a CSV file. Raises InputError, naming the line, for what is none."""
    lines = rows(path, COLUMNS, ("id",))
    students, seen = [], {}
    for line, row in lines:
        try:
            email, own = canonical(row.get("email", "")), canonical(row["id"])
            days = int(row.get("days") or 0)
            if not own or days < 0:
                raise ValueError(f"extra days {days}; they are 0 or more" if own else "no id")
        except ValueError as error:
            raise InputError(f"{path}, line {line}: {error}") from None
        if own in seen:
            raise InputError(f"{path}, line {line}: {own} stands in line {seen[own]} already; an id is one student's.")
        seen[own] = line
        aliases = tuple(alias.strip() for alias in row.get("aliases", "").split("|") if alias.strip())
        students.append(Student(own, row.get("name", ""), email, aliases, days))
    return students


def rows(path: str | Path, columns: dict[str, str], needed: tuple[str, ...]) -> list[tuple[int, dict[str, str]]]:
    """(line, {column: text}) of a table of the instructor's, a CSV file with a header. columns: its name there, in lower
    case, -> ours; others are left alone. InputError, naming the line, for what is no such table."""
    try:
        text = reading.whole(path, LARGEST).decode("utf-8-sig")
        head = text.split("\n", 1)[0]
        table = csv.reader(io.StringIO(text, newline=""), delimiter=max(",;\t", key=head.count), strict=True)
        names = [columns.get(" ".join(name.split()).casefold()) for name in next(table, [])]
        missing = [name for name in needed if name not in names]
        if missing:
            raise InputError(f"{path}, line 1: has no column {missing[0]}; columns may be {', '.join(columns)}.")
        found = []
        for row in table:
            if any(cell.strip() for cell in row):
                if len(row) > len(names):
                    raise InputError(f"{path}, line {table.line_num}: {len(row)} cells, the header has {len(names)}.")
                found.append((table.line_num, {name: cell.strip() for name, cell in zip(names, row) if name}))
        if len(found) > MOST:
            raise InputError(f"{path}: {len(found):,} lines; at most {MOST:,} are read.")
        return found
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error}); give a CSV file with a header.") from None
    except UnicodeDecodeError:
        raise InputError(f"{path}: is not UTF-8 text; save it as CSV in UTF-8.") from None
    except csv.Error as error:
        raise InputError(f"{path}, line {table.line_num}: {error}; give a CSV file with a header.") from None


def platform(name: str) -> tuple[str, str, str]:
    """(who, number, the student's own name of the file) of a name as Moodle or Canvas make them: "Ada
    Lovelace_123_assignsubmission_file_norm.py", "lovelaceada_LATE_123_456_hw2.zip"; others are all who."""
    found = MOODLE.fullmatch(name) or CANVAS.fullmatch(name)
    return (found[1], found[2], found[3]) if found else (re.sub(r"\.zip$", "", name, flags=re.IGNORECASE), "", "")


def whose(students: list[Student] | None, names: tuple[str, ...], given: dict[str, str] | None = None) -> str:
    """The id of the student whose submission has one of these names, the first that fits; without a roster the first name
    itself. given: name -> id, of the instructor. Raises Unknown if it is nobody's, or fits two."""
    for name in names:
        if name in (given or {}):
            return given[name]
    if students is None:
        who, _, _ = platform(names[0])
        try:
            return canonical(unquote(who))     # of a folder that `carve --roster` has named
        except InputError as error:
            raise Unknown(str(error)) from None
    for name in names:
        who, number, _ = platform(name)
        fits = [student.id for student in students if _fits(student, who, number)]
        if len(fits) > 1:
            raise Unknown(f"{name!r} fits {' and '.join(fits[:5])}; say whose it is: --as {name!r}=ID")
        if fits:
            return fits[0]
    raise Unknown(f"{' or '.join(map(repr, names))} fits nobody on the roster; say whose it is: --as {names[0]!r}=ID")


def _fits(student, who, number):
    """Whether a student goes by a name: id, e-mail address or alias; the words of the name in their order, or from any of
    them on, with or without what is between; the platform's number for them among the aliases."""
    own = {_folded(text) for text in (student.id, file_name(student.id), student.email, *student.aliases) if text}
    if _folded(who) in own or number and number in student.aliases:
        return True
    words = [_letters(word) for word in student.name.replace(",", " ").split()]
    turned = {"".join(words[i:] + words[:i]) for i in range(len(words))}
    return bool(_letters(who)) and _letters(who) in turned


def _folded(text):
    return unicodedata.normalize("NFC", unicodedata.normalize("NFD", text.strip()).casefold())


def _letters(text):
    """Letters and digits, without case and accents."""
    return "".join(c for c in unicodedata.normalize("NFKD", text).casefold() if c.isalnum())
