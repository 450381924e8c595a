"""Trying the sandbox: which layers this machine has, and whether each refuses what it should, without the audit hook."""

import ctypes
import json
import os
import secrets
import socket
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

from minifl.course import attempts, layers, process, running
from minifl.course.remote import STARTING, Limits, Remote
from minifl.errors import InputError


def tried(limits: Limits = Limits()) -> tuple[dict, dict[str, str]]:
    """(what the worker says of its layers, attempt -> what refused it, "" if it was done)."""
    with targets() as (base, at):
        worker, channel = process.start(base / "tree", "attempts.py")
        answers, said = [], b""
        with suppress(TimeoutError):
            channel.settimeout(STARTING)
            config = process.config(base / "tree", [str(base / "private")], limits.megabytes, limits.total, 0)
            channel.sendall(json.dumps(config | {"at": at}).encode() + b"\n")
            with channel.makefile("r", encoding="utf-8") as lines:
                answers += [json.loads(line) for line in lines]
            said = worker.stderr.read()
        process.end(worker, channel)
        hook = _in_words(base / "tree", at["public"], limits)
    if len(dict(answers[1:])) < len(attempts.BY):
        raise InputError(f"the sandbox cannot be tried: its process ends. {said.decode(errors='replace')[-1000:]}")
    return answers[0] | {"hook": bool(hook)}, dict(answers[1:]) | {attempts.WITH_HOOK: hook}


@contextmanager
def targets() -> Iterator[tuple[Path, dict]]:
    """(a new folder with a `tree` for a worker, what there is for attempts.py besides)."""
    with ExitStack() as stack:
        base = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="minifl-sandbox-")))
        for name, mode in (("tree/file", 0o644), ("open/file", 0o644), ("private/file", 0o600)):
            (base / name).parent.mkdir()
            (base / name).write_text(name, encoding="utf-8")
            (base / name).chmod(mode)
            (base / name).parent.chmod(0o700 if mode == 0o600 else 0o755)
        base.chmod(0o755)
        name = secrets.token_hex(8)
        listening, abstract = socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX)
        stack.enter_context(listening)
        stack.enter_context(abstract).bind(f"\0{name}")
        abstract.listen()
        seen = ctypes.create_string_buffer(8)      # in the memory of this process
        at = {"private": str(base / "private/file"), "public": str(base / "open/file"), "folder": str(base / "open"),
              "process": os.getpid(), "address": ctypes.addressof(seen), "port": listening.getsockname()[1], "name": name}
        yield base, at
        with suppress(OSError):
            os.rmdir(f"/tmp/{name}")


def _in_words(tree, file, limits):
    """What a worker, with its audit hook, says to a submission that reads a file; "" if it says nothing."""
    (tree / "minifl").mkdir()
    for name, text in (("__init__", ""), ("attempt", "def read(file):\n    return len(open(file).read())\n")):
        (tree / f"minifl/{name}.py").write_text(text, encoding="utf-8")
    student = Remote(tree, limits._replace(weak=True))
    try:
        student("minifl.attempt").read(file)
    except running.Wrong as error:
        return "in words" if "your code tried to read" in str(error) else ""
    finally:
        student.stop()
    return ""


def table(said: dict, found: dict[str, str]) -> tuple[str, bool]:
    """What `tried` gave as text; whether all layers are there and none let through what it should refuse."""
    state, effective, sound = layers.state(said), attempts.effective(said), not layers.missing(said)
    lines = [f"{'layer':28}{'':12}keeps out"]
    for layer in layers.LAYERS:
        lines.append(f"{layer.what:28}{state[layer.name]:12}{layer.keeps}")
    lines += ["", f"{'tried, without the audit hook':47} came of it"]
    for name, refused in found.items():
        by = [layer for layer in attempts.BY.get(name, ()) if layer in effective]
        sound = sound and bool(refused or not by)
        came = f"refused ({refused})" if refused else f"DONE though there is {', '.join(by)}" if by else "DONE"
        lines.append(f"{name:47} {came}")
    return "\n".join([*lines, "", *layers.missing(said)]).rstrip(), sound
