"""The process in which a submission runs: `python -I -B worker.py TREE FORBIDDEN SECONDS MEGABYTES`, with wire.py beside it.

It calls functions of the student's tree as the judge asks for, and holds nothing worth stealing: tests, checkers, expected
numbers and points are in the judge's process. Before the first line of the student's code runs, memory, processor time and
files are limited, and an audit hook refuses to write files, to read any outside the tree and the Python installation, to
start processes, to open sockets and to load C code. Python cannot remove an audit hook; code that finds a way around
Python itself is not stopped by it. This is no container: run a class's submissions in one, as Gradescope does.
"""

import os
import resource
import sys
import traceback

TREE, FORBIDDEN, SECONDS, MEGABYTES = sys.argv[1], sys.argv[2], int(sys.argv[3]), int(sys.argv[4])
REQUESTS, REPLIES = os.fdopen(os.dup(0), "r"), os.fdopen(os.dup(1), "w")
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path[:] = [TREE, HERE, *(path for path in sys.path if not os.path.isdir(os.path.join(path, "minifl")))]
sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in f"{finder!r} {type(finder).__module__}"]

import numpy  # noqa: E402, F401   loaded before the hook: they load C code
import scipy.linalg  # noqa: E402, F401
import scipy.signal  # noqa: E402, F401
import scipy.special  # noqa: E402, F401

import wire  # noqa: E402

REFUSED = ("os.system", "os.exec", "os.fork", "os.forkpty", "os.posix_spawn", "os.spawn", "os.kill", "os.killpg",
           "os.remove", "os.rename", "os.rmdir", "os.mkdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.chdir",
           "os.truncate", "os.setxattr", "os.utime", "subprocess.", "socket.", "shutil.", "ctypes.", "fcntl.", "pty.",
           "resource.setrlimit", "resource.prlimit", "signal.", "webbrowser.", "tempfile.", "sqlite3.", "cpython.")
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
READABLE = tuple(os.path.realpath(path) + os.sep for path in (TREE, HERE, sys.prefix, sys.base_prefix))
FORBIDDEN = tuple(os.path.realpath(path) + os.sep for path in FORBIDDEN.split(os.pathsep))
refused, kept = [], []


def refuse(event, arguments):
    """The audit hook."""
    if event == "open" and isinstance(arguments[0], (str, bytes)):
        path, mode, flags = os.fsdecode(arguments[0]), arguments[1], arguments[2] or 0
        if set(mode or "") & set("wax+") or flags & WRITING:
            deny(f"open {path} for writing")
        if not readable(path):
            deny(f"read {path}")
    elif event in ("os.listdir", "os.scandir", "glob.glob"):
        path = os.fsdecode(arguments[0]) if isinstance(arguments[0], (str, bytes)) else "."
        if not readable(path):
            deny(f"list {path}")
    elif event.startswith(REFUSED):
        deny(f"call {event}")


def readable(path):
    real = os.path.realpath(path) + os.sep
    return real.startswith(READABLE) and not real.startswith(FORBIDDEN)


def deny(what):
    if len(refused) < 5:
        refused.append(what[:200])
    raise PermissionError(f"your code tried to {what}: not allowed while it is graded")


def keep(value):
    kept.append(value)
    return len(kept) - 1


def answer(request):
    """The reply to one call."""
    import importlib
    try:
        module = importlib.import_module(request["module"])
        expected = os.path.join(TREE, *request["module"].split(".")) + ".py"
        if os.path.realpath(str(getattr(module, "__file__", ""))) != os.path.realpath(expected):
            raise ImportError(f"{request['module']} does not come from the submission")
        function = module
        for name in request["name"].split("."):
            function = getattr(function, name)
        result = function(*request["arguments"], **request["options"])
        return {"id": request["id"], "result": result}
    except BaseException as error:   # SystemExit and KeyboardInterrupt, too: this process serves on
        return {"id": request["id"], "error": type(error).__name__[:80], "message": message(error),
                "where": where(error)}


def message(error):
    try:
        return str(error)[:1000]
    except BaseException:
        return ""


def where(error):
    """The last line of the student's files that an exception came through."""
    try:
        if isinstance(error, SyntaxError) and error.filename:
            return f"line {error.lineno} of {os.path.relpath(error.filename, TREE)}"
        frames = [f for f in traceback.extract_tb(error.__traceback__) if f.filename.startswith(TREE)]
        return f"line {frames[-1].lineno} of {os.path.relpath(frames[-1].filename, TREE)}" if frames else ""
    except BaseException:
        return ""


def serve():
    REPLIES.write("ready\n")
    REPLIES.flush()
    for line in REQUESTS:
        reply = answer(wire.loads(line, kept.__getitem__))
        reply["refused"] = list(refused)
        try:
            text = wire.dumps(reply, keep)
        except BaseException as error:
            text = wire.dumps({"id": reply["id"], "error": type(error).__name__, "where": "", "refused": list(refused),
                               "message": f"its result cannot be sent: {message(error)}"})
        REPLIES.write(text + "\n")
        REPLIES.flush()


if __name__ == "__main__":
    nowhere = os.open(os.devnull, os.O_RDWR)
    for standard in (0, 1, 2):      # what a submission prints is nobody's
        os.dup2(nowhere, standard)
    for limit, value in ((resource.RLIMIT_AS, MEGABYTES << 20), (resource.RLIMIT_CPU, SECONDS), (resource.RLIMIT_FSIZE, 0),
                         (resource.RLIMIT_CORE, 0)):
        resource.setrlimit(limit, (value, value))
    sys.addaudithook(refuse)
    serve()
