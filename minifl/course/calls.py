"""Which system calls a student's process may still make: seccomp, which needs no privileges. The worker loads this alone.

What numerical code needs is on the list below: reading files and the connection that is open, memory, time, ending. All
else is refused (EACCES, a PermissionError): programs, processes and threads, sockets of any kind, signals to others,
writing, changing and removing files, ptrace, mounting, namespaces, keys, io_uring, and what a later kernel brings. It
holds for root, too, and without Landlock; it does not see which file is read. A filter cannot be taken off again.
"""

import ctypes
import os
import struct
import sys

# name, number for x86_64 (/usr/include/asm/unistd_64.h), number for aarch64 (/usr/include/asm-generic/unistd.h)
ALLOWED = """
    read 0 63, pread64 17 67, readv 19 65, write 1 64, writev 20 66, lseek 8 62, getdents64 217 61,
    fstat 5 80, newfstatat 262 79, statx 332 291, stat 4 -, lstat 6 -, access 21 -, faccessat 269 48, faccessat2 439 439,
    readlink 89 -, readlinkat 267 78, getcwd 79 17, dup 32 23,
    select 23 -, pselect6 270 72, poll 7 -, ppoll 271 73,
    mmap 9 222, mprotect 10 226, munmap 11 215, mremap 25 216, madvise 28 233, brk 12 214,
    futex 202 98, sched_yield 24 124, sched_getaffinity 204 123, getcpu 309 168, membarrier 324 283,
    time 201 -, gettimeofday 96 169, clock_gettime 228 113, clock_getres 229 114, nanosleep 35 101,
    clock_nanosleep 230 115, times 100 153, getrusage 98 165, sysinfo 99 179, uname 63 160, getrandom 318 278,
    getpid 39 172, gettid 186 178, getuid 102 174, geteuid 107 175, getgid 104 176, getegid 108 177,
    rt_sigaction 13 134, rt_sigprocmask 14 135, rt_sigreturn 15 139, sigaltstack 131 132, restart_syscall 219 128,
    exit 60 93, exit_group 231 94"""
LOOKED_AT = "open 2 -, openat 257 56, fcntl 72 25, kill 62 129, tkill 200 130, tgkill 234 131, prlimit64 302 261,\
    close 3 57, dup2 33 -, dup3 292 24"
MACHINES = {"x86_64": (0, 0xC000003E, 317), "aarch64": (1, 0xC00000B7, 277)}    # column, its AUDIT_ARCH, seccomp's number
NEWER = 440                                                   # from here on the list knows none
ALLOW, NO_SUCH_CALL, REFUSE, END = 0x7FFF0000, 0x50026, 0x5000D, 0x80000000     # errno 38 ENOSYS, 13 EACCES; kill
LOAD, EQUAL, ANY_BIT, AT_LEAST, RETURN = 0x20, 0x15, 0x45, 0x35, 0x06           # operations of the filter
WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
COMMANDS = (0, 1, 2, 3, 1030)     # of fcntl: F_DUPFD, F_GETFD, F_SETFD, F_GETFL, F_DUPFD_CLOEXEC; F_SETOWN sends signals


def numbers(table: str, machine: str) -> dict[str, int]:
    """name -> number of the calls in a table that a machine has."""
    rows = [entry.split() for entry in table.split(",")]
    column = 1 + MACHINES[machine][0]
    return {row[0]: int(row[column]) for row in rows if row[column] != "-"}


def program(machine: str, process: int, pipe: int = -1) -> list[tuple[int, int, int, int]]:
    """The filter: (operation, steps to jump over if true, if false, value). process: the id that may be signalled; pipe:
    the descriptor that stays what it is."""
    known = numbers(LOOKED_AT, machine)
    steps = [(LOAD, 0, 0, 4), (EQUAL, 1, 0, MACHINES[machine][1]), (RETURN, 0, 0, END), (LOAD, 0, 0, 0)]
    for number in numbers(ALLOWED, machine).values():
        steps += [(EQUAL, 0, 1, number), (RETURN, 0, 0, ALLOW)]

    def look(name, argument, operation, values, found, otherwise):
        """Of a call decide by the lower half of an argument, which is all that the kernel takes of these."""
        if name in known:
            tests = [step for value in values for step in ((operation, 0, 1, value), (RETURN, 0, 0, found))]
            steps.extend([(EQUAL, 0, 2 + len(tests), known[name]), (LOAD, 0, 0, 16 + 8 * argument), *tests,
                          (RETURN, 0, 0, otherwise)])

    look("open", 1, ANY_BIT, (WRITING,), REFUSE, ALLOW)
    look("openat", 2, ANY_BIT, (WRITING,), REFUSE, ALLOW)
    look("fcntl", 1, EQUAL, COMMANDS, ALLOW, REFUSE)
    for name in ("kill", "tkill", "tgkill"):
        look(name, 0, EQUAL, (process,), ALLOW, REFUSE)
    look("prlimit64", 0, EQUAL, (0,), ALLOW, REFUSE)
    for name, argument in (("close", 0), ("dup2", 1), ("dup3", 1)):
        look(name, argument, EQUAL, (pipe & 0xFFFFFFFF,), REFUSE, ALLOW)
    return [*steps, (AT_LEAST, 0, 1, NEWER), (RETURN, 0, 0, NO_SUCH_CALL), (RETURN, 0, 0, REFUSE)]


def allow_only(pipe: int = -1) -> bool:
    """From here on no other calls, for every thread, and none that closes or replaces the pipe by which the judge is told.
    Whether this system can; no_new_privs has to be set before."""
    machine = os.uname().machine
    if sys.platform != "linux" or machine not in MACHINES or sys.maxsize < 2**32:
        return False
    steps = b"".join(struct.pack("=HBBI", *step) for step in program(machine, os.getpid(), pipe))
    held = ctypes.create_string_buffer(steps)
    filter_ = struct.pack("@HP", len(steps) // 8, ctypes.addressof(held))
    set_filter, all_threads = ctypes.c_uint(1), ctypes.c_uint(1)
    return ctypes.CDLL(None).syscall(ctypes.c_long(MACHINES[machine][2]), set_filter, all_threads, filter_) == 0
