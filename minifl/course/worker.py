"""The process in which a submission runs: `python -I -S -B worker.py`, its standard input a socket to the judge.

It holds the student's files and what these were given, and nothing that knows an answer: tests, expected numbers,
drivers and points are in the judge's process, which asks for a function of the student's and gets back what it returned.
Before the first line of the student's code runs, it gives up what that does not need: limits.py by the kernel, refusing.py
by an audit hook that says in words what was refused. calls.py leaves it the system calls that this needs. What of these
is missing the judge is told, see layers.py.

Lines on the socket, of which the first is plain JSON, see process.config; the others are a word and json_lines.py's text:
    judge   NUMBER {"begin": ...}                          a test begins: what was kept is dropped
            NUMBER {"module"}                              import it, "get" an attribute of it, or "set" one to "value"
            NUMBER {"of"}                                  the same of an object that is kept, or call it, with
                                                           "arguments", "options", and "look": are they as before?
            answer {"result", "changed"}, {"error", "message"}     to what was asked
    worker  NUMBER {"result", "changed"} or {"error", "message", "where"}, with "printed"
            ask {"of", "arguments", "options"}             call a function that was handed over
What is refused goes through what was its standard error: what has been said there cannot be taken back.
"""

import builtins
import fcntl
import importlib.machinery
import importlib.util
import io
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


def serve(channel: int, tree: str, json_lines: ModuleType, first: int, layers: dict) -> None:
    """Answer until the judge hangs up. first: the first object's number, no number is given twice; layers: of the
    sandbox, see layers.py."""
    printed, write, end = Printed(), os.write, os._exit
    lines = os.fdopen(channel, "r", encoding="utf-8", closefd=False)

    def send(word, content):
        text = f"{word} {json_lines.dumps(content, objects)}\n".encode()
        while text:
            text = text[write(channel, text):]

    def handed_over(number, kind):
        """What stands here for a function of the judge's."""
        def ask(*arguments, **options):
            send("ask", {"of": ask, "arguments": arguments, "options": options})
            while True:
                word, _, text = received()
                if word != "answer":
                    reply(word, text)
                    continue
                said = json_lines.loads(text, objects)
                if "error" in said:
                    kind = getattr(builtins, said["error"], None)
                    raise (kind if isinstance(kind, type) and issubclass(kind, Exception) else RuntimeError)(said["message"])
                if "changed" in said:
                    json_lines.written_back([list(arguments), options], said["changed"])
                return said["result"]
        return ask

    def received():
        line = lines.readline()
        if not line:
            end(0)
        return line.partition(" ")

    def answered(request):
        """What a request asks for."""
        if "begin" in request:
            objects.clear()
            return {}
        of = imported(request["module"], tree) if "module" in request else request["of"]
        if "get" in request:
            return {"result": getattr(of, request["get"])}
        if "set" in request:
            setattr(of, request["set"], request["value"])
        if "arguments" not in request:
            return {}
        handed = [list(request["arguments"]), request["options"]]
        before = json_lines.dumps(handed, objects) if request["look"] else ""
        found = {"result": of(*handed[0], **handed[1])}
        if request["look"] and json_lines.dumps(handed, objects) != before:
            found["changed"] = handed
        return found

    def reply(number, text):
        sys.stdout = sys.stderr = printed
        try:
            send(number, {**answered(json_lines.loads(text, objects)), "printed": printed.take()})
        except BaseException as error:      # SystemExit and KeyboardInterrupt, too: this process serves on
            kind = "NotImplementedError" if isinstance(error, NotImplementedError) else type(error).__name__
            said = ("its result cannot be sent: " if isinstance(error, json_lines.Malformed) else "") + message(error)
            send(number, {"error": str(kind)[:80], "message": said, "where": where(error, tree), "printed": printed.take()})

    objects = json_lines.Objects(handed_over, first)
    send("ready", {"layers": layers})
    while True:
        word, _, text = received()
        reply(word, text)


def main() -> None:
    channel, pipe = (fcntl.fcntl(number, fcntl.F_DUPFD_CLOEXEC, 3) for number in (0, 2))
    os.set_blocking(pipe, False)
    with os.fdopen(channel, "rb", buffering=0, closefd=False) as first:
        config = json.loads(first.readline())
    for number in range(3):
        os.dup2(os.open(os.devnull, os.O_RDWR), number)
    tree, library = config["tree"], sys.path[:]
    sys.path.insert(0, tree)                                # with -S there are no site-packages, and so no other minifl
    sys.meta_path.append(Installed(config["sites"]))
    json_lines, limits, calls, refusing = map(sibling, ("json_lines", "limits", "calls", "refusing"))
    sites = sorted(set(config["sites"].values()))
    layers = limits.restrict([tree, *library, *config["packages"], *config["libraries"]], sites, config["secret"],
                             config["megabytes"], config["seconds"], config["user"], config["search"])
    layers["calls"] = calls.allow_only(pipe)
    del sys.modules["__main__"]
    refusing.install(tree, library, config["packages"], sites, config["secret"], pipe)
    layers["hook"] = True
    serve(channel, tree, json_lines, config["first"], layers)


if __name__ == "__main__":
    main()
