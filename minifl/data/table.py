"""A partition's table of label counts as text: its hash, the CSV file, the table for people."""

import codecs
import csv
import hashlib
import io
import re
import unicodedata
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from minifl import reading
from minifl.atomic import replacing
from minifl.backend import Array
from minifl.errors import InputError

LARGEST = 1 << 27     # bytes: 100 000 clients of 200 classes fill a fifth of it

UTF16 = codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE
WHOLE = "[0-9]{1,12}([.,]0{0,2})?"      # 1,000 would be a thousand to some, and one to others


def partition_hash(counts: Array) -> str:
    """SHA-256, in hex, of the counts as CSV text without header: the identity of a partition's table."""
    text = "".join(",".join(map(str, row)) + "\n" for row in counts.tolist())
    return hashlib.sha256(text.encode()).hexdigest()


def write_csv(path: str | Path, counts: Array, class_names: Iterable[str]) -> None:
    """Write counts (K, C) as text: `client,<class names>`, then a row for each client.

    Raises InputError if the file cannot be written; an older one is then left as it was.
    """
    with replacing(path) as file:
        text = io.TextIOWrapper(file, encoding="utf-8", newline="")
        rows = csv.writer(text, lineterminator="\n")
        rows.writerow(["client", *class_names])
        rows.writerows([k, *row] for k, row in enumerate(counts.tolist()))
        text.detach()


def read_csv(path: str | Path, classes: Iterable[str] | int) -> Array:
    """Read back the counts (K, C) int64 of `write_csv`; classes: the C names that the header must have, or C.

    What a spreadsheet makes of it is read, too: commas, semicolons or tabs between the columns, UTF-8 or UTF-16 that
    begins with its mark, a first line `sep=;`, empty rows and empty columns at the end, whole numbers as 12,0 or 12.0.
    Raises InputError, naming file and line, for anything but whole numbers >= 0 in such a table.
    """
    named = not isinstance(classes, (int, np.integer))
    width = 1 + (len(classes) if named else classes)
    try:
        first, separator, text = _decoded(reading.whole(path, LARGEST))
        rows = csv.reader(io.StringIO(text, newline=""), delimiter=separator)
        lines = [(first + rows.line_num, [cell.strip() for cell in row]) for row in rows]
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror}); `minifl partition` writes such "
                         f"files") from None
    except (UnicodeError, csv.Error):
        raise InputError(f"{path}: not a text file in UTF-8 or UTF-16; `minifl partition` writes valid ones, and Excel "
                         f"saves them as 'CSV UTF-8 (Comma delimited) (*.csv)'") from None
    lines = [(number, row[:width] if not any(row[width:]) else row) for number, row in lines if any(row)]

    def fail(line, found, valid):
        raise InputError(f"{path}, line {line}: {found}; {valid}")

    number, header = lines[0] if lines else (1, [""])
    if header[0] != "client":
        fail(number, f"starts with '{header[0][:40]}'", "the header is client,<class names>")
    for number, row in lines:
        if len(row) != width:
            fail(number, f"{len(row)} columns", f"these data need {width}: client and {width - 1} classes")
    for name, valid in zip(header[1:], classes if named else []):
        if _composed(name) != _composed(valid):
            fail(lines[0][0], f"class '{name}'", f"these data have '{valid}' in its place")
    for k, (number, row) in enumerate(lines[1:]):
        for cell in row:
            if not re.fullmatch(WHOLE, cell):
                fail(number, f"'{cell[:40]}'", "counts are whole numbers of at least 0 and 12 digits at most, without "
                     "separators of thousands")
        row[:] = [re.match("[0-9]+", cell)[0] for cell in row]
        if int(row[0]) != k:
            fail(number, f"client {row[0]}", f"clients are numbered 0, 1, 2, ... and {k} comes here")
    counts = np.array([row[1:] for _, row in lines[1:]], dtype=object).astype(np.int64)
    if not counts.any():
        fail(lines[-1][0], "ends without any count above 0", "a partition has a row for each client")
    return counts


def _decoded(raw):
    """(lines left out at the begin, separator of columns, text) of a CSV file. Raises UnicodeError."""
    mark = next((mark for mark in UTF16 if raw.startswith(mark)), None)
    text = raw.decode("utf-16" if mark else "utf-8-sig")
    if "\0" in text:
        raise UnicodeError("not a text")
    said = re.match(r"sep=([,;\t])\r?\n?", text)
    if said:
        return 1, said[1], text[said.end():]
    after = re.match(r'\s*"?client"?\s*?([,;\t])', text)
    return 0, after[1] if after else ",", text


def _composed(name):
    """A class name in the one form of Unicode in which names are compared, without spaces around it."""
    return unicodedata.normalize("NFC", name).strip()


def format_table(counts: Array, class_names: Iterable[str]) -> str:
    """The table counts (K, C) as text, with the totals of clients and classes."""
    body = np.column_stack([counts, counts.sum(axis=1)])
    numbers = np.vstack([body, body.sum(axis=0)]).tolist()
    rows = [["client", *class_names, "total"]]
    rows += [[name, *map(str, row)] for name, row in zip([*map(str, range(len(counts))), "total"], numbers)]
    widths = [max(map(len, column)) for column in zip(*rows)]
    return "\n".join("  ".join(cell.rjust(width) for cell, width in zip(row, widths)) for row in rows)
