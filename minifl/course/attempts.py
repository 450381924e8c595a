"""What code might try that has got past the audit hook: started as worker.py is, in the same sandbox, but for the hook.

The first line on standard input is worker.py's, with "at": {"private", "public", "folder", "process", "address", "port",
"name"}, what there is to be read, signalled and connected to. Answers: a line of JSON with the layers of the sandbox, and
one for each attempt as it is made, [name, what refused it or ""]. The last would not come back.
"""

import ctypes
import fcntl
import importlib.util
import json
import os
import resource
import socket
import struct
import sys
from collections.abc import Callable
from types import ModuleType

# name -> the layers each of which is enough to refuse it, as `effective` names them
BY = {
    "read a private file of whoever grades": ("landlock", "user"),
    "read a file that every user may read": ("landlock",),
    "list a folder": ("landlock",),
    "write to a file of its own folder": ("landlock", "user", "calls"),
    "make a folder": ("landlock", "calls"),
    "change the mode of a file": ("user", "calls"),
    "remove a file": ("landlock", "user", "calls"),
    "read the environment of the grader's process": ("landlock", "user"),
    "read the memory of the grader's process": ("landlock", "user", "calls"),
    "trace the grader's process": ("landlock", "user", "calls"),
    "signal the grader's process": ("landlock 6", "user", "calls"),
    "have the kernel signal it": ("calls",),
    "start a process": ("processes", "calls"),
    "connect by TCP": ("landlock 4", "calls"),
    "send by UDP": ("calls",),
    "connect to an abstract Unix socket": ("landlock 6", "calls"),
    "open an io_uring": ("calls",),
    "be root again": ("user",),
    "raise a limit": ("limits",),
    "take more memory": ("limits",),
    "make namespaces": ("calls",),
    "run a program": ("landlock", "calls"),
}
WITH_HOOK = "read a file, with the audit hook"


def effective(said: dict) -> set[str]:
    """What there is, in the words of BY, from what a worker says of its layers."""
    abi, other = said["landlock"], said["user"] != 0
    found = {"landlock": abi > 0, "landlock 4": abi >= 4, "landlock 6": abi >= 6, "user": said["root"] and other,
             "limits": said["limits"], "processes": said["limits"] and other, "calls": said["calls"]}
    return {name for name, there in found.items() if there}


def attempts(at: dict, tree: str, megabytes: int) -> dict[str, Callable]:
    """The functions of BY: each raises OSError, ValueError or MemoryError if it is refused."""
    libc = ctypes.CDLL(None, use_errno=True)
    own = os.path.join(tree, "file")

    def call(function, *arguments):
        if function(*arguments) < 0:
            raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))

    def memory():
        target = ctypes.create_string_buffer(8)
        ours, theirs = (struct.pack("@PN", address, 8) for address in (ctypes.addressof(target), at["address"]))
        call(libc.process_vm_readv, at["process"], ours, ctypes.c_ulong(1), theirs, ctypes.c_ulong(1), ctypes.c_ulong(0))

    def process():
        child = os.fork()
        if child == 0:
            os._exit(0)
        os.waitpid(child, 0)

    def connect(family, address):
        with socket.socket(family) as connection:
            connection.connect(address)

    def udp():
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as connection:
            connection.sendto(b"x", ("127.0.0.1", at["port"]))

    return dict(zip(BY, (
        lambda: open(at["private"], "rb").close(),
        lambda: open(at["public"], "rb").close(),
        lambda: os.listdir(at["folder"]),
        lambda: os.close(os.open(own, os.O_WRONLY)),
        lambda: os.mkdir(f"/tmp/{at['name']}"),
        lambda: os.chmod(own, 0o777),
        lambda: os.remove(own),
        lambda: open(f"/proc/{at['process']}/environ", "rb").close(),
        memory,
        lambda: call(libc.ptrace, ctypes.c_long(0x4206), at["process"], None, None),     # SEIZE, which stops nothing
        lambda: os.kill(at["process"], 0),
        lambda: fcntl.fcntl(0, fcntl.F_SETOWN, at["process"]),
        process,
        lambda: connect(socket.AF_INET, ("127.0.0.1", at["port"])),
        udp,
        lambda: connect(socket.AF_UNIX, f"\0{at['name']}"),
        lambda: call(libc.syscall, ctypes.c_long(425), ctypes.c_uint(1), ctypes.create_string_buffer(120)),
        lambda: os.setuid(0),
        lambda: resource.setrlimit(resource.RLIMIT_CPU, (resource.RLIM_INFINITY, resource.RLIM_INFINITY)),
        lambda: bytearray(2 * megabytes << 20),
        lambda: call(libc.unshare, 0x10000000),                                         # CLONE_NEWUSER
        lambda: os.execv("/bin/true", ["true"]))))


def sibling(name: str) -> ModuleType:
    """A file beside this one as a module."""
    spec = importlib.util.spec_from_file_location(name, os.path.join(os.path.dirname(__file__), f"{name}.py"))
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def main() -> None:
    with os.fdopen(os.dup(0), "rb", buffering=0) as first:
        config = json.loads(first.readline())
    limits, calls = sibling("limits"), sibling("calls")
    layers = limits.restrict([config["tree"], *sys.path, *config["packages"], *config["libraries"]], [], config["secret"],
                             config["megabytes"], config["seconds"], config["user"], config["search"])
    layers["calls"] = calls.allow_only()
    os.write(0, json.dumps(layers).encode() + b"\n")
    for name, attempt in attempts(config["at"], config["tree"], config["megabytes"]).items():
        refused = ""
        if name == list(BY)[-1]:
            os.write(0, json.dumps([name, ""]).encode() + b"\n")      # what it says if it is not there to say it
        try:
            attempt()
        except (OSError, ValueError, MemoryError) as error:
            refused = getattr(error, "strerror", None) or str(error) or type(error).__name__
        os.write(0, json.dumps([name, refused]).encode() + b"\n")


if __name__ == "__main__":
    main()
