"""Python files that a user names, FILE.py or FILE.py:name. Their code runs because somebody named them, and then only."""

import ast
import sys
import traceback
from pathlib import Path
from types import ModuleType

from minifl import reading
from minifl.errors import InputError

ENDING = ".py"
FOLDERS: set[str] = set()      # of the files that were loaded


def split(text: str) -> tuple[Path, str]:
    """(path, name) of FILE.py:name, name "" for FILE.py. Raises InputError for another form."""
    path, name = (text, "") if text.endswith(ENDING) else text.rpartition(":")[::2]
    if not path.endswith(ENDING) or (name and not name.isidentifier()):
        raise InputError(f"{text!r} should be a Python file, FILE.py, or one thing of it, FILE.py:name.")
    return Path(path), name


def load(path: str | Path) -> ModuleType:
    """The module that a Python file is, its folder being in sys.path as under `python FILE.py`.

    Raises InputError, with the line, for a file that is not there, is no regular file, or raises when it is run.
    """
    path = Path(path)
    try:
        source = reading.whole(path)
    except OSError as error:
        raise InputError(f"{path} cannot be read ({error.strerror}); it should be a Python file.") from error
    module = ModuleType(f"file_{path.stem}")        # a name that hides no library
    module.__file__ = str(path)
    if str(path.resolve().parent) not in sys.path:
        sys.path.insert(0, str(path.resolve().parent))
    for helper in helpers(path):
        other = Path(getattr(sys.modules.get(helper.stem), "__file__", None) or helper).resolve()
        if other != helper and str(other.parent) in FOLDERS:
            raise InputError(f"{path} imports {helper.name}, and another file of that name is loaded: {other}. Python knows "
                             f"one module of a name; give one of the two another.")
    FOLDERS.add(str(path.resolve().parent))
    sys.modules[module.__name__] = module
    try:
        exec(compile(source, str(path), "exec"), module.__dict__)
    except (Exception, SystemExit) as error:
        del sys.modules[module.__name__]
        raise InputError(f"{path} cannot be run: it raises {told(path, error)}.") from error
    return module


def helpers(path: str | Path) -> list[Path]:
    """The files beside a Python file that it imports, and those that these import, in order of their names."""
    found, todo = set(), [Path(path).resolve()]
    while todo:
        file = todo.pop()
        try:
            tree = ast.parse(reading.whole(file))
        except (OSError, SyntaxError, ValueError):      # whoever runs it says so
            continue
        for node in ast.walk(tree):
            names = ([alias.name for alias in node.names] if isinstance(node, ast.Import)
                     else [node.module or ""] if isinstance(node, ast.ImportFrom) else [])
            for name in names:
                helper = file.parent / f"{name.partition('.')[0]}{ENDING}"
                if helper.is_file() and helper not in found and helper != Path(path).resolve():
                    found.add(helper)
                    todo.append(helper)
    return sorted(found)


def told(path: str | Path, error: BaseException) -> str:
    """An exception in words: ZeroDivisionError (division by zero), line 3: x = 1/0."""
    said = getattr(error, "msg", None) or str(error)
    return type(error).__name__ + (f" ({said})" if said else "") + line(path, error)


def line(path: str | Path, error: BaseException) -> str:
    """Where in a file an exception was raised, ", line 3: x = 1/0"; "" if it was not there."""
    if isinstance(error, SyntaxError) and error.filename == str(path) and error.lineno:
        return f", line {error.lineno}: {(error.text or '').strip()}"
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if frame.filename == str(path)]
    return f", line {frames[-1].lineno}: {frames[-1].line}" if frames else ""
