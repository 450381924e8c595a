"""What Python itself refuses a student's code, by an audit hook, and says in words. The worker loads this file alone.

Refused: writing any file; reading and listing outside of the student's tree, Python's library, NumPy and SciPy;
programs, processes, signals to others, sockets, ctypes, removing, renaming, changing files; looking through the garbage
collector's lists. A hook cannot be taken out again. It sees what CPython reports: not every C function does (stat,
mkfifo, a few extension modules), and who corrupts the interpreter's memory gets around it. Below it the kernel refuses:
limits.py, calls.py.
"""

import os
import sys
from types import MappingProxyType

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


def install(tree: str, library: list[str], packages: list[str], listable: list[str], secret: list[str], pipe: int) -> None:
    """From here on refuse with PermissionError, and write each attempt in words to the pipe, which has to be non-blocking.

    Readable are the tree, the folders of the library but for the site-packages in them, and the packages, but for what
    is secret. The hook calls nothing that student code could have replaced. An exception leaves its frame to whom it
    refuses something: so there is nothing in it that can be changed and is used again, no list, no function of Python's,
    and no closure, whose cells from Python 3.13 on can be written to by way of the frame.
    """
    def hook(event, arguments, *, own=tuple(f"{path}/" for path in (tree, *packages)), tree=tree, base=f"{tree}/",
             lent=tuple(f"{path}/" for path in library), hidden=tuple(f"{path}/" for path in secret),
             folders=frozenset(listable), modules=MODULES, refused=REFUSED, fine=FINE, words=MappingProxyType(dict(WORDS)),
             written=os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND, string=str, whole=int, binary=bytes,
             kind=type, length=len, subclass=issubclass, error=PermissionError, absent=ImportError,
             full=BlockingIOError, gone=OSError, write=os.write, end=os._exit, pipe=pipe):
        what, listed = "", event == "os.listdir" or event == "os.scandir"
        if event == "import":
            if arguments[0] in modules:       # as if it were not installed: libraries ask for some and do without
                raise absent(f"{arguments[0]} is not allowed while it is graded")
        elif event == "open" or listed:
            path = tree if arguments[0] is None else arguments[0]
            if subclass(kind(path), whole):     # the number of an open file
                what = "list a folder by its number" if listed else ""
            elif subclass(kind(path), string) or subclass(kind(path), binary):     # as plain text, whatever a subclass says
                plain = subclass(kind(path), string)
                path = string.__str__(path) if plain else binary.decode(path, "utf-8", "surrogateescape")
                path = (path if path[:1] == "/" else base + path).rstrip("/") or "/"
                inside = path + "/"
                readable = inside.startswith(own)
                for folder in lent:
                    readable = readable or inside.startswith(folder) and "-packages/" not in inside[length(folder):]
                readable = readable and not inside.startswith(hidden) and "/../" not in inside
                if listed:
                    what = "" if readable or path in folders else f"list the folder {path}"
                elif path != "/dev/null":
                    _, mode, flags = arguments
                    mode = mode if kind(mode) is string else ""
                    if flags & written or "w" in mode or "a" in mode or "x" in mode or "+" in mode:
                        what = f"open {path} for writing"
                    elif not readable:
                        what = f"read {path}"
            else:
                what = "open a file by an object that is no path"
        elif event.startswith(refused) and event not in fine:
            what = words.get(event, f"use {event}")
        if what:
            text = f"your code tried to {what}: not allowed while it is graded"
            try:
                write(pipe, string.encode(string.replace(text[:400], "\n", " ") + "\n", "utf-8", "replace"))
            except full:      # what is in it is enough
                pass
            except gone:      # it was closed, and nothing could be told any more
                end(1)
            raise error(text)

    sys.addaudithook(hook)
