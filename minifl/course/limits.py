"""What the kernel keeps a student's process from: rlimits, Landlock, another user. The worker loads this file alone.

Each is taken as far as it is to be had, and `restrict` says which were; layers.py says what has to be.
    rlimits    memory, processor time, no files written, no core dump, no new process or thread (not enforced for root)
    Landlock   (Linux 5.13 and newer, no privileges needed) files: only what is named can be read, nothing can be
               written, removed or executed; from 6.7 on no TCP; from 6.12 on no signals to other processes
    user       if the judge is root, as in a container: an id that owns nothing, without any of root's capabilities. Where
               others cannot reach Python itself (/root/.venv), one is left, to read what the mode of a file keeps
               others from: only with Landlock, which says what can be read
calls.py, system calls, comes on top. What gets past all of these is a fault of the kernel; docs/teaching.md has the list.
"""

import ctypes
import os
import resource
import struct
import sys

READ_FILE, READ_DIR = 1 << 2, 1 << 3
FILES = (13, 14, 15, 15, 16)       # of Landlock's ABI 1, 2, ...: how many kinds of access to files it knows
NOBODY = 65534
DAC_READ_SEARCH = 1 << 2            # the capability to read and list whatever a file's mode says
LIBRARIES = ("/lib", "/lib64", "/usr/lib", "/usr/lib64", "/usr/local/lib", "/etc/ld.so.cache", "/dev/null")


def restrict(readable: list[str], listable: list[str], secret: list[str], megabytes: int, seconds: int,
             user: int, search: bool) -> dict[str, int | list[str]]:
    """Give up what a student's code does not need. Returns what came of it:
    {"limits": were all set?, "landlock": ABI or 0, "root": was it?, "user": id, "open": secret paths that can be read}

    readable  paths that can be read, with what is in them, besides the system's libraries
    listable  folders of which the names can be read
    secret    paths in these that cannot
    user      the id to become, with that of the process added, which only root can; 0: stay
    search    whether that user could not reach what is readable
    """
    libc, root, taken = ctypes.CDLL(None), os.geteuid() == 0, True
    for kind, limit in ((resource.RLIMIT_AS, megabytes << 20), (resource.RLIMIT_CPU, seconds),
                        (resource.RLIMIT_FSIZE, 0), (resource.RLIMIT_CORE, 0), (resource.RLIMIT_NOFILE, 256)):
        taken = lower(kind, limit) and taken
    if sys.platform == "linux":
        libc.prctl(38, 1, 0, 0, 0)       # PR_SET_NO_NEW_PRIVS
    abi = landlock([*readable, *LIBRARIES], listable, secret)
    if root and user and (abi or not search):
        become(user + os.getpid(), search)
    if sys.platform == "linux":
        capabilities(DAC_READ_SEARCH if search and abi and os.geteuid() else 0)
        libc.prctl(1, 9, 0, 0, 0)        # PR_SET_PDEATHSIG: SIGKILL, should the judge end
    taken = lower(resource.RLIMIT_NPROC, 0) and taken
    return {"limits": taken, "landlock": abi, "root": root, "user": os.geteuid(),
            "open": [path for path in secret if can_read(path, abi)]}


def lower(kind: int, limit: int) -> bool:
    """Lower an rlimit for good; whether this system does."""
    try:
        _, hard = resource.getrlimit(kind)
        limit = limit if hard == resource.RLIM_INFINITY else min(limit, hard)
        resource.setrlimit(kind, (limit, limit))
        return True
    except (OSError, ValueError):
        return False


def can_read(path: str, abi: int) -> bool:
    """Whether a file or folder can be read, or, without Landlock, what is in it under a name that one knows."""
    try:
        os.close(os.open(path, os.O_RDONLY | os.O_NONBLOCK))
        return True
    except OSError:
        return not abi and os.access(path, os.X_OK)


def version() -> int:
    """The ABI of the kernel's Landlock, below 1 if there is none."""
    if sys.platform != "linux":
        return 0
    return ctypes.CDLL(None).syscall(ctypes.c_long(444), None, ctypes.c_size_t(0), ctypes.c_uint(1))


def become(user: int, search: bool) -> None:
    """Be another user and nobody's group, if the kernel has that id; a container may map few of them. search: the
    capabilities can be chosen afterwards, otherwise all are gone."""
    if search:
        ctypes.CDLL(None).prctl(8, 1, 0, 0, 0)       # PR_SET_KEEPCAPS
    for number in (user, NOBODY):
        try:
            os.setgroups([])
            os.setresgid(number, number, number)
            os.setresuid(number, number, number)
            return
        except (OSError, AttributeError):      # not every system has these
            continue


def capabilities(kept: int) -> None:
    """Give up root's capabilities but for these bits, of the first 32."""
    header = struct.pack("=Ii", 0x20080522, 0)
    for bits in (kept, 0):      # who has not what is to be kept has it refused, and keeps none
        if ctypes.CDLL(None).capset(header, struct.pack("=6I", bits, bits, 0, 0, 0, 0)) == 0:
            break


def landlock(readable: list[str], listable: list[str], secret: list[str]) -> int:
    """Let this process read what is readable and do nothing else to files. Returns Landlock's ABI, 0: there is none."""
    libc = ctypes.CDLL(None, use_errno=True)

    def system(number, *arguments):
        return libc.syscall(ctypes.c_long(number), *arguments)

    def add(path, access):
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError:
            return
        rule = struct.pack("=Qi", access if os.path.isdir(path) else access & READ_FILE, descriptor)
        system(445, ctypes.c_int(rules), ctypes.c_int(1), rule, ctypes.c_uint(0))
        os.close(descriptor)

    def allow(path):
        inside = [s for s in secret if s == path or s.startswith(path.rstrip("/") + "/")]
        if not inside:
            add(path, READ_FILE | READ_DIR)
        elif path not in secret:
            add(path, READ_DIR)      # the names in it, for imports; of its entries all but the secret ones
            for name in os.listdir(path):
                allow(os.path.join(path, name))

    abi = version()
    if abi < 1:
        return 0
    files = (1 << FILES[min(abi, len(FILES)) - 1]) - 1
    network, scoped = (3 if abi >= 4 else 0), (3 if abi >= 6 else 0)
    attributes = struct.pack("=QQQ", files, network, scoped)[:8 if abi < 4 else 16 if abi < 6 else 24]
    rules = system(444, attributes, ctypes.c_size_t(len(attributes)), ctypes.c_uint(0))
    if rules < 0:
        return 0
    for path in readable:
        real = os.path.realpath(path)
        if os.path.exists(real):
            allow(real)
    for path in listable:
        add(os.path.realpath(path), READ_DIR)
    done = system(446, ctypes.c_int(rules), ctypes.c_uint(0))
    os.close(rules)
    return abi if done == 0 else 0
