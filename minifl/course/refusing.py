"""What Python itself refuses a student's code, by an audit hook, and says in words. The worker loads this file alone.

Refused: writing any file; reading and listing outside of the student's tree, Python's library, NumPy and SciPy;
programs, processes, signals to others, sockets, ctypes, removing, renaming, changing files; looking through the garbage
collector's lists. A hook cannot be taken out again. It sees what CPython reports: not every C function does (stat,
mkfifo, a few extension modules), and who corrupts the interpreter's memory gets around it. Below it the kernel refuses:
limits.py, calls.py.
"""

import os
import sys
from collections.abc import Callable

FINE = frozenset({"os.putenv", "os.unsetenv", "os.add_dll_directory", "os.walk", "os.fwalk"})
REFUSED = ("os.", "socket.", "subprocess.", "ctypes.", "shutil.", "tempfile.", "sqlite3.", "pty.", "urllib.", "http.",
           "ftplib.", "smtplib.", "imaplib.", "poplib.", "nntplib.", "telnetlib.", "webbrowser.", "syslog.", "fcntl.",
           "gc.get_", "signal.pthread_kill", "sys.addaudithook", "sys._current_", "sys.remote_exec", "resource.")
MODULES = frozenset({"_posixshmem", "_multiprocessing", "_sqlite3", "_gdbm", "_dbm", "_ssl", "readline", "_tkinter",
                     "_curses", "_testcapi", "_testinternalcapi", "_xxsubinterpreters"})
WORDS = {"os.system": "run a program", "os.exec": "run a program", "os.posix_spawn": "run a program",
         "subprocess.Popen": "run a program", "os.fork": "start a process", "os.forkpty": "start a process",
         "os.kill": "send a signal to a process", "os.killpg": "send a signal to processes",
         "os.remove": "remove a file", "os.rmdir": "remove a folder", "os.rename": "rename a file",
         "shutil.rmtree": "remove a folder", "os.mkdir": "make a folder", "os.symlink": "make a link",
         "socket.__new__": "open a network connection", "os.chdir": "change the current folder"}
KEPT = 20    # attempts of a process that are told


def install(tree: str, library: list[str], packages: list[str], listable: list[str], secret: list[str],
            tell: Callable[[str], None]) -> None:
    """From here on refuse with PermissionError; `tell` is called with each new attempt in words.

    Readable are the tree, the folders of the library but for the site-packages in them, and the packages, but for what
    is secret. The hook keeps what it needs in its closure and calls nothing that student code could have replaced.
    """
    own, lent = tuple(f"{path}/" for path in (tree, *packages)), tuple(f"{path}/" for path in library)
    hidden = tuple(f"{path}/" for path in secret)
    folders = frozenset(listable)
    base, written = f"{tree}/", os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
    string, whole, binary = str, int, bytes
    kind, length, error, absent = type, len, PermissionError, ImportError
    subclass, told = issubclass, []

    def refuse(what):
        text = f"your code tried to {what}: not allowed while it is graded"
        if length(told) < KEPT and text not in told:
            told.append(text)
            tell(text)
        raise error(text)

    def full(path):
        """The path as plain text; "" for an open file's number. What student classes override isn't called."""
        if path is None:
            return tree
        if subclass(kind(path), whole):
            return ""
        if subclass(kind(path), binary):
            path = binary.decode(path, "utf-8", "surrogateescape")
        elif subclass(kind(path), string):
            path = string.__str__(path)
        else:
            refuse("open a file by an object that is no path")
        path = path if path[:1] == "/" else base + path
        return path.rstrip("/") or "/"

    def readable(path):
        path += "/"
        if path.startswith(hidden) or "/../" in path:
            return False
        if path.startswith(own):
            return True
        for folder in lent:     # noqa: SIM110 - any() could have been replaced
            if path.startswith(folder) and "-packages/" not in path[length(folder):]:
                return True
        return False

    def hook(event, arguments):
        if event == "open":
            path, mode, flags = arguments
            path = full(path)
            if not path or path == "/dev/null":
                return
            if flags & written or kind(mode) is string and ("w" in mode or "a" in mode or "x" in mode or "+" in mode):
                refuse(f"open {path} for writing")
            if not readable(path):
                refuse(f"read {path}")
        elif event == "os.listdir" or event == "os.scandir":
            path = full(arguments[0])
            if path not in folders and not readable(path):
                refuse(f"list the folder {path}")
        elif event == "import":
            if arguments[0] in MODULES_:       # as if it were not installed: libraries ask for some and do without
                raise absent(f"{arguments[0]} is not allowed while it is graded")
        elif event.startswith(REFUSED_) and event not in FINE_:
            refuse(WORDS_.get(event, f"use {event}"))

    REFUSED_, FINE_, WORDS_, MODULES_ = REFUSED, FINE, dict(WORDS), MODULES
    sys.addaudithook(hook)
