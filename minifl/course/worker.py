"""The process in which a submission runs: `python -I -S -B worker.py`, its standard input a socket to the judge.

It calls functions of the student's tree as the judge asks for, and holds nothing worth stealing: tests, checkers,
expected numbers and points are in the judge's process. Before the first line of the student's code runs, it gives up
what that does not need: limits.py by the kernel, refusing.py by an audit hook that says in words what was refused.
calls.py leaves it the system calls that this needs. What of these is missing the judge is told, see layers.py.

The judge writes lines, one at a time, and reads an answer to each:
    first       plain JSON, see remote.py: {"tree", "packages", "sites", "libraries", "secret", "first", "megabytes",
                "seconds", "user", "search"}
    then        json_lines.py's: {"id", "module"} to import it, with "name", "arguments", "options" to call a function,
                or {"id"} when a test begins: what was kept for handles is dropped
    an answer   {"id", "result"} or {"id", "error", "message", "where"}, with "refused" and "printed"
"""

import fcntl
import importlib.machinery
import importlib.util
import io
import itertools
import json
import os
import sys
import traceback
from types import ModuleType

PRINTED = 2000    # characters of prints that are kept


class Printed(io.TextIOBase):
    """Standard output and error of the student's code: the beginning is kept."""
    text = ""

    def write(self, text: str) -> int:
        self.text += str(text)[:max(0, PRINTED - len(self.text))]
        return len(text)

    def take(self) -> str:
        text, self.text = self.text, ""
        return text


class Installed:
    """Finds NumPy and SciPy where they are installed, and nothing else that is installed there. sites: name -> folder."""

    def __init__(self, sites):
        self.sites, self.find = sites, importlib.machinery.PathFinder.find_spec

    def find_spec(self, name: str, path: object = None, target: object = None) -> object:
        return self.find(name, [self.sites[name]], target) if name in self.sites else None


def sibling(name: str) -> ModuleType:
    """A file beside this one, as a module that nothing else can import."""
    spec = importlib.util.spec_from_file_location(f"_{name}", os.path.join(os.path.dirname(__file__), f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def imported(name: str, tree: str) -> ModuleType:
    """A module of the tree, and of no other place."""
    module = importlib.import_module(name)
    base = os.path.join(tree, *name.split("."))
    if getattr(module, "__file__", None) not in (f"{base}.py", os.path.join(base, "__init__.py")):
        raise ImportError(f"{name} does not come from the submission")
    return module


def answer(request: dict, tree: str, kept: dict) -> object:
    """What a request asks for."""
    if "module" not in request:
        kept.clear()
        return None
    found = imported(request["module"], tree)
    if "name" not in request:
        return None
    for name in request["name"].split("."):
        found = getattr(found, name)
    return found(*request["arguments"], **request["options"])


def message(error: BaseException) -> str:
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def where(error: BaseException, tree: str) -> str:
    """The last line of the student's files that an exception came through."""
    if isinstance(error, SyntaxError) and str(error.filename).startswith(tree):
        return f"line {error.lineno} of {str(error.filename)[len(tree) + 1:]}"
    found = ""
    for frame, line in traceback.walk_tb(error.__traceback__):
        if frame.f_code.co_filename.startswith(tree):
            found = f"line {line} of {frame.f_code.co_filename[len(tree) + 1:]}"
    return found


def serve(channel: int, tree: str, json_lines: ModuleType, refused: list[str], first: int,
          layers: dict) -> None:
    """Answer until the judge hangs up. first: the first handle's number, no number is given twice; layers: of the
    sandbox, see layers.py."""
    kept, numbers, printed, write, missing = {}, itertools.count(first), Printed(), os.write, []
    lines = os.fdopen(channel, "r", encoding="utf-8", closefd=False)

    def keep(value):
        number = next(numbers)
        kept[number] = value
        return number

    def had(number):
        if number not in kept:
            missing.append(number)
        return kept.get(number)

    def send(reply):
        text = (json_lines.dumps({**reply, "printed": printed.take(), "refused": refused[:]}, keep) + "\n").encode()
        while text:
            text = text[write(channel, text):]
        refused.clear()

    send({"id": "ready", "layers": layers})
    for line in lines:
        number = None
        missing.clear()
        sys.stdout = sys.stderr = printed
        try:
            request = json_lines.loads(line, had)
            number = request["id"]
            if missing:
                raise LookupError("what an earlier call returned went with its process")
            send({"id": number, "result": answer(request, tree, kept)})
        except BaseException as error:      # SystemExit and KeyboardInterrupt, too: this process serves on
            kind = "NotImplementedError" if isinstance(error, NotImplementedError) else type(error).__name__
            said = ("its result cannot be sent: " if isinstance(error, json_lines.Malformed) else "") + message(error)
            send({"id": number, "error": str(kind)[:80], "message": said, "where": where(error, tree)})


def main() -> None:
    channel = fcntl.fcntl(0, fcntl.F_DUPFD_CLOEXEC, 3)
    with os.fdopen(channel, "rb", buffering=0, closefd=False) as first:
        config = json.loads(first.readline())
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    tree, library, refused = config["tree"], sys.path[:], []
    sys.path.insert(0, tree)                                # with -S there are no site-packages, and so no other minifl
    sys.meta_path.append(Installed(config["sites"]))
    json_lines, limits, calls, refusing = map(sibling, ("json_lines", "limits", "calls", "refusing"))
    sites = sorted(set(config["sites"].values()))
    layers = limits.restrict([tree, *library, *config["packages"], *config["libraries"]], sites, config["secret"],
                             config["megabytes"], config["seconds"], config["user"], config["search"])
    layers["calls"] = calls.allow_only()
    del sys.modules["__main__"]
    refusing.install(tree, library, config["packages"], sites, config["secret"], refused)
    layers["hook"] = True
    serve(channel, tree, json_lines, refused, config["first"], layers)
    os._exit(0)


if __name__ == "__main__":
    main()
