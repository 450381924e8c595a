"""The sandbox of a submission: its layers, what each keeps out, and which of them grading asks for.

The worker says what it could take (limits.py, calls.py, refusing.py), before the first line of the submission runs.

What is asked for, and why:
    root       everything. Landlock may be missing where what is secret is closed to the other user that the worker is,
               which the worker tries: then code that gets past the audit hook reads what any user of the machine may
               read, which in a container, as on Gradescope, is the image. It has no way to send it anywhere.
    not root   everything but another user, whom only root can become. The worker has the instructor's own rights. What
               these would allow, Landlock takes (reading his files, /proc of his processes) or calls.py does (signals,
               ptrace, sockets, his terminal, changing modes and times of files). So Landlock has to be there. What is
               left: it learns which paths exist.
"""

from typing import NamedTuple


class Layer(NamedTuple):
    name: str
    what: str        # it is
    keeps: str       # what it keeps out
    without: str     # what is possible if it is missing


LAYERS = (
    Layer("limits", "the limits (rlimits)", "taking all memory, processor time or disk",
          "a submission can take the memory and the time of the whole machine"),
    Layer("files", "Landlock", "reading other files than its own and Python's; writing and running any",
          "code that gets past the audit hook reads the files of whoever grades"),
    Layer("user", "another user", "owning anything of whoever grades",
          "code that gets past the audit hook is root, among root's files and processes"),
    Layer("calls", "the list of calls (seccomp)", "programs, processes, signals, connections, changes to files",
          "code that gets past the audit hook can start what outlives grading, send what it reads, or signal processes"),
    Layer("hook", "the audit hook", "all of these in Python, with a sentence for whoever grades",
          "nothing is said of what was tried"),
)
ADVICE = "Grade in a container, for which `course bundle` makes the recipe, or give --weak-sandbox."


def state(said: dict) -> dict[str, str]:
    """name -> "there", "not needed" or "missing", from what the worker says."""
    other = bool(said.get("root") and said.get("user"))
    found = {"limits": said.get("limits"), "files": said.get("landlock", 0) > 0, "user": other,
             "calls": said.get("calls"), "hook": said.get("hook")}
    needed = {"files": not other or said.get("open", True), "user": said.get("root", True)}
    return {layer.name: "there" if found[layer.name] else "missing" if needed.get(layer.name, True) else "not needed"
            for layer in LAYERS}


def missing(said: dict) -> list[str]:
    """A line for each layer that is missing, in words."""
    found, abi = state(said), said.get("landlock", 0)
    lines = [f"{layer.what} is missing: {layer.without}" for layer in LAYERS if found[layer.name] == "missing"]
    if found["files"] == "missing" and found["user"] == "there":
        lines.append(f"it would be enough if others could not read {', '.join(said.get('open', []))} (chmod go-rwx)")
    if found["calls"] == "missing" and 0 < abi < 6:
        lines.append(f"Landlock's version {abi} refuses no signals" + (" and no TCP" if abi < 4 else ""))
    return lines
