"""Seals on the text files of a run: what is read is what was written.

    an object   config.json, end.json: "seal" is the sha256 of all the rest, as JSON with its names in order
    a line      of rounds.jsonl, times.jsonl, diagnostics.jsonl: "seal", always last, is the first 16 digits of the sha256
                of the seal of the line before (of the first line: of the file's name) and of the line's own text up to it

So a line that was changed, lost, inserted or moved is found, and named: the chain breaks there. Lines that are missing at
the end break no chain; the sha256 of the whole file in end.json shows those (record.py). Readers of JSON see one entry
more and need not know. A file in which no line has a seal is from before there were seals, and is read as it is.

This is against damage and slips: digits edited by hand, a disk that lost a block, two runs copied into one folder.
Whoever wants to forge a record computes the seals anew; nothing here is secret.
"""

import hashlib
import json
import os
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from minifl import reading
from minifl.atomic import appending, replacing
from minifl.errors import InputError

DIGITS = 16
MARK = b', "seal": "'
FORM = re.compile(re.escape(MARK) + rb'([0-9a-f]{%d})"}\n' % DIGITS)
LENGTH = len(MARK) + DIGITS + len(b'"}\n')     # of what follows a line's own text


def digest(value: Any) -> str:
    """sha256 of a JSON value, whatever the order of its names."""
    return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()


def seal(value: Any) -> str:
    """The object with its seal."""
    return value | {"seal": digest(value)}


def opened(value: Any) -> tuple:
    """(the object without its seal, whether it has one, whether that fits)."""
    rest = {name: entry for name, entry in value.items() if name != "seal"}
    return rest, "seal" in value, value.get("seal") == digest(rest)


def append(file: str | Path, value: dict) -> None:
    """Add a line to a file of sealed lines, made if it does not exist. Raises OSError."""
    with appending(file) as f:
        f.write(_line(_last(file) if f.tell() else file.name.encode(), value)[0])


def write(file: str | Path, values: Iterable[dict]) -> None:
    """Make a file of sealed lines, whole or not at all."""
    before = file.name.encode()
    with replacing(file) as f:
        for value in values:
            line, before = _line(before, value)
            f.write(line)


def read(file: str | Path, content: bytes, sealed: bool) -> Any:
    """The lines of a file with this content, in order, without their seals; one that was cut off at the end is left out.

    sealed  whether there have to be seals; else there are if a single line has one
    Raises InputError, which names the line, where a seal is missing or broken and for what is no JSON object.
    """
    lines = content.split(b"\n")[:-1]       # after the last newline there is nothing, or a part of a line
    sealed = sealed or MARK in content
    if sealed:
        before = file.name.encode()
        for i, line in enumerate(lines):
            text, before = line[:1 - LENGTH], _next(before, line[:1 - LENGTH])
            if not line.endswith(MARK + before + b'"}'):
                raise InputError(f"{file} is damaged: line {i + 1} does not fit its seal; it was changed or cut off, or "
                                 f"lines before it were lost, inserted or moved.")
            lines[i] = text + b"}"
        try:
            return reading.parsed(b"[" + b",".join(lines) + b"]")       # at once: a third faster than one by one
        except ValueError:
            pass                                                    # somebody has sealed what is no JSON
    return [_parsed(file, i + 1, line) for i, line in enumerate(lines)]


def _parsed(file, number, line):
    try:
        value = reading.parsed(line)
    except ValueError as error:
        raise InputError(f"{file} is damaged: line {number} is no JSON ({error}).") from error
    if not isinstance(value, dict):
        raise InputError(f"{file} is damaged: line {number} is no JSON object.")
    return value


def of_lines(content: bytes) -> list:
    """The seals of the lines of a file with this content, all of which are sealed."""
    return [line[1 - LENGTH:][len(MARK):][:DIGITS].decode(errors="replace") for line in content.split(b"\n")[:-1]]


def last(file: str | Path) -> str | None:
    """The seal of the last line; None if the file is empty, not there, or does not end in one."""
    try:
        return _last(file).decode() or None
    except OSError:
        return None


def _last(file):
    """As `last`, b"" instead of None. A run goes on over damage: its readers will name the line."""
    with reading.opened(file) as f:
        f.seek(max(0, os.fstat(f.fileno()).st_size - LENGTH))
        found = FORM.fullmatch(f.read())
    return found[1] if found else b""


def _line(before, value):
    """The line of a value, with its newline, and its seal; before: the seal of the line before."""
    text = json.dumps(value).encode()[:-1]
    seal_ = _next(before, text)
    return text + MARK + seal_ + b'"}\n', seal_


def _next(before, text):
    """The seal of a line after another one's; text: the line up to MARK."""
    return hashlib.sha256(before + b"\n" + text).hexdigest()[:DIGITS].encode()
